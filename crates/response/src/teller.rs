use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bus::{BusError, Headers, Outgoing, Publisher, RECORD_BYTES_MAX, Record, Topic};
use contracts::envelope;
use contracts::response::v1::CaseEvent;
use model::{CaseId, Timestamp};
use prost::Message as _;
use runtime::{Phase, Shutdown};
use tracing::{debug, error, warn};

use crate::desk::Desk;
use crate::store::{self as tables, Past, TableError};

/// How its records call themselves.
pub(crate) const SOURCE: &str = "redress/response";
/// How long the claim lasts without being renewed, by the service's clock.
const LEASE_MS: i64 = 30_000;
/// Changes sent at once.
const TELL_MAX: i64 = 1_000;
/// The longest real time between looks.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Real pause after the log was unavailable.
const PAUSE: Duration = Duration::from_millis(500);

/// Times that the last changes are tried at the end.
const LAST_TRIES: u32 = 5;

/// What sends changes to the log: the history, in its order. A change may be sent twice, under the same id,
/// when its sender dies; none is left out.
pub(crate) struct Teller {
    pub(crate) desk: Arc<Desk>,
    pub(crate) publisher: Arc<dyn Publisher>,
    pub(crate) shutdown: Shutdown,
    pub(crate) member: String,
}

/// What we have claimed.
struct Held {
    next: i64,
    until: Timestamp,
}

#[derive(Debug, thiserror::Error)]
enum TellError {
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Bus(#[from] BusError),
}

impl Teller {
    /// Sends until the flush, and then what is left.
    ///
    /// # Errors
    /// When the database fails for good.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let _guard = self.shutdown.guard(Phase::Flush);
        let mut held = None;
        tokio::select! {
            worked = self.work(&mut held) => return worked,
            () = self.shutdown.reached(Phase::Flush) => {}
        }
        self.finish(&mut held).await;
        Ok(())
    }

    /// Sends what is left. What still cannot be sent is sent by whoever comes next.
    async fn finish(&self, held: &mut Option<Held>) {
        let mut tries = 0;
        while tries < LAST_TRIES {
            match self.round(held).await {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => {
                    warn!(%error, "changes not sent at the end");
                    tries += 1;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn work(&self, held: &mut Option<Held>) -> anyhow::Result<()> {
        loop {
            match self.round(held).await {
                Ok(0) => {
                    tokio::select! {
                        () = self.desk.to_tell.notified() => {}
                        () = tokio::time::sleep(LOOK_AGAIN) => {}
                    }
                }
                Ok(_) => {}
                Err(TellError::Table(error)) if !error.may_pass() => {
                    return Err(error).context("cannot send changes");
                }
                Err(error) => {
                    warn!(%error, "changes not sent, will be sent again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Sends what may be sent now; how many changes that were.
    async fn round(&self, held: &mut Option<Held>) -> Result<usize, TellError> {
        let now = self.desk.clock.now();
        let until = now.plus_millis(LEASE_MS);
        if held.as_ref().is_none_or(|held| held.until <= now) {
            let next = tables::claim_told(&self.desk.store, &self.member, now, until).await?;
            *held = next.map(|next| Held { next, until });
        }
        let Some(Held { next: from, .. }) = *held else { return Ok(0) };
        let past = tables::history_after(self.desk.store.pool(), from - 1, "", TELL_MAX).await?;
        let Some(last) = past.last() else { return Ok(0) };
        let to = last.id + 1;
        let records = past.iter().filter_map(|past| match outgoing(past) {
            Ok(record) => Some(record),
            Err(problem) => {
                error!(id = past.id, %problem, "change given up");
                None
            }
        });
        for result in self.publisher.publish(records.collect()).await? {
            if let Err(refused) = result {
                error!(%refused, "change given up");
            }
        }
        if tables::advance_told(&self.desk.store, &self.member, (from, to), until).await? {
            *held = Some(Held { next: to, until });
        } else {
            // Sent twice, perhaps: readers recognise repeats by ce_id.
            debug!(from, "somebody else took it over");
            *held = None;
        }
        Ok(past.len())
    }
}

/// The record of a change.
fn outgoing(past: &Past) -> Result<Outgoing, String> {
    let event = CaseEvent::decode(past.body.as_slice()).map_err(|e| e.to_string())?;
    let case = event.case.as_ref().ok_or("the case is missing")?;
    let case_id = CaseId::from_slice(&case.case_id).map_err(|e| e.to_string())?;
    let id = format!("{case_id}/{}", event.sequence);
    let at = Timestamp::from_micros(case.changed_at_us);
    let sealed = envelope::seal(&id, SOURCE, Timestamp::from_micros(event.at_us), &event);
    let mut headers: Headers = sealed.headers.into_iter().collect();
    let trace: BTreeMap<String, String> = serde_json::from_str(&past.headers).unwrap_or_default();
    headers.extend(trace);
    let key = contracts::id(case_id.as_bytes());
    let record = Record { key, value: Some(sealed.value), headers, at };
    if record.bytes() > RECORD_BYTES_MAX {
        return Err(format!("record has {} bytes, at most {RECORD_BYTES_MAX} fit", record.bytes()));
    }
    Ok(Outgoing { topic: Topic::Cases, partition: None, record })
}
