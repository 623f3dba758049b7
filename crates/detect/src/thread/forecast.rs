//! What is expected of one thread: its final size with an interval, its size at any time, and the time left to answer.

use super::{
    age::{Growing, LEVELS},
    model::HORIZON_S,
};

/// What is expected of a thread; every number is finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// Reactions so far.
    pub seen: u32,
    /// The final number of reactions with the least expected error relative to it; a little below the median.
    pub expected_final: f32,
    /// Lower end of the central 90 % of the final number.
    pub low: f32,
    /// Upper end of it.
    pub high: f32,
    /// Seconds from now until twice as many reactions are expected; `None` if that is not expected within seven days.
    pub doubling_s: Option<f32>,
    pub(super) age_s: f32,
    pub(super) reach: f32,
    pub(super) reach_each: f32,
    pub(super) slope: f32,
    pub(super) growing: Growing,
}

impl Forecast {
    /// Probability (0..1) that the thread ends with at least `size` reactions.
    pub fn p_at_least(&self, size: f32) -> f32 {
        let growth = ((size.max(0.0) + 1.0) / (self.seen as f32 + 1.0)).ln();
        if growth <= 0.0 {
            return 1.0;
        }
        let value = (growth - self.growing.middle) / self.growing.spread.max(1e-3);
        1.0 - below(value, &self.growing.quantiles)
    }

    /// Expected reactions at `after_s` seconds from now.
    pub fn expected_at(&self, after_s: f32) -> f32 {
        let until = (self.age_s + after_s.max(0.0)).min(HORIZON_S as f32);
        let whole = arrived(self.age_s, HORIZON_S as f32, self.slope);
        let share = if whole > 0.0 { arrived(self.age_s, until, self.slope) / whole } else { 1.0 };
        self.seen as f32 + (self.expected_final - self.seen as f32) * share.clamp(0.0, 1.0)
    }

    /// Seconds left to answer before about `people` people have had the thread before them:
    /// 0 if they have already, `None` if that is not expected within seven days.
    pub fn answer_within_s(&self, people: f32) -> Option<f32> {
        let missing = people - self.reach;
        if missing <= 0.0 {
            return Some(0.0);
        }
        // The author's followers have seen it once; who reacts brings as many as those before did on average.
        self.time_to(self.seen as f32 + missing / self.reach_each.max(1.0))
    }

    /// Seconds until `size` reactions are expected.
    pub(super) fn time_to(&self, size: f32) -> Option<f32> {
        let left_s = HORIZON_S as f32 - self.age_s;
        if self.expected_at(left_s) < size {
            return None;
        }
        let (mut low, mut high) = (0.0, left_s);
        for _ in 0..40 {
            let middle = (low + high) / 2.0;
            if self.expected_at(middle) < size { low = middle } else { high = middle }
        }
        Some(high)
    }
}

/// Share of values below `value`, between stored quantiles linearly and beyond them exponentially.
fn below(value: f32, quantiles: &[f32; LEVELS.len()]) -> f32 {
    let last = LEVELS.len() - 1;
    let at = quantiles.partition_point(|quantile| *quantile < value);
    let fade = |distance: f32, step: f32| (-std::f32::consts::LN_2 * distance / step.max(1e-3)).exp();
    match at {
        0 => LEVELS[0] * fade(quantiles[0] - value, quantiles[1] - quantiles[0]),
        at if at > last => {
            1.0 - (1.0 - LEVELS[last]) * fade(value - quantiles[last], quantiles[last] - quantiles[last - 1])
        }
        at => {
            let width = quantiles[at] - quantiles[at - 1];
            let into = if width > 0.0 { (value - quantiles[at - 1]) / width } else { 1.0 };
            LEVELS[at - 1] + (LEVELS[at] - LEVELS[at - 1]) * into
        }
    }
}

/// Unnormalised share of the growth after age `from_s` that has come by `until_s`: a power law of age.
pub(super) fn arrived(from_s: f32, until_s: f32, slope: f32) -> f32 {
    /// Seconds before which a thread has no shape yet.
    const YOUNG_S: f32 = 300.0;
    1.0 - ((until_s + YOUNG_S) / (from_s + YOUNG_S)).powf(-slope)
}
