//! `redress bench pipeline`.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bus::bench::{Watched, bare_copy, copy_step};
use bus::{Log, Partition, StepSettings, Topic};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::super::wire::{self, Form};
use super::latency::{self, Paced, Subject};
use super::load::{Load, LoadArgs};
use super::measure::{self, Quantiles, Stopwatch, median, thousands};
use super::page;
use super::rig::{Rig, Services};

/// Records published at once while a log is filled, and such batches on their way.
const FILL_BATCH: usize = 1_000;
const FILLS_UNDER_WAY: usize = 4;
/// Without a verdict for so long something is broken.
const SILENCE_MAX: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(5);
/// Where copies go: the topic that classify does not touch.
const COPIES: Topic = Topic::Tallies;

/// How far the load goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Goal {
    /// Through classify, to the verdicts topic.
    Verdict,
    /// Through ingest, classify and alert, to a webhook on this machine.
    Page,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  redress bench pipeline                                          # the embedded log, as fast as it goes
  redress bench pipeline --brokers localhost:9092 --rounds 5      # on Kafka, beside a bare copy
  redress bench pipeline --brokers localhost:9092 --rate 5000     # latency at 5,000 posts a second
  redress bench pipeline --to page --rate 2000                    # from publishing to a webhook's page
  redress bench pipeline --file tweets.jsonl --as x-v2 --format json

Topics are made for the run under a name of their own and removed after it. Nothing else should run on the machine.")]
pub(crate) struct PipelineArgs {
    /// Kafka's addresses; without them the embedded log in a temporary folder is measured
    #[arg(long, value_name = "HOST:PORT,...")]
    brokers: Option<String>,
    /// How far the load goes
    #[arg(long, value_enum, default_value_t = Goal::Verdict)]
    to: Goal,
    /// Records in each round
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    records: u64,
    /// Rounds, each through the copy and through the service, in turn
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Posts a second instead of as fast as it goes, and how long each takes then
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// Seconds of a paced run; the first two are not counted
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(3..=3_600))]
    seconds: u32,
    /// Partitions of every topic
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..=1_000))]
    partitions: i32,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    form: Form,
}

