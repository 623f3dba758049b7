//! The forecast: one fit per age, and one of large threads beside it, interpolated between ages.

use super::{
    age::{AgeModel, GROWTH_MAX, Growing},
    forecast::Forecast,
    middle::Aim,
    state::{COUNT, FEATURES, FOLLOWERS, ThreadState},
    training::{AgeScore, FitError, THREADS_MIN, Thread, fit_age, fit_slope, knee},
};
use crate::snapshot;

/// Ages a model is fitted at, seconds; between them it is interpolated.
pub const AGES_S: [u32; 11] = [300, 600, 1200, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800];
/// A thread's final size is its reactions within this many seconds: seven days.
pub const HORIZON_S: u32 = 604_800;
/// Widening of intervals for threads of another kind than those fitted.
const UNSEEN_KIND: f32 = 1.3;
const MAGIC: &[u8; 8] = b"RDRCASC2";
/// Over this much of the logarithm of the count the fit of large threads takes over.
pub(super) const TAKE_OVER: f32 = 0.5;

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

/// A fitted forecast for a kind of thread.
#[derive(Clone, Debug, PartialEq)]
pub struct CascadeModel {
    ages: Vec<AgeModel>,
    /// Fitted on large threads alone, and used for those that are as large as they at the same age; may be empty.
    large: Vec<(f32, AgeModel)>,
    /// Exponent of how the growth still to come spreads over time.
    slope: f32,
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
