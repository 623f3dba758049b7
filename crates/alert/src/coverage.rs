//! How much of a brand's world is heard: what it usually hears through which source, and which of them are
//! silent or behind. Pure and on event time, so that a replay of tallies finds the same.
//!
//! From its last live word to the next, a source is a hole: nothing of it is expected, and what it delivers
//! late is not counted, for nobody could tell a backlog from a burst.

use std::collections::BTreeMap;

use contracts::ingest::v1::{self as wire, CoverageState};

/// Seconds over which the weight of a source fades, so that sources that were moved away from do not count
/// for ever.
pub(crate) const MEMORY_S: f64 = 3.0 * 86_400.0;
/// Most sources remembered, and most of one brand; the lightest leave first.
const SOURCES_MAX: usize = 1_000;
const SOURCES_OF_BRAND_MAX: usize = 64;
/// Holes remembered per source; the oldest leave first.
const HOLES_MAX: usize = 32;
/// A stretch shorter than this, in event seconds, is no hole.
const HOLE_S: i64 = 60;

/// Does what is said now come through such a source as it is said?
pub(crate) const fn is_heard(state: CoverageState) -> bool {
    !matches!(state, CoverageState::Gap | CoverageState::CatchingUp)
}

/// What is known of the sources on one partition.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Hearing {
    sources: BTreeMap<String, Source>,
    /// Posts by brand and connector, fading.
    brands: BTreeMap<String, BTreeMap<String, Weight>>,
}

#[derive(Debug, Clone, PartialEq)]
struct Source {
    state: CoverageState,
    /// Up to here everything was heard through it, event seconds.
    heard_s: i64,
    /// Where the hole begins that it is in; absent while it is heard.
    silent_from_s: Option<i64>,
    /// Stretches of event time from which nothing came.
    holes: Vec<(i64, i64)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Weight {
    posts: f64,
    at_s: i64,
}

impl Weight {
    fn at(self, now_s: i64) -> f64 {
        self.posts * (-((now_s - self.at_s).max(0) as f64) / MEMORY_S).exp()
    }
}

impl Source {
    fn new(heard_s: i64) -> Self {
        Self { state: CoverageState::Unspecified, heard_s, silent_from_s: None, holes: Vec::new() }
    }

    fn close_hole(&mut self, to_s: i64) {
        let Some(from_s) = self.silent_from_s.take() else { return };
        if to_s - from_s < HOLE_S {
            return;
        }
        if self.holes.len() >= HOLES_MAX {
            self.holes.remove(0);
        }
        self.holes.push((from_s, to_s));
    }

    /// Share (0..1) of a stretch from which it is missing.
    fn missing(&self, from_s: i64, to_s: i64) -> f64 {
        let length = (to_s - from_s) as f64;
        if length <= 0.0 {
            return if self.is_heard() { 0.0 } else { 1.0 };
        }
        let open = self.silent_from_s.map(|from_s| (from_s, to_s));
        let overlap = |(from, to): &(i64, i64)| (to_s.min(*to) - from_s.max(*from)).max(0) as f64;
        let missing: f64 = self.holes.iter().chain(open.as_ref()).map(overlap).sum();
        (missing / length).min(1.0)
    }

    const fn is_heard(&self) -> bool {
        is_heard(self.state)
    }
}

impl Hearing {
    /// `posts` about `brand` came through `connector`.
    pub(crate) fn heard(&mut self, brand: &str, connector: &str, posts: u32, at_s: i64) {
        let of_brand = self.brands.entry(brand.to_owned()).or_default();
        let weight = of_brand.entry(connector.to_owned()).or_insert(Weight { posts: 0.0, at_s });
        let now_s = weight.at_s.max(at_s);
        *weight = Weight { posts: weight.at(now_s) + f64::from(posts), at_s: now_s };
        if of_brand.len() > SOURCES_OF_BRAND_MAX {
            let lightest = of_brand.iter().min_by(|a, b| a.1.at(now_s).total_cmp(&b.1.at(now_s)));
            if let Some(lightest) = lightest.map(|(name, _)| name.clone()) {
                of_brand.remove(&lightest);
            }
        }
    }

