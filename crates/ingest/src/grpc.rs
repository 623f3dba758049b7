use std::pin::Pin;

use contracts::ingest::v1 as wire;
use contracts::ingest::v1::ingest_service_server::IngestService;
use futures::{Stream, StreamExt as _};
use model::{SourceKind, Timestamp, Transport};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::config::csv_map;
use crate::intake::{Ended, Intake, Room, refusal};
use crate::step::{Body, Prepared};

/// The largest body, in bytes.
pub(crate) const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Requests of one stream that are confirmed together.
const TOGETHER_MAX: usize = 64;
/// Groups of requests that are decoded while one is confirmed.
const AHEAD: usize = 2;

/// The gRPC face of ingest.
pub(crate) struct Service {
    pub intake: Intake,
}

/// A request, decoded: ready to be confirmed, or refused as a whole.
struct Ready {
    request_id: String,
    prepared: Result<Prepared, wire::Refusal>,
}

fn prepare(intake: &Intake, request: wire::PublishRequest) -> Ready {
    let request_id = request.request_id.clone();
    Ready { request_id, prepared: body_of(intake, request) }
}

fn body_of(intake: &Intake, request: wire::PublishRequest) -> Result<Prepared, wire::Refusal> {
    if request.body.len() > BODY_BYTES_MAX {
        let detail = format!("the body has {} bytes, at most {BODY_BYTES_MAX} are taken", request.body.len());
        return Err(refusal("too_large", &detail, ""));
    }
    let kind: SourceKind = request
        .source_kind
        .parse()
        .map_err(|e: model::Invalid| refusal("unknown_kind", &e.to_string(), ""))?;
    let csv_map = csv_map(&request.csv_map).map_err(|e| refusal("bad_csv_map", &e.to_string(), ""))?;
    let body = Body {
        kind,
        instance: request.instance,
        transport: if request.is_backfill { Transport::Backfill } else { Transport::Webhook },
        received_at: match request.received_at_us {
            0 => intake.now(),
            us => Timestamp::from_micros(us),
        },
        csv_map,
        bytes: request.body,
    };
    intake
        .prepare_whole(&request.connector, body)
        .map_err(|e| refusal("unknown_connector", &e.to_string(), ""))
}

async fn confirm(intake: &Intake, group: Vec<Ready>) -> Vec<wire::PublishResponse> {
    let mut responses = Vec::with_capacity(group.len());
    let mut prepared = Vec::new();
    for ready in group {
        let refusal = match ready.prepared {
            Ok(body) => {
                prepared.push(body);
                None
            }
            Err(refusal) => Some(refusal),
        };
        responses.push(wire::PublishResponse { request_id: ready.request_id, items: Vec::new(), refusal });
    }
    match intake.confirm(&mut prepared).await {
        Ok(ended) => {
            let waiting = responses.iter_mut().filter(|r| r.refusal.is_none());
            for (response, items) in waiting.zip(ended) {
                response.items = items.into_iter().map(outcome).collect();
            }
        }
        Err(error) => {
            for response in responses.iter_mut().filter(|r| r.refusal.is_none()) {
                let refusal = refusal("log_unavailable", &error.to_string(), "");
                response.refusal = Some(wire::Refusal { is_retryable: true, ..refusal });
            }
        }
    }
    responses
}

fn outcome(ended: Ended) -> wire::ItemOutcome {
    wire::ItemOutcome {
        disposition: ended.disposition.into(),
        mention_id: ended.mention_id.map(|id| contracts::id(id.as_bytes())).unwrap_or_default(),
        refusal: ended.refusal,
    }
}

/// Requests that arrived together, decoded.
struct Group {
    decoded: Result<Vec<Ready>, Status>,
    /// The stream broke behind them.
    broken: Option<Status>,
    /// Given back when they are confirmed.
    room: Option<Room>,
}

async fn decode_group(intake: &Intake, arrived: Vec<Result<wire::PublishRequest, Status>>) -> Group {
    let mut broken = None;
    let mut requests = Vec::with_capacity(arrived.len());
    for request in arrived {
        match request {
            Ok(request) => requests.push(request),
            Err(status) => broken = Some(status),
        }
    }
    let room = intake.room(requests.iter().map(|r| r.body.len()).sum()).await;
    let intake = intake.clone();
    let decoding = tokio::task::spawn_blocking(move || {
        requests.into_iter().map(|request| prepare(&intake, request)).collect::<Vec<_>>()
    });
    let decoded = decoding.await.map_err(|_| Status::internal("decoding broke off"));
    Group { decoded, broken, room }
}

#[tonic::async_trait]
impl IngestService for Service {
    async fn publish(
        &self,
        request: Request<wire::PublishRequest>,
    ) -> Result<Response<wire::PublishResponse>, Status> {
        let request = request.into_inner();
        let _room = self.intake.room(request.body.len()).await;
        let ready = prepare(&self.intake, request);
        let response = confirm(&self.intake, vec![ready]).await.pop().unwrap_or_default();
        if let Some(refusal) = &response.refusal {
            return Err(match refusal.reason.as_str() {
                "log_unavailable" => Status::unavailable(&refusal.detail),
                "too_large" => Status::resource_exhausted(&refusal.detail),
                _ => Status::invalid_argument(&refusal.detail),
            });
        }
        match response.items.iter().find(|item| item.refusal.is_none()) {
            None if !response.items.is_empty() => {
                let why = response.items.iter().find_map(|item| item.refusal.as_ref());
                let why = why.map_or_else(String::new, |r| format!("{} ({})", r.detail, r.reason));
                Err(Status::invalid_argument(format!("nothing in the body could be read: {why}")))
            }
            _ => Ok(Response::new(response)),
        }
    }

    type PublishStreamStream = Pin<Box<dyn Stream<Item = Result<wire::PublishResponse, Status>> + Send>>;

    async fn publish_stream(
        &self,
        request: Request<Streaming<wire::PublishRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        let (preparing, confirming) = (self.intake.clone(), self.intake.clone());
        // Whatever has arrived is confirmed together; the next groups are decoded meanwhile, one after the
        // other because later bodies may need what earlier ones said, and more is read only when there is
        // room.
        let (ready, groups) = mpsc::channel(AHEAD);
        let mut requests = request.into_inner().ready_chunks(TOGETHER_MAX);
        tokio::spawn(async move {
            while let Some(group) = requests.next().await {
                let decoded = decode_group(&preparing, group).await;
                // A caller that is gone reads no answers; what was not confirmed it sends again.
                if ready.send(decoded).await.is_err() {
                    return;
                }
            }
        });
        let responses = ReceiverStream::new(groups).then(move |Group { decoded, broken, room }| {
            let intake = confirming.clone();
            async move {
                let mut responses: Vec<Result<_, Status>> = match decoded {
                    Ok(group) => confirm(&intake, group).await.into_iter().map(Ok).collect(),
                    Err(status) => vec![Err(status)],
                };
                drop(room);
                responses.extend(broken.map(Err));
                futures::stream::iter(responses)
            }
        });
        Ok(Response::new(Box::pin(responses.flatten())))
    }

    async fn list_coverage(
        &self,
        _: Request<wire::ListCoverageRequest>,
    ) -> Result<Response<wire::ListCoverageResponse>, Status> {
        Ok(Response::new(wire::ListCoverageResponse { coverage: self.intake.coverage() }))
    }
}
