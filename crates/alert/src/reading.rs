//! What the two readers with offsets in SQL share: which partitions are theirs, and from where.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bus::{BusError, Consumer, Partition, Polled};
use store::offsets::{self, AdvanceError, OffsetKey};
use store::{Store, StoreError, Tx};
use tracing::warn;

use crate::desk::Passing;
use crate::store::{SERVICE, TableError};

/// How long a poll waits for the first record.
pub(crate) const POLL_WAIT: Duration = Duration::from_millis(100);
/// Real time to wait after a failure that may pass.
pub(crate) const PAUSE: Duration = Duration::from_millis(500);

/// Why a batch was not taken over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BatchError {
    /// The partition is no longer ours.
    #[error(transparent)]
    Offset(#[from] AdvanceError),
    /// The tables failed.
    #[error(transparent)]
    Table(#[from] TableError),
}

impl From<StoreError> for BatchError {
    fn from(error: StoreError) -> Self {
        Self::Table(TableError::Store(error))
    }
}

impl Passing for BatchError {
    fn may_pass(&self) -> bool {
        match self {
            Self::Offset(AdvanceError::Conflict { .. }) => false,
            Self::Offset(AdvanceError::Store(error)) => error.may_pass(),
            Self::Table(error) => error.may_pass(),
        }
    }
}

impl BatchError {
    /// Another member moved the offset: nothing was written, and the partition is read anew from where it
    /// stands.
    pub(crate) const fn is_conflict(&self) -> bool {
        matches!(self, Self::Offset(AdvanceError::Conflict { .. }))
    }
}

/// The offset row of one partition.
pub(crate) fn key(group: &'static str, partition: Partition) -> OffsetKey<'static> {
    OffsetKey {
        service: SERVICE,
        consumer: group,
        topic: partition.topic.name(),
        partition: partition.number,
    }
}

/// How far each of our partitions is committed.
#[derive(Debug, Default)]
pub(crate) struct Offsets(pub(crate) BTreeMap<Partition, i64>);

impl Offsets {
    /// Where a partition's next record is to be read from.
    pub(crate) async fn load(
        &mut self,
        store: &Store,
        group: &'static str,
        partition: Partition,
    ) -> Result<i64, StoreError> {
        let next = offsets::load(store.pool(), key(group, partition)).await?;
        self.0.insert(partition, next);
        Ok(next)
    }

    /// Moves the rows to the ends of a batch, within its transaction.
    pub(crate) async fn advance(
        &self,
        tx: &mut Tx,
        group: &'static str,
        next: &BTreeMap<Partition, i64>,
    ) -> Result<(), AdvanceError> {
        for (partition, to) in next {
            let from = self.0.get(partition).copied().unwrap_or(0);
            if *to > from {
                offsets::advance(tx, key(group, *partition), from, *to).await?;
            }
        }
        Ok(())
    }

    /// The transaction was committed.
    pub(crate) fn advanced(&mut self, next: &BTreeMap<Partition, i64>) {
        for (partition, to) in next {
            let at = self.0.entry(*partition).or_insert(0);
            *at = (*at).max(*to);
        }
    }
}

/// Polls; waits a little when the log is away.
pub(crate) async fn poll(consumer: &Arc<dyn Consumer>, records_max: usize) -> Result<Polled, BusError> {
    match consumer.poll(records_max, POLL_WAIT).await {
        Err(error @ BusError::Unavailable { .. }) => {
            warn!(%error, "the log cannot be read, will try again");
            tokio::time::sleep(PAUSE).await;
            Ok(Polled::default())
        }
        other => other,
    }
}
