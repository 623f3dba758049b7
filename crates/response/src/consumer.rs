use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use bus::{BusError, Consumer, Partition, Polled, Received};
use model::Timestamp;
use runtime::admin::Health;
use runtime::{Account, Phase, Shutdown, telemetry};
use store::offsets::{self, AdvanceError, OffsetKey};
use tokio::time::Instant;
use tracing::{Instrument as _, Span, info, info_span, warn};

use crate::desk::Desk;
use crate::step::{Batch, Kept, StepError, take};
use crate::store::SERVICE;

/// The hop's name in the accounts, and the consumer group.
pub const HOP: &str = "response";
/// How the consumer calls itself towards readiness.
pub const COMPONENT: &str = "response consumer";
/// The longest a poll waits for a record.
const POLL_WAIT: Duration = Duration::from_millis(250);
/// The longest real time that everything is held back for a first look.
const FIRST_LOOK_WITHIN: Duration = Duration::from_secs(10);
/// Words taken in so long ago, by the service's clock, belong to a past that is being told: more of it comes.
const PAST_AFTER_MS: i64 = 60_000;
/// First and longest pause after something was unavailable.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// The span of one batch, linked to what caused its first traced records.
fn batch_span(records: &[Received]) -> Span {
    let span = info_span!(
        "process redress.verdicts.v1",
        otel.kind = "consumer",
        messaging.system = "kafka",
        messaging.consumer.group.name = HOP,
        messaging.batch.message_count = records.len(),
    );
    telemetry::link_causes(&span, records.iter().map(|r| |name: &str| r.record.headers.text(name)));
    span
}

/// How far the consumer has heard. While it catches up, nothing may fall due that what it has not heard yet
/// might prevent.
#[derive(Debug)]
pub(crate) struct Horizon(AtomicI64);

impl Horizon {
    /// Holds everything back until the consumer has had a first look.
    pub(crate) const fn new() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }

    /// Until when things may fall due.
    pub(crate) fn until(&self, now: Timestamp) -> Timestamp {
        now.min(Timestamp::from_micros(self.0.load(Ordering::Relaxed)))
    }

    fn hold_at(&self, at: Timestamp) {
        self.0.store(at.as_micros(), Ordering::Relaxed);
    }

    fn release(&self) {
        self.0.store(i64::MAX, Ordering::Relaxed);
    }

    /// What was heard last was taken in at `newest`.
    fn heard(&self, newest: Option<Timestamp>, is_behind: bool, now: Timestamp) {
        match newest {
            // What falls due waits for the words that come next.
            Some(at) if now.millis_since(at) > PAST_AFTER_MS => self.hold_at(at),
            _ if !is_behind => self.release(),
            _ => {}
        }
    }

    fn is_held(&self) -> bool {
        self.0.load(Ordering::Relaxed) != i64::MAX
    }
}

/// What the loop works with.
pub(crate) struct Loop {
    pub(crate) consumer: Arc<dyn Consumer>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) horizon: Arc<Horizon>,
    pub(crate) account: Account,
    pub(crate) health: Health,
    pub(crate) shutdown: Shutdown,
    pub(crate) batch_records_max: usize,
    pub(crate) started: Instant,
}

