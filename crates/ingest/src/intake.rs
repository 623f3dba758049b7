use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, bail};
use bus::{BusError, Headers, Log, Outgoing, Partition, Position, Publisher, Record, RefusedRecord, Topic};
use bytes::Bytes;
use contracts::envelope;
use contracts::ingest::v1 as wire;
use model::{BrandId, EventId, MentionId, Outcome, RawRef, SourceKind, TenantId, Timestamp};
use prost::{Message, Name};
use runtime::brands::Brand;
use runtime::{Account, Clock};
use sources::Memory;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use crate::Config;
use crate::config::{Connector, DEFAULT_CONNECTOR};
use crate::coverage::CoverageBook;
use crate::known::{Known, View};
use crate::matching::Matching;
use crate::step::{Body, Feed, Item, Prepared, REFUSED_BODY_BYTES_MAX, Refused, decide, decode};

/// The hop's name in the accounts.
pub const HOP: &str = "ingest";
/// Who writes, in `ce_source`.
const SOURCE: &str = "redress/ingest";
/// How much of a body is kept as received, in bytes: a record of the log must hold it.
const RAW_BODY_BYTES_MAX: usize = 900_000;
/// Records read at once when the memory is rebuilt.
const REBUILD_RECORDS: usize = 10_000;
/// A body counts at least this much against the bound on bytes under way.
const BODY_BYTES_MIN: usize = 1_024;
/// Sources whose local ids are remembered at once.
const MEMORIES_MAX: usize = 256;

/// Takes bodies in: decodes them, sorts their items out, publishes, and says what became of each.
/// Everything that enters Redress goes through here. Cheap to clone; clones share.
#[derive(Clone)]
pub struct Intake(Arc<Inner>);

/// By kind, connector and instance.
type Memories = BTreeMap<(SourceKind, String, String), Arc<Mutex<Memory>>>;

struct Inner {
    publisher: Arc<dyn Publisher>,
    clock: Arc<dyn Clock>,
    account: Account,
    tenant: TenantId,
    connectors: BTreeMap<String, Connector>,
    matching: Matching,
    known: Mutex<Known>,
    /// What sources told that name earlier posts by local ids.
    memories: Mutex<Memories>,
    coverage: CoverageBook,
    under_way: Arc<Semaphore>,
    under_way_max: usize,
}

/// How one item of a body ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub disposition: wire::Disposition,
    /// Which mention; absent when refused or ignored.
    pub mention_id: Option<MentionId>,
    /// Why it was refused.
    pub refusal: Option<wire::Refusal>,
}

/// A connector nobody configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown connector '{name}'; known are {known}")]
pub struct UnknownConnector {
    /// As given.
    pub name: String,
    /// All names.
    pub known: String,
}

/// Room for bodies on their way to the log; given back when dropped.
pub(crate) type Room = OwnedSemaphorePermit;

impl Intake {
    /// Sets up the rules, and reads from the newest mentions what was published lately.
    ///
    /// # Errors
    /// When a setting is no good or the log cannot be read.
    pub async fn open(
        config: &Config,
        tenant: &str,
        brands: &[Brand],
        log: &dyn Log,
        clock: Arc<dyn Clock>,
        account: Account,
    ) -> anyhow::Result<Self> {
        config.check(tenant, brands)?;
        let known = rebuild(log, config.remembered_max).await?;
        Ok(Self(Arc::new(Inner {
            publisher: log.publisher().context("cannot write mentions")?,
            clock,
            account,
            tenant: TenantId::parse(tenant)?,
            connectors: config.checked_connectors()?,
            matching: Matching::new(brands)?,
            known: Mutex::new(known),
            memories: Mutex::default(),
            coverage: CoverageBook::default(),
            under_way: Arc::new(Semaphore::new(config.in_flight_bytes_max)),
            under_way_max: config.in_flight_bytes_max,
        })))
    }

    /// Takes whole bodies that `connector` (empty: the default one) received: one list of endings per
    /// body, in order. Returns after the log has confirmed.
    ///
    /// # Errors
    /// When the log did not confirm: nothing is known to be stored, and all may be sent again.
    pub async fn take(&self, connector: &str, bodies: Vec<Body>) -> anyhow::Result<Vec<Vec<Ended>>> {
        let connector = self.connector(connector)?.id.clone();
        let _room = self.room(bodies.iter().map(|b| b.bytes.len()).sum()).await;
        let prepared = bodies.into_iter().map(|body| self.prepare_whole(&connector, body));
        let mut prepared = prepared.collect::<Result<Vec<_>, _>>()?;
        Ok(self.confirm(&mut prepared).await?)
    }

