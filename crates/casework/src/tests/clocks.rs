use model::Timestamp;
use proptest::prelude::*;

use super::{at, calendar, office};
use crate::{Calendar, Clock, ClockKind, ClockSide, ClockState, Mark, MarkKind};

const HOUR: i64 = 3_600_000;

fn clock(side: ClockSide, target_ms: i64, marks: &[(&str, MarkKind)]) -> Clock {
    Clock {
        kind: ClockKind::FirstAnswer,
        side,
        round: 0,
        marks: marks.iter().map(|(t, kind)| Mark::new(at(t), *kind)).collect(),
        target_ms,
        warn_after_ms: 0,
        calendar: String::new(),
        policy: String::new(),
        warned: None,
        breach_told: None,
    }
}

fn check(clock: &Clock, now: &str, calendar: &Calendar) -> (ClockState, Option<String>, i64, bool) {
    let view = clock.view(at(now), calendar).unwrap();
    (view.state, view.due_at.map(|d| d.to_string()), view.elapsed_ms, view.was_breached)
}

use MarkKind::{Activate, Cancel, Fulfil, Pause, Resume};

#[test]
fn a_pause_over_a_holiday_costs_no_business_time() {
    // Thursday 24 December 16:00 to Monday 28 December 10:00, with Christmas between.
    let paused = clock(
        ClockSide::Team,
        2 * HOUR,
        &[
            ("2026-12-24T14:00:00Z", Activate),
            ("2026-12-24T15:00:00Z", Pause),
            ("2026-12-28T09:00:00Z", Resume),
        ],
    );
    let (state, due, elapsed, _) = check(&paused, "2026-12-28T09:30:00Z", &office());
    assert_eq!((state, elapsed), (ClockState::Running, HOUR + HOUR / 2));
    assert_eq!(due.unwrap(), "2026-12-28T10:00:00Z");
}

#[test]
fn a_paused_clock_has_no_due_time_but_keeps_what_it_counted() {
    let marks = [("2026-01-12T09:00:00Z", Activate), ("2026-01-12T09:20:00.5Z", Pause)];
    let paused = clock(ClockSide::Team, HOUR, &marks);
    let expected = (ClockState::Paused, None, 20 * 60_000 + 500, false);
    assert_eq!(check(&paused, "2026-02-01T00:00:00Z", &office()), expected);
}

#[test]
fn due_is_the_first_instant_that_is_late() {
    let marks = [("2026-01-12T09:00:00Z", Activate)];
    let running = clock(ClockSide::Customer, HOUR, &marks);
    assert_eq!(check(&running, "2026-01-12T09:59:59.999999Z", &office()).0, ClockState::Running);
    assert_eq!(check(&running, "2026-01-12T10:00:00Z", &office()).0, ClockState::Breached);
    let in_time = clock(ClockSide::Customer, HOUR, &[marks[0], ("2026-01-12T10:00:00Z", Fulfil)]);
    assert!(!check(&in_time, "2026-01-13T00:00:00Z", &office()).3);
    let late = clock(ClockSide::Customer, HOUR, &[marks[0], ("2026-01-12T10:00:00.000001Z", Fulfil)]);
    assert_eq!(check(&late, "2026-01-13T00:00:00Z", &office()).0, ClockState::Fulfilled);
    assert!(check(&late, "2026-01-13T00:00:00Z", &office()).3);
}

#[test]
fn a_breach_in_the_middle_of_an_overlap_hour_is_found() {
    let nights = calendar("Europe/Rome", &[("sun", &["02:00-03:00"])], &[]);
    let running = clock(ClockSide::Contract, HOUR + HOUR / 2, &[("2026-10-24T12:00:00Z", Activate)]);
    let (_, due, ..) = check(&running, "2026-10-25T12:00:00Z", &nights);
    assert_eq!(due.unwrap(), "2026-10-25T01:30:00Z");
}

#[test]
fn what_ended_stays_as_it_ended() {
    let marks = [
        ("2026-01-12T09:00:00Z", Activate),
        ("2026-01-12T09:30:00Z", Cancel),
        ("2026-01-12T09:40:00Z", Fulfil),
    ];
    let cancelled = clock(ClockSide::Customer, HOUR, &marks);
    let (state, _, elapsed, breached) = check(&cancelled, "2026-03-01T00:00:00Z", &office());
    assert_eq!((state, elapsed, breached), (ClockState::Cancelled, HOUR / 2, false));
}

fn any_marks() -> impl Strategy<Value = Vec<Mark>> {
    let kinds = prop::sample::select(vec![Pause, Resume]);
    prop::collection::vec((1..2_000_000_000_i64, kinds), 0..8).prop_map(|later| {
        let start = at("2026-03-20T08:00:00Z");
        let mut marks = vec![Mark::new(start, Activate)];
        marks.extend(later.into_iter().map(|(ms, kind)| Mark::new(start.plus_millis(ms), kind)));
        marks
    })
}

proptest! {
    #[test]
    fn due_and_elapsed_are_inverse_with_pauses(
        marks in any_marks(),
        side in prop::sample::select(ClockSide::ALL.to_vec()),
        target in 1..500_000_000_i64,
    ) {
        let clock = Clock { marks, ..clock(side, target, &[]) };
        let now = at("2027-01-01T00:00:00Z");
        let view = clock.view(now, &office()).unwrap();
        match view.due_at {
            Some(due) => {
                let before = Timestamp::from_micros(due.as_micros() - 1);
                prop_assert_eq!(clock.view(due, &office()).unwrap().elapsed_ms, target);
                prop_assert!(clock.view(before, &office()).unwrap().elapsed_ms < target);
            }
            None => prop_assert!(view.elapsed_ms < target && view.state == ClockState::Paused),
        }
    }

    #[test]
    fn the_order_in_which_marks_are_told_does_not_matter(
        marks in any_marks(),
        seed in any::<u64>(),
        now_ms in 0..3_000_000_000_i64,
    ) {
        let mut shuffled = marks.clone();
        let mut state = seed;
        for i in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(i, (state >> 33) as usize % (i + 1));
        }
        let now = at("2026-03-20T08:00:00Z").plus_millis(now_ms);
        let view = |marks| Clock { marks, ..clock(ClockSide::Team, HOUR, &[]) }.view(now, &office());
        prop_assert_eq!(view(marks), view(shuffled));
    }
}
