use jiff::tz::TimeZone;
use model::Timestamp;
use proptest::prelude::*;

use super::{at, calendar, office};
use crate::{Calendar, CalendarSpec};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

fn refused(zone: &str, day: &str, window: &str, holiday: &str) -> String {
    let mut spec = CalendarSpec { time_zone: zone.into(), ..CalendarSpec::default() };
    spec.hours.insert(day.into(), vec![window.into()]);
    spec.holidays.insert(holiday.into());
    Calendar::new(&spec).unwrap_err().to_string()
}

#[test]
fn what_cannot_be_meant_is_refused_and_named() {
    for (zone, day, window, holiday, named) in [
        ("Mars/Base", "mon", "09:00-17:00", "12-25", "Mars/Base"),
        ("UTC", "monday", "09:00-17:00", "12-25", "monday"),
        ("UTC", "mon", "17:00-09:00", "12-25", "17:00-09:00"),
        ("UTC", "mon", "09:00-24:01", "12-25", "09:00-24:01"),
        ("UTC", "mon", "9-17", "12-25", "9-17"),
        ("UTC", "mon", "09:60-10:00", "12-25", "09:60"),
        ("UTC", "mon", "09:00-17:00", "13-25", "13-25"),
        ("UTC", "mon", "09:00-17:00", "2026-02-30", "2026-02-30"),
    ] {
        let error = refused(zone, day, window, holiday);
        assert!(error.contains(named), "{error}");
    }
    let closed = CalendarSpec { hours: Default::default(), ..CalendarSpec::default() };
    assert!(Calendar::new(&closed).unwrap_err().to_string().contains("never opens"));
}

fn due(calendar: &Calendar, from: &str, ms: i64) -> String {
    calendar.due(at(from), ms).unwrap().to_string()
}

#[test]
fn due_times_skip_what_is_closed() {
    let office = office();
    for (from, ms, expected) in [
        // Friday 16:30 plus an hour is Monday 09:30.
        ("2026-01-09T15:30:00Z", HOUR, "2026-01-12T08:30:00Z"),
        // Used up exactly at the end of a window: due then, not at the next opening.
        ("2026-01-09T15:00:00Z", HOUR, "2026-01-09T16:00:00Z"),
        // Over the rest at one o'clock.
        ("2026-01-12T11:30:00Z", HOUR, "2026-01-12T13:30:00Z"),
        // Over Christmas, a Friday in 2026, and the weekend.
        ("2026-12-24T15:30:00Z", HOUR, "2026-12-28T08:30:00Z"),
        // Over Easter Monday, which is named for that year only, and into summer time.
        ("2026-04-03T14:30:00Z", HOUR, "2026-04-07T07:30:00Z"),
        ("2026-01-10T12:00:00Z", 0, "2026-01-10T12:00:00Z"),
    ] {
        assert_eq!(due(&office, from, ms), expected, "{from} + {ms}");
    }
}

#[test]
fn a_day_that_ends_at_24_00_loses_nothing_at_midnight() {
    let always = Calendar::new(&CalendarSpec::default()).unwrap();
    let (from, to) = (at("2024-02-28T12:00:00Z"), at("2024-03-02T12:00:00.000001Z"));
    assert_eq!(always.elapsed_ms(from, to), 3 * 24 * HOUR);
    assert_eq!(always.due(from, 3 * 24 * HOUR).unwrap(), at("2024-03-02T12:00:00Z"));
    assert!(always.is_open(at("2024-02-28T23:59:59.999999Z")) && always.is_open(at("2024-02-29T00:00:00Z")));
}

#[test]
fn the_hour_a_clock_change_skips_counts_nothing_and_the_one_it_repeats_counts_twice() {
    let nights = calendar("Europe/Rome", &[("sun", &["01:00-04:00"])], &[]);
    // 2026-03-29: 02:00 to 03:00 does not exist.
    assert_eq!(nights.elapsed_ms(at("2026-03-28T12:00:00Z"), at("2026-03-29T12:00:00Z")), 2 * HOUR);
    // 2026-10-25: 02:00 to 03:00 comes twice.
    assert_eq!(nights.elapsed_ms(at("2026-10-24T12:00:00Z"), at("2026-10-25T12:00:00Z")), 4 * HOUR);
    assert_eq!(due(&nights, "2026-10-24T12:00:00Z", 3 * HOUR), "2026-10-25T02:00:00Z");
}

#[test]
fn equal_calendars_have_equal_versions_and_others_do_not() {
    assert_eq!(office().version(), office().version());
    assert_ne!(office().version(), calendar("Europe/Rome", &[("mon", &["09:00-13:00"])], &[]).version());
}

