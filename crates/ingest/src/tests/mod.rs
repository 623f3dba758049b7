//! The whole service on the embedded log and a SQLite file.

mod hearing;
mod hostile;
mod web;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::store::{Store, StoreOptions};
use bus::{Log, Received, Topic};
use contracts::envelope;
use contracts::ingest::v1 as wire;
use contracts::ingest::v1::ingest_service_client::IngestServiceClient;
use contracts::ingest::v1::{CoverageState, Disposition, PublishRequest};
use model::{Outcome, Timestamp};
use runtime::brands::Brand;
use runtime::process::Parts;
use runtime::{Account, Clock as _, Net};
use tempfile::TempDir;
use testkit::clock::ManualClock;
use tokio::task::JoinHandle;

use crate::{Config, Deps, HOP, MIGRATIONS, serve};

pub(crate) const PARTITIONS: i32 = 3;
/// The longest a test waits for something that must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A log and a database that outlive the services started on them.
pub(crate) struct World {
    pub log: Arc<dyn Log>,
    pub store: Store,
    pub clock: Arc<ManualClock>,
    pub folder: TempDir,
}

pub(crate) struct Running {
    pub parts: Parts,
    pub address: SocketAddr,
    pub web: SocketAddr,
    pub task: JoinHandle<anyhow::Result<()>>,
}

pub(crate) fn acme() -> Brand {
    Brand {
        id: "acme".into(),
        words: vec!["acme".into(), "\"acme air\"".into()],
        handles: vec!["acmeair".into()],
        accounts: vec!["ndjson::acme-care".into()],
        ..Brand::default()
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/store.db", folder.path().display());
        let store = Store::open(&url, StoreOptions::default()).await.unwrap();
        let clock = Arc::new(ManualClock::starting("2026-01-02T03:00:00Z"));
        ::store::migrate(&store, "ingest", MIGRATIONS, clock.now()).await.unwrap();
        Self { log: testkit::log::in_memory(PARTITIONS).await, store, clock, folder }
    }

    pub(crate) async fn start(&self, config: Config) -> Running {
        let parts = Parts::alone(self.clock.clone());
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (grpc, http) = (parts.net.bind(any).await.unwrap(), parts.net.bind(any).await.unwrap());
        let (address, web) = (grpc.local_addr().unwrap(), http.local_addr().unwrap());
        let deps = Deps {
            log: self.log.clone(),
            store: self.store.clone(),
            tenant: "main".into(),
            brands: vec![acme()],
            parts: parts.clone(),
        };
        let task = tokio::spawn(serve(config, grpc, Some(http), deps));
        tokio::time::timeout(PATIENCE, parts.health.ready()).await.unwrap();
        Running { parts, address, web, task }
    }

    pub(crate) async fn all(&self, topic: Topic) -> Vec<Received> {
        testkit::log::records(&*self.log, topic).await
    }

    pub(crate) async fn events(&self) -> Vec<wire::MentionEvent> {
        let open =
            |r: &Received| envelope::open(r.record.headers.text("ce_type"), r.record.value.as_ref()).ok();
        self.all(Topic::Mentions).await.iter().filter_map(open).collect()
    }
}

impl Running {
    pub(crate) async fn client(&self) -> IngestServiceClient<runtime::net::Link> {
        IngestServiceClient::new(Net::default().channel(&format!("http://{}", self.address)).unwrap())
            .max_decoding_message_size(64 << 20)
    }

