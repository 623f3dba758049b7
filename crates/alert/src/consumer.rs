//! The second stage: tallies in, episodes out. Detector states live here; what follows from them goes to
//! SQL together with the offset.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Context as _;
use bus::{Consumer, ConsumerSettings, Partition, Received, Topic};
use contracts::alert::v1::{TallyEvent, ThreadOutlook};
use contracts::envelope::{self, CE_TYPE};
use contracts::ingest::v1::{Coverage, DeadLetter, Erasure};
use detect::thread::CascadeModel;
use model::{Outcome, Subject, Timestamp};
use paging::{Forgotten, SignalKind};
use runtime::Phase;
use tracing::{info, warn};

use crate::config::{Config, DetectConfig, ThreadConfig, Zones};
use crate::desk::{self, Desk, TO_DEAD_LETTERS, TO_TALLIES};
use crate::detection::{Detectors, Heard, Rules, Telling};
use crate::picture::Picture;
use crate::reading::{self, BatchError, Offsets, PAUSE};
use crate::store::{self as tables, SERVICE, Snapshot};
use crate::{Deps, tally, wire};

/// The hop's name in accounts, and the consumer group.
pub(crate) const HOP: &str = "alert-detect";
/// Event time is allowed to be so much behind the clock, in seconds, before silence is read as calm.
pub(crate) const IDLE_GRACE_S: i64 = 90;
/// Seconds of the clock between looks at partitions in which nothing happens.
pub(crate) const IDLE_EVERY_S: i64 = 30;

/// One partition that is ours.
struct Owned {
    detectors: Detectors,
    rules: Rules,
    /// Up to here everything that follows is in SQL already.
    committed: i64,
    /// Up to here tallies were taken in.
    read_to: i64,
    snapshot_at: Timestamp,
    looked_at: Timestamp,
}

/// Detects until polling stops.
pub(crate) async fn run(
    deps: Deps,
    desk: Desk,
    picture: Picture,
    config: Arc<Config>,
    zones: Zones,
) -> anyhow::Result<()> {
    let shutdown = deps.parts.shutdown.clone();
    let _guard = shutdown.guard(Phase::StopPolling);
    let cascade = config.threads.cascade()?;
    let settings = ConsumerSettings {
        group: HOP.into(),
        member: format!("{}-detect", config.member),
        topics: vec![Topic::Tallies],
    };
    let consumer = deps.log.consumer(settings).await.context("joining group alert-detect")?;
    deps.parts.health.set_ready(HOP, true, "reading");
    let mut detection = Detection {
        deps,
        desk,
        picture,
        config,
        zones,
        cascade,
        offsets: Offsets::default(),
        owned: BTreeMap::new(),
    };
    loop {
        let polled = tokio::select! {
            polled = reading::poll(&consumer, detection.config.reading.batch_records_max) => polled,
            () = shutdown.reached(Phase::StopPolling) => break,
        };
        let polled = polled.context("reading tallies")?;
        for partition in &polled.revoked {
            detection.owned.remove(partition);
        }
        for partition in &polled.assigned {
            detection.take_over(&consumer, *partition).await?;
        }
        let is_idle = polled.records.is_empty();
        detection.batch(&consumer, polled.records, polled.token.next).await?;
        if is_idle {
            detection.look_at_idle().await?;
        }
    }
    detection.last_snapshots().await;
    consumer.close().await.context("leaving group alert-detect")
}

struct Detection {
    deps: Deps,
    desk: Desk,
    picture: Picture,
    config: Arc<Config>,
    zones: Zones,
    cascade: CascadeModel,
    offsets: Offsets,
    owned: BTreeMap<Partition, Owned>,
}

/// What a batch leads to.
#[derive(Default)]
struct Outcomes {
    told: Vec<Telling>,
    /// The place of the last signal of each rule and subject.
    last: BTreeMap<(String, Subject), usize>,
    heard: Heard,
    /// What live threads say to their subjects, which others may own.
    outlooks: Vec<ThreadOutlook>,
    dead: Vec<(DeadLetter, String)>,
    /// What is to be forgotten, by the partition that says so.
    forgotten: BTreeMap<Partition, Vec<Forgotten>>,
    stored: u64,
    replayed: u64,
}

impl Outcomes {
    fn count(&mut self, is_replay: bool) {
        match is_replay {
            true => self.replayed += 1,
            false => self.stored += 1,
        }
    }

