use std::time::Duration;

use rand::Rng as _;

/// Pauses between attempts: each twice the one before, drawn from its upper half, so that many that
/// failed together do not come back together.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// The next pause.
    pub(crate) fn pause(&mut self) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(self.longest);
        full.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// It went well: begin with short pauses again.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_longest_and_start_over() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut backoff = Backoff::new(first, longest);
        for full in [100, 200, 400, 800, 1_000, 1_000] {
            let pause = backoff.pause();
            assert!(pause <= Duration::from_millis(full) && pause >= Duration::from_millis(full / 2));
        }
        backoff.reset();
        assert!(backoff.pause() <= first);
    }
}
