//! How fast the logs are, on this machine and now: `cargo run --release -p bus --example throughput`.
//!
//! Prints records per second of the embedded log (append, read, transactional copy), and on Kafka, where
//! one can be started, of a bare transactional copy and of the same copy through `Step`. Only ratios of
//! one run mean anything.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bus::{
    BatchToken, EmbeddedLog, EmbeddedSettings, Headers, KafkaLog, KafkaSettings, Log, Outgoing, Partition,
    Record, StepSettings, Topic, TopicPlan,
};
use bytes::Bytes;
use model::Timestamp;

const PARTITIONS: i32 = 6;
/// Of one publish.
const BATCH: u64 = 5_000;
/// A step commits after so many records or so long.
const COMMIT_RECORDS: usize = 20_000;
const COMMIT_EVERY: Duration = Duration::from_millis(100);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let records: u64 = std::env::args().nth(1).map_or(Ok(600_000), |n| n.parse())?;
    let folder = tempfile::tempdir()?;
    let log = EmbeddedLog::open(&folder.path().join("log.db"), EmbeddedSettings::default())?;
    println!("embedded append      {:>9.0} records/s", fill(&log, records).await?);
    println!("embedded read        {:>9.0} records/s", read(&log, records).await?);
    println!("embedded step copy   {:>9.0} records/s", copy(&log, records).await?);
    println!("resident memory      {:>9} KiB", resident_kib());

    let Some(broker) = testkit::kafka::shared().await else { return Ok(()) };
    let settings = KafkaSettings::new(broker.brokers(), broker.prefix());
    let log = KafkaLog::connect(settings.clone())?;
    println!("kafka publish        {:>9.0} records/s", fill(&log, records).await?);
    for round in 0..3 {
        let (settings, group) = (settings.clone(), format!("bare-{round}"));
        let topics = (Topic::Mentions, Topic::Raw);
        let bare = tokio::task::spawn_blocking(move || {
            bus::bench::bare_copy(&settings, &group, topics, records, COMMIT_EVERY)
        })
        .await??;
        let step = copy_as(&log, &format!("step-{round}"), records).await?;
        println!(
            "kafka bare copy      {:>9.0} records/s, {} commits, median {:.1?}",
            bare.records_per_second(),
            bare.commits.len(),
            bare.commit_median()
        );
        println!("kafka step copy      {step:>9.0} records/s, ratio {:.2}", step / bare.records_per_second());
    }
    Ok(())
}

/// A post of 300 bytes, and the headers of an event.
fn post(number: u64) -> Outgoing {
    let key = Bytes::from(number.to_be_bytes().to_vec());
    let mut text = format!("post {number}: ").into_bytes();
    let mut state = number;
    while text.len() < 300 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push(b'a' + (state >> 60) as u8);
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let at = Timestamp::from_millis(now.as_millis() as i64);
    let mut headers = Headers::new();
    headers.push("ce_type", "redress.ingest.v1.MentionEvent");
    headers.push("ce_id", key.clone());
    let record = Record { key, value: Some(Bytes::from(text)), headers, at };
    Outgoing { topic: Topic::Mentions, partition: None, record }
}

async fn fill(log: &dyn Log, records: u64) -> Result<f64, bus::BusError> {
    let planned = |topic| TopicPlan { retention_ms: 86_400_000, ..TopicPlan::of(topic, PARTITIONS) };
    log.topics(&[Topic::Mentions, Topic::Verdicts, Topic::Raw].map(planned), true).await?;
    let publisher = log.publisher()?;
    let mut took = Duration::ZERO;
    let mut sent = 0;
    while sent < records {
        let batches: Vec<Vec<Outgoing>> =
            (0..4).map(|n| (sent + n * BATCH..sent + (n + 1) * BATCH).map(post).collect()).collect();
        sent += 4 * BATCH;
        let began = Instant::now();
        let mut running = Vec::new();
        for batch in batches {
            let publisher = publisher.clone();
            running.push(tokio::spawn(async move { publisher.publish(batch).await }));
        }
        for batch in running {
            batch.await.map_err(|e| bus::BusError::Failed {
                doing: "publishing".to_owned(),
                cause: e.to_string(),
            })??;
        }
        took += began.elapsed();
    }
    Ok(sent as f64 / took.as_secs_f64())
}

async fn read(log: &dyn Log, records: u64) -> Result<f64, bus::BusError> {
    let reader = log.reader()?;
    let began = Instant::now();
    let mut seen = 0;
    for number in 0..PARTITIONS {
        let partition = Partition { topic: Topic::Mentions, number };
        let end = reader.end(partition).await?;
        let mut next = 0;
        while next < end {
            let part = reader.scan(partition, next, end, 10_000).await?;
            seen += part.records.len() as u64;
            next = part.next;
        }
    }
    assert!(seen >= records, "{seen} of {records} were read");
    Ok(seen as f64 / began.elapsed().as_secs_f64())
}

async fn copy(log: &dyn Log, records: u64) -> Result<f64, Box<dyn std::error::Error>> {
    copy_as(log, "copy", records).await
}

/// Copies through `Step`, gathering the next batch while one is committed.
async fn copy_as(log: &dyn Log, group: &str, records: u64) -> Result<f64, Box<dyn std::error::Error>> {
    let step = log
        .step(StepSettings {
            group: group.to_owned(),
            member: group.to_owned(),
            topics: vec![Topic::Mentions],
            transaction_timeout: Duration::from_secs(30),
        })
        .await?;
    let (mut copied, mut began) = (0, None);
    let mut committing: Option<tokio::task::JoinHandle<Result<(), bus::CommitError>>> = None;
    while copied < records {
        let mut outputs = Vec::new();
        let mut token = BatchToken { epoch: 0, next: BTreeMap::new() };
        let mut deadline = None;
        while outputs.len() < COMMIT_RECORDS
            && copied + (outputs.len() as u64) < records
            && deadline.is_none_or(|deadline| Instant::now() < deadline)
        {
            let polled = step.poll(COMMIT_RECORDS - outputs.len(), Duration::from_millis(20)).await?;
            if polled.records.is_empty() {
                continue;
            }
            let now = Instant::now();
            began.get_or_insert(now);
            deadline.get_or_insert(now + COMMIT_EVERY);
            token.epoch = polled.token.epoch;
            token.next.extend(polled.token.next);
            outputs.extend(polled.records.into_iter().map(|received| Outgoing {
                topic: Topic::Verdicts,
                partition: Some(received.position.partition.number),
                record: received.record,
            }));
        }
        copied += outputs.len() as u64;
        if let Some(before) = committing.take() {
            before.await??;
        }
        let step = step.clone();
        committing = Some(tokio::spawn(async move { step.commit(token, outputs).await }));
    }
    if let Some(last) = committing {
        last.await??;
    }
    let took = began.map_or(Duration::ZERO, |began| began.elapsed());
    step.close().await?;
    Ok(copied as f64 / took.as_secs_f64())
}

/// Of this process, as the kernel tells; 0 where it does not.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}
