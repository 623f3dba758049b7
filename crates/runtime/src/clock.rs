use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use model::Timestamp;
use tokio::sync::watch;

/// The longest a real sleep lasts before the clock is read again, so that a clock that was set, or a
/// machine that slept, delays nothing by more than this.
const RECHECK: Duration = Duration::from_millis(500);

/// Tells the time and waits for it. Decisions never see it: they are given `now`.
pub trait Clock: Send + Sync {
    /// The present instant.
    fn now(&self) -> Timestamp;

    /// Returns once [`Clock::now`] has reached `at`; at once when it already has.
    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'_, ()>;

    /// Returns after `length` of this clock's time.
    fn sleep(&self, length: Duration) -> BoxFuture<'_, ()> {
        self.sleep_until(after(self.now(), length))
    }
}

/// `length` after `at`, to the microsecond, clamped to what can be named.
fn after(at: Timestamp, length: Duration) -> Timestamp {
    Timestamp::from_micros(
        at.as_micros().saturating_add(i64::try_from(length.as_micros()).unwrap_or(i64::MAX)),
    )
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealClock;

impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        let micros = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |m| -m),
        };
        Timestamp::from_micros(micros)
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            loop {
                let left = at.as_micros() - self.now().as_micros();
                let Ok(left) = u64::try_from(left) else { return };
                if left == 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_micros(left).min(RECHECK)).await;
            }
        })
    }
}

/// A clock that starts at a given instant and runs `speed` times as fast as real time.
#[derive(Debug, Clone, Copy)]
pub struct ScaledClock {
    origin: Timestamp,
    speed: f64,
    start: Instant,
}

impl ScaledClock {
    /// Starts now, showing `origin`. `speed` 1.0 is real time; values that are not above zero, or not
    /// finite, count as 1.0.
    pub fn starting_at(origin: Timestamp, speed: f64) -> Self {
        let speed = if speed.is_finite() && speed > 0.0 { speed } else { 1.0 };
        Self { origin, speed, start: Instant::now() }
    }

    /// How many times as fast as real time.
    pub const fn speed(&self) -> f64 {
        self.speed
    }
}

impl Clock for ScaledClock {
    fn now(&self) -> Timestamp {
        let passed = self.start.elapsed().as_secs_f64() * self.speed * 1e6;
        // A float beyond i64 saturates, and `from_micros` clamps.
        Timestamp::from_micros(self.origin.as_micros().saturating_add(passed as i64))
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            loop {
                let left = at.as_micros() - self.now().as_micros();
                if left <= 0 {
                    return;
                }
                let real = Duration::from_secs_f64((left as f64 / 1e6 / self.speed).clamp(1e-4, 3_600.0));
                tokio::time::sleep(real).await;
            }
        })
    }
}

/// A clock that shows the newest event time it was told: for replays as fast as the machine goes.
#[derive(Debug)]
pub struct EventClock {
    now: watch::Sender<Timestamp>,
}

impl EventClock {
    /// Starts at `origin`.
    pub fn starting_at(origin: Timestamp) -> Self {
        Self { now: watch::Sender::new(origin) }
    }

    /// Moves to `at` and wakes those whose time has come; an earlier instant changes nothing.
    pub fn advance(&self, at: Timestamp) {
        self.now.send_if_modified(|now| {
            let later = at > *now;
            if later {
                *now = at;
            }
            later
        });
    }
}

impl Clock for EventClock {
    fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'_, ()> {
        let mut seen = self.now.subscribe();
        Box::pin(async move {
            // The sender lives in `self`, which outlives this future.
            let _ = seen.wait_for(|now| *now >= at).await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn event_clock_wakes_sleepers_when_events_pass_them() {
        let clock = EventClock::starting_at(Timestamp::from_seconds(100));
        let mut asleep = clock.sleep(Duration::from_secs(10));
        assert!(futures::poll!(&mut asleep).is_pending());
        clock.advance(Timestamp::from_seconds(109));
        assert!(futures::poll!(&mut asleep).is_pending());
        clock.advance(Timestamp::from_seconds(105));
        assert_eq!(clock.now(), Timestamp::from_seconds(109), "it never runs backwards");
        clock.advance(Timestamp::from_seconds(110));
        asleep.await;
    }

    #[tokio::test]
    async fn scaled_clock_runs_as_fast_as_told() {
        let clock = ScaledClock::starting_at(Timestamp::EPOCH, 1_000_000.0);
        clock.sleep(Duration::from_secs(1_000)).await;
        assert!(clock.now() >= Timestamp::from_seconds(1_000));
        assert!((ScaledClock::starting_at(Timestamp::EPOCH, f64::NAN).speed() - 1.0).abs() < f64::EPSILON);
    }

    #[tokio::test]
    async fn past_instants_are_not_waited_for() {
        RealClock.sleep_until(Timestamp::MIN).await;
        assert!(RealClock.now() > Timestamp::from_seconds(1_700_000_000));
    }
}
