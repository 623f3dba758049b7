//! How rare a branch's score is for this key: the tail of its own episode peaks.

use crate::{rhythm::dither, tuning::Tuning};

/// Peaks over a moving threshold, one per episode, with a tail fitted to their excesses; 8 bytes.
///
/// Peaks over threshold as in Siffer et al. 2017 (SPOT), but on one maximum per episode, because
/// scores minutes apart are the same event: what is calibrated is how often an episode with at
/// least that score *starts*. The fit is by the mean excess with a fixed shape, and shrunk to the
/// prior while the key has few episodes of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Tail {
    /// Scores above are peaks, in [`STEPS`].
    threshold: u16,
    /// Mean excess of episode peaks over the threshold at their time, in [`STEPS`].
    excess: u16,
    /// Episodes seen, slowly forgotten, in [`EPISODE_STEPS`].
    episodes: u16,
    /// The running episode's largest excess as a share of the largest that teaches, 1 to 255; 0 when none runs.
    peak: u8,
    /// When the score was last above the threshold, in [`OVER_S`], wrapping round.
    over: u8,
}

/// What a young key may borrow of a tail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TailLesson {
    pub(crate) threshold: f32,
    pub(crate) excess: f32,
}

/// The time one score stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lapse {
    /// Rows observed before.
    pub(crate) seen_rows: f32,
    /// Rows the score stands for.
    pub(crate) rows: f32,
    /// Seconds since the score before, observed or not.
    pub(crate) elapsed_s: f32,
    /// The end of it, seconds on a clock that never goes back.
    pub(crate) now_s: u32,
}

/// Steps of a threshold and an excess to 1.
const STEPS: f32 = 2048.0;
/// Steps to an episode.
const EPISODE_STEPS: f32 = 256.0;
/// Seconds to a step of the time over the threshold; 256 steps are longer than any pause within an episode.
const OVER_S: u32 = 64;
/// The mean excess never falls below this share of the first one.
const LEAST_EXCESS: f32 = 0.1;
/// Rows above a level less than this apart are one episode.
pub(crate) const EPISODE_GAP_S: u32 = 3600;

impl Tail {
    /// The tail of a key nobody has seen, `trust_rows` rows of which are taken as seen.
    pub(crate) fn new(trust_rows: f32, tuning: &Tuning) -> Self {
        let first = TailLesson { threshold: tuning.tail_threshold, excess: tuning.tail_excess };
        Self::from_lesson(first, trust_rows, tuning)
    }

    /// The same beside others that have been seen. Own peaks weigh against it as against the shipped one: by
    /// [`Tuning::tail_prior`] episodes.
    pub(crate) fn from_lesson(lesson: TailLesson, trust_rows: f32, tuning: &Tuning) -> Self {
        let threshold = lesson.threshold.max(tuning.tail_threshold_min);
        let excess = lesson.excess.max(tuning.tail_excess * LEAST_EXCESS);
        let episodes = trust_rows.min(tuning.tail_memory_rows) * tuning.tail_rate;
        Self {
            threshold: steps(threshold * STEPS, 0.5),
            excess: steps(excess * STEPS, 0.5),
            episodes: steps(episodes * EPISODE_STEPS, 0.5),
            peak: 0,
            over: 0,
        }
    }

    pub(crate) fn lesson(&self) -> TailLesson {
        TailLesson { threshold: self.threshold(), excess: self.excess() }
    }

    /// `-log10` of how often per row an episode with at least this score starts, after so many rows.
    pub(crate) fn surprise(&self, score: f32, seen_rows: f32, tuning: &Tuning) -> f32 {
        let (threshold, base) = (self.threshold(), -self.rate(seen_rows, tuning).log10());
        if score <= threshold {
            return base * (score / threshold).max(0.0);
        }
        let shape = tuning.tail_shape;
        let scale = self.excess() * (1.0 - shape);
        let excess = (score - threshold) / scale;
        let ln_survival = if shape > 0.0 { (shape * excess).ln_1p() / shape } else { excess };
        base + ln_survival * std::f32::consts::LOG10_E
    }

    /// Learns from one score.
    pub(crate) fn learn(&mut self, score: f32, lapse: &Lapse, tuning: &Tuning) {
        // Small lessons are rounded by chance, or none would ever move a step.
        let chance = dither(lapse.now_s, 0x27d4_eb2f);
        if lapse.seen_rows >= tuning.tail_memory_rows {
            let keep = (1.0 - lapse.rows / tuning.tail_memory_rows).max(0.0);
            self.episodes = steps(f32::from(self.episodes) * keep, chance);
        }
        let over = (lapse.now_s / OVER_S) as u8;
        let mut threshold = self.threshold();
        if score > threshold {
            if self.peak == 0 {
                self.episodes = self.episodes.saturating_add(EPISODE_STEPS as u16);
                threshold += self.gain(tuning);
            }
            let share = (score - threshold) / (self.excess() * tuning.tail_bound);
            self.peak = self.peak.max(1 + (share.clamp(0.0, 1.0) * PEAK_STEPS).round() as u8);
            self.over = over;
        } else if self.peak > 0 {
            let quiet = u32::from(over.wrapping_sub(self.over)) >= EPISODE_GAP_S / OVER_S;
            if quiet || lapse.elapsed_s >= EPISODE_GAP_S as f32 {
                self.close(tuning);
            }
        }
        let fall = lapse.rows * tuning.tail_rate * self.gain(tuning);
        self.threshold = steps((threshold - fall).max(tuning.tail_threshold_min) * STEPS, chance);
    }

