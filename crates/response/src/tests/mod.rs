//! The whole service on the embedded log, on SQLite always and on Postgres where one can be had.

mod faults;
mod life;
mod post;
mod requests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bus::{Log, Received, Topic};
use contracts::response::v1 as wire;
use contracts::response::v1::response_service_client::ResponseServiceClient;
use runtime::process::Parts;
use runtime::{Account, Clock as _};
use store::{Store, StoreOptions};
use testkit::clock::ManualClock;
use tokio::task::JoinHandle;
use tonic::Streaming;

pub(crate) use self::post::{PARTITIONS, Post, at, mention_id, outgoing};

use crate::{Config, Deps, HOP, MIGRATIONS, SERVICE, serve};

const MONDAY: &str = "2026-01-12T09:00:00Z";
/// The longest a test waits for something that must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Each of these runs on both databases.
macro_rules! on_both {
    ($($name:ident)*) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let folder = tempfile::tempdir().unwrap();
                let url = format!("sqlite://{}", folder.path().join("response.db").display());
                super::$name(&crate::tests::World::new(url).await).await;
            })*
        }
        mod on_postgres {
            $(#[test]
            fn $name() {
                let runtime = tokio::runtime::Runtime::new().unwrap();
                runtime.block_on(async {
                    let Some(server) = testkit::postgres::shared().await else { return };
                    super::$name(&crate::tests::World::new(server.database().await).await).await;
                });
            })*
        }
    };
}
pub(crate) use on_both;

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) clock: Arc<ManualClock>,
}

impl World {
    pub(crate) async fn new(url: String) -> Self {
        let store = Store::open(&url, StoreOptions::default()).await.unwrap();
        let clock = Arc::new(ManualClock::starting(MONDAY));
        store::migrate(&store, SERVICE, MIGRATIONS, clock.now()).await.unwrap();
        Self { store, log: testkit::log::in_memory(PARTITIONS).await, clock }
    }

    pub(crate) async fn start(&self) -> Running {
        self.start_as("response-0").await
    }

    pub(crate) async fn start_as(&self, member: &str) -> Running {
        self.start_with(Config { member: member.into(), ..Config::default() }).await
    }

    pub(crate) async fn start_with(&self, config: Config) -> Running {
        let parts = Parts::alone(self.clock.clone());
        let listener = parts.net.bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let deps = Deps {
            log: self.log.clone(),
            store: self.store.clone(),
            parts: parts.clone(),
            brands: Vec::new(),
        };
        let task = tokio::spawn(serve(config, deps, listener));
        let client = ResponseServiceClient::new(parts.net.channel(&format!("http://{address}")).unwrap());
        Running { parts, client, task }
    }

    /// Puts posts on the log, each on its mention's partition.
    pub(crate) async fn posts(&self, posts: &[Post]) {
        let batch = posts.iter().map(Post::outgoing).collect();
        for result in self.log.publisher().unwrap().publish(batch).await.unwrap() {
            result.unwrap();
        }
    }

    pub(crate) async fn read(&self, topic: Topic) -> Vec<Received> {
        testkit::log::records(&*self.log, topic).await
    }
}

pub(crate) type Client = ResponseServiceClient<runtime::net::Link>;

pub(crate) struct Running {
    pub(crate) parts: Parts,
    pub(crate) client: Client,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    /// A clean end; the books must balance.
    pub(crate) async fn stop(self) -> Account {
        self.parts.shutdown.begin("test");
        assert!(self.parts.shutdown.drive().await);
        self.task.await.unwrap().unwrap();
        assert!(self.parts.account.is_balanced());
        self.parts.account
    }

    /// The end of a process that is killed.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    /// Waits until so many records were kept.
    pub(crate) async fn heard(&self, count: u64) {
        until(async || self.parts.account.hop(HOP).accepted >= count).await;
        assert_eq!(self.parts.account.hop(HOP).accepted, count);
    }

    pub(crate) async fn only_case(&self) -> wire::Case {
        let request = wire::ListCasesRequest { states: vec![1, 2, 3, 4], ..Default::default() };
        let cases = self.client.clone().list_cases(request).await.unwrap().into_inner().cases;
        assert_eq!(cases.len(), 1, "{cases:?}");
        cases[0].clone()
    }

    pub(crate) async fn history(&self, case_id: &bytes::Bytes) -> Vec<wire::CaseEvent> {
        let request = wire::GetCaseRequest { case_id: case_id.clone() };
        self.client.clone().get_case(request).await.unwrap().into_inner().history
    }

    pub(crate) async fn watch(&self, resume_token: &str) -> Changes {
        let request = wire::WatchRequest {
            resume_token: resume_token.into(),
            from_start: resume_token.is_empty(),
            brand: String::new(),
        };
        Changes { stream: self.client.clone().watch(request).await.unwrap().into_inner() }
    }
}

pub(crate) struct Changes {
    stream: Streaming<wire::WatchResponse>,
}

impl Changes {
    pub(crate) async fn next(&mut self) -> (wire::CaseEvent, String) {
        let next = tokio::time::timeout(PATIENCE, self.stream.message()).await.expect("a change in time");
        let response = next.unwrap().expect("the stream goes on");
        (response.event.unwrap(), response.resume_token)
    }

    /// Reads on to the next change of that kind.
    pub(crate) async fn until(&mut self, change: wire::CaseChange) -> wire::CaseEvent {
        loop {
            let (event, _) = self.next().await;
            if event.change() == change {
                return event;
            }
        }
    }
}

/// Waits for something that happens in other tasks.
pub(crate) async fn until(mut happened: impl AsyncFnMut() -> bool) {
    tokio::time::timeout(PATIENCE, async {
        while !happened().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .expect("it happens in time");
}