const ZONES: [&str; 6] =
    ["UTC", "Europe/Rome", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Apia"];

fn any_calendar() -> impl Strategy<Value = (Calendar, &'static str)> {
    let window = (0..1440_i64, 1..600_i64).prop_map(|(from, len)| (from, (from + len).min(1440)));
    let week = prop::collection::vec(prop::collection::vec(window, 0..4), 7);
    (week, 0..ZONES.len(), prop::collection::btree_set(0..60_i64, 0..6)).prop_filter_map(
        "opens at all",
        |(week, zone, holidays)| {
            let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
            let clock = |m: i64| format!("{:02}:{:02}", m / 60, m % 60);
            let spec = CalendarSpec {
                time_zone: ZONES[zone].into(),
                hours: days
                    .iter()
                    .zip(week)
                    .map(|(d, w)| {
                        (
                            (*d).to_owned(),
                            w.iter().map(|(a, b)| format!("{}-{}", clock(*a), clock(*b))).collect(),
                        )
                    })
                    .collect(),
                holidays: holidays
                    .iter()
                    .map(|d| format!("2026-{:02}-{:02}", 3 + d / 30, 1 + d % 30))
                    .collect(),
            };
            Some((Calendar::new(&spec).ok()?, ZONES[zone]))
        },
    )
}

/// Minute by minute, asking the zone what the clock on the wall shows.
fn counted_minute_by_minute(calendar: &Calendar, zone: &str, from: i64, minutes: i64) -> i64 {
    let zone = TimeZone::get(zone).unwrap();
    let open = |minute: &i64| {
        let local = zone.to_datetime(jiff::Timestamp::from_second(minute * 60).unwrap());
        let day = format!("{:?}", local.weekday())[..3].to_lowercase();
        let time = i64::from(local.hour()) * 60 + i64::from(local.minute());
        let inside = |window: &String| {
            let read = |t: &str| t[..2].parse::<i64>().unwrap() * 60 + t[3..].parse::<i64>().unwrap();
            let (open, close) = window.split_once('-').unwrap();
            read(open) <= time && time < read(close)
        };
        !calendar.spec().holidays.contains(&local.date().to_string())
            && calendar.spec().hours.get(&day).is_some_and(|windows| windows.iter().any(inside))
    };
    (from..from + minutes).filter(open).count() as i64 * MINUTE
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn counting_agrees_with_the_clock_on_the_wall(
        (calendar, zone) in any_calendar(),
        // Spring and autumn changes of both hemispheres, around a leap day, and Samoa's missing day.
        start in prop::sample::select(vec![
            "2026-03-06T00:00:00Z", "2026-03-27T00:00:00Z", "2026-10-03T00:00:00Z", "2026-10-24T00:00:00Z",
            "2024-02-27T00:00:00Z", "2011-12-28T00:00:00Z",
        ]),
        offset in 0..2_880_i64,
        minutes in 0..8_000_i64,
    ) {
        let from = at(start).as_seconds() / 60 + offset;
        let (a, b) = (Timestamp::from_seconds(from * 60), Timestamp::from_seconds((from + minutes) * 60));
        prop_assert_eq!(calendar.elapsed_ms(a, b), counted_minute_by_minute(&calendar, zone, from, minutes));
    }

    #[test]
    fn due_is_the_first_instant_by_which_the_target_has_passed(
        (calendar, _) in any_calendar(),
        from_ms in 1_700_000_000_000..1_800_000_000_000_i64,
        target in 1..2_000_000_000_i64,
    ) {
        let from = Timestamp::from_millis(from_ms);
        let due = calendar.due(from, target).unwrap();
        let just_before = Timestamp::from_micros(due.as_micros() - 1);
        prop_assert_eq!(calendar.elapsed_us(from, due), target * 1_000);
        prop_assert!(calendar.elapsed_us(from, just_before) < target * 1_000);
    }

    #[test]
    fn elapsed_time_adds_up(
        (calendar, _) in any_calendar(),
        mut points in prop::array::uniform3(1_100_000_000_000..1_900_000_000_000_i64),
    ) {
        points.sort_unstable();
        let [a, b, c] = points.map(Timestamp::from_millis);
        prop_assert_eq!(calendar.elapsed_us(a, b) + calendar.elapsed_us(b, c), calendar.elapsed_us(a, c));
        prop_assert_eq!(calendar.elapsed_us(c, a), 0);
    }
}
