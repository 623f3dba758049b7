//! The forecast: per age, trees and a linear fit for the growth still to come, and intervals calibrated on threads the fit has not seen.

use super::{
    boost::{Boost, Growth},
    linear::Linear,
    state::{COUNT, FEATURES, FOLLOWERS, ThreadState},
};
use crate::snapshot;

/// Ages a model is fitted at, seconds; between them it is interpolated.
pub const AGES_S: [u32; 11] = [300, 600, 1200, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800];
/// A thread's final size is its reactions within this many seconds: seven days.
pub const HORIZON_S: u32 = 604_800;
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

/// Bytes are no model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// Another kind of file.
    #[error("this is not a thread forecast model")]
    NotAModel,
    /// Cut short, or with impossible numbers.
    #[error("the thread forecast model is damaged")]
    Damaged,
}

/// Levels of the residual quantiles that a model stores.
const LEVELS: [f32; 11] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99];
/// Folds for residuals of threads the fit has not seen.
const FOLDS: usize = 8;
/// Widening of intervals for threads of another kind than those fitted.
const UNSEEN_KIND: f32 = 1.3;
const MAGIC: &[u8; 8] = b"RDRCASC2";

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

/// What the middle of a fit is about, both as logarithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aim {
    /// The growth still to come: little is known of the size that such threads come to.
    Growth,
    /// The same for threads of many kinds: a plain median, because leaning to one side would go along
    /// to kinds not seen.
    AnyGrowth,
    /// The final size: such threads come to a typical one, and the less is known the nearer the
    /// forecast stays to that.
    Size,
}

/// How an aim is fitted.
struct Recipe {
    /// The linear fit's share; the trees learn what that leaves.
    linear_share: f32,
    /// Rows' worth by which the linear fit is pulled to a constant: a share of all weight, and a number.
    linear_ridge: (f64, f64),
    /// How far one round of trees moves at most, before the rate.
    bound: f32,
    /// Power of the final size over the expected one by which a row counts less. An error is relative
    /// to the final size, so the same error weighs more where that came out small: 1 is the whole of it.
    relative: f32,
}

impl Aim {
    fn recipe(self) -> Recipe {
        let growth = Recipe { linear_share: 0.8, linear_ridge: (0.02, 2.0), bound: 0.3, relative: 0.5 };
        match self {
            Self::Growth => growth,
            Self::AnyGrowth => Recipe { relative: 0.0, ..growth },
            Self::Size => Recipe { linear_share: 0.5, linear_ridge: (0.0, 30.0), bound: 0.1, relative: 1.0 },
        }
    }

    /// What is added to the growth to be fitted.
    fn offset(self, x: &[f32; FEATURES]) -> f32 {
        match self {
            Self::Growth | Self::AnyGrowth => 0.0,
            Self::Size => x[COUNT],
        }
    }
}

/// Trees on what a share of a robust linear fit leaves.
#[derive(Clone, Debug, PartialEq)]
struct Middle {
    aim: Aim,
    linear: Linear,
    trees: Boost,
}

impl Middle {
    fn fit(x: &[[f32; FEATURES]], growth: &[f32], weight: &[f32], aim: Aim) -> Self {
        let recipe = aim.recipe();
        let total: f32 = weight.iter().sum();
        let y: Vec<f32> = x.iter().zip(growth).map(|(row, growth)| growth + aim.offset(row)).collect();
        let ridge = recipe.linear_ridge.0 * f64::from(total) + recipe.linear_ridge.1;
        let first = Linear::fit(x, &y, weight, ridge);
        let weight = relative_weight(x, &y, weight, &first, recipe.relative);
        let linear = Linear::fit(x, &y, &weight, ridge);
        let rest: Vec<f32> =
            x.iter().zip(&y).map(|(row, value)| value - recipe.linear_share * linear.answer(row)).collect();
        let ridge = (total * 0.01).clamp(2.0, 20.0);
        let growth = Growth { trees: 120, rate: 0.08, bound: recipe.bound, ridge, share: 0.7 };
        let trees = Boost::fit(x, &rest, &weight, &growth);
        Self { aim, linear, trees }
    }

