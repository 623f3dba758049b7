//! A second, slower look at the texts the first look is least sure of, under a budget.
//!
//! `SecondStage` is what a better model implements; `choose` says which texts of a batch are worth it. Texts that
//! look negative come first, because overlooking one of those costs most; among them the least certain.

use crate::understanding::Understanding;

/// A slower, better model.
pub trait SecondStage {
    /// Why it could not answer.
    type Error;

    /// Looks again at texts with their first answers; gives one answer per text, in order.
    fn look_again(&mut self, texts: &[(&str, Understanding)]) -> Result<Vec<Understanding>, Self::Error>;
}

/// How many texts may go to the second stage: so many a second on average, saved up for a while.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// Posts per second it may see on average.
    pub posts_per_s: f64,
    /// Posts that may be saved up for a burst.
    pub saved_max: f64,
    saved: f64,
}

impl Budget {
    /// A budget that starts with nothing saved.
    pub fn new(posts_per_s: f64, saved_max: f64) -> Self {
        Self { posts_per_s: posts_per_s.max(0.0), saved_max: saved_max.max(0.0), saved: 0.0 }
    }

    /// Adds what `elapsed_s` seconds earned.
    pub fn earn(&mut self, elapsed_s: f64) {
        let earned = if elapsed_s > 0.0 { elapsed_s * self.posts_per_s } else { 0.0 };
        self.saved = (self.saved + earned).min(self.saved_max);
    }

    /// Picks texts of a batch for the second stage and pays for them: numbers into `answers`, most urgent first.
    /// Sure answers are never picked.
    pub fn choose(&mut self, answers: &[Understanding]) -> Vec<usize> {
        let mut unsure: Vec<usize> = (0..answers.len()).filter(|at| !answers[*at].sure).collect();
        unsure.sort_by(|a, b| urgency(&answers[*b]).total_cmp(&urgency(&answers[*a])).then(a.cmp(b)));
        unsure.truncate(self.saved as usize);
        self.saved -= unsure.len() as f64;
        unsure
    }
}

/// Doubt, plus one for texts that may be negative or a complaint.
fn urgency(answer: &Understanding) -> f32 {
    let mut sorted = answer.sentiment;
    sorted.sort_by(|a, b| b.total_cmp(a));
    let doubt = 1.0 - (sorted[0] - sorted[1]);
    let negative = answer.sentiment[0] >= sorted[1] || answer.complaint >= 0.5;
    doubt + f32::from(u8::from(negative))
}

/// Replaces the answers a second stage was asked for; on an error all first answers stay.
pub fn refine<S: SecondStage>(
    stage: &mut S,
    budget: &mut Budget,
    texts: &[&str],
    answers: &mut [Understanding],
) -> Result<usize, S::Error> {
    let chosen = budget.choose(answers);
    let batch: Vec<(&str, Understanding)> = chosen.iter().map(|at| (texts[*at], answers[*at])).collect();
    if batch.is_empty() {
        return Ok(0);
    }
    let better = stage.look_again(&batch)?;
    for (at, answer) in chosen.iter().zip(better) {
        answers[*at] = answer;
    }
    Ok(chosen.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Hint, Model, Scratch};

    fn answer(sentiment: [f32; 3], sure: bool) -> Understanding {
        let blank = Model::shipped().understand(&mut Scratch::default(), "", Hint::default());
        Understanding { sentiment, complaint: 0.0, sure, ..blank }
    }

    #[test]
    fn uncertain_negatives_come_first_and_sure_answers_never() {
        let answers = [
            answer([0.05, 0.48, 0.47], false),
            answer([0.9, 0.05, 0.05], true),
            answer([0.5, 0.4, 0.1], false),
            answer([0.45, 0.44, 0.11], false),
        ];
        let mut budget = Budget::new(10.0, 100.0);
        budget.earn(1.0);
        assert_eq!(budget.choose(&answers), [3, 2, 0]);
    }

    #[test]
    fn the_budget_is_kept_and_saved_up_to_its_bound() {
        let answers = vec![answer([0.4, 0.35, 0.25], false); 50];
        let mut budget = Budget::new(2.0, 5.0);
        assert!(budget.choose(&answers).is_empty());
        budget.earn(1.5);
        assert_eq!(budget.choose(&answers).len(), 3);
        budget.earn(1000.0);
        assert_eq!(budget.choose(&answers).len(), 5);
        budget.earn(-1.0);
        assert!(budget.choose(&answers).is_empty());
    }

    struct Fails;
    impl SecondStage for Fails {
        type Error = ();
        fn look_again(&mut self, _: &[(&str, Understanding)]) -> Result<Vec<Understanding>, ()> {
            Err(())
        }
    }

    #[test]
    fn a_failing_second_stage_leaves_the_first_answers() {
        let mut answers = [answer([0.4, 0.35, 0.25], false)];
        let before = answers;
        let mut budget = Budget::new(1.0, 5.0);
        budget.earn(2.0);
        assert_eq!(refine(&mut Fails, &mut budget, &["x"], &mut answers), Err(()));
        assert_eq!(answers, before);
    }
}
