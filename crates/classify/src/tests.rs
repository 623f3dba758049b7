//! The whole service on the embedded log.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bus::{KafkaLog, KafkaSettings, Log, Outgoing, Received, Record, Topic};
use contracts::classify::v1::classify_service_client::ClassifyServiceClient;
use contracts::classify::v1::{ClassifyRequest, CorrectRequest, Feedback};
use contracts::ingest::v1::CoverageState;
use model::{MentionEvent, Outcome, Timestamp};
use runtime::process::Parts;
use runtime::{Account, Clock as _, Net, RealClock, Shutdown};
use testkit::clock::ManualClock;
use testkit::log::{in_memory, records, with_topics};
use tokio::task::JoinHandle;

use crate::step::verdict_id;
use crate::testing::{coverage, created, outgoing};
use crate::{Config, Deps, HOP, engine, serve};

const PARTITIONS: i32 = 3;
/// The longest a test waits for something that must come.
const PATIENCE: Duration = Duration::from_secs(60);

struct Running {
    parts: Parts,
    address: SocketAddr,
    task: JoinHandle<anyhow::Result<()>>,
}

async fn start(log: &Arc<dyn Log>, config: Config) -> Running {
    let parts = Parts::alone(Arc::new(ManualClock::at(Timestamp::from_seconds(1_800_000_000))));
    let listener = parts.net.bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    let engine = engine::Engine::new(&config).unwrap();
    let deps = Deps { log: log.clone(), parts: parts.clone() };
    let task = tokio::spawn(serve(config, listener, engine, deps.log, deps.parts));
    Running { parts, address, task }
}

impl Running {
    async fn stop(self) -> Account {
        self.parts.shutdown.begin("test");
        assert!(self.parts.shutdown.drive().await);
        self.task.await.unwrap().unwrap();
        self.parts.account
    }
}

async fn publish(log: &Arc<dyn Log>, events: &[MentionEvent]) {
    let batch = events
        .iter()
        .map(|e| {
            let mut outgoing = outgoing(i32::from(e.mention_id.as_bytes()[0]) % PARTITIONS, e);
            // A broker drops records that are too old as soon as it looks.
            outgoing.record.at = RealClock.now();
            outgoing
        })
        .collect::<Vec<_>>();
    for result in log.publisher().unwrap().publish(batch).await.unwrap() {
        result.unwrap();
    }
}

/// A source says something about itself, on that partition.
async fn say_coverage(log: &Arc<dyn Log>, number: i32) {
    let mut record = coverage("live", CoverageState::Gap);
    record.at = RealClock.now();
    let said = Outgoing { topic: Topic::Mentions, partition: Some(number), record };
    for result in log.publisher().unwrap().publish(vec![said]).await.unwrap() {
        result.unwrap();
    }
}

