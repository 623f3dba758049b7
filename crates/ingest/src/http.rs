//! What senders without gRPC use: CloudEvents, webhooks of every signature scheme, and JSON lines.
//!
//! 2xx means that the log has confirmed. 503 with `Retry-After` means: not now, send again.

use std::convert::Infallible;

use axum::body::Body as HttpBody;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::{Bytes, BytesMut};
use contracts::ingest::v1::{Disposition, Refusal};
use futures::StreamExt as _;
use model::{SourceKind, Transport};
use runtime::Net;
use serde::{Deserialize, Serialize};
use sources::cloudevents::{self, Mode};
use sources::signature;
use store::Store;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tracing::{info, warn};

use crate::Config;
use crate::config::Webhook;
use crate::intake::{Ended, Intake, refusal};
use crate::step::Body;

/// Seconds after which a sender may try again.
const RETRY_AFTER_S: &str = "2";
/// Lines confirmed together.
const LINES_MAX: usize = 500;
/// Bytes of lines confirmed together.
const GROUP_BYTES: usize = 256 * 1024;
/// The longest line, in bytes.
const LINE_BYTES_MAX: usize = 1024 * 1024;
/// Groups of answers a slow reader may leave unread before we stop reading, too.
const UNREAD_MAX: usize = 16;

#[derive(Clone)]
struct App {
    intake: Intake,
    store: Store,
    net: Net,
    deliveries_kept_ms: i64,
}

/// The routes.
pub(crate) fn app(intake: Intake, store: Store, net: Net, config: &Config) -> Router {
    let kept_h = i64::try_from(config.deliveries_kept_h).unwrap_or(i64::MAX);
    let app = App { intake, store, net, deliveries_kept_ms: kept_h.saturating_mul(3_600_000) };
    let limited = Router::new()
        .route("/v1/cloudevents", post(cloud_events))
        .route("/v1/webhooks/{connector}", post(webhook))
        .layer(DefaultBodyLimit::max(config.http_body_bytes_max));
    Router::new()
        .route("/v1/webhooks/{connector}", get(challenge))
        // Read line by line, so the whole may be of any size.
        .route("/v1/ndjson", post(ndjson).layer(DefaultBodyLimit::disable()))
        .merge(limited)
        .with_state(app)
}

/// What became of one item, for people and programs.
#[derive(Debug, Serialize)]
struct Told {
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    disposition: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mention_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<Why>,
}

#[derive(Debug, Serialize)]
struct Why {
    reason: String,
    detail: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    location: String,
    is_retryable: bool,
}

impl From<Refusal> for Why {
    fn from(r: Refusal) -> Self {
        Self { reason: r.reason, detail: r.detail, location: r.location, is_retryable: r.is_retryable }
    }
}

fn told(ended: Ended, line: Option<u64>) -> Told {
    let disposition = match ended.disposition {
        Disposition::Stored => "stored",
        Disposition::Merged => "merged",
        Disposition::Suppressed => "suppressed",
        Disposition::Rejected | Disposition::Unspecified => "rejected",
        Disposition::DeadLettered => "dead_lettered",
        Disposition::Ignored => "ignored",
    };
    let mention_id = ended.mention_id.map(|id| id.to_string());
    Told { line, disposition, mention_id, refusal: ended.refusal.map(Why::from) }
}

fn refused(status: StatusCode, reason: &str, detail: &str) -> Response {
    let why = Why::from(refusal(reason, detail, ""));
    (status, Json(serde_json::json!({ "refusal": why }))).into_response()
}

fn not_now(detail: &str) -> Response {
    let mut answer = refused(StatusCode::SERVICE_UNAVAILABLE, "not_now", detail);
    answer.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static(RETRY_AFTER_S));
    answer
}

/// Names and values as text; values that are none cannot be what a scheme or CloudEvents sends.
fn texts(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
}

