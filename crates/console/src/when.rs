use jiff::tz::TimeZone;
use model::Timestamp;

/// The time a page is drawn for, and how times of day are written.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    pub(crate) now: Timestamp,
    pub(crate) zone: TimeZone,
}

impl Moment {
    /// `4 min ago`, `in 2 h`, `just now`.
    pub(crate) fn relative(&self, at: Timestamp) -> String {
        let millis = self.now.millis_since(at);
        if millis.abs() < 10_000 {
            return "just now".into();
        }
        if millis > 0 { format!("{} ago", span(millis)) } else { format!("in {}", span(-millis)) }
    }

    /// `03:14`, with the day where it is another one, with the year where that differs too.
    pub(crate) fn clock(&self, at: Timestamp) -> String {
        let (now, at) = (self.zoned(self.now), self.zoned(at));
        let format = if at.date() == now.date() {
            "%H:%M"
        } else if at.year() == now.year() {
            "%e %b %H:%M"
        } else {
            "%e %b %Y"
        };
        at.strftime(format).to_string().trim().to_owned()
    }

    /// In full, for whoever looks closer.
    pub(crate) fn full(&self, at: Timestamp) -> String {
        self.zoned(at).strftime("%A, %e %B %Y, %H:%M:%S %Z").to_string()
    }

    /// The zone's name at this moment.
    pub(crate) fn zone_name(&self) -> String {
        self.zoned(self.now).strftime("%Z").to_string()
    }

    fn zoned(&self, at: Timestamp) -> jiff::Zoned {
        let at = jiff::Timestamp::from_microsecond(at.as_micros()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        at.to_zoned(self.zone.clone())
    }
}

/// A length of time the way people say it, at most two units: `8 s`, `4 min`, `2 h 5 min`, `3 d 4 h`.
pub(crate) fn span(millis: i64) -> String {
    let seconds = millis.unsigned_abs() / 1_000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    let two = |big: u64, unit: &str, small: u64, small_unit: &str| {
        if small == 0 { format!("{big} {unit}") } else { format!("{big} {unit} {small} {small_unit}") }
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{minutes} min"),
        3_600..86_400 => two(hours, "h", minutes % 60, "min"),
        86_400..1_209_600 => two(days, "d", hours % 24, "h"),
        _ => format!("{days} d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(now: &str, zone: &str) -> Moment {
        Moment { now: now.parse().unwrap(), zone: TimeZone::get(zone).unwrap() }
    }

    #[test]
    fn lengths_are_said_in_at_most_two_units() {
        for (seconds, words) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3_599, "59 min"),
            (3_600, "1 h"),
            (7_500, "2 h 5 min"),
            (86_400, "1 d"),
            (100_000, "1 d 3 h"),
            (1_300_000, "15 d"),
        ] {
            assert_eq!(span(seconds * 1_000), words);
        }
        assert_eq!(span(i64::MIN), "106751991167 d");
    }

    #[test]
    fn times_are_relative_and_absolute_in_the_readers_zone() {
        let moment = moment("2026-11-22T03:14:00Z", "Europe/Rome");
        for (at, relative, clock) in [
            ("2026-11-22T03:13:55Z", "just now", "04:13"),
            ("2026-11-22T03:02:00Z", "12 min ago", "04:02"),
            ("2026-11-22T05:14:00Z", "in 2 h", "06:14"),
            ("2026-11-21T22:30:00Z", "4 h 44 min ago", "21 Nov 23:30"),
            ("2026-11-02T03:14:00Z", "20 d ago", "2 Nov 04:14"),
            ("2025-11-22T03:14:00Z", "365 d ago", "22 Nov 2025"),
        ] {
            let at = at.parse().unwrap();
            assert_eq!((moment.relative(at).as_str(), moment.clock(at).as_str()), (relative, clock));
        }
        assert_eq!(moment.full(moment.now), "Sunday, 22 November 2026, 04:14:00 CET");
    }

    #[test]
    fn the_ends_of_time_are_printable() {
        let moment = moment("2026-11-22T03:14:00Z", "UTC");
        for at in [Timestamp::MIN, Timestamp::MAX, Timestamp::EPOCH] {
            assert!(!moment.relative(at).is_empty() && !moment.clock(at).is_empty());
        }
    }
}
