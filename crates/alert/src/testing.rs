//! Verdicts, a receiver, and a whole service for this crate's tests.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use bus::{Log, Outgoing, Partition, Position, Received, Topic};
use contracts::alert::v1::alert_service_client::AlertServiceClient;
use contracts::classify::v1::{Severity, TopicScore, Verdict, VerdictEvent};
use contracts::envelope;
use contracts::ingest::v1::{Author, Engagement, Mention, MentionEvent, MentionOp, Source};
use model::{MentionId, SourceKind, Timestamp};
use paging::Secret as SigningSecret;
use runtime::net::Link;
use runtime::process::Parts;
use runtime::{Clock as _, Secret};
use store::{Store, StoreOptions};
use testkit::clock::ManualClock;
use tokio::task::JoinHandle;

use crate::{Config, Deps, Destination, DestinationKind, MIGRATIONS, SERVICE, run_on};

pub(crate) const SECRET: &str = "whsec_YWxlcnRzLWRlbW8tc2VjcmV0LTMyLWJ5dGVzLWxvbmc=";
pub(crate) const PARTITIONS: i32 = 3;
/// The longest a test waits for something that must come.
const PATIENCE: Duration = Duration::from_secs(90);

/// One post and what understanding says about it; tests change what matters to them.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) native_id: String,
    pub(crate) at: Timestamp,
    pub(crate) topic: &'static str,
    pub(crate) complaint: f32,
    pub(crate) severity: u32,
    pub(crate) followers: u64,
    pub(crate) answers: Option<String>,
    /// Who says it; somebody of their own for each post when nobody is named.
    pub(crate) author: Option<String>,
}

pub(crate) fn said(native_id: impl Into<String>, at: Timestamp) -> Said {
    Said {
        native_id: native_id.into(),
        at,
        topic: "refund",
        complaint: 0.95,
        severity: 2,
        followers: 100,
        answers: None,
        author: None,
    }
}

impl Said {
    pub(crate) fn severe(self) -> Self {
        Self { severity: 4, ..self }
    }

    pub(crate) fn answering(self, root: &str) -> Self {
        Self { answers: Some(root.to_owned()), ..self }
    }

    pub(crate) fn id(native_id: &str) -> MentionId {
        MentionId::of(SourceKind::Ndjson, "", native_id)
    }

    pub(crate) fn event(&self) -> VerdictEvent {
        let id = contracts::id(Self::id(&self.native_id).as_bytes());
        let root = self.answers.as_deref().unwrap_or(&self.native_id);
        let mut probabilities = vec![0.02; 5];
        probabilities[self.severity as usize] = 0.92;
        let mention = MentionEvent {
            event_id: id.clone(),
            mention_id: id.clone(),
            op: MentionOp::Created.into(),
            native_id: self.native_id.clone(),
            source: Some(Source { kind: "ndjson".into(), connector: "stream".into(), ..Source::default() }),
            brands: vec!["acme".into()],
            observed_at_us: self.at.as_micros(),
            ingested_at_us: self.at.as_micros(),
            mention: Some(Mention {
                author: Some(Author {
                    native_id: Some(
                        self.author.clone().unwrap_or_else(|| format!("author-{}", self.native_id)),
                    ),
                    handle: Some("bob".into()),
                    followers: Some(self.followers),
                    ..Author::default()
                }),
                text: format!("my money, <!channel>! {}", self.native_id),
                ..Mention::default()
            }),
            ..MentionEvent::default()
        };
        VerdictEvent {
            event_id: id,
            mention: Some(mention),
            thread_root: contracts::id(Self::id(root).as_bytes()),
            verdict: Some(Verdict {
                language: "en".into(),
                complaint: self.complaint,
                severity: Some(Severity { level: self.severity, probabilities }),
                arousal: 0.5,
                topics: vec![TopicScore { name: self.topic.into(), probability: 0.9 }],
                model_version: "test".into(),
                ..Verdict::default()
            }),
            classified_at_us: self.at.as_micros(),
        }
    }

    pub(crate) fn outgoing(&self) -> Outgoing {
        let event = self.event();
        let sealed = envelope::seal(&self.native_id, "redress/classify", self.at, &event);
        crate::tally::outgoing(Topic::Verdicts, event.event_id, sealed, self.at)
    }

    pub(crate) fn received(&self, partition: i32, offset: i64) -> Received {
        received(self.outgoing(), partition, offset)
    }
}

pub(crate) fn received(outgoing: Outgoing, partition: i32, offset: i64) -> Received {
    let partition = Partition { topic: outgoing.topic, number: partition };
    Received { position: Position::new(partition, offset), record: outgoing.record }
}

/// Counters that came on top, for a post.
pub(crate) fn engagement(root: &str, reposts: i64, at: Timestamp) -> VerdictEvent {
    let mut event = said(root, at).event();
    event.verdict = None;
    if let Some(mention) = &mut event.mention {
        mention.op = MentionOp::Engagement.into();
        if let Some(words) = &mut mention.mention {
            words.engagement =
                Some(Engagement { reposts: Some(reposts), is_delta: true, ..Engagement::default() });
        }
    }
    event
}

/// One request that the receiver got.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) body: serde_json::Value,
}

