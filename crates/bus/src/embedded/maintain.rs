//! Old records go by age; of compacted topics only the newest record of each key stays.

use std::collections::HashMap;

use model::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::codec::{RowWriter, read_row};
use super::core::{Shared, locked};
use super::state::PartitionState;
use super::tables::{self, offset_of, row_id};
use crate::{Cleanup, Partition, Received};

/// How long a tombstone stays visible to slow readers, in milliseconds (Kafka's `delete.retention.ms`).
const TOMBSTONE_KEPT_MS: i64 = 86_400_000;
/// Keys remembered at a time; a partition with more is gone through more than once.
const KEYS_AT_ONCE_MAX: i64 = 200_000;

/// What maintenance did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Maintained {
    /// Rows of records removed because of their age.
    pub rows_expired: u64,
    /// Records removed because a newer one of their key exists, or because they were old tombstones.
    pub records_superseded: u64,
}

/// Goes through every partition, each in a transaction of its own.
pub(super) fn maintain(
    connection: &mut Connection,
    shared: &Shared,
    now: Timestamp,
) -> Result<Maintained, rusqlite::Error> {
    let topics = locked(&shared.state).topics.clone();
    let mut done = Maintained::default();
    for (topic, state) in topics {
        for (number, found) in state.partitions.iter().enumerate() {
            let partition = Partition { topic, number: number as i32 };
            let transaction = connection.transaction()?;
            let mut marks = *found;
            if state.cleanup != Cleanup::Compact {
                let cutoff = now.plus_millis(-state.retention_ms);
                done.rows_expired += expire(&transaction, &mut marks, cutoff)?;
            }
            if state.cleanup != Cleanup::Delete {
                let due = shared.settings.compact_after_records;
                done.records_superseded += compact(&transaction, partition, marks, now, due)?;
            }
            if marks.low != found.low {
                tables::put_marks(&transaction, marks)?;
            }
            transaction.commit()?;
            if let Some(partition) = locked(&shared.state).partition_mut(partition) {
                partition.low = marks.low;
            }
        }
    }
    Ok(done)
}

/// Removes rows from the beginning as long as all their records are older than `cutoff`.
fn expire(
    transaction: &Transaction<'_>,
    marks: &mut PartitionState,
    cutoff: Timestamp,
) -> Result<u64, rusqlite::Error> {
    let (first, end) = (row_id(marks.id, 0), row_id(marks.id, marks.high));
    let young: Option<i64> = transaction
        .query_row(
            "SELECT id FROM rows WHERE id >= ?1 AND id < ?2 AND max_at_us >= ?3 ORDER BY id LIMIT 1",
            params![first, end, cutoff.as_micros()],
            |row| row.get(0),
        )
        .optional()?;
    let keep_from = young.unwrap_or(end);
    let newest_removed: Option<i64> = transaction.query_row(
        "SELECT MAX(id) FROM rows WHERE id >= ?1 AND id < ?2",
        [first, keep_from],
        |row| row.get(0),
    )?;
    let Some(newest_removed) = newest_removed else { return Ok(0) };
    marks.low = offset_of(newest_removed) + 1;
    Ok(transaction.execute("DELETE FROM rows WHERE id >= ?1 AND id < ?2", [first, keep_from])? as u64)
}

fn compact(
    transaction: &Transaction<'_>,
    partition: Partition,
    marks: PartitionState,
    now: Timestamp,
    due_after: i64,
) -> Result<u64, rusqlite::Error> {
    if marks.high - tables::compacted_to(transaction, marks.id)? < due_after.max(1) {
        return Ok(0);
    }
    let mut removed = 0;
    let passes = ((marks.high - marks.low) / KEYS_AT_ONCE_MAX + 1) as u128;
    for pass in 0..passes {
        let mine = |key: &[u8]| Some(xxhash_rust::xxh3::xxh3_128(key)).filter(|hash| hash % passes == pass);
        let mut newest: HashMap<u128, i64> = HashMap::new();
        for_each_row(transaction, partition, marks, |_, records| {
            for received in records {
                if let Some(key) = mine(&received.record.key) {
                    newest.insert(key, received.position.offset);
                }
            }
            Ok(())
        })?;
        let tombstones_before = now.plus_millis(-TOMBSTONE_KEPT_MS);
        for_each_row(transaction, partition, marks, |id, records| {
            let before = records.len();
            let stays = |received: &Received| {
                let Some(key) = mine(&received.record.key) else { return true };
                let newest = newest.get(&key) == Some(&received.position.offset);
                newest && (received.record.value.is_some() || received.record.at >= tombstones_before)
            };
            let kept: Vec<Received> = records.into_iter().filter(stays).collect();
            removed += (before - kept.len()) as u64;
            if kept.len() < before { replace_row(transaction, id, &kept) } else { Ok(()) }
        })?;
    }
    transaction.execute(
        "UPDATE partitions SET compacted_to = ?2, high = ?2 WHERE id = ?1",
        [marks.id, marks.high],
    )?;
    Ok(removed)
}

fn for_each_row(
    transaction: &Transaction<'_>,
    partition: Partition,
    marks: PartitionState,
    mut each: impl FnMut(i64, Vec<Received>) -> Result<(), rusqlite::Error>,
) -> Result<(), rusqlite::Error> {
    let mut next = row_id(marks.id, 0);
    let mut statement = transaction
        .prepare_cached("SELECT id, bytes FROM rows WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT 1")?;
    // One row at a time: rows are rewritten on the way.
    while let Some((id, bytes)) = statement
        .query_row([next, row_id(marks.id, marks.high)], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
        })
        .optional()?
    {
        let mut records = Vec::new();
        read_row(partition, bytes, 0, usize::MAX, &mut records).map_err(|damaged| {
            rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Blob, damaged.into())
        })?;
        each(id, records)?;
        next = id + 1;
    }
    Ok(())
}

/// The row keeps its id, though its last record may be gone: readers look for ids from an offset on.
fn replace_row(transaction: &Transaction<'_>, id: i64, kept: &[Received]) -> Result<(), rusqlite::Error> {
    let Some(first) = kept.first() else {
        transaction.execute("DELETE FROM rows WHERE id = ?1", [id])?;
        return Ok(());
    };
    let mut writer = RowWriter::new(first.position.offset, first.record.at);
    for received in kept {
        writer.push(received.position.offset, &received.record);
    }
    let row = writer.finish();
    transaction.execute(
        "UPDATE rows SET max_at_us = ?2, bytes = ?3 WHERE id = ?1",
        params![id, row.max_at, row.bytes],
    )?;
    Ok(())
}
