use std::collections::BTreeMap;

use casework::Answered;
use model::{BrandId, MentionId};

use crate::store::Early;

/// Answers heard before what they answer, as far as a batch concerns them.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// By what they answer; each with whether it lies in the database.
    by_target: BTreeMap<(MentionId, BrandId), Vec<(Answered, bool)>>,
    gone: Vec<MentionId>,
}

impl Waiting {
    /// Those that lie in the database.
    pub(crate) fn of(stored: Vec<Early>) -> Self {
        let mut waiting = Self::default();
        for early in stored {
            waiting.add(early, true);
        }
        waiting
    }

    /// Another one waits.
    pub(crate) fn keep(&mut self, early: Early) {
        self.add(early, false);
    }

    fn add(&mut self, early: Early, is_stored: bool) {
        let answers = self.by_target.entry((early.target, early.brand)).or_default();
        if answers.iter().all(|(known, _)| known.mention != early.answered.mention) {
            answers.push((early.answered, is_stored));
        }
    }

    /// What they answer was heard: takes them, oldest first.
    pub(crate) fn take(&mut self, target: MentionId, brand: &BrandId) -> Vec<Answered> {
        let mut answers = self.by_target.remove(&(target, brand.clone())).unwrap_or_default();
        answers.sort_by_key(|(answered, _)| (answered.at, answered.mention));
        self.gone.extend(answers.iter().filter(|(_, stored)| *stored).map(|(answered, _)| answered.mention));
        answers.into_iter().map(|(answered, _)| answered).collect()
    }

    /// An answer was taken back; whether it waited.
    pub(crate) fn withdraw(&mut self, mention: MentionId) -> bool {
        let mut waited = false;
        for answers in self.by_target.values_mut() {
            answers.retain(|(answered, is_stored)| {
                let is_it = answered.mention == mention;
                waited |= is_it;
                if is_it && *is_stored {
                    self.gone.push(mention);
                }
                !is_it
            });
        }
        waited
    }

    /// Those that are to be taken out of the database.
    pub(crate) fn gone(&self) -> &[MentionId] {
        &self.gone
    }

    /// Those that are to be put into the database.
    pub(crate) fn fresh(&self) -> Vec<Early> {
        let fresh = |((target, brand), answers): (&(MentionId, BrandId), &Vec<(Answered, bool)>)| {
            let early = |answered: &Answered| Early {
                target: *target,
                brand: brand.clone(),
                answered: answered.clone(),
            };
            answers
                .iter()
                .filter(|(_, stored)| !stored)
                .map(|(answered, _)| early(answered))
                .collect::<Vec<_>>()
        };
        self.by_target.iter().flat_map(fresh).collect()
    }
}
