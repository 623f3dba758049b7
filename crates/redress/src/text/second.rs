//! The second stage of `redress classify`: lines wait in groups of one size, so that the same input gives the same
//! answers however it arrives.

use std::path::Path;

use anyhow::{Context, Result};
use nlp::{Budget, Understanding, Why, second::refine};
use transformer::{Settings, Transformer};

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
    stage: Transformer,
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
        Ok(Second { stage, budget: Budget::of_share(share), waiting: Vec::with_capacity(WAITING_MAX) })
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
        let reached = refine(&mut self.stage, &mut self.budget, &texts, &mut answers)?;
        let mut settled: Vec<(Waiting, bool)> = self.waiting.drain(..).map(|line| (line, false)).collect();
        for at in reached {
            settled[at].0.answer = answers[at];
            settled[at].1 = true;
        }
        Ok(settled)
    }
}
