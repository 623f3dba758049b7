//! Times as scripts write them: RFC 3339, `YYYY-MM-DD HH:MM:SS` (UTC), or unix seconds.

/// Unix seconds of a time, fractions dropped; `None` if it is none.
///
/// A leap second counts as the second before it. Years 1 to 9999.
pub(crate) fn parse(text: &[u8]) -> Option<i64> {
    if text.len() >= 19 && text[4] == b'-' { calendar(text) } else { unix(text) }
}

fn unix(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        _ => (false, text),
    };
    let whole = digits.iter().position(|b| *b == b'.').unwrap_or(digits.len());
    let fraction = digits.get(whole + 1..).unwrap_or_default();
    // Fifteen digits never overflow.
    if whole == 0 || whole > 15 || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = number(&digits[..whole])?;
    // Rounded towards the past, so that order is kept around 1970.
    let part = i64::from(negative && fraction.iter().any(|b| *b != b'0'));
    let at_s = if negative { -value - part } else { value };
    (FIRST_S..=LAST_S).contains(&at_s).then_some(at_s)
}

/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z.
const FIRST_S: i64 = -62_135_596_800;
const LAST_S: i64 = 253_402_300_799;

/// Whether a number that is no time would be one if it were milliseconds: a common mistake, worth naming.
pub(crate) fn is_milliseconds(text: &[u8]) -> bool {
    (12..=15).contains(&text.len())
        && number(text).is_some_and(|value| value > LAST_S && value / 1000 <= LAST_S)
}

fn calendar(text: &[u8]) -> Option<i64> {
    let (date, rest) = text.split_at(10);
    let (time, rest) = rest[1..].split_at_checked(8)?;
    let shaped =
        date[7] == b'-' && matches!(text[10], b'T' | b't' | b' ') && time[2] == b':' && time[5] == b':';
    let (year, month, day) = (number(&date[..4])?, number(&date[5..7])?, number(&date[8..])?);
    let (hour, minute, second) = (number(&time[..2])?, number(&time[3..5])?, number(&time[6..])?);
    let real = (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !shaped || !real || year == 0 {
        return None;
    }
    let offset = offset(without_fraction(rest)?)?;
    Some(days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second.min(59) - offset)
}

fn without_fraction(rest: &[u8]) -> Option<&[u8]> {
    let Some((b'.', digits)) = rest.split_first() else { return Some(rest) };
    let end = digits.iter().position(|b| !b.is_ascii_digit()).unwrap_or(digits.len());
    (end > 0).then(|| &digits[end..])
}

/// Seconds east of UTC; nothing at all is UTC.
fn offset(rest: &[u8]) -> Option<i64> {
    match rest {
        [] | [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
            let seconds = hours * 3600 + minutes * 60;
            (hours < 24 && minutes < 60).then_some(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0i64, |value, b| b.is_ascii_digit().then(|| value * 10 + i64::from(b - b'0')))
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days of the proleptic Gregorian calendar, counted in years that begin in March.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    365 * year + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (month * 306 + 5) / 10
        + day
        - 1
        - 719_468
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn every_way_to_write_a_time_is_the_same_second() {
        for text in [
            "2015-02-26 21:42:53",
            "2015-02-26T21:42:53Z",
            "2015-02-26t21:42:53.999z",
            "2015-02-26T22:42:53+01:00",
            "2015-02-26 16:12:53.5-05:30",
            "1424986973",
            "1424986973.25",
        ] {
            assert_eq!(parse(text.as_bytes()), Some(1_424_986_973), "{text}");
        }
        assert_eq!(parse(b"1970-01-01 00:00:00"), Some(0));
        assert_eq!(parse(b"9999-12-31 23:59:59"), parse(b"253402300799"));
        assert_eq!(parse(b"0001-01-01 00:00:00"), parse(b"-62135596800"));
        assert_eq!(parse(b"-0.5"), Some(-1));
        assert_eq!(parse(b"2016-12-31T23:59:60Z"), parse(b"2016-12-31T23:59:59Z"));
        assert_eq!(parse(b"2024-02-29 00:00:00"), Some(1_709_164_800));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "-",
            ".",
            "x",
            "2015-02-29 00:00:00",
            "2015-13-01 00:00:00",
            "2015-01-01 24:00:00",
            "2015-01-01T00:00:00+1:00",
            "2015-01-01T00:00:00.Z",
            "2015-01-01 00:00",
            "12a",
            "1.2.3",
            "9999999999999999",
            "1424986973000",
            "253402300800",
            "-62135596801",
            "2015-01-01T00:00:0\u{e9}Z",
            "\u{2212}5",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
