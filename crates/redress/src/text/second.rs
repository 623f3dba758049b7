//! The second stage of `redress classify`: lines wait in groups of one size, so that the same input gives the same
//! answers however it arrives.

use std::path::Path;

use anyhow::{Context, Result};
use nlp::{Budget, SecondStage, Understanding, Why, second::refine};
use transformer::{Error, Settings, Transformer};

/// Lines that wait for each other.
const WAITING_MAX: usize = 512;
/// Nobody waits for an answer here: a group may take as long as it takes.
const LOOK_MS_MAX: u64 = 3_600_000;

/// A line that was understood once.
pub(super) struct Waiting {
    pub(super) id: String,
    pub(super) text: String,
    pub(super) answer: Understanding,
    pub(super) why: Vec<Why>,
}

/// A user's model and the lines it may look at.
pub(super) struct Second {
    stage: Box<dyn SecondStage<Error = Error>>,
    budget: Budget,
    waiting: Vec<Waiting>,
}

impl Second {
    /// Loads a folder with a model; `share` of all lines may go to it.
    pub(super) fn open(directory: &Path, share: f64) -> Result<Second> {
        let settings = Settings {
            directory: Some(directory.to_owned()),
            share,
            look_ms_max: LOOK_MS_MAX,
            ..Settings::default()
        };
        let stage = Transformer::open(&settings).context("cannot use --second-stage")?;
        Ok(Second::new(Box::new(stage), share))
    }

    fn new(stage: Box<dyn SecondStage<Error = Error>>, share: f64) -> Second {
        Second { stage, budget: Budget::of_share(share), waiting: Vec::with_capacity(WAITING_MAX) }
    }

    pub(super) fn wait(&mut self, line: Waiting) {
        self.waiting.push(line);
    }

    /// True when the lines that wait are to be answered.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING_MAX
    }

    /// All lines that waited, in order, and whether the model had its say.
    pub(super) fn look_again(&mut self) -> Result<Vec<(Waiting, bool)>> {
        let texts: Vec<&str> = self.waiting.iter().map(|line| line.text.as_str()).collect();
        let mut answers: Vec<Understanding> = self.waiting.iter().map(|line| line.answer).collect();
        self.budget.see(texts.len());
        let reached = refine(&mut *self.stage, &mut self.budget, &texts, &mut answers)?;
        let mut settled: Vec<(Waiting, bool)> = self.waiting.drain(..).map(|line| (line, false)).collect();
        for at in reached {
            settled[at].0.answer = answers[at];
            settled[at].1 = true;
        }
        Ok(settled)
    }
}

#[cfg(test)]
mod tests {
    use nlp::{Hint, Model, Scratch};

    use super::*;

    /// Calls everything positive, or fails.
    struct Fake(bool);

    impl SecondStage for Fake {
        type Error = Error;
        fn look_again(&mut self, texts: &[(&str, Understanding)]) -> Result<Vec<Understanding>, Error> {
            let better = |first: &Understanding| Understanding { sentiment: [0.0, 0.0, 1.0], ..*first };
            match self.0 {
                true => Ok(texts.iter().map(|(_, first)| better(first)).collect()),
                false => Err(Error::Answer("as asked".into())),
            }
        }
    }

    fn waiting(lines: usize, second: &mut Second) {
        let blank = Model::shipped().understand(&mut Scratch::default(), "", Hint::default());
        for line in 0..lines {
            // Every third line is not sure, the later the less.
            let top = 0.8 - 0.001 * line as f32;
            let answer = Understanding { sentiment: [top, 1.0 - top, 0.0], sure: line % 3 != 0, ..blank };
            second.wait(Waiting { id: line.to_string(), text: String::new(), answer, why: Vec::new() });
        }
    }

    #[test]
    fn lines_come_back_in_order_and_the_least_sure_were_looked_at_again() {
        let mut second = Second::new(Box::new(Fake(true)), 0.1);
        waiting(60, &mut second);
        assert!(!second.is_full());
        let settled = second.look_again().unwrap();
        let ids: Vec<String> = settled.iter().map(|(line, _)| line.id.clone()).collect();
        assert_eq!(ids, (0..60).map(|n| n.to_string()).collect::<Vec<_>>());
        let again: Vec<usize> = (0..60).filter(|at| settled[*at].1).collect();
        assert_eq!(again, [42, 45, 48, 51, 54, 57], "a tenth of sixty");
        for (line, looked_again) in &settled {
            assert_eq!(line.answer.sentiment[2] == 1.0, *looked_again);
        }
        assert!(second.look_again().unwrap().is_empty());
    }

    #[test]
    fn a_group_is_full_at_its_bound_and_a_failure_ends_the_command() {
        let mut second = Second::new(Box::new(Fake(false)), 1.0);
        waiting(WAITING_MAX, &mut second);
        assert!(second.is_full());
        assert!(second.look_again().is_err());
    }

    #[cfg(not(feature = "transformer"))]
    #[test]
    fn a_program_without_the_runtime_says_how_to_get_it() {
        let Err(refused) = Second::open(Path::new("model"), 0.1) else { panic!("was not refused") };
        let told = format!("{refused:#}");
        assert!(told.contains("--second-stage") && told.contains("--features transformer"), "{told}");
    }
}
