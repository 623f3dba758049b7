//! What every log promises, checked on each adapter by the same cases.

#![allow(clippy::unwrap_used, reason = "cases are tests, also in their helpers")]

mod cases;
mod embedded;
mod kafka;
mod world;
