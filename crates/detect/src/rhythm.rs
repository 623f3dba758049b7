//! The shape of a week: how an hour of the day, and a day of the week, usually compare with the mean.

use crate::tuning::Tuning;

/// Factors per local hour of day and per weekday, learned once per finished hour, so that events may come as finely as they like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rhythm {
    /// Factor of each hour: 32 steps to an octave around 128, which is the mean.
    hours: [u8; 24],
    /// Factor of each day of the week on the same scale, from Monday.
    days: [u8; 7],
    /// What a usual complaint weighs, in steps of 1/128: counts are told in complaints, levels are learned in weights.
    gravity: u8,
    /// The hour being summed, hours since the detector's epoch; 0 before the first.
    hour: u32,
    /// Events in it.
    seen: f32,
    /// Events a flat day would have had in it.
    flat: f32,
}

impl Rhythm {
    /// A week without shape.
    pub const FLAT: Self =
        Self { hours: [128; 24], days: [128; 7], gravity: 128, hour: 0, seen: 0.0, flat: 0.0 };

    /// A day with the given factors per local hour (1 is the mean); kept within 1/15 to 15.
    pub fn from_factors(factors: [f32; 24]) -> Self {
        let hours = factors.map(|factor| step_of(factor).round() as u8);
        Self { hours, ..Self::FLAT }
    }

    /// The same day with the given factors per weekday, from Monday (1 is the mean); kept within 1/4 to 4.
    pub fn with_weekdays(self, factors: [f32; 7]) -> Self {
        let days = factors.map(|factor| day_step(step_of(factor).round()));
        Self { days, ..self }
    }

    /// The same week with complaints that usually weigh this much (1 is an ordinary one); kept below 2.
    pub fn with_gravity(self, gravity: f32) -> Self {
        Self { gravity: (gravity * GRAVITY_STEPS).round().clamp(1.0, 255.0) as u8, ..self }
    }

    /// What a usual complaint weighs.
    pub fn gravity(&self) -> f32 {
        f32::from(self.gravity) / GRAVITY_STEPS
    }

    /// The factors per weekday, from Monday.
    pub fn weekdays(&self) -> [f32; 7] {
        self.days.map(|step| FACTORS[usize::from(step)])
    }

    /// The factors per local hour.
    pub fn factors(&self) -> [f32; 24] {
        self.hours.map(|step| FACTORS[usize::from(step)])
    }

    /// The factor at a local time, interpolated between the middles of hours.
    pub(crate) fn factor(&self, local_s: i64) -> f32 {
        let second = local_s.rem_euclid(86_400) as usize;
        let half = second + 1800;
        let (next, into) = (half / 3600 % 24, (half % 3600) as f32 / 3600.0);
        let before = (next + 23) % 24;
        let of = |hour: usize| FACTORS[usize::from(self.hours[hour])];
        let day = FACTORS[usize::from(self.days[weekday(local_s.div_euclid(86_400))])];
        (of(before) * (1.0 - into) + of(next) * into) * day
    }

    /// Adds events and what a flat day would have had in the `elapsed_s` seconds that end at `local_s`.
    pub(crate) fn learn(&mut self, seen: f32, flat: f32, elapsed_s: f32, local_s: i64, tuning: &Tuning) {
        let hour = local_s.div_euclid(3600) as u32;
        let into_s = local_s.rem_euclid(3600) as f32;
        if elapsed_s > into_s.max(3600.0) && hour > self.hour {
            // Each hour of a long silence was silent; were it all the last one's, that one would look empty.
            let flat_per_s = flat / elapsed_s;
            let back_s = elapsed_s - into_s;
            let whole = ((back_s / 3600.0) as u32).min(SILENT_HOURS_MAX);
            self.flat += flat_per_s * (back_s % 3600.0);
            for silent in hour - whole..hour {
                self.finish(tuning);
                (self.hour, self.flat) = (silent, flat_per_s * 3600.0);
            }
            self.finish(tuning);
            self.hour = hour;
            self.seen += seen;
            self.flat += flat_per_s * into_s;
            return;
        }
        if hour != self.hour {
            self.finish(tuning);
            self.hour = hour;
        }
        self.seen += seen;
        self.flat += flat;
    }

