//! Sources as people are told of them: which are silent, whom that concerns, and up to when a brand has been
//! heard. Silence of a source is an episode of its own, opened by a due row and ended by the source.

use std::collections::BTreeMap;

use contracts::ingest::v1::{Coverage, CoverageState};
use model::{BrandId, Severity, Subject, Timestamp};
use paging::{Counts, Decision, Facts, Policy, Reason, Signal, SignalKind};
use store::due::{self, Due};
use store::{Store, Tx};

use crate::config::SourcesConfig;
use crate::coverage::{MEMORY_S, is_heard};
use crate::desk::Desk;
use crate::store::{self as tables, SERVICE, TableError};

/// Due work: look whether a source is still silent.
pub(crate) const DUE_SOURCE: &str = "source";
/// A brand does not expect what it has not heard through a source for so long, in milliseconds.
const EXPECTED_MS: i64 = 7 * 86_400_000;
/// A source that is back but behind is looked at again after so long, and told after so long, in
/// milliseconds.
const LOOK_AGAIN_MS: i64 = 60_000;
const BEHIND_MS: i64 = 3_600_000;
/// What was heard is written so often, in milliseconds.
const WRITE_EVERY_MS: i64 = 600_000;
/// Pairs of brand and connector counted between two writes; further ones wait for room.
const PAIRS_MAX: usize = 10_000;

/// What a source last said about itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Source {
    pub(crate) connector: String,
    pub(crate) state: CoverageState,
    /// Since when the state holds, as it says.
    pub(crate) since: Timestamp,
    /// Everything witnessed before this has been heard.
    pub(crate) watermark: Timestamp,
    /// Since when it is not heard; stays until it is live again.
    pub(crate) silent_since: Option<Timestamp>,
    pub(crate) detail: String,
}

impl Source {
    /// What it is after what it says now.
    fn after(before: Option<&Self>, said: &Coverage) -> Self {
        let since = Timestamp::from_micros(said.since_us);
        let before = before.and_then(|before| before.silent_since);
        let silent_since = if is_heard(said.state()) { None } else { before.or(Some(since)) };
        Self {
            connector: said.connector.clone(),
            state: said.state(),
            since,
            watermark: Timestamp::from_micros(said.watermark_us),
            silent_since,
            detail: said.detail.clone(),
        }
    }

    const fn is_heard(&self) -> bool {
        is_heard(self.state)
    }
}

/// All sources, and how many posts of each brand came through which, fading.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    pub(crate) by_connector: BTreeMap<String, Source>,
    pub(crate) by_brand: BTreeMap<BrandId, BTreeMap<String, f64>>,
}

/// What of a brand is not heard.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Unheard {
    /// Share (0..1) of its posts that usually comes through sources that are heard.
    pub(crate) share: f64,
    pub(crate) connectors: Vec<String>,
    pub(crate) since: Timestamp,
    /// Everything before this has been heard.
    pub(crate) until: Timestamp,
}

impl Unheard {
    /// One sentence for people.
    pub(crate) fn words(&self) -> String {
        format!(
            "nothing is heard from {}: {:.0} % of the usual posts are missing, so silence is not calm",
            self.connectors.join(", "),
            (1.0 - self.share) * 100.0
        )
    }
}

impl Sources {
    pub(crate) async fn load(store: &Store, now: Timestamp) -> Result<Self, TableError> {
        tables::sources::all(store.pool(), now.plus_millis(-EXPECTED_MS)).await
    }

