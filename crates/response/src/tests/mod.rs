//! The whole service on the embedded log, on SQLite always and on Postgres where one can be had.

mod faults;
mod life;
mod requests;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bus::{EmbeddedLog, Headers, Log, Outgoing, Partition, Received, Record, Topic, TopicPlan};
use contracts::response::v1 as wire;
use contracts::response::v1::response_service_client::ResponseServiceClient;
use contracts::{Classified, envelope};
use model::{
    Author, BrandId, Dedup, Entities, EventId, Language, Mention, MentionEvent, MentionId, MentionOp,
    Probability, Refs, ReplyActs, Sentiment, Severity, SeverityEstimate, Signals, Source, SourceKind,
    TenantId, Text, TimeQuality, Timestamp, TopicScore, Transport, Verdict, Visibility,
};
use prost::Message;
use runtime::admin::Health;
use runtime::process::Parts;
use runtime::{Account, Clock as _, Net, Shutdown};
use store::{Store, StoreOptions};
use testkit::clock::ManualClock;
use tokio::task::JoinHandle;
use tonic::Streaming;

use crate::{Config, Deps, HOP, MIGRATIONS, SERVICE, serve};

const PARTITIONS: i32 = 3;
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
        Self { store, log: empty_log().await, clock }
    }

    pub(crate) async fn start(&self) -> Running {
        self.start_as("response-0").await
    }

    pub(crate) async fn start_as(&self, member: &str) -> Running {
        self.start_with(Config { member: member.into(), ..Config::default() }).await
    }

    pub(crate) async fn start_with(&self, config: Config) -> Running {
        let parts = Parts {
            clock: self.clock.clone(),
            shutdown: Shutdown::immediate(),
            health: Health::new(),
            account: Account::new(),
            net: Net::default(),
        };
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
        let reader = self.log.reader().unwrap();
        let mut all = Vec::new();
        for number in 0..PARTITIONS {
            let partition = Partition { topic, number };
            let marks = reader.watermarks(partition).await.unwrap();
            let mut from = marks.low;
            while from < marks.high {
                let part = reader.read(partition, from, 10_000, Duration::ZERO).await.unwrap();
                let Some(last) = part.last() else { break };
                from = last.position.offset + 1;
                all.extend(part);
            }
        }
        all
    }
}

async fn empty_log() -> Arc<dyn Log> {
    let log = EmbeddedLog::in_memory().unwrap();
    let plan: Vec<TopicPlan> = Topic::ALL
        .into_iter()
        .map(|topic| TopicPlan {
            topic,
            partitions: PARTITIONS,
            replication: 1,
            cleanup: topic.cleanup(),
            retention_ms: topic.retention_ms(),
        })
        .collect();
    log.topics(&plan, true).await.unwrap();
    Arc::new(log)
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

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn mention_id(name: &str) -> MentionId {
    MentionId::of(SourceKind::Mastodon, "a.example", name)
}

/// A post with its verdict.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    event: MentionEvent,
    verdict: Option<Verdict>,
}

impl Post {
    /// Somebody mentions acme, neither glad nor angry.
    pub(crate) fn new(name: &str, author: &str, when: &str) -> Self {
        let at = at(when);
        let mention = Mention {
            author: Author {
                native_id: Some(author.to_owned()),
                handle: Some(author.to_owned()),
                ..Author::default()
            },
            text: Text::truncated(format!("words of {author} in {name}")).0,
            title: None,
            rating: None,
            languages_claimed: Vec::new(),
            created_at: Some(at),
            created_at_quality: TimeQuality::Platform,
            edited_at: None,
            refs: Refs::default(),
            engagement: None,
            permalink: Some(format!("https://a.example/{name}")),
            entities: Entities::default(),
            visibility: Visibility::Public,
            dedup: Dedup::default(),
        };
        let event = MentionEvent {
            event_id: EventId::derive(&[name, "created"]),
            mention_id: mention_id(name),
            op: MentionOp::Created,
            native_id: name.into(),
            native_rev: String::new(),
            source: Source {
                kind: SourceKind::Mastodon,
                instance: "a.example".into(),
                connector: "test".into(),
                transport: Transport::Stream,
            },
            tenant: TenantId::slugify("main"),
            brands: vec![BrandId::slugify("acme")],
            by_brand: None,
            observed_at: at,
            ingested_at: at,
            flags: BTreeSet::new(),
            mention: Some(mention),
            author: None,
            raw: None,
        };
        Self { event, verdict: Some(verdict(0.1, 0.0, 0.2)) }
    }

