//! What a log still has, in the order in which the system heard it: all partitions merged, a page of each in
//! memory at a time. Belongs to no group and writes nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use anyhow::Context as _;
use bus::{Partition, Reader, Received, Topic};
use contracts::classify::v1::VerdictEvent;
use contracts::ingest::v1::Coverage;
use contracts::{Classified, envelope};
use model::Timestamp;

/// Records in memory, over all partitions, and the least of one.
const AHEAD_MAX: usize = 16_000;
const PAGE_MIN: usize = 100;
/// Records of one step.
const STEP_MAX: usize = 2_000;

/// Everything heard within one second, or a part of it.
pub(super) struct Step {
    /// When its last record was heard.
    pub(super) at: Timestamp,
    /// In the order of arrival.
    pub(super) verdicts: Vec<Received>,
    /// In the order of arrival.
    pub(super) erasures: Vec<Received>,
}

/// A record that cannot be read.
pub(super) struct Refusal {
    pub(super) partition: Partition,
    pub(super) offset: i64,
    pub(super) reason: String,
}

/// The merged log.
pub(super) struct History {
    reader: Arc<dyn Reader>,
    lanes: Vec<Lane>,
    page: usize,
    /// Records before this are passed over.
    from: Timestamp,
    /// Records read so far.
    pub(super) read: u64,
    /// Records there are.
    pub(super) total: u64,
}

/// One partition.
struct Lane {
    partition: Partition,
    next: i64,
    end: i64,
    /// When its newest record so far was heard: a partition is in the order of arrival.
    at: Timestamp,
    ahead: VecDeque<(Timestamp, Received)>,
}

impl History {
    /// Verdicts and erasures of the log as it is now.
    ///
    /// # Errors
    /// When there are no verdicts or the log fails.
    pub(super) async fn open(reader: Arc<dyn Reader>, from: Timestamp) -> anyhow::Result<Self> {
        let mut lanes = Vec::new();
        for topic in [Topic::Verdicts, Topic::Erasures] {
            let count = match reader.partitions(topic).await {
                Ok(count) => count,
                // Nobody was ever forgotten here.
                Err(_) if topic == Topic::Erasures => 0,
                Err(error) => return Err(error).context("looking for verdicts"),
            };
            for number in 0..count {
                let partition = Partition { topic, number };
                let low = reader.watermarks(partition).await?.low;
                let end = reader.end(partition).await?;
                let ahead = VecDeque::new();
                lanes.push(Lane { partition, next: low, end, at: Timestamp::MIN, ahead });
            }
        }
        let total = lanes.iter().map(|lane| u64::try_from(lane.end - lane.next).unwrap_or(0)).sum();
        let page = (AHEAD_MAX / lanes.len().max(1)).max(PAGE_MIN);
        Ok(Self { reader, lanes, page, from, read: 0, total })
    }

    /// The next records, in the order of arrival; what cannot be read is told through `refused`, and handed on
    /// all the same.
    ///
    /// # Errors
    /// When the log fails.
    pub(super) async fn next(&mut self, refused: &mut impl FnMut(Refusal)) -> anyhow::Result<Option<Step>> {
        let Some((_, first)) = self.earliest(refused).await? else { return Ok(None) };
        let mut step = Step { at: first, verdicts: Vec::new(), erasures: Vec::new() };
        while let Some((lane, at)) = self.earliest(refused).await? {
            let is_full = step.verdicts.len() + step.erasures.len() >= STEP_MAX;
            if is_full || at.as_seconds() != first.as_seconds() {
                break;
            }
            step.at = step.at.max(at);
            if let Some((_, received)) = self.lanes[lane].ahead.pop_front() {
                match received.position.partition.topic {
                    Topic::Erasures => step.erasures.push(received),
                    _ => step.verdicts.push(received),
                }
            }
        }
        Ok(Some(step))
    }

    /// The partition whose next record was heard first, and when that was.
    async fn earliest(
        &mut self,
        refused: &mut impl FnMut(Refusal),
    ) -> anyhow::Result<Option<(usize, Timestamp)>> {
        let mut found: Option<(usize, Timestamp)> = None;
        for lane in 0..self.lanes.len() {
            while self.lanes[lane].ahead.is_empty() && self.lanes[lane].next < self.lanes[lane].end {
                self.fill(lane, refused).await?;
            }
            if let Some((at, _)) = self.lanes[lane].ahead.front()
                && found.is_none_or(|(_, before)| *at < before)
            {
                found = Some((lane, *at));
            }
        }
        Ok(found)
    }

    async fn fill(&mut self, lane: usize, refused: &mut impl FnMut(Refusal)) -> anyhow::Result<()> {
        let lane = &mut self.lanes[lane];
        let scanned = self.reader.scan(lane.partition, lane.next, lane.end, self.page).await?;
        self.read += u64::try_from(scanned.next.min(lane.end) - lane.next).unwrap_or(0);
        lane.next = scanned.next;
        for received in scanned.records {
            match heard_at(&received) {
                Ok(Some(at)) => lane.at = lane.at.max(at),
                Ok(None) => {}
                Err(reason) => {
                    let offset = received.position.offset;
                    refused(Refusal { partition: lane.partition, offset, reason });
                }
            }
            if lane.at >= self.from {
                lane.ahead.push_back((lane.at, received));
            }
        }
        Ok(())
    }
}

/// When the system heard what the record tells; `None` for what goes by the records around it.
fn heard_at(received: &Received) -> Result<Option<Timestamp>, String> {
    let record = &received.record;
    let ce_type = record.headers.text(envelope::CE_TYPE);
    if received.position.partition.topic == Topic::Erasures {
        return Ok(Some(record.at));
    }
    if envelope::is::<Coverage>(ce_type) {
        return Ok(None);
    }
    // Not the record's own time: that is when it was understood, which a replay does much later.
    let event: VerdictEvent = envelope::open(ce_type, record.value.as_ref()).map_err(|e| e.to_string())?;
    let understood = Classified::try_from(event).map_err(|e| e.to_string())?;
    Ok(Some(understood.event.ingested_at))
}
