//! What would have been told under given settings: the tally, the detectors, the desk and the policy of the
//! service itself, moved on by whoever reads a log instead of by a clock. Nothing leaves it: what is owed to
//! the world outside is handed to the caller. The same records and settings always give the same events.
//!
//! It knows nothing of what people did: nobody acknowledges, ends or silences anything here.

use std::collections::BTreeMap;
use std::time::Duration;

use ::store::{Store, due};
use anyhow::Context as _;
use bus::{Received, Topic, partition_of};
use contracts::alert::v1::{EpisodeEvent, TallyEvent};
use contracts::envelope::{self, CE_TYPE};
use model::{EpisodeId, Subject, Timestamp};
use paging::{Decision, Effect, NoticeKind, Signal, What};
use runtime::brands::Brand;

use crate::config::{Config, Destination, SevereConfig, Zones};
use crate::consumer::{IDLE_EVERY_S, IDLE_GRACE_S};
use crate::desk::Desk;
use crate::detection::{Detectors, Rules};
use crate::picture::Picture;
use crate::store::{SERVICE, TableError};
use crate::{severe, tally, wire};

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
    rules: Rules,
    partitions: i32,
    owned: BTreeMap<i32, Owned>,
    picture: Picture,
    now: Timestamp,
    next_due: Option<Timestamp>,
}

struct Owned {
    detectors: Detectors,
    looked_at: Timestamp,
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
            cascade: detect::thread::CascadeModel::shipped(),
        };
        Ok(Self {
            desk: Desk::new(store, config.policy()),
            severe: config.severe,
            rules,
            partitions,
            owned: BTreeMap::new(),
            picture: Picture::default(),
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
        for record in records {
            match tally::read(record) {
                Ok(Some(event)) => severe::severe(&event, &self.severe)
                    .into_iter()
                    .for_each(|signal| severe::gather(&mut severe, signal)),
                Ok(None) => severe::cover(&self.picture, record),
                // Whoever reads the log names what cannot be read.
                Err(_) => {}
            }
        }
        let mut signals: Vec<Signal> = severe.into_values().collect();
        for outgoing in tally::fold(records, self.now).outputs {
            if outgoing.topic == Topic::Tallies {
                self.detect(&outgoing.record, &mut signals)?;
            }
        }
        self.settle(signals, &mut told).await?;
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

    fn detect(&mut self, record: &bus::Record, signals: &mut Vec<Signal>) -> anyhow::Result<()> {
        let ce_type = record.headers.text(CE_TYPE);
        let event: TallyEvent =
            envelope::open(ce_type, record.value.as_ref()).context("reading a tally just made")?;
        let now = self.now;
        let owned = self
            .owned
            .entry(partition_of(&record.key, self.partitions))
            .or_insert_with(|| Owned { detectors: Detectors::default(), looked_at: now });
        owned.looked_at = now;
        let heard = owned.detectors.take(&event, &self.rules).map_err(|e| anyhow::anyhow!("tally: {e}"))?;
        signals.extend(heard.signals);
        Ok(())
    }

    /// When silence alone may have calmed something.
    fn next_look(&self) -> Option<Timestamp> {
        let open = self.owned.values().filter(|owned| owned.detectors.has_open());
        open.map(|owned| owned.looked_at.plus_millis(IDLE_EVERY_S * 1_000)).min()
    }

    async fn look(&mut self, told: &mut Vec<Rehearsed>) -> anyhow::Result<()> {
        let now = self.now;
        let until = self.picture.heard_until(now).plus_millis(-IDLE_GRACE_S * 1_000);
        let mut signals = Vec::new();
        for owned in self.owned.values_mut() {
            let has_waited = now.millis_since(owned.looked_at) >= IDLE_EVERY_S * 1_000;
            if has_waited && owned.detectors.has_open() {
                owned.looked_at = now;
                signals.extend(owned.detectors.idle(until.as_seconds(), &self.rules).signals);
            }
        }
        self.settle(signals, told).await
    }

    async fn do_due(&mut self, told: &mut Vec<Rehearsed>) -> anyhow::Result<()> {
        let (now, desk) = (self.now, &self.desk);
        let claimed = due::claim(&desk.store, SERVICE, "rehearsal", now, LEASE, CLAIM).await?;
        for work in &claimed {
            let id = std::str::from_utf8(&work.due.body).ok().and_then(|text| text.parse::<EpisodeId>().ok());
            let heard_until = self.picture.heard_until(now);
            let decision = desk
                .transact(|mut tx| async move {
                    let ours = due::finish(&mut tx, SERVICE, work).await?;
                    let decision = match id.filter(|_| ours) {
                        Some(id) => Some(desk.happens(&mut tx, id, What::Tick { heard_until }, now).await?),
                        None => None,
                    };
                    Ok::<_, TableError>((tx, decision))
                })
                .await
                .context("looking at an episode")?;
            told.extend(decision.into_iter().flat_map(|decision| rehearsed(decision, now)));
        }
        self.next_due = due::next_due(&self.desk.store, SERVICE).await?;
        Ok(())
    }

    async fn settle(&mut self, signals: Vec<Signal>, told: &mut Vec<Rehearsed>) -> anyhow::Result<()> {
        if signals.is_empty() {
            return Ok(());
        }
        let (now, desk, signals) = (self.now, &self.desk, &signals);
        let decisions = desk
            .transact(|mut tx| async move {
                let mut decisions = Vec::with_capacity(signals.len());
                for signal in signals {
                    decisions.push(desk.signal(&mut tx, signal.clone(), now).await?);
                }
                Ok::<_, TableError>((tx, decisions))
            })
            .await
            .context("writing episodes")?;
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
