use std::collections::{BTreeMap, BTreeSet};

use casework::{Answered, CaseState, Decision, Input, Reason, Said, choose, decide, opens};
use model::{AuthorKey, BrandId, CaseId, MentionId, Outcome, Timestamp};
use store::Tx;

use crate::desk::{Desk, Open, keep};
use crate::hear::Heard;
use crate::store::{self as tables, Early, Places, TableError};
use crate::waiting::Waiting;

/// The cases a batch concerns, as they become: read at once, decided in memory, kept at once.
pub(crate) struct Table<'a> {
    desk: &'a Desk,
    open: BTreeMap<CaseId, Open>,
    customers: BTreeMap<AuthorKey, BTreeSet<CaseId>>,
    threads: BTreeMap<MentionId, BTreeSet<CaseId>>,
    places: Places,
    placed: Vec<(MentionId, CaseId)>,
    waiting: Waiting,
}

/// What has to be read to understand a batch.
#[derive(Default)]
struct Wanted {
    mentions: BTreeSet<MentionId>,
    customers: BTreeSet<AuthorKey>,
    threads: BTreeSet<MentionId>,
    withdrawn: BTreeSet<MentionId>,
    /// Customers who have a case after this batch, if they have none yet.
    opening: BTreeSet<AuthorKey>,
}

impl Wanted {
    fn of(desk: &Desk, heard: &[&Heard]) -> Self {
        let mut wanted = Self::default();
        for heard in heard {
            match heard {
                Heard::Said(said) => {
                    for said in said {
                        wanted.customers.insert(said.author.clone());
                        let opens = opens(said, desk.policies.of(&said.brand));
                        if said.is_edit || opens {
                            wanted.mentions.insert(said.mention);
                        }
                        if opens {
                            wanted.opening.insert(said.author.clone());
                        }
                    }
                }
                Heard::Answered { target, in_thread, answered, .. } => {
                    wanted.mentions.extend([answered.mention, *target]);
                    if *in_thread {
                        wanted.threads.insert(*target);
                    }
                }
                Heard::Withdrawn(mention) => {
                    wanted.mentions.insert(*mention);
                    wanted.withdrawn.insert(*mention);
                }
                Heard::Restored(mention, _) => drop(wanted.mentions.insert(*mention)),
                Heard::Forgotten(author) => drop(wanted.customers.insert(author.clone())),
                Heard::Nothing(_) => {}
            }
        }
        wanted
    }
}

impl<'a> Table<'a> {
    /// Reads what `heard` concerns.
    pub(crate) async fn read(desk: &'a Desk, tx: &mut Tx, heard: &[&Heard]) -> Result<Self, TableError> {
        let wanted = Wanted::of(desk, heard);
        let places = tables::places(tx, &wanted.mentions).await?;
        let mut cases = tables::cases(tx, &places.values().copied().collect()).await?;
        cases.extend(tables::cases_of(tx, &wanted.customers).await?);
        cases.extend(tables::cases_in(tx, &wanted.threads).await?);
        let mut table = Self {
            desk,
            open: BTreeMap::new(),
            customers: BTreeMap::new(),
            threads: BTreeMap::new(),
            places,
            placed: Vec::new(),
            waiting: Waiting::default(),
        };
        for case in cases {
            table.lay_out(Open::read(case));
        }
        // Only words that find a case can have an answer that waits for them.
        let has_case = |s: &&Said| {
            table.customers.contains_key(&s.author)
                || wanted.opening.contains(&s.author)
                || wanted.mentions.contains(&s.mention)
        };
        let said = heard.iter().filter_map(|heard| match heard {
            Heard::Said(said) => Some(said.iter().filter(has_case).map(|s| s.mention)),
            _ => None,
        });
        let targets = said.flatten().collect();
        table.waiting = Waiting::of(tables::early_answers(tx, &targets, &wanted.withdrawn).await?);
        Ok(table)
    }

    /// Writes what became of everything.
    pub(crate) async fn keep(self, tx: &mut Tx, now: Timestamp) -> Result<(), TableError> {
        let placed =
            self.placed.iter().filter_map(|(mention, case)| Some((*mention, &self.open.get(case)?.case)));
        tables::place(tx, &placed.collect::<Vec<_>>()).await?;
        // First the ones that are gone: an answer may have waited, found its case, and wait again for another.
        tables::drop_early(tx, self.waiting.gone()).await?;
        tables::keep_early(tx, &self.waiting.fresh()).await?;
        keep(self.desk, tx, &self.open.values().collect::<Vec<_>>(), now).await
    }

    fn lay_out(&mut self, open: Open) {
        let case = &open.case;
        self.customers.entry(case.customer.clone()).or_default().insert(case.id);
        self.threads.entry(case.thread_root).or_default().insert(case.id);
        self.open.entry(case.id).or_insert(open);
    }

