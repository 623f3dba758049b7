//! Fitting the probabilities of a head to held-out texts: one sharpness and one shift per class, per language.

use crate::arith::{exp, ln, softmax};

/// A held-out text: the scores of the head's classes, and the right class. A yes-or-no has the scores (0, s).
#[derive(Debug, Clone)]
pub struct Seen {
    /// Scores, one per class.
    pub scores: Vec<f32>,
    /// The right class.
    pub class: usize,
    /// What it counts.
    pub weight: f32,
}

/// Multiply by `sharpness` after adding `shift`.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// Steepness.
    pub sharpness: f32,
    /// One per class.
    pub shift: Vec<f32>,
}

const ROUNDS: usize = 400;

impl Fit {
    /// Changes nothing.
    pub fn none(classes: usize) -> Fit {
        Fit { sharpness: 1.0, shift: vec![0.0; classes] }
    }

    /// The probabilities after fitting.
    pub fn probabilities(&self, scores: &[f32]) -> Vec<f32> {
        let mut p: Vec<f32> =
            scores.iter().zip(&self.shift).map(|(s, shift)| (s + shift) * self.sharpness).collect();
        softmax(&mut p);
        p
    }
}

/// Fits by gradient steps on the weighted log loss, starting from `prior` and pulled towards it with the weight of
/// `strength` texts: few texts move little.
pub fn fit(seen: &[Seen], prior: &Fit, strength: f32) -> Fit {
    let classes = prior.shift.len();
    let mut log_sharpness = ln(f64::from(prior.sharpness)) as f32;
    let prior_log = log_sharpness;
    let mut shift = prior.shift.clone();
    let total: f32 = seen.iter().map(|s| s.weight).sum::<f32>() + strength;
    if seen.is_empty() {
        return prior.clone();
    }
    for _ in 0..ROUNDS {
        let sharpness = exp(log_sharpness);
        let now = Fit { sharpness, shift: shift.clone() };
        let mut slope_sharp = strength * (log_sharpness - prior_log);
        let mut slope: Vec<f32> = shift.iter().zip(&prior.shift).map(|(a, b)| strength * (a - b)).collect();
        for one in seen {
            let p = now.probabilities(&one.scores);
            for class in 0..classes {
                let error = one.weight * (p[class] - f32::from(u8::from(class == one.class)));
                slope[class] += error * sharpness;
                slope_sharp += error * (one.scores[class] + shift[class]) * sharpness;
            }
        }
        for (value, slope) in shift.iter_mut().zip(&slope) {
            *value -= slope / total;
        }
        log_sharpness = (log_sharpness - 0.5 * slope_sharp / total).clamp(-2.0, 2.0);
    }
    Fit { sharpness: exp(log_sharpness), shift }
}

/// Weights that make the classes count as `prior` says, whatever their numbers.
pub fn reweigh(seen: &mut [Seen], prior: &[f32]) {
    let mut counts = vec![0.0f32; prior.len()];
    for one in seen.iter() {
        counts[one.class] += 1.0;
    }
    let total = seen.len() as f32;
    for one in seen {
        one.weight = prior[one.class] * total / counts[one.class].max(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overconfident_scores_are_flattened() {
        // Scores say 95 to 5, truth is 70 to 30.
        let seen: Vec<Seen> = (0..100)
            .map(|i| Seen { scores: vec![3.0, 0.0], class: usize::from(i % 10 >= 7), weight: 1.0 })
            .collect();
        let fitted = fit(&seen, &Fit::none(2), 0.1);
        let p = fitted.probabilities(&[3.0, 0.0]);
        assert!((p[0] - 0.7).abs() < 0.02, "{p:?}");
    }

    #[test]
    fn few_texts_move_little() {
        let seen = vec![Seen { scores: vec![0.0, 0.0], class: 1, weight: 1.0 }];
        let p = fit(&seen, &Fit::none(2), 100.0).probabilities(&[0.0, 0.0]);
        assert!(p[1] < 0.52);
    }

    #[test]
    fn reweighing_gives_classes_their_share() {
        let mut seen: Vec<Seen> =
            (0..10).map(|i| Seen { scores: vec![0.0; 2], class: usize::from(i == 0), weight: 1.0 }).collect();
        reweigh(&mut seen, &[0.5, 0.5]);
        let rare: f32 = seen.iter().filter(|s| s.class == 1).map(|s| s.weight).sum();
        assert!((rare - 5.0).abs() < 1e-4);
    }
}