/// How the receiver answers.
#[derive(Debug, Clone, Default)]
pub(crate) enum Mood {
    #[default]
    Fine,
    /// This status, with a `retry-after`.
    Status(u16, Option<&'static str>),
    /// Takes it and never answers.
    Hang,
}

/// A webhook receiver that checks signatures.
#[derive(Clone, Default)]
pub(crate) struct Receiver(Arc<Mutex<Inside>>);

#[derive(Default)]
struct Inside {
    got: Vec<Got>,
    /// Answers for the next requests; then fine.
    moods: Vec<Mood>,
}

impl Receiver {
    pub(crate) async fn start() -> (Self, SocketAddr) {
        let receiver = Self::default();
        let app = axum::Router::new().route("/hook", axum::routing::post(take)).with_state(receiver.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        (receiver, address)
    }

    pub(crate) fn answers(&self, moods: &[Mood]) {
        self.0.lock().unwrap().moods = moods.to_vec();
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        self.0.lock().unwrap().got.clone()
    }

    pub(crate) fn kinds(&self) -> Vec<String> {
        self.got().into_iter().map(|got| got.kind).collect()
    }
}

async fn take(
    State(receiver): State<Receiver>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> (StatusCode, [(HeaderName, &'static str); 1]) {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let (id, at) = (header("webhook-id"), header("webhook-timestamp"));
    let secret = SigningSecret::parse(SECRET).unwrap();
    let expected = paging::signature_header(&[secret], &id, at.parse().unwrap(), &body);
    assert_eq!(header("webhook-signature"), expected, "the signature is wrong");
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let mood = {
        let mut inside = receiver.0.lock().unwrap();
        inside.got.push(Got { id, kind: body["type"].as_str().unwrap().to_owned(), body });
        if inside.moods.is_empty() { Mood::Fine } else { inside.moods.remove(0) }
    };
    let retry = HeaderName::from_static("retry-after");
    match mood {
        Mood::Fine => (StatusCode::NO_CONTENT, [(retry, "0")]),
        Mood::Status(status, wait) => {
            (StatusCode::from_u16(status).unwrap(), [(retry, wait.unwrap_or("never"))])
        }
        Mood::Hang => std::future::pending().await,
    }
}

/// Log, database, clock and receiver; services come and go over them.
pub(crate) struct World {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) store: Store,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) receiver: Receiver,
    pub(crate) config: Config,
    _dir: tempfile::TempDir,
}

/// One life of the service.
pub(crate) struct Running {
    pub(crate) parts: Parts,
    pub(crate) client: AlertServiceClient<Link>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("alert.db").display());
        let options = StoreOptions { relaxed_sync: true, ..StoreOptions::default() };
        Self::over(Store::open(&url, options).await.unwrap(), dir).await
    }

    /// On a real server, where there is one.
    pub(crate) async fn on_postgres() -> Option<Self> {
        let url = testkit::postgres::shared().await?.database().await;
        let store = Store::open(&url, StoreOptions::default()).await.unwrap();
        Some(Self::over(store, tempfile::tempdir().unwrap()).await)
    }

    async fn over(store: Store, dir: tempfile::TempDir) -> Self {
        let clock = ManualClock::starting("2026-01-02T12:00:00Z");
        store::migrate(&store, SERVICE, MIGRATIONS, clock.now()).await.unwrap();
        let (receiver, address) = Receiver::start().await;
        let hook = Destination {
            kind: DestinationKind::Webhook,
            url: Secret::new(format!("http://{address}/hook")),
            secrets: vec![Secret::new(SECRET.to_owned())],
            routing_key: Secret::default(),
            allow_private: true,
        };
        let config =
            Config { destinations: BTreeMap::from([("hook".to_owned(), hook)]), ..Config::default() };
        let log = testkit::log::in_memory(PARTITIONS).await;
        Self { log, store, clock: Arc::new(clock), receiver, config, _dir: dir }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) async fn start(&self) -> Running {
        let parts = Parts::alone(self.clock.clone());
        let listener = parts.net.bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let deps = Deps {
            log: self.log.clone(),
            store: self.store.clone(),
            brands: Arc::default(),
            parts: parts.clone(),
        };
        let task = tokio::spawn(run_on(listener, self.config.clone(), deps));
        let client = AlertServiceClient::new(parts.net.channel(&format!("http://{address}")).unwrap());
        tokio::time::timeout(PATIENCE, parts.health.ready()).await.expect("the service becomes ready");
        Running { parts, client, task }
    }

    pub(crate) async fn say(&self, posts: &[Said]) {
        let batch = posts.iter().map(Said::outgoing).collect();
        self.publish(batch).await;
    }

    pub(crate) async fn publish(&self, batch: Vec<Outgoing>) {
        for result in self.log.publisher().unwrap().publish(batch).await.unwrap() {
            result.unwrap();
        }
    }

    /// Waits until `done`, moving the clock on by `step` between looks.
    pub(crate) async fn until(&self, step: Duration, what: &str, mut done: impl AsyncFnMut() -> bool) {
        let waiting = async {
            while !done().await {
                self.clock.advance(step);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("waited too long for: {what}; got {:?}", self.receiver.kinds());
        }
    }

    /// All records of a topic, in order per partition.
    pub(crate) async fn records(&self, topic: Topic) -> Vec<Received> {
        testkit::log::records(&*self.log, topic).await
    }
}

impl Running {
    pub(crate) async fn stop(self) {
        self.parts.shutdown.begin("test");
        assert!(self.parts.shutdown.drive().await, "everything ended in time");
        self.task.await.unwrap().unwrap();
    }

    /// As if the process were killed: nothing more is done, nothing is tidied up.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}
