//! Understanding of public posts, reviews, mails and replies: language, sentiment, complaint, severity, topic, and why.
//!
//! The crate decides what a text says and how sure that is; it stays ignorant of where texts come from, of time, of
//! files and of everything else in the system. One table of byte weights is read once per feature for all answers;
//! arithmetic is on integers or in a fixed order, so the same text gives the same answer on every machine.

pub mod arith;
pub mod features;
pub mod file;
pub mod language;
pub mod metrics;
pub mod model;
pub mod part;
pub mod prepare;
pub mod second;
pub mod train;
pub mod understanding;
pub mod why;

pub use file::ModelError;
pub use language::Language;
pub use model::{Model, Scratch};
pub use part::Task;
pub use second::{Budget, SecondStage};
pub use understanding::{Hint, ReplyActs, SeverityEstimate, SourceFamily, Topics, Understanding};
pub use why::Why;
