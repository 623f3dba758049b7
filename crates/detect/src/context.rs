//! What a decision is told about the world around its subject.

use crate::{rhythm::Rhythm, subject::SubjectState};

/// How much of the world was seen while a tally was made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coverage {
    /// Share (0..1) of the subject's expected sources that reported; the rest of the time is not read as silence.
    pub share: f32,
    /// A source is delivering a backlog after a gap: counts are taken but never read as a burst.
    pub catching_up: bool,
}

impl Coverage {
    /// Everything reports.
    pub const FULL: Self = Self { share: 1.0, catching_up: false };
}

/// What the forecast of a subject's liveliest thread says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ThreadPrior {
    /// Probability (0..1) that the thread reaches the size worth a warning.
    pub p_spread: f32,
    /// Expected final number of reactions.
    pub expected_final: f32,
}

/// What a young subject borrows from its brand or tenant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prior {
    /// Weighted complaints per second of a typical subject.
    pub level_per_s: f32,
    /// The shape of the week.
    pub rhythm: Rhythm,
    /// Seconds of own observation that the prior is worth.
    pub trust_s: f32,
}

impl Prior {
    /// Knows nothing: one complaint a day, flat, believed for an hour.
    pub const NONE: Self = Self { level_per_s: 1.0 / 86_400.0, rhythm: Rhythm::FLAT, trust_s: 3600.0 };

    /// Pools subjects of a brand or tenant: the geometric mean level and the evidence-weighted rhythm.
    ///
    /// The result depends on the subjects, not on their order beyond rounding; pass them in a fixed order.
    pub fn pool<'a>(subjects: impl IntoIterator<Item = &'a SubjectState>) -> Self {
        let (mut days, mut log_level, mut events) = (0.0f64, 0.0f64, 0.0f64);
        let (mut hours, mut weekdays) = ([0.0f64; 24], [0.0f64; 7]);
        for subject in subjects {
            let (level, rhythm, age_days) = subject.lesson();
            days += f64::from(age_days);
            log_level += f64::from(age_days) * f64::from(level.max(1e-9)).ln();
            let weight = f64::from(age_days) * f64::from(level.max(1e-9));
            events += weight;
            let shape = rhythm.factors().into_iter().chain(rhythm.weekdays());
            let sums = hours.iter_mut().chain(&mut weekdays);
            sums.zip(shape).for_each(|(sum, factor)| *sum += weight * f64::from(factor));
        }
        if days <= 0.0 {
            return Self::NONE;
        }
        Self {
            level_per_s: (log_level / days).exp() as f32,
            rhythm: Rhythm::from_factors(hours.map(|sum| (sum / events) as f32))
                .with_weekdays(weekdays.map(|sum| (sum / events) as f32)),
            trust_s: (days * 8640.0).clamp(3600.0, 86_400.0) as f32,
        }
    }
}

/// Everything a decision about one subject may look at besides its own state and the tally.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Context {
    /// What a subject starts from.
    pub prior: Prior,
    /// How much of the world was seen since the subject's last tally.
    pub coverage: Coverage,
    /// The liveliest thread of the subject, if one is live.
    pub thread: Option<ThreadPrior>,
    /// Local time minus UTC at the tally, seconds; daylight saving is the caller's to include.
    pub utc_offset_s: i32,
    /// No event can be later than this, unix seconds: times of fast clocks are brought back to it.
    pub horizon_s: i64,
}

impl Default for Context {
    fn default() -> Self {
        Self {
            prior: Prior::NONE,
            coverage: Coverage::FULL,
            thread: None,
            utc_offset_s: 0,
            horizon_s: i64::MAX,
        }
    }
}
