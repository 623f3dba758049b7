//! Training: from labelled texts to parts of a model.
//!
//! `joint` learns many heads over one table, as the shipped model has them; `linear` solves one task exactly,
//! and `user` chooses settings for a user's own lines.

pub mod calibrate;
pub mod heads;
pub mod joint;
pub mod linear;
pub mod phrases;
pub mod user;
