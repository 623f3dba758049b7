//! What a decision is told about the world around its subject.

use crate::{
    pulse::{BRANCHES, Calibration},
    rhythm::Rhythm,
    subject::SubjectState,
    tail::TailLesson,
};

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
    /// How rare such subjects' scores are; `None` starts from the shipped constants.
    pub calibration: Option<Calibration>,
}

impl Prior {
    /// Knows nothing: one complaint a day, flat, believed for an hour.
    pub const NONE: Self =
        Self { level_per_s: 1.0 / 86_400.0, rhythm: Rhythm::FLAT, trust_s: 3600.0, calibration: None };

    /// Pools subjects of a brand or tenant: the geometric means of level, spread and tail, and the
    /// evidence-weighted rhythm.
    ///
    /// The result depends on the subjects, not on their order beyond rounding; pass them in a fixed order.
    pub fn pool<'a>(subjects: impl IntoIterator<Item = &'a SubjectState>) -> Self {
        let mut pool = Pool::default();
        subjects.into_iter().for_each(|subject| pool.add(subject));
        pool.prior()
    }
}

/// Sums over subjects, weighted by days of evidence; the rhythm's also by events.
#[derive(Default)]
struct Pool {
    days: f64,
    log_level: f64,
    events: f64,
    hours: [f64; 24],
    weekdays: [f64; 7],
    gravity: f64,
    log_variance: [f64; BRANCHES],
    log_threshold: f64,
    log_excess: f64,
}

impl Pool {
    fn add(&mut self, subject: &SubjectState) {
        let lesson = subject.lesson();
        let days = f64::from(lesson.days);
        let log = |value: f32| days * f64::from(value.max(1e-9)).ln();
        self.days += days;
        self.log_level += log(lesson.level_per_s);
        let known = lesson.calibration;
        self.log_variance.iter_mut().zip(known.variance).for_each(|(sum, variance)| *sum += log(variance));
        self.log_threshold += log(known.tail.threshold);
        self.log_excess += log(known.tail.excess);
        let events = days * f64::from(lesson.level_per_s);
        self.events += events;
        let add = |(sum, factor): (&mut f64, f32)| *sum += events * f64::from(factor);
        self.hours.iter_mut().zip(lesson.rhythm.factors()).for_each(add);
        self.weekdays.iter_mut().zip(lesson.rhythm.weekdays()).for_each(add);
        add((&mut self.gravity, lesson.rhythm.gravity()));
    }

    fn prior(&self) -> Prior {
        if self.days <= 0.0 {
            return Prior::NONE;
        }
        let mean = |log_sum: f64| (log_sum / self.days).exp() as f32;
        let share = |sum: f64| (sum / self.events) as f32;
        Prior {
            level_per_s: mean(self.log_level),
            rhythm: Rhythm::from_factors(self.hours.map(share))
                .with_weekdays(self.weekdays.map(share))
                .with_gravity(share(self.gravity)),
            trust_s: (self.days * 8640.0).clamp(3600.0, 86_400.0) as f32,
            calibration: Some(Calibration {
                variance: self.log_variance.map(mean),
                tail: TailLesson { threshold: mean(self.log_threshold), excess: mean(self.log_excess) },
            }),
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
