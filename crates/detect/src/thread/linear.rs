//! A robust linear fit of the features: what is left when there are too few threads for trees.

use super::state::FEATURES;
use crate::snapshot;

/// Features of the linear fit: all of them and a constant.
const TERMS: usize = FEATURES + 1;
/// Rounds of reweighting.
const ROUNDS: usize = 12;

/// Weights on standardised features.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Linear {
    mean: [f32; FEATURES],
    scale: [f32; FEATURES],
    weight: [f32; TERMS],
    low: f32,
    high: f32,
}

impl Default for Linear {
    fn default() -> Self {
        Self { mean: [0.0; FEATURES], scale: [1.0; FEATURES], weight: [0.0; TERMS], low: 0.0, high: 0.0 }
    }
}

impl Linear {
    /// The fitted value, kept within what was seen in training.
    pub(crate) fn answer(&self, x: &[f32; FEATURES]) -> f32 {
        let row = self.terms(x);
        let sum: f32 = row.iter().zip(&self.weight).map(|(a, b)| a * b).sum();
        sum.clamp(self.low, self.high)
    }

    /// Least absolute deviations with a ridge, by iterated reweighting.
    pub(crate) fn fit(x: &[[f32; FEATURES]], y: &[f32], weight: &[f32], ridge: f64) -> Self {
        let total: f32 = weight.iter().sum();
        if total <= 0.0 {
            return Self::default();
        }
        let mut fit = Self::default();
        for f in 0..FEATURES {
            let mean = x.iter().zip(weight).map(|(row, w)| row[f] * w).sum::<f32>() / total;
            let variance =
                x.iter().zip(weight).map(|(row, w)| (row[f] - mean).powi(2) * w).sum::<f32>() / total;
            fit.mean[f] = mean;
            fit.scale[f] = if variance > 1e-8 { 1.0 / variance.sqrt() } else { 0.0 };
        }
        let bounds = y.iter().fold((f32::MAX, f32::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
        (fit.low, fit.high) = bounds;
        let rows: Vec<[f32; TERMS]> = x.iter().map(|row| fit.terms(row)).collect();
        let mut robust = weight.to_vec();
        for _ in 0..ROUNDS {
            fit.weight = solve(&rows, y, &robust, ridge);
            for (i, row) in rows.iter().enumerate() {
                let value: f32 = row.iter().zip(&fit.weight).map(|(a, b)| a * b).sum();
                robust[i] = weight[i] / (y[i] - value).abs().max(0.03) * 0.3;
            }
        }
        fit
    }

    fn terms(&self, x: &[f32; FEATURES]) -> [f32; TERMS] {
        let mut row = [1.0; TERMS];
        for f in 0..FEATURES {
            row[f] = ((x[f] - self.mean[f]) * self.scale[f]).clamp(-4.0, 4.0);
        }
        row
    }

    pub(crate) fn write(&self, out: &mut snapshot::Writer) {
        self.mean
            .iter()
            .chain(&self.scale)
            .chain(&self.weight)
            .chain(&[self.low, self.high])
            .for_each(|v| out.f32(*v));
    }

    pub(crate) fn read(input: &mut snapshot::Reader<'_>) -> Option<Self> {
        let mut fit = Self::default();
        for value in fit.mean.iter_mut().chain(&mut fit.scale).chain(&mut fit.weight) {
            *value = input.f32()?;
        }
        (fit.low, fit.high) = (input.f32()?, input.f32()?);
        (fit.low <= fit.high).then_some(fit)
    }
}

/// Weighted ridge regression by Cholesky; the constant is not pulled.
fn solve(rows: &[[f32; TERMS]], y: &[f32], weight: &[f32], ridge: f64) -> [f32; TERMS] {
    let mut a = [[0.0f64; TERMS]; TERMS];
    let mut b = [0.0f64; TERMS];
    for ((row, value), w) in rows.iter().zip(y).zip(weight) {
        for i in 0..TERMS {
            let wi = f64::from(*w) * f64::from(row[i]);
            b[i] += wi * f64::from(*value);
            for j in 0..=i {
                a[i][j] += wi * f64::from(row[j]);
            }
        }
    }
    for (i, line) in a.iter_mut().enumerate() {
        line[i] += if i < FEATURES { ridge } else { 1e-6 };
    }
    for i in 0..TERMS {
        for j in 0..=i {
            let sum: f64 = (0..j).map(|k| a[i][k] * a[j][k]).sum();
            a[i][j] = if i == j { (a[i][i] - sum).max(1e-9).sqrt() } else { (a[i][j] - sum) / a[j][j] };
        }
    }
    for i in 0..TERMS {
        let sum: f64 = (0..i).map(|k| a[i][k] * b[k]).sum();
        b[i] = (b[i] - sum) / a[i][i];
    }
    for i in (0..TERMS).rev() {
        let sum: f64 = (i + 1..TERMS).map(|k| a[k][i] * b[k]).sum();
        b[i] = (b[i] - sum) / a[i][i];
    }
    b.map(|value| value as f32)
}