    /// The growth still to come, as a logarithm.
    fn growth(&self, x: &[f32; FEATURES]) -> f32 {
        let value = self.aim.recipe().linear_share * self.linear.answer(x) + self.trees.answer(x);
        value - self.aim.offset(x)
    }

    fn write(&self, out: &mut snapshot::Writer) {
        out.u8(self.aim as u8);
        self.trees.write(out);
        self.linear.write(out);
    }

    fn read(input: &mut snapshot::Reader<'_>) -> Option<Self> {
        let aim = match input.u8()? {
            0 => Aim::Growth,
            1 => Aim::AnyGrowth,
            2 => Aim::Size,
            _ => return None,
        };
        Some(Self { aim, trees: Boost::read(input)?, linear: Linear::read(input)? })
    }
}

/// Weights by which a fit of logarithms makes the relative error small.
fn relative_weight(
    x: &[[f32; FEATURES]],
    y: &[f32],
    weight: &[f32],
    expected: &Linear,
    power: f32,
) -> Vec<f32> {
    /// One thread counts at most so many times more or less (as a logarithm).
    const MOST: f32 = 1.5;
    if power == 0.0 {
        return weight.to_vec();
    }
    let times = |row, value: &f32| (-power * (value - expected.answer(row)).clamp(-MOST, MOST)).exp();
    x.iter().zip(y).zip(weight).map(|((row, value), weight)| weight * times(row, value)).collect()
}

/// Everything fitted at one age.
#[derive(Clone, Debug, PartialEq)]
struct AgeModel {
    middle: Middle,
    /// Logarithm of the typical absolute residual.
    spread: Boost,
    /// Quantiles of residuals over their spread, at [`LEVELS`].
    quantiles: [f32; LEVELS.len()],
}

/// What an age model says: growth still to come as a logarithm, its spread, and the quantiles of the rest.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Growing {
    middle: f32,
    spread: f32,
    quantiles: [f32; LEVELS.len()],
}

/// A fitted forecast for a kind of thread.
#[derive(Clone, Debug, PartialEq)]
pub struct CascadeModel {
    ages: Vec<AgeModel>,
    /// Fitted on large threads alone, and used for those that are as large as they at the same age; may be empty.
    large: Vec<(f32, AgeModel)>,
    /// Exponent of how the growth still to come spreads over time.
    slope: f32,
}

/// What is expected of a thread; every number is finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// Reactions so far.
    pub seen: u32,
    /// The final number of reactions with the least expected error relative to it; a little below the median.
    pub expected_final: f32,
    /// Lower end of the central 90 % of the final number.
    pub low: f32,
    /// Upper end of it.
    pub high: f32,
    /// Seconds from now until twice as many reactions are expected; `None` if that is not expected within seven days.
    pub doubling_s: Option<f32>,
    age_s: f32,
    reach: f32,
    reach_each: f32,
    slope: f32,
    growing: Growing,
}

/// Training rows of one age; `thread` keeps a thread's rows in one fold, `exact` marks the age itself.
#[derive(Default)]
struct Rows {
    x: Vec<[f32; FEATURES]>,
    y: Vec<f32>,
    weight: Vec<f32>,
    thread: Vec<usize>,
    exact: Vec<bool>,
}

impl Rows {
    /// The rows whose thread is in (`true`) or out of a fold.
    fn pick(&self, fold: usize, inside: bool) -> Vec<usize> {
        (0..self.y.len()).filter(|row| (self.thread[*row] % FOLDS == fold) == inside).collect()
    }

    fn part(&self, rows: &[usize]) -> (Vec<[f32; FEATURES]>, Vec<f32>, Vec<f32>) {
        let of = |values: &[f32]| rows.iter().map(|row| values[*row]).collect();
        (rows.iter().map(|row| self.x[*row]).collect(), of(&self.y), of(&self.weight))
    }
}