    /// Ends the running episode: its peak enters the fit, bounded so that one burst cannot own it.
    fn close(&mut self, tuning: &Tuning) {
        let excess = self.excess();
        let bounded = f32::from(self.peak - 1) / PEAK_STEPS * excess * tuning.tail_bound;
        let weight = 1.0 / (self.episodes() + tuning.tail_prior).max(1.0);
        let learned = excess + weight.max(tuning.tail_weight_min) * (bounded - excess);
        self.excess = steps(learned.max(tuning.tail_excess * LEAST_EXCESS) * STEPS, 0.5);
        self.peak = 0;
    }

    /// Episodes per row, shrunk to the wanted rate by a prior of a few episodes.
    fn rate(&self, seen_rows: f32, tuning: &Tuning) -> f32 {
        let prior = tuning.tail_prior;
        (self.episodes() + prior) / (seen_rows.min(tuning.tail_memory_rows) + prior / tuning.tail_rate)
    }

    /// How far one episode moves the threshold: quick while young, slow later.
    fn gain(&self, tuning: &Tuning) -> f32 {
        tuning.tail_gain * self.excess() / (1.0 + self.episodes() / tuning.tail_prior).sqrt()
    }

    fn threshold(&self) -> f32 {
        f32::from(self.threshold) / STEPS
    }

    fn excess(&self) -> f32 {
        f32::from(self.excess) / STEPS
    }

    fn episodes(&self) -> f32 {
        f32::from(self.episodes) / EPISODE_STEPS
    }

    /// See [`crate::SubjectState::touch`].
    pub(crate) fn touch(&self) -> u32 {
        u32::from(self.threshold)
    }

    pub(crate) fn words(&self, out: &mut crate::snapshot::Writer) {
        [self.threshold, self.excess, self.episodes].into_iter().for_each(|value| out.u16(value));
        out.u8(self.peak);
        out.u8(self.over);
    }

    pub(crate) fn from_words(input: &mut crate::snapshot::Reader<'_>) -> Option<Self> {
        Some(Self {
            threshold: input.u16()?,
            excess: input.u16()?,
            episodes: input.u16()?,
            peak: input.u8()?,
            over: input.u8()?,
        })
    }
}

/// Steps of a running peak to the largest excess that teaches.
const PEAK_STEPS: f32 = 254.0;

/// A number of steps, rounded up when its fraction and `chance` (0..1) make one; kept within what is stored.
fn steps(value: f32, chance: f32) -> u16 {
    (value + chance) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW_S: u32 = 300;

    /// A tail that has learned `days` of scores five minutes apart, and how many episodes began at a surprise of
    /// 2.5, 0.9 a day, after the first ten days.
    fn learned(days: u32, score: impl Fn(f32) -> f32) -> (Tail, u32) {
        let tuning = &Tuning::SHIPPED;
        let mut tail = Tail::new(0.0, tuning);
        let (mut state, mut last, mut began) = (0x9e37_79b9_u32, 0, 0);
        for row in 0..days * 288 {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            let drawn = score((state >> 8) as f32 / 16_777_216.0);
            let (seen_rows, now_s) = (row as f32, row * ROW_S);
            if tail.surprise(drawn, seen_rows, tuning) >= 2.5 {
                began += u32::from(row > 10 * 288 && now_s - last >= EPISODE_GAP_S);
                last = now_s;
            }
            tail.learn(drawn, &Lapse { seen_rows, rows: 1.0, elapsed_s: ROW_S as f32, now_s }, tuning);
        }
        (tail, began)
    }

    #[test]
    fn one_threshold_is_one_rate_whether_a_branchs_peaks_are_low_or_high() {
        for scale in [0.5, 0.8, 1.2] {
            let (tail, began) = learned(110, |drawn| -scale * (1.0 - drawn).max(1e-7).ln());
            let ratio = began as f32 / 100.0 / 0.911;
            assert!((0.5..2.0).contains(&ratio), "scale {scale}: {ratio} times the nominal rate; {tail:?}");
        }
    }

    #[test]
    fn silence_lowers_the_threshold_to_its_least_and_no_further() {
        let (tail, began) = learned(40, |_| 0.0);
        assert_eq!(began, 0);
        assert!((tail.threshold() - Tuning::SHIPPED.tail_threshold_min).abs() < 1e-3, "{tail:?}");
    }

    #[test]
    fn a_run_of_peaks_is_one_episode_until_an_hour_without() {
        let tuning = &Tuning::SHIPPED;
        let after = |quiet_s: u32| {
            let mut tail = Tail::new(0.0, tuning);
            let mut at = |score: f32, now_s: u32, elapsed_s: f32| {
                tail.learn(score, &Lapse { seen_rows: 10.0, rows: 0.0, elapsed_s, now_s }, tuning);
                tail
            };
            at(9.0, 1_000_000, 60.0);
            at(0.0, 1_000_000 + quiet_s, quiet_s as f32)
        };
        assert!(after(3000).peak > 0 && (after(3000).excess() - tuning.tail_excess).abs() < 1e-3);
        // The time over the threshold is kept in a byte that wraps round after 16,384 s.
        for quiet_s in [3600, 16_400, 1_000_000] {
            assert!(after(quiet_s).peak == 0 && after(quiet_s).excess() > tuning.tail_excess + 0.1, "{quiet_s}");
        }
    }
}
