//! A small log made by the real ingest and classify, and rules tried on it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bus::{Log as _, Outgoing, Record, TopicPlan};
use bytes::Bytes;
use clap::Parser;
use contracts::alert::v1::{Episode, EpisodeEvent};
use contracts::classify::v1::Feedback;
use contracts::envelope;
use model::{SourceKind, Transport};
use runtime::brands::Brand;
use runtime::process::Parts;
use runtime::{Clock, EventClock};
use serde_json::Value;

use super::*;

/// Monday morning.
const START_S: i64 = 1_772_431_200;
/// The longest a test waits for something that must come.
const PATIENCE: Duration = Duration::from_secs(120);

const LOOSE: &str = "
[[brands]]
id = 'acme'
words = ['acme']
[alert.severe]
level = 1
probability = 0.2
complaint = 0.3
[response.cases]
complaint_from = 0.4
";
const STRICT: &str = "
[[brands]]
id = 'acme'
words = ['acme']
[alert.severe]
level = 4
probability = 1.0
complaint = 1.0
harm = { topics = [] }
[response.cases]
complaint_from = 0.4
[[response.service.targets]]
severity = 0
first_answer = { customer_minutes = 600 }
next_answer = {}
resolution = {}
";

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: BacktestArgs,
}

/// A folder with a log of posts.
struct World {
    dir: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap() };
        let log = world.log();
        log.topics(&Topic::ALL.map(|topic| TopicPlan::of(topic, 3)), true).await.unwrap();
        hear(log).await;
        world
    }

    fn log(&self) -> Arc<EmbeddedLog> {
        let path = self.dir.path().join("log.db");
        Arc::new(EmbeddedLog::open(&path, bus::EmbeddedSettings::default()).unwrap())
    }

    fn rules(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// What `redress backtest` writes, and how many records it could not read.
    async fn tried(&self, rules: &Path, options: &[&str]) -> (String, u64) {
        let dir = self.dir.path().to_str().unwrap();
        let words = ["backtest", "--data", dir, "--rules", rules.to_str().unwrap()];
        let args = Line::try_parse_from(words.iter().chain(options)).unwrap().args;
        let mut written = Vec::new();
        let refused = try_rules(&args, &mut written, ProgressBar::hidden()).await.unwrap();
        (String::from_utf8(written).unwrap(), refused)
    }

    async fn lines(&self, rules: &Path, options: &[&str]) -> Vec<Value> {
        let (text, _) = self.tried(rules, &[options, &["--format", "jsonl"]].concat()).await;
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    async fn summary(&self, rules: &Path, options: &[&str]) -> Value {
        self.lines(rules, options).await.pop().unwrap()
    }

    async fn publish<M: prost::Message + prost::Name>(&self, topic: Topic, key: Bytes, message: &M) {
        let at = Timestamp::from_seconds(START_S);
        let sealed = envelope::seal("test", "redress/test", at, message);
        let headers = sealed.headers.into_iter().collect();
        let record = Record { key, value: Some(sealed.value), headers, at };
        let outgoing = Outgoing { topic, partition: None, record };
        let publisher = self.log().publisher().unwrap();
        publisher.publish(vec![outgoing]).await.unwrap().remove(0).unwrap();
    }
}

/// Six posts an hour for a day; every hour one of them accuses.
fn posts() -> Vec<(Timestamp, String)> {
    let text = |n: i64| match n % 6 {
        3 => "Acme your charger burned my son and you refuse to answer. Unacceptable, I will sue you",
        1 => "the acme app is really nice today",
        _ => "waiting for my acme parcel, any news?",
    };
    let post = |n: i64| {
        let at = Timestamp::from_seconds(START_S + n * 600);
        let body = serde_json::json!({
            "id": n.to_string(), "text": format!("{} #{n}", text(n)), "created_at": at.to_string(), "author": format!("u{n}"),
        });
        (at, body.to_string())
    };
    (0..144).map(post).collect()
}

/// Lets ingest and classify work through the posts, on the posts' own time.
async fn hear(log: Arc<EmbeddedLog>) {
    let clock = Arc::new(EventClock::starting_at(Timestamp::from_seconds(START_S)));
    let parts = Parts::alone(clock.clone());
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = classify::Config { listen: local, workers: 1, ..classify::Config::default() };
    let deps = classify::Deps { log: log.clone(), parts: parts.clone() };
    let classifying = tokio::spawn(classify::run(config, deps));
    let brands = [Brand { id: "acme".into(), words: vec!["acme".into()], ..Brand::default() }];
    let config = ingest::Config { listen: local, ..ingest::Config::default() };
    let account = parts.account.clone();
    let intake = ingest::Intake::open(&config, "test", &brands, &*log, clock.clone(), account).await.unwrap();
    let mut bodies = Vec::new();
    for (at, body) in posts() {
        clock.advance(at);
        bodies.push(ingest::Body {
            kind: SourceKind::Ndjson,
            instance: String::new(),
            transport: Transport::Backfill,
            received_at: at,
            csv_map: None,
            bytes: body.into(),
        });
    }
    assert!(clock.now() > Timestamp::from_seconds(START_S));
    intake.take("", bodies).await.unwrap();
    let all = async {
        while parts.account.hop(classify::HOP).total() < posts().len() as u64 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("everything is understood");
    parts.shutdown.begin("test");
    assert!(parts.shutdown.drive().await);
    classifying.await.unwrap().unwrap();
}

fn count(summary: &Value, pointer: &str) -> u64 {
    summary.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("{pointer} in {summary}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stricter_rules_make_less_and_the_difference_is_told() {
    let world = World::new().await;
    let (loose, strict) = (world.rules("loose.toml", LOOSE), world.rules("strict.toml", STRICT));
    let (more, less) = (world.summary(&loose, &[]).await, world.summary(&strict, &[]).await);
    assert_eq!(count(&more, "/records"), 144, "{more}");
    assert!(count(&more, "/summary/pages") > 0, "{more}");
    assert_eq!(count(&less, "/summary/pages"), 0, "{less}");
    assert_eq!(count(&more, "/summary/cases"), count(&less, "/summary/cases"));
    assert!(count(&more, "/summary/cases") > 10, "{more}");
    assert!(count(&more, "/summary/breaches") > count(&less, "/summary/breaches"), "{more} {less}");

    let against = loose.to_str().unwrap();
    let lines = world.lines(&strict, &["--against", against]).await;
    let (end, entries) = lines.split_last().unwrap();
    assert_eq!(count(end, "/compared/pages/new"), 0);
    assert_eq!(count(end, "/compared/pages/gone"), count(&more, "/summary/pages"));
    assert_eq!(count(end, "/compared/cases/both"), count(&more, "/summary/cases"));
    assert_eq!(end["compared"]["against"], more["summary"]);
    let gone = entries.iter().filter(|e| e["kind"] == "page" && e["under"] == "against");
    assert_eq!(gone.count() as u64, count(&more, "/summary/pages"));
    let same = world.summary(&loose, &["--against", against]).await;
    assert_eq!((count(&same, "/compared/pages/new"), count(&same, "/compared/breaches/gone")), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_log_and_rules_give_the_same_bytes_and_the_log_stays_as_it_was() {
    let world = World::new().await;
    let rules = world.rules("loose.toml", LOOSE);
    let bytes = || std::fs::read(world.dir.path().join("log.db")).unwrap();
    let before = bytes();
    for format in ["table", "json", "jsonl"] {
        let options = ["--format", format];
        let first = world.tried(&rules, &options).await;
        assert!(!first.0.is_empty());
        assert_eq!(first, world.tried(&rules, &options).await);
    }
    assert!(bytes() == before, "the log was changed");
    let (json, _) = world.tried(&rules, &["--format", "json"]).await;
    let whole: Value = serde_json::from_str(&json).unwrap();
    let lines = world.lines(&rules, &[]).await;
    assert_eq!(whole["entries"].as_array().unwrap()[..], lines[..lines.len() - 1]);
    assert_eq!(whole["summary"], lines[lines.len() - 1]["summary"]);
    let (json, _) = world.tried(&rules, &["--format", "json", "--show", "none"]).await;
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["entries"], Value::Array(Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_told_and_the_log_may_be_in_use() {
    let world = World::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hook = format!(
        "{LOOSE}\n[alert.destinations.hook]\nkind = 'webhook'\nurl = 'http://{}/hook'\nallow_private = true\n",
        listener.local_addr().unwrap()
    );
    let rules = world.rules("hook.toml", &hook);
    let open = world.log();
    let lines = world.lines(&rules, &["--show", "pages"]).await;
    assert_eq!(lines[0]["to"][0], "hook");
    let called = tokio::time::timeout(Duration::from_millis(200), listener.accept()).await;
    assert!(called.is_err(), "somebody was called");
    for topic in [Topic::Tallies, Topic::Alerts, Topic::Cases, Topic::DeadLetter] {
        for number in 0..3 {
            let marks = open.reader().unwrap().watermarks(bus::Partition { topic, number }).await.unwrap();
            assert_eq!(marks.high, 0, "{topic} {number}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_time_asked_about_counts() {
    let world = World::new().await;
    let rules = world.rules("loose.toml", LOOSE);
    let noon = Timestamp::from_seconds(START_S + 12 * 3_600).to_string();
    let all = world.summary(&rules, &[]).await;
    let before = world.summary(&rules, &["--to", &noon]).await;
    let after = world.summary(&rules, &["--from", &noon]).await;
    assert!(count(&before, "/summary/cases") > 0 && count(&after, "/summary/cases") > 0);
    assert_eq!(
        count(&before, "/summary/cases") + count(&after, "/summary/cases"),
        count(&all, "/summary/cases")
    );
    assert_eq!(
        count(&before, "/summary/breaches") + count(&after, "/summary/breaches"),
        count(&all, "/summary/breaches")
    );
    assert_eq!(count(&after, "/records"), 144, "what is before is learned from");
    let forgotten = world.summary(&rules, &["--from", &noon, "--learn-from", &noon]).await;
    assert_eq!(count(&forgotten, "/records"), 72);
    let never = world.summary(&rules, &["--from", "2030-01-01"]).await;
    assert_eq!(count(&never, "/summary/pages") + count(&never, "/summary/cases"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_are_measured_by_what_people_said_of_the_real_ones() {
    let world = World::new().await;
    let rules = world.rules("loose.toml", LOOSE);
    let page = world.lines(&rules, &["--show", "pages"]).await.remove(0);
    let at = Timestamp::parse_rfc3339(page["at"].as_str().unwrap()).unwrap();
    let judged = [(1u8, page["subject"].as_str().unwrap(), true), (2, "topic/acme/elsewhere", true)];
    for (id, subject, useful) in judged {
        let id = Bytes::from(vec![id; 16]);
        let episode = Episode {
            episode_id: id.clone(),
            rule: page["rule"].as_str().unwrap().to_owned(),
            subject: subject.to_owned(),
            title: "a page that was".to_owned(),
            opened_at_us: at.as_micros(),
            resolved_at_us: Some(at.plus_millis(60_000).as_micros()),
            ..Episode::default()
        };
        let event = EpisodeEvent { sequence: 1, episode: Some(episode), ..EpisodeEvent::default() };
        world.publish(Topic::Alerts, id.clone(), &event).await;
        // The last word counts.
        for (at_us, useful) in [(1, !useful), (2, useful)] {
            let feedback = Feedback {
                mention_id: id.clone(),
                episode_id: id.clone(),
                useful: Some(useful),
                by: "dana".into(),
                at_us,
                ..Feedback::default()
            };
            world.publish(Topic::Feedback, id.clone(), &feedback).await;
        }
    }
    let lines = world.lines(&rules, &["--show", "pages"]).await;
    assert_eq!(lines[0]["useful"], true);
    let summary = lines.last().unwrap();
    let judged = &summary["summary"]["judged"];
    assert_eq!(
        (&judged["useful"], &judged["not_useful"], &judged["precision"]),
        (&1.into(), &0.into(), &1.0.into())
    );
    assert_eq!(
        (&judged["missed_useful"], &judged["missed"][0]["title"]),
        (&1.into(), &"a page that was".into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_counted_and_the_rest_goes_on() {
    let world = World::new().await;
    let whole = world.rules("loose.toml", LOOSE);
    let before = world.summary(&whole, &[]).await;
    world.publish(Topic::Verdicts, Bytes::from_static(b"odd"), &Feedback::default()).await;
    let (text, refused) = world.tried(&whole, &["--format", "jsonl", "--show", "none"]).await;
    let after: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((refused, count(&after, "/refused"), count(&after, "/records")), (1, 1, 145));
    assert_eq!(after["summary"], before["summary"]);
}

/// On a real broker, where there is one.
#[test]
fn kafka_tells_the_same_as_the_embedded_log() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let Some(kafka) = testkit::kafka::shared().await else { return };
        let world = World::new().await;
        let rules = world.rules("loose.toml", LOOSE);
        let embedded = world.summary(&rules, &[]).await;
        let settings = LogConfig {
            kafka: Some(kafka.brokers().to_owned()),
            prefix: kafka.prefix(),
            partitions: 3,
            ..LogConfig::default()
        };
        let log = settings.open("redress-test").unwrap();
        // Brokers let go by their own clock of what the posts say is long past.
        let kept = |plan: TopicPlan| TopicPlan { retention_ms: -1, ..plan };
        let plan: Vec<TopicPlan> = settings.plan().into_iter().map(kept).collect();
        log.topics(&plan, true).await.unwrap();
        let reader = world.log().reader().unwrap();
        for number in 0..3 {
            let partition = bus::Partition { topic: Topic::Verdicts, number };
            let to = reader.end(partition).await.unwrap();
            let records = reader.scan(partition, 0, to, 1_000).await.unwrap().records;
            let outgoing = records.into_iter().map(|received| Outgoing {
                topic: Topic::Verdicts,
                partition: Some(number),
                record: received.record,
            });
            for written in log.publisher().unwrap().publish(outgoing.collect()).await.unwrap() {
                written.unwrap();
            }
        }
        let file = format!("[bus]\nkafka = '{}'\nprefix = '{}'\n", kafka.brokers(), settings.prefix);
        let config = world.rules("kafka.toml", &file);
        let (rules, config) = (rules.to_str().unwrap(), config.to_str().unwrap());
        let words = ["backtest", "--format", "jsonl", "--show", "none", "--rules", rules, "--config", config];
        let args = Line::try_parse_from(words).unwrap().args;
        let mut written = Vec::new();
        try_rules(&args, &mut written, ProgressBar::hidden()).await.unwrap();
        let told: Value = serde_json::from_slice(&written).unwrap();
        assert_eq!((&told["summary"], &told["records"]), (&embedded["summary"], &embedded["records"]));
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_and_times_that_make_no_sense_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(&dir.path().join("log.db"), bus::EmbeddedSettings::default()).unwrap();
    log.topics(&[TopicPlan::of(Topic::Verdicts, 1)], true).await.unwrap();
    let world = World { dir };
    for (rules, options, expected) in [
        (
            "[alert.severe]\nlevl = 4\n",
            vec![],
            "rules.toml:2: unknown setting 'alert.severe.levl', did you mean 'level'?",
        ),
        ("[alert.severe]\nprobability = 7.0\n", vec![], "alert.severe.probability: needs 0 to 1"),
        ("", vec!["--from", "2026-01-02", "--to", "2026-01-01"], "--from has to be before --to"),
    ] {
        let path = world.rules("rules.toml", rules);
        let dir = world.dir.path().to_str().unwrap();
        let words = ["backtest", "--data", dir, "--rules", path.to_str().unwrap()];
        let args = Line::try_parse_from(words.iter().chain(&options)).unwrap().args;
        let error = try_rules(&args, Vec::new(), ProgressBar::hidden()).await.unwrap_err();
        assert!(format!("{error:#}").contains(expected), "{error:#}");
    }
    let nothing = world.summary(&world.rules("rules.toml", ""), &[]).await;
    assert_eq!(count(&nothing, "/records"), 0);
    for wrong in [vec!["--rules", "x"], vec!["--rules", "x", "--data", "y", "--from", "yesterday"]] {
        let error = Line::try_parse_from(["backtest"].iter().chain(&wrong)).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }
}
