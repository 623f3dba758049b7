//! Regularised linear models for one task, solved to convergence.
//!
//! Multinomial logistic regression, or one squared hinge per class (a support vector machine), by limited-memory BFGS
//! (Liu and Nocedal 1989) over the rows that occur, with rare features weighing more (idf). Small sets need the exact optimum: stochastic steps lose one to three points.

use crate::arith::{exp, ln};
use crate::features::{Features, Spec};

/// Documents as sparse rows over the features that occur in training.
#[derive(Debug, Default)]
pub struct Matrix {
    starts: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f32>,
}

/// Which table row each compact column stands for, and how much its occurrence counts.
#[derive(Debug)]
pub struct Vocabulary {
    spec: Spec,
    bits: u32,
    /// Compact column of a table row, `u32::MAX` for rows that never occur.
    column_of: Vec<u32>,
    /// Table row of a compact column.
    pub row_of: Vec<u32>,
    /// Weight of an occurrence, per compact column.
    pub gain: Vec<f32>,
}

impl Vocabulary {
    /// Learns the features of documents; those in fewer than `least` documents are left out.
    pub fn learn(spec: Spec, documents: &[&Features], bits: u32, least: u32) -> Self {
        let mut seen_in = vec![(0u32, u32::MAX); 1 << bits];
        for (number, document) in documents.iter().enumerate() {
            for hash in document.blocks(spec).iter().flat_map(|(block, _)| *block) {
                let (count, last) = &mut seen_in[(hash >> (32 - bits)) as usize];
                if *last != number as u32 {
                    *count += 1;
                    *last = number as u32;
                }
            }
        }
        let mut vocabulary =
            Self { spec, bits, column_of: vec![u32::MAX; 1 << bits], row_of: Vec::new(), gain: Vec::new() };
        let total = documents.len() as f64 + 1.0;
        for (row, (count, _)) in seen_in.into_iter().enumerate() {
            if count >= least.max(1) {
                vocabulary.column_of[row] = vocabulary.row_of.len() as u32;
                vocabulary.row_of.push(row as u32);
                vocabulary.gain.push((ln(total / (f64::from(count) + 1.0)) + 1.0) as f32);
            }
        }
        // The mean gain over occurrences is one, so that regularisation means the same on every set.
        let (mut sum, mut n) = (0.0f64, 0.0f64);
        for document in documents {
            for column in vocabulary.columns(document) {
                sum += f64::from(vocabulary.gain[column as usize]).powi(2);
                n += 1.0;
            }
        }
        let root = (sum / n.max(1.0)).sqrt().max(1e-9) as f32;
        for gain in &mut vocabulary.gain {
            *gain /= root;
        }
        vocabulary
    }

    /// Documents over this vocabulary; both blocks are averaged apart, as the table reader does.
    pub fn matrix(&self, documents: &[&Features]) -> Matrix {
        let mut matrix = Matrix { starts: vec![0], ..Matrix::default() };
        for document in documents {
            for (block, norm) in document.blocks(self.spec) {
                let share = 1.0 / norm;
                for hash in block {
                    let column = self.column_of[(hash >> (32 - self.bits)) as usize];
                    if column != u32::MAX {
                        matrix.columns.push(column);
                        matrix.values.push(share * self.gain[column as usize]);
                    }
                }
            }
            matrix.starts.push(matrix.columns.len());
        }
        matrix
    }
}

/// What a weight counts whose feature tells nothing of the class, and what it counts more per unit of what it tells.
const TELLING: (f32, f32) = (0.1, 1.0);

impl Vocabulary {
    /// The same features, every occurrence counting alike however rare it is.
    pub fn even(mut self) -> Self {
        self.gain.fill(1.0);
        self
    }

