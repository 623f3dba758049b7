//! One batch: decode, decide, keep, with the offsets, in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use bus::{Partition, Received};
use casework::opens;
use contracts::ingest::v1::DeadLetter;
use model::{Outcome, Timestamp};
use prost::{Message as _, Name as _};
use store::offsets::{self, AdvanceError, OffsetKey};
use store::{Doing, Tx, outbox};

use crate::consumer::HOP;
use crate::desk::{DEAD_LETTERS, Desk};
use crate::hear::{Heard, Refused, hear};
use crate::store::{self as tables, SERVICE, TableError};
use crate::table::Table;

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

/// What became of a batch that was kept.
pub(crate) struct Kept {
    pub(crate) ends: Ends,
    /// When the newest of what could be read was taken in.
    pub(crate) newest: Option<Timestamp>,
}

/// Everything a batch does, kept or not at all.
pub(crate) async fn take(desk: &Desk, batch: &Batch) -> Result<Kept, StepError> {
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
    let meant: Vec<&Heard> = heard.iter().filter_map(|h| h.as_ref().ok()).map(|(heard, _)| heard).collect();
    tables::lock(&desk.store, &mut tx, &lock_keys(desk, &meant)).await?;
    let mut table = Table::read(desk, &mut tx, &meant).await?;
    let mut ends = Ends::new();
    for (record, heard) in batch.records.iter().zip(&heard) {
        let (outcome, reason) = match heard {
            // What was said is decided at the time it was taken in, so that a replay decides the same.
            Ok((heard, at)) => table.hear(heard, (*at).min(now)),
            Err(refused) => refuse(&mut tx, record, refused, now).await?,
        };
        *ends.entry((outcome, reason)).or_default() += 1;
    }
    table.keep(&mut tx, now).await?;
    tx.commit().await.doing(|| "keeping a batch".into())?;
    desk.committed();
    let newest = heard.iter().filter_map(|h| h.as_ref().ok()).map(|(_, at)| *at).max();
    Ok(Kept { ends, newest })
}

/// Whom and what other processes must leave alone until the batch is kept.
fn lock_keys(desk: &Desk, heard: &[&Heard]) -> BTreeSet<String> {
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
