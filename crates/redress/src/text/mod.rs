//! Commands that read and learn from text.

pub mod classify;
pub mod corpus;
pub mod evaluate;
pub mod json;
pub mod labels;
pub mod recipe;
pub mod train;
