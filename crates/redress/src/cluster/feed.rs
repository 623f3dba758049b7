//! Publishes recordings and stories to a running ingest over gRPC: in time order, at a given pace, with
//! back-pressure, and with an account of what became of each record.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, bail};
use contracts::ingest::v1::ingest_service_client::IngestServiceClient;
use contracts::ingest::v1::{Disposition, PublishRequest, PublishResponse};
use indicatif::ProgressBar;
use model::{SourceKind, TenantId, Timestamp, Transport};
use runtime::net::Link;
use runtime::{Clock, RealClock, ScaledClock};
use sources::{CsvMap, DecodeContext, Framer, Piece};
use tokio::sync::{Semaphore, mpsc};

use crate::scenario::Arrival;

/// Records in one request at full speed.
const RECORDS_PER_REQUEST_MAX: usize = 250;
/// Bytes in one request at full speed, unless one record is larger.
const REQUEST_BYTES: usize = 256 * 1024;
/// Requests read ahead.
const AHEAD_MAX: usize = 8;
/// Bodies of a story made ready ahead.
const STORY_AHEAD_MAX: usize = 64;
/// A file whose records are out of order is sorted in memory up to this size.
const SORT_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Records by which a recording's order is judged.
const SAMPLE: usize = 2_000;
/// At full speed every so many records one is asked for its time, and the last of each parcel.
const TIME_EVERY: u64 = 16;
/// Neighbours may be this much out of order without anybody minding.
const JITTER_MS: i64 = 60_000;

/// A recording and how to read it.
#[derive(Debug, Clone)]
pub(crate) struct Recording {
    /// The file; `-` is standard input.
    pub(crate) path: PathBuf,
    /// Its wire format.
    pub(crate) kind: SourceKind,
    /// Host, page, app; empty where the network is one.
    pub(crate) instance: String,
    /// For tables: column to field.
    pub(crate) map: BTreeMap<String, String>,
}

/// What is sent in one request.
#[derive(Debug, Clone)]
pub(crate) struct Parcel {
    /// The time of its first record.
    pub(crate) first_at: Timestamp,
    /// The time of its last record.
    pub(crate) last_at: Timestamp,
    pub(super) kind: SourceKind,
    pub(super) instance: String,
    pub(super) map: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
    /// Where each record stood in the file.
    lines: Vec<u64>,
}

/// What is read of a recording.
#[derive(Debug)]
pub(crate) enum Fed {
    /// Something to send.
    Parcel(Parcel),
    /// A piece of the file that is no record, and its line.
    Refused {
        /// From 1.
        line: u64,
        /// Why, in words.
        reason: String,
    },
}

/// Parcels on their way to the sender.
pub(crate) type Feed = mpsc::Receiver<anyhow::Result<Fed>>;

/// Bodies in order, each a parcel of its own.
pub(crate) fn tell(arrivals: impl Iterator<Item = Arrival> + Send + 'static) -> Feed {
    let (out, parcels) = mpsc::channel(STORY_AHEAD_MAX);
    tokio::spawn(async move {
        for arrival in arrivals {
            if out.send(Ok(Fed::Parcel(Parcel::of_arrival(arrival)))).await.is_err() {
                return;
            }
        }
    });
    parcels
}

impl Parcel {
    pub(super) fn of_arrival(arrival: Arrival) -> Self {
        Self {
            first_at: arrival.at,
            last_at: arrival.at,
            kind: arrival.kind,
            instance: arrival.instance.to_owned(),
            map: BTreeMap::new(),
            body: arrival.body,
            lines: vec![0],
        }
    }

    /// How many records it holds.
    pub(super) fn records(&self) -> u32 {
        u32::try_from(self.lines.len()).unwrap_or(u32::MAX)
    }
}

/// How fast.
#[derive(Clone)]
pub(crate) enum Pace {
    /// As fast as the log confirms.
    Max,
    /// As fast as there is room: a permit for each record, which somebody gives back.
    Room(Arc<Semaphore>),
    /// A record when this clock shows its time.
    Clock(Arc<dyn Clock>),
    /// So many times as fast as it was recorded, from the first record on.
    FromTheFirst(f64),
}

