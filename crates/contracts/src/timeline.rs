//! What every reader of a timeline asks of its steps.

use crate::alert::v1::TimelineStep;

impl TimelineStep {
    /// When it ends, microseconds.
    pub fn end_us(&self) -> i64 {
        self.at_us.saturating_add(i64::from(self.length_s) * 1_000_000)
    }

    /// What `open_at` is held against: the surprise, for threads the probability to pass `viral_size`.
    pub fn level(&self) -> f32 {
        self.thread.as_ref().map_or(self.surprise, |thread| thread.p_viral)
    }

    /// Takes in the step after it: counts add up, the numbers are those of the louder moment, and of threads those of
    /// the last forecast.
    pub fn join(&mut self, later: &Self) {
        let length_us = later.end_us().saturating_sub(self.at_us);
        let (at_us, length_s) = (self.at_us, u32::try_from(length_us / 1_000_000).unwrap_or(u32::MAX));
        let (posts, complaints) =
            (self.posts.saturating_add(later.posts), self.complaints + later.complaints);
        if later.thread.is_some() || self.thread.is_none() && later.surprise >= self.surprise {
            *self = *later;
        }
        *self = Self { at_us, length_s, posts, complaints, ..*self };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::v1::ThreadStep;

    fn step(minute: i64, surprise: f32, seen: Option<u64>) -> TimelineStep {
        let thread = seen.map(|seen| ThreadStep { seen, p_viral: 0.5, ..ThreadStep::default() });
        TimelineStep {
            at_us: minute * 60_000_000,
            length_s: 60,
            posts: 2,
            complaints: 1.5,
            surprise,
            thread,
            ..TimelineStep::default()
        }
    }

    #[test]
    fn joined_steps_count_together_and_tell_the_louder_moment_or_the_last_forecast() {
        for (before, after, surprise, seen) in [
            (step(0, 1.0, None), step(3, 2.0, None), 2.0, None),
            (step(0, 2.0, None), step(3, 1.0, None), 2.0, None),
            (step(0, 0.0, Some(5)), step(3, 0.0, Some(9)), 0.0, Some(9)),
            (step(0, 0.0, Some(5)), step(3, 0.0, None), 0.0, Some(5)),
        ] {
            let mut joined = before;
            joined.join(&after);
            assert_eq!((joined.at_us, joined.length_s, joined.end_us()), (0, 240, 240_000_000));
            assert_eq!((joined.posts, joined.complaints), (4, 3.0));
            assert_eq!((joined.surprise, joined.thread.map(|thread| thread.seen)), (surprise, seen));
            assert_eq!(joined.level(), if seen.is_some() { 0.5 } else { surprise });
        }
    }
}
