//! A subject's ordinary traffic, with rhythm, burstiness, faults, and bursts whose onset is known.

use rand::Rng;

use super::{crowd::normal, generator};

/// Daily and weekly shape and burstiness of a background.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rhythmic {
    /// Depth of the daily rhythm, 0..1.
    pub day: f64,
    /// Rate of weekend days relative to week days.
    pub weekend: f64,
    /// Standard deviation of the logarithm of the rate's slow wander.
    pub wander: f64,
    /// Seconds in which the wander forgets itself.
    pub wander_s: f64,
}

impl Default for Rhythmic {
    fn default() -> Self {
        Self { day: 0.5, weekend: 0.7, wander: 0.3, wander_s: 7200.0 }
    }
}

/// Something that happens to a background; times are seconds after its start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// The rate is multiplied from the onset on for a while: a true rise.
    Onset {
        /// When it begins.
        at_s: i64,
        /// How long it lasts, seconds.
        for_s: i64,
        /// Times the ordinary rate.
        times: f64,
    },
    /// Nothing is delivered, and nothing comes later: the source was down.
    Outage {
        /// When it begins.
        at_s: i64,
        /// How long it lasts, seconds.
        for_s: i64,
    },
    /// Nothing is delivered, and everything held back comes within ten minutes after.
    Backlog {
        /// When it begins.
        at_s: i64,
        /// How long it lasts, seconds.
        for_s: i64,
    },
    /// A quiet day: the rate is multiplied by a number below 1.
    Holiday {
        /// When it begins.
        at_s: i64,
        /// How long it lasts, seconds.
        for_s: i64,
        /// Times the ordinary rate.
        times: f64,
    },
}

/// Event times (unix seconds, sorted) of a subject with `rate_per_s` on average for `span_s` seconds from `start_s`.
pub fn background(
    seed: u64,
    rate_per_s: f64,
    start_s: i64,
    span_s: i64,
    rhythm: &Rhythmic,
    faults: &[Fault],
) -> Vec<i64> {
    const SLICE_S: i64 = 60;
    let mut random = generator(seed, 3);
    let mut wander = normal(&mut random);
    let keep = (-(SLICE_S as f64) / rhythm.wander_s.max(1.0)).exp();
    let mut out = Vec::new();
    let mut held_back = 0u64;
    for slice in 0..span_s.div_euclid(SLICE_S) {
        let after_s = slice * SLICE_S;
        wander = wander * keep + normal(&mut random) * (1.0 - keep * keep).sqrt();
        let mut rate = rate_per_s
            * shape(start_s + after_s, rhythm)
            * (rhythm.wander * wander - rhythm.wander * rhythm.wander / 2.0).exp();
        let mut delivered = true;
        let mut caught_up = None;
        for fault in faults {
            match *fault {
                Fault::Onset { at_s, for_s, times } | Fault::Holiday { at_s, for_s, times }
                    if within(after_s, at_s, for_s) =>
                {
                    rate *= times
                }
                Fault::Outage { at_s, for_s } if within(after_s, at_s, for_s) => {
                    delivered = false;
                    rate = 0.0;
                }
                Fault::Backlog { at_s, for_s } if within(after_s, at_s, for_s) => delivered = false,
                Fault::Backlog { at_s, for_s } if within(after_s, at_s + for_s, 600) => {
                    caught_up = Some(at_s + for_s + 600 - after_s)
                }
                _ => {}
            }
        }
        let mut count = poisson(&mut random, rate * SLICE_S as f64);
        if !delivered {
            held_back += count;
            continue;
        }
        if let Some(left_s) = caught_up {
            let share = (held_back * SLICE_S as u64).div_ceil(left_s.max(SLICE_S) as u64).min(held_back);
            held_back -= share;
            count += share;
        }
        let first = out.len();
        out.extend((0..count).map(|_| start_s + after_s + random.random_range(0..SLICE_S)));
        out[first..].sort_unstable();
    }
    out
}

fn within(now_s: i64, at_s: i64, for_s: i64) -> bool {
    (at_s..at_s + for_s).contains(&now_s)
}

/// The factor of a time: low at night, lower at weekends; the mean over a weekday is 1.
fn shape(at_s: i64, rhythm: &Rhythmic) -> f64 {
    let phase = (at_s.rem_euclid(86_400) as f64 / 86_400.0 - 0.6) * std::f64::consts::TAU;
    // 1970-01-01 was a Thursday, so days 2 and 3 of that week are the weekend.
    let weekend = matches!(at_s.div_euclid(86_400).rem_euclid(7), 2 | 3);
    (1.0 + rhythm.day * phase.cos()) * if weekend { rhythm.weekend } else { 1.0 }
}

/// A Poisson number: by multiplication while the mean is small, by the normal limit beyond.
pub fn poisson(random: &mut impl Rng, mean: f64) -> u64 {
    if mean.is_nan() || mean <= 0.0 {
        return 0;
    }
    if mean > 50.0 {
        return (mean + mean.sqrt() * normal(random)).round().max(0.0) as u64;
    }
    let limit = (-mean).exp();
    let (mut product, mut count) = (random.random::<f64>(), 0);
    while product > limit {
        product *= random.random::<f64>();
        count += 1;
    }
    count
}
