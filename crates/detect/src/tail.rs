//! How rare a score is for this key: the tail of its own episode peaks.

use crate::tuning::Tuning;

/// Peaks over a moving threshold, one per episode, with a tail fitted to their excesses.
///
/// Peaks over threshold as in Siffer et al. 2017 (SPOT), but on one maximum per episode, because
/// scores minutes apart are the same event: what is calibrated is how often an episode with at
/// least that score *starts*. The fit is by the mean excess with a fixed shape, and shrunk to the
/// prior while the key has few episodes of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Tail {
    /// Scores above are peaks.
    threshold: f32,
    /// Mean excess of episode peaks over the threshold at their time.
    excess: f32,
    /// Episodes seen, exponentially forgotten.
    episodes: f32,
    /// Rows seen, forgotten alike.
    rows: f32,
    /// The running episode's largest excess; negative when there is none.
    peak: f32,
    /// When the score was last above the threshold, seconds on the caller's clock.
    over_s: u32,
}

/// What a young key may borrow of a tail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TailLesson {
    pub(crate) threshold: f32,
    pub(crate) excess: f32,
}

/// The mean excess never falls below this share of the first one.
const LEAST_EXCESS: f32 = 0.1;
/// Rows above a level less than this apart are one episode.
pub(crate) const EPISODE_GAP_S: u32 = 3600;

impl Tail {
    pub(crate) fn new(tuning: &Tuning) -> Self {
        Self {
            threshold: tuning.tail_threshold,
            excess: tuning.tail_excess,
            episodes: 0.0,
            rows: 0.0,
            peak: -1.0,
            over_s: 0,
        }
    }

    /// The tail of a key nobody has seen beside others that have been. Own peaks weigh against it as against
    /// the shipped one: by [`Tuning::tail_prior`] episodes.
    pub(crate) fn from_lesson(lesson: TailLesson, tuning: &Tuning) -> Self {
        Self {
            threshold: lesson.threshold.max(tuning.tail_threshold_min),
            excess: lesson.excess.max(tuning.tail_excess * LEAST_EXCESS),
            ..Self::new(tuning)
        }
    }

    pub(crate) fn lesson(&self) -> TailLesson {
        TailLesson { threshold: self.threshold, excess: self.excess }
    }

    /// `-log10` of how often per row an episode with at least this score starts.
    pub(crate) fn surprise(&self, score: f32, tuning: &Tuning) -> f32 {
        let base = -self.rate(tuning).log10();
        if score <= self.threshold {
            return base * (score / self.threshold).max(0.0);
        }
        let shape = tuning.tail_shape;
        let scale = self.excess * (1.0 - shape);
        let excess = (score - self.threshold) / scale;
        let ln_survival = if shape > 0.0 { (shape * excess).ln_1p() / shape } else { excess };
        base + ln_survival * std::f32::consts::LOG10_E
    }

    /// Learns from one score that stands for `rows` rows ending at `now_s`.
    pub(crate) fn learn(&mut self, score: f32, rows: f32, now_s: u32, tuning: &Tuning) {
        let forget = rows / tuning.tail_memory_rows;
        let keep = 1.0 - forget.min(1.0);
        self.rows = self.rows * keep + rows;
        self.episodes *= keep;
        if score > self.threshold {
            if self.peak < 0.0 {
                self.episodes += 1.0;
                self.threshold += self.gain(tuning);
            }
            self.peak = self.peak.max(score - self.threshold).max(0.0);
            self.over_s = now_s;
        } else if self.peak >= 0.0 && now_s.saturating_sub(self.over_s) >= EPISODE_GAP_S {
            self.close(tuning);
        }
        let fall = rows * tuning.tail_rate * self.gain(tuning);
        self.threshold = (self.threshold - fall).max(tuning.tail_threshold_min);
    }

    /// Ends the running episode: its peak enters the fit, bounded so that one burst cannot own it.
    fn close(&mut self, tuning: &Tuning) {
        let bounded = self.peak.min(self.excess * tuning.tail_bound);
        let weight = 1.0 / (self.episodes + tuning.tail_prior).max(1.0);
        self.excess += weight.max(tuning.tail_weight_min) * (bounded - self.excess);
        self.excess = self.excess.max(tuning.tail_excess * LEAST_EXCESS);
        self.peak = -1.0;
    }

    /// Episodes per row, shrunk to the wanted rate by a prior of a few episodes.
    fn rate(&self, tuning: &Tuning) -> f32 {
        let prior = tuning.tail_prior;
        (self.episodes + prior) / (self.rows + prior / tuning.tail_rate)
    }

    /// How far one episode moves the threshold: quick while young, slow later.
    fn gain(&self, tuning: &Tuning) -> f32 {
        tuning.tail_gain * self.excess / (1.0 + self.episodes / tuning.tail_prior).sqrt()
    }

    /// See [`crate::SubjectState::touch`].
    pub(crate) fn touch(&self) -> u32 {
        self.over_s
    }

    pub(crate) fn words(&self, out: &mut crate::snapshot::Writer) {
        [self.threshold, self.excess, self.episodes, self.rows, self.peak]
            .into_iter()
            .for_each(|value| out.f32(value));
        out.u32(self.over_s);
    }

    pub(crate) fn from_words(input: &mut crate::snapshot::Reader<'_>) -> Option<Self> {
        Some(Self {
            threshold: input.f32()?,
            excess: input.f32()?,
            episodes: input.f32()?,
            rows: input.f32()?,
            peak: input.f32()?,
            over_s: input.u32()?,
        })
    }
}
