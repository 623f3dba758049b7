//! The short way: one severe complaint calls somebody without waiting for any count. Also feeds the picture
//! of what is being said.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use bus::{Consumer, ConsumerSettings, Partition, Received, Topic};
use contracts::classify::v1::{Verdict, VerdictEvent};
use contracts::ingest::v1::{MentionOp, Transport};
use model::{BrandId, MentionId, Outcome, Severity, Subject, Timestamp};
use paging::{Counts, Facts, Policy, Reason, Signal, SignalKind};
use runtime::Phase;
use tracing::warn;

use crate::config::{Config, SevereConfig};
use crate::desk::{Desk, Passing as _};
use crate::picture::{Picture, SAID_MAX};
use crate::reading::{self, BatchError, Offsets, PAUSE};
use crate::sources::{self, Heard};
use crate::tally::{Told, complaint_of, erased_by, evidence_of, topic_of};
use crate::{Deps, tally, wire};

/// The hop's name in accounts, and the consumer group.
pub const HOP: &str = "alert-severe";
/// A complaint is shown among what is being said from this probability on.
const SAID_FROM: f32 = 0.5;
/// Pieces of evidence handed over per subject and batch; the desk keeps the weightiest.
const EVIDENCE_MAX: usize = 32;

/// Listens for severe complaints until polling stops.
pub(crate) async fn run(deps: Deps, desk: Desk, picture: Picture, config: Arc<Config>) -> anyhow::Result<()> {
    let shutdown = deps.parts.shutdown.clone();
    let _guard = shutdown.guard(Phase::StopPolling);
    let settings = ConsumerSettings {
        group: HOP.into(),
        member: format!("{}-severe", config.member),
        topics: vec![Topic::Verdicts, Topic::Erasures],
    };
    let consumer = deps.log.consumer(settings).await.context("joining group alert-severe")?;
    deps.parts.health.set_ready(HOP, true, "reading");
    let mut offsets = Offsets::default();
    let mut heard = Heard::default();
    loop {
        let polled = tokio::select! {
            polled = reading::poll(&consumer, config.reading.batch_records_max) => polled,
            () = shutdown.reached(Phase::StopPolling) => break,
        };
        let polled = polled.context("reading verdicts")?;
        for partition in &polled.revoked {
            offsets.0.remove(partition);
        }
        for partition in &polled.assigned {
            let next = offsets.load(&desk.store, HOP, *partition).await?;
            rebuild(&deps, &picture, *partition, next).await;
            consumer.seek(*partition, next).await.context("seeking in verdicts")?;
        }
        let mut next = polled.token.next;
        next.retain(|partition, _| offsets.0.contains_key(partition));
        batch(&deps, &desk, &picture, &config, &consumer, &mut offsets, &mut heard, &polled.records, &next)
            .await?;
    }
    consumer.close().await.context("leaving group alert-severe")
}

/// What was said last, from the end of what was read before: a restart should not show an empty page.
async fn rebuild(deps: &Deps, picture: &Picture, partition: Partition, next: i64) {
    let from = (next - SAID_MAX as i64 * 4).max(0);
    let Ok(reader) = deps.log.reader() else { return };
    let Ok(marks) = reader.watermarks(partition).await else { return };
    let (from, to) = (from.max(marks.low), next.min(marks.high));
    if from >= to {
        return;
    }
    // Only for people who look: when the log is away, the page fills from what comes.
    if let Ok(scanned) = reader.scan(partition, from, to, SAID_MAX * 4).await {
        for record in &scanned.records {
            if let Ok(Told::Verdict(event)) = tally::read(record) {
                show(picture, &event);
            }
        }
    }
}