impl App {
    fn admits(&self, headers: &HeaderMap) -> bool {
        let mut shown = headers.get_all(header::AUTHORIZATION).iter();
        let one = shown.next().map(|v| v.as_bytes());
        shown.next().is_none() && self.net.admits(one)
    }

    /// Publishes one whole body, or says why not now.
    async fn take(&self, connector: &str, body: Body) -> Result<Vec<Ended>, Response> {
        let Some(_room) = self.intake.room_now(body.bytes.len()) else {
            return Err(not_now("too much is on its way already"));
        };
        let prepared = self
            .intake
            .prepare_whole(connector, body)
            .map_err(|e| refused(StatusCode::NOT_FOUND, "unknown_connector", &e.to_string()))?;
        match self.intake.confirm(&mut [prepared]).await {
            Ok(mut ended) => Ok(ended.pop().unwrap_or_default()),
            Err(error) => {
                warn!(%error, "the log did not confirm");
                Err(not_now("the log did not confirm"))
            }
        }
    }
}

#[derive(Debug, Deserialize)]
struct Under {
    /// The connector to count it under.
    #[serde(default)]
    connector: String,
}

async fn cloud_events(
    State(app): State<App>,
    Query(under): Query<Under>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    if !app.admits(&headers) {
        return refused(StatusCode::UNAUTHORIZED, "unauthorized", "a valid token is needed");
    }
    let bytes = match cloudevents::mode(texts(&headers)) {
        Some(Mode::Structured | Mode::Batch) => bytes,
        Some(Mode::Binary) => match cloudevents::structured(texts(&headers), &bytes) {
            Ok(json) => json.into(),
            Err(reason) => return refused(StatusCode::BAD_REQUEST, reason.label(), &reason.to_string()),
        },
        None => {
            let detail = "needs content-type application/cloudevents+json, application/cloudevents-batch+json, or ce- headers";
            return refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "no_cloudevent", detail);
        }
    };
    let body = Body {
        kind: SourceKind::Cloudevents,
        instance: String::new(),
        transport: Transport::Webhook,
        received_at: app.intake.now(),
        csv_map: None,
        bytes,
    };
    match app.take(&under.connector, body).await {
        Ok(ended) => {
            // Kept for a person, but nothing that a sender should take for success.
            let nothing_read = !ended.is_empty() && ended.iter().all(|e| e.refusal.is_some());
            let status = if nothing_read { StatusCode::BAD_REQUEST } else { StatusCode::OK };
            (status, Json(serde_json::json!({ "items": tell(ended) }))).into_response()
        }
        Err(answer) => answer,
    }
}

fn tell(ended: Vec<Ended>) -> Vec<Told> {
    ended.into_iter().map(|e| told(e, None)).collect()
}

async fn webhook(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    let Some((kind, webhook)) = webhook_of(&app, &name) else {
        return refused(StatusCode::NOT_FOUND, "unknown_connector", "no webhook of that name");
    };
    let now = app.intake.now();
    let mut signed_id = None;
    if let Some(scheme) = &webhook.scheme {
        match signature::verify(scheme, &webhook.secrets, texts(&headers), &bytes, now) {
            // Only an id that is signed tells deliveries apart; any other header could be changed by a repeater.
            Ok(verified) if scheme.signed_id_header.is_some() => signed_id = verified.delivery_id,
            Ok(_) => {}
            Err(error) => {
                info!(connector = name, %error, "delivery not believed");
                return refused(StatusCode::UNAUTHORIZED, "bad_signature", &error.to_string());
            }
        }
    }
    if let Some(answer) = slack_challenge(kind, &bytes) {
        return answer;
    }
    let delivery = match signed_id {
        Some(id) => format!("id:{}", blake3::hash(id.as_bytes()).to_hex()),
        None => format!("body:{}", blake3::hash(&bytes).to_hex()),
    };
    match crate::store::is_delivered(&app.store, &name, &delivery).await {
        Ok(true) => return (StatusCode::OK, Json(serde_json::json!({ "repeat": true }))).into_response(),
        Ok(false) => {}
        Err(error) => {
            warn!(connector = name, %error, "cannot tell repeats");
            return not_now("cannot tell repeats now");
        }
    }
    let body = Body {
        kind,
        instance: String::new(),
        transport: Transport::Webhook,
        received_at: now,
        csv_map: None,
        bytes,
    };
    let ended = match app.take(&name, body).await {
        Ok(ended) => ended,
        Err(answer) => return answer,
    };
    let forget_before = now.plus_millis(-app.deliveries_kept_ms);
    if let Err(error) = crate::store::save_delivery(&app.store, &name, &delivery, now, forget_before).await {
        // The mention is safe; a repeat of it is still recognised by its event id.
        warn!(connector = name, %error, "delivery not noted");
    }
    (StatusCode::OK, Json(serde_json::json!({ "items": tell(ended) }))).into_response()
}

