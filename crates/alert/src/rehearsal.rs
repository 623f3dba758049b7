//! What would have been told under given settings: the tally, the detectors, the desk and the policy of the
//! service itself, moved on by whoever reads a log instead of by a clock. Nothing leaves it: what is owed to
//! the world outside is handed to the caller. The same records and settings always give the same events.
//!
//! It knows nothing of what people did: nobody acknowledges, ends or silences anything here.

use std::collections::BTreeMap;
use std::time::Duration;

use ::store::{Store, due};
use anyhow::Context as _;
use bus::{Outgoing, Received, Topic, partition_of};
use contracts::alert::v1::{EpisodeEvent, TallyEvent, ThreadOutlook};
use contracts::envelope::{self, CE_TYPE};
use contracts::ingest::v1::{Coverage, Erasure};
use model::{BrandId, Subject, Timestamp};
use paging::{Decision, Effect, NoticeKind, Signal};
use runtime::brands::Brand;

use crate::config::{Config, Destination, SevereConfig, SourcesConfig, Zones};
use crate::consumer::{IDLE_EVERY_S, IDLE_GRACE_S};
use crate::desk::Desk;
use crate::detection::{Detectors, Rules};
use crate::sources::{self, Heard, Sources};
use crate::store::{SERVICE, TableError};
use crate::tally::Told;
use crate::{severe, tally, timers, wire};

/// Due rows taken at once.
const CLAIM: u32 = 50;
/// Nobody else is there to take a claimed row up.
const LEASE: Duration = Duration::from_secs(1);

/// Something that would have happened to an episode.
#[derive(Debug, Clone, PartialEq)]
pub struct Rehearsed {
    /// The change, as it would have been published; its time is the time of the records.
    pub event: EpisodeEvent,
    /// For a page: the destinations it would have gone to.
    pub to: Vec<String>,
}

/// The alert service without a clock, a log and an outside.
pub struct Rehearsal {
    desk: Desk,
    severe: SevereConfig,
    sources: SourcesConfig,
    brands: Vec<BrandId>,
    rules: Rules,
    partitions: i32,
    owned: BTreeMap<i32, Owned>,
    heard: Heard,
    now: Timestamp,
    next_due: Option<Timestamp>,
}

struct Owned {
    detectors: Detectors,
    looked_at: Timestamp,
}

impl Owned {
    fn at(now: Timestamp) -> Self {
        Self { detectors: Detectors::default(), looked_at: now }
    }
}

impl Rehearsal {
    /// On an empty database with the tables of [`crate::MIGRATIONS`], which is the caller's to throw away.
    /// `partitions`: of the tallies topic.
    ///
    /// # Errors
    /// When a setting is wrong.
    pub fn new(mut config: Config, brands: &[Brand], store: Store, partitions: i32) -> anyhow::Result<Self> {
        config.check()?;
        if config.destinations.is_empty() {
            config.destinations.insert("log".to_owned(), Destination::log());
        }
        let rules = Rules {
            detect: config.detect.clone(),
            threads: config.threads.clone(),
            zones: Zones::of(brands)?,
            cascade: config.threads.cascade()?,
        };
        Ok(Self {
            desk: Desk::new(store, config.policy()),
            severe: config.severe,
            sources: config.sources,
            brands: timers::ids(brands),
            rules,
            partitions,
            owned: BTreeMap::new(),
            heard: Heard::default(),
            now: Timestamp::MIN,
            next_due: None,
        })
    }