/// What became of what was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Records sent.
    pub(crate) records: u64,
    /// New mentions.
    pub(crate) stored: u64,
    /// Repeats.
    pub(crate) merged: u64,
    /// About none of the brands.
    pub(crate) suppressed: u64,
    /// Refused.
    pub(crate) refused: u64,
    /// Valid deliveries without a mention.
    pub(crate) ignored: u64,
    /// Requests confirmed.
    pub(crate) requests: u64,
}

/// Reads `recording` into parcels, in time order, on a thread of its own. The first `skip` records are left out.
///
/// Reading ends early, without an error, when nobody takes the parcels any more.
pub(crate) fn read(recording: Recording, one_by_one: bool, skip: u64, progress: ProgressBar) -> Feed {
    let (out, parcels) = mpsc::channel(AHEAD_MAX);
    tokio::task::spawn_blocking(move || {
        let name = recording.path.display().to_string();
        let reading = Reading { one_by_one, skip, ..Reading::of(recording, progress, out.clone()) };
        if let Err(error) = reading.run() {
            let _ = out.blocking_send(Err(error.context(format!("cannot replay {name}"))));
        }
    });
    parcels
}

/// The time of the first record, in time order; the epoch where nobody can look ahead. Reads no further than
/// it must, and keeps nothing.
///
/// # Errors
/// When the recording cannot be read.
pub(crate) async fn first_at(recording: Recording) -> anyhow::Result<Timestamp> {
    if recording.path == Path::new("-") {
        return Ok(Timestamp::EPOCH);
    }
    let looking = tokio::task::spawn_blocking(move || {
        let name = recording.path.display().to_string();
        let (out, _nobody) = mpsc::channel(1);
        let first = Reading::of(recording, ProgressBar::hidden(), out).first_at();
        first.with_context(|| format!("cannot replay {name}"))
    });
    looking.await.context("looking at the recording broke off")?
}

struct Reading {
    recording: Recording,
    one_by_one: bool,
    skip: u64,
    progress: ProgressBar,
    out: mpsc::Sender<anyhow::Result<Fed>>,
    open: Option<Parcel>,
    /// Where the newest record begins in the open parcel's body.
    newest_from: usize,
    header: Option<Vec<u8>>,
    seen: u64,
    tenant: TenantId,
    columns: Option<CsvMap>,
    /// Pieces that are no records are told in the pass that sends, not in one that only looks.
    tells_refusals: bool,
}

/// One record, made into a body of its own (without a table's header).
struct Found {
    at: Timestamp,
    line: u64,
    body: Vec<u8>,
}

/// Nobody listens any more.
struct Gone;

impl Reading {
    fn of(recording: Recording, progress: ProgressBar, out: mpsc::Sender<anyhow::Result<Fed>>) -> Self {
        Self {
            recording,
            one_by_one: false,
            skip: 0,
            progress,
            out,
            open: None,
            newest_from: 0,
            header: None,
            seen: 0,
            tenant: TenantId::slugify("replay"),
            columns: None,
            tells_refusals: false,
        }
    }

    fn first_at(mut self) -> anyhow::Result<Timestamp> {
        self.columns = self.csv_map()?;
        let must_sort = self.is_out_of_order()?;
        let mut first: Option<Timestamp> = None;
        self.scan(|reading, _, body, _| {
            if let Some(at) = reading.time_of(&body) {
                first = Some(first.map_or(at, |first| first.min(at)));
            }
            must_sort || first.is_none()
        })?;
        Ok(first.unwrap_or(Timestamp::EPOCH))
    }

    fn run(mut self) -> anyhow::Result<()> {
        self.columns = self.csv_map()?;
        let must_sort = self.is_out_of_order()?;
        self.tells_refusals = true;
        let mut sorted = Vec::new();
        let mut gone = false;
        self.scan(|reading, line, body, last_known_at| {
            // At full speed the clock follows whole parcels: a few of their records tell the time.
            let is_asked = must_sort || reading.one_by_one || reading.seen.is_multiple_of(TIME_EVERY);
            let told = is_asked.then(|| reading.time_of(&body)).flatten();
            *last_known_at = told.unwrap_or(*last_known_at);
            let found = Found { at: *last_known_at, line, body };
            if must_sort {
                sorted.push(found);
                return true;
            }
            gone = reading.add(found).is_err();
            !gone
        })?;
        sorted.sort_by_key(|f| f.at);
        for found in sorted {
            if self.add(found).is_err() {
                return Ok(());
            }
        }
        // Whoever no longer listens needs no rest.
        let _ = self.hand_over();
        Ok(())
    }

