//! Gradient boosting of symmetric trees: three questions a tree, eight answers.

use super::state::FEATURES;
use crate::snapshot;

const DEPTH: usize = 3;
const LEAVES: usize = 1 << DEPTH;
/// Candidate thresholds per feature.
const CUTS: usize = 24;

/// One tree: the same question is asked of all rows of a level.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Tree {
    feature: [u8; DEPTH],
    cut: [f32; DEPTH],
    leaf: [f32; LEAVES],
}

impl Tree {
    fn answer(&self, x: &[f32; FEATURES]) -> f32 {
        let mut leaf = 0;
        for level in 0..DEPTH {
            leaf = leaf * 2 + usize::from(x[usize::from(self.feature[level])] > self.cut[level]);
        }
        self.leaf[leaf]
    }
}

/// A sum of trees.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Boost {
    base: f32,
    trees: Vec<Tree>,
}

/// How a [`Boost`] is grown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growth {
    pub(crate) trees: usize,
    pub(crate) rate: f32,
    /// Residuals beyond this count as this (Huber 1964): near zero it fits the median.
    pub(crate) bound: f32,
    /// Rows by which a leaf is pulled to zero.
    pub(crate) ridge: f32,
    /// Share of rows each tree sees.
    pub(crate) share: f32,
}

impl Boost {
    pub(crate) fn answer(&self, x: &[f32; FEATURES]) -> f32 {
        self.base + self.trees.iter().map(|tree| tree.answer(x)).sum::<f32>()
    }

    /// Fits weighted rows; the same rows give the same trees.
    pub(crate) fn fit(x: &[[f32; FEATURES]], y: &[f32], weight: &[f32], growth: &Growth) -> Self {
        if x.is_empty() {
            return Self::default();
        }
        let cuts = cuts(x);
        let bins: Vec<[u8; FEATURES]> = x
            .iter()
            .map(|row| std::array::from_fn(|f| cuts[f].partition_point(|cut| *cut < row[f]) as u8))
            .collect();
        let base = weighted_median(y, weight);
        let mut boost = Self { base, trees: Vec::new() };
        let mut rest: Vec<f32> = y.iter().map(|value| value - base).collect();
        for round in 0..growth.trees {
            let rows: Vec<u32> =
                (0..x.len() as u32).filter(|row| drawn(*row, round as u32, growth.share)).collect();
            let slope: Vec<f32> = rest.iter().map(|value| value.clamp(-growth.bound, growth.bound)).collect();
            let tree = grow(&bins, &cuts, &slope, weight, &rows, growth);
            x.iter().zip(&mut rest).for_each(|(row, value)| *value -= tree.answer(row));
            boost.trees.push(tree);
        }
        boost
    }

    pub(crate) fn write(&self, out: &mut snapshot::Writer) {
        out.f32(self.base);
        out.u32(self.trees.len() as u32);
        for tree in &self.trees {
            out.bytes(&tree.feature);
            tree.cut.iter().chain(&tree.leaf).for_each(|value| out.f32(*value));
        }
    }

    pub(crate) fn read(input: &mut snapshot::Reader<'_>) -> Option<Self> {
        let base = input.f32()?;
        let count = input.u32()? as usize;
        if count > TREES_MAX {
            return None;
        }
        let mut trees = Vec::with_capacity(count);
        for _ in 0..count {
            let mut tree = Tree { feature: input.bytes()?, cut: [0.0; DEPTH], leaf: [0.0; LEAVES] };
            for value in tree.cut.iter_mut().chain(&mut tree.leaf) {
                *value = input.f32()?;
            }
            if tree.feature.iter().any(|feature| usize::from(*feature) >= FEATURES) {
                return None;
            }
            trees.push(tree);
        }
        Some(Self { base, trees })
    }
}

/// Most trees a model file may hold in one sum.
const TREES_MAX: usize = 4096;

