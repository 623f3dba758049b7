//! Will this thread spread: constant-memory features of its reactions and a fitted forecast with intervals.

mod boost;
mod linear;
mod model;
mod state;

pub use model::{
    AGES_S, AgeScore, CascadeModel, FitError, Forecast, HORIZON_S, ModelError, THREADS_MIN, Thread,
};
pub use state::ThreadState;