    fn csv_map(&self) -> anyhow::Result<Option<CsvMap>> {
        if self.recording.kind != SourceKind::Csv {
            return Ok(None);
        }
        let text: Vec<String> =
            self.recording.map.iter().map(|(column, field)| format!("{column}={field}")).collect();
        Ok(Some(CsvMap::parse(&text.join(",")).context("--map")?))
    }

    /// The time by which a record is ordered, read by the very decoder that ingest will use.
    fn time_of(&self, body: &[u8]) -> Option<Timestamp> {
        let context = DecodeContext {
            tenant: &self.tenant,
            connector: "",
            instance: &self.recording.instance,
            transport: Transport::Backfill,
            // Claimed times are believed up to the present.
            received_at: RealClock.now(),
            csv_map: self.columns.as_ref(),
        };
        let whole;
        let body = match &self.header {
            Some(header) => {
                whole = [header.as_slice(), body].concat();
                &whole
            }
            None => body,
        };
        let decoded = sources::decode(self.recording.kind, body, &context);
        decoded.events.iter().map(|e| e.observed_at).max()
    }

    /// Judges the beginning of the file.
    fn is_out_of_order(&mut self) -> anyhow::Result<bool> {
        if self.recording.path == Path::new("-") {
            return Ok(false);
        }
        let bytes = std::fs::metadata(&self.recording.path)?.len();
        self.progress.set_length(bytes);
        let mut newest = Timestamp::MIN;
        let mut seen = 0;
        let mut backwards = 0;
        self.scan(|reading, _, body, _| {
            if let Some(at) = reading.time_of(&body) {
                backwards += usize::from(newest > Timestamp::MIN && at.millis_since(newest) < -JITTER_MS);
                newest = newest.max(at);
            }
            seen += 1;
            seen < SAMPLE
        })?;
        self.progress.set_position(0);
        let disordered = backwards * 50 > seen;
        if disordered && bytes > SORT_BYTES_MAX {
            bail!(
                "its records are out of time order and it is larger than {SORT_BYTES_MAX} bytes: sort it by time first"
            );
        }
        Ok(disordered)
    }