    /// Time goes on to `at` (an earlier one changes nothing), then these records of the verdicts topic are
    /// heard. What is no verdict is left out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn hear(&mut self, records: &[Received], at: Timestamp) -> anyhow::Result<Vec<Rehearsed>> {
        let mut told = self.pass(at).await?;
        let mut severe: BTreeMap<Subject, Signal> = BTreeMap::new();
        let mut coverage = Vec::new();
        for record in records {
            match tally::read(record) {
                Ok(Told::Verdict(event)) => {
                    severe::note(&mut self.heard, &event);
                    let found = severe::severe(&event, &self.severe).into_iter();
                    found.for_each(|signal| severe::gather(&mut severe, signal));
                }
                Ok(Told::Coverage(said)) => coverage.push(said),
                // Whoever reads the log names what cannot be read.
                Ok(Told::Erasure(_) | Told::Nothing) | Err(_) => {}
            }
        }
        let mut signals: Vec<Signal> = severe.into_values().collect();
        for outgoing in tally::fold(records, self.partitions, self.now).outputs {
            if outgoing.topic == Topic::Tallies {
                self.detect(&outgoing, &mut signals)?;
            }
        }
        self.settle(signals, coverage, &mut told).await?;
        Ok(told)
    }

    /// Time goes on to `to` without a record.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn pass(&mut self, to: Timestamp) -> anyhow::Result<Vec<Rehearsed>> {
        let mut told = Vec::new();
        while let Some(at) =
            [self.next_due, self.next_look()].into_iter().flatten().min().filter(|at| *at <= to)
        {
            self.now = self.now.max(at);
            match self.next_due {
                Some(due) if due <= at => self.do_due(&mut told).await?,
                _ => self.look(&mut told).await?,
            }
        }
        self.now = self.now.max(to);
        Ok(told)
    }

    fn detect(&mut self, outgoing: &Outgoing, signals: &mut Vec<Signal>) -> anyhow::Result<()> {
        let record = &outgoing.record;
        let (ce_type, value) = (record.headers.text(CE_TYPE), record.value.as_ref());
        let doing = "reading a tally just made";
        let now = self.now;
        let partition = outgoing.partition.unwrap_or_else(|| partition_of(&record.key, self.partitions));
        let owned = self.owned.entry(partition).or_insert_with(|| Owned::at(now));
        owned.looked_at = now;
        if envelope::is::<Coverage>(ce_type) {
            owned.detectors.cover(&envelope::open(ce_type, value).context(doing)?);
            return Ok(());
        }
        if envelope::is::<Erasure>(ce_type) {
            let erasure = envelope::open(ce_type, value).context(doing)?;
            owned.detectors.forget(wire::forgotten(&erasure).as_slice());
            return Ok(());
        }
        let event: TallyEvent = envelope::open(ce_type, value).context(doing)?;
        let mut heard =
            owned.detectors.take(&event, &self.rules).map_err(|e| anyhow::anyhow!("tally: {e}"))?;
        let outlooks = std::mem::take(&mut heard.outlooks);
        signals.extend(heard.into_signals());
        self.say(outlooks)
    }

    /// What live threads say to their subjects comes there at once.
    fn say(&mut self, outlooks: Vec<ThreadOutlook>) -> anyhow::Result<()> {
        for said in outlooks {
            let partition = partition_of(said.subject.as_bytes(), self.partitions);
            let owned = self.owned.entry(partition).or_insert_with(|| Owned::at(self.now));
            owned.detectors.expect(&said).map_err(|e| anyhow::anyhow!("outlook: {e}"))?;
        }
        Ok(())
    }

    /// When silence alone may have calmed something.
    fn next_look(&self) -> Option<Timestamp> {
        let open = self.owned.values().filter(|owned| owned.detectors.has_open());
        open.map(|owned| owned.looked_at.plus_millis(IDLE_EVERY_S * 1_000)).min()
    }

    async fn look(&mut self, told: &mut Vec<Rehearsed>) -> anyhow::Result<()> {
        let now = self.now;
        let until = now.plus_millis(-IDLE_GRACE_S * 1_000);
        let (mut signals, mut outlooks) = (Vec::new(), Vec::new());
        for owned in self.owned.values_mut() {
            let has_waited = now.millis_since(owned.looked_at) >= IDLE_EVERY_S * 1_000;
            if has_waited && owned.detectors.has_open() {
                owned.looked_at = now;
                let mut heard = owned.detectors.idle(until.as_seconds(), &self.rules);
                outlooks.append(&mut heard.outlooks);
                signals.extend(heard.into_signals());
            }
        }
        self.say(outlooks)?;
        self.settle(signals, Vec::new(), told).await
    }

    async fn do_due(&mut self, told: &mut Vec<Rehearsed>) -> anyhow::Result<()> {
        let (now, desk) = (self.now, &self.desk);
        let claimed = due::claim(&desk.store, SERVICE, "rehearsal", now, LEASE, CLAIM).await?;
        let sources = &Sources::load(&desk.store, now).await?;
        let (brands, config) = (&self.brands, &self.sources);
        for work in &claimed {
            let decisions = desk
                .transact(|mut tx| async move {
                    let decisions = match due::finish(&mut tx, SERVICE, work).await? {
                        true => timers::look(desk, &mut tx, &work.due, sources, brands, config, now).await?,
                        false => Vec::new(),
                    };
                    Ok::<_, TableError>((tx, decisions))
                })
                .await
                .context("looking at an episode")?;
            told.extend(decisions.into_iter().flat_map(|decision| rehearsed(decision, now)));
        }
        self.next_due = due::next_due(&self.desk.store, SERVICE).await?;
        Ok(())
    }

    async fn settle(
        &mut self,
        signals: Vec<Signal>,
        coverage: Vec<Coverage>,
        told: &mut Vec<Rehearsed>,
    ) -> anyhow::Result<()> {
        if signals.is_empty() && coverage.is_empty() && !self.heard.is_due(self.now) {
            return Ok(());
        }
        let (now, desk, signals) = (self.now, &self.desk, &signals);
        let (coverage, config, heard) = (&coverage, &self.sources, &self.heard);
        let decisions = desk
            .transact(|mut tx| async move {
                let mut decisions = Vec::with_capacity(signals.len());
                for signal in signals {
                    decisions.push(desk.signal(&mut tx, signal.clone(), now).await?);
                }
                for said in coverage {
                    decisions.extend(sources::told(desk, &mut tx, said, config, now).await?);
                }
                heard.write(&mut tx, now).await?;
                Ok::<_, TableError>((tx, decisions))
            })
            .await
            .context("writing episodes")?;
        self.heard.written(now);
        told.extend(decisions.into_iter().flat_map(|decision| rehearsed(decision, now)));
        self.next_due = due::next_due(&self.desk.store, SERVICE).await?;
        Ok(())
    }
}

fn rehearsed(decision: Decision, now: Timestamp) -> Vec<Rehearsed> {
    let Some(episode) = &decision.next else { return Vec::new() };
    let mut told: Vec<Rehearsed> = Vec::new();
    for effect in &decision.effects {
        match effect {
            Effect::Publish { sequence, change, by, reason } => {
                let event = wire::event(episode, *sequence, *change, by, reason, now);
                told.push(Rehearsed { event, to: Vec::new() });
            }
            // A page is published first, then sent.
            Effect::Notify { kind: NoticeKind::Page, to, .. } => {
                if let Some(page) = told.last_mut() {
                    page.to.clone_from(to);
                }
            }
            Effect::Notify { .. } | Effect::WakeAt(_) => {}
        }
    }
    told
}
