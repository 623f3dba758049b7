//! What is fitted at one age: the middle, its spread, and quantiles of the residuals of threads the fit has not seen.

use super::{
    boost::{Boost, Growth},
    middle::{Aim, Middle},
    state::FEATURES,
    training::Rows,
};
use crate::snapshot;

/// Levels of the residual quantiles that a model stores.
pub(super) const LEVELS: [f32; 11] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99];

/// Everything fitted at one age.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct AgeModel {
    middle: Middle,
    /// Logarithm of the typical absolute residual.
    spread: Boost,
    /// Quantiles of residuals over their spread, at [`LEVELS`].
    pub(super) quantiles: [f32; LEVELS.len()],
}

/// What an age model says: growth still to come as a logarithm, its spread, and the quantiles of the rest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Growing {
    pub(super) middle: f32,
    pub(super) spread: f32,
    pub(super) quantiles: [f32; LEVELS.len()],
}

impl AgeModel {
    /// Fits rows; also answers each row's residual by a fit that has not seen its thread.
    pub(super) fn fit(rows: &Rows, aim: Aim) -> (Self, Vec<f32>) {
        let mut rest = vec![0.0; rows.y.len()];
        for fold in 0..rows.folds {
            let (x, y, weight) = rows.part(&rows.pick(fold, false));
            let middle = Middle::fit(&x, &y, &weight, aim);
            for row in rows.pick(fold, true) {
                rest[row] = rows.y[row] - middle.growth(&rows.x[row]);
            }
        }
        let sizes: Vec<f32> = rest.iter().map(|value| (value.abs() + 0.02).ln()).collect();
        // Scaled by a spread that has not seen the thread either, or the intervals come out too narrow.
        let mut scaled = Vec::new();
        for fold in 0..rows.folds {
            let seen = rows.pick(fold, false);
            let (x, _, weight) = rows.part(&seen);
            let part: Vec<f32> = seen.iter().map(|row| sizes[*row]).collect();
            let spread = Boost::fit(&x, &part, &weight, &SPREAD_GROWTH);
            let exact = rows.pick(fold, true).into_iter().filter(|row| rows.exact[*row]);
            scaled.extend(exact.map(|row| (rest[row] / spread_of(&spread, &rows.x[row]), rows.weight[row])));
        }
        let spread = Boost::fit(&rows.x, &sizes, &rows.weight, &SPREAD_GROWTH);
        scaled.sort_by(|a, b| a.0.total_cmp(&b.0));
        let middle = Middle::fit(&rows.x, &rows.y, &rows.weight, aim);
        (Self { middle, spread, quantiles: LEVELS.map(|level| conformal(&scaled, level)) }, rest)
    }

    /// Whether a residual is inside the 90 % interval.
    pub(super) fn holds(&self, rest: f32, x: &[f32; FEATURES]) -> bool {
        (self.quantiles[2]..=self.quantiles[8]).contains(&(rest / spread_of(&self.spread, x)))
    }

    pub(super) fn growing(&self, x: &[f32; FEATURES]) -> Growing {
        let middle = self.middle.growth(x).clamp(0.0, GROWTH_MAX);
        let spread = spread_of(&self.spread, x);
        Growing { middle, spread, quantiles: self.quantiles }
    }

    pub(super) fn write(&self, out: &mut snapshot::Writer) {
        self.middle.write(out);
        self.spread.write(out);
        self.quantiles.iter().for_each(|value| out.f32(*value));
    }

    pub(super) fn read(input: &mut snapshot::Reader<'_>) -> Option<Self> {
        let (middle, spread) = (Middle::read(input)?, Boost::read(input)?);
        let mut quantiles = [0.0; LEVELS.len()];
        for value in &mut quantiles {
            *value = input.f32()?;
        }
        quantiles.is_sorted().then_some(Self { middle, spread, quantiles })
    }
}

impl Growing {
    /// This one, moved towards another by a share.
    pub(super) fn blend(self, other: Self, share: f32) -> Self {
        let blend = |a: f32, b: f32| a + (b - a) * share;
        Self {
            middle: blend(self.middle, other.middle),
            spread: blend(self.spread, other.spread),
            quantiles: std::array::from_fn(|i| blend(self.quantiles[i], other.quantiles[i])),
        }
    }
}

/// The typical size of a residual.
fn spread_of(spread: &Boost, x: &[f32; FEATURES]) -> f32 {
    spread.answer(x).clamp(-6.0, 3.0).exp()
}

/// No thread is forecast to grow more than this (as a logarithm): about 160,000 times.
pub(super) const GROWTH_MAX: f32 = 12.0;
const SPREAD_GROWTH: Growth = Growth { trees: 30, rate: 0.1, bound: 1.5, ridge: 20.0, share: 0.8 };

/// The value at rank `level` times one more than there are, in proportion between the two nearest: a new value stays
/// below it with that probability (split conformal: Vovk et al. 2005). Weights are relative to their mean.
fn conformal(sorted: &[(f32, f32)], level: f32) -> f32 {
    let total: f32 = sorted.iter().map(|(_, weight)| weight).sum();
    let mean = total / sorted.len().max(1) as f32;
    let wanted = level * (total + mean);
    // The middle of each value's own weight: ranks 1, 2, 3, .. where all weigh the same.
    let mut passed = mean / 2.0;
    let mut before: Option<(f32, f32)> = None;
    for &(value, weight) in sorted {
        let rank = passed + weight / 2.0;
        if rank >= wanted {
            let between = |(low_rank, low): (f32, f32)| {
                (low + (value - low) * (wanted - low_rank) / (rank - low_rank)).min(value)
            };
            return before.map_or(value, between);
        }
        passed += weight;
        before = Some((rank, value));
    }
    before.map_or(0.0, |(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_new_value_stays_below_a_quantile_with_its_level() {
        // (values 1 to n, level, the value at rank level * (n + 1), kept within them)
        for (n, level, wanted) in [
            (48, 0.05, 2.45),
            (48, 0.95, 46.55),
            (48, 0.5, 24.5),
            (9, 0.1, 1.0),
            (9, 0.05, 1.0),
            (9, 0.99, 9.0),
        ] {
            let sorted: Vec<(f32, f32)> = (1..=n).map(|value| (value as f32, 0.3)).collect();
            let found = conformal(&sorted, level);
            assert!((found - wanted).abs() < 1e-3, "{n} values at {level}: {found}, not {wanted}");
        }
    }

    #[test]
    fn a_heavy_value_draws_the_quantile_to_it() {
        let found = conformal(&[(1.0, 1.0), (2.0, 8.0), (3.0, 1.0)], 0.5);
        assert!((found - 2.0).abs() < 1e-3, "{found}");
        assert!(conformal(&[(1.0, 6.0), (2.0, 1.0), (3.0, 1.0)], 0.5) < 1.7);
    }

    proptest! {
        #[test]
        fn quantiles_are_in_order_and_within_the_values(
            mut values in proptest::collection::vec((-5.0f32..5.0, 0.0f32..3.0), 1..60)
        ) {
            values.sort_by(|a, b| a.0.total_cmp(&b.0));
            let quantiles = LEVELS.map(|level| conformal(&values, level));
            prop_assert!(quantiles.is_sorted(), "{:?}", quantiles);
            prop_assert!(quantiles[0] >= values[0].0 && quantiles[10] <= values[values.len() - 1].0);
        }
    }
}
