//! The numbers inside the detector, chosen on development data and the simulator.

/// Constants of the burst detector; [`Tuning::default`] is what ships and what `docs/detection.md` reports.
///
/// They are fields so that an evaluation can vary them; a deployment sets [`crate::DetectPolicy`] instead.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Tuning {
    /// Time constants of the three branches, seconds: the windows of sudden and building, the memory of slow.
    pub branch_tau_s: [f32; 3],
    /// Weights of the branches' scores before the largest is taken.
    pub branch_weight: [f32; 3],
    /// Added to counts before the variance-stabilising power.
    pub root_offset: f32,
    /// Smallest standard deviation of a stabilised residual.
    pub spread_floor: f32,
    /// Memory of the residual spread, days.
    pub spread_days: f32,
    /// Residuals beyond this many standard deviations are pulled in before the spread learns.
    pub spread_clip: f32,
    /// Memory of the level, days.
    pub level_days: f32,
    /// A row counts at most this many times its expectation (plus a few root expectations) for the level.
    pub level_clip: f32,
    /// Share of a full hour's deviation that the hour's factor learns.
    pub shape_rate: f32,
    /// Expected events at which an hour is half believed.
    pub shape_prior: f32,
    /// Share of a full day's deviation that the weekday's factor learns.
    pub day_rate: f32,
    /// Expected events an hour at which a weekday is half believed; with fewer it stays near 1.
    pub day_prior: f32,
    /// Surprise above which the baseline is not learned.
    pub freeze_surprise: f32,
    /// First threshold of the tail.
    pub tail_threshold: f32,
    /// Smallest threshold of the tail.
    pub tail_threshold_min: f32,
    /// First mean excess.
    pub tail_excess: f32,
    /// Wanted episodes per row above the threshold.
    pub tail_rate: f32,
    /// Step of the threshold per episode, in mean excesses.
    pub tail_gain: f32,
    /// Shape of the excess tail (0 exponential, above 0 heavier).
    pub tail_shape: f32,
    /// Episodes that the prior of the tail counts for.
    pub tail_prior: f32,
    /// Largest excess an episode teaches, in mean excesses.
    pub tail_bound: f32,
    /// Smallest weight of a new episode.
    pub tail_weight_min: f32,
    /// Memory of the episode rate, rows.
    pub tail_memory_rows: f32,
    /// Seconds from the beginning of a rise in which all that it reaches is news.
    pub told_rise_s: f32,
    /// Surprise beyond what was told from which a row is news again: 0.3 is twice as rare.
    pub told_step: f32,
    /// By how much a row is less surprising that says nothing new.
    pub told_less: f32,
    /// How much of the surprise told is forgotten per hour.
    pub told_fade: f32,
    /// Surprise beyond what was told before a rise from which, on top of an open episode of a series,
    /// it is an alarm again: 2 is a hundred times as rare.
    pub told_again: f32,
}

impl Default for Tuning {
    fn default() -> Self {
        Self::SHIPPED
    }
}

impl Tuning {
    /// What ships.
    pub const SHIPPED: Self = {
        Self {
            branch_tau_s: [690.0, 2340.0, 30_000.0],
            branch_weight: [0.785, 1.06, 1.0],
            root_offset: 0.6,
            spread_floor: 0.3,
            spread_days: 6.4,
            spread_clip: 6.4,
            level_days: 2.5,
            level_clip: 3.8,
            shape_rate: 0.23,
            shape_prior: 8.0,
            day_rate: 0.2,
            day_prior: 8.0,
            freeze_surprise: 3.2,
            tail_threshold: 2.5,
            tail_threshold_min: 1.05,
            tail_excess: 0.95,
            tail_rate: 0.0075,
            tail_gain: 0.28,
            tail_shape: 0.11,
            tail_prior: 6.0,
            tail_bound: 5.7,
            tail_weight_min: 0.024,
            tail_memory_rows: 5300.0,
            told_rise_s: 7200.0,
            told_step: 0.3,
            told_less: 1.0,
            told_fade: 0.1,
            told_again: 2.0,
        }
    };
}
