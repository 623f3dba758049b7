//! One batch: decode, decide, keep, with the offsets, in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use bus::{Partition, Received};
use casework::{Answered, CaseState, Decision, Input, Reason, Said, choose, decide, opens};
use contracts::ingest::v1::DeadLetter;
use model::{AuthorKey, BrandId, CaseId, MentionId, Outcome, Timestamp};
use prost::{Message as _, Name as _};
use store::offsets::{self, AdvanceError, OffsetKey};
use store::{Doing, Tx, outbox};

use crate::consumer::HOP;
use crate::desk::{DEAD_LETTERS, Desk, Open, keep};
use crate::hear::{Heard, Refused, hear};
use crate::store::{self as tables, Places, SERVICE, TableError};

/// The longest body kept of a refused record, in bytes.
const REFUSED_BYTES_MAX: usize = 256 * 1024;

/// Records and how far they lead on each partition.
pub(crate) struct Batch {
    pub(crate) records: Vec<Received>,
    /// From where to where, per partition.
    pub(crate) moves: BTreeMap<Partition, (i64, i64)>,
}

/// Why a batch was not kept. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    #[error(transparent)]
    Offset(#[from] AdvanceError),
    #[error(transparent)]
    Table(#[from] TableError),
}

impl From<store::StoreError> for StepError {
    fn from(error: store::StoreError) -> Self {
        Self::Table(error.into())
    }
}

/// How the records of a batch ended.
pub(crate) type Ends = BTreeMap<(Outcome, &'static str), u64>;

/// Everything a batch does, kept or not at all.
pub(crate) async fn take(desk: &Desk, batch: &Batch) -> Result<Ends, StepError> {
    let now = desk.clock.now();
    let heard: Vec<_> = batch.records.iter().map(hear).collect();
    let mut tx = desk.store.begin().await?;
    for (partition, (from, to)) in &batch.moves {
        let key = OffsetKey {
            service: SERVICE,
            consumer: HOP,
            topic: partition.topic.name(),
            partition: partition.number,
        };
        offsets::advance(&mut tx, key, *from, *to).await?;
    }
    let meant = || heard.iter().filter_map(|h| h.as_ref().ok()).map(|(heard, _)| heard);
    tables::lock(&desk.store, &mut tx, &lock_keys(desk, meant())).await?;
    let mut table = Table::read(desk, &mut tx, meant()).await?;
    let mut ends = Ends::new();
    for (record, heard) in batch.records.iter().zip(&heard) {
        let (outcome, reason) = match heard {
            // What was said is decided at the time it was taken in, so that a replay decides the same.
            Ok((heard, at)) => table.hear(heard, (*at).min(now)).await?,
            Err(refused) => refuse(table.tx, record, refused, now).await?,
        };
        *ends.entry((outcome, reason)).or_default() += 1;
    }
    let Table { open, placed, .. } = table;
    let placed: Vec<_> =
        placed.iter().filter_map(|(mention, case)| Some((*mention, &open.get(case)?.case))).collect();
    tables::place(&mut tx, &placed).await?;
    keep(desk, &mut tx, open.values(), now).await?;
    tx.commit().await.doing(|| "keeping a batch".into())?;
    desk.committed();
    Ok(ends)
}

/// Whom and what other processes must leave alone until the batch is kept.
fn lock_keys<'a>(desk: &Desk, heard: impl Iterator<Item = &'a Heard>) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for heard in heard {
        match heard {
            Heard::Said(said) => {
                for said in
                    said.iter().filter(|said| said.is_edit || opens(said, desk.policies.of(&said.brand)))
                {
                    keys.insert(said.author.as_str().to_owned());
                    keys.insert(said.mention.to_string());
                }
            }
            Heard::Answered { target, .. } => drop(keys.insert(target.to_string())),
            Heard::Withdrawn(mention) | Heard::Restored(mention, _) => drop(keys.insert(mention.to_string())),
            Heard::Forgotten(author) => drop(keys.insert(author.as_str().to_owned())),
            Heard::Nothing(_) => {}
        }
    }
    keys
}

async fn refuse(
    tx: &mut Tx,
    record: &Received,
    refused: &Refused,
    now: Timestamp,
) -> Result<(Outcome, &'static str), TableError> {
    let place = record.position;
    let body = record.record.value.clone().unwrap_or_default();
    let is_cut = body.len() > REFUSED_BYTES_MAX;
    let letter = DeadLetter {
        service: SERVICE.into(),
        reason: refused.reason.into(),
        detail: refused.detail.clone(),
        topic: place.partition.topic.name().into(),
        partition: place.partition.number,
        offset: place.offset,
        body: body.slice(..body.len().min(REFUSED_BYTES_MAX)),
        is_cut,
        refused_at_us: now.as_micros(),
        attempt: 1,
        key: record.record.key.clone(),
        ..DeadLetter::default()
    };
    let from = format!("{}/{}", place.partition.topic, place.partition.number);
    let message = outbox::Message {
        delivery_id: format!("refused/{from}/{}", place.offset),
        ordering_key: from,
        destination: DEAD_LETTERS.into(),
        kind: DeadLetter::full_name(),
        body: letter.encode_to_vec(),
        headers: String::new(),
        due_at: now,
    };
    outbox::enqueue(tx, SERVICE, &message, now).await?;
    Ok((Outcome::DeadLettered, refused.reason))
}