impl AgeModel {
    /// Fits rows; also answers each row's residual by a fit that has not seen its thread.
    fn fit(rows: &Rows, aim: Aim) -> (Self, Vec<f32>) {
        let mut rest = vec![0.0; rows.y.len()];
        for fold in 0..FOLDS {
            let (x, y, weight) = rows.part(&rows.pick(fold, false));
            let middle = Middle::fit(&x, &y, &weight, aim);
            for row in rows.pick(fold, true) {
                rest[row] = rows.y[row] - middle.growth(&rows.x[row]);
            }
        }
        let sizes: Vec<f32> = rest.iter().map(|value| (value.abs() + 0.02).ln()).collect();
        // Scaled by a spread that has not seen the thread either, or the intervals come out too narrow.
        let mut scaled = Vec::new();
        for fold in 0..FOLDS {
            let seen = rows.pick(fold, false);
            let (x, _, weight) = rows.part(&seen);
            let part: Vec<f32> = seen.iter().map(|row| sizes[*row]).collect();
            let spread = Boost::fit(&x, &part, &weight, &SPREAD_GROWTH);
            let exact = rows.pick(fold, true).into_iter().filter(|row| rows.exact[*row]);
            scaled.extend(exact.map(|row| (rest[row] / spread_of(&spread, &rows.x[row]), rows.weight[row])));
        }
        let spread = Boost::fit(&rows.x, &sizes, &rows.weight, &SPREAD_GROWTH);
        scaled.sort_by(|a, b| a.0.total_cmp(&b.0));
        let middle = Middle::fit(&rows.x, &rows.y, &rows.weight, aim);
        (Self { middle, spread, quantiles: LEVELS.map(|level| conformal(&scaled, level)) }, rest)
    }

    fn growing(&self, x: &[f32; FEATURES]) -> Growing {
        let middle = self.middle.growth(x).clamp(0.0, GROWTH_MAX);
        let spread = spread_of(&self.spread, x);
        Growing { middle, spread, quantiles: self.quantiles }
    }

    fn write(&self, out: &mut snapshot::Writer) {
        self.middle.write(out);
        self.spread.write(out);
        self.quantiles.iter().for_each(|value| out.f32(*value));
    }

    fn read(input: &mut snapshot::Reader<'_>) -> Option<Self> {
        let (middle, spread) = (Middle::read(input)?, Boost::read(input)?);
        let mut quantiles = [0.0; LEVELS.len()];
        for value in &mut quantiles {
            *value = input.f32()?;
        }
        quantiles.is_sorted().then_some(Self { middle, spread, quantiles })
    }
}

impl Growing {
    /// This one, moved towards another by a share.
    fn blend(self, other: Self, share: f32) -> Self {
        let blend = |a: f32, b: f32| a + (b - a) * share;
        Self {
            middle: blend(self.middle, other.middle),
            spread: blend(self.spread, other.spread),
            quantiles: std::array::from_fn(|i| blend(self.quantiles[i], other.quantiles[i])),
        }
    }
}

/// The typical size of a residual.
fn spread_of(spread: &Boost, x: &[f32; FEATURES]) -> f32 {
    spread.answer(x).clamp(-6.0, 3.0).exp()
}

/// No thread is forecast to grow more than this (as a logarithm): about 160,000 times.
const GROWTH_MAX: f32 = 12.0;
/// Over this much of the logarithm of the count the fit of large threads takes over.
const TAKE_OVER: f32 = 0.5;
const SPREAD_GROWTH: Growth = Growth { trees: 30, rate: 0.1, bound: 1.5, ridge: 20.0, share: 0.8 };

