//! Built-in scenarios: stories told in the bytes of real sources, so that nothing on their way is special.
//!
//! A scenario is an iterator over [`Arrival`]s in time order, made from a seed: background talk with a daily
//! rhythm about several brands, one self-exciting thread, and what the people in the story write. Whatever
//! people do inside Redress (acknowledge, assign, promise) is not here: `dev` plays them over gRPC.

mod bodies;
mod broken_guitar;
mod crowd;
mod texts;

use clap::ValueEnum;
use model::{BrandId, SourceKind, Timestamp};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

/// The scenarios that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// A customer nobody answers publishes a song; it begins to spread; people notice in time.
    BrokenGuitar,
}

impl Name {
    /// How long the story lasts, in milliseconds of its own time.
    pub(crate) const fn span_ms(self) -> i64 {
        match self {
            Self::BrokenGuitar => broken_guitar::SPAN_S * 1_000,
        }
    }
}

/// One body as a source would send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// When the source witnessed it.
    pub(crate) at: Timestamp,
    /// Its wire format.
    pub(crate) kind: SourceKind,
    /// Its instance; empty where the network is one.
    pub(crate) instance: &'static str,
    /// The exact bytes.
    pub(crate) body: Vec<u8>,
}

/// A brand of a scenario, as somebody would configure it.
#[derive(Debug, Clone)]
pub(crate) struct Brand {
    /// Its id.
    pub(crate) id: BrandId,
    /// The name people use, which is also the word listened for.
    pub(crate) name: &'static str,
    /// Its handle, the same everywhere.
    pub(crate) handle: &'static str,
    /// The keys of its own accounts.
    pub(crate) accounts: Vec<String>,
}

/// A story that can be played.
pub(crate) struct Scenario {
    /// When it begins.
    pub(crate) starts_at: Timestamp,
    /// When it is over.
    pub(crate) ends_at: Timestamp,
    /// Whom people talk about.
    pub(crate) brands: Vec<Brand>,
    /// The brand the story is about.
    pub(crate) protagonist: BrandId,
    arrivals: Vec<Arrival>,
}

/// Talk about the brands of the stories that never ends: `per_second` posts a second from `starts_at` on, in time
/// order, each with an id of its own; the same seed gives the same talk.
pub(crate) fn talk(starts_at: Timestamp, per_second: f64, seed: u64) -> impl Iterator<Item = Arrival> {
    let brands = crowd::brands();
    let mut rng = StdRng::seed_from_u64(seed);
    (0_u64..).map(move |number| {
        let after_us = (number as f64 * 1e6 / per_second) as i64;
        let at = Timestamp::from_micros(starts_at.as_micros() + after_us);
        crowd::say(&mut rng, number * 2, at, &brands).arrival
    })
}

/// Whom [`talk`] is about.
pub(crate) fn talked_about() -> Vec<Brand> {
    crowd::brands()
}

/// The seed used when none is given.
pub(crate) const SEED: u64 = 20_090_706;

impl Scenario {
    /// The story `name`, played from `starts_at`; the same seed tells the same story.
    pub(crate) fn build(name: Name, starts_at: Timestamp, seed: u64) -> Self {
        match name {
            Name::BrokenGuitar => broken_guitar::build(starts_at, seed),
        }
    }

    /// How many bodies there are.
    pub(crate) fn len(&self) -> usize {
        self.arrivals.len()
    }

    /// The bodies, in time order.
    pub(crate) fn into_arrivals(self) -> impl Iterator<Item = Arrival> {
        self.arrivals.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::{TenantId, Transport, Visibility};
    use sources::{DecodeContext, StreamDecoder};

    use super::*;

    #[test]
    fn every_body_of_the_broken_guitar_decodes_and_the_thread_hangs_together() {
        let story = Scenario::build(Name::BrokenGuitar, Timestamp::from_seconds(1_772_431_200), SEED);
        let tenant = TenantId::slugify("test");
        let mut decoders: BTreeMap<&str, StreamDecoder> = BTreeMap::new();
        let mut threads: BTreeMap<model::MentionId, usize> = BTreeMap::new();
        let (mut posts, mut private, mut last) = (0, 0, Timestamp::MIN);
        for arrival in story.into_arrivals() {
            assert!(arrival.at >= last, "arrivals are in time order");
            last = arrival.at;
            let context = DecodeContext {
                tenant: &tenant,
                connector: "scenario",
                instance: arrival.instance,
                transport: Transport::Backfill,
                received_at: arrival.at,
                csv_map: None,
            };
            let decoder =
                decoders.entry(arrival.kind.name()).or_insert_with(|| StreamDecoder::new(arrival.kind));
            let decoded = decoder.push(&arrival.body, &context);
            assert!(
                decoded.refusals.is_empty(),
                "{:?}: {}",
                decoded.refusals,
                String::from_utf8_lossy(&arrival.body)
            );
            for event in decoded.events {
                posts += 1;
                private +=
                    usize::from(event.mention.as_ref().is_some_and(|m| m.visibility == Visibility::Private));
                *threads.entry(event.thread_root()).or_default() += 1;
            }
        }
        let largest = threads.values().max().copied().unwrap_or(0);
        assert!((20_000..80_000).contains(&posts), "{posts} posts");
        assert_eq!(private, 2, "the customer's two letters");
        assert!((300..4_000).contains(&largest), "the song's thread has {largest}");
    }

    #[test]
    fn the_same_seed_tells_the_same_story() {
        let told = |seed| {
            Scenario::build(Name::BrokenGuitar, Timestamp::EPOCH, seed).into_arrivals().collect::<Vec<_>>()
        };
        assert!(told(1) == told(1));
        assert!(told(1) != told(2));
    }
}
