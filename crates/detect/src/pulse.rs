//! The heart of detection: one key's level, rhythm, branches and tail, moved along in event time.

use crate::{
    context::Prior,
    rhythm::Rhythm,
    subject::ROW_S,
    tail::{Tail, TailLesson},
    tuning::Tuning,
};

/// Number of branches: sudden, building, slow.
pub(crate) const BRANCHES: usize = 3;

/// Those that look at a window; the last one, slow, sums evidence up instead.
const WINDOWS: usize = 2;

/// A window's count beside what was expected in it: the sudden and the building branch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Branch {
    /// Windowed count.
    seen: f32,
    /// Windowed expectation, decayed alike.
    expected: f32,
}

/// The sum of evidence: the slow branch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Evidence(f32);

impl Branch {
    /// An exponential window over what came and one over what was expected; answers how far they are apart.
    fn compare(&mut self, count: f32, expected: f32, stretch: &Stretch, tau: f32, tuning: &Tuning) -> f32 {
        if stretch.missing_s > 0.0 {
            let keep = (-stretch.missing_s / tau).exp();
            self.seen *= keep;
            self.expected *= keep;
        }
        let keep = (-stretch.observed_s / tau).exp();
        // Idle time's expectation is spread over the stretch, not piled up at its end.
        let spread = tau * (1.0 - keep) / stretch.observed_s.max(1e-3);
        self.seen = self.seen * keep + count;
        self.expected = self.expected * keep + expected * if stretch.is_idle() { spread } else { 1.0 };
        stable(self.seen, tuning) - stable(self.expected, tuning)
    }
}

impl Evidence {
    /// The sum of evidence for twice the usual rate, never below none (CUSUM: Page 1954, with the
    /// likelihood ratio of Poisson counts), slowly forgotten so that a huge burst does not stay for days.
    fn sum_up(
        &mut self,
        count: f32,
        expected_per_s: f32,
        stretch: &Stretch,
        tau: f32,
        tuning: &Tuning,
    ) -> f32 {
        let expected = expected_per_s * stretch.observed_s;
        let keep = (-(stretch.observed_s + stretch.missing_s) / tau).exp();
        let (kept, up) = (self.0 * keep, count * std::f32::consts::LN_2);
        // What ends an idle stretch came at its end, after the silence.
        self.0 =
            if stretch.is_idle() { (kept - expected).max(0.0) + up } else { (kept + up - expected).max(0.0) };
        stable(self.0 / steadiness(expected_per_s), tuning) - stable(0.0, tuning)
    }
}

/// What one row says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Beat {
    /// `-log10` of the calibrated tail probability.
    pub(crate) surprise: f32,
    /// Which branch was the largest: 0 sudden, 1 building, 2 slow.
    pub(crate) branch: u8,
    /// Expected events per second now.
    pub(crate) expected_per_s: f32,
    /// The last minutes hold less than is usual: whatever built up before is over.
    pub(crate) is_past: bool,
}

/// How far a subject's branches usually are from what is expected, and how high the peaks of its score are: what
/// one threshold needs to mean one false alarm rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// Variances of the branches' stabilised residuals.
    pub(crate) variance: [f32; BRANCHES],
    pub(crate) tail: TailLesson,
}

/// What one key teaches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lesson {
    pub(crate) level_per_s: f32,
    pub(crate) rhythm: Rhythm,
    /// Days of evidence.
    pub(crate) days: f32,
    pub(crate) calibration: Calibration,
}

/// A key's whole learned state.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Pulse {
    /// Events per second, free of rhythm.
    level: f32,
    /// Observed seconds so far, saturating at the memory of the level.
    age_s: f32,
    rhythm: Rhythm,
    windows: [Branch; WINDOWS],
    evidence: Evidence,
    /// Running variances of the branches' stabilised residuals.
    variance: [f32; BRANCHES],
    tail: Tail,
}

/// What came in a stretch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Complaints, copies folded.
    pub(crate) complaints: f32,
    /// What they weigh together.
    pub(crate) weight: f32,
}

impl Load {
    /// Nothing came.
    pub(crate) const NONE: Self = Self::plain(0.0);

    /// Counts of which nothing more is known: each weighs 1.
    pub(crate) const fn plain(count: f32) -> Self {
        Self { complaints: count, weight: count }
    }
}