    /// Gains for an [`Objective`], per column and class: how far the share of a class's documents that have a feature
    /// lies from the share of the others', in logs, counts smoothed by one (Wang and Manning 2012 multiply features by
    /// that ratio). What tells nothing of a class can then hardly be learned by heart. `weights` is what each document
    /// counts, one each where empty. The mean square over occurrences is one.
    pub fn telling(
        &self,
        documents: &[&Features],
        labels: &[u32],
        weights: &[f32],
        classes: usize,
    ) -> Vec<f32> {
        let mut counts = vec![1.0f32; self.row_of.len() * classes];
        let mut totals = vec![2.0f32; classes];
        for (at, (document, label)) in documents.iter().zip(labels).enumerate() {
            let weight = weights.get(at).copied().unwrap_or(1.0);
            for column in self.columns(document) {
                counts[column as usize * classes + *label as usize] += weight;
            }
            totals[*label as usize] += weight;
        }
        let total: f32 = totals.iter().sum();
        let (mut squares, mut occurred) = (0.0f64, 0.0f64);
        for row in counts.chunks_mut(classes) {
            let all: f32 = row.iter().sum();
            let occurrences = all - classes as f32;
            for (count, total_of_class) in row.iter_mut().zip(&totals) {
                let (own, others) = (*count / total_of_class, (all - *count) / (total - total_of_class));
                *count = TELLING.0 + TELLING.1 * ln(f64::from(own / others)).abs() as f32;
                squares += f64::from(occurrences * *count * *count);
                occurred += f64::from(occurrences);
            }
        }
        let root = (squares / occurred.max(1.0)).sqrt().max(1e-9) as f32;
        counts.iter_mut().for_each(|gain| *gain /= root);
        counts
    }

    /// The columns of a document's features, as often as they occur.
    fn columns(&self, document: &Features) -> impl Iterator<Item = u32> {
        let rows = document.blocks(self.spec).into_iter().flat_map(|(block, _)| block);
        rows.map(|hash| self.column_of[(hash >> (32 - self.bits)) as usize])
            .filter(|column| *column != u32::MAX)
    }
}

impl Matrix {
    /// Adds features that every document has, at columns from `first` on.
    pub fn add_columns(&mut self, first: u32, values: &[Vec<f32>]) {
        self.widen(values.iter().map(|row| (first..).zip(row.iter().copied())));
    }

    /// Adds one more feature to each document, at columns from `first` on: a trait such as its language.
    pub fn add_column(&mut self, first: u32, choice: &[u32], value: f32) {
        self.widen(choice.iter().map(|chosen| [(first + chosen, value)]));
    }

    /// Adds more features, columns with values, to each document in turn.
    fn widen<F: IntoIterator<Item = (u32, f32)>>(&mut self, more: impl Iterator<Item = F>) {
        let mut wider = Matrix { starts: vec![0], ..Matrix::default() };
        for (document, features) in more.enumerate() {
            let range = self.starts[document]..self.starts[document + 1];
            wider.columns.extend_from_slice(&self.columns[range.clone()]);
            wider.values.extend_from_slice(&self.values[range]);
            for (column, value) in features {
                wider.columns.push(column);
                wider.values.push(value);
            }
            wider.starts.push(wider.columns.len());
        }
        *self = wider;
    }

    /// Documents.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// True without documents.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Scores of every document: `classes` numbers each.
    pub fn scores(&self, weights: &Weights) -> Vec<f32> {
        let mut out = Vec::with_capacity(self.len() * weights.classes);
        for document in 0..self.len() {
            let from = out.len();
            out.extend_from_slice(&weights.bias);
            self.add_scores(document, weights.classes, &weights.table, &mut out[from..]);
        }
        out
    }

    fn add_scores(&self, document: usize, classes: usize, table: &[f32], scores: &mut [f32]) {
        for at in self.starts[document]..self.starts[document + 1] {
            let row = &table[self.columns[at] as usize * classes..][..classes];
            let value = self.values[at];
            for (score, weight) in scores.iter_mut().zip(row) {
                *score += weight * value;
            }
        }
    }
}

/// A solved model: one row of class weights per compact column, and a bias.
#[derive(Debug, Clone)]
pub struct Weights {
    /// Classes.
    pub classes: usize,
    /// Row-major weights.
    pub table: Vec<f32>,
    /// Added to every document's scores.
    pub bias: Vec<f32>,
}

/// What a document costs whose scores do not fit its class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The log of what the right class's probability falls short of one.
    Log,
    /// Each class against all others, squared where the score is on the wrong side of a margin of one.
    Hinge,
}

