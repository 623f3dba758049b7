//! Will this thread spread: constant-memory features of its reactions and a fitted forecast with intervals.

mod age;
mod boost;
mod forecast;
mod linear;
mod middle;
mod model;
mod state;
mod training;

pub use forecast::Forecast;
pub use model::{AGES_S, CascadeModel, HORIZON_S, ModelError};
pub use state::ThreadState;
pub use training::{AgeScore, FitError, THREADS_MIN, Thread};
