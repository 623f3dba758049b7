//! What every Redress process needs before it has anything to say: settings, clocks, telemetry, health,
//! listeners and clients, accounts of what became of each item, and a graceful end.
//!
//! It knows nothing of mentions, verdicts or pages, no log and no database. Services take from here what
//! touches the process and hand plain values to the crates that decide.

pub mod admin;
pub mod allocator;
pub mod brands;
pub mod config;
pub mod file;
pub mod net;
pub mod process;
pub mod telemetry;

mod account;
mod clock;
mod secret;
mod shutdown;

pub use account::{Account, HopAccount};
pub use clock::{Clock, EventClock, RealClock, ScaledClock};
pub use net::{Net, NetConfig};
pub use secret::Secret;
pub use shutdown::{Guard, Phase, Shutdown, ShutdownConfig};
