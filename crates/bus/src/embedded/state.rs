//! What the embedded log knows in memory. It changes only after SQLite has committed, by the writer thread.

use std::collections::BTreeMap;

use super::groups::Groups;
use crate::{Cleanup, Partition, Topic, Watermarks};

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) topics: BTreeMap<Topic, TopicState>,
    pub(super) groups: Groups,
    committed: BTreeMap<String, BTreeMap<Partition, i64>>,
}

#[derive(Debug, Clone)]
pub(super) struct TopicState {
    pub(super) cleanup: Cleanup,
    pub(super) retention_ms: i64,
    pub(super) partitions: Vec<PartitionState>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct PartitionState {
    pub(super) id: i64,
    /// First offset still there.
    pub(super) low: i64,
    /// One after the last record.
    pub(super) high: i64,
}

impl State {
    pub(super) fn partition(&self, partition: Partition) -> Option<PartitionState> {
        let partitions = &self.topics.get(&partition.topic)?.partitions;
        partitions.get(usize::try_from(partition.number).ok()?).copied()
    }

    pub(super) fn partition_mut(&mut self, partition: Partition) -> Option<&mut PartitionState> {
        let partitions = &mut self.topics.get_mut(&partition.topic)?.partitions;
        partitions.get_mut(usize::try_from(partition.number).ok()?)
    }

    /// How many partitions the topic has; 0 where it is missing.
    pub(super) fn partition_count(&self, topic: Topic) -> i32 {
        self.topics.get(&topic).map_or(0, |t| t.partitions.len() as i32)
    }

    /// Where a group goes on reading: at its committed offset, or else at what is still there.
    pub(super) fn resume_at(&self, group: &str, partition: Partition) -> i64 {
        let low = self.partition(partition).map_or(0, |p| p.low);
        self.committed(group, partition).map_or(low, |next| next.max(low))
    }

    pub(super) fn committed(&self, group: &str, partition: Partition) -> Option<i64> {
        self.committed.get(group)?.get(&partition).copied()
    }

    pub(super) fn set_committed(&mut self, group: &str, partition: Partition, next: i64) {
        self.committed.entry(group.to_owned()).or_default().insert(partition, next);
    }
}

impl PartitionState {
    pub(super) const fn watermarks(self) -> Watermarks {
        Watermarks { low: self.low, high: self.high }
    }
}