    /// What of a brand is not heard; `None` when everything is. A brand nobody has heard yet may be spoken
    /// of anywhere, so that it misses every silent source.
    pub(crate) fn unheard(&self, brand: &BrandId) -> Option<Unheard> {
        let of_brand = self.by_brand.get(brand);
        let weight = |connector: &str| match of_brand {
            Some(of_brand) => of_brand.get(connector).copied().unwrap_or(0.0),
            None => 1.0,
        };
        let silent: Vec<&Source> = self
            .by_connector
            .values()
            .filter(|source| !source.is_heard() && weight(&source.connector) > 0.0)
            .collect();
        let first = silent.iter().map(|source| source.silent_since.unwrap_or(source.since)).min()?;
        let until = silent.iter().map(|source| source.watermark).min()?;
        let ended = |connector: &String| {
            self.by_connector.get(connector).is_some_and(|source| source.state == CoverageState::Ended)
        };
        let all: f64 = match of_brand {
            Some(of_brand) => of_brand.iter().filter(|(name, _)| !ended(name)).map(|(_, posts)| posts).sum(),
            None => self.by_connector.keys().filter(|name| !ended(name)).count() as f64,
        };
        let missing: f64 = silent.iter().map(|source| weight(&source.connector)).sum();
        Some(Unheard {
            share: if all > 0.0 { (1.0 - missing / all).clamp(0.0, 1.0) } else { 1.0 },
            connectors: silent.iter().map(|source| source.connector.clone()).collect(),
            since: first,
            until,
        })
    }

    /// Everything witnessed about a brand before this has been heard: `now`, unless so much of it is
    /// missing that the rest says nothing.
    pub(crate) fn heard_until(&self, brand: &BrandId, now: Timestamp) -> Timestamp {
        let enough = f64::from(detect::DetectPolicy::default().min_coverage);
        match self.unheard(brand) {
            Some(unheard) if unheard.share < enough => unheard.until.min(now),
            _ => now,
        }
    }

    /// Whom the silence of a connector concerns, and the share (0..1) of their posts that came through it.
    fn listeners(&self, connector: &str, configured: &[BrandId], share_min: f64) -> Vec<(BrandId, f64)> {
        let share = |of_brand: &BTreeMap<String, f64>| {
            let all: f64 = of_brand.values().sum();
            if all > 0.0 { of_brand.get(connector).copied().unwrap_or(0.0) / all } else { 0.0 }
        };
        let known = self.by_brand.iter().map(|(brand, of_brand)| (brand.clone(), share(of_brand)));
        let listeners: Vec<_> = known.filter(|(_, share)| *share > 0.0).collect();
        if listeners.is_empty() {
            // It was never heard: nobody can say whose posts are missing.
            return configured.iter().map(|brand| (brand.clone(), 0.0)).collect();
        }
        listeners.into_iter().filter(|(_, share)| *share >= share_min).collect()
    }
}

/// A source says how complete it is: noted, and a look planned when it fell silent. Whoever was told of its
/// silence hears of its end.
pub(crate) async fn told(
    desk: &Desk,
    tx: &mut Tx,
    said: &Coverage,
    config: &SourcesConfig,
    now: Timestamp,
) -> Result<Vec<Decision>, TableError> {
    if said.connector.is_empty() {
        return Ok(Vec::new());
    }
    let before = tables::sources::one(tx, &said.connector).await?;
    let source = Source::after(before.as_ref(), said);
    tables::sources::save(tx, &source).await?;
    let was_silent = before.is_some_and(|before| before.silent_since.is_some());
    match (was_silent, source.silent_since.is_some()) {
        (false, true) => {
            // Counted from now: a word heard late, from a log read anew, is soon followed by the next.
            let at = now.plus_millis(i64::from(config.silent_after_s) * 1_000);
            look_at(tx, &source.connector, at).await?;
            Ok(Vec::new())
        }
        (true, false) => {
            due::cancel(tx, SERVICE, &due_key(&source.connector)).await?;
            heard_again(desk, tx, &source, now).await
        }
        _ => Ok(Vec::new()),
    }
}

