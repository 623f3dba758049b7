use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use model::{Invalid, Millis, Timestamp};
use serde::{Deserialize, Serialize};

const DAY_US: i64 = 86_400_000_000;
/// The last year for which a holiday that returns each year is laid down.
const YEARLY_HOLIDAYS_UNTIL: i16 = 2100;
const YEARLY_HOLIDAYS_FROM: i16 = 2000;
/// The most windows one weekday may have.
pub const WINDOWS_PER_DAY_MAX: usize = 24;
/// The most holidays one calendar may name.
pub const HOLIDAYS_MAX: usize = 2_000;

const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Business hours as people write them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalendarSpec {
    /// IANA name, for example `Europe/Rome`.
    #[serde(default = "utc")]
    pub time_zone: String,
    /// Per weekday (`mon` to `sun`) the windows, for example `["09:00-12:30", "13:30-24:00"]`. The end is
    /// exclusive and 24:00 is the end of the day. A weekday left out is closed.
    #[serde(default)]
    pub hours: BTreeMap<String, Vec<String>>,
    /// Closed days: `2026-04-06`, or `12-25` for every year until 2100.
    #[serde(default)]
    pub holidays: BTreeSet<String>,
}

fn utc() -> String {
    "UTC".to_owned()
}

impl Default for CalendarSpec {
    /// Always open.
    fn default() -> Self {
        let hours = WEEKDAYS.iter().map(|day| ((*day).to_owned(), vec!["00:00-24:00".to_owned()])).collect();
        Self { time_zone: utc(), hours, holidays: BTreeSet::new() }
    }
}

/// A calendar that counts business time exactly, in microseconds and half-open intervals.
///
/// An instant is open when the local clock then shows a time inside a window of a day that is no
/// holiday. So an hour that a clock change skips counts nothing, and one that it repeats counts twice.
#[derive(Debug, Clone)]
pub struct Calendar {
    version: String,
    spec: CalendarSpec,
    zone: TimeZone,
    /// Windows per weekday from Monday, microseconds of the local day, sorted and apart.
    week: [Vec<(i64, i64)>; 7],
    /// Open time of the days of the week before each weekday; the last is the whole week.
    week_before: [i64; 8],
    /// Local day (since 1970-01-01) and the open time that it and the holidays before it take away.
    holidays: Vec<(i64, i64)>,
}

impl Calendar {
    /// Reads a calendar as people write it.
    ///
    /// # Errors
    /// When the zone is unknown, a window or holiday cannot be read, or the calendar never opens.
    pub fn new(spec: &CalendarSpec) -> Result<Self, Invalid> {
        let zone = TimeZone::get(&spec.time_zone)
            .map_err(|_| Invalid::new("time_zone", format!("unknown zone '{}'", spec.time_zone)))?;
        let mut week: [Vec<(i64, i64)>; 7] = Default::default();
        for (day, windows) in &spec.hours {
            let place = WEEKDAYS.iter().position(|d| d == day).ok_or_else(|| {
                Invalid::new("hours", format!("unknown weekday '{day}', known are {}", WEEKDAYS.join(", ")))
            })?;
            week[place] = merged(windows)?;
        }
        let mut week_before = [0; 8];
        for (day, windows) in week.iter().enumerate() {
            week_before[day + 1] = week_before[day] + windows.iter().map(|(from, to)| to - from).sum::<i64>();
        }
        if week_before[7] == 0 {
            return Err(Invalid::new("hours", "the calendar never opens"));
        }
        let mut calendar = Self {
            version: version_of(spec),
            spec: spec.clone(),
            zone,
            week,
            week_before,
            holidays: Vec::new(),
        };
        let mut taken = 0;
        for day in holiday_days(&spec.holidays)? {
            taken += calendar.regular_day(day);
            calendar.holidays.push((day, taken));
        }
        Ok(calendar)
    }

    /// The same calendar always has the same version: a hash of what it says.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What it was made of.
    pub const fn spec(&self) -> &CalendarSpec {
        &self.spec
    }

