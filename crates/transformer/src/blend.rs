//! How the second answer is joined with the first.
//!
//! The scores of the second model are divided by a temperature, become probabilities, and are pooled with the first
//! answer in the logarithm (a weighted geometric mean): two doubtful answers that agree become a surer one, and a
//! weight of one replaces the first answer. What the second model says nothing about stays as it was.

use nlp::Understanding;

use crate::Settings;
use crate::labels::Labels;

/// No answer is taken for impossible, so that the other one can still be heard.
const PROBABILITY_MIN: f32 = 1e-6;

/// The first answer, joined with the scores of the second model (one per class).
pub(crate) fn blend(
    first: &Understanding,
    scores: &[f32],
    labels: &Labels,
    settings: &Settings,
) -> Understanding {
    let mut joined = *first;
    match labels {
        Labels::Sentiment(places) => {
            let second = by_place::<3>(scores, places, settings.temperature);
            joined.sentiment = pool(first.sentiment, second, settings.weight);
            joined.sure = joined.sentiment.iter().any(|p| *p >= settings.sure_from);
        }
        Labels::Complaint(places) => {
            let second = by_place::<2>(scores, places, settings.temperature);
            let [_, complaint] = pool([1.0 - first.complaint, first.complaint], second, settings.weight);
            joined.complaint = complaint;
            joined.severity = severity(first, complaint);
        }
    }
    joined
}

/// Probabilities summed by what their classes mean; none where no class means it.
fn by_place<const N: usize>(scores: &[f32], places: &[usize], temperature: f32) -> [Option<f32>; N] {
    let top = scores.iter().copied().fold(f32::MIN, f32::max);
    let odds = |score: &f32| ((score - top) / temperature).exp();
    let total: f32 = scores.iter().map(odds).sum();
    let mut summed = [None; N];
    for (score, place) in scores.iter().zip(places) {
        *summed[*place].get_or_insert(0.0) += odds(score) / total;
    }
    summed
}

/// Pools what both speak of; the mass the first gave to it is kept, so that the rest stays as it was.
fn pool<const N: usize>(first: [f32; N], second: [Option<f32>; N], weight: f32) -> [f32; N] {
    let mut pooled = first;
    let (mut mass, mut total) = (0.0, 0.0);
    for (p, q) in pooled.iter_mut().zip(second) {
        let Some(q) = q else { continue };
        mass += *p;
        *p = p.max(PROBABILITY_MIN).powf(1.0 - weight) * q.max(PROBABILITY_MIN).powf(weight);
        total += *p;
    }
    for (p, q) in pooled.iter_mut().zip(second) {
        if q.is_some() {
            *p *= mass / total;
        }
    }
    pooled
}

/// The levels of the first answer, given the new chance of a complaint.
fn severity(first: &Understanding, complaint: f32) -> nlp::SeverityEstimate {
    let mut probabilities = first.severity.probabilities;
    let before: f32 = probabilities[1..].iter().sum();
    for p in &mut probabilities[1..] {
        *p = if before > PROBABILITY_MIN { *p / before * complaint } else { complaint / 4.0 };
    }
    probabilities[0] = 1.0 - complaint;
    // A complaint has a level even where the four share its probability, and only a complaint has one.
    let mut level = usize::from(complaint >= 0.5);
    if complaint >= 0.5 {
        for at in 2..5 {
            if probabilities[at] > probabilities[level] {
                level = at;
            }
        }
    }
    nlp::SeverityEstimate { level: level as u8, probabilities }
}

#[cfg(test)]
mod tests {
    use nlp::{Hint, Model, Scratch};
    use proptest::prelude::*;

    use super::*;

    fn first(sentiment: [f32; 3], complaint: f32) -> Understanding {
        let blank = Model::shipped().understand(&mut Scratch::default(), "", Hint::default());
        let severity = nlp::SeverityEstimate {
            level: u8::from(complaint >= 0.5),
            probabilities: [
                1.0 - complaint,
                complaint * 0.4,
                complaint * 0.3,
                complaint * 0.2,
                complaint * 0.1,
            ],
        };
        Understanding { sentiment, complaint, severity, sure: false, ..blank }
    }

