//! Built-in scenarios: stories told in the bytes of real sources, so that nothing on their way is special.
//!
//! A scenario is an iterator over [`Arrival`]s in time order, made from a seed: background talk with a daily
//! rhythm about several brands, one self-exciting thread, and what the people in the story write. Whatever
//! people do inside Redress (acknowledge, assign, promise) is not here: `dev` plays them over gRPC.

mod bodies;
mod broken_guitar;
mod texts;

use clap::ValueEnum;
use model::{BrandId, SourceKind, Timestamp};

/// The scenarios that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Name {
    /// A customer nobody answers publishes a song; it begins to spread; people notice in time.
    BrokenGuitar,
}

/// One body as a source would send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// When the source witnessed it.
    pub at: Timestamp,
    /// Its wire format.
    pub kind: SourceKind,
    /// Its instance; empty where the network is one.
    pub instance: &'static str,
    /// The exact bytes.
    pub body: Vec<u8>,
}

/// A brand of a scenario, as somebody would configure it.
#[derive(Debug, Clone)]
pub struct Brand {
    /// Its id.
    pub id: BrandId,
    /// The name people use, which is also the word listened for.
    pub name: &'static str,
    /// The keys of its own accounts.
    pub accounts: Vec<String>,
}

/// A story that can be played.
pub struct Scenario {
    /// When it begins.
    pub starts_at: Timestamp,
    /// When it is over.
    pub ends_at: Timestamp,
    /// Whom people talk about.
    pub brands: Vec<Brand>,
    /// The brand the story is about.
    pub protagonist: BrandId,
    arrivals: Vec<Arrival>,
}

/// The seed used when none is given.
pub const SEED: u64 = 20_090_706;

impl Scenario {
    /// The story `name`, played from `starts_at`; the same seed tells the same story.
    pub fn build(name: Name, starts_at: Timestamp, seed: u64) -> Self {
        match name {
            Name::BrokenGuitar => broken_guitar::build(starts_at, seed),
        }
    }

    /// How many bodies there are.
    pub fn len(&self) -> usize {
        self.arrivals.len()
    }

    /// The bodies, in time order.
    pub fn into_arrivals(self) -> impl Iterator<Item = Arrival> {
        self.arrivals.into_iter()
    }
}