/// Grows one tree level by level, each level by the one question that helps all its leaves most.
fn grow(
    bins: &[[u8; FEATURES]],
    cuts: &[Vec<f32>],
    slope: &[f32],
    weight: &[f32],
    rows: &[u32],
    growth: &Growth,
) -> Tree {
    let mut leaf_of = vec![0usize; rows.len()];
    let mut tree = Tree { feature: [0; DEPTH], cut: [f32::MAX; DEPTH], leaf: [0.0; LEAVES] };
    for level in 0..DEPTH {
        let leaves = 1 << level;
        let mut best = (0.0f32, 0usize, usize::MAX);
        for (feature, candidates) in cuts.iter().enumerate() {
            let mut sums = [[(0.0f32, 0.0f32); CUTS + 1]; LEAVES];
            for (&row, &leaf) in rows.iter().zip(&leaf_of) {
                let row = row as usize;
                let cell = &mut sums[leaf][usize::from(bins[row][feature])];
                cell.0 += slope[row] * weight[row];
                cell.1 += weight[row];
            }
            let mut gains = [0.0f32; CUTS];
            for cells in &sums[..leaves] {
                add_gains(&mut gains[..candidates.len()], &cells[..=candidates.len()], growth.ridge);
            }
            for (cut, &gain) in gains[..candidates.len()].iter().enumerate() {
                if gain > best.0 * 1.000_001 {
                    best = (gain, feature, cut);
                }
            }
        }
        let (_, feature, cut) = best;
        tree.feature[level] = feature as u8;
        if cut != usize::MAX {
            tree.cut[level] = cuts[feature][cut];
        }
        for (&row, leaf) in rows.iter().zip(&mut leaf_of) {
            let right = cut != usize::MAX && usize::from(bins[row as usize][feature]) > cut;
            *leaf = *leaf * 2 + usize::from(right);
        }
    }
    let mut sums = [(0.0f32, 0.0f32); LEAVES];
    for (&row, &leaf) in rows.iter().zip(&leaf_of) {
        sums[leaf].0 += slope[row as usize] * weight[row as usize];
        sums[leaf].1 += weight[row as usize];
    }
    tree.leaf = sums.map(|(sum, total)| growth.rate * sum / (total + growth.ridge));
    tree
}

/// Adds, for each cut, how much splitting a leaf's cells after it lowers the squared error.
fn add_gains(gains: &mut [f32], cells: &[(f32, f32)], ridge: f32) {
    let add = |a: (f32, f32), b: &(f32, f32)| (a.0 + b.0, a.1 + b.1);
    let score = |(sum, total): (f32, f32)| sum * sum / (total + ridge).max(1e-6);
    let all = cells.iter().fold((0.0, 0.0), add);
    let unsplit = score(all);
    let mut left = (0.0, 0.0);
    for (gain, cell) in gains.iter_mut().zip(cells) {
        left = add(left, cell);
        *gain += score(left) + score((all.0 - left.0, all.1 - left.1)) - unsplit;
    }
}

/// Quantiles of each feature, without repeats.
fn cuts(x: &[[f32; FEATURES]]) -> Vec<Vec<f32>> {
    (0..FEATURES)
        .map(|feature| {
            let mut values: Vec<f32> = x.iter().map(|row| row[feature]).collect();
            values.sort_by(f32::total_cmp);
            let mut cuts: Vec<f32> = (1..=CUTS)
                .map(|k| k * values.len() / (CUTS + 1))
                .filter(|&at| at > 0 && values[at - 1] < values[at])
                .map(|at| (values[at - 1] + values[at]) / 2.0)
                .collect();
            cuts.dedup();
            cuts
        })
        .collect()
}

/// The value with half of the weight below it.
pub(crate) fn weighted_median(y: &[f32], weight: &[f32]) -> f32 {
    let mut order: Vec<usize> = (0..y.len()).collect();
    order.sort_by(|a, b| y[*a].total_cmp(&y[*b]));
    let half = weight.iter().sum::<f32>() / 2.0;
    let mut below = 0.0;
    order
        .iter()
        .find(|&&i| {
            below += weight[i];
            below >= half
        })
        .map_or(0.0, |&i| y[i])
}

/// Whether a row takes part in a round, by a hash.
fn drawn(row: u32, round: u32, share: f32) -> bool {
    let mut z = (u64::from(row) << 32 | u64::from(round)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z >> 40) as f32) < share * 16_777_216.0
}