    fn settings(weight: f32, temperature: f32) -> Settings {
        Settings { weight, temperature, ..Settings::default() }
    }

    #[test]
    fn weight_one_replaces_and_weight_zero_keeps() {
        let labels = Labels::Sentiment(vec![0, 1, 2]);
        let before = first([0.3, 0.4, 0.3], 0.0);
        let kept = blend(&before, &[9.0, 0.0, 0.0], &labels, &settings(0.0, 1.0));
        assert!(kept.sentiment.iter().zip(before.sentiment).all(|(a, b)| (a - b).abs() < 1e-6));
        let replaced = blend(&before, &[2.0, 0.0, 0.0], &labels, &settings(1.0, 1.0));
        let expected = 2f32.exp() / (2f32.exp() + 2.0);
        assert!((replaced.sentiment[0] - expected).abs() < 1e-5 && replaced.sure);
    }

    #[test]
    fn heat_makes_the_second_answer_less_sure() {
        let labels = Labels::Sentiment(vec![0, 1, 2]);
        let before = first([0.3, 0.4, 0.3], 0.0);
        let [cool, hot] =
            [1.0, 4.0].map(|t| blend(&before, &[3.0, 0.0, 0.0], &labels, &settings(1.0, t)).sentiment[0]);
        assert!(cool > 0.9 && hot < 0.6 && hot > 0.4, "{cool} {hot}");
    }

    #[test]
    fn what_the_second_model_cannot_say_stays() {
        let labels = Labels::Sentiment(vec![0, 2]);
        let joined = blend(&first([0.2, 0.5, 0.3], 0.4), &[4.0, 0.0], &labels, &settings(1.0, 1.0));
        assert_eq!(joined.sentiment[1], 0.5);
        assert!((joined.sentiment[0] - 0.491).abs() < 1e-3 && joined.complaint == 0.4);
    }

    #[test]
    fn stars_count_for_what_they_mean() {
        let labels = Labels::Sentiment(vec![0, 0, 1, 2, 2]);
        let joined = blend(&first([0.3, 0.4, 0.3], 0.0), &[0.0; 5], &labels, &settings(1.0, 1.0));
        let expected = [0.4, 0.2, 0.4];
        assert!(joined.sentiment.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn a_complaint_found_late_gets_a_level_and_one_taken_back_loses_it() {
        let labels = Labels::Complaint(vec![0, 1]);
        let found = blend(&first([0.3, 0.4, 0.3], 0.4), &[0.0, 3.0], &labels, &settings(1.0, 1.0));
        assert!(found.complaint > 0.9 && found.severity.level == 1 && !found.sure);
        let gone = blend(&first([0.3, 0.4, 0.3], 0.6), &[3.0, 0.0], &labels, &settings(1.0, 1.0));
        assert!(gone.complaint < 0.1 && gone.severity.level == 0);
    }

    proptest! {
        #[test]
        fn probabilities_stay_probabilities(
            raw in proptest::array::uniform3(0f32..1.0),
            complaint in 0f32..=1.0,
            scores in proptest::collection::vec(-1e4f32..1e4, 2..6),
            weight in 0f32..=1.0,
            temperature in 0.05f32..20.0,
            of_complaints: bool,
        ) {
            let total = raw.iter().sum::<f32>() + 1e-3;
            let sentiment = [raw[0] / total, raw[1] / total, 1.0 - (raw[0] + raw[1]) / total];
            let before = first(sentiment, complaint);
            let labels = if of_complaints {
                Labels::Complaint((0..scores.len()).map(|c| c % 2).collect())
            } else {
                Labels::Sentiment((0..scores.len()).map(|c| c % 3).collect())
            };
            let joined = blend(&before, &scores, &labels, &settings(weight, temperature));
            prop_assert!((joined.sentiment.iter().sum::<f32>() - 1.0).abs() < 1e-3);
            prop_assert!((joined.severity.probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-3);
            let all = joined.sentiment.into_iter().chain(joined.severity.probabilities).chain([joined.complaint]);
            for p in all {
                prop_assert!((-1e-6..=1.0 + 1e-6).contains(&p), "{joined:?}");
            }
            prop_assert_eq!(joined.topics, before.topics);
        }
    }
}