    /// Open time from `from` to `to` in milliseconds, rounded down; 0 when `to` is not after `from`.
    pub fn elapsed_ms(&self, from: Timestamp, to: Timestamp) -> Millis {
        self.elapsed_us(from, to) / 1_000
    }

    /// The first instant by which `target_ms` of open time has passed since `from`; `None` beyond the year
    /// 9999. A target of 0 or less is due at once.
    pub fn due(&self, from: Timestamp, target_ms: Millis) -> Option<Timestamp> {
        self.due_after_us(from, target_ms.checked_mul(1_000)?)
    }

    /// True when the local clock is inside a window.
    pub fn is_open(&self, at: Timestamp) -> bool {
        self.elapsed_us(at, Timestamp::from_micros(at.as_micros() + 1)) > 0
    }

    pub(crate) fn elapsed_us(&self, from: Timestamp, to: Timestamp) -> i64 {
        self.segments(from, to)
            .map(|part| self.open_before(part.to + part.shift) - self.open_before(part.from + part.shift))
            .sum()
    }

    pub(crate) fn due_after_us(&self, from: Timestamp, target_us: i64) -> Option<Timestamp> {
        let mut left = target_us;
        if left <= 0 {
            return Some(from);
        }
        for part in self.segments(from, Timestamp::MAX) {
            let before = self.open_before(part.from + part.shift);
            let here = self.open_before(part.to + part.shift) - before;
            if left <= here {
                let local = self.reach(before + left, part.from + part.shift, part.to + part.shift);
                return Some(Timestamp::from_micros(local - part.shift));
            }
            left -= here;
        }
        None
    }

    /// Open time since a fixed far day until the local instant `local_us`, as if the zone never changed its
    /// offset. Only differences mean anything.
    fn open_before(&self, local_us: i64) -> i64 {
        let day = local_us.div_euclid(DAY_US);
        let in_day = local_us.rem_euclid(DAY_US);
        let today = if self.is_holiday(day) { 0 } else { open_in_day(self.windows(day), in_day) };
        self.days_before(day) + today
    }

    fn days_before(&self, day: i64) -> i64 {
        // 1970-01-01 was a Thursday, so day -3 begins a week.
        let weeks = (day + 3).div_euclid(7) * self.week_before[7];
        let passed = self.holidays.partition_point(|(holiday, _)| *holiday < day);
        let taken = passed.checked_sub(1).map_or(0, |last| self.holidays[last].1);
        weeks + self.week_before[weekday(day)] - taken
    }

    /// The first local instant in `from..=to` at which `open_before` is `goal`.
    fn reach(&self, goal: i64, from: i64, to: i64) -> i64 {
        let (mut low, mut high) = (from.div_euclid(DAY_US), to.div_euclid(DAY_US));
        while low < high {
            let middle = low + (high - low) / 2;
            if self.days_before(middle + 1) >= goal { high = middle } else { low = middle + 1 }
        }
        let mut left = goal - self.days_before(low);
        for (open, close) in self.windows(low) {
            if left <= close - open {
                return low * DAY_US + open + left;
            }
            left -= close - open;
        }
        to
    }

    fn is_holiday(&self, day: i64) -> bool {
        self.holidays.binary_search_by_key(&day, |(holiday, _)| *holiday).is_ok()
    }

    fn windows(&self, day: i64) -> &[(i64, i64)] {
        &self.week[weekday(day)]
    }

    fn regular_day(&self, day: i64) -> i64 {
        self.week_before[weekday(day) + 1] - self.week_before[weekday(day)]
    }

    /// The stretches of `from..to` during which the zone keeps one offset.
    fn segments(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = Segment> + '_ {
        let mut at = from.as_micros();
        let end = to.as_micros();
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let here = jiff::Timestamp::from_microsecond(at).ok()?;
            let shift = i64::from(self.zone.to_offset(here).seconds()) * 1_000_000;
            let change = self.zone.following(here).next().map(|t| t.timestamp().as_microsecond());
            let until = change.filter(|c| *c > at).map_or(end, |c| c.min(end));
            let part = Segment { from: at, to: until, shift };
            at = until;
            Some(part)
        })
    }
}

