//! The containers end to end: `docker-compose.yml` as it is, the demo's story, and the violent end of every
//! container while it is told. Builds the images, so it is left out unless asked for:
//!
//! ```sh
//! cargo test -p redress-tests --test compose -- --ignored --nocapture
//! ```
//!
//! Where the ports 7700 to 7702 are taken, `REDRESS_CONSOLE_PORT`, `REDRESS_INGEST_PORT` and `REDRESS_HTTP_PORT` name
//! others. `REDRESS_TEST_BUILT=1` takes the images as they are, `REDRESS_TEST_KEEP=1` leaves everything running.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests may panic like tests"
)]

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;

/// A project of its own beside whatever else runs here.
const PROJECT: &str = "redress-test";
const CONTAINERS: [&str; 7] = ["kafka", "postgres", "ingest", "classify", "alert", "response", "console"];
/// How long the first start may take.
const UP_WITHIN_S: &str = "600";
/// Between two deaths: long enough for the one before to be noticed.
const APART: Duration = Duration::from_secs(4);
/// Everything counts as worked through when nothing has moved for this long.
const STILL: Duration = Duration::from_secs(12);
/// After this the test gives up: a bound, not a measurement.
const GIVE_UP: Duration = Duration::from_secs(900);

#[test]
#[ignore = "builds images and needs Docker; see CONTRIBUTING.md"]
fn the_story_is_told_whole_while_every_container_is_killed_once() {
    let seed = std::env::var("REDRESS_TEST_SEED").ok().and_then(|s| s.parse().ok());
    let seed = seed.unwrap_or_else(rand::random);
    println!("seed {seed} (REDRESS_TEST_SEED={seed} repeats the order of the deaths)");
    let stack = Stack::up();

    let all_died = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            kill_each_once(&mut StdRng::seed_from_u64(seed));
            all_died.store(true, Ordering::Release);
        });
        tell_the_story_until(&all_died);
    });
    compose(&["up", "-d", "--no-build", "--wait", "--wait-timeout", "300"]);
    settled();

    every_mention_has_one_verdict();
    cases_and_their_history_agree();
    let page = alerts_are_there();
    customers_were_answered();
    the_console_shows(&page);
    drop(stack);
}

/// The running project; gone, with its data, at the end.
struct Stack;

impl Stack {
    fn up() -> Self {
        let begun = Instant::now();
        if std::env::var_os("REDRESS_TEST_BUILT").is_none() {
            compose(&["build"]);
            println!("built after {} s", begun.elapsed().as_secs());
        }
        let begun = Instant::now();
        compose(&["up", "-d", "--no-build", "--wait", "--wait-timeout", UP_WITHIN_S]);
        println!("healthy after {} s", begun.elapsed().as_secs());
        Self
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if std::env::var_os("REDRESS_TEST_KEEP").is_none() {
            compose(&["--profile", "demo", "down", "-v", "--timeout", "10"]);
        }
    }
}

fn kill_each_once(rng: &mut StdRng) {
    let mut order = CONTAINERS;
    order.shuffle(rng);
    for name in order {
        std::thread::sleep(APART + Duration::from_millis(rng.random_range(0..3_000)));
        compose(&["kill", "-s", "KILL", name]);
        compose(&["up", "-d", "--no-build", "--no-deps", name]);
        println!("{name} was killed and started again");
    }
}

