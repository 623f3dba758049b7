//! The middle of a forecast: trees on what a share of a robust linear fit leaves, of the growth to come or of the final size.

use super::{
    boost::{Boost, Growth},
    linear::Linear,
    state::{COUNT, FEATURES},
};
use crate::snapshot;

/// What the middle of a fit is about, both as logarithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    /// The growth still to come: little is known of the size that such threads come to.
    Growth,
    /// The same for threads of many kinds: a plain median, because leaning to one side would go along
    /// to kinds not seen.
    AnyGrowth,
    /// The final size: such threads come to a typical one, and the less is known the nearer the
    /// forecast stays to that.
    Size,
}

/// How an aim is fitted.
struct Recipe {
    /// The linear fit's share; the trees learn what that leaves.
    linear_share: f32,
    /// Rows' worth by which the linear fit is pulled to a constant: a share of all weight, and a number.
    linear_ridge: (f64, f64),
    /// How far one round of trees moves at most, before the rate.
    bound: f32,
    /// Power of the final size over the expected one by which a row counts less. An error is relative
    /// to the final size, so the same error weighs more where that came out small: 1 is the whole of it.
    relative: f32,
}

impl Aim {
    fn recipe(self) -> Recipe {
        let growth = Recipe { linear_share: 0.8, linear_ridge: (0.02, 2.0), bound: 0.3, relative: 0.5 };
        match self {
            Self::Growth => growth,
            Self::AnyGrowth => Recipe { relative: 0.0, ..growth },
            Self::Size => Recipe { linear_share: 0.5, linear_ridge: (0.0, 30.0), bound: 0.1, relative: 1.0 },
        }
    }

    /// What is added to the growth to be fitted.
    fn offset(self, x: &[f32; FEATURES]) -> f32 {
        match self {
            Self::Growth | Self::AnyGrowth => 0.0,
            Self::Size => x[COUNT],
        }
    }
}

/// Trees on what a share of a robust linear fit leaves.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Middle {
    aim: Aim,
    linear: Linear,
    trees: Boost,
}

impl Middle {
    pub(super) fn fit(x: &[[f32; FEATURES]], growth: &[f32], weight: &[f32], aim: Aim) -> Self {
        let recipe = aim.recipe();
        let total: f32 = weight.iter().sum();
        let y: Vec<f32> = x.iter().zip(growth).map(|(row, growth)| growth + aim.offset(row)).collect();
        let ridge = recipe.linear_ridge.0 * f64::from(total) + recipe.linear_ridge.1;
        let first = Linear::fit(x, &y, weight, ridge);
        let weight = relative_weight(x, &y, weight, &first, recipe.relative);
        let linear = Linear::fit(x, &y, &weight, ridge);
        let rest: Vec<f32> =
            x.iter().zip(&y).map(|(row, value)| value - recipe.linear_share * linear.answer(row)).collect();
        let ridge = (total * 0.01).clamp(2.0, 20.0);
        let growth = Growth { trees: 120, rate: 0.08, bound: recipe.bound, ridge, share: 0.7 };
        let trees = Boost::fit(x, &rest, &weight, &growth);
        Self { aim, linear, trees }
    }

    /// The growth still to come, as a logarithm.
    pub(super) fn growth(&self, x: &[f32; FEATURES]) -> f32 {
        let value = self.aim.recipe().linear_share * self.linear.answer(x) + self.trees.answer(x);
        value - self.aim.offset(x)
    }

    pub(super) fn write(&self, out: &mut snapshot::Writer) {
        out.u8(self.aim as u8);
        self.trees.write(out);
        self.linear.write(out);
    }

    pub(super) fn read(input: &mut snapshot::Reader<'_>) -> Option<Self> {
        let aim = match input.u8()? {
            0 => Aim::Growth,
            1 => Aim::AnyGrowth,
            2 => Aim::Size,
            _ => return None,
        };
        Some(Self { aim, trees: Boost::read(input)?, linear: Linear::read(input)? })
    }
}

/// Weights by which a fit of logarithms makes the relative error small.
fn relative_weight(
    x: &[[f32; FEATURES]],
    y: &[f32],
    weight: &[f32],
    expected: &Linear,
    power: f32,
) -> Vec<f32> {
    /// One thread counts at most so many times more or less (as a logarithm).
    const MOST: f32 = 1.5;
    if power == 0.0 {
        return weight.to_vec();
    }
    let times = |row, value: &f32| (-power * (value - expected.answer(row)).clamp(-MOST, MOST)).exp();
    x.iter().zip(y).zip(weight).map(|((row, value), weight)| weight * times(row, value)).collect()
}
