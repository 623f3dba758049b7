//! What tests share: real servers, started when they are there. For development only; decides nothing.

pub mod clock;
pub mod kafka;
pub mod postgres;
