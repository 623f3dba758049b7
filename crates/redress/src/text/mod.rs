//! Commands that read and learn from text.

pub(crate) mod classify;
pub(crate) mod corpus;
pub(crate) mod evaluate;
pub(crate) mod json;
pub(crate) mod labels;
pub(crate) mod recipe;
mod second;
pub(crate) mod train;