impl PartialEq for Calendar {
    fn eq(&self, other: &Self) -> bool {
        self.spec == other.spec
    }
}

struct Segment {
    from: i64,
    to: i64,
    shift: i64,
}

fn weekday(day: i64) -> usize {
    // In 0..7 by construction.
    (day + 3).rem_euclid(7) as usize
}

fn open_in_day(windows: &[(i64, i64)], until: i64) -> i64 {
    windows.iter().map(|(open, close)| (until.min(*close) - open).max(0)).sum()
}

fn merged(windows: &[String]) -> Result<Vec<(i64, i64)>, Invalid> {
    if windows.len() > WINDOWS_PER_DAY_MAX {
        return Err(Invalid::new("hours", format!("at most {WINDOWS_PER_DAY_MAX} windows per weekday")));
    }
    let mut read = windows.iter().map(|w| window(w)).collect::<Result<Vec<_>, _>>()?;
    read.sort_unstable();
    let mut apart: Vec<(i64, i64)> = Vec::with_capacity(read.len());
    for (from, to) in read {
        match apart.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => apart.push((from, to)),
        }
    }
    Ok(apart)
}

fn window(text: &str) -> Result<(i64, i64), Invalid> {
    let bad = || {
        Invalid::new(
            "hours",
            format!("'{text}' is no window such as '09:00-17:30' within one day, end after start"),
        )
    };
    let (from, to) = text.split_once('-').ok_or_else(bad)?;
    let (from, to) = (time_of_day(from).ok_or_else(bad)?, time_of_day(to).ok_or_else(bad)?);
    if from < to { Ok((from, to)) } else { Err(bad()) }
}

fn time_of_day(text: &str) -> Option<i64> {
    let mut parts = text.trim().split(':').map(two_digits);
    let (hours, minutes) = (parts.next()??, parts.next()??);
    let seconds = parts.next().unwrap_or(Some(0))?;
    let total = hours * 3_600 + minutes * 60 + seconds;
    let fine = parts.next().is_none() && minutes < 60 && seconds < 60 && total <= 86_400;
    fine.then_some(total * 1_000_000)
}

fn two_digits(text: &str) -> Option<i64> {
    (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

fn holiday_days(holidays: &BTreeSet<String>) -> Result<BTreeSet<i64>, Invalid> {
    if holidays.len() > HOLIDAYS_MAX {
        return Err(Invalid::new("holidays", format!("at most {HOLIDAYS_MAX} holidays")));
    }
    let mut days = BTreeSet::new();
    for text in holidays {
        let bad = || Invalid::new("holidays", format!("'{text}' is no date such as '2026-04-06' or '12-25'"));
        if let Ok(date) = text.parse::<Date>() {
            days.insert(day_number(date));
            continue;
        }
        let (month, day) = text.split_once('-').ok_or_else(bad)?;
        let (month, day): (i8, i8) = (month.parse().map_err(|_| bad())?, day.parse().map_err(|_| bad())?);
        let yearly: Vec<_> = (YEARLY_HOLIDAYS_FROM..=YEARLY_HOLIDAYS_UNTIL)
            .filter_map(|year| Date::new(year, month, day).ok())
            .map(day_number)
            .collect();
        if yearly.is_empty() {
            return Err(bad());
        }
        days.extend(yearly);
    }
    Ok(days)
}

fn day_number(date: Date) -> i64 {
    let seconds = date.at(0, 0, 0, 0).to_zoned(TimeZone::UTC).map_or(0, |z| z.timestamp().as_second());
    seconds.div_euclid(86_400)
}

/// FNV-1a, 64 bits, over the parts; stable across builds.
fn version_of(spec: &CalendarSpec) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut eat = |text: &str| {
        for byte in text.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    eat(&spec.time_zone);
    for (day, windows) in &spec.hours {
        eat(day);
        windows.iter().for_each(|w| eat(w));
    }
    eat("holidays");
    spec.holidays.iter().for_each(|h| eat(h));
    format!("{hash:016x}")
}