/// The quantile of sorted weighted values that a new value stays within with at least that
/// probability, counting the new one among them (split conformal: Vovk et al. 2005).
fn conformal(sorted: &[(f32, f32)], level: f32) -> f32 {
    let total: f32 = sorted.iter().map(|(_, weight)| weight).sum();
    let mean = total / sorted.len().max(1) as f32;
    // The new thread's own weight is put at the outer side of either tail.
    let (wanted, mut below) =
        if level < 0.5 { (level * (total + mean), mean) } else { (level * (total + mean), 0.0) };
    for (value, weight) in sorted {
        below += weight;
        if below >= wanted {
            return *value;
        }
    }
    sorted.last().map_or(0.0, |(value, _)| *value)
}

impl CascadeModel {
    /// A file larger than this, in bytes, is no model.
    pub const BYTES_MAX: u64 = 64 << 20;

    /// The model inside this crate, fitted on openly licensed threads and simulated ones.
    pub fn shipped() -> Self {
        match Self::from_bytes(include_bytes!("shipped.bin")) {
            Ok(model) => model,
            Err(error) => unreachable!("the shipped model is read by a test: {error}"),
        }
    }

    /// Fits finished threads, once for the growth to come and once for the final size, and keeps what
    /// forecasts left-out threads better. The same threads in the same order give the same model.
    ///
    /// # Errors
    /// [`FitError::TooFew`] below [`THREADS_MIN`] threads.
    pub fn fit(threads: &[Thread]) -> Result<Self, FitError> {
        Self::fit_scored(threads).map(|(model, _)| model)
    }

    /// As [`CascadeModel::fit`], with how well each age forecasts threads that its fit has not seen.
    ///
    /// # Errors
    /// As [`CascadeModel::fit`].
    pub fn fit_scored(threads: &[Thread]) -> Result<(Self, Vec<AgeScore>), FitError> {
        let growth = Self::fit_aimed(threads, Aim::Growth)?;
        let size = Self::fit_aimed(threads, Aim::Size)?;
        let error = |(_, scores): &(Self, Vec<AgeScore>)| scores.iter().map(|s| s.mean_error).sum::<f32>();
        Ok(if error(&size) < error(&growth) { size } else { growth })
    }

    fn fit_aimed(threads: &[Thread], aim: Aim) -> Result<(Self, Vec<AgeScore>), FitError> {
        if threads.len() < THREADS_MIN {
            return Err(FitError::TooFew(threads.len()));
        }
        let (ages, scores) = AGES_S.iter().map(|age_s| fit_age(threads, *age_s, aim)).unzip();
        Ok((Self { ages, large: Vec::new(), slope: fit_slope(threads) }, scores))
    }

    /// Fits ordinary threads, and large ones apart: a collection of threads that all became large
    /// says nothing about small ones, and would promise every thread their size. The ordinary
    /// intervals are widened, because the threads they will meet are of a kind not seen here.
    ///
    /// # Errors
    /// As [`CascadeModel::fit`], for either.
    pub fn fit_apart(ordinary: &[Thread], large: &[Thread]) -> Result<Self, FitError> {
        let (mut model, _) = Self::fit_aimed(ordinary, Aim::AnyGrowth)?;
        let large_model = Self::fit(large)?;
        for age in &mut model.ages {
            age.quantiles = age.quantiles.map(|quantile| quantile * UNSEEN_KIND);
        }
        let knees = AGES_S.iter().map(|age_s| knee(large, *age_s));
        model.large = knees.zip(large_model.ages).collect();
        Ok(model)
    }

    /// What is expected of a thread as of `now_s` (unix seconds).
    pub fn forecast(&self, thread: &ThreadState, now_s: i64) -> Forecast {
        let age_s = thread.age_s(now_s).min(HORIZON_S as f32);
        let x = thread.features(age_s);
        let growing = self.growing(&x, age_s);
        let seen = thread.seen();
        let size =
            |growth: f32| ((seen as f32 + 1.0) * growth.clamp(0.0, GROWTH_MAX).exp() - 1.0).max(seen as f32);
        let edge = |index: usize| size(growing.middle + growing.spread * growing.quantiles[index]);
        let mut forecast = Forecast {
            seen,
            expected_final: size(growing.middle),
            low: edge(2).min(size(growing.middle)),
            high: edge(8).max(size(growing.middle)),
            doubling_s: None,
            age_s,
            reach: thread.reach(),
            reach_each: thread.reach_each(),
            slope: self.slope,
            growing,
        };
        forecast.doubling_s = forecast.time_to(2.0 * seen.max(1) as f32);
        forecast
    }

