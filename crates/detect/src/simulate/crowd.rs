//! Threads and campaigns: who reacts when, to whom, with how many followers.

use rand::Rng;

use super::generator;
use crate::thread::Thread;

/// One reaction of a simulated thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// Unix seconds.
    pub at_s: i64,
    /// Followers of who reacted.
    pub followers: u64,
    /// Index of the reaction it answers; `None` for the original post.
    pub parent: Option<u32>,
}

/// What kind of thread to make.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ThreadParams {
    /// Unix seconds of the original post.
    pub start_s: i64,
    /// Followers of its author.
    pub root_followers: u64,
    /// Reactions per follower exposure of the original, before the text loses its freshness.
    pub infectiousness: f64,
    /// Seconds in which interest in the text falls by a factor e.
    pub freshness_s: f64,
    /// Exponent of the waiting time's power law, above 0.
    pub waiting: f64,
    /// Median followers of those who react; the spread is log-normal.
    pub followers_median: f64,
    /// Depth of the daily rhythm, 0..1.
    pub rhythm: f64,
    /// Reactions later than this after the start are dropped.
    pub span_s: i64,
    /// The thread stops here.
    pub reactions_max: usize,
}

impl Default for ThreadParams {
    fn default() -> Self {
        Self {
            start_s: 0,
            root_followers: 5_000,
            infectiousness: 0.005,
            freshness_s: 2.0 * 86_400.0,
            waiting: 0.25,
            followers_median: 200.0,
            rhythm: 0.3,
            span_s: 604_800,
            reactions_max: 20_000,
        }
    }
}

impl ThreadParams {
    /// Parameters drawn at random over the kinds of threads there are: most die, a few spread for days.
    pub fn drawn(seed: u64) -> Self {
        let mut random = generator(seed, 7);
        let root: f64 = 8.0 + 2.2 * normal(&mut random);
        let root_followers = root.exp().clamp(10.0, 5e6);
        // Wanted first-generation reactions, then turned into a rate per exposure.
        let first = (3.2 + 1.6 * normal(&mut random)).exp();
        Self {
            start_s: 1_700_000_000 + random.random_range(0..604_800),
            root_followers: root_followers as u64,
            infectiousness: (first / root_followers).clamp(1e-7, 0.2),
            freshness_s: (3.5 + 1.0 * normal(&mut random)).exp().clamp(1.0, 300.0) * 3600.0,
            waiting: random.random_range(0.15..0.6),
            followers_median: (5.3 + 0.5 * normal(&mut random)).exp(),
            rhythm: random.random_range(0.0..0.5),
            ..Self::default()
        }
    }
}

impl Thread {
    /// A self-exciting thread (marked Hawkes process by its branching): the original post's and
    /// every reaction's followers react with a power-law delay while the text is fresh.
    pub fn generate(seed: u64, params: &ThreadParams) -> Vec<Reaction> {
        let mut random = generator(seed, 1);
        let mut waiting_to_spawn = vec![(params.start_s, params.root_followers, None)];
        let mut reactions: Vec<Reaction> = Vec::new();
        while let Some((at_s, followers, parent)) = waiting_to_spawn.pop() {
            let age = (at_s - params.start_s) as f64;
            // Only so many of a crowd look at one post: exposure grows less than followers do.
            let exposed = (followers as f64).min(2e5);
            let mean = params.infectiousness * exposed * (-age / params.freshness_s).exp();
            for _ in 0..super::poisson(&mut random, mean.min(5e3)) {
                let at = at_s + delay(&mut random, params.waiting);
                if at > params.start_s + params.span_s
                    || reactions.len() >= params.reactions_max
                    || asleep(&mut random, at, params.rhythm)
                {
                    continue;
                }
                let followers =
                    (params.followers_median.ln() + 1.5 * normal(&mut random)).exp().min(5e6) as u64;
                let index = reactions.len() as u32;
                reactions.push(Reaction { at_s: at, followers, parent });
                waiting_to_spawn.push((at, followers, Some(index)));
            }
        }
        in_time_order(reactions)
    }

    /// A simulated thread for training.
    pub fn simulated(seed: u64, params: &ThreadParams) -> Self {
        let reactions = Self::generate(seed, params)
            .iter()
            .map(|r| ((r.at_s - params.start_s) as u32, r.followers))
            .collect();
        Self { root_followers: params.root_followers, reactions, weight: 1.0 }
    }
}

/// A campaign: `posts` near-copies by `accounts` accounts within `span_s` seconds, at even random times.
/// Answers `(at_s, account)` in time order.
pub fn campaign(seed: u64, start_s: i64, span_s: i64, posts: usize, accounts: u64) -> Vec<(i64, u64)> {
    let mut random = generator(seed, 2);
    let mut out: Vec<(i64, u64)> = (0..posts)
        .map(|_| (start_s + random.random_range(0..span_s.max(1)), random.random_range(0..accounts.max(1))))
        .collect();
    out.sort_unstable();
    out
}

/// Sorts by time and lets parents keep pointing at their reaction.
fn in_time_order(reactions: Vec<Reaction>) -> Vec<Reaction> {
    let mut order: Vec<u32> = (0..reactions.len() as u32).collect();
    order.sort_by_key(|index| (reactions[*index as usize].at_s, *index));
    let mut place = vec![0u32; reactions.len()];
    order.iter().enumerate().for_each(|(new, old)| place[*old as usize] = new as u32);
    order
        .iter()
        .map(|old| {
            let reaction = reactions[*old as usize];
            Reaction { parent: reaction.parent.map(|parent| place[parent as usize]), ..reaction }
        })
        .collect()
}

/// Seconds between a post and a reaction: flat for five minutes, then a power law (SEISMIC's shape).
fn delay(random: &mut impl Rng, waiting: f64) -> i64 {
    const FLAT_S: f64 = 300.0;
    let in_flat = waiting / (1.0 + waiting);
    let u: f64 = random.random();
    let seconds = if u < in_flat {
        FLAT_S * u / in_flat
    } else {
        FLAT_S * ((1.0 - u) * (1.0 + waiting)).max(1e-12).powf(-1.0 / waiting)
    };
    seconds.min(1e9) as i64 + 1
}

/// Whether a reaction at that time is not made because people sleep.
fn asleep(random: &mut impl Rng, at_s: i64, depth: f64) -> bool {
    let phase = at_s.rem_euclid(86_400) as f64 / 86_400.0 * std::f64::consts::TAU;
    random.random::<f64>() < depth * (1.0 + (phase).cos()) / 2.0
}

/// A standard normal number (Box and Muller 1958).
pub(crate) fn normal(random: &mut impl Rng) -> f64 {
    let (u, v): (f64, f64) = (1.0 - random.random::<f64>(), random.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}
