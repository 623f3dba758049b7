//! The shape of a day: how an hour usually compares with the mean.

use crate::tuning::Tuning;

/// Factors per local hour of day, learned once per finished hour, so that events may come as finely as they like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rhythm {
    /// Factor of each hour: 32 steps to an octave around 128, which is the mean.
    hours: [u8; 24],
    /// The hour being summed, hours since the detector's epoch; 0 before the first.
    hour: u32,
    /// Events in it.
    seen: f32,
    /// Events a flat day would have had in it.
    flat: f32,
}

impl Rhythm {
    /// A day without shape.
    pub const FLAT: Self = Self { hours: [128; 24], hour: 0, seen: 0.0, flat: 0.0 };

    /// A day with the given factors per local hour (1 is the mean); kept within 1/15 to 15.
    pub fn from_factors(factors: [f32; 24]) -> Self {
        let hours = factors.map(|factor| step_of(factor).round() as u8);
        Self { hours, ..Self::FLAT }
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
        of(before) * (1.0 - into) + of(next) * into
    }

    /// Adds events and what a flat day would have had in the time that ends at `local_s`.
    pub(crate) fn learn(&mut self, seen: f32, flat: f32, local_s: i64, tuning: &Tuning) {
        let hour = local_s.div_euclid(3600) as u32;
        if hour != self.hour {
            self.finish(tuning);
            self.hour = hour;
        }
        self.seen += seen;
        self.flat += flat;
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
        let exact = step_of(old + trust * (seen / flat - old));
        // Rounded up as often as the fraction says, by a hash of the hour: small lessons add up
        // over weeks instead of being lost, and a replay rounds the same way.
        let dither = (self.hour.wrapping_mul(0x9e37_79b9) >> 8) as f32 / 16_777_216.0;
        self.hours[slot] = (exact + dither).floor().clamp(1.0, 255.0) as u8;
    }

    pub(crate) fn words(&self, out: &mut crate::snapshot::Writer) {
        out.bytes(&self.hours);
        out.u32(self.hour);
        out.f32(self.seen);
        out.f32(self.flat);
    }

    pub(crate) fn from_words(input: &mut crate::snapshot::Reader<'_>) -> Option<Self> {
        Some(Self { hours: input.bytes()?, hour: input.u32()?, seen: input.f32()?, flat: input.f32()? })
    }
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