#[allow(clippy::too_many_arguments)]
async fn batch(
    deps: &Deps,
    desk: &Desk,
    picture: &Picture,
    config: &Config,
    consumer: &Arc<dyn Consumer>,
    offsets: &mut Offsets,
    heard: &mut Heard,
    records: &[Received],
    next: &BTreeMap<Partition, i64>,
) -> anyhow::Result<()> {
    if records.is_empty() {
        return Ok(());
    }
    let now = deps.parts.clock.now();
    let mut endings: BTreeMap<(Outcome, &'static str), u64> = BTreeMap::new();
    let mut signals: BTreeMap<Subject, Signal> = BTreeMap::new();
    let mut events = Vec::new();
    // What people are told of sources and what is to be forgotten, in the order it came.
    let (mut coverage, mut forgotten) = (Vec::new(), Vec::new());
    for record in records {
        let ending = match tally::read(record) {
            Ok(Told::Verdict(event)) => {
                let found = severe(&event, &config.severe);
                let erased = erased_by(&event).as_ref().and_then(wire::forgotten);
                note(heard, &event);
                let ending = match (found.is_empty(), &erased) {
                    (_, Some(_)) => (Outcome::Stored, "erasure"),
                    (true, None) => (Outcome::Suppressed, "not_severe"),
                    (false, None) => (Outcome::Stored, ""),
                };
                forgotten.extend(erased);
                events.push(event);
                found.into_iter().for_each(|signal| gather(&mut signals, signal));
                ending
            }
            Ok(Told::Coverage(said)) => {
                coverage.push(said);
                (Outcome::Stored, "coverage")
            }
            Ok(Told::Erasure(erasure)) => {
                forgotten.extend(wire::forgotten(&erasure));
                (Outcome::Stored, "erasure")
            }
            Ok(Told::Nothing) => (Outcome::Suppressed, "tombstone"),
            // The tally step keeps the bytes with the reason.
            Err(_) => (Outcome::Suppressed, "dead_lettered_by_tally"),
        };
        *endings.entry(ending).or_default() += 1;
    }
    loop {
        let (signals, at, heard) = (&signals, &*offsets, &*heard);
        let (coverage, forgotten) = (&coverage, &forgotten);
        let written = desk
            .transact(|mut tx| async move {
                at.advance(&mut tx, HOP, next).await?;
                for signal in signals.values() {
                    desk.signal(&mut tx, signal.clone(), now).await?;
                }
                for said in coverage {
                    sources::told(desk, &mut tx, said, &config.sources, now).await?;
                }
                for forgotten in forgotten {
                    desk.forget(&mut tx, forgotten, now).await?;
                }
                heard.write(&mut tx, now).await?;
                Ok::<_, BatchError>((tx, ()))
            })
            .await;
        match written {
            Ok(()) => break,
            Err(error) if error.is_conflict() => {
                warn!(%error, "another member was faster; reading its partitions anew");
                for partition in next.keys() {
                    let from = offsets.load(&desk.store, HOP, *partition).await?;
                    consumer.seek(*partition, from).await.context("seeking in verdicts")?;
                }
                return Ok(());
            }
            Err(error) if error.may_pass() => {
                warn!(%error, "severe complaints not written, will try again");
                tokio::time::sleep(PAUSE).await;
                if deps.parts.shutdown.phase() >= Phase::StopPolling {
                    return Ok(());
                }
            }
            Err(error) => return Err(error).context("writing severe complaints"),
        }
    }
    offsets.advanced(next);
    heard.written(now);
    events.iter().for_each(|event| show(picture, event));
    forgotten.iter().for_each(|forgotten| picture.forget(forgotten));
    deps.parts.account.accepted(HOP, records.len() as u64);
    for ((outcome, reason), count) in endings {
        deps.parts.account.ended(HOP, outcome, reason, count);
    }
    Ok(())
}

/// Notes through which connector a brand is spoken of; history says nothing about what usually comes.
pub(crate) fn note(heard: &mut Heard, event: &VerdictEvent) {
    let Some((mention, _)) = customers_post(event) else { return };
    let Some(source) = mention.source.as_ref().filter(|source| !source.connector.is_empty()) else { return };
    if source.transport() != Transport::Backfill {
        mention.brands.iter().for_each(|brand| heard.note(brand, &source.connector));
    }
}

/// Tells the picture of a post by a customer.
fn show(picture: &Picture, event: &VerdictEvent) {
    let Some((mention, verdict)) = customers_post(event) else { return };
    let complaint = complaint_of(verdict);
    let said = (complaint >= SAID_FROM).then(|| evidence_of(mention, Some(verdict)));
    for brand in &mention.brands {
        picture.post(brand, mention.observed_at_us, complaint >= 0.5, said.as_ref());
    }
}

fn customers_post(event: &VerdictEvent) -> Option<(&contracts::ingest::v1::MentionEvent, &Verdict)> {
    let mention = event.mention.as_ref()?;
    let is_own = mention.by_brand.as_ref().is_some_and(|brand| !brand.is_empty());
    let is_new = mention.op == i32::from(MentionOp::Created);
    (is_new && !is_own).then_some((mention, event.verdict.as_ref()?))
}

/// Ten thousand complaints of one batch are one input with ten thousand posts.
pub(crate) fn gather(signals: &mut BTreeMap<Subject, Signal>, signal: Signal) {
    let Some(sum) = signals.get_mut(&signal.subject) else {
        signals.insert(signal.subject.clone(), signal);
        return;
    };
    if let (Counts::More { posts, people }, Counts::More { posts: more, people: others }) =
        (&mut sum.facts.counts, signal.facts.counts)
    {
        *posts += more;
        *people += others;
    }
    sum.facts.severity = sum.facts.severity.max(signal.facts.severity);
    sum.facts.since = sum.facts.since.min(signal.facts.since);
    if sum.facts.evidence.len() < EVIDENCE_MAX {
        sum.facts.evidence.extend(signal.facts.evidence);
    }
    // The newest speaks for all.
    if signal.at >= sum.at {
        sum.at = signal.at;
        sum.why = signal.why;
    }
}

/// The signals of one verdict: one per brand, none when it is not severe.
pub(crate) fn severe(event: &VerdictEvent, config: &SevereConfig) -> Vec<Signal> {
    let Some((mention, verdict)) = customers_post(event) else { return Vec::new() };
    let complaint = complaint_of(verdict);
    let Some(severity) = &verdict.severity else { return Vec::new() };
    let topics = verdict.topics.iter().map(|t| (t.name.as_str(), t.probability));
    let Some(sure) = config.calls(&severity.probabilities, complaint, topics) else { return Vec::new() };
    let Some(evidence) = wire::evidence_from(&evidence_of(mention, Some(verdict))) else { return Vec::new() };
    // The likeliest single level may be a lower one than what the higher ones are together.
    let told = severity.level.max(config.level).min(4);
    let level = Severity::from_level(told).unwrap_or_default();
    let topic = topic_of(verdict);
    let at = Timestamp::from_micros(mention.observed_at_us);
    let words = format!(
        "one complaint about {topic}: {level} (level {told} of 4, {:.0} % sure it is {} or more), {:.0} % a complaint",
        sure * 100.0,
        config.level,
        complaint * 100.0
    );
    let numbers =
        [("severity", f64::from(told)), ("sure", f64::from(sure)), ("complaint", f64::from(complaint))];
    let brands = mention.brands.iter().filter_map(|brand| BrandId::parse(brand).ok());
    brands
        .map(|brand| Signal {
            rule: Policy::SEVERE_COMPLAINT.to_owned(),
            subject: Subject::Topic { brand: brand.clone(), topic: topic.clone() },
            topic: Some(topic.clone()),
            kind: SignalKind::Opened,
            facts: Facts {
                title: format!("{brand}: severe complaint about {topic}"),
                surprise: 0.0,
                counts: Counts::More { posts: 1, people: 1 },
                severity: level,
                forecast: None,
                evidence: vec![evidence.clone()],
                thread_root: MentionId::from_slice(&event.thread_root).ok(),
                since: at,
            },
            at,
            why: Reason::Observed {
                code: "severity_over_threshold".into(),
                words: words.clone(),
                numbers: numbers.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect(),
            },
        })
        .collect()
}