/// What is minimised: `cost` times the weighted loss plus half the squared weights.
#[derive(Debug, Clone, Copy)]
pub struct Objective<'a> {
    /// What a document costs.
    pub loss: Loss,
    /// The documents.
    pub matrix: &'a Matrix,
    /// Class of each document.
    pub labels: &'a [u32],
    /// Weight of each document; empty means one each.
    pub weights: &'a [f32],
    /// Weight of each class.
    pub class_weights: &'a [f32],
    /// Weight of the losses against the squared weights.
    pub cost: f32,
    /// How much a weight of one counts, per column and class: what is learned of features that say little of a class
    /// stays small. Empty means one each.
    pub gains: &'a [f32],
}

const MEMORY: usize = 6;
/// The bias counts as a feature of this value: at one, its steep slope would slow all others down.
const BIAS_VALUE: f32 = 0.3;

/// Minimises from a starting point (zeros when none fits), for at most `steps` steps.
pub fn solve(
    objective: Objective<'_>,
    columns: usize,
    start: Option<&Weights>,
    steps: usize,
    progress: &mut dyn FnMut(usize),
) -> Weights {
    let classes = objective.class_weights.len();
    let n = (columns + 1) * classes;
    let mut point = vec![0.0f32; n];
    if let Some(start) = start.filter(|s| s.table.len() == columns * classes) {
        point[..columns * classes].copy_from_slice(&start.table);
        point.iter_mut().zip(objective.gains).for_each(|(weight, gain)| *weight /= gain);
        for (to, from) in point[columns * classes..].iter_mut().zip(&start.bias) {
            *to = from / BIAS_VALUE;
        }
    }
    let mut slope = vec![0.0f32; n];
    let mut value = evaluate(objective, columns, &point, &mut slope);
    let first_slope = norm(&slope);
    let mut history: Vec<(Vec<f32>, Vec<f32>, f64)> = Vec::new();
    let mut next = vec![0.0f32; n];
    let mut next_slope = vec![0.0f32; n];
    for step in 0..steps {
        progress(step);
        let mut direction = two_loops(&slope, &history);
        let mut descent = dot(&direction, &slope);
        if descent >= 0.0 {
            history.clear();
            direction = slope.iter().map(|s| -s).collect();
            descent = dot(&direction, &slope);
        }
        let mut length = if history.is_empty() { (1.0 / norm(&slope).max(1e-12)).min(1.0) } else { 1.0 };
        let mut moved = false;
        for _ in 0..20 {
            for ((n, p), d) in next.iter_mut().zip(&point).zip(&direction) {
                *n = p + length as f32 * d;
            }
            let next_value = evaluate(objective, columns, &next, &mut next_slope);
            if next_value <= value + 1e-4 * length * descent {
                let change: Vec<f32> = next.iter().zip(&point).map(|(a, b)| a - b).collect();
                let bend: Vec<f32> = next_slope.iter().zip(&slope).map(|(a, b)| a - b).collect();
                let curvature = dot(&change, &bend);
                if curvature > 1e-10 {
                    if history.len() == MEMORY {
                        history.remove(0);
                    }
                    history.push((change, bend, curvature));
                }
                std::mem::swap(&mut point, &mut next);
                std::mem::swap(&mut slope, &mut next_slope);
                value = next_value;
                moved = true;
                break;
            }
            length *= 0.5;
        }
        if !moved || norm(&slope) < 2e-3 * first_slope {
            break;
        }
    }
    let mut bias = point.split_off(columns * classes);
    bias.iter_mut().for_each(|b| *b *= BIAS_VALUE);
    point.iter_mut().zip(objective.gains).for_each(|(weight, gain)| *weight *= gain);
    Weights { classes, table: point, bias }
}