    /// Most of these posts came through sources that are not live: a backlog.
    pub(crate) fn is_backlog<'a>(&self, connectors: impl IntoIterator<Item = (&'a String, &'a u32)>) -> bool {
        let (mut late, mut all) = (0, 0);
        for (connector, posts) in connectors {
            all += u64::from(*posts);
            if self.sources.get(connector).is_some_and(|source| !source.is_heard()) {
                late += u64::from(*posts);
            }
        }
        2 * late > all
    }

    /// A source says how complete it is.
    pub(crate) fn told(&mut self, said: &wire::Coverage) {
        if said.connector.is_empty() {
            return;
        }
        let seconds = |us: i64| us.div_euclid(1_000_000);
        if !self.sources.contains_key(&said.connector) && self.sources.len() >= SOURCES_MAX {
            self.sources.pop_first();
        }
        let heard_s = seconds(said.watermark_us);
        let source = self.sources.entry(said.connector.clone()).or_insert_with(|| Source::new(heard_s));
        let since_s = seconds(said.since_us);
        source.heard_s = source.heard_s.max(heard_s);
        source.state = said.state();
        let heard_s = if source.heard_s > 0 { source.heard_s } else { since_s };
        match source.is_heard() {
            true => source.close_hole(heard_s),
            false => drop(source.silent_from_s.get_or_insert(heard_s)),
        }
    }

    /// How complete a brand's world is right now.
    pub(crate) fn now(&self, brand: &str, now_s: i64) -> detect::Coverage {
        self.share(brand, now_s, |source| if source.is_heard() { 0.0 } else { 1.0 })
    }

    /// How complete it was over a stretch of event time.
    pub(crate) fn between(&self, brand: &str, from_s: i64, to_s: i64) -> detect::Coverage {
        self.share(brand, to_s, |source| source.missing(from_s, to_s))
    }

    fn share(&self, brand: &str, now_s: i64, missing: impl Fn(&Source) -> f64) -> detect::Coverage {
        if self.sources.values().all(|source| source.is_heard() && source.holes.is_empty()) {
            return detect::Coverage::FULL;
        }
        let Some(of_brand) = self.brands.get(brand) else { return detect::Coverage::FULL };
        let (mut all, mut gone) = (0.0, 0.0);
        for (connector, weight) in of_brand {
            let weight = weight.at(now_s);
            let Some(source) = self.sources.get(connector) else {
                // Who says nothing about itself is taken to be there.
                all += weight;
                continue;
            };
            // What ended on purpose is not missed.
            if source.state == CoverageState::Ended {
                continue;
            }
            all += weight;
            gone += weight * missing(source);
        }
        if all <= 0.0 {
            return detect::Coverage::FULL;
        }
        detect::Coverage { share: (1.0 - gone / all).clamp(0.0, 1.0) as f32, catching_up: false }
    }
}

