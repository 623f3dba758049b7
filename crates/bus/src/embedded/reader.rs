use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::core::{Core, locked};
use super::state::PartitionState;
use super::tables::{Span, read_span};
use crate::{BusError, Partition, Reader, Received, Scanned, Topic, Watermarks};

pub(super) struct LogReader {
    pub(super) core: Arc<Core>,
}

impl LogReader {
    fn find(&self, partition: Partition) -> Result<PartitionState, BusError> {
        locked(&self.core.shared.state).partition(partition).ok_or_else(|| BusError::Failed {
            doing: format!("reading partition {} of {}", partition.number, partition.topic),
            cause: "there is no such partition".to_owned(),
        })
    }

    async fn fetch(&self, span: Span, records_max: usize) -> Result<Vec<Received>, BusError> {
        let read = move |connection: &rusqlite::Connection| read_span(connection, span, records_max);
        self.core.read("reading records", read).await
    }
}

#[async_trait]
impl Reader for LogReader {
    async fn partitions(&self, topic: Topic) -> Result<i32, BusError> {
        match locked(&self.core.shared.state).partition_count(topic) {
            0 => Err(BusError::Failed {
                doing: "counting partitions".to_owned(),
                cause: format!("topic {topic} is missing"),
            }),
            count => Ok(count),
        }
    }

    async fn watermarks(&self, partition: Partition) -> Result<Watermarks, BusError> {
        self.find(partition).map(PartitionState::watermarks)
    }

    async fn end(&self, partition: Partition) -> Result<i64, BusError> {
        self.find(partition).map(|found| found.high)
    }

    async fn read(
        &self,
        partition: Partition,
        offset: i64,
        records_max: usize,
        wait: Duration,
    ) -> Result<Vec<Received>, BusError> {
        let mut changes = self.core.changes();
        let deadline = Instant::now() + wait;
        loop {
            changes.borrow_and_update();
            let found = self.find(partition)?;
            let from = offset.max(found.low);
            if from < found.high {
                let span = Span { partition, partition_id: found.id, from, to: found.high };
                let mut records = self.fetch(span, records_max).await?;
                records.truncate(records_max);
                if !records.is_empty() {
                    return Ok(records);
                }
            }
            if tokio::time::timeout_at(deadline, changes.changed()).await.is_err() {
                return Ok(Vec::new());
            }
        }
    }

    async fn scan(
        &self,
        partition: Partition,
        from: i64,
        to: i64,
        records_max: usize,
    ) -> Result<Scanned, BusError> {
        let found = self.find(partition)?;
        let (from, end) = (from.max(found.low), to.min(found.high));
        if from >= end {
            return Ok(Scanned { records: Vec::new(), next: to.max(from) });
        }
        // To the end of the partition, because a row may hold records on both sides of `to`.
        let span = Span { partition, partition_id: found.id, from, to: found.high };
        let mut records = self.fetch(span, records_max).await?;
        records.retain(|r| r.position.offset < to);
        records.truncate(records_max);
        let next = match records.last() {
            Some(last) if records.len() == records_max => last.position.offset + 1,
            _ => to,
        };
        Ok(Scanned { records, next })
    }
}