/// Runs `redress bench pipeline`.
///
/// # Errors
/// When something cannot be started, or what came out is not what went in.
pub(crate) async fn run(args: PipelineArgs) -> anyhow::Result<ExitCode> {
    runtime::allocator::suit_a_service();
    // The model is read once, before any clock runs.
    let _ = tokio::task::spawn_blocking(nlp::Model::shipped).await;
    match (args.to, args.rate) {
        (Goal::Page, rate) => {
            ensure!(args.load.is_talk(), "--to page makes its own load; leave --file out");
            let rate = rate.unwrap_or(2_000);
            let rig = Rig::open(args.brokers.as_deref(), args.partitions).await?;
            page::run(rig, rate, args.seconds, args.form).await?;
        }
        (Goal::Verdict, Some(rate)) => paced(&args, rate).await?,
        (Goal::Verdict, None) => unpaced(&args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// One subject's figures of one round.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Figures {
    records: u64,
    records_per_second: f64,
    /// Of this process: clients' threads included, brokers not.
    cpu_us_per_record: f64,
    commit_ms: f64,
}

#[derive(Debug, Serialize)]
struct Throughput {
    log: &'static str,
    partitions: i32,
    commit_every_ms: u64,
    rounds: Vec<Round>,
    ratio: f64,
}

#[derive(Debug, Serialize)]
struct Round {
    copy: Figures,
    classify: Figures,
    ratio: f64,
}

async fn unpaced(args: &PipelineArgs) -> anyhow::Result<()> {
    let config = classify_config();
    let commit_every = Duration::from_millis(config.commit_every_lagging_ms);
    let progress = wire::progress(u64::from(args.rounds) * 3);
    let mut rounds = Vec::new();
    let mut log = "";
    for number in 0..args.rounds {
        let rig = Rig::open(args.brokers.as_deref(), args.partitions).await?;
        log = rig.name();
        let load = Load::open(&args.load)?;
        let records = fill(&rig, load, args.records).await?;
        progress.inc(1);
        // Whoever comes first finds colder caches: they take turns.
        let (copy, classify) = if number % 2 == 0 {
            let copy = copy(&rig, records, commit_every).await?;
            progress.inc(1);
            (copy, classify_all(&rig, &config, records).await?)
        } else {
            let classify = classify_all(&rig, &config, records).await?;
            progress.inc(1);
            (copy(&rig, records, commit_every).await?, classify)
        };
        progress.inc(1);
        exactly_once(&rig, records).await?;
        rig.close().await?;
        let ratio = classify.records_per_second / copy.records_per_second.max(f64::EPSILON);
        rounds.push(Round { copy, classify, ratio });
    }
    progress.finish_and_clear();
    let ratio = median(rounds.iter().map(|r| r.ratio).collect());
    let commit_every_ms = config.commit_every_lagging_ms;
    let report = Throughput { log, partitions: args.partitions, commit_every_ms, rounds, ratio };
    write_throughput(args, &report)
}

fn write_throughput(args: &PipelineArgs, report: &Throughput) -> anyhow::Result<()> {
    let row = |name: &str, of: &dyn Fn(&Round) -> Figures| {
        let each =
            |pick: &dyn Fn(Figures) -> f64| report.rounds.iter().map(|r| pick(of(r))).collect::<Vec<_>>();
        let rates = each(&|f| f.records_per_second);
        let (low, high) = rates.iter().fold((f64::MAX, 0.0_f64), |(l, h), r| (l.min(*r), h.max(*r)));
        vec![
            name.to_owned(),
            thousands(median(rates)),
            format!("{}..{}", thousands(low), thousands(high)),
            format!("{:.1}", median(each(&|f| f.cpu_us_per_record))),
            format!("{:.1}", median(each(&|f| f.commit_ms))),
        ]
    };
    let ratios: Vec<String> = report.rounds.iter().map(|r| format!("{:.2}", r.ratio)).collect();
    let remarks = [
        format!("ratio {:.2} (median of {})", report.ratio, ratios.join(", ")),
        format!(
            "on {}, {} records a round, {} partitions, a commit every {} ms; every record has exactly one verdict",
            report.log,
            thousands(args.records as f64),
            report.partitions,
            report.commit_every_ms
        ),
    ];
    let rows = [row("bare copy", &|r| r.copy), row("classify", &|r| r.classify)];
    let headings = ["", "records/s", "from..to", "cpu us/record", "commit ms"];
    measure::write(args.form, report, &headings, &rows, &remarks)
}

pub(super) fn classify_config() -> classify::Config {
    classify::Config { listen: ([127, 0, 0, 1], 0).into(), ..classify::Config::default() }
}

/// Puts `records` of the load on the mentions topic; how many there were.
async fn fill(rig: &Rig, load: Load, records: u64) -> anyhow::Result<u64> {
    use futures::TryStreamExt as _;
    let publisher = rig.log.publisher()?;
    let batches = futures::stream::try_unfold((load, records), |(mut load, left)| async move {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(FILL_BATCH);
        let (load, batch) =
            tokio::task::spawn_blocking(move || load.take(count).map(|batch| (load, batch))).await??;
        if batch.is_empty() {
            return anyhow::Ok(None);
        }
        let left = left - batch.len() as u64;
        Ok(Some((batch, (load, left))))
    });
    let confirmed = batches
        .map_ok(|batch| {
            let publisher = publisher.clone();
            async move {
                let published = publisher.publish(batch).await?;
                let refused = published.iter().find_map(|result| result.as_ref().err());
                refused.map_or(Ok(published.len() as u64), |refused| {
                    bail!("the log does not take the load: {refused}")
                })
            }
        })
        .try_buffered(FILLS_UNDER_WAY)
        .try_fold(0, |sum, count| async move { Ok(sum + count) })
        .await
        .context("cannot publish the load")?;
    ensure!(confirmed > 0, "the load is empty");
    Ok(confirmed)
}

fn copy_settings(member: &str) -> StepSettings {
    StepSettings {
        group: "bench-copy".to_owned(),
        member: member.to_owned(),
        topics: vec![Topic::Mentions],
        transaction_timeout: Duration::from_secs(15),
    }
}

/// The bare copy: on Kafka with the client alone, on the embedded log with nothing but a step.
async fn copy(rig: &Rig, records: u64, commit_every: Duration) -> anyhow::Result<Figures> {
    let watch = Stopwatch::start();
    let (took, commits) = match &rig.kafka {
        Some(settings) => {
            let settings = settings.clone();
            let topics = (Topic::Mentions, COPIES);
            let copying = move || bare_copy(&settings, "bench-copy", topics, records, commit_every);
            let copied = tokio::task::spawn_blocking(copying).await??;
            (copied.took, copied.commits)
        }
        None => {
            let (log, tape) = Watched::new(rig.log.clone());
            let batch = (classify_config().batch_records_max, commit_every);
            copy_step(&*log, copy_settings("copy"), COPIES, records, batch).await?;
            (tape.took(), tape.commits())
        }
    };
    Ok(figures(records, took, &watch, commits))
}

fn figures(records: u64, took: Duration, watch: &Stopwatch, commits: Vec<Duration>) -> Figures {
    let round = |value: f64| (value * 10.0).round() / 10.0;
    Figures {
        records,
        records_per_second: (records as f64 / took.as_secs_f64().max(f64::EPSILON)).round(),
        cpu_us_per_record: round(watch.cpu_s() * 1e6 / records as f64),
        commit_ms: round(median(commits.iter().map(Duration::as_secs_f64).collect()) * 1e3),
    }
}

/// The real service, from its start until everything has its verdict.
async fn classify_all(rig: &Rig, config: &classify::Config, records: u64) -> anyhow::Result<Figures> {
    let (log, tape) = Watched::new(rig.log.clone());
    let watch = Stopwatch::start();
    let mut services = Services::new();
    let log: Arc<dyn Log> = log;
    let deps = classify::Deps { log, parts: services.parts.clone() };
    services.start(classify::run(config.clone(), deps));
    let mut heard = (0, watch.wall());
    loop {
        let ended = services.parts.account.hop(classify::HOP).total();
        if ended >= records {
            break;
        }
        if ended > heard.0 {
            heard = (ended, watch.wall());
        }
        services.check()?;
        ensure!(watch.wall() - heard.1 < SILENCE_MAX, "{ended} of {records} verdicts, and no more come");
        tokio::time::sleep(LOOK).await;
    }
    let figures = figures(records, tape.took(), &watch, tape.commits());
    ensure!(services.parts.account.is_balanced(), "the service's accounts do not balance");
    services.stop().await?;
    Ok(figures)
}

/// Reads the verdicts and holds them against the mentions.
async fn exactly_once(rig: &Rig, records: u64) -> anyhow::Result<()> {
    let (sent, twice) = ids(rig, Topic::Mentions).await?;
    // A recording may hold repeats; they fold into one verdict.
    ensure!(sent.len() as u64 + twice == records, "{} of {records} mentions are on the log", sent.len());
    let (verdicts, twice) = ids(rig, Topic::Verdicts).await?;
    ensure!(twice == 0, "{twice} mentions have two verdicts");
    ensure!(verdicts == sent, "{} verdicts for {} mentions", verdicts.len(), sent.len());
    Ok(())
}

/// The event ids on a topic, and how many came again.
async fn ids(rig: &Rig, topic: Topic) -> anyhow::Result<(BTreeSet<bytes::Bytes>, u64)> {
    let reader = rig.log.reader()?;
    let (mut ids, mut again) = (BTreeSet::new(), 0);
    for number in 0..rig.partitions {
        let partition = Partition { topic, number };
        let end = reader.end(partition).await?;
        let mut next = 0;
        while next < end {
            let part = reader.scan(partition, next, end, 10_000).await?;
            for received in part.records {
                let id = received.record.headers.get(contracts::envelope::CE_ID);
                let id = id.with_context(|| format!("a record of {topic} has no id"))?;
                again += u64::from(!ids.insert(bytes::Bytes::copy_from_slice(id)));
            }
            ensure!(part.next > next, "{topic} cannot be read beyond {next}");
            next = part.next;
        }
    }
    Ok((ids, again))
}

#[derive(Debug, Serialize)]
struct Latency {
    log: &'static str,
    rate: u32,
    partitions: i32,
    copy: Quantiles,
    classify: Quantiles,
}

async fn paced(args: &PipelineArgs, rate: u32) -> anyhow::Result<()> {
    let progress = wire::progress(2);
    let mut found = Vec::new();
    let mut log = "";
    let config = classify_config();
    for subject in [Subject::Copy, Subject::Classify] {
        let rig = Rig::open(args.brokers.as_deref(), args.partitions).await?;
        log = rig.name();
        let load = Load::open(&args.load)?;
        let paced =
            Paced { rate, seconds: args.seconds, commit_every_ms: config.commit_every_ms, into: COPIES };
        found.push(latency::measure(&rig, load, &config, subject, paced).await?);
        rig.close().await?;
        progress.inc(1);
    }
    progress.finish_and_clear();
    let classify = found.pop().unwrap_or_default();
    let copy = found.pop().unwrap_or_default();
    let report = Latency { log, rate, partitions: args.partitions, copy, classify };
    let row = |name: &str, quantiles: Quantiles| [vec![name.to_owned()], quantiles.cells()].concat();
    let rows = [row("bare copy", copy), row("classify", classify)];
    let remarks = [format!(
        "from the moment a post was due to be published until a reader of committed records has it; {} a second on {log}, {} partitions",
        thousands(f64::from(rate)),
        args.partitions
    )];
    let headings = ["", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "records"];
    measure::write(args.form, &report, &headings, &rows, &remarks)
}

/// The settings with which a paced copy takes part.
pub(super) fn paced_copy_settings() -> StepSettings {
    copy_settings("paced")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: PipelineArgs,
    }

    fn parse(words: &str) -> Result<PipelineArgs, clap::Error> {
        Line::try_parse_from(words.split_whitespace()).map(|line| line.args)
    }

    #[test]
    fn words_are_understood_and_nonsense_is_refused() {
        let args = parse("bench --brokers a:1,b:2 --rate 5000 --seconds 10 --to page --format json").unwrap();
        assert_eq!((args.rate, args.seconds, args.to), (Some(5_000), 10, Goal::Page));
        assert_eq!(parse("bench").unwrap().records, 200_000);
        for nonsense in ["--rate 0", "--records 0", "--to nowhere", "--partitions 0", "--file x.jsonl"] {
            assert!(parse(&format!("bench {nonsense}")).is_err(), "{nonsense}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_record_goes_once_through_the_copy_and_once_through_classify() {
        let rig = Rig::open(None, 3).await.unwrap();
        let args = parse("bench").unwrap();
        let records = fill(&rig, Load::open(&args.load).unwrap(), 700).await.unwrap();
        assert_eq!(records, 700);
        let copied = copy(&rig, records, Duration::from_millis(25)).await.unwrap();
        let classified = classify_all(&rig, &classify_config(), records).await.unwrap();
        assert_eq!((copied.records, classified.records), (700, 700));
        exactly_once(&rig, records).await.unwrap();
        let (copies, twice) = ids(&rig, COPIES).await.unwrap();
        assert_eq!((copies.len(), twice), (700, 0));
        assert!(exactly_once(&rig, records + 1).await.is_err());
        rig.close().await.unwrap();
    }
}
