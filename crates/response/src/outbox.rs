use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bus::{Outgoing, Publisher, RECORD_BYTES_MAX, Record, Topic};
use bytes::Bytes;
use contracts::envelope;
use contracts::ingest::v1::DeadLetter;
use prost::Message as _;
use runtime::{Phase, Shutdown};
use store::outbox::{self, Claimed, End, Recorded};
use store::{Doing, StoreError};
use tracing::{debug, error, warn};

use crate::desk::Desk;
use crate::store::SERVICE;
use crate::teller::SOURCE;

/// How long a claimed message is ours, by the service's clock.
const LEASE: Duration = Duration::from_secs(60);
/// Messages sent at once.
const CLAIM_MAX: u32 = 500;
/// The longest real time between looks.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Real pause after the log was unavailable.
const PAUSE: Duration = Duration::from_millis(500);
/// Pause, by the service's clock, before a message is tried again.
const RETRY_MS: i64 = 1_000;

/// What sends refusals to the log.
pub(crate) struct Sender {
    pub(crate) desk: Arc<Desk>,
    pub(crate) publisher: Arc<dyn Publisher>,
    pub(crate) shutdown: Shutdown,
    pub(crate) member: String,
}

impl Sender {
    /// Sends until the flush, and then once more what is left.
    ///
    /// # Errors
    /// When the database fails for good.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let _guard = self.shutdown.guard(Phase::Flush);
        tokio::select! {
            worked = self.work() => worked,
            () = self.shutdown.reached(Phase::Flush) => {
                while matches!(self.round().await, Ok(sent) if sent > 0) {}
                Ok(())
            }
        }
    }

    async fn work(&self) -> anyhow::Result<()> {
        loop {
            match self.round().await {
                Ok(0) => {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                Ok(_) => {}
                Err(error) if error.may_pass() => {
                    debug!(%error, "sending again soon");
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error).context("cannot send refusals"),
            }
        }
    }

    /// Sends what may be sent now; how many were.
    async fn round(&self) -> Result<usize, StoreError> {
        let now = self.desk.clock.now();
        let claimed = outbox::claim(&self.desk.store, SERVICE, &self.member, now, LEASE, CLAIM_MAX).await?;
        if claimed.is_empty() {
            return Ok(0);
        }
        let made: Vec<Result<Outgoing, String>> = claimed.iter().map(outgoing).collect();
        let batch: Vec<Outgoing> = made.iter().filter_map(|m| m.as_ref().ok().cloned()).collect();
        let published = if batch.is_empty() { Ok(Vec::new()) } else { self.publisher.publish(batch).await };
        let now = self.desk.clock.now();
        let is_down = published.is_err();
        let mut ends: Vec<End> = Vec::with_capacity(claimed.len());
        match published {
            Ok(results) => {
                let mut results = results.into_iter();
                for made in made {
                    ends.push(match made {
                        Err(reason) => End::Fail { reason },
                        Ok(_) => match results.next() {
                            Some(Ok(_)) => End::Sent,
                            Some(Err(refused)) => End::Fail { reason: refused.to_string() },
                            None => End::Retry { at: now, error: "not confirmed".into() },
                        },
                    });
                }
            }
            Err(unavailable) => {
                warn!(error = %unavailable, messages = claimed.len(), "not sent, will be sent again");
                let at = now.plus_millis(RETRY_MS);
                ends.resize(claimed.len(), End::Retry { at, error: unavailable.to_string() });
            }
        }
        let mut tx = self.desk.store.begin().await?;
        for (claimed, end) in claimed.iter().zip(&ends) {
            if let End::Fail { reason } = end {
                error!(delivery_id = %claimed.entry.message.delivery_id, %reason, "message given up");
            }
            if outbox::complete(&mut tx, SERVICE, claimed, end, now).await? == Recorded::LostClaim {
                // Sent twice, perhaps: readers recognise repeats by ce_id.
                debug!(delivery_id = %claimed.entry.message.delivery_id, "somebody else took it over");
            }
        }
        tx.commit().await.doing(|| "recording what was sent".into())?;
        if is_down {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(claimed.len())
    }
}

/// The record of a message.
fn outgoing(claimed: &Claimed) -> Result<Outgoing, String> {
    let message = &claimed.entry.message;
    let at = claimed.entry.created_at;
    let letter = DeadLetter::decode(message.body.as_slice()).map_err(|e| e.to_string())?;
    let sealed = envelope::seal(&message.delivery_id, SOURCE, at, &letter);
    let headers = sealed.headers.into_iter().collect();
    let key = Bytes::from(message.ordering_key.clone());
    let record = Record { key, value: Some(sealed.value), headers, at };
    if record.bytes() > RECORD_BYTES_MAX {
        return Err(format!("record has {} bytes, at most {RECORD_BYTES_MAX} fit", record.bytes()));
    }
    Ok(Outgoing { topic: Topic::DeadLetter, partition: None, record })
}
