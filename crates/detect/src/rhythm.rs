//! The shape of a day: how an hour usually compares with the mean.

use crate::tuning::Tuning;

/// Factors per local hour of day, learned once per finished hour, so that events may come as finely as they like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rhythm {
    /// Factor of each hour, thousandths (1000 is the mean).
    hours: [u16; 24],
    /// The hour being summed, hours since 1970 local; 0 before the first.
    hour: u32,
    /// Events in it.
    seen: f32,
    /// Events a flat day would have had in it.
    flat: f32,
}

/// One factor's unit.
const ONE: f32 = 1000.0;

impl Rhythm {
    /// A day without shape.
    pub(crate) const FLAT: Self = Self { hours: [1000; 24], hour: 0, seen: 0.0, flat: 0.0 };

    /// The factor at a local time, interpolated between the middles of hours.
    pub(crate) fn factor(&self, local_s: i64) -> f32 {
        let second = local_s.rem_euclid(86_400) as usize;
        let half = second + 1800;
        let (next, into) = (half / 3600 % 24, (half % 3600) as f32 / 3600.0);
        let before = (next + 23) % 24;
        (f32::from(self.hours[before]) * (1.0 - into) + f32::from(self.hours[next]) * into) / ONE
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
        let old = f32::from(self.hours[slot]) / ONE;
        let trust = tuning.shape_rate * flat / (flat + tuning.shape_prior);
        let new = old + trust * (seen / flat - old);
        self.hours[slot] = (new.clamp(0.05, 20.0) * ONE).round() as u16;
    }

    pub(crate) fn to_words(self, out: &mut impl FnMut(u32)) {
        self.hours.chunks(2).for_each(|pair| out(u32::from(pair[0]) | u32::from(pair[1]) << 16));
        out(self.hour);
        out(self.seen.to_bits());
        out(self.flat.to_bits());
    }
}