    /// Waits until a connector is in that state, and gives what it says.
    pub(crate) async fn covered(&self, connector: &str, state: CoverageState) -> wire::Coverage {
        let mut client = self.client().await;
        let look = async {
            loop {
                let all = client.list_coverage(wire::ListCoverageRequest {}).await.unwrap().into_inner();
                let found = all.coverage.into_iter().find(|c| c.connector == connector);
                if let Some(found) = found.filter(|c| c.state() == state) {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, look).await.unwrap()
    }

    /// Waits until that many items ended as stored.
    pub(crate) async fn stored(&self, count: u64) {
        let look = async {
            while self.parts.account.hop(HOP).with(Outcome::Stored) < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, look).await;
        assert!(waited.is_ok(), "{:?}", self.parts.account.snapshot());
    }

    pub(crate) async fn stop(self) -> Account {
        self.parts.shutdown.begin("test");
        assert!(self.parts.shutdown.drive().await);
        self.task.await.unwrap().unwrap();
        assert!(self.parts.account.is_balanced(), "{:?}", self.parts.account.snapshot());
        self.parts.account
    }
}

pub(crate) fn config() -> Config {
    Config { listen_http: None, ..Config::default() }
}

pub(crate) fn line(id: &str, text: &str) -> String {
    format!(r#"{{"id":"{id}","text":"{text}","author":"u{id}","created_at":"2026-01-02T02:00:00Z"}}"#)
}

fn request(body: impl Into<String>) -> PublishRequest {
    PublishRequest {
        source_kind: "ndjson".into(),
        body: body.into().into_bytes().into(),
        ..PublishRequest::default()
    }
}

fn dispositions(items: &[wire::ItemOutcome]) -> Vec<Disposition> {
    items.iter().map(wire::ItemOutcome::disposition).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_item_of_a_body_ends_in_one_way_and_the_sender_is_told() {
    use Disposition::{DeadLettered, Merged, Stored, Suppressed};
    let world = World::new().await;
    let running = world.start(config()).await;
    let mut client = running.client().await;
    let body = [
        line("1", "acme lost my bag"),
        line("2", "nice weather"),
        "{broken".into(),
        line("1", "acme lost my bag"),
    ]
    .join("\n");
    let answer = client.publish(request(body)).await.unwrap().into_inner();
    assert_eq!(dispositions(&answer.items), [Stored, Suppressed, DeadLettered, Merged]);
    assert_eq!(answer.items[2].refusal.as_ref().unwrap().location, "line 3");
    let events = world.events().await;
    assert_eq!((events.len(), events[0].brands.as_slice()), (1, ["acme".to_owned()].as_slice()));
    let raw = events[0].raw.as_ref().unwrap();
    let raws = world.all(Topic::Raw).await;
    assert_eq!((raws.len(), raws[0].position.offset), (1, raw.offset));
    let letters = world.all(Topic::DeadLetter).await;
    let letter: wire::DeadLetter =
        envelope::open(letters[0].record.headers.text("ce_type"), letters[0].record.value.as_ref()).unwrap();
    assert_eq!((letter.body.as_ref(), letter.location.as_str()), (b"{broken".as_slice(), "line 3"));
    let account = running.stop().await;
    assert_eq!(account.hop(HOP).accepted, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_are_recognised_across_restarts_and_answers_inherit_the_brand() {
    let world = World::new().await;
    let running = world.start(config()).await;
    running.client().await.publish(request(line("1", "acme lost my bag"))).await.unwrap();
    running.stop().await;
    let running = world.start(config()).await;
    let mut client = running.client().await;
    let again = client.publish(request(line("1", "acme lost my bag"))).await.unwrap().into_inner();
    assert_eq!(dispositions(&again.items), [Disposition::Merged]);
    let answer =
        r#"{"id":"2","text":"same here!","author":"b","created_at":"2026-01-02T02:10:00Z","reply_to":"1"}"#;
    let answer = client.publish(request(answer)).await.unwrap().into_inner();
    assert_eq!(dispositions(&answer.items), [Disposition::Stored]);
    assert!(world.events().await.iter().all(|e| e.brands == ["acme"]));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_is_named() {
    use tonic::Code;
    let world = World::new().await;
    let running = world.start(config()).await;
    let mut client = running.client().await;
    let with = |change: &dyn Fn(&mut PublishRequest)| {
        let mut bad = request(line("1", "acme"));
        change(&mut bad);
        bad
    };
    for (bad, code, words) in [
        (with(&|r| r.source_kind = "twitter".into()), Code::InvalidArgument, "known are"),
        (with(&|r| r.connector = "nobody".into()), Code::InvalidArgument, "unknown connector 'nobody'"),
        (with(&|r| r.body = vec![b'x'; 9 << 20].into()), Code::ResourceExhausted, "at most"),
        (with(&|r| r.body = "[1,".into()), Code::InvalidArgument, "nothing in the body could be read"),
        (
            with(&|r| {
                r.source_kind = "csv".into();
                r.csv_map.insert("a".into(), "nonsense".into());
            }),
            Code::InvalidArgument,
            "unknown field 'nonsense'",
        ),
    ] {
        let status = client.publish(bad).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(words), "{status}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_answers_in_order_and_goes_on_after_a_bad_request() {
    let world = World::new().await;
    let running = world.start(config()).await;
    let requests: Vec<_> = (0..500)
        .map(|n| PublishRequest {
            request_id: n.to_string(),
            source_kind: if n == 250 { "twitter".into() } else { "ndjson".into() },
            ..request(line(&n.to_string(), "acme again"))
        })
        .collect();
    let mut answers =
        running.client().await.publish_stream(futures::stream::iter(requests)).await.unwrap().into_inner();
    for n in 0..500 {
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!(answer.request_id, n.to_string());
        assert_eq!(answer.refusal.is_some(), n == 250);
    }
    assert!(answers.message().await.unwrap().is_none());
    assert_eq!(world.events().await.len(), 499);
    let account = running.stop().await;
    assert_eq!(account.hop(HOP).with(Outcome::Stored), 499);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_brands_own_account_is_marked_and_times_of_replays_are_kept() {
    let world = World::new().await;
    let running = world.start(config()).await;
    let at = Timestamp::parse_rfc3339("2020-02-02T00:00:00Z").unwrap();
    let own = r#"{"id":"9","text":"we are sorry","author":{"native_id":"acme-care"},"created_at":"2020-02-01T00:00:00Z"}"#;
    let own = PublishRequest { received_at_us: at.as_micros(), is_backfill: true, ..request(own) };
    running.client().await.publish(own).await.unwrap();
    let event = &world.events().await[0];
    assert_eq!(event.by_brand.as_deref(), Some("acme"));
    assert_eq!(event.ingested_at_us, at.as_micros());
    running.stop().await;
}