    /// Hands every record's line and body to `each` until that says stop.
    fn scan(
        &mut self,
        mut each: impl FnMut(&mut Self, u64, Vec<u8>, &mut Timestamp) -> bool,
    ) -> anyhow::Result<()> {
        let mut file: Box<dyn Read> = match self.recording.path.to_str() {
            Some("-") => Box::new(std::io::stdin().lock()),
            _ => Box::new(std::fs::File::open(&self.recording.path)?),
        };
        let is_table = self.recording.kind == SourceKind::Csv;
        let mut framer = Framer::new(self.recording.kind);
        let mut chunk = vec![0; 128 * 1024];
        let mut found = VecDeque::new();
        let mut refused = Vec::new();
        let mut last_at = Timestamp::EPOCH;
        self.header = None;
        loop {
            let n = file.read(&mut chunk)?;
            let mut take = |piece: Piece<'_>| match piece {
                Piece::Record(record) => found.push_back((record.line, body_of(record.bytes, record.event))),
                Piece::TooLong { line, limit, .. } => {
                    refused.push((line, format!("too long: more than {limit} bytes")));
                }
                Piece::CutOff { line, .. } => {
                    refused.push((line, "cut off: the input ends inside this record".to_owned()));
                }
                Piece::NoElement { line, .. } => {
                    refused.push((line, "a comma where an element should be".to_owned()));
                }
                Piece::Heartbeat => {}
            };
            if n == 0 {
                framer.finish(&mut take)
            } else {
                framer.push(&chunk[..n], &mut take)
            }
            self.progress.inc(n as u64);
            for (line, reason) in refused.drain(..) {
                if self.tells_refusals && self.out.blocking_send(Ok(Fed::Refused { line, reason })).is_err() {
                    return Ok(());
                }
            }
            while let Some((line, body)) = found.pop_front() {
                if is_table && self.header.is_none() {
                    self.header = Some(body);
                    continue;
                }
                if !each(self, line, body, &mut last_at) {
                    return Ok(());
                }
            }
            if n == 0 {
                return Ok(());
            }
        }
    }

    /// Gives the open parcel away; its newest record tells how late it is.
    fn hand_over(&mut self) -> Result<(), Gone> {
        let Some(mut parcel) = self.open.take() else { return Ok(()) };
        if !self.one_by_one {
            let header = self.header.as_ref().map_or(0, Vec::len);
            let from = |start: usize| self.time_of(parcel.body.get(start..).unwrap_or_default());
            // Where the newest record has no time to tell, all of them are asked.
            let newest = from(self.newest_from).or_else(|| from(header));
            parcel.last_at = newest.map_or(parcel.last_at, |at| parcel.last_at.max(at));
        }
        self.out.blocking_send(Ok(Fed::Parcel(parcel))).map_err(|_| Gone)
    }

    fn add(&mut self, found: Found) -> Result<(), Gone> {
        self.seen += 1;
        if self.seen <= self.skip {
            return Ok(());
        }
        let full = self.open.as_ref().is_some_and(|p| {
            self.one_by_one
                || p.lines.len() >= RECORDS_PER_REQUEST_MAX
                || p.body.len() + found.body.len() > REQUEST_BYTES
        });
        // A document is whole in itself; two of them are none.
        let alone = matches!(sources::framing(self.recording.kind), sources::Framing::Whole { .. });
        if full || alone {
            self.hand_over()?;
        }
        let parcel = self.open.get_or_insert_with(|| Parcel {
            first_at: found.at,
            last_at: found.at,
            kind: self.recording.kind,
            instance: self.recording.instance.clone(),
            map: self.recording.map.clone(),
            body: self.header.clone().unwrap_or_default(),
            lines: Vec::new(),
        });
        parcel.last_at = parcel.last_at.max(found.at);
        self.newest_from = parcel.body.len();
        parcel.body.extend_from_slice(&found.body);
        parcel.lines.push(found.line);
        Ok(())
    }
}

/// The bytes that decode to one record on their own.
fn body_of(bytes: &[u8], event: Option<&str>) -> Vec<u8> {
    let mut body = Vec::with_capacity(bytes.len() + 32);
    if let Some(event) = event {
        body.extend_from_slice(b"event: ");
        body.extend_from_slice(event.as_bytes());
        body.extend_from_slice(b"\ndata: ");
        for (i, line) in bytes.split(|b| *b == b'\n').enumerate() {
            if i > 0 {
                body.extend_from_slice(b"\ndata: ");
            }
            body.extend_from_slice(line);
        }
        body.push(b'\n');
    } else {
        body.extend_from_slice(bytes);
    }
    body.push(b'\n');
    body
}

/// What the sender is told about each parcel once it is confirmed.
pub(crate) trait Watcher: Send + 'static {
    /// `parcel` is confirmed; `tally` counts everything so far.
    fn confirmed(&mut self, parcel: &Parcel, tally: &Tally);
}

impl<F: FnMut(&Parcel, &Tally) + Send + 'static> Watcher for F {
    fn confirmed(&mut self, parcel: &Parcel, tally: &Tally) {
        self(parcel, tally);
    }
}