    /// Fresh facts replace those before them in the same batch: they are totals, and so are timelines.
    fn gather(&mut self, mut telling: Telling) {
        let signal = &telling.signal;
        let key = (signal.rule.clone(), signal.subject.clone());
        let is_seen = signal.kind == SignalKind::Seen;
        match self.last.get(&key).copied() {
            Some(place) if is_seen && self.told[place].signal.kind == SignalKind::Seen => {
                let before = self.told[place].timeline.take();
                telling.timeline = telling.timeline.or(before);
                self.told[place] = telling;
            }
            _ => {
                self.last.insert(key, self.told.len());
                self.told.push(telling);
            }
        }
    }
}

impl Detection {
    fn now(&self) -> Timestamp {
        self.deps.parts.clock.now()
    }

    /// Loads the states of a partition and reads on from where they are true. Until the committed offset
    /// they are only brought up to date: what followed then is in SQL already.
    async fn take_over(&mut self, consumer: &Arc<dyn Consumer>, partition: Partition) -> anyhow::Result<()> {
        let committed = self.offsets.load(&self.desk.store, HOP, partition).await?;
        let snapshot = tables::snapshot(&self.desk.store, partition.number).await?;
        let mut from = 0;
        let mut detectors = Detectors::default();
        let mut settings = None;
        if let Some(snapshot) = snapshot.filter(|snapshot| snapshot.next_offset <= committed) {
            match Detectors::from_bytes(&snapshot.body) {
                Ok(found) => (detectors, from) = (found, snapshot.next_offset),
                Err(problem) => {
                    warn!(partition = partition.number, %problem, "snapshot is of no use, replaying what the log still has");
                }
            }
            settings = serde_json::from_str::<(DetectConfig, ThreadConfig)>(&snapshot.settings).ok();
        }
        // What was decided under other settings is replayed under them; the present ones hold from the
        // committed offset on.
        let rules = match settings.filter(|_| from < committed) {
            Some((detect, threads)) => self.rules(detect, threads),
            None => self.present_rules(),
        };
        info!(partition = partition.number, from, committed, "partition taken over");
        let now = self.now();
        self.owned.insert(
            partition,
            Owned { detectors, rules, committed, read_to: from, snapshot_at: now, looked_at: now },
        );
        consumer.seek(partition, from).await.context("seeking in tallies")
    }

    fn present_rules(&self) -> Rules {
        self.rules(self.config.detect.clone(), self.config.threads.clone())
    }

    fn rules(&self, detect: DetectConfig, threads: ThreadConfig) -> Rules {
        let cascade = if threads.model == self.config.threads.model {
            self.cascade.clone()
        } else {
            threads.cascade().unwrap_or_else(|error| {
                warn!(%error, "what was forecast before is replayed with the present model");
                self.cascade.clone()
            })
        };
        Rules { detect, threads, zones: self.zones.clone(), cascade }
    }

    async fn batch(
        &mut self,
        consumer: &Arc<dyn Consumer>,
        records: Vec<Received>,
        next: BTreeMap<Partition, i64>,
    ) -> anyhow::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let mut outcomes = Outcomes::default();
        for record in &records {
            self.hear(record, now, &mut outcomes);
        }
        let next: BTreeMap<Partition, i64> =
            next.into_iter().filter(|(partition, _)| self.owned.contains_key(partition)).collect();
        let erased = self.forget(&outcomes);
        let snapshots = self.due_snapshots(&next, &erased, now);
        loop {
            let written = self.write(&outcomes, &next, &snapshots, now).await;
            match written {
                Ok(()) => break,
                Err(error) if error.is_conflict() => {
                    warn!(%error, "another member was faster; reading its partitions anew");
                    for partition in next.keys() {
                        self.take_over(consumer, *partition).await?;
                    }
                    return Ok(());
                }
                Err(error) if desk::Passing::may_pass(&error) => {
                    warn!(%error, "episodes not written, will try again");
                    tokio::time::sleep(PAUSE).await;
                    if self.deps.parts.shutdown.phase() >= Phase::StopPolling {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error).context("writing episodes"),
            }
        }
        self.committed(&outcomes, &next, snapshots, now);
        self.picture.rise(std::mem::take(&mut outcomes.heard.rising));
        outcomes.forgotten.values().flatten().for_each(|forgotten| self.picture.forget(forgotten));
        Ok(())
    }