    fn growing(&self, x: &[f32; FEATURES], age_s: f32) -> Growing {
        let next = AGES_S.partition_point(|age| (*age as f32) < age_s);
        if next == 0 {
            return self.growing_at(x, 0);
        }
        let before_s = AGES_S[next - 1] as f32;
        let before = self.growing_at(x, next - 1);
        // After the last age growth fades out towards the horizon.
        let (after_s, after) = if next < AGES_S.len() {
            (AGES_S[next] as f32, self.growing_at(x, next))
        } else {
            (HORIZON_S as f32, Growing { middle: 0.0, spread: 0.0, ..before })
        };
        before.blend(after, ((age_s / before_s).ln() / (after_s / before_s).ln()).clamp(0.0, 1.0))
    }

    fn growing_at(&self, x: &[f32; FEATURES], age: usize) -> Growing {
        let Some((knee, large)) = self.large.get(age) else { return self.ages[age].growing(x) };
        // The large ones told their followers; a thread that does not is of another kind.
        if x[FOLLOWERS] <= 0.0 {
            return self.ages[age].growing(x);
        }
        match ((x[COUNT] - knee) / TAKE_OVER + 1.0).clamp(0.0, 1.0) {
            0.0 => self.ages[age].growing(x),
            1.0 => large.growing(x),
            share => self.ages[age].growing(x).blend(large.growing(x), share),
        }
    }

    /// The model as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = snapshot::Writer::default();
        out.bytes(MAGIC);
        out.f32(self.slope);
        out.u32(self.large.len() as u32);
        self.ages.iter().for_each(|age| age.write(&mut out));
        for (knee, age) in &self.large {
            out.f32(*knee);
            age.write(&mut out);
        }
        out.0
    }

    /// A model from [`CascadeModel::to_bytes`].
    ///
    /// # Errors
    /// [`ModelError`] for anything else; no bytes make it panic.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ModelError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(ModelError::NotAModel)?;
        let mut input = snapshot::Reader(rest);
        Self::read(&mut input).filter(|_| input.0.is_empty()).ok_or(ModelError::Damaged)
    }

    fn read(input: &mut snapshot::Reader<'_>) -> Option<Self> {
        let slope = input.f32().filter(|slope| (0.01..10.0).contains(slope))?;
        let apart = input.u32().filter(|count| *count == 0 || *count == AGES_S.len() as u32)?;
        let ages = AGES_S.iter().map(|_| AgeModel::read(input)).collect::<Option<Vec<_>>>()?;
        let large =
            (0..apart).map(|_| Some((input.f32()?, AgeModel::read(input)?))).collect::<Option<Vec<_>>>()?;
        Some(Self { ages, large, slope })
    }
}

impl Forecast {
    /// Probability (0..1) that the thread ends with at least `size` reactions.
    pub fn p_at_least(&self, size: f32) -> f32 {
        let growth = ((size.max(0.0) + 1.0) / (self.seen as f32 + 1.0)).ln();
        if growth <= 0.0 {
            return 1.0;
        }
        let value = (growth - self.growing.middle) / self.growing.spread.max(1e-3);
        1.0 - below(value, &self.growing.quantiles)
    }

    /// Expected reactions at `after_s` seconds from now.
    pub fn expected_at(&self, after_s: f32) -> f32 {
        let until = (self.age_s + after_s.max(0.0)).min(HORIZON_S as f32);
        let whole = arrived(self.age_s, HORIZON_S as f32, self.slope);
        let share = if whole > 0.0 { arrived(self.age_s, until, self.slope) / whole } else { 1.0 };
        self.seen as f32 + (self.expected_final - self.seen as f32) * share.clamp(0.0, 1.0)
    }