fn evaluate(objective: Objective<'_>, columns: usize, point: &[f32], slope: &mut [f32]) -> f64 {
    let classes = objective.class_weights.len();
    let (bare, bias) = point.split_at(columns * classes);
    let (slope_table, slope_bias) = slope.split_at_mut(columns * classes);
    let counted: Vec<f32>;
    let table = if objective.gains.is_empty() {
        bare
    } else {
        counted = bare.iter().zip(objective.gains).map(|(weight, gain)| weight * gain).collect();
        &counted
    };
    // The slopes of the losses are multiplied by the gains at the end, those of the squared weights are not.
    slope_table.copy_from_slice(bare);
    slope_table.iter_mut().zip(objective.gains).for_each(|(slope, gain)| *slope /= gain);
    slope_bias.fill(0.0);
    let mut value: f64 = bare.iter().map(|weight| 0.5 * f64::from(*weight) * f64::from(*weight)).sum();
    let matrix = objective.matrix;
    let mut scores = vec![0.0f32; classes];
    for document in 0..matrix.len() {
        for (score, bias) in scores.iter_mut().zip(bias) {
            *score = bias * BIAS_VALUE;
        }
        matrix.add_scores(document, classes, table, &mut scores);
        let label = objective.labels[document] as usize;
        let weight = objective.cost
            * objective.class_weights[label]
            * objective.weights.get(document).copied().unwrap_or(1.0);
        value += f64::from(weight)
            * match objective.loss {
                Loss::Log => log_loss(&mut scores, label),
                Loss::Hinge => hinge_loss(&mut scores, label),
            };
        scores.iter_mut().for_each(|slope| *slope *= weight);
        for at in matrix.starts[document]..matrix.starts[document + 1] {
            let row = &mut slope_table[matrix.columns[at] as usize * classes..][..classes];
            let share = matrix.values[at];
            for (s, g) in row.iter_mut().zip(&scores) {
                *s += g * share;
            }
        }
        for (s, g) in slope_bias.iter_mut().zip(&scores) {
            *s += g * BIAS_VALUE;
        }
    }
    slope_table.iter_mut().zip(objective.gains).for_each(|(slope, gain)| *slope *= gain);
    value
}

/// The loss of a document; its scores become its slopes.
fn log_loss(scores: &mut [f32], label: usize) -> f64 {
    let top = scores.iter().copied().fold(f32::MIN, f32::max);
    let own = scores[label] - top;
    let mut sum = 0.0f32;
    for score in scores.iter_mut() {
        *score = exp(*score - top);
        sum += *score;
    }
    for (class, score) in scores.iter_mut().enumerate() {
        *score = *score / sum - f32::from(u8::from(class == label));
    }
    ln(f64::from(sum)) - f64::from(own)
}

/// As `log_loss`, for one squared hinge per class.
fn hinge_loss(scores: &mut [f32], label: usize) -> f64 {
    let mut loss = 0.0;
    for (class, score) in scores.iter_mut().enumerate() {
        let side = if class == label { 1.0 } else { -1.0 };
        let short = (1.0 - side * *score).max(0.0);
        loss += f64::from(short) * f64::from(short);
        *score = -2.0 * side * short;
    }
    loss
}

fn two_loops(slope: &[f32], history: &[(Vec<f32>, Vec<f32>, f64)]) -> Vec<f32> {
    let mut direction: Vec<f32> = slope.iter().map(|s| -s).collect();
    let mut shares = Vec::with_capacity(history.len());
    for (change, bend, curvature) in history.iter().rev() {
        let share = dot(change, &direction) / curvature;
        shares.push(share);
        for (d, b) in direction.iter_mut().zip(bend) {
            *d -= share as f32 * b;
        }
    }
    if let Some((_, bend, curvature)) = history.last() {
        let scale = (curvature / dot(bend, bend)) as f32;
        direction.iter_mut().for_each(|d| *d *= scale);
    }
    for ((change, bend, curvature), share) in history.iter().zip(shares.iter().rev()) {
        let back = share - dot(bend, &direction) / curvature;
        for (d, c) in direction.iter_mut().zip(change) {
            *d += back as f32 * c;
        }
    }
    direction
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    // Eight partial sums: a fixed order that still fills the vector unit.
    let mut sums = [0.0f64; 8];
    let (a8, a_rest) = a.as_chunks::<8>();
    let (b8, b_rest) = b.as_chunks::<8>();
    for (x, y) in a8.iter().zip(b8) {
        for i in 0..8 {
            sums[i] += f64::from(x[i]) * f64::from(y[i]);
        }
    }
    sums.iter().sum::<f64>()
        + a_rest.iter().zip(b_rest).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>()
}