/// The time of a planned look has come.
pub(crate) async fn look(
    desk: &Desk,
    tx: &mut Tx,
    sources: &Sources,
    connector: &str,
    brands: &[BrandId],
    config: &SourcesConfig,
    now: Timestamp,
) -> Result<Vec<Decision>, TableError> {
    let mut decisions = Vec::new();
    let Some(source) = tables::sources::one(tx, connector).await? else { return Ok(decisions) };
    let Some(since) = source.silent_since else { return Ok(decisions) };
    let is_behind = source.state == CoverageState::CatchingUp;
    if is_behind && now.millis_since(since) < BEHIND_MS {
        look_at(tx, connector, now.plus_millis(LOOK_AGAIN_MS)).await?;
        return Ok(decisions);
    }
    // History that is read in was never expected; it is nobody's silence.
    let brands = if is_behind { &[] } else { brands };
    for (brand, share) in sources.listeners(connector, brands, f64::from(config.share_min)) {
        decisions.push(desk.signal(tx, silent(&source, brand, share, since, now), now).await?);
    }
    Ok(decisions)
}

async fn heard_again(
    desk: &Desk,
    tx: &mut Tx,
    source: &Source,
    now: Timestamp,
) -> Result<Vec<Decision>, TableError> {
    let mut decisions = Vec::new();
    for open in tables::open_of(&mut **tx, None).await? {
        let Subject::Source { brand, connector } = &open.episode.subject else { continue };
        if *connector != source.connector {
            continue;
        }
        let words = match source.state {
            CoverageState::Ended => format!("{connector} was ended on purpose"),
            _ => format!("{connector} is heard again"),
        };
        let mut signal = silent(source, brand.clone(), 0.0, open.episode.since, now);
        signal.kind = SignalKind::Calm;
        signal.why = Reason::Observed { code: "heard_again".into(), words, numbers: BTreeMap::new() };
        decisions.push(desk.signal(tx, signal, now).await?);
    }
    Ok(decisions)
}

fn silent(source: &Source, brand: BrandId, share: f64, since: Timestamp, now: Timestamp) -> Signal {
    let connector = &source.connector;
    let minutes = (now.millis_since(since) / 60_000).max(1);
    let mut words = match source.state {
        CoverageState::CatchingUp => {
            format!("{connector} is behind for {minutes} min, heard up to {}", source.watermark)
        }
        _ => format!("nothing heard from {connector} for {minutes} min"),
    };
    if !source.detail.is_empty() {
        words.push_str(&format!(" ({})", source.detail));
    }
    words.push_str(&match share {
        s if s > 0.0 => format!("; {:.0} % of the posts about {brand} come through it", s * 100.0),
        _ => "; it was never heard before".to_owned(),
    });
    words.push_str("; silence is not calm");
    let numbers = [("silent_s", now.millis_since(since) as f64 / 1_000.0), ("share", share)];
    Signal {
        rule: Policy::SILENT_SOURCE.to_owned(),
        subject: Subject::Source { brand: brand.clone(), connector: connector.clone() },
        topic: None,
        kind: SignalKind::Opened,
        facts: Facts {
            title: format!("{brand}: nothing is heard from {connector}"),
            surprise: 0.0,
            counts: Counts::Total { posts: 0, people: 0 },
            severity: Severity::None,
            forecast: None,
            evidence: Vec::new(),
            thread_root: None,
            since,
        },
        at: now,
        why: Reason::Observed {
            code: "silent_source".into(),
            words,
            numbers: numbers.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect(),
        },
    }
}

fn due_key(connector: &str) -> String {
    format!("source/{connector}")
}

async fn look_at(tx: &mut Tx, connector: &str, at: Timestamp) -> Result<(), TableError> {
    let body = connector.as_bytes().to_vec();
    let due = Due { key: due_key(connector), due_at: at, kind: DUE_SOURCE.to_owned(), body };
    due::put(tx, SERVICE, &due).await?;
    Ok(())
}

/// Counts what brands hear through which connector, between two writes.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pairs: BTreeMap<(String, String), Count>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    posts: u64,
    written: Option<Timestamp>,
}

impl Heard {
    pub(crate) fn note(&mut self, brand: &str, connector: &str) {
        let pair = (brand.to_owned(), connector.to_owned());
        if self.pairs.len() >= PAIRS_MAX && !self.pairs.contains_key(&pair) {
            return;
        }
        self.pairs.entry(pair).or_insert(Count { posts: 0, written: None }).posts += 1;
    }