    /// Seconds left to answer before about `people` people have had the thread before them:
    /// 0 if they have already, `None` if that is not expected within seven days.
    pub fn answer_within_s(&self, people: f32) -> Option<f32> {
        let missing = people - self.reach;
        if missing <= 0.0 {
            return Some(0.0);
        }
        // The author's followers have seen it once; who reacts brings as many as those before did on average.
        self.time_to(self.seen as f32 + missing / self.reach_each.max(1.0))
    }

    /// Seconds until `size` reactions are expected.
    fn time_to(&self, size: f32) -> Option<f32> {
        let left_s = HORIZON_S as f32 - self.age_s;
        if self.expected_at(left_s) < size {
            return None;
        }
        let (mut low, mut high) = (0.0, left_s);
        for _ in 0..40 {
            let middle = (low + high) / 2.0;
            if self.expected_at(middle) < size { low = middle } else { high = middle }
        }
        Some(high)
    }
}

/// Share of values below `value`, between stored quantiles linearly and beyond them exponentially.
fn below(value: f32, quantiles: &[f32; LEVELS.len()]) -> f32 {
    let last = LEVELS.len() - 1;
    let at = quantiles.partition_point(|quantile| *quantile < value);
    let fade = |distance: f32, step: f32| (-std::f32::consts::LN_2 * distance / step.max(1e-3)).exp();
    match at {
        0 => LEVELS[0] * fade(quantiles[0] - value, quantiles[1] - quantiles[0]),
        at if at > last => {
            1.0 - (1.0 - LEVELS[last]) * fade(value - quantiles[last], quantiles[last] - quantiles[last - 1])
        }
        at => {
            let width = quantiles[at] - quantiles[at - 1];
            let into = if width > 0.0 { (value - quantiles[at - 1]) / width } else { 1.0 };
            LEVELS[at - 1] + (LEVELS[at] - LEVELS[at - 1]) * into
        }
    }
}

/// Unnormalised share of the growth after age `from_s` that has come by `until_s`: a power law of age.
fn arrived(from_s: f32, until_s: f32, slope: f32) -> f32 {
    /// Seconds before which a thread has no shape yet.
    const YOUNG_S: f32 = 300.0;
    1.0 - ((until_s + YOUNG_S) / (from_s + YOUNG_S)).powf(-slope)
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

fn fit_age(threads: &[Thread], age_s: u32, aim: Aim) -> (AgeModel, AgeScore) {
    let rows = rows_at(threads, age_s);
    let (model, rest) = AgeModel::fit(&rows, aim);
    let meant: Vec<usize> = (0..rest.len())
        .filter(|row| rows.exact[*row] && rows.x[*row][COUNT].exp_m1() >= MEANINGFUL - 0.5)
        .collect();
    let mut errors: Vec<f32> = meant.iter().map(|row| ((-rest[*row]).exp() - 1.0).abs()).collect();
    errors.sort_by(f32::total_cmp);
    let inside = |row: &&usize| {
        let scaled = rest[**row] / spread_of(&model.spread, &rows.x[**row]);
        (model.quantiles[2]..=model.quantiles[8]).contains(&scaled)
    };
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
    let mut rows = Rows::default();
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
fn knee(threads: &[Thread], age_s: u32) -> f32 {
    let mut counts: Vec<f32> = threads.iter().map(|thread| (size_by(thread, age_s) as f32).ln_1p()).collect();
    counts.sort_by(f32::total_cmp);
    match counts[..] {
        [] => 0.0,
        [only] => only,
        [smallest, next, ..] => smallest.max(next - TAKE_OVER),
    }
}

/// The exponent under which the growth after an age comes when it came in the threads.
fn fit_slope(threads: &[Thread]) -> f32 {
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