fn webhook_of(app: &App, name: &str) -> Option<(SourceKind, Webhook)> {
    let connector = app.intake.connector(name).ok().filter(|_| !name.is_empty())?;
    Some((connector.kind?, connector.webhook.clone()?))
}

/// Slack asks once whether the address is ours.
fn slack_challenge(kind: SourceKind, bytes: &[u8]) -> Option<Response> {
    #[derive(Deserialize)]
    struct Asked {
        r#type: String,
        challenge: String,
    }
    if kind != SourceKind::Slack {
        return None;
    }
    let asked: Asked = serde_json::from_slice(bytes).ok()?;
    (asked.r#type == "url_verification").then(|| asked.challenge.into_response())
}

#[derive(Debug, Deserialize)]
struct Asked {
    /// X.
    crc_token: Option<String>,
    /// Meta and WebSub.
    #[serde(rename = "hub.challenge")]
    challenge: Option<String>,
    #[serde(rename = "hub.verify_token")]
    verify_token: Option<String>,
}

/// X and Meta ask by GET whether the address is ours.
async fn challenge(State(app): State<App>, Path(name): Path<String>, Query(asked): Query<Asked>) -> Response {
    let Some((kind, webhook)) = webhook_of(&app, &name) else {
        return refused(StatusCode::NOT_FOUND, "unknown_connector", "no webhook of that name");
    };
    let is_x = matches!(kind, SourceKind::XV1 | SourceKind::XV2);
    if let (true, Some(token), Some(secret)) = (is_x, &asked.crc_token, webhook.secrets.first()) {
        let answer = serde_json::json!({ "response_token": signature::crc_answer(secret, token) });
        return Json(answer).into_response();
    }
    let expected = webhook.verify_token.as_ref().map(|t| blake3::hash(t.expose().as_bytes()));
    // Hashes are compared in constant time.
    let shown = asked.verify_token.as_deref().map(|t| blake3::hash(t.as_bytes()));
    match (asked.challenge, expected.is_some() && expected == shown) {
        (Some(challenge), true) => ([(header::CONTENT_TYPE, "text/plain")], challenge).into_response(),
        _ => refused(StatusCode::FORBIDDEN, "bad_challenge", "not asked by whom we expect"),
    }
}

/// Reads lines as they come and answers each, in order, with a line of its own.
async fn ndjson(
    State(app): State<App>,
    Query(under): Query<Under>,
    headers: HeaderMap,
    body: HttpBody,
) -> Response {
    if !app.admits(&headers) {
        return refused(StatusCode::UNAUTHORIZED, "unauthorized", "a valid token is needed");
    }
    if let Err(error) = app.intake.connector(&under.connector) {
        return refused(StatusCode::NOT_FOUND, "unknown_connector", &error.to_string());
    }
    if app.intake.room_now(GROUP_BYTES).is_none() {
        return not_now("too much is on its way already");
    }
    let (answers, reading) = mpsc::channel::<Result<Bytes, Infallible>>(UNREAD_MAX);
    tokio::spawn(async move {
        let mut lines =
            Lines { app, connector: under.connector, number: 0, group: Vec::new(), bytes: 0, answers };
        // An error means that the sender is gone, and with it whoever would read the answer.
        let _ = lines.read(body).await;
    });
    let stream = HttpBody::from_stream(ReceiverStream::new(reading));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], stream).into_response()
}

