//! What is remembered about a live thread.

use crate::snapshot;

/// Time constants of the decayed counts, seconds.
const COUNT_TAU_S: [f32; 5] = [60.0, 300.0, 900.0, 3600.0, 14_400.0];
/// Time constants of the exponentials that stand for the memory of a reshare, seconds.
const KERNEL_TAU_S: [f32; 6] = [100.0, 725.0, 5_253.0, 38_073.0, 275_946.0, 2_000_000.0];
/// Their weights: a fit to SEISMIC's power law (Zhao et al. 2015), constant for five minutes, then `t^-1.23`.
const KERNEL_WEIGHT: [f32; 6] = [0.069, 0.400, 0.183, 0.153, 0.043, 0.177];
/// Ages at which the count is noted, seconds.
const NOTE_S: [f32; 4] = [300.0, 1800.0, 7200.0, 28_800.0];
/// Number of features.
pub(crate) const FEATURES: usize = 22;
/// The feature that is the logarithm of the count so far (plus 1).
pub(crate) const COUNT: usize = 0;
/// The feature that is the logarithm of the followers of all who reacted (plus 1).
pub(crate) const FOLLOWERS: usize = 12;

/// A self-exciting thread in 96 bytes: counts and follower-weighted memories that decay as time goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ThreadState {
    start_s: i64,
    /// Seconds since the start of the latest reaction.
    last_s: f32,
    root_reach: f32,
    count: u32,
    counts: [f32; COUNT_TAU_S.len()],
    /// Follower-weighted sums that decay with the kernel: what those reactions will still cause.
    pending: [f32; KERNEL_TAU_S.len()],
    followers: f32,
    followers_max: f32,
    /// Sum of the logarithms of followers.
    followers_log: f32,
    /// Sum of the square roots of delays.
    delays: f32,
    noted: [u32; NOTE_S.len()],
}

impl ThreadState {
    /// A thread whose original post was witnessed at `at_s` (unix seconds) by an author with `root_reach` followers (0: unknown).
    pub fn new(at_s: i64, root_reach: u64) -> Self {
        let root_reach = root_reach as f32;
        Self {
            start_s: at_s,
            last_s: 0.0,
            root_reach,
            count: 0,
            counts: [0.0; 5],
            pending: KERNEL_WEIGHT.map(|weight| weight * root_reach.max(FOLLOWERS_UNKNOWN)),
            followers: 0.0,
            followers_max: 0.0,
            followers_log: 0.0,
            delays: 0.0,
            noted: [0; 4],
        }
    }

    /// Adds a reaction by an author with `followers` (0: unknown). A late one counts as of the latest.
    pub fn reaction(&mut self, at_s: i64, followers: u64) {
        let age_s = (at_s.saturating_sub(self.start_s) as f32).max(self.last_s);
        let elapsed = age_s - self.last_s;
        if elapsed > 0.0 {
            decay(&mut self.counts, &COUNT_TAU_S, elapsed);
            decay(&mut self.pending, &KERNEL_TAU_S, elapsed);
        }
        self.last_s = age_s;
        self.count = self.count.saturating_add(1);
        self.counts.iter_mut().for_each(|count| *count += 1.0);
        let followers = followers as f32;
        let weight = if followers > 0.0 { followers } else { FOLLOWERS_UNKNOWN };
        self.pending.iter_mut().zip(KERNEL_WEIGHT).for_each(|(sum, share)| *sum += share * weight);
        self.followers += followers;
        self.followers_max = self.followers_max.max(followers);
        self.followers_log += followers.ln_1p();
        self.delays += age_s.sqrt();
        for (noted, until_s) in self.noted.iter_mut().zip(NOTE_S) {
            if age_s <= until_s {
                *noted = self.count;
            }
        }
    }

    /// Reactions so far.
    pub fn seen(&self) -> u32 {
        self.count
    }

    /// When the original post was witnessed, unix seconds.
    pub fn start_s(&self) -> i64 {
        self.start_s
    }

