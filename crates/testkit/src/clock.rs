//! Time in the hands of a test.

use std::time::Duration;

use model::Timestamp;
use runtime::{Clock, EventClock};

/// A clock that moves only when the test says so; sleepers wake when it passes them.
#[derive(Debug)]
pub struct ManualClock(EventClock);

impl ManualClock {
    /// Shows `at` until it is moved.
    pub fn at(at: Timestamp) -> Self {
        Self(EventClock::starting_at(at))
    }

    /// Shows an RFC 3339 time until it is moved.
    ///
    /// # Panics
    /// When `text` is no RFC 3339 time: the test is wrong.
    pub fn starting(text: &str) -> Self {
        match Timestamp::parse_rfc3339(text) {
            Ok(at) => Self::at(at),
            Err(error) => panic!("test clock: {error}"),
        }
    }

    /// Moves to `at`; an earlier instant changes nothing.
    pub fn set(&self, at: Timestamp) {
        self.0.advance(at);
    }

    /// Moves on by `length`.
    pub fn advance(&self, length: Duration) {
        let millis = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
        self.0.advance(self.0.now().plus_millis(millis));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn sleep_until(&self, at: Timestamp) -> futures::future::BoxFuture<'_, ()> {
        self.0.sleep_until(at)
    }
}