fn norm(a: &[f32]) -> f64 {
    dot(a, a).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(words: &[u32]) -> Features {
        Features { words: words.iter().map(|w| w << 24).collect(), ..Features::default() }
    }

    #[test]
    fn the_solution_separates_what_can_be_separated() {
        let documents: Vec<Features> =
            (0..40).map(|i| document(if i % 2 == 0 { &[1, 3] } else { &[2, 3] })).collect();
        let documents: Vec<&Features> = documents.iter().collect();
        let labels: Vec<u32> = (0..40).map(|i| i % 2).collect();
        let vocabulary = Vocabulary::learn(Spec::SHIPPED, &documents, 8, 1);
        let matrix = vocabulary.matrix(&documents);
        for (loss, gap) in [(Loss::Log, 2.0), (Loss::Hinge, 1.5)] {
            let objective = Objective {
                loss,
                matrix: &matrix,
                labels: &labels,
                weights: &[],
                class_weights: &[1.0, 1.0],
                cost: 10.0,
                gains: &[],
            };
            let weights = solve(objective, vocabulary.row_of.len(), None, 50, &mut |_| {});
            for (scores, label) in matrix.scores(&weights).chunks(2).zip(&labels) {
                assert!(scores[*label as usize] > scores[1 - *label as usize] + gap, "{loss:?}");
            }
        }
    }

    #[test]
    fn more_cost_means_larger_weights() {
        let documents: Vec<Features> = (0..20).map(|i| document(&[1 + i % 2])).collect();
        let documents: Vec<&Features> = documents.iter().collect();
        let labels: Vec<u32> = (0..20).map(|i| i % 2).collect();
        let vocabulary = Vocabulary::learn(Spec::SHIPPED, &documents, 8, 1);
        let matrix = vocabulary.matrix(&documents);
        let size = |cost| {
            let objective = Objective {
                loss: Loss::Log,
                matrix: &matrix,
                labels: &labels,
                weights: &[],
                class_weights: &[1.0, 1.0],
                cost,
                gains: &[],
            };
            norm(&solve(objective, vocabulary.row_of.len(), None, 50, &mut |_| {}).table)
        };
        assert!(size(0.1) < size(1.0) && size(1.0) < size(10.0));
    }

    #[test]
    fn a_feature_counts_by_what_it_tells_of_a_class() {
        // 1 stands in every text, 2 in those of one class, 3 in half of both.
        let documents: Vec<Features> = (0..40)
            .map(|i| {
                let told: &[u32] = if i % 2 == 0 { &[1, 2] } else { &[1] };
                let shared: &[u32] = if i % 4 < 2 { &[3] } else { &[] };
                document(&[told, shared].concat())
            })
            .collect();
        let documents: Vec<&Features> = documents.iter().collect();
        let labels: Vec<u32> = (0..40).map(|i| i % 2).collect();
        let vocabulary = Vocabulary::learn(Spec::SHIPPED, &documents, 8, 1).even();
        assert_eq!(vocabulary.row_of, [1, 2, 3]);
        let gains = vocabulary.telling(&documents, &labels, &[], 2);
        for class in 0..2 {
            let of = |column: usize| gains[column * 2 + class];
            assert!(of(1) > 10.0 * of(0) && of(1) > 10.0 * of(2), "{gains:?}");
        }
        let matrix = vocabulary.matrix(&documents);
        let weights = |gains: &[f32]| {
            let class_weights = [1.0, 1.0];
            let objective = Objective {
                loss: Loss::Log,
                matrix: &matrix,
                labels: &labels,
                weights: &[],
                class_weights: &class_weights,
                cost: 1.0,
                gains,
            };
            let cold = solve(objective, 3, None, 200, &mut |_| {});
            let warm = solve(objective, 3, Some(&cold), 200, &mut |_| {});
            let apart = cold.table.iter().zip(&warm.table).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart < 0.02, "a solution is where a second search from it ends: {apart}");
            cold.table
        };
        let (with, without) = (weights(&gains), weights(&[]));
        assert!(with[2] > without[2], "what tells is learned faster");
        assert!(with[0].abs() <= without[0].abs() + 1e-3, "what does not is hardly learned");
    }
}
