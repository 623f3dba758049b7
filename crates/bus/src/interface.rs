use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{Outgoing, Position, Received, Topic, TopicPlan};

/// One partition of one topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// The topic.
    pub topic: Topic,
    /// Counted from 0.
    pub number: i32,
}

/// Something the log could not do.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// Trying again later may help: the broker is away, a time limit passed.
    #[error("{doing}: {cause} (may pass)")]
    Unavailable {
        /// What was being done.
        doing: String,
        /// What the log said.
        cause: String,
    },
    /// Trying again will not help: wrong settings, missing topic, no permission.
    #[error("{doing}: {cause}")]
    Failed {
        /// What was being done.
        doing: String,
        /// What the log said.
        cause: String,
    },
}

/// Why a commit did not happen.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Nothing of this batch became visible. Progress is back at the last commit and a new epoch began:
    /// batches handed out before are void, the same records will come again.
    #[error("transaction aborted, its records come again: {0}")]
    Aborted(String),
    /// The batch was of an older epoch, or was committed before; nothing was done and nothing is owed.
    #[error("batch of an older epoch or committed before, dropped")]
    Stale,
    /// Another member took this one's place: this process must stop.
    #[error("fenced by a newer member: {0}")]
    Fenced(String),
    /// The log itself failed.
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// A record the log will never take, by its place in the batch given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("record {index} refused: {reason}")]
pub struct RefusedRecord {
    /// Place in the batch, from 0.
    pub index: usize,
    /// Stable label: `too_large`, `unknown_topic`, `unknown_partition`.
    pub reason: &'static str,
}

/// Writes records. Cheap to clone through `Arc`; used by many tasks at once.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Returns when the log has confirmed every record: one result per record, in order. Records of one
    /// key keep the order of calls that are awaited one after the other. A refused record does not hold
    /// up the others.
    ///
    /// # Errors
    /// When the log confirmed not all of them in time; some may have been written (publish again: readers
    /// recognise repeats by `ce_id`).
    async fn publish(&self, batch: Vec<Outgoing>) -> Result<Vec<Result<Position, RefusedRecord>>, BusError>;

    /// Waits until nothing is on its way.
    ///
    /// # Errors
    /// When that takes longer than `within`.
    async fn flush(&self, within: Duration) -> Result<(), BusError>;
}

/// How a transactional step takes part.
#[derive(Debug, Clone)]
pub struct StepSettings {
    /// The consumer group, for example `classify`.
    pub group: String,
    /// This member's stable name, for example `classify-0`: a restarted member with the same name fences
    /// the one before it.
    pub member: String,
    /// What to read.
    pub topics: Vec<Topic>,
    /// How long an open transaction of a dead member may block readers.
    pub transaction_timeout: Duration,
}

/// What identifies a batch for its commit: its epoch, and for each partition the offset after its last
/// record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BatchToken {
    /// Raised by each rebalance and each abort.
    pub epoch: u64,
    /// Where the next batch begins.
    pub next: BTreeMap<Partition, i64>,
}

/// What a poll brought.
#[derive(Debug, Default)]
pub struct Polled {
    /// In order per partition; may be empty.
    pub records: Vec<Received>,
    /// For the commit.
    pub token: BatchToken,
    /// Partitions that became ours since the last poll.
    pub assigned: Vec<Partition>,
    /// Partitions that are no longer ours since the last poll.
    pub revoked: Vec<Partition>,
}

/// Consume, transform, produce, exactly once. `poll` and `commit` may run at the same time on different
/// tasks, so that the next batch is computed while the last is committed; commits are made in the order
/// of polls.
#[async_trait]
pub trait Step: Send + Sync {
    /// Up to `records_max` records, waiting at most `wait` for the first. Only committed records of others
    /// are seen.
    ///
    /// # Errors
    /// When the log fails.
    async fn poll(&self, records_max: usize, wait: Duration) -> Result<Polled, BusError>;

    /// Makes `outputs` visible and the batch's progress durable, together or not at all; readers may see
    /// them a few milliseconds after it returns. An output that is too large aborts with an error naming
    /// it: steps check sizes first.
    ///
    /// # Errors
    /// See [`CommitError`].
    async fn commit(&self, token: BatchToken, outputs: Vec<Outgoing>) -> Result<(), CommitError>;

    /// Gives up what is open and leaves the group; called once, last.
    ///
    /// # Errors
    /// When the log fails; the member is gone all the same.
    async fn close(&self) -> Result<(), BusError>;
}

/// How a consumer whose progress is kept elsewhere takes part.
#[derive(Debug, Clone)]
pub struct ConsumerSettings {
    /// The consumer group, for example `response`.
    pub group: String,
    /// This member's stable name.
    pub member: String,
    /// What to read.
    pub topics: Vec<Topic>,
}