    pub(crate) fn complaint(name: &str, author: &str, when: &str) -> Self {
        Self { verdict: Some(verdict(0.9, 0.0, 0.1)), ..Self::new(name, author, when) }
    }

    pub(crate) fn thanks(name: &str, author: &str, when: &str) -> Self {
        Self { verdict: Some(verdict(0.05, 0.9, 0.9)), ..Self::new(name, author, when) }
    }

    /// The brand's own account answers.
    pub(crate) fn answer(name: &str, to: &str, when: &str) -> Self {
        let mut post = Self::new(name, "acmecare", when);
        post.event.by_brand = Some(BrandId::slugify("acme"));
        post.answering(to)
    }

    pub(crate) fn answering(mut self, to: &str) -> Self {
        if let Some(mention) = &mut self.event.mention {
            mention.refs.reply_to = Some(mention_id(to));
            mention.refs.root = Some(mention_id(to));
        }
        self
    }

    pub(crate) fn by_machine(mut self) -> Self {
        if let Some(mention) = &mut self.event.mention {
            mention.author.is_bot = Some(true);
        }
        self
    }

    /// Something without words that happens to the post, or to its author's account.
    pub(crate) fn without_words(mut self, op: MentionOp) -> Self {
        self.event.author = self.event.author_key();
        self.event.op = op;
        self.event.mention = None;
        self.event.event_id = EventId::derive(&[&self.event.native_id, op.name()]);
        self.verdict = None;
        self
    }

    fn outgoing(&self) -> Outgoing {
        let classified = Classified::new(self.event.clone(), self.verdict.clone(), self.event.ingested_at);
        let message = contracts::classify::v1::VerdictEvent::from(&classified);
        let id = self.event.event_id.to_string();
        let partition = i32::from(self.event.mention_id.as_bytes()[0]) % PARTITIONS;
        let key = contracts::id(self.event.mention_id.as_bytes());
        outgoing(Topic::Verdicts, Some(partition), key, &id, self.event.ingested_at, &message)
    }
}

pub(crate) fn outgoing<M: Message + prost::Name>(
    topic: Topic,
    partition: Option<i32>,
    key: bytes::Bytes,
    id: &str,
    at: Timestamp,
    message: &M,
) -> Outgoing {
    let sealed = envelope::seal(id, "redress/test", at, message);
    let mut headers = Headers::new();
    for (name, value) in sealed.headers {
        headers.push(name, value);
    }
    Outgoing { topic, partition, record: Record { key, value: Some(sealed.value), headers, at } }
}

fn verdict(complaint: f32, thanks: f32, positive: f32) -> Verdict {
    let p = Probability::clamped;
    let level = if complaint > 0.5 { Severity::Disapproval } else { Severity::None };
    let mut probabilities = [Probability::ZERO; 5];
    probabilities[usize::from(level.level())] = Probability::ONE;
    Verdict {
        language: Language::parse("en").unwrap(),
        sentiment: Sentiment { negative: p(1.0 - positive), neutral: p(0.0), positive: p(positive) },
        complaint: p(complaint),
        severity: SeverityEstimate { level, probabilities },
        arousal: p(0.5),
        topics: vec![TopicScore { topic: model::Topic::slugify("baggage"), probability: p(0.9) }],
        signals: Signals { thanks: p(thanks), ..Signals::default() },
        reply: ReplyActs::default(),
        sure: true,
        why: Vec::new(),
        model_version: "test".into(),
    }
}