/// Waits until `topic` holds `count` records, and returns them.
async fn at_least(log: &Arc<dyn Log>, topic: Topic, count: usize) -> Vec<Received> {
    let look = async {
        loop {
            let found = records(&**log, topic).await;
            if found.len() >= count {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look)
        .await
        .unwrap_or_else(|_| panic!("{topic} never held {count} records"))
}

fn posts(count: usize) -> Vec<MentionEvent> {
    (0..count).map(|n| created(&n.to_string(), &format!("post {n}: where is my refund?"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mention_gets_one_verdict_across_repeats_and_restarts() {
    one_verdict_each(in_memory(PARTITIONS).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mention_gets_one_verdict_on_kafka_too() {
    let Some(kafka) = testkit::kafka::shared().await else { return };
    let settings = KafkaSettings::new(kafka.brokers(), kafka.prefix());
    one_verdict_each(with_topics(Arc::new(KafkaLog::connect(settings).unwrap()), PARTITIONS).await).await;
}

async fn one_verdict_each(log: Arc<dyn Log>) {
    let posts = posts(600);
    let config = || Config { batch_records_max: 100, ..Config::default() };
    let mut merged = 0;
    for round in 1..=3 {
        let running = start(&log, config()).await;
        // The first part is new in the first round only, the second in each round a little more.
        publish(&log, &posts[..round * 200]).await;
        say_coverage(&log, round as i32 - 1).await;
        let done = async {
            while running.parts.account.hop(HOP).accepted < (round * 200 + 1) as u64 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let is_done = tokio::time::timeout(PATIENCE, done).await.is_ok();
        let health = running.parts.health.report();
        assert!(is_done, "round {round}: {:?} {health:?}", running.parts.account.snapshot());
        let account = running.stop().await;
        assert!(account.is_balanced(), "{:?}", account.snapshot());
        merged += account.hop(HOP).with(Outcome::Merged);
    }
    let mut seen = BTreeMap::<u128, usize>::new();
    let mut coverage = Vec::new();
    for record in records(&*log, Topic::Verdicts).await {
        match verdict_id(&record) {
            Some(id) => *seen.entry(id).or_default() += 1,
            None => coverage.push((record.position.partition.number, record.record.key)),
        }
    }
    assert_eq!(coverage, [0, 1, 2].map(|number| (number, "live".into())), "handed on where it came from");
    assert_eq!(seen.len(), 600);
    assert!(seen.values().all(|n| *n == 1), "each mention has exactly one verdict");
    assert_eq!(merged, 200 + 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_record_goes_to_the_dead_letters_and_the_rest_goes_on() {
    let log = in_memory(PARTITIONS).await;
    let mut batch: Vec<_> = posts(3).iter().map(|e| outgoing(0, e)).collect();
    batch[1].record = Record { value: Some("no protobuf".into()), ..batch[1].record.clone() };
    log.publisher().unwrap().publish(batch).await.unwrap();
    let running = start(&log, Config::default()).await;
    let verdicts = at_least(&log, Topic::Verdicts, 2).await;
    let letters = at_least(&log, Topic::DeadLetter, 1).await;
    assert_eq!((verdicts.len(), letters.len()), (2, 1));
    let account = running.stop().await;
    assert!(account.is_balanced());
    assert_eq!(account.hop(HOP).with(Outcome::DeadLettered), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn member_whose_place_was_taken_ends() {
    let log = in_memory(PARTITIONS).await;
    let first = start(&log, Config::default()).await;
    publish(&log, &posts(10)).await;
    at_least(&log, Topic::Verdicts, 10).await;
    let second = start(&log, Config::default()).await;
    tokio::time::timeout(PATIENCE, second.parts.health.ready()).await.unwrap();
    publish(&log, &posts(20)).await;
    let ended = tokio::time::timeout(PATIENCE, first.task).await.unwrap().unwrap();
    assert!(ended.is_err(), "the older member must stop");
    at_least(&log, Topic::Verdicts, 20).await;
    second.stop().await;
    assert_eq!(records(&*log, Topic::Verdicts).await.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_services_get_the_same_understanding_and_can_correct_it() {
    let log = in_memory(PARTITIONS).await;
    let running = start(&log, Config::default()).await;
    let link = Net::default().channel(&format!("http://{}", running.address)).unwrap();
    let mut client = ClassifyServiceClient::new(link);
    let ask = |id: &str, text: &str, source: &str| ClassifyRequest {
        id: id.into(),
        text: text.into(),
        source_kind: source.into(),
        why_max: 3,
        ..ClassifyRequest::default()
    };
    let angry = "you lost my bag, nobody answers, I will sue you";
    let answer = client.classify(ask("a", angry, "x-v2")).await.unwrap().into_inner();
    let verdict = answer.verdict.unwrap();
    assert_eq!(answer.id, "a");
    assert!(verdict.complaint > 0.5 && !verdict.why.is_empty(), "{verdict:?}");
    let refused = client.classify(ask("a", "x", "twitter")).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);

    let texts: Vec<_> = (0..100).map(|n| ask(&n.to_string(), &"long ".repeat(n * 10), "")).collect();
    let mut stream = client.classify_stream(futures::stream::iter(texts)).await.unwrap().into_inner();
    for n in 0..100 {
        assert_eq!(stream.message().await.unwrap().unwrap().id, n.to_string(), "answers come in order");
    }
    assert!(stream.message().await.unwrap().is_none());

    let feedback = Feedback {
        mention_id: contracts::id(created("1", "x").mention_id.as_bytes()),
        complaint: Some(false),
        by: "ann".into(),
        ..Feedback::default()
    };
    let correct = |f: Feedback| CorrectRequest { feedback: Some(f) };
    client.correct(correct(feedback.clone())).await.unwrap();
    assert_eq!(at_least(&log, Topic::Feedback, 1).await.len(), 1);
    for bad in [
        Feedback { by: String::new(), ..feedback.clone() },
        Feedback { complaint: None, ..feedback.clone() },
        Feedback { severity: Some(9), ..feedback.clone() },
        Feedback { mention_id: vec![1].into(), ..feedback },
    ] {
        assert_eq!(client.correct(correct(bad)).await.unwrap_err().code(), tonic::Code::InvalidArgument);
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_model_file_is_taken_up_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.rdm");
    let bytes = nlp::Model::shipped().to_bytes();
    std::fs::write(&path, &bytes).unwrap();
    let config = Config { model: Some(path.clone()), ..Config::default() };
    let engine = engine::Engine::new(&config).unwrap();
    let first = engine.version();
    let shutdown = Shutdown::immediate();
    let following = tokio::spawn({
        let (engine, path, shutdown) = (engine.clone(), path.clone(), shutdown.clone());
        async move { engine.follow(path, Duration::from_millis(5), shutdown).await }
    });
    std::fs::write(&path, b"broken").unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(engine.version(), first);
    let smaller = nlp::Model::from_parts(nlp::Model::from_bytes(&bytes).unwrap().to_parts().split_off(1));
    std::fs::write(&path, smaller.to_bytes()).unwrap();
    let changed = async {
        while engine.version() == first {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, changed).await.unwrap();
    shutdown.begin("test");
    shutdown.drive().await;
    following.await.unwrap();
    assert!(
        engine::Engine::new(&Config { model: Some(folder.path().join("none")), ..Config::default() })
            .is_err()
    );
}
