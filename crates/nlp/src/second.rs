//! A second, slower look at the texts the first look is least sure of, under a budget.
//!
//! `SecondStage` is what a better model implements; `choose` says which texts of a batch are worth it. Texts that
//! look negative come first, because overlooking one of those costs most; among them the least certain.

use crate::understanding::Understanding;

/// A slower, better model.
pub trait SecondStage {
    /// Why it could not answer.
    type Error;

    /// Looks again at texts with their first answers; gives one answer per text, in order. It may stop early (there
    /// is a limit to every wait): texts after its last answer keep their first.
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
    within: Option<Share>,
}

/// A part of all posts, saved up like the rest.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Share {
    of_all: f64,
    saved: f64,
}

impl Budget {
    /// A budget that starts with nothing saved.
    pub fn new(posts_per_s: f64, saved_max: f64) -> Self {
        Self { posts_per_s: posts_per_s.max(0.0), saved_max: saved_max.max(0.0), saved: 0.0, within: None }
    }

    /// The same budget, and besides no more than a share (0..1) of all posts it is told of by `see`.
    pub fn within_share(self, share: f64) -> Self {
        Self { within: Some(Share { of_all: share.clamp(0.0, 1.0), saved: 0.0 }), ..self }
    }

    /// A budget without haste, for work that waits: a share (0..1) of all posts, however long that takes.
    pub fn of_share(share: f64) -> Self {
        let mut budget = Self::new(f64::INFINITY, f64::INFINITY).within_share(share);
        budget.earn(1.0);
        budget
    }

    /// Counts posts, sure ones too, of which a share may go to the second stage.
    pub fn see(&mut self, posts: usize) {
        if let Some(share) = &mut self.within {
            share.saved = (share.saved + share.of_all * posts as f64).min(self.saved_max);
        }
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
        let affordable = self.within.map_or(self.saved, |share| share.saved.min(self.saved));
        unsure.truncate(affordable as usize);
        let spent = unsure.len() as f64;
        self.saved -= spent;
        if let Some(share) = &mut self.within {
            share.saved -= spent;
        }
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

/// Replaces the answers a second stage was asked for, and tells which; on an error all first answers stay.
pub fn refine<S: SecondStage + ?Sized>(
    stage: &mut S,
    budget: &mut Budget,
    texts: &[&str],
    answers: &mut [Understanding],
) -> Result<Vec<usize>, S::Error> {
    let mut chosen = budget.choose(answers);
    let batch: Vec<(&str, Understanding)> = chosen.iter().map(|at| (texts[*at], answers[*at])).collect();
    if batch.is_empty() {
        return Ok(chosen);
    }
    let better = stage.look_again(&batch)?;
    chosen.truncate(better.len());
    for (at, answer) in chosen.iter().zip(better) {
        answers[*at] = answer;
    }
    Ok(chosen)
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

    #[test]
    fn no_more_than_its_share_of_all_posts_is_chosen() {
        let answers = vec![answer([0.4, 0.35, 0.25], false); 50];
        let mut budget = Budget::of_share(0.1);
        assert!(budget.choose(&answers).is_empty(), "nothing was seen yet");
        budget.see(5);
        assert!(budget.choose(&answers).is_empty());
        budget.see(26);
        assert_eq!(budget.choose(&answers).len(), 3);
        budget.see(1_000);
        assert_eq!(budget.choose(&answers).len(), 50);
        let mut hurried = Budget::new(2.0, 5.0).within_share(0.5);
        hurried.earn(1.0);
        hurried.see(100);
        assert_eq!(hurried.choose(&answers).len(), 2, "the narrower of both holds");
    }

    struct Reaches(usize);
    impl SecondStage for Reaches {
        type Error = ();
        fn look_again(&mut self, texts: &[(&str, Understanding)]) -> Result<Vec<Understanding>, ()> {
            Ok(texts.iter().take(self.0).map(|(_, first)| Understanding { sure: true, ..*first }).collect())
        }
    }

    #[test]
    fn texts_a_second_stage_did_not_reach_keep_their_first_answer() {
        let mut answers = [0.3, 0.5, 0.4].map(|p| answer([p, 0.9 - p, 0.1], false));
        let mut budget = Budget::of_share(1.0);
        budget.see(3);
        let reached = refine(&mut Reaches(2), &mut budget, &["a", "b", "c"], &mut answers).unwrap();
        assert_eq!(reached.len(), 2);
        let sure: Vec<usize> = (0..3).filter(|at| answers[*at].sure).collect();
        let mut expected = reached.clone();
        expected.sort_unstable();
        assert_eq!(sure, expected);
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
