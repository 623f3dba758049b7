//! Decides, on event time and from the past alone, whether a subject is rising and how far a thread will spread.
//!
//! - [`Tally`]s, additive per (subject, second), go into a [`SubjectState`] by [`observe`], which says how surprising
//!   the subject is and what happens to its episode; [`tick`] moves it on when nothing comes.
//! - [`Series`] does the same for a plain series of counts.
//! - A [`thread::ThreadState`] folds a thread's reactions; a [`thread::CascadeModel`] forecasts from it.
//!
//! It stays ignorant of clocks, files, sockets and storage, of who is told, and of what a text says: it sees numbers,
//! hashes and event times, and the same inputs always give the same answers.

mod context;
mod episode;
mod explain;
mod news;
mod policy;
mod pulse;
mod reason;
mod recent;
mod rhythm;
mod series;
#[cfg(feature = "simulate")]
pub mod simulate;
mod sketch;
mod snapshot;
mod subject;
mod tail;
mod tally;
pub mod thread;
mod tuning;
mod window;

pub use context::{Context, Coverage, Prior, ThreadPrior};
pub use episode::EpisodeSignal;
pub use explain::{Contributor, Controller, Explanation, Moment, backtest};
pub use policy::DetectPolicy;
pub use pulse::Calibration;
pub use reason::{Branch, Reason, ReasonKind, SeriesReason};
pub use rhythm::Rhythm;
pub use series::{RowError, Series, SeriesPoint};
pub use sketch::DistinctSketch;
pub use subject::{Observation, ROW_S, SnapshotError, SubjectState, observe, tick};
pub use tally::{Post, Tally};
pub use tuning::Tuning;