    /// Is there anything to write?
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.pairs.values().any(|count| count.is_due(now))
    }

    /// Writes what is due, in a fixed order, so that two writers never wait for each other.
    pub(crate) async fn write(&self, tx: &mut Tx, now: Timestamp) -> Result<(), TableError> {
        for ((brand, connector), count) in &self.pairs {
            if count.is_due(now) {
                let passed_ms = count.written.map_or(0, |at| now.millis_since(at).max(0));
                let kept = (-(passed_ms as f64) / 1_000.0 / MEMORY_S).exp();
                tables::sources::hear(tx, brand, connector, count.posts as f64, kept, now).await?;
            }
        }
        Ok(())
    }

    /// What [`Heard::write`] wrote was committed.
    pub(crate) fn written(&mut self, now: Timestamp) {
        for count in self.pairs.values_mut() {
            if count.is_due(now) {
                *count = Count { posts: 0, written: Some(now) };
            }
        }
    }
}

impl Count {
    fn is_due(&self, now: Timestamp) -> bool {
        self.posts > 0 && self.written.is_none_or(|at| now.millis_since(at) >= WRITE_EVERY_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(connector: &str, state: CoverageState, watermark_s: i64) -> Source {
        let said = Coverage {
            connector: connector.into(),
            watermark_us: watermark_s * 1_000_000,
            state: state.into(),
            since_us: (watermark_s + 5) * 1_000_000,
            detail: String::new(),
        };
        Source::after(None, &said)
    }

    #[test]
    fn a_brand_is_held_back_only_by_sources_that_carry_most_of_it() {
        let (acme, globex) = (BrandId::slugify("acme"), BrandId::slugify("globex"));
        let mut sources = Sources::default();
        for (brand, connector, posts) in
            [(&acme, "stream", 80.0), (&acme, "hook", 20.0), (&globex, "hook", 30.0)]
        {
            sources.by_brand.entry(brand.clone()).or_default().insert(connector.into(), posts);
        }
        let now = Timestamp::from_seconds(1_000);
        assert_eq!((sources.unheard(&acme), sources.heard_until(&acme, now)), (None, now));
        sources.by_connector.insert("stream".into(), source("stream", CoverageState::Gap, 400));
        let unheard = sources.unheard(&acme).unwrap();
        assert!((unheard.share - 0.2).abs() < 1e-9 && unheard.connectors == ["stream"]);
        assert_eq!(sources.heard_until(&acme, now), Timestamp::from_seconds(400));
        assert_eq!(sources.heard_until(&globex, now), now);
        let nobody = BrandId::slugify("nobody");
        assert_eq!(sources.heard_until(&nobody, now), Timestamp::from_seconds(400));
        sources.by_connector.insert("stream".into(), source("stream", CoverageState::Live, 900));
        sources.by_connector.insert("hook".into(), source("hook", CoverageState::Gap, 500));
        assert_eq!(sources.heard_until(&acme, now), now, "a fifth is missing, the rest says enough");
    }

    #[test]
    fn silence_lasts_from_the_first_word_of_it_until_live_again() {
        let said = |state: CoverageState, since_s: i64| Coverage {
            connector: "stream".into(),
            state: state.into(),
            since_us: since_s * 1_000_000,
            ..Coverage::default()
        };
        let mut source = None;
        let mut told = |state, since_s| {
            source = Some(Source::after(source.as_ref(), &said(state, since_s)));
            source.as_ref().and_then(|source| source.silent_since).map(Timestamp::as_seconds)
        };
        assert_eq!(told(CoverageState::CatchingUp, 1), Some(1));
        assert_eq!(told(CoverageState::Live, 2), None);
        assert_eq!(told(CoverageState::Gap, 3), Some(3));
        assert_eq!(told(CoverageState::CatchingUp, 4), Some(3));
        assert_eq!(told(CoverageState::Gap, 5), Some(3));
        assert_eq!(told(CoverageState::Live, 6), None);
    }
}
