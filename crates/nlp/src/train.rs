//! Training: from labelled texts to parts of a model.
//!
//! `joint` learns many heads over one table, as the shipped model has them.

pub mod joint;
