//! For measuring: the mark that pipelines are held against, and looking over a step's shoulder. Nothing here
//! is used while serving. Compare only figures of the same run: machines drift.

mod bare;
mod kafka;
mod watched;

pub use bare::{BareCopy, bare_copy};
pub use kafka::{remove_topics, tail};
pub use watched::{Tape, Watched, copy_step};
