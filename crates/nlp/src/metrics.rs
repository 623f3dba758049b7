//! How good answers are: accuracy, F1, recall, calibration, area under the curve.

/// Counts of truth (rows) against answer (columns).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    /// Number of classes.
    pub classes: usize,
    /// Counts, row by row.
    pub counts: Vec<u64>,
}

impl Confusion {
    /// An empty table.
    pub fn new(classes: usize) -> Self {
        Self { classes, counts: vec![0; classes * classes] }
    }

    /// Counts one answer.
    pub fn add(&mut self, truth: usize, answer: usize) {
        self.counts[truth * self.classes + answer] += 1;
    }

    /// How many answers were counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    fn right(&self, class: usize) -> f64 {
        self.counts[class * self.classes + class] as f64
    }

    fn truths(&self, class: usize) -> f64 {
        self.counts[class * self.classes..(class + 1) * self.classes].iter().sum::<u64>() as f64
    }

    fn answers(&self, class: usize) -> f64 {
        self.counts.iter().skip(class).step_by(self.classes.max(1)).sum::<u64>() as f64
    }

    /// Share of right answers; 0 when nothing was counted.
    pub fn accuracy(&self) -> f64 {
        let right: f64 = (0..self.classes).map(|c| self.right(c)).sum();
        right / (self.total() as f64).max(1.0)
    }

    /// Mean F1 over the classes that occur as truth or answer.
    pub fn macro_f1(&self) -> f64 {
        mean((0..self.classes).filter_map(|c| {
            let both = self.truths(c) + self.answers(c);
            (both > 0.0).then(|| 2.0 * self.right(c) / both)
        }))
    }

    /// Mean recall over the classes that occur as truth.
    pub fn macro_recall(&self) -> f64 {
        mean((0..self.classes).filter_map(|c| {
            let truths = self.truths(c);
            (truths > 0.0).then(|| self.right(c) / truths)
        }))
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0.0), |(sum, n), v| (sum + v, n + 1.0));
    if n == 0.0 { 0.0 } else { sum / n }
}

/// Expected calibration error over equal-width bins of (confidence, right).
pub fn calibration_error(answers: &[(f32, bool)], bins: usize) -> f64 {
    let mut table = vec![(0.0f64, 0.0f64, 0.0f64); bins.max(1)];
    for &(confidence, right) in answers {
        let bin = ((confidence * bins as f32) as usize).min(bins.saturating_sub(1));
        table[bin].0 += f64::from(confidence);
        table[bin].1 += f64::from(u8::from(right));
        table[bin].2 += 1.0;
    }
    let gap: f64 = table.iter().map(|(confidence, right, _)| (confidence - right).abs()).sum();
    gap / (answers.len() as f64).max(1.0)
}

/// Area under the receiver's curve of (score, truth); ties count half; 0.5 when a class is missing.
pub fn area_under_curve(answers: &[(f32, bool)]) -> f64 {
    let mut sorted: Vec<_> = answers.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let positives = sorted.iter().filter(|(_, truth)| *truth).count() as f64;
    let negatives = sorted.len() as f64 - positives;
    if positives == 0.0 || negatives == 0.0 {
        return 0.5;
    }
    let mut rank_sum = 0.0;
    let mut at = 0;
    while at < sorted.len() {
        let end = at + sorted[at..].iter().take_while(|(score, _)| *score == sorted[at].0).count();
        let rank = (at + 1 + end) as f64 / 2.0;
        rank_sum += rank * sorted[at..end].iter().filter(|(_, truth)| *truth).count() as f64;
        at = end;
    }
    (rank_sum - positives * (positives + 1.0) / 2.0) / (positives * negatives)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_of_a_known_table() {
        let mut table = Confusion::new(2);
        for (truth, answer, times) in [(0, 0, 8), (0, 1, 2), (1, 1, 3), (1, 0, 1)] {
            (0..times).for_each(|_| table.add(truth, answer));
        }
        assert!((table.accuracy() - 11.0 / 14.0).abs() < 1e-12);
        assert!((table.macro_recall() - (0.8 + 0.75) / 2.0).abs() < 1e-12);
        assert!((table.macro_f1() - (16.0 / 19.0 + 6.0 / 9.0) / 2.0).abs() < 1e-12);
    }

    #[test]
    fn a_perfect_ranking_has_area_one_and_ties_half() {
        assert_eq!(area_under_curve(&[(0.1, false), (0.2, false), (0.9, true)]), 1.0);
        assert_eq!(area_under_curve(&[(0.5, false), (0.5, true)]), 0.5);
        assert_eq!(area_under_curve(&[(0.5, true)]), 0.5);
    }

    #[test]
    fn calibration_error_is_the_mean_gap() {
        assert!((calibration_error(&[(0.9, true), (0.9, false)], 15) - 0.4).abs() < 1e-6);
    }
}