/// A group member whose progress is kept elsewhere: after a partition is assigned nothing of it arrives
/// until `seek` says from where.
#[async_trait]
pub trait Consumer: Send + Sync {
    /// As [`Step::poll`]; tells first of partitions assigned, whose `seek` it then waits for.
    ///
    /// # Errors
    /// When the log fails.
    async fn poll(&self, records_max: usize, wait: Duration) -> Result<Polled, BusError>;

    /// Reads `partition` on from `offset` (clamped to what is still there).
    ///
    /// # Errors
    /// When the partition is not ours.
    async fn seek(&self, partition: Partition, offset: i64) -> Result<(), BusError>;

    /// Leaves the group.
    ///
    /// # Errors
    /// When the log fails; the member is gone all the same.
    async fn close(&self) -> Result<(), BusError>;
}

/// The first offset still there, and the one after the last committed record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    /// First offset still there.
    pub low: i64,
    /// One after the last committed record.
    pub high: i64,
}

/// Looks at any partition, belonging to no group. Sees only committed records.
#[async_trait]
pub trait Reader: Send + Sync {
    /// How many partitions the topic has.
    ///
    /// # Errors
    /// When the topic is missing or the log fails.
    async fn partitions(&self, topic: Topic) -> Result<i32, BusError>;

    /// What is there.
    ///
    /// # Errors
    /// When the partition is missing or the log fails.
    async fn watermarks(&self, partition: Partition) -> Result<Watermarks, BusError>;

    /// One after the last record written, decided or not: a [`Reader::scan`] up to there waits for
    /// transactions in progress, so it misses nothing of a commit that has just returned, nor of the last
    /// commit of a member before this one.
    ///
    /// # Errors
    /// When the partition is missing or the log fails.
    async fn end(&self, partition: Partition) -> Result<i64, BusError>;

    /// Up to `records_max` records from `offset` on, waiting at most `wait` for the first.
    ///
    /// # Errors
    /// When the partition is missing or the log fails.
    async fn read(
        &self,
        partition: Partition,
        offset: i64,
        records_max: usize,
        wait: Duration,
    ) -> Result<Vec<Received>, BusError>;

    /// Up to `records_max` (at least 1) records of `from..to`. Unlike [`Reader::read`] it never stops
    /// early because nothing came in time, and it knows gaps (compacted or aborted records, transaction
    /// marks): a part is complete once `next` has reached `to`. For rebuilding state, with `to` from
    /// [`Reader::end`].
    ///
    /// # Errors
    /// When the partition is missing, the log fails, or what lies before `to` stays undecided too long.
    async fn scan(
        &self,
        partition: Partition,
        from: i64,
        to: i64,
        records_max: usize,
    ) -> Result<Scanned, BusError>;
}

/// A part of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanned {
    /// In order.
    pub records: Vec<Received>,
    /// Where to go on; the end asked for, when nothing more lies before it.
    pub next: i64,
}

/// What is wrong with a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicReport {
    /// Which.
    pub topic: Topic,
    /// What was done or is to be done, in words; empty: all as planned.
    pub differences: Vec<String>,
}

/// A log: Kafka, or one SQLite file.
#[async_trait]
pub trait Log: Send + Sync {
    /// Creates missing topics as planned (`apply`), or only tells what differs. Idempotent; never removes
    /// or shrinks anything.
    ///
    /// # Errors
    /// When the log fails.
    async fn topics(&self, plan: &[TopicPlan], apply: bool) -> Result<Vec<TopicReport>, BusError>;

    /// Writes.
    ///
    /// # Errors
    /// When the settings are refused.
    fn publisher(&self) -> Result<Arc<dyn Publisher>, BusError>;

    /// Consume, transform, produce.
    ///
    /// # Errors
    /// When the log is away or refuses.
    async fn step(&self, settings: StepSettings) -> Result<Arc<dyn Step>, BusError>;

    /// Consume, with progress kept elsewhere.
    ///
    /// # Errors
    /// When the log is away or refuses.
    async fn consumer(&self, settings: ConsumerSettings) -> Result<Arc<dyn Consumer>, BusError>;

    /// Look.
    ///
    /// # Errors
    /// When the settings are refused.
    fn reader(&self) -> Result<Arc<dyn Reader>, BusError>;

    /// Is it there? For readiness.
    ///
    /// # Errors
    /// Why not.
    async fn ping(&self) -> Result<(), BusError>;
}

impl Position {
    /// The place `offset` of `partition`.
    pub const fn new(partition: Partition, offset: i64) -> Self {
        Self { partition, offset }
    }
}
