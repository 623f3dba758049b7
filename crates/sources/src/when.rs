//! Times as sources write them.

use jiff::civil;
use jiff::tz::TimeZone;
use model::Timestamp;

/// Reads the many forms in which sources and spreadsheets write an instant; times without a zone are
/// UTC. Day comes before month unless slashes separate them.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if text.is_empty() || text.len() > 64 {
        return None;
    }
    if let Some(at) = iso(text) {
        return Some(at);
    }
    let digits = text.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-');
    if let Some(number) = digits.then(|| text.parse::<f64>().ok()).flatten() {
        return from_number(number);
    }
    twitter(text).or_else(|| day_first(text)).or_else(|| rfc2822(text))
}

/// Reads a number by its size: spreadsheet days, or seconds, milliseconds or microseconds since 1970.
pub(crate) fn from_number(number: f64) -> Option<Timestamp> {
    if !number.is_finite() {
        return None;
    }
    let days_of_1970 = 25_569.0;
    match number {
        // A spreadsheet counts days from the end of 1899; these are the years 1954 to 2119.
        n if (20_000.0..80_000.0).contains(&n) => {
            // Its decimals are good for a millisecond, not for more.
            Some(Timestamp::from_millis(((n - days_of_1970) * 86_400e3).round() as i64))
        }
        n if n < 1e8 => None,
        n if n < 1e11 => Some(micros(n * 1e6)),
        n if n < 1e14 => Some(micros(n * 1e3)),
        n if n < 1e17 => Some(micros(n)),
        _ => None,
    }
}

/// Seconds since 1970, possibly with a fraction; absent when not finite or not positive.
pub(crate) fn from_epoch_seconds(seconds: f64) -> Option<Timestamp> {
    (seconds.is_finite() && seconds > 0.0).then(|| micros(seconds * 1e6))
}

fn micros(value: f64) -> Timestamp {
    // The cast saturates and the constructor clamps.
    Timestamp::from_micros(value.round() as i64)
}

/// RFC 3339 and its common relatives: a space for the `T`, `+0000`, ` UTC`, no zone, no time.
fn iso(text: &str) -> Option<Timestamp> {
    let b = text.as_bytes();
    let digit = |i: usize| b.get(i).is_some_and(u8::is_ascii_digit);
    if !(b.len() >= 10 && (0..4).all(digit) && b[4] == b'-' && b[7] == b'-') {
        return None;
    }
    let number = |from: usize, n: usize| -> Option<i16> {
        let part = b.get(from..from + n)?;
        part.iter().all(u8::is_ascii_digit).then(|| part.iter().fold(0, |v, d| v * 10 + i16::from(d - b'0')))
    };
    let date = civil::Date::new(number(0, 4)?, number(5, 2)? as i8, number(8, 2)? as i8).ok()?;
    if b.len() == 10 {
        return at_utc(date.at(0, 0, 0, 0));
    }
    if !matches!(b[10], b'T' | b't' | b' ') || b.get(13) != Some(&b':') {
        return None;
    }
    let (hour, minute) = (number(11, 2)?, number(14, 2)?);
    let (mut second, mut nanos, mut rest) = (0, 0_i32, 16);
    if b.get(16) == Some(&b':') {
        second = number(17, 2)?.min(59);
        rest = 19;
        if b.get(19) == Some(&b'.') {
            rest = 20;
            let mut scale = 100_000_000;
            while let Some(d) = b.get(rest).filter(|d| d.is_ascii_digit()) {
                nanos += i32::from(d - b'0') * scale;
                scale /= 10;
                rest += 1;
            }
        }
    }
    if hour > 23 || minute > 59 {
        return None;
    }
    let civil = date.at(hour.try_into().ok()?, minute.try_into().ok()?, 0, 0);
    let offset_s = offset_seconds(text.get(rest..)?.trim())?;
    let at = at_utc(civil)?;
    Some(Timestamp::from_micros(
        at.as_micros() + (i64::from(second) - offset_s) * 1_000_000 + i64::from(nanos / 1_000),
    ))
}

fn at_utc(civil: civil::DateTime) -> Option<Timestamp> {
    let zoned = civil.to_zoned(TimeZone::UTC).ok()?;
    Some(Timestamp::from_micros(zoned.timestamp().as_microsecond()))
}