    /// Takes one tally in; what follows from it counts only beyond the committed offset.
    fn hear(&mut self, record: &Received, now: Timestamp, outcomes: &mut Outcomes) {
        let Some(owned) = self.owned.get_mut(&record.position.partition) else { return };
        let is_replay = record.position.offset < owned.committed;
        let has_changed =
            owned.rules.detect != self.config.detect || owned.rules.threads != self.config.threads;
        if !is_replay && has_changed {
            owned.rules.detect = self.config.detect.clone();
            owned.rules.threads = self.config.threads.clone();
            owned.rules.cascade = self.cascade.clone();
        }
        let ce_type = record.record.headers.text(CE_TYPE);
        let value = record.record.value.as_ref();
        if envelope::is::<Erasure>(ce_type) {
            let erasure = envelope::open::<Erasure>(ce_type, value).ok();
            let forgotten = outcomes.forgotten.entry(record.position.partition).or_default();
            forgotten.extend(erasure.as_ref().and_then(wire::forgotten));
            return outcomes.count(is_replay);
        }
        if envelope::is::<Coverage>(ce_type) {
            if let Ok(said) = envelope::open::<Coverage>(ce_type, value) {
                owned.detectors.cover(&said);
            }
            return outcomes.count(is_replay);
        }
        let heard = match envelope::is::<ThreadOutlook>(ce_type) {
            true => envelope::open::<ThreadOutlook>(ce_type, value)
                .map_err(|e| (e.label(), e.to_string()))
                .and_then(|said| owned.detectors.expect(&said).map_err(|e| ("invalid_tally", e)))
                .map(|()| Heard::default()),
            false => {
                envelope::open::<TallyEvent>(ce_type, value).map_err(|e| (e.label(), e.to_string())).and_then(
                    |event| owned.detectors.take(&event, &owned.rules).map_err(|e| ("invalid_tally", e)),
                )
            }
        };
        match heard {
            _ if is_replay => outcomes.count(true),
            Ok(heard) => {
                outcomes.count(false);
                heard.told.into_iter().for_each(|telling| outcomes.gather(telling));
                outcomes.heard.rising.extend(heard.rising);
                outcomes.outlooks.extend(heard.outlooks);
            }
            Err((label, detail)) => outcomes.dead.push(dead_letter(record, label, &detail, now)),
        }
    }

    /// Takes what is to be forgotten out of the detectors. Gives the partitions whose snapshots still hold
    /// it.
    fn forget(&mut self, outcomes: &Outcomes) -> BTreeSet<Partition> {
        let mut erased = BTreeSet::new();
        for (partition, forgotten) in &outcomes.forgotten {
            let Some(owned) = self.owned.get_mut(partition) else { continue };
            if owned.detectors.forget(forgotten) {
                erased.insert(*partition);
            }
        }
        erased
    }

    fn due_snapshots(
        &mut self,
        next: &BTreeMap<Partition, i64>,
        erased: &BTreeSet<Partition>,
        now: Timestamp,
    ) -> Vec<(Partition, Snapshot)> {
        let every_ms =
            i64::try_from(self.config.reading.snapshot_every_s).unwrap_or(i64::MAX).saturating_mul(1_000);
        let settings =
            serde_json::to_string(&(&self.config.detect, &self.config.threads)).unwrap_or_default();
        let mut due = Vec::new();
        for (partition, next_offset) in next {
            let Some(owned) = self.owned.get_mut(partition) else { continue };
            let is_due = now.millis_since(owned.snapshot_at) >= every_ms || erased.contains(partition);
            if is_due && *next_offset > owned.committed {
                let body = owned.detectors.snapshot();
                let snapshot = Snapshot { next_offset: *next_offset, settings: settings.clone(), body };
                due.push((*partition, snapshot));
            }
        }
        due
    }