/// A stretch of observed time that ends at a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretch {
    /// End of the stretch, local unix seconds (rhythm follows local hours).
    pub(crate) local_s: i64,
    /// The same on the tail's clock: seconds that never go back.
    pub(crate) now_s: u32,
    /// Observed seconds that the row stands for.
    pub(crate) observed_s: f32,
    /// Seconds before those that nobody observed.
    pub(crate) missing_s: f32,
    /// Seconds of one row, the unit of the tail.
    pub(crate) row_s: f32,
    /// Whether the baseline may learn (no open episode).
    pub(crate) learn: bool,
    /// What comes is a backlog: more than usual of it is no more than late.
    pub(crate) is_backlog: bool,
}

impl Stretch {
    /// Whether this is a silence with what ended it, rather than one row of many.
    fn is_idle(&self) -> bool {
        self.observed_s > self.row_s * 1.5
    }
}

impl Pulse {
    /// A key nobody has seen: it starts from the prior, which is believed for the prior's `trust_s` seconds.
    pub(crate) fn new(prior: &Prior, tuning: &Tuning) -> Self {
        let (variance, tail) = match &prior.calibration {
            Some(known) => (known.variance, Tail::from_lesson(known.tail, tuning)),
            None => ([1.0; BRANCHES], Tail::new(tuning)),
        };
        Self {
            level: prior.level_per_s.max(1e-9),
            age_s: prior.trust_s.max(1.0),
            rhythm: prior.rhythm,
            windows: [Branch::default(); WINDOWS],
            evidence: Evidence::default(),
            variance,
            tail,
        }
    }

    /// Takes what came in the stretch and answers how surprising the key is now.
    pub(crate) fn beat(&mut self, load: Load, stretch: &Stretch, tuning: &Tuning) -> Beat {
        let factor = self.rhythm.factor(stretch.local_s);
        let expected_per_s = self.level_before_window(tuning) * factor;
        let expected = expected_per_s * stretch.observed_s;
        let count = if stretch.is_backlog { load.weight.min(expected) } else { load.weight };
        let mut best = Beat { expected_per_s, ..Beat::default() };
        let mut score = f32::NEG_INFINITY;
        let [sudden_tau, building_tau, slow_tau] = tuning.branch_tau_s;
        let [sudden, building] = &mut self.windows;
        let residuals = [
            sudden.compare(count, expected, stretch, sudden_tau, tuning),
            building.compare(count, expected, stretch, building_tau, tuning),
            self.evidence.sum_up(count, expected_per_s, stretch, slow_tau, tuning),
        ];
        best.is_past = residuals[0] < 0.0;
        for (index, (residual, variance)) in residuals.iter().zip(self.variance).enumerate() {
            let this = residual / variance.sqrt().max(tuning.spread_floor) * tuning.branch_weight[index];
            if this > score {
                score = this;
                best.branch = index as u8;
            }
        }
        best.surprise = self.tail.surprise(score, tuning).max(0.0);
        let rows = stretch.observed_s / stretch.row_s;
        self.tail.learn(score, rows, stretch.now_s, tuning);
        if self.learn(count, factor, &residuals, best.surprise, stretch, tuning) {
            self.rhythm.weigh(load.complaints, load.weight, stretch.now_s);
        }
        best
    }

    /// The level without what the last minutes taught: a young key's level is soon made of the very
    /// rise that it is to be compared with.
    fn level_before_window(&self, tuning: &Tuning) -> f32 {
        let window = &self.windows[0];
        let memory_s = self.age_s.min(tuning.level_days * DAY_S).max(1.0);
        let taught = (window.seen - window.expected).max(0.0) / memory_s;
        // What was bounded or frozen taught less than that.
        (self.level - taught).max(self.level * 0.5)
    }

    /// Expected events per second at a local time.
    pub(crate) fn expected_per_s(&self, local_s: i64) -> f32 {
        self.level * self.rhythm.factor(local_s)
    }

    /// The complaints that nine in ten windows hold where they are expected to weigh `expected`.
    pub(crate) fn usual(&self, expected: f32, tuning: &Tuning) -> (f32, f32) {
        // The sudden branch's spread is that of about such a stretch.
        let (low, high) = self.usual_within(expected, 0, tuning);
        ((low / self.rhythm.gravity()).floor(), (high / self.rhythm.gravity()).ceil())
    }

    /// The events that nine in ten stretches hold where `expected` are, by the spread of a window (0 sudden,
    /// 1 building); never less apart than Poisson counts are.
    pub(crate) fn usual_within(&self, expected: f32, window: usize, tuning: &Tuning) -> (f32, f32) {
        let middle = stable(expected, tuning);
        let reach = 1.645 * self.variance[window.min(WINDOWS - 1)].sqrt().max(1.0);
        (unstable(middle - reach, tuning), unstable(middle + reach, tuning))
    }