/// Nobody reads the answers any more, or nothing more can be read.
struct Gone;

struct Lines {
    app: App,
    connector: String,
    number: u64,
    group: Vec<(u64, Result<Bytes, Refusal>)>,
    bytes: usize,
    answers: mpsc::Sender<Result<Bytes, Infallible>>,
}

impl Lines {
    async fn read(&mut self, body: HttpBody) -> Result<(), Gone> {
        let mut stream = body.into_data_stream();
        let mut pending = BytesMut::new();
        let mut skipping = false;
        while let Some(part) = stream.next().await {
            let Ok(part) = part else { break };
            let mut rest = &part[..];
            while let Some(end) = rest.iter().position(|b| *b == b'\n') {
                let (line, after) = rest.split_at(end + 1);
                rest = after;
                if !std::mem::take(&mut skipping) {
                    pending.extend_from_slice(line);
                    let whole = pending.split().freeze();
                    self.line(whole).await?;
                }
            }
            if !skipping {
                pending.extend_from_slice(rest);
                if pending.len() > LINE_BYTES_MAX {
                    skipping = true;
                    let start = pending.split().freeze();
                    self.line(start).await?;
                }
            }
        }
        if !pending.is_empty() {
            let whole = pending.split().freeze();
            self.line(whole).await?;
        }
        self.flush().await
    }

    async fn line(&mut self, line: Bytes) -> Result<(), Gone> {
        self.number += 1;
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let line = if line.len() > LINE_BYTES_MAX {
            self.app.intake.reject("too_long", 1);
            Err(refusal("too_long", &format!("the line has more than {LINE_BYTES_MAX} bytes"), ""))
        } else {
            self.bytes += line.len();
            Ok(line)
        };
        self.group.push((self.number, line));
        if self.group.len() >= LINES_MAX || self.bytes >= GROUP_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    /// Publishes the lines gathered and answers each.
    async fn flush(&mut self) -> Result<(), Gone> {
        let group = std::mem::take(&mut self.group);
        let _room = self.app.intake.room(std::mem::take(&mut self.bytes)).await;
        let received_at = self.app.intake.now();
        let mut prepared = Vec::new();
        for line in group.iter().filter_map(|(_, line)| line.as_ref().ok()) {
            let body = Body {
                kind: SourceKind::Ndjson,
                instance: String::new(),
                transport: Transport::Webhook,
                received_at,
                csv_map: None,
                bytes: line.clone(),
            };
            prepared.push(self.app.intake.prepare_whole(&self.connector, body).map_err(|_| Gone)?);
        }
        let confirmed = self.app.intake.confirm(&mut prepared).await;
        let unavailable = confirmed.is_err();
        let mut ended = confirmed.unwrap_or_default().into_iter();
        let mut out = Vec::new();
        for (number, line) in group {
            let items = match line {
                Ok(_) if unavailable => {
                    let why = refusal("log_unavailable", "the log did not confirm", "");
                    vec![rejected(Refusal { is_retryable: true, ..why })]
                }
                Ok(_) => ended.next().unwrap_or_default(),
                Err(why) => vec![rejected(why)],
            };
            for item in items {
                // The line is told beside it; a location inside a line of one record adds nothing.
                let mut item = told(item, Some(number));
                if let Some(why) = &mut item.refusal {
                    why.location.clear();
                }
                serde_json::to_writer(&mut out, &item).map_err(|_| Gone)?;
                out.push(b'\n');
            }
        }
        if out.is_empty() {
            return Ok(());
        }
        self.answers.send(Ok(out.into())).await.map_err(|_| Gone)
    }
}

fn rejected(why: Refusal) -> Ended {
    Ended { disposition: Disposition::Rejected, mention_id: None, refusal: Some(why) }
}
