use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use contracts::response::v1 as wire;
use futures::{Stream, stream};
use model::Invalid;
use prost::Message as _;
use runtime::{Phase, Shutdown};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::watch::Receiver;
use tokio::time::Instant;
use tonic::Status;

use crate::desk::Desk;
use crate::grpc::{refused, unavailable};
use crate::store as tables;

/// Changes read at once.
const READ_MAX: i64 = 200;
/// Real time between looks for changes by other processes.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// A reader that takes longer for one change is ended.
const SLOW_AFTER: Duration = Duration::from_secs(60);

/// Every change after the token, in the order of their ids, without a gap: ids become visible in order, and
/// each read goes on after the last one given. A reader that does not read holds up nobody.
pub(crate) async fn watch(
    desk: Arc<Desk>,
    shutdown: Shutdown,
    request: wire::WatchRequest,
    place: OwnedSemaphorePermit,
) -> Result<impl Stream<Item = Result<wire::WatchResponse, Status>> + Send + use<>, Status> {
    let after = match (request.resume_token.as_str(), request.from_start) {
        ("", true) => 0,
        ("", false) => tables::history_end(desk.store.pool()).await.map_err(|e| unavailable(&e))?,
        (token, _) => {
            let id = token.strip_prefix('c').and_then(|id| id.parse().ok()).filter(|id| *id >= 0);
            id.ok_or_else(|| refused(Invalid::new("resume_token", "is none of ours")))?
        }
    };
    let told = desk.told.subscribe();
    let reader = Reader {
        desk,
        shutdown,
        brand: request.brand,
        after,
        read: VecDeque::new(),
        told,
        given_at: Instant::now(),
        _place: place,
    };
    Ok(stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match reader.next().await {
            Ok(change) => Some((Ok(change), Some(reader))),
            Err(status) => Some((Err(status), None)),
        }
    }))
}

struct Reader {
    desk: Arc<Desk>,
    shutdown: Shutdown,
    brand: String,
    after: i64,
    read: VecDeque<(i64, wire::CaseEvent)>,
    told: Receiver<u64>,
    given_at: Instant,
    _place: OwnedSemaphorePermit,
}

impl Reader {
    async fn next(&mut self) -> Result<wire::WatchResponse, Status> {
        if !self.read.is_empty() && self.given_at.elapsed() > SLOW_AFTER {
            return Err(Status::aborted("reads too slowly; resume with the last token"));
        }
        while self.read.is_empty() {
            self.told.mark_unchanged();
            self.fill().await?;
            if !self.read.is_empty() {
                break;
            }
            tokio::select! {
                _ = self.told.changed() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = self.shutdown.reached(Phase::StopIntake) => {
                    return Err(Status::unavailable("shutting down; resume with the last token"));
                }
            }
        }
        let Some((id, event)) = self.read.pop_front() else {
            return Err(Status::internal("nothing was read"));
        };
        self.after = id;
        self.given_at = Instant::now();
        Ok(wire::WatchResponse { event: Some(event), resume_token: format!("c{id}") })
    }

    async fn fill(&mut self) -> Result<(), Status> {
        let pool = self.desk.store.pool();
        let past = tables::history_after(pool, self.after, &self.brand, READ_MAX).await;
        for past in past.map_err(|e| unavailable(&e))? {
            let event = wire::CaseEvent::decode(past.body.as_slice())
                .map_err(|_| Status::data_loss(format!("change {} cannot be read", past.id)))?;
            self.read.push_back((past.id, event));
        }
        Ok(())
    }
}