    pub(crate) fn connector(&self, name: &str) -> Result<&Connector, UnknownConnector> {
        let name = if name.is_empty() { DEFAULT_CONNECTOR } else { name };
        self.0.connectors.get(name).ok_or_else(|| UnknownConnector {
            name: name.to_owned(),
            known: self.0.connectors.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    fn permits(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.clamp(BODY_BYTES_MIN, self.0.under_way_max)).unwrap_or(u32::MAX)
    }

    /// Waits for room for `bytes`.
    pub(crate) async fn room(&self, bytes: usize) -> Option<Room> {
        // The semaphore is never closed.
        self.0.under_way.clone().acquire_many_owned(self.permits(bytes)).await.ok()
    }

    /// Room for `bytes`, if there is any now.
    pub(crate) fn room_now(&self, bytes: usize) -> Option<Room> {
        self.0.under_way.clone().try_acquire_many_owned(self.permits(bytes)).ok()
    }

    pub(crate) fn prepare_whole(&self, connector: &str, body: Body) -> Result<Prepared, UnknownConnector> {
        if !matches!(body.kind, SourceKind::Mastodon | SourceKind::BlueskyJetstream) {
            return self.prepare(&mut Feed::new(body.kind), connector, body, true);
        }
        // These name earlier posts by local ids, also when every post is a body of its own.
        let memory = self.memory_of(connector, &body);
        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        let mut feed = Feed::remembering(body.kind, std::mem::take(&mut memory));
        let prepared = self.prepare(&mut feed, connector, body, true);
        *memory = feed.into_memory();
        prepared
    }

    /// What bodies of one source told so far; the sources of the smallest names stay when there are too many.
    fn memory_of(&self, connector: &str, body: &Body) -> Arc<Mutex<Memory>> {
        let mut memories = self.0.memories.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (body.kind, connector.to_owned(), body.instance.clone());
        let memory = memories.entry(key).or_default().clone();
        if memories.len() > MEMORIES_MAX {
            memories.pop_last();
        }
        memory
    }

    pub(crate) fn prepare(
        &self,
        feed: &mut Feed,
        connector: &str,
        body: Body,
        is_end: bool,
    ) -> Result<Prepared, UnknownConnector> {
        Ok(decode(feed, body, is_end, self.connector(connector)?, &self.0.tenant))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes what was prepared: first the exact bytes, then the events that point at them and the dead
    /// letters. Nothing counts as stored before the log has confirmed it.
    ///
    /// # Errors
    /// When the log did not confirm in time; every item is then counted as rejected, and the sender told.
    /// The same bodies may be given again.
    pub(crate) async fn confirm(&self, bodies: &mut [Prepared]) -> Result<Vec<Vec<Ended>>, BusError> {
        let items: u64 = bodies.iter().map(|b| b.items.len() as u64).sum();
        self.0.account.accepted(HOP, items);
        match self.publish(bodies).await {
            Ok((ended, counts)) => {
                for ((outcome, reason), count) in counts {
                    self.0.account.ended(HOP, outcome, reason, count);
                }
                Ok(ended)
            }
            Err(error) => {
                self.0.account.ended(HOP, Outcome::Rejected, "log_unavailable", items);
                Err(error)
            }
        }
    }

    async fn publish(&self, bodies: &mut [Prepared]) -> Result<(Vec<Vec<Ended>>, Counts), BusError> {
        let now = self.now();
        self.decide(bodies);
        let raws = self.publish_raw(bodies, now).await?;
        let mut outgoing = Vec::new();
        // Per body and item: its record's place among the outgoing, where it has one.
        let mut places: Vec<Vec<Option<usize>>> = Vec::with_capacity(bodies.len());
        for (prepared, raw) in bodies.iter_mut().zip(raws) {
            let connector = prepared.connector.clone();
            let kind = prepared.body.kind.name();
            let mut place = |record: Outgoing| {
                outgoing.push(record);
                Some(outgoing.len() - 1)
            };
            places.push(
                prepared
                    .items
                    .iter_mut()
                    .map(|item| match item {
                        Item::Event(event) => {
                            event.raw.clone_from(&raw);
                            let message = wire::MentionEvent::from(&**event);
                            let key = contracts::id(event.mention_id.as_bytes());
                            place(self.record(
                                Topic::Mentions,
                                &event.event_id.to_string(),
                                key,
                                &message,
                                now,
                            ))
                        }
                        Item::Refused(refused) => place(self.dead_letter(&connector, kind, refused, now)),
                        _ => None,
                    })
                    .collect(),
            );
        }
        let results =
            if outgoing.is_empty() { Vec::new() } else { self.0.publisher.publish(outgoing).await? };
        let mut letters = Vec::new();
        let mut counts = Counts::new();
        let mut all = Vec::with_capacity(bodies.len());
        for (prepared, places) in bodies.iter().zip(&places) {
            let ended = prepared.items.iter().zip(places).map(|(item, place)| {
                let refused = place.and_then(|at| results[at].as_ref().err());
                self.end(prepared, item, refused, &mut letters, &mut counts, now)
            });
            all.push(ended.collect());
        }
        if !letters.is_empty() {
            // What the log refuses is kept for a person, as far as it fits.
            self.0.publisher.publish(letters).await?;
        }
        Ok((all, counts))
    }

    fn decide(&self, bodies: &mut [Prepared]) {
        let known = self.known();
        let mut view = View::of(&known);
        for prepared in bodies {
            // A body is prepared under the name of a connector that exists.
            if let Some(connector) = self.0.connectors.get(&prepared.connector) {
                decide(&mut prepared.items, connector, &self.0.matching, &mut view);
            }
        }
    }

    fn end(
        &self,
        prepared: &Prepared,
        item: &Item,
        refused: Option<&RefusedRecord>,
        letters: &mut Vec<Outgoing>,
        counts: &mut Counts,
        now: Timestamp,
    ) -> Ended {
        use wire::Disposition as D;
        let (outcome, reason, disposition, mention_id, refusal) = match (item, refused) {
            (Item::Event(event), None) => {
                self.known().published(event);
                (Outcome::Stored, "", D::Stored, Some(event.mention_id), None)
            }
            (Item::Event(event), Some(refused)) => {
                let record = Refused {
                    reason: refused.reason,
                    detail: "the log does not take its event".into(),
                    location: String::new(),
                    bytes: prepared.body.bytes.slice(..prepared.body.bytes.len().min(REFUSED_BODY_BYTES_MAX)),
                };
                letters.push(self.dead_letter(&prepared.connector, prepared.body.kind.name(), &record, now));
                let refusal = refusal(record.reason, &record.detail, "");
                (
                    Outcome::DeadLettered,
                    refused.reason,
                    D::DeadLettered,
                    Some(event.mention_id),
                    Some(refusal),
                )
            }
            (Item::Repeat(id), _) => (Outcome::Merged, "repeat", D::Merged, Some(*id), None),
            (Item::Suppressed(id, why), _) => (Outcome::Suppressed, *why, D::Suppressed, Some(*id), None),
            (Item::Ignored(label), _) => (Outcome::Suppressed, *label, D::Ignored, None, None),
            (Item::Refused(r), _) => {
                let refusal = refusal(r.reason, &r.detail, &r.location);
                (Outcome::DeadLettered, r.reason, D::DeadLettered, None, Some(refusal))
            }
        };
        *counts.entry((outcome, reason)).or_default() += 1;
        Ended { disposition, mention_id, refusal }
    }

    /// Publishes the exact bytes of each body that will be pointed at; says where they lie.
    async fn publish_raw(
        &self,
        bodies: &[Prepared],
        now: Timestamp,
    ) -> Result<Vec<Option<RawRef>>, BusError> {
        let mut digests = Vec::with_capacity(bodies.len());
        let mut outgoing = Vec::new();
        for prepared in bodies {
            let pointed_at = prepared.items.iter().any(|item| matches!(item, Item::Event(_)));
            if !prepared.keep_raw || !pointed_at {
                digests.push(None);
                continue;
            }
            let body = &prepared.body;
            let mut digest = [0; 16];
            digest.copy_from_slice(&blake3::hash(&body.bytes).as_bytes()[..16]);
            let kept = body.bytes.slice(..body.bytes.len().min(RAW_BODY_BYTES_MAX));
            let message = wire::RawRecord {
                source_kind: body.kind.name().into(),
                instance: body.instance.clone(),
                connector: prepared.connector.clone(),
                received_at_us: body.received_at.as_micros(),
                is_cut: kept.len() < body.bytes.len(),
                body: kept,
                digest: Bytes::copy_from_slice(&digest),
            };
            let key = format!("{}/{}", body.kind.name(), body.instance).into();
            let id = Uuid::from_bytes(digest).to_string();
            outgoing.push(self.record(Topic::Raw, &id, key, &message, now));
            digests.push(Some(digest));
        }
        let mut stored = match outgoing.is_empty() {
            true => Vec::new(),
            false => self.0.publisher.publish(outgoing).await?,
        }
        .into_iter();
        let raws = digests.into_iter().map(|digest| {
            let digest = digest?;
            // Bytes the log does not take are not kept; the event stands without them.
            let Position { partition, offset } = stored.next()?.ok()?;
            Some(RawRef { partition: partition.number, offset, digest })
        });
        Ok(raws.collect())
    }

    fn dead_letter(&self, connector: &str, kind: &str, refused: &Refused, now: Timestamp) -> Outgoing {
        let message = wire::DeadLetter {
            service: HOP.into(),
            reason: refused.reason.into(),
            detail: refused.detail.clone(),
            location: refused.location.clone(),
            source_kind: kind.into(),
            connector: connector.to_owned(),
            is_cut: refused.bytes.len() == REFUSED_BODY_BYTES_MAX,
            body: refused.bytes.clone(),
            refused_at_us: now.as_micros(),
            attempt: 1,
            ..wire::DeadLetter::default()
        };
        let id = EventId::derive(&[
            connector,
            refused.reason,
            &refused.location,
            blake3::hash(&refused.bytes).to_hex().as_str(),
        ]);
        self.record(Topic::DeadLetter, &id.to_string(), format!("{connector}/{kind}").into(), &message, now)
    }

    /// Counts items that were refused and told to the sender before they were bodies.
    pub(crate) fn reject(&self, reason: &'static str, count: u64) {
        self.0.account.accepted(HOP, count);
        self.0.account.ended(HOP, Outcome::Rejected, reason, count);
    }

    /// Notes how complete a connector is, and tells the others when that changed.
    ///
    /// # Errors
    /// When the log did not confirm.
    pub(crate) async fn cover(
        &self,
        connector: &str,
        state: wire::CoverageState,
        watermark: Option<Timestamp>,
        detail: &str,
    ) -> Result<(), BusError> {
        let now = self.now();
        match self.0.coverage.note(connector, state, watermark, detail, now) {
            Some(coverage) => self.publish_coverage(vec![coverage]).await,
            None => Ok(()),
        }
    }

    pub(crate) fn coverage(&self) -> Vec<wire::Coverage> {
        self.0.coverage.all()
    }

    pub(crate) async fn publish_coverage(&self, all: Vec<wire::Coverage>) -> Result<(), BusError> {
        if all.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let records = all
            .into_iter()
            .map(|coverage| {
                let id = format!("{}/{}", coverage.connector, now.as_micros());
                let key = coverage.connector.clone().into();
                self.record(Topic::Mentions, &id, key, &coverage, now)
            })
            .collect();
        self.0.publisher.publish(records).await.map(|_| ())
    }

    fn record<M: Message + Name>(
        &self,
        topic: Topic,
        id: &str,
        key: Bytes,
        message: &M,
        now: Timestamp,
    ) -> Outgoing {
        let sealed = envelope::seal(id, SOURCE, now, message);
        let mut headers = Headers::from_iter(sealed.headers);
        runtime::telemetry::inject(|name, value| headers.push(name, value));
        Outgoing {
            topic,
            partition: None,
            record: Record { key, value: Some(sealed.value), headers, at: now },
        }
    }
}

type Counts = BTreeMap<(Outcome, &'static str), u64>;

pub(crate) fn refusal(reason: &str, detail: &str, location: &str) -> wire::Refusal {
    wire::Refusal {
        reason: reason.into(),
        detail: detail.into(),
        location: location.into(),
        is_retryable: false,
    }
}

/// Reads from the newest mentions which events and mentions were published.
async fn rebuild(log: &dyn Log, max: usize) -> anyhow::Result<Known> {
    let reader = log.reader().context("cannot read mentions")?;
    let doing = || "cannot read the newest mentions".to_owned();
    let partitions = reader.partitions(Topic::Mentions).await.with_context(doing)?;
    let share = i64::try_from(max / usize::try_from(partitions.max(1)).unwrap_or(1)).unwrap_or(i64::MAX);
    let mut known = Known::new(max);
    for number in 0..partitions {
        let partition = Partition { topic: Topic::Mentions, number };
        let marks = reader.watermarks(partition).await.with_context(doing)?;
        let mut from = marks.low.max(marks.high.saturating_sub(share));
        while from < marks.high {
            let part = reader.scan(partition, from, marks.high, REBUILD_RECORDS).await.with_context(doing)?;
            for received in part.records {
                let ce_type = received.record.headers.text(envelope::CE_TYPE);
                let Ok(event) = envelope::open::<wire::MentionEvent>(ce_type, received.record.value.as_ref())
                else {
                    continue;
                };
                let ids = (EventId::from_slice(&event.event_id), MentionId::from_slice(&event.mention_id));
                if let (Ok(event_id), Ok(mention_id)) = ids {
                    let brands: Vec<_> = event.brands.iter().filter_map(|b| BrandId::parse(b).ok()).collect();
                    known.remember(event_id, mention_id, &brands);
                }
            }
            if part.next <= from {
                bail!("{}: no progress at offset {from}", doing());
            }
            from = part.next;
        }
    }
    Ok(known)
}