    /// Decides what a record does; how it ended.
    pub(crate) fn hear(&mut self, heard: &Heard, at: Timestamp) -> (Outcome, &'static str) {
        match heard {
            Heard::Said(said) => {
                // One record ends once: by what it did, if it did anything for any brand.
                let ends = said.iter().map(|said| self.said(said, at));
                ends.min().unwrap_or((Outcome::Suppressed, "no_brand"))
            }
            Heard::Answered { brand, target, in_thread, answered } => {
                self.answered(brand, *target, *in_thread, answered, at)
            }
            Heard::Withdrawn(mention) => {
                let waited = self.waiting.withdraw(*mention);
                let end = self.each_place(*mention, &Input::Withdrawn { mention: *mention }, at);
                if waited { (Outcome::Merged, "withdrawn") } else { end }
            }
            Heard::Restored(mention, text) => {
                let input = Input::Restored { mention: *mention, text: text.clone() };
                self.each_place(*mention, &input, at)
            }
            Heard::Forgotten(author) => {
                let ids = self.customers.get(author).cloned().unwrap_or_default();
                ids.into_iter().map(|id| self.decide(id, &Input::Erased, at)).min().unwrap_or(NO_CASE)
            }
            Heard::Nothing(why) => (Outcome::Suppressed, why),
        }
    }

    fn said(&mut self, said: &Said, at: Timestamp) -> (Outcome, &'static str) {
        let policy = self.desk.policies.of(&said.brand);
        let place = self.places.get(&(said.mention, said.brand.clone())).copied();
        let chosen = place.or_else(|| {
            let ids = self.customers.get(&said.author)?;
            choose(said, ids.iter().filter_map(|id| self.open.get(id)).map(|open| &open.case), policy)
        });
        let input = Input::Said(said.clone());
        let (id, end) = match chosen {
            Some(id) => {
                let is_kept = self.open.get(&id).is_some_and(|o| o.case.message(said.mention).is_some());
                if place.is_some() && !is_kept {
                    // Its words were let go for newer ones.
                    return (Outcome::Merged, "repeat");
                }
                (id, self.decide(id, &input, at))
            }
            None => {
                let decision = decide(None, &input, at, policy);
                let end = ended(&decision);
                let Some(open) = Open::new(decision) else { return end };
                let id = open.case.id;
                self.lay_out(open);
                (id, end)
            }
        };
        let is_new = self.open.get(&id).is_some_and(|o| o.case.message(said.mention).is_some());
        if place.is_none() && is_new {
            self.put(said.mention, &said.brand, id);
            // The answer may have been heard before the question.
            for answered in self.waiting.take(said.mention, &said.brand) {
                let mention = answered.mention;
                self.decide(id, &Input::Answered(answered), at);
                self.put(mention, &said.brand, id);
            }
        }
        end
    }

    fn answered(
        &mut self,
        brand: &BrandId,
        target: MentionId,
        in_thread: bool,
        answered: &Answered,
        at: Timestamp,
    ) -> (Outcome, &'static str) {
        if self.places.contains_key(&(answered.mention, brand.clone())) {
            return (Outcome::Merged, "repeat");
        }
        let place = self.places.get(&(target, brand.clone())).copied();
        let Some(id) = place.or_else(|| self.only_open_case(brand, target).filter(|_| in_thread)) else {
            let (brand, answered) = (brand.clone(), answered.clone());
            self.waiting.keep(Early { target, brand, answered });
            return (Outcome::Stored, "early_answer");
        };
        let end = self.decide(id, &Input::Answered(answered.clone()), at);
        self.put(answered.mention, brand, id);
        end
    }

    fn only_open_case(&self, brand: &BrandId, thread: MentionId) -> Option<CaseId> {
        let ids = self.threads.get(&thread)?;
        let mut open = ids
            .iter()
            .filter_map(|id| self.open.get(id))
            .filter(|open| open.case.brand == *brand && open.case.state != CaseState::Resolved);
        let only = open.next()?.case.id;
        open.next().is_none().then_some(only)
    }

    fn each_place(&mut self, mention: MentionId, input: &Input, at: Timestamp) -> (Outcome, &'static str) {
        let of_mention = |((m, _), id): (&(MentionId, BrandId), &CaseId)| (*m == mention).then_some(*id);
        let ids: Vec<_> = self.places.iter().filter_map(of_mention).collect();
        ids.into_iter().map(|id| self.decide(id, input, at)).min().unwrap_or(NO_CASE)
    }

    fn decide(&mut self, id: CaseId, input: &Input, at: Timestamp) -> (Outcome, &'static str) {
        let Some(open) = self.open.get_mut(&id) else { return NO_CASE };
        let decision = decide(Some(&open.case), input, at, self.desk.policies.of(&open.case.brand));
        let end = ended(&decision);
        if decision.is_change() {
            open.absorb(decision);
        }
        end
    }

    fn put(&mut self, mention: MentionId, brand: &BrandId, case: CaseId) {
        self.places.insert((mention, brand.clone()), case);
        self.placed.push((mention, case));
    }
}

const NO_CASE: (Outcome, &str) = (Outcome::Suppressed, "no_case");

/// How a record ended; of several ends the smallest counts.
fn ended(decision: &Decision) -> (Outcome, &'static str) {
    if decision.is_change() {
        return (Outcome::Stored, decision.reason.code());
    }
    match decision.reason {
        Reason::Repeat => (Outcome::Merged, "repeat"),
        ref reason => (Outcome::Suppressed, reason.code()),
    }
}
