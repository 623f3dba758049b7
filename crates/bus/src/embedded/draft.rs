//! What one SQLite transaction of the writer will do: several publishes and commits together, so that
//! many small calls cost one transaction and one row per partition.

use std::collections::{BTreeMap, BTreeSet};

use super::codec::{Row, RowWriter};
use super::groups::Seat;
use super::state::State;
use crate::partitioner::partition_of;
use crate::{BatchToken, CommitError, Outgoing, Partition, Position, RefusedRecord};

/// A row is closed once it has that many bytes or records: a reader decodes whole rows.
const ROW_BYTES_MAX: usize = 64 * 1024;
const ROW_RECORDS_MAX: usize = 1_000;

/// Rows, offsets and new epochs, not yet written.
#[derive(Debug, Default)]
pub(super) struct Draft {
    open: BTreeMap<Partition, RowWriter>,
    pub(super) rows: Vec<(Partition, Row)>,
    pub(super) high: BTreeMap<Partition, i64>,
    pub(super) offsets: BTreeMap<(String, Partition), i64>,
    /// Members whose commit was aborted: a new epoch begins for them.
    pub(super) void: BTreeSet<Seat>,
}

impl Draft {
    /// Adds every record that the log can take.
    pub(super) fn publish(
        &mut self,
        state: &State,
        batch: &[Outgoing],
    ) -> Vec<Result<Position, RefusedRecord>> {
        let place = |(index, outgoing)| match find_place(state, outgoing) {
            Ok(partition) => Ok(self.append(state, partition, outgoing)),
            Err(reason) => Err(RefusedRecord { index, reason }),
        };
        batch.iter().enumerate().map(place).collect()
    }

    /// Adds a step's outputs and progress, or nothing of them.
    pub(super) fn commit(
        &mut self,
        state: &State,
        seat: &Seat,
        token: &BatchToken,
        outputs: &[Outgoing],
    ) -> Result<(), CommitError> {
        let Some(member) = state.groups.member(seat) else {
            return Err(CommitError::Fenced(format!(
                "member '{}' of group '{}' was replaced or has left",
                seat.member, seat.group
            )));
        };
        if member.epoch != token.epoch || self.void.contains(seat) || self.is_behind(state, seat, token) {
            return Err(CommitError::Stale);
        }
        if let Err(reason) = self.check_commit(state, seat, token, outputs) {
            self.void.insert(seat.clone());
            return Err(CommitError::Aborted(reason));
        }
        for outgoing in outputs {
            if let Ok(partition) = find_place(state, outgoing) {
                self.append(state, partition, outgoing);
            }
        }
        for (partition, next) in &token.next {
            self.offsets.insert((seat.group.clone(), *partition), *next);
        }
        Ok(())
    }

    /// Whether a part of the batch was committed before.
    fn is_behind(&self, state: &State, seat: &Seat, token: &BatchToken) -> bool {
        token.next.iter().any(|(partition, next)| {
            let key = (seat.group.clone(), *partition);
            let committed = self.offsets.get(&key).copied().or_else(|| state.committed(&key.0, *partition));
            committed.is_some_and(|committed| *next <= committed)
        })
    }

    fn check_commit(
        &self,
        state: &State,
        seat: &Seat,
        token: &BatchToken,
        outputs: &[Outgoing],
    ) -> Result<(), String> {
        for partition in token.next.keys() {
            if !state.groups.member(seat).is_some_and(|m| m.owned.contains(partition)) {
                return Err(format!("partition {} of {} is not ours", partition.number, partition.topic));
            }
        }
        for (index, outgoing) in outputs.iter().enumerate() {
            if let Err(reason) = find_place(state, outgoing) {
                return Err(RefusedRecord { index, reason }.to_string());
            }
        }
        Ok(())
    }

    fn append(&mut self, state: &State, partition: Partition, outgoing: &Outgoing) -> Position {
        let known = || state.partition(partition).map_or(0, |p| p.high);
        let high = self.high.entry(partition).or_insert_with(known);
        let offset = *high;
        *high += 1;
        let record = &outgoing.record;
        let row = self.open.entry(partition).or_insert_with(|| RowWriter::new(offset, record.at));
        row.push(offset, record);
        if row.bytes() >= ROW_BYTES_MAX || row.count() >= ROW_RECORDS_MAX {
            self.close_row(partition);
        }
        Position::new(partition, offset)
    }

    fn close_row(&mut self, partition: Partition) {
        if let Some(row) = self.open.remove(&partition) {
            self.rows.push((partition, row.finish()));
        }
    }

    /// Nothing more comes.
    pub(super) fn close(&mut self) {
        for (partition, row) in std::mem::take(&mut self.open) {
            self.rows.push((partition, row.finish()));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.offsets.is_empty()
    }
}

fn find_place(state: &State, outgoing: &Outgoing) -> Result<Partition, &'static str> {
    outgoing.record.check_size()?;
    let count = state.partition_count(outgoing.topic);
    if count == 0 {
        return Err("unknown_topic");
    }
    let number = outgoing.partition.unwrap_or_else(|| partition_of(&outgoing.record.key, count));
    if !(0..count).contains(&number) {
        return Err("unknown_partition");
    }
    Ok(Partition { topic: outgoing.topic, number })
}