fn offset_seconds(zone: &str) -> Option<i64> {
    match zone {
        "" | "Z" | "z" | "UTC" | "GMT" => return Some(0),
        _ => {}
    }
    let (sign, rest) = match zone.as_bytes()[0] {
        b'+' => (1, &zone[1..]),
        b'-' => (-1, &zone[1..]),
        _ => return None,
    };
    let digits: Vec<i64> = rest.bytes().filter(|b| *b != b':').map(|b| i64::from(b) - 48).collect();
    if !(digits.len() == 4 || digits.len() == 2) || digits.iter().any(|d| !(0..=9).contains(d)) {
        return None;
    }
    let minutes = if digits.len() == 4 { digits[2] * 10 + digits[3] } else { 0 };
    Some(sign * ((digits[0] * 10 + digits[1]) * 3_600 + minutes * 60))
}

/// `Tue Oct 31 22:10:47 +0000 2017`.
fn twitter(text: &str) -> Option<Timestamp> {
    let mut parts = text.split_ascii_whitespace();
    let (_, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let (time, zone, year) = (parts.next()?, parts.next()?, parts.next()?);
    let month = month_number(month)?;
    iso(&format!("{year:0>4}-{month:02}-{day:0>2}T{time}{zone}"))
}

fn month_number(name: &str) -> Option<usize> {
    const MONTHS: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let name = name.to_ascii_lowercase();
    MONTHS.iter().position(|m| name.get(..3) == Some(*m)).map(|i| i + 1)
}

/// `24-02-2015 11.35`, `24.2.2015`, `2/24/15 11:35`: what spreadsheets make of dates.
fn day_first(text: &str) -> Option<Timestamp> {
    let (date, time) = text.split_once(' ').unwrap_or((text, "00:00"));
    let separator = date.chars().find(|c| !c.is_ascii_digit())?;
    if !matches!(separator, '-' | '.' | '/') {
        return None;
    }
    let mut parts = date.split(separator).map(|p| p.parse::<u32>().ok());
    let (a, b, year) = (parts.next()??, parts.next()??, parts.next()??);
    let month_first = separator == '/' && a <= 12;
    let (day, month) = if month_first { (b, a) } else { (a, b) };
    let year = if year < 100 { year + 2_000 } else { year };
    let (time, zone) = time.split_once(' ').unwrap_or((time, ""));
    let mut clock = time.split(['.', ':']);
    let (hour, minute) = (clock.next()?, clock.next().unwrap_or("00"));
    let second = clock.next().unwrap_or("00");
    iso(&format!("{year:04}-{month:02}-{day:02}T{hour:0>2}:{minute:0>2}:{second:0>2}{zone}"))
}

fn rfc2822(text: &str) -> Option<Timestamp> {
    let zoned = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(Timestamp::from_micros(zoned.timestamp().as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_that_sources_write_is_read() {
        for (written, meant) in [
            ("2026-07-04T14:38:08.999Z", "2026-07-04T14:38:08.999Z"),
            ("2026-07-04T16:38:08+02:00", "2026-07-04T14:38:08Z"),
            ("2016-11-09T23:20:41+0000", "2016-11-09T23:20:41Z"),
            ("2020-03-03 13:05:57 UTC", "2020-03-03T13:05:57Z"),
            ("2020-03-03 13:05:57", "2020-03-03T13:05:57Z"),
            ("2020-03-03", "2020-03-03T00:00:00Z"),
            ("Tue Oct 31 22:10:47 +0000 2017", "2017-10-31T22:10:47Z"),
            ("42059.4832407407", "2015-02-24T11:35:52.000Z"),
            ("24-02-2015 11.35", "2015-02-24T11:35:00Z"),
            ("2/24/2015 11:35", "2015-02-24T11:35:00Z"),
            ("24/2/15 9:05", "2015-02-24T09:05:00Z"),
            ("1614265330", "2021-02-25T15:02:10Z"),
            ("1614265330000", "2021-02-25T15:02:10Z"),
            ("Tue, 24 Feb 2015 11:35:52 +0100", "2015-02-24T10:35:52Z"),
        ] {
            let at = parse(written).map(|t| t.as_millis() / 1_000);
            assert_eq!(at, Some(Timestamp::parse_rfc3339(meant).unwrap().as_seconds()), "{written}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in ["", "yesterday", "2026-13-01", "2026-01-01T25:00:00Z", "12", "NaN", "1e99", "-", "ü-ü"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