impl Loop {
    /// Reads and keeps until polling is to stop.
    ///
    /// # Errors
    /// When the log or the database fails for good.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let _guard = self.shutdown.guard(Phase::StopPolling);
        self.health.set_ready(COMPONENT, false, "joining the group");
        let mut ended = Ok(());
        tokio::select! {
            worked = self.work() => ended = worked,
            () = self.shutdown.reached(Phase::StopPolling) => {}
        }
        self.health.set_ready(COMPONENT, false, "stopped");
        if let Err(error) = self.consumer.close().await {
            warn!(%error, "left the group without a word");
        }
        ended
    }

    async fn work(&self) -> anyhow::Result<()> {
        let mut next: BTreeMap<Partition, i64> = BTreeMap::new();
        let mut pause = PAUSES.0;
        loop {
            match self.consumer.poll(self.batch_records_max, POLL_WAIT).await {
                Ok(polled) => {
                    pause = PAUSES.0;
                    self.health.set_ready(COMPONENT, true, "");
                    self.take(&mut next, polled).await?;
                }
                Err(error @ BusError::Unavailable { .. }) => {
                    warn!(%error, "polling again soon");
                    self.health.set_ready(COMPONENT, false, error.to_string());
                    // Without a log to hear from, what is due is due.
                    self.horizon.release();
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
                Err(error) => return Err(error).context("cannot read verdicts"),
            }
        }
    }

    async fn take(&self, next: &mut BTreeMap<Partition, i64>, polled: Polled) -> anyhow::Result<()> {
        for gone in &polled.revoked {
            next.remove(gone);
        }
        for partition in &polled.assigned {
            self.seek(next, *partition).await?;
        }
        let is_behind = polled.records.len() >= self.batch_records_max;
        // After a seek the next poll shows what is there. Who has no partition at all does not wait for ever.
        let has_looked =
            polled.assigned.is_empty() && (!next.is_empty() || self.started.elapsed() >= FIRST_LOOK_WITHIN);
        let heard_until = polled.records.iter().map(|r| r.record.at).min();
        let batch = batch(next, polled);
        if batch.moves.is_empty() {
            if has_looked {
                self.horizon.release();
            }
            return Ok(());
        }
        // What falls due waits for the words that are already on the log.
        if let Some(at) = heard_until.filter(|_| is_behind || self.horizon.is_held()) {
            self.horizon.hold_at(at);
        }
        let count = batch.records.len() as u64;
        let mut pause = PAUSES.0;
        loop {
            match take(&self.desk, &batch).instrument(batch_span(&batch.records)).await {
                Ok(Kept { ends, newest }) => {
                    for (partition, (_, to)) in &batch.moves {
                        next.insert(*partition, *to);
                    }
                    self.account.accepted(HOP, count);
                    for ((outcome, reason), count) in ends {
                        self.account.ended(HOP, outcome, reason, count);
                    }
                    self.horizon.heard(newest, is_behind, self.desk.clock.now());
                    return Ok(());
                }
                Err(StepError::Offset(error @ AdvanceError::Conflict { .. })) => {
                    // Somebody else owns the partition, or did: go where the database says.
                    warn!(%error, "batch not kept");
                    for partition in batch.moves.keys() {
                        self.seek(next, *partition).await?;
                    }
                    return Ok(());
                }
                Err(error) if may_pass(&error) => {
                    warn!(%error, records = count, "batch not kept, trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
                Err(error) => return Err(error).context("cannot keep a batch"),
            }
        }
    }

    async fn seek(&self, next: &mut BTreeMap<Partition, i64>, partition: Partition) -> anyhow::Result<()> {
        let key = OffsetKey {
            service: SERVICE,
            consumer: HOP,
            topic: partition.topic.name(),
            partition: partition.number,
        };
        let offset = offsets::load(self.desk.store.pool(), key).await.context("cannot read where we were")?;
        match self.consumer.seek(partition, offset).await {
            Ok(()) => {
                info!(topic = %partition.topic, partition = partition.number, offset, "reading on");
                next.insert(partition, offset);
            }
            Err(error) => {
                warn!(%error, topic = %partition.topic, partition = partition.number, "no longer ours");
                next.remove(&partition);
            }
        }
        Ok(())
    }
}

fn may_pass(error: &StepError) -> bool {
    match error {
        StepError::Offset(AdvanceError::Store(error)) => error.may_pass(),
        StepError::Offset(AdvanceError::Conflict { .. }) => false,
        StepError::Table(error) => error.may_pass(),
    }
}

/// What of `polled` is ours and new.
fn batch(next: &BTreeMap<Partition, i64>, polled: Polled) -> Batch {
    let mut moves = BTreeMap::new();
    let mut reach: BTreeMap<Partition, i64> = polled.token.next;
    let mut records: Vec<Received> = polled.records;
    records.retain(|r| next.get(&r.position.partition).is_some_and(|from| r.position.offset >= *from));
    for record in &records {
        let to = reach.entry(record.position.partition).or_default();
        *to = (*to).max(record.position.offset + 1);
    }
    for (partition, to) in reach {
        if let Some(from) = next.get(&partition).filter(|from| to > **from) {
            moves.insert(partition, (*from, to));
        }
    }
    Batch { records, moves }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_falls_due_waits_while_the_past_is_told_and_not_for_what_is_fresh() {
        let at = Timestamp::from_seconds;
        let (now, yesterday) = (at(1_000_000), at(1_000_000 - 86_400));
        let horizon = Horizon::new();
        horizon.heard(Some(at(1_000_000 - 5)), false, now);
        assert_eq!(horizon.until(now), now);
        horizon.heard(Some(yesterday), false, now);
        assert_eq!(horizon.until(now), yesterday);
        // Somebody speaks now, among all that is told of yesterday.
        horizon.heard(Some(now), false, now);
        assert_eq!(horizon.until(now), now);
        // Behind: the consumer itself says how far it has heard.
        horizon.hold_at(yesterday);
        horizon.heard(Some(now), true, now);
        assert_eq!(horizon.until(now), yesterday);
    }
}