/// The stored form of [`Hearing`].
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StoredHearing {
    #[prost(message, repeated, tag = "1")]
    sources: Vec<StoredSource>,
    #[prost(message, repeated, tag = "2")]
    weights: Vec<StoredWeight>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredSource {
    #[prost(string, tag = "1")]
    connector: String,
    #[prost(enumeration = "CoverageState", tag = "2")]
    state: i32,
    #[prost(int64, tag = "3")]
    heard_s: i64,
    #[prost(int64, optional, tag = "4")]
    silent_from_s: Option<i64>,
    /// From and to, in turn.
    #[prost(int64, repeated, tag = "5")]
    holes: Vec<i64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredWeight {
    #[prost(string, tag = "1")]
    brand: String,
    #[prost(string, tag = "2")]
    connector: String,
    #[prost(double, tag = "3")]
    posts: f64,
    #[prost(int64, tag = "4")]
    at_s: i64,
}

impl From<&Hearing> for StoredHearing {
    fn from(hearing: &Hearing) -> Self {
        let source = |(connector, source): (&String, &Source)| StoredSource {
            connector: connector.clone(),
            state: source.state.into(),
            heard_s: source.heard_s,
            silent_from_s: source.silent_from_s,
            holes: source.holes.iter().flat_map(|(from, to)| [*from, *to]).collect(),
        };
        let weights = hearing.brands.iter().flat_map(|(brand, of_brand)| {
            of_brand.iter().map(|(connector, weight)| StoredWeight {
                brand: brand.clone(),
                connector: connector.clone(),
                posts: weight.posts,
                at_s: weight.at_s,
            })
        });
        Self { sources: hearing.sources.iter().map(source).collect(), weights: weights.collect() }
    }
}

impl From<StoredHearing> for Hearing {
    fn from(stored: StoredHearing) -> Self {
        let mut hearing = Self::default();
        for source in stored.sources {
            let holes = source.holes.as_chunks::<2>().0.iter().map(|[from, to]| (*from, *to)).collect();
            let kept = Source {
                state: source.state(),
                heard_s: source.heard_s,
                silent_from_s: source.silent_from_s,
                holes,
            };
            hearing.sources.insert(source.connector, kept);
        }
        for weight in stored.weights {
            let of_brand = hearing.brands.entry(weight.brand).or_default();
            of_brand.insert(weight.connector, Weight { posts: weight.posts, at_s: weight.at_s });
        }
        hearing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(connector: &str, state: CoverageState, since_s: i64, watermark_s: i64) -> wire::Coverage {
        wire::Coverage {
            connector: connector.into(),
            watermark_us: watermark_s * 1_000_000,
            state: state.into(),
            since_us: since_s * 1_000_000,
            detail: String::new(),
        }
    }

    fn hearing() -> Hearing {
        let mut hearing = Hearing::default();
        hearing.heard("acme", "stream", 90, 1_000);
        hearing.heard("acme", "hook", 10, 1_000);
        hearing
    }

    #[test]
    fn a_brand_misses_what_it_usually_hears_through_a_silent_source() {
        let mut hearing = hearing();
        assert_eq!(hearing.now("acme", 1_000), detect::Coverage::FULL);
        hearing.told(&said("stream", CoverageState::Gap, 1_010, 1_000));
        assert!((hearing.now("acme", 1_020).share - 0.1).abs() < 1e-3);
        assert_eq!(hearing.now("nobody", 1_020), detect::Coverage::FULL);
        // Half of the time since 900 it was there.
        assert!((hearing.between("acme", 900, 1_100).share - 0.55).abs() < 1e-3);
        hearing.told(&said("stream", CoverageState::CatchingUp, 1_600, 1_000));
        assert!(hearing.now("acme", 1_600).share < 0.2);
        hearing.told(&said("stream", CoverageState::Live, 1_700, 1_700));
        assert_eq!(hearing.now("acme", 1_700).share, 1.0);
    }

    #[test]
    fn from_its_last_live_word_to_the_next_a_source_is_a_hole_and_what_it_brings_a_backlog() {
        let mut hearing = hearing();
        let through = |connector: &str, posts| BTreeMap::from([(connector.to_owned(), posts)]);
        assert!(!hearing.is_backlog(&through("stream", 3)));
        hearing.told(&said("stream", CoverageState::Gap, 1_010, 1_000));
        hearing.told(&said("stream", CoverageState::CatchingUp, 1_590, 1_000));
        assert!(hearing.is_backlog(&through("stream", 3)) && !hearing.is_backlog(&through("hook", 3)));
        hearing.told(&said("stream", CoverageState::Live, 1_600, 1_600));
        assert!(!hearing.is_backlog(&through("stream", 3)));
        assert!((hearing.between("acme", 1_000, 1_600).share - 0.1).abs() < 1e-3);
        assert!((hearing.between("acme", 1_000, 2_200).share - 0.55).abs() < 1e-3);
        assert_eq!(hearing.between("acme", 1_600, 2_200).share, 1.0);
    }

    #[test]
    fn what_ended_on_purpose_is_not_missed() {
        let mut hearing = hearing();
        hearing.told(&said("stream", CoverageState::Ended, 1_010, 1_000));
        assert_eq!(hearing.now("acme", 1_020).share, 1.0);
    }

    #[test]
    fn stored_and_read_back_it_is_the_same() {
        let mut hearing = hearing();
        hearing.told(&said("stream", CoverageState::Gap, 1_010, 1_000));
        hearing.told(&said("hook", CoverageState::Live, 1_010, 1_000));
        let stored = StoredHearing::from(&hearing);
        assert_eq!(Hearing::from(stored), hearing);
    }
}
