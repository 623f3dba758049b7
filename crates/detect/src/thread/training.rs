//! Finished threads as rows to fit, one age at a time, and how well a fit forecasts threads it has not seen.

use super::{
    age::AgeModel,
    forecast::arrived,
    middle::Aim,
    model::{HORIZON_S, TAKE_OVER},
    state::{COUNT, FEATURES, ThreadState},
};

/// Least threads for a fit.
pub const THREADS_MIN: usize = 30;

/// A finished thread for training.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Thread {
    /// Followers of the author of the original post, 0 if unknown.
    pub root_followers: u64,
    /// Reactions in time order: seconds after the original post, followers (0 if unknown).
    pub reactions: Vec<(u32, u64)>,
    /// How much the thread counts in the fit; 1 for an ordinary one.
    pub weight: f32,
}

/// A model cannot be fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FitError {
    /// Too few threads.
    #[error("{0} finished threads are too few to fit a forecast, at least {THREADS_MIN} are needed")]
    TooFew(usize),
}

/// Folds for residuals of threads the fit has not seen.
const FOLDS: usize = 8;
/// The same where threads are few: fits of seven eighths of them are worse than the one in use, and so would be the
/// intervals.
const FOLDS_FEW: usize = 24;
/// Threads below which there are [`FOLDS_FEW`].
const THREADS_FEW: usize = 64;

/// How well an age's model forecasts threads that were left out of its fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AgeScore {
    /// The age, seconds.
    pub age_s: u32,
    /// Threads with at least five reactions by then; the rest of the score is about them.
    pub threads: usize,
    /// Median of the error relative to the final size.
    pub median_error: f32,
    /// Mean of the error relative to the final size, each counted as at most 1: with few threads it
    /// depends less on which of them were left out together than the median does.
    pub mean_error: f32,
    /// Share (0..1) of final sizes inside the 90 % interval.
    pub covered: f32,
}

/// Training rows of one age; `thread` keeps a thread's rows in one fold, `exact` marks the age itself.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) x: Vec<[f32; FEATURES]>,
    pub(super) y: Vec<f32>,
    pub(super) weight: Vec<f32>,
    pub(super) thread: Vec<usize>,
    pub(super) exact: Vec<bool>,
    pub(super) folds: usize,
}

impl Rows {
    /// The rows whose thread is in (`true`) or out of a fold.
    pub(super) fn pick(&self, fold: usize, inside: bool) -> Vec<usize> {
        (0..self.y.len()).filter(|row| (self.thread[*row] % self.folds == fold) == inside).collect()
    }

    pub(super) fn part(&self, rows: &[usize]) -> (Vec<[f32; FEATURES]>, Vec<f32>, Vec<f32>) {
        let of = |values: &[f32]| rows.iter().map(|row| values[*row]).collect();
        (rows.iter().map(|row| self.x[*row]).collect(), of(&self.y), of(&self.weight))
    }
}

/// A thread's state after its first `age_s` seconds.
fn state_at(thread: &Thread, age_s: u32) -> ThreadState {
    let mut state = ThreadState::new(0, thread.root_followers);
    thread
        .reactions
        .iter()
        .take_while(|(at_s, _)| *at_s <= age_s)
        .for_each(|(at_s, followers)| state.reaction(i64::from(*at_s), *followers));
    state
}

fn size_by(thread: &Thread, age_s: u32) -> usize {
    thread.reactions.partition_point(|(at_s, _)| *at_s <= age_s)
}

/// Reactions from which a thread's early numbers mean something.
const MEANINGFUL: f32 = 5.0;

pub(super) fn fit_age(threads: &[Thread], age_s: u32, aim: Aim) -> (AgeModel, AgeScore) {
    let rows = rows_at(threads, age_s);
    let (model, rest) = AgeModel::fit(&rows, aim);
    let meant: Vec<usize> = (0..rest.len())
        .filter(|row| rows.exact[*row] && rows.x[*row][COUNT].exp_m1() >= MEANINGFUL - 0.5)
        .collect();
    let mut errors: Vec<f32> = meant.iter().map(|row| ((-rest[*row]).exp() - 1.0).abs()).collect();
    errors.sort_by(f32::total_cmp);
    let inside = |row: &&usize| model.holds(rest[**row], &rows.x[**row]);
    let score = AgeScore {
        age_s,
        threads: meant.len(),
        median_error: errors.get(errors.len() / 2).copied().unwrap_or(0.0),
        mean_error: errors.iter().map(|error| error.min(1.0)).sum::<f32>() / errors.len().max(1) as f32,
        covered: meant.iter().filter(inside).count() as f32 / meant.len().max(1) as f32,
    };
    (model, score)
}

/// Each thread at the age; where there are few threads also before and after, against chance: what is learned at
/// one age differs less from that at its neighbours.
fn rows_at(threads: &[Thread], age_s: u32) -> Rows {
    const FEW: usize = 500;
    let around: &[f32] = if threads.len() < FEW { &[1.0, 0.85, 1.18, 0.72, 1.39] } else { &[1.0] };
    let folds = if threads.len() < THREADS_FEW { FOLDS_FEW } else { FOLDS };
    let mut rows = Rows { folds, ..Rows::default() };
    for (index, thread) in threads.iter().enumerate() {
        let last = size_by(thread, HORIZON_S) as f32;
        for &times in around {
            let at_s = (age_s as f32 * times) as u32;
            let state = state_at(thread, at_s);
            let seen = state.seen() as f32;
            rows.x.push(state.features(at_s as f32));
            rows.y.push(((last + 1.0) / (seen + 1.0)).ln());
            let trust = if seen >= MEANINGFUL { 1.0 } else { 0.2 };
            rows.weight.push(thread.weight.max(0.0) * trust / around.len() as f32);
            rows.thread.push(index);
            rows.exact.push(times == 1.0);
        }
    }
    rows
}

/// The logarithm of the smallest count that the threads have at an age; one that lies far below the
/// next is an exception.
pub(super) fn knee(threads: &[Thread], age_s: u32) -> f32 {
    let mut counts: Vec<f32> = threads.iter().map(|thread| (size_by(thread, age_s) as f32).ln_1p()).collect();
    counts.sort_by(f32::total_cmp);
    match counts[..] {
        [] => 0.0,
        [only] => only,
        [smallest, next, ..] => smallest.max(next - TAKE_OVER),
    }
}

/// The exponent under which the growth after an age comes when it came in the threads.
pub(super) fn fit_slope(threads: &[Thread]) -> f32 {
    let error = |slope: f32| -> f32 {
        let mut sum = 0.0;
        for thread in threads {
            let last = size_by(thread, HORIZON_S) as f32;
            for from_s in [1800u32, 7200, 28_800] {
                let seen = size_by(thread, from_s) as f32;
                if last - seen < 10.0 {
                    continue;
                }
                for until_s in [from_s * 2, from_s * 6] {
                    let real = (size_by(thread, until_s) as f32 - seen) / (last - seen);
                    let whole = arrived(from_s as f32, HORIZON_S as f32, slope);
                    sum +=
                        thread.weight * (arrived(from_s as f32, until_s as f32, slope) / whole - real).abs();
                }
            }
        }
        sum
    };
    let slopes: Vec<f32> = (2..40).map(|k| k as f32 * 0.05).collect();
    slopes.into_iter().min_by(|a, b| error(*a).total_cmp(&error(*b))).unwrap_or(0.5)
}
