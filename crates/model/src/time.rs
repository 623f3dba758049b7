use std::fmt;
use std::str::FromStr;

use crate::Invalid;

/// A length of time in milliseconds; negative means "before".
pub type Millis = i64;

/// An instant in UTC with microsecond resolution, between the years 0001 and 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest instant that can be named, 0001-01-01T00:00:00Z.
    pub const MIN: Self = Self(-62_135_596_800_000_000);
    /// The latest instant that can be named, 9999-12-30T00:00:00Z.
    pub const MAX: Self = Self(253_402_128_000_000_000);
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// Microseconds since the epoch, clamped to [`Timestamp::MIN`]..=[`Timestamp::MAX`].
    pub const fn from_micros(micros: i64) -> Self {
        if micros < Self::MIN.0 {
            Self::MIN
        } else if micros > Self::MAX.0 {
            Self::MAX
        } else {
            Self(micros)
        }
    }

    /// Milliseconds since the epoch, clamped to the named range.
    pub const fn from_millis(millis: i64) -> Self {
        Self::from_micros(millis.saturating_mul(1_000))
    }

    /// Seconds since the epoch, clamped to the named range.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self::from_micros(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since the epoch, rounded down.
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Seconds since the epoch, rounded down.
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This instant moved by `millis` (backwards when negative), clamped to the named range.
    #[must_use]
    pub const fn plus_millis(self, millis: Millis) -> Self {
        Self::from_micros(self.0.saturating_add(millis.saturating_mul(1_000)))
    }

    /// Milliseconds from `earlier` to this instant; negative when `earlier` is later.
    pub const fn millis_since(self, earlier: Self) -> Millis {
        self.as_millis() - earlier.as_millis()
    }

    /// Reads RFC 3339, for example `2026-01-02T03:04:05Z` or `2026-01-02T04:04:05+01:00`.
    ///
    /// # Errors
    /// When the text is no RFC 3339 time or lies outside the named range.
    pub fn parse_rfc3339(text: &str) -> Result<Self, Invalid> {
        let parsed: jiff::Timestamp =
            text.trim().parse().map_err(|e| Invalid::new("timestamp", format!("not RFC 3339: {e}")))?;
        let at = Self(parsed.as_microsecond());
        if at < Self::MIN || at > Self::MAX {
            return Err(Invalid::new("timestamp", "outside the years 0001 to 9999"));
        }
        Ok(at)
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, with as many fraction digits as the value needs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(at) => write!(f, "{at}"),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::parse_rfc3339(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips_at_microseconds() {
        for text in ["2026-01-02T03:04:05.000001Z", "1969-12-31T23:59:59Z", "0001-01-01T00:00:00Z"] {
            assert_eq!(Timestamp::parse_rfc3339(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn extremes_are_clamped_and_printable() {
        assert_eq!(Timestamp::from_seconds(i64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MIN.plus_millis(-1), Timestamp::MIN);
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-30T00:00:00Z");
    }

    #[test]
    fn offsets_are_understood() {
        let a = Timestamp::parse_rfc3339("2026-01-02T04:04:05+01:00").unwrap();
        assert_eq!(a.to_string(), "2026-01-02T03:04:05Z");
        assert!(Timestamp::parse_rfc3339("yesterday").is_err());
    }
}