/// The cases a batch concerns, as they become.
struct Table<'a> {
    desk: &'a Desk,
    tx: &'a mut Tx,
    open: BTreeMap<CaseId, Open>,
    customers: BTreeMap<AuthorKey, BTreeSet<CaseId>>,
    threads: BTreeMap<MentionId, BTreeSet<CaseId>>,
    places: Places,
    placed: Vec<(MentionId, CaseId)>,
}

impl<'a> Table<'a> {
    async fn read(
        desk: &'a Desk,
        tx: &'a mut Tx,
        heard: impl Iterator<Item = &Heard>,
    ) -> Result<Self, TableError> {
        let (mut mentions, mut customers, mut threads) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for heard in heard {
            match heard {
                Heard::Said(said) => {
                    for said in said {
                        customers.insert(said.author.clone());
                        if said.is_edit || opens(said, desk.policies.of(&said.brand)) {
                            mentions.insert(said.mention);
                        }
                    }
                }
                Heard::Answered { target, in_thread, answered, .. } => {
                    mentions.extend([answered.mention, *target]);
                    if *in_thread {
                        threads.insert(*target);
                    }
                }
                Heard::Withdrawn(mention) | Heard::Restored(mention, _) => drop(mentions.insert(*mention)),
                Heard::Forgotten(author) => drop(customers.insert(author.clone())),
                Heard::Nothing(_) => {}
            }
        }
        let places = tables::places(tx, &mentions).await?;
        let mut cases = tables::cases(tx, &places.values().copied().collect()).await?;
        cases.extend(tables::cases_of(tx, &customers).await?);
        cases.extend(tables::cases_in(tx, &threads).await?);
        let mut table = Self {
            desk,
            tx,
            open: BTreeMap::new(),
            customers: BTreeMap::new(),
            threads: BTreeMap::new(),
            places,
            placed: Vec::new(),
        };
        for case in cases {
            table.lay_out(Open::read(case));
        }
        Ok(table)
    }

    fn lay_out(&mut self, open: Open) {
        let case = &open.case;
        self.customers.entry(case.customer.clone()).or_default().insert(case.id);
        self.threads.entry(case.thread_root).or_default().insert(case.id);
        self.open.entry(case.id).or_insert(open);
    }

    async fn hear(&mut self, heard: &Heard, at: Timestamp) -> Result<(Outcome, &'static str), TableError> {
        match heard {
            Heard::Said(said) => {
                let mut ends = Vec::with_capacity(said.len());
                for said in said {
                    ends.push(self.said(said, at).await?);
                }
                // One record ends once: by what it did, if it did anything for any brand.
                Ok(ends.into_iter().min().unwrap_or((Outcome::Suppressed, "no_brand")))
            }
            Heard::Answered { brand, target, in_thread, answered } => {
                self.answered(brand, *target, *in_thread, answered, at).await
            }
            Heard::Withdrawn(mention) => {
                let early = tables::drop_early(self.tx, &mention.to_string()).await?;
                let end = self.each_place(*mention, &Input::Withdrawn { mention: *mention }, at);
                Ok(if early > 0 { (Outcome::Merged, "withdrawn") } else { end })
            }
            Heard::Restored(mention, text) => {
                let input = Input::Restored { mention: *mention, text: text.clone() };
                Ok(self.each_place(*mention, &input, at))
            }
            Heard::Forgotten(author) => {
                let ids = self.customers.get(author).cloned().unwrap_or_default();
                Ok(ids.into_iter().map(|id| self.decide(id, &Input::Erased, at)).min().unwrap_or(NO_CASE))
            }
            Heard::Nothing(why) => Ok((Outcome::Suppressed, why)),
        }
    }

    async fn said(&mut self, said: &Said, at: Timestamp) -> Result<(Outcome, &'static str), TableError> {
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
                    return Ok((Outcome::Merged, "repeat"));
                }
                (id, self.decide(id, &input, at))
            }
            None => {
                let decision = decide(None, &input, at, policy);
                let end = ended(&decision);
                let Some(open) = Open::new(decision) else { return Ok(end) };
                let id = open.case.id;
                self.lay_out(open);
                (id, end)
            }
        };
        let is_new = self.open.get(&id).is_some_and(|o| o.case.message(said.mention).is_some());
        if place.is_none() && is_new {
            self.put(said.mention, &said.brand, id);
            // The answer may have been heard before the question.
            let waiting = BTreeSet::from([said.mention]);
            for answered in tables::take_early(self.tx, &waiting, &said.brand).await? {
                let mention = answered.mention;
                self.decide(id, &Input::Answered(answered), at);
                self.put(mention, &said.brand, id);
            }
        }
        Ok(end)
    }

    async fn answered(
        &mut self,
        brand: &BrandId,
        target: MentionId,
        in_thread: bool,
        answered: &Answered,
        at: Timestamp,
    ) -> Result<(Outcome, &'static str), TableError> {
        if self.places.contains_key(&(answered.mention, brand.clone())) {
            return Ok((Outcome::Merged, "repeat"));
        }
        let place = self.places.get(&(target, brand.clone())).copied();
        let Some(id) = place.or_else(|| self.only_open_case(brand, target).filter(|_| in_thread)) else {
            tables::keep_early(self.tx, target, brand, answered).await?;
            return Ok((Outcome::Stored, "early_answer"));
        };
        let end = self.decide(id, &Input::Answered(answered.clone()), at);
        self.put(answered.mention, brand, id);
        Ok(end)
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