    /// People who had the chance to see it: followers of the author and of everyone who reacted. Where none are
    /// told, a hundred each.
    pub fn reach(&self) -> f32 {
        let root = if self.root_reach > 0.0 { self.root_reach } else { FOLLOWERS_UNKNOWN };
        root + self.count as f32 * self.reach_each()
    }

    /// How many more people everyone who reacts brings, on average.
    pub(crate) fn reach_each(&self) -> f32 {
        if self.followers > 0.0 { self.followers / self.count.max(1) as f32 } else { FOLLOWERS_UNKNOWN }
    }

    /// Age at `now_s`, seconds, never before the latest reaction.
    pub(crate) fn age_s(&self, now_s: i64) -> f32 {
        (now_s.saturating_sub(self.start_s) as f32).max(self.last_s)
    }

    /// The numbers a forecast is made from, as of an age.
    pub(crate) fn features(&self, age_s: f32) -> [f32; FEATURES] {
        let elapsed = (age_s - self.last_s).max(0.0);
        let (mut counts, mut pending) = (self.counts, self.pending);
        decay(&mut counts, &COUNT_TAU_S, elapsed);
        decay(&mut pending, &KERNEL_TAU_S, elapsed);
        let n = self.count as f32;
        let known = self.followers / n.max(1.0);
        let pending: f32 = pending.iter().sum();
        // SEISMIC's infectiousness: reactions per exposure that has been spent so far.
        let exposed = self.root_reach.max(FOLLOWERS_UNKNOWN) + self.followers.max(FOLLOWERS_UNKNOWN * n);
        let spent = (exposed - pending).max(1.0);
        let infectious = n / spent;
        let ratio = |part: f32| ((part + 0.5) / (n + 1.0)).ln();
        let noted = |index: usize| if age_s <= NOTE_S[index] { n } else { self.noted[index] as f32 };
        [
            n.ln_1p(),
            counts[0].ln_1p(),
            counts[1].ln_1p(),
            counts[2].ln_1p(),
            counts[3].ln_1p(),
            counts[4].ln_1p(),
            ratio(counts[0]),
            ratio(counts[1]),
            ratio(counts[2]),
            ratio(counts[3]),
            ratio(counts[4]),
            self.root_reach.ln_1p(),
            self.followers.ln_1p(),
            self.followers_max.ln_1p(),
            self.followers_log / n.max(1.0),
            known.ln_1p(),
            elapsed.ln_1p(),
            self.delays / n.max(1.0) / age_s.max(1.0).sqrt(),
            (infectious * pending).ln_1p(),
            ratio(noted(0)),
            ratio(noted(1)),
            ratio(noted(2)) + ratio(noted(3)),
        ]
    }

    /// The state as bytes, for snapshots.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = snapshot::Writer::default();
        out.u64(self.start_s as u64);
        out.u32(self.count);
        let sums = [
            self.last_s,
            self.root_reach,
            self.followers,
            self.followers_max,
            self.followers_log,
            self.delays,
        ];
        sums.iter().chain(&self.counts).chain(&self.pending).for_each(|value| out.f32(*value));
        self.noted.iter().for_each(|count| out.u32(*count));
        out.0
    }

    /// A state from [`ThreadState::to_bytes`]; `None` if they are not one.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut input = snapshot::Reader(bytes);
        let mut state = Self::new(input.u64()? as i64, 0);
        state.count = input.u32()?;
        let sums = [
            &mut state.last_s,
            &mut state.root_reach,
            &mut state.followers,
            &mut state.followers_max,
            &mut state.followers_log,
            &mut state.delays,
        ];
        for value in sums.into_iter().chain(&mut state.counts).chain(&mut state.pending) {
            *value = input.f32()?;
        }
        for count in &mut state.noted {
            *count = input.u32()?;
        }
        input.0.is_empty().then_some(state)
    }
}

/// Followers assumed where the source does not tell.
const FOLLOWERS_UNKNOWN: f32 = 100.0;

fn decay<const N: usize>(sums: &mut [f32; N], tau_s: &[f32; N], elapsed_s: f32) {
    sums.iter_mut().zip(tau_s).for_each(|(sum, tau)| *sum *= (-elapsed_s / tau).exp());
}