    /// See [`crate::SubjectState::touch`].
    pub(crate) fn touch(&self) -> u32 {
        self.level.to_bits() ^ self.windows[1].seen.to_bits() ^ self.tail.touch()
    }

    /// What this key knows that a young one may borrow.
    pub(crate) fn lesson(&self) -> Lesson {
        Lesson {
            level_per_s: self.level.max(1e-9),
            rhythm: self.rhythm,
            days: self.age_s / DAY_S,
            calibration: Calibration { variance: self.variance, tail: self.tail.lesson() },
        }
    }

    /// Answers whether the row taught what is usual.
    #[allow(clippy::too_many_arguments)]
    fn learn(
        &mut self,
        count: f32,
        factor: f32,
        residuals: &[f32; BRANCHES],
        surprise: f32,
        stretch: &Stretch,
        tuning: &Tuning,
    ) -> bool {
        let observed = stretch.observed_s;
        let memory = tuning.spread_days * DAY_S;
        // The first spread, that of Poisson counts, is believed for hours: else a rise of a young key
        // becomes its usual spread while it rises.
        let rate = (observed / (self.age_s.clamp(SPREAD_TRUST_S, memory) + observed)).min(1.0);
        for (variance, residual) in self.variance.iter_mut().zip(residuals) {
            let bound = tuning.spread_clip
                * tuning.spread_clip
                * variance.max(tuning.spread_floor * tuning.spread_floor);
            *variance += rate * ((residual * residual).min(bound) - *variance);
        }
        self.age_s = (self.age_s + observed).min(tuning.spread_days.max(tuning.level_days) * DAY_S);
        if !stretch.learn || surprise > tuning.freeze_surprise {
            return false;
        }
        // Bounded by the window, not by the row: a tally's row may be a single second.
        let window = &self.windows[0];
        let bound = tuning.level_clip * (window.expected + window.expected.sqrt() + 1.0);
        let bounded = if self.age_s > DAY_S / 4.0 { count * (bound / window.seen.max(bound)) } else { count };
        let memory = self.age_s.min(tuning.level_days * DAY_S).max(1.0);
        self.level += bounded / (factor * memory) - (observed / memory).min(1.0) * self.level;
        let elapsed_s = observed + stretch.missing_s;
        self.rhythm.learn(bounded, self.level * observed, elapsed_s, stretch.local_s, tuning);
        true
    }

    pub(crate) fn words(&self, out: &mut crate::snapshot::Writer) {
        out.f32(self.level);
        out.f32(self.age_s);
        self.rhythm.words(out);
        for window in self.windows {
            out.f32(window.seen);
            out.f32(window.expected);
        }
        out.f32(self.evidence.0);
        self.variance.iter().for_each(|value| out.f32(*value));
        self.tail.words(out);
    }

    pub(crate) fn from_words(input: &mut crate::snapshot::Reader<'_>) -> Option<Self> {
        let (level, age_s) = (input.f32()?, input.f32()?);
        let rhythm = Rhythm::from_words(input)?;
        let mut windows = [Branch::default(); WINDOWS];
        for window in &mut windows {
            *window = Branch { seen: input.f32()?, expected: input.f32()? };
        }
        let evidence = Evidence(input.f32()?);
        let mut variance = [0.0; BRANCHES];
        for value in &mut variance {
            *value = input.f32()?;
        }
        Some(Self { level, age_s, rhythm, windows, evidence, variance, tail: Tail::from_words(input)? })
    }
}

const DAY_S: f32 = 86_400.0;
/// Seconds of own observation that a first spread is worth.
const SPREAD_TRUST_S: f32 = 6.0 * 3600.0;

/// What evidence is divided by. Were the expectation exact, equal evidence would be equally rare at any
/// hour; it is off by a share, which adds up faster in busy hours: the fourth root of the expected
/// events per five minutes lies between the two.
fn steadiness(expected_per_s: f32) -> f32 {
    (expected_per_s * ROW_S).max(1.0).sqrt().sqrt()
}

/// Makes the variance of a count less dependent on its size: the power 3/4, between a square root
/// (right for Poisson counts) and none, kept the sizes of real bursts apart best; and it is two square roots.
fn stable(count: f32, tuning: &Tuning) -> f32 {
    let root = (count.max(0.0) + tuning.root_offset).sqrt();
    root * root.sqrt() / 0.75
}

/// The count of a stabilised value.
fn unstable(value: f32, tuning: &Tuning) -> f32 {
    let scaled = value.max(0.0) * 0.75;
    (scaled * scaled.cbrt() - tuning.root_offset).max(0.0)
}