    /// Adds complaints that weigh `weight` together, witnessed at `now_s`.
    pub(crate) fn weigh(&mut self, complaints: f32, weight: f32, now_s: u32) {
        if complaints <= 0.0 {
            return;
        }
        let old = f32::from(self.gravity);
        let trust = complaints / (complaints + GRAVITY_MEMORY);
        let exact = old + trust * (weight / complaints * GRAVITY_STEPS - old);
        self.gravity = (exact + dither(now_s, 0xc2b2_ae35)).floor().clamp(1.0, 255.0) as u8;
    }

    fn finish(&mut self, tuning: &Tuning) {
        let (seen, flat) = (self.seen, self.flat);
        (self.seen, self.flat) = (0.0, 0.0);
        if flat <= 0.0 {
            return;
        }
        let slot = (self.hour % 24) as usize;
        let old = FACTORS[usize::from(self.hours[slot])];
        let trust = tuning.shape_rate * flat / (flat + tuning.shape_prior);
        let place = weekday(i64::from(self.hour / 24));
        let day = FACTORS[usize::from(self.days[place])];
        let exact = step_of(old + trust * (seen / flat / day - old));
        self.hours[slot] = (exact + dither(self.hour, 0x9e37_79b9)).floor().clamp(1.0, 255.0) as u8;
        // The prior's events are as usual: a subject of few events a day has no weekdays.
        let week_day = (seen + tuning.day_prior) / (flat * old + tuning.day_prior);
        let exact = step_of(day + tuning.day_rate / 24.0 * (week_day - day));
        self.days[place] = day_step((exact + dither(self.hour, 0x85eb_ca6b)).floor());
    }

    pub(crate) fn words(&self, out: &mut crate::snapshot::Writer) {
        out.bytes(&self.hours);
        out.bytes(&self.days);
        out.u8(self.gravity);
        out.u32(self.hour);
        out.f32(self.seen);
        out.f32(self.flat);
    }

    pub(crate) fn from_words(input: &mut crate::snapshot::Reader<'_>) -> Option<Self> {
        Some(Self {
            hours: input.bytes()?,
            days: input.bytes()?,
            gravity: input.u8().filter(|gravity| *gravity > 0)?,
            hour: input.u32()?,
            seen: input.f32()?,
            flat: input.f32()?,
        })
    }
}

/// A silence teaches each hour of the day at most once.
const SILENT_HOURS_MAX: u32 = 24;
/// Steps of a gravity to 1.
const GRAVITY_STEPS: f32 = 128.0;
/// Complaints in which what they usually weigh is learned.
const GRAVITY_MEMORY: f32 = 50.0;

/// A number in 0..1 by a hash of the time. A step is rounded up as often as its fraction says: small
/// lessons add up over weeks instead of being lost, and a replay rounds the same way.
fn dither(time: u32, salt: u32) -> f32 {
    (time.wrapping_mul(salt) >> 8) as f32 / 16_777_216.0
}

/// A weekday's place on the scale, within two octaves of the mean.
fn day_step(step: f32) -> u8 {
    step.clamp(64.0, 192.0) as u8
}

/// Monday is 0; day 0 is 1970-01-01, a Thursday.
fn weekday(day: i64) -> usize {
    (day + 3).rem_euclid(7) as usize
}

/// Where a factor lies on the scale of [`FACTORS`].
fn step_of(factor: f32) -> f32 {
    (128.0 + 32.0 * factor.max(1e-6).log2()).clamp(1.0, 255.0)
}

/// `2^((step - 128) / 32)`, by repeated multiplication so that it is a constant.
static FACTORS: [f32; 256] = factors();

const fn factors() -> [f32; 256] {
    const ROOT: f64 = 1.021_897_148_654_116_7;
    let mut table = [1.0f32; 256];
    let (mut up, mut down, mut step) = (1.0f64, 1.0f64, 1);
    while step <= 128 {
        up *= ROOT;
        down /= ROOT;
        if step < 128 {
            table[128 + step] = up as f32;
        }
        table[128 - step] = down as f32;
        step += 1;
    }
    table
}

impl Default for Rhythm {
    fn default() -> Self {
        Self::FLAT
    }
}