/// Sends parcels until there are no more; refusals go to standard error, named by `name` and line.
///
/// # Errors
/// When reading fails, or ingest goes away or does not confirm.
pub(crate) async fn send(
    mut client: IngestServiceClient<Link>,
    name: &str,
    mut parcels: Feed,
    mut pace: Pace,
    mut watcher: impl Watcher,
) -> anyhow::Result<Tally> {
    let (requests, outgoing) = mpsc::channel::<PublishRequest>(AHEAD_MAX);
    let open: Arc<Mutex<VecDeque<Parcel>>> = Arc::default();
    let sending = {
        let open = open.clone();
        async move {
            let mut refused = 0;
            while let Some(fed) = parcels.recv().await {
                let parcel = match fed? {
                    Fed::Parcel(parcel) => parcel,
                    Fed::Refused { line, reason } => {
                        refused += 1;
                        eprintln!("{name}:{line}: {reason}");
                        continue;
                    }
                };
                if let Pace::FromTheFirst(times) = pace {
                    pace = Pace::Clock(Arc::new(ScaledClock::starting_at(parcel.first_at, times)));
                }
                if let Pace::Clock(clock) = &pace {
                    clock.sleep_until(parcel.first_at).await;
                }
                if let Pace::Room(room) = &pace {
                    room.acquire_many(parcel.records()).await?.forget();
                }
                let request = PublishRequest {
                    source_kind: parcel.kind.name().to_owned(),
                    instance: parcel.instance.clone(),
                    body: parcel.body.clone().into(),
                    csv_map: parcel.map.clone().into_iter().collect(),
                    is_backfill: true,
                    // Received when it was written: a later time would be clamped, an earlier one not believed.
                    received_at_us: parcel.last_at.as_micros(),
                    ..PublishRequest::default()
                };
                lock(&open).push_back(parcel);
                if requests.send(request).await.is_err() {
                    // The answering half knows why.
                    break;
                }
            }
            anyhow::Ok(refused)
        }
    };
    let receiving = async {
        let stream =
            futures::stream::unfold(outgoing, |mut rx| async move { rx.recv().await.map(|r| (r, rx)) });
        let mut answers = client.publish_stream(stream).await.map_err(super::wire::refused)?.into_inner();
        let mut tally = Tally::default();
        while let Some(answer) = answers.message().await.map_err(super::wire::refused)? {
            let Some(parcel) = lock(&open).pop_front() else {
                bail!("ingest answered more often than it was asked")
            };
            count(&mut tally, name, &parcel, &answer)?;
            watcher.confirmed(&parcel, &tally);
        }
        if !lock(&open).is_empty() {
            bail!("ingest ended the call before it had answered everything");
        }
        anyhow::Ok(tally)
    };
    let (sent, tally) = tokio::join!(sending, receiving);
    let mut tally = tally?;
    let refused: u64 = sent?;
    tally.records += refused;
    tally.refused += refused;
    Ok(tally)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn count(tally: &mut Tally, name: &str, parcel: &Parcel, answer: &PublishResponse) -> anyhow::Result<()> {
    tally.requests += 1;
    tally.records += parcel.lines.len() as u64;
    let named = |refusal: &contracts::ingest::v1::Refusal| {
        let place = place(parcel, &refusal.location);
        eprintln!("{name}:{place}: {} ({})", refusal.detail, refusal.reason);
    };
    if let Some(refusal) = &answer.refusal {
        if refusal.is_retryable {
            bail!("ingest could not take it in: {}", refusal.detail);
        }
        named(refusal);
        tally.refused += parcel.lines.len() as u64;
        return Ok(());
    }
    for item in &answer.items {
        match item.disposition() {
            Disposition::Stored => tally.stored += 1,
            Disposition::Merged => tally.merged += 1,
            Disposition::Suppressed => tally.suppressed += 1,
            Disposition::Ignored => tally.ignored += 1,
            Disposition::Rejected | Disposition::DeadLettered | Disposition::Unspecified => {
                tally.refused += 1;
                if let Some(refusal) = &item.refusal {
                    named(refusal);
                }
            }
        }
    }
    Ok(())
}

/// Translates a place in the parcel's body to the line of the file.
fn place(parcel: &Parcel, location: &str) -> String {
    let header = u64::from(parcel.kind == SourceKind::Csv);
    let line =
        location.strip_prefix("line ").and_then(|l| l.split(',').next()).and_then(|l| l.parse::<u64>().ok());
    let record = line.and_then(|l| l.checked_sub(1 + header)).and_then(|i| usize::try_from(i).ok());
    match record.and_then(|i| parcel.lines.get(i)).or(parcel.lines.first()) {
        Some(0) | None => location.to_owned(),
        Some(line) => line.to_string(),
    }
}