/// As a sender does who loses nothing: told again until it was confirmed whole, and at least once more after
/// the last death. What was confirmed before is recognised.
fn tell_the_story_until(all_died: &AtomicBool) {
    let begun = Instant::now();
    loop {
        let is_last = all_died.load(Ordering::Acquire);
        let told = run_compose(&["--profile", "demo", "run", "--rm", "-T", "--no-deps", "demo"]);
        let said = String::from_utf8_lossy(&told.stderr);
        println!("the story: {}", said.lines().last().unwrap_or("nothing was said"));
        if is_last && told.status.success() {
            return;
        }
        assert!(begun.elapsed() < GIVE_UP, "the story could not be told: {said}");
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Waits until the tables do not move any more.
fn settled() {
    let begun = Instant::now();
    let mut before = String::new();
    loop {
        let now = sql(
            "SELECT (SELECT SUM(next_offset) FROM response_offsets), (SELECT SUM(next_offset) FROM alert_offsets), \
             (SELECT value FROM response_counters), (SELECT next_id FROM response_told), \
             (SELECT COUNT(*) FROM alert_outbox WHERE state = 'pending')",
        );
        if now == before {
            println!("settled at {now}");
            return;
        }
        assert!(begun.elapsed() < GIVE_UP, "still not worked through: {now}");
        before = now;
        std::thread::sleep(STILL);
    }
}

fn every_mention_has_one_verdict() {
    let published = records("redress.mentions.v1", "redress.ingest.v1.MentionEvent");
    let verdicts = records("redress.verdicts.v1", "redress.classify.v1.VerdictEvent");
    let (accepted, stored) = (distinct(&published), distinct(&verdicts));
    println!(
        "accepted {} = stored {} ({} repeats were merged)",
        accepted.len(),
        verdicts.len(),
        published.len() - accepted.len()
    );
    assert!(accepted.len() > 20_000, "the story has tens of thousands of posts");
    assert_eq!(stored.len(), verdicts.len(), "no verdict twice");
    assert_eq!(accepted.len(), verdicts.len(), "a verdict for each mention");
    assert_eq!(records("redress.deadletter.v1", "").len(), 0, "nothing was refused");
}

fn cases_and_their_history_agree() {
    let bad =
        sql("SELECT COUNT(*) FROM (SELECT h.case_id FROM response_history h LEFT JOIN response_cases c \
         ON c.case_id = h.case_id GROUP BY h.case_id, c.version HAVING MIN(h.sequence) <> 1 \
         OR MAX(h.sequence) <> COUNT(*) OR c.version IS DISTINCT FROM MAX(h.sequence)) x");
    assert_eq!(bad, "0", "cases whose history has a gap, a repeat, or another end");
    // Clocks go on running out while we look.
    let changes = || -> usize { sql("SELECT COUNT(*) FROM response_history").parse().unwrap() };
    let before = changes();
    let told = records("redress.cases.v1", "redress.response.v1.CaseEvent");
    let after = changes();
    println!("{before} to {after} changes of cases, {} on the topic", told.len());
    assert!((before..=after).contains(&distinct(&told).len()), "the topic tells every change");
}

/// The title and id of the page about the thread of the story.
fn alerts_are_there() -> (String, String) {
    let list = redress(&["alerts", "list", "--all", "--format", "json", "--to", "http://alert:7704"]);
    let episodes: Value = serde_json::from_str(&list).unwrap();
    let episodes = episodes.as_array().unwrap();
    println!("{} episodes", episodes.len());
    let thread = episodes.iter().find(|e| e["trigger"] == "spreading_thread" && e["brand"] == "borealis-air");
    let thread = thread.unwrap_or_else(|| panic!("no page about the thread of the story in {list}"));
    let text = |field: &str| thread[field].as_str().unwrap_or_default().to_owned();
    println!("the page of the story: {}", text("title"));
    (text("title"), text("episode_id"))
}

fn customers_were_answered() {
    let report = redress(&["report", "--format", "json", "--to", "http://response:7705"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    let report = report.get(0).unwrap_or(&report);
    let count = |field: &str| report[field].as_u64().unwrap_or(0);
    let (opened, answered) = (count("opened"), count("answered"));
    let waiting: u64 = sql("SELECT COUNT(*) FROM response_early_answers").parse().unwrap();
    println!(
        "{opened} cases, {answered} answered, {} breaches; {waiting} answers to what opened no case",
        count("breaches")
    );
    assert!(opened > 1_000, "complaints open cases");
    assert!(answered > 2 * waiting, "what the brands' own accounts answer finds its case");
}

fn the_console_shows((title, id): &(String, String)) {
    let now = get("/");
    assert!(now.starts_with("HTTP/1.1 200"), "{}", now.lines().next().unwrap_or_default());
    let page = get(&format!("/alerts/{id}"));
    assert!(page.starts_with("HTTP/1.1 200"), "{}", page.lines().next().unwrap_or_default());
    let words = title.split_whitespace().next().unwrap_or_default();
    assert!(page.contains(words), "its page tells what it is about");
}

/// The ids of all committed records of a topic.
fn records(topic: &str, ce_type: &str) -> Vec<String> {
    let script = "/opt/kafka/bin/kafka-console-consumer.sh";
    let out = compose(&[
        // Beside the broker, within the container's memory.
        "exec",
        "-T",
        "-e",
        "KAFKA_HEAP_OPTS=-Xmx160m",
        "kafka",
        script,
        "--bootstrap-server",
        "localhost:9092",
        "--topic",
        topic,
        "--from-beginning",
        "--isolation-level",
        "read_committed",
        "--timeout-ms",
        "10000",
        "--property",
        "print.headers=true",
        "--property",
        "print.value=false",
    ]);
    let header = |line: &str, name: &str| {
        let headers = line.split(',').map(|pair| pair.trim());
        headers.filter_map(|pair| pair.strip_prefix(name)?.strip_prefix(':')).next().map(str::to_owned)
    };
    let wanted =
        |line: &&str| ce_type.is_empty() || header(line, "ce_type").is_some_and(|t| t.trim() == ce_type);
    out.lines().filter(wanted).filter_map(|line| header(line, "ce_id")).collect()
}

fn distinct(ids: &[String]) -> BTreeSet<&str> {
    ids.iter().map(String::as_str).collect()
}

fn sql(query: &str) -> String {
    let out = compose(&["exec", "-T", "postgres", "psql", "-U", "redress", "-d", "redress", "-Atc", query]);
    out.trim().to_owned()
}

/// What the command says that people type, inside the project's network.
fn redress(args: &[&str]) -> String {
    compose(&[&["--profile", "demo", "run", "--rm", "-T", "--no-deps", "demo"], args].concat())
}

fn get(path: &str) -> String {
    let port = std::env::var("REDRESS_CONSOLE_PORT").map_or(7700, |port| port.parse().unwrap());
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost:7700\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// What `docker compose` says; it must succeed.
fn compose(args: &[&str]) -> String {
    let output = run_compose(args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker compose {}: {said}", args.join(" "));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn run_compose(args: &[&str]) -> Output {
    Command::new("docker")
        .args(["compose", "--project-name", PROJECT])
        .args(args)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("docker compose is needed")
}