    async fn write(
        &self,
        outcomes: &Outcomes,
        next: &BTreeMap<Partition, i64>,
        snapshots: &[(Partition, Snapshot)],
        now: Timestamp,
    ) -> Result<(), BatchError> {
        self.desk
            .transact(|mut tx| async move {
                self.offsets.advance(&mut tx, HOP, next).await?;
                for telling in &outcomes.told {
                    self.desk.told(&mut tx, telling, now).await?;
                }
                for forgotten in outcomes.forgotten.values().flatten() {
                    self.desk.forget(&mut tx, forgotten, now).await?;
                }
                for said in &outcomes.outlooks {
                    let id = format!("outlook/{}/{}/{}", said.thread, said.at_s, said.p_spread);
                    desk::publish_later(&mut tx, TO_TALLIES, id, said.subject.clone(), said, now).await?;
                }
                for (letter, id) in &outcomes.dead {
                    let key = format!("{}/{}", letter.topic, letter.partition);
                    desk::publish_later(&mut tx, TO_DEAD_LETTERS, id.clone(), key, letter, now).await?;
                }
                for (partition, snapshot) in snapshots {
                    tables::save_snapshot(&mut tx, partition.number, snapshot, now).await?;
                }
                Ok::<_, BatchError>((tx, ()))
            })
            .await
    }

    fn committed(
        &mut self,
        outcomes: &Outcomes,
        next: &BTreeMap<Partition, i64>,
        snapshots: Vec<(Partition, Snapshot)>,
        now: Timestamp,
    ) {
        self.offsets.advanced(next);
        for (partition, next_offset) in next {
            if let Some(owned) = self.owned.get_mut(partition) {
                owned.committed = owned.committed.max(*next_offset);
                owned.read_to = *next_offset;
                owned.looked_at = now;
            }
        }
        for (partition, _) in snapshots {
            if let Some(owned) = self.owned.get_mut(&partition) {
                owned.snapshot_at = now;
            }
        }
        let account = &self.deps.parts.account;
        account.accepted(HOP, outcomes.stored + outcomes.dead.len() as u64);
        account.ended(HOP, Outcome::Stored, "", outcomes.stored);
        for (letter, _) in &outcomes.dead {
            let reason = if letter.reason == "invalid_tally" { "invalid_tally" } else { "undecodable" };
            account.ended(HOP, Outcome::DeadLettered, reason, 1);
        }
        if outcomes.replayed > 0 {
            info!(records = outcomes.replayed, "tallies replayed to bring detectors up to date");
        }
    }

    /// A snapshot of everything at a clean end, so that the next start has nothing to replay.
    async fn last_snapshots(&mut self) {
        let now = self.now();
        let settings =
            serde_json::to_string(&(&self.config.detect, &self.config.threads)).unwrap_or_default();
        let mut last = Vec::new();
        for (partition, owned) in &mut self.owned {
            // A partition that is still being replayed has nothing new to say.
            let is_current = self.offsets.0.get(partition) == Some(&owned.read_to);
            if is_current {
                let body = owned.detectors.snapshot();
                last.push((
                    *partition,
                    Snapshot { next_offset: owned.read_to, settings: settings.clone(), body },
                ));
            }
        }
        if let Err(error) = self.write(&Outcomes::default(), &BTreeMap::new(), &last, now).await {
            warn!(%error, "last snapshots not written; the next start replays a little");
        }
    }

    /// Nothing comes: what is open may have become calm by silence alone, unless its sources are silent.
    async fn look_at_idle(&mut self) -> anyhow::Result<()> {
        let now = self.now();
        let until = now.plus_millis(-IDLE_GRACE_S * 1_000);
        let mut outcomes = Outcomes::default();
        for owned in self.owned.values_mut() {
            let waited = now.millis_since(owned.looked_at) >= IDLE_EVERY_S * 1_000;
            if waited && owned.detectors.has_open() {
                owned.looked_at = now;
                let heard = owned.detectors.idle(until.as_seconds(), &owned.rules);
                outcomes.told.extend(heard.told);
                outcomes.outlooks.extend(heard.outlooks);
            }
        }
        if outcomes.told.is_empty() && outcomes.outlooks.is_empty() {
            return Ok(());
        }
        // What is not written now is found again at the next look: an episode that is open here or there.
        if let Err(error) = self.write(&outcomes, &BTreeMap::new(), &[], now).await {
            warn!(%error, service = SERVICE, "quiet episodes not written");
        }
        Ok(())
    }
}

fn dead_letter(record: &Received, label: &'static str, detail: &str, now: Timestamp) -> (DeadLetter, String) {
    use prost::Message as _;
    let outgoing = tally::dead_letter(record, label, detail, now);
    let value = outgoing.record.value.unwrap_or_default();
    let letter = DeadLetter::decode(value).unwrap_or_default();
    let id = format!("dead_{}_{}_{}", letter.topic, letter.partition, letter.offset);
    (letter, id)
}
