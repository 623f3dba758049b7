//! Clocks that change, sources that fall silent, deliveries that come twice.
#![allow(clippy::unwrap_used)]

use detect::{
    Context, Coverage, DetectPolicy, EpisodeSignal, Observation, Post, SubjectState, Tally, observe,
    simulate::{Fault, Rhythmic, background},
    tick,
};

/// Midnight, a Wednesday.
const START_S: i64 = 1_700_006_400;
const DAY_S: i64 = 86_400;

fn complaint(at_s: i64, author: u64) -> Tally {
    let mut tally = Tally::at(at_s);
    let text = author + (1 << 40);
    tally.add(Post { complaint: 0.9, severity: 1.0, arousal: 0.3, followers: 100, author, text });
    tally
}

fn crowd(events: &[i64]) -> Vec<Tally> {
    events.iter().enumerate().map(|(i, at_s)| complaint(*at_s, i as u64)).collect()
}

fn opened_at(tallies: &[Tally], context: impl Fn(i64) -> Context) -> Vec<i64> {
    let mut state = SubjectState::new();
    let is_opening =
        |found: &Observation| matches!(found.episode, Some(EpisodeSignal::Opened | EpisodeSignal::Flapping));
    tallies
        .iter()
        .filter(|tally| {
            is_opening(&observe(&mut state, tally, &context(tally.at_s), &DetectPolicy::default()))
        })
        .map(|tally| tally.at_s)
        .collect()
}

/// Weeks of people who live by local time, witnessed in UTC, around a change of their clocks.
fn around_change(seed: u64, from_s: i32, to_s: i32) -> Vec<i64> {
    let rhythm = Rhythmic { day: 0.95, weekend: 1.0, wander: 0.0, ..Rhythmic::default() };
    let witnessed = |seed: u64, offset_s: i32| {
        let local = background(seed, 1.0 / 100.0, START_S, 29 * DAY_S, &rhythm, &[]);
        local.into_iter().map(move |local_s| local_s - i64::from(offset_s))
    };
    let before = witnessed(seed, from_s).filter(|at_s| *at_s < CHANGE_S);
    before.chain(witnessed(seed + 100, to_s).filter(|at_s| *at_s >= CHANGE_S)).collect()
}

const CHANGE_S: i64 = START_S + 21 * DAY_S;

#[test]
fn clocks_set_forward_or_back_take_what_is_usual_with_them() {
    let opened = |from_s: i32, to_s: i32| -> usize {
        (0..6)
            .map(|seed| {
                let context = |at_s| Context {
                    utc_offset_s: if at_s < CHANGE_S { from_s } else { to_s },
                    ..Context::default()
                };
                let opened = opened_at(&crowd(&around_change(seed, from_s, to_s)), context);
                opened.iter().filter(|at_s| **at_s >= CHANGE_S).count()
            })
            .sum()
    };
    let unchanged = opened(3600, 3600);
    for (from_s, to_s) in [(3600, 7200), (7200, 3600)] {
        let changed = opened(from_s, to_s);
        assert!(
            changed <= unchanged + 8,
            "{changed} episodes after {from_s} became {to_s}, {unchanged} else"
        );
    }
}

#[test]
fn the_same_local_hour_is_as_usual_before_and_after_a_change_of_clocks() {
    let mut state = SubjectState::new();
    let (winter, summer) = (3600, 7200);
    let context = |utc_offset_s| Context { utc_offset_s, ..Context::default() };
    let policy = DetectPolicy::default();
    for tally in crowd(&around_change(1, winter, summer)).iter().filter(|tally| tally.at_s < CHANGE_S) {
        observe(&mut state, tally, &context(winter), &policy);
    }
    let mut usual = |at_s: i64, offset_s: i32| {
        let reason = tick(&mut state, at_s, &context(offset_s), &policy).reason;
        (reason.usual_low, reason.usual_high, reason.hour_of_week)
    };
    let highs: Vec<f32> = (1..24)
        .map(|hour| {
            let at_s = CHANGE_S + hour * 3600 + 299;
            let (summer, winter) = (usual(at_s, summer), usual(at_s + 3600, winter));
            assert_eq!(summer, winter, "hour {hour}");
            summer.1
        })
        .collect();
    let (least, most) = highs.iter().fold((f32::MAX, 0.0f32), |(a, b), high| (a.min(*high), b.max(*high)));
    assert!(most >= 3.0 * least, "the hours differ, so that a wrong one would show: {highs:?}");
}

#[test]
fn a_second_that_comes_twice_is_counted_twice_and_moves_nothing_back() {
    // A leap second is told as the second before it.
    let mut state = SubjectState::new();
    let policy = DetectPolicy::default();
    for author in 0..5 {
        let found = observe(&mut state, &complaint(START_S, author), &Context::default(), &policy);
        assert!((found.reason.complaints - 0.9 * (author + 1) as f32).abs() < 0.5, "{found:?}");
    }
    assert_eq!(state.last_s(), Some(START_S));
}

#[test]
fn a_delivery_that_comes_twice_counts_once() {
    let once = crowd(&background(5, 1.0 / 120.0, START_S, 12 * DAY_S, &Rhythmic::default(), &[]));
    // Every tally of the last day comes again within a minute, as after a restart.
    let mut twice = once.clone();
    let again = once.iter().filter(|tally| tally.at_s >= START_S + 11 * DAY_S);
    twice.extend(again.map(|tally| Tally { at_s: tally.at_s + 45, ..*tally }));
    twice.sort_by_key(|tally| tally.at_s);
    let complaints = |tallies: &[Tally]| {
        let mut state = SubjectState::new();
        let all: Vec<f32> = tallies
            .iter()
            .map(|tally| observe(&mut state, tally, &Context::default(), &DetectPolicy::default()))
            .zip(tallies)
            .filter(|(_, tally)| tally.at_s >= START_S + 11 * DAY_S)
            .map(|(found, _)| found.reason.complaints)
            .collect();
        all.iter().sum::<f32>() / all.len() as f32
    };
    let (one, two) = (complaints(&once), complaints(&twice));
    assert!((0.9..1.1).contains(&(two / one)), "{one} complaints a window, {two} when told twice");
    assert_eq!(opened_at(&once, |_| Context::default()), opened_at(&twice, |_| Context::default()));
}

#[test]
fn an_outage_is_neither_calm_nor_learned_and_its_end_is_no_burst() {
    let outage = (10 * DAY_S + 8 * 3600, 12 * 3600);
    let fault = Fault::Outage { at_s: outage.0, for_s: outage.1 };
    let dark = Context { coverage: Coverage { share: 0.0, catching_up: false }, ..Context::default() };
    let policy = DetectPolicy::default();
    for seed in 0..5 {
        let events = background(seed, 1.0 / 30.0, START_S, 11 * DAY_S, &Rhythmic::default(), &[fault]);
        let (begin_s, end_s) = (START_S + outage.0, START_S + outage.0 + outage.1);
        let mut state = SubjectState::new();
        let mut told = false;
        let mut opened = 0;
        for tally in crowd(&events) {
            if tally.at_s >= begin_s && !told {
                told = true;
                let usual = state.usual_per_s(end_s);
                let said: Vec<_> = (begin_s..end_s)
                    .step_by(600)
                    .filter_map(|now_s| tick(&mut state, now_s, &dark, &policy).episode)
                    .collect();
                assert_eq!(said, [EpisodeSignal::NoData], "once, and no calm");
                assert_eq!(state.usual_per_s(end_s), usual, "silence teaches nothing");
            }
            let context = match state.last_s() {
                Some(last_s) if last_s < begin_s && tally.at_s >= end_s => dark,
                _ => Context::default(),
            };
            let found = observe(&mut state, &tally, &context, &policy);
            let is_after = (end_s..end_s + 2 * 3600).contains(&tally.at_s);
            opened += usize::from(is_after && found.episode == Some(EpisodeSignal::Opened));
        }
        assert!(told && opened == 0, "seed {seed}: {opened} episodes when the source is back");
    }
}

#[test]
fn a_holiday_dip_opens_nothing_when_it_ends() {
    let dip = Fault::Holiday { at_s: 20 * DAY_S, for_s: DAY_S, times: 0.3 };
    let opened = |faults: &[Fault]| -> usize {
        (0..6)
            .map(|seed| {
                let events = background(seed, 1.0 / 100.0, START_S, 23 * DAY_S, &Rhythmic::default(), faults);
                let opened = opened_at(&crowd(&events), |_| Context::default());
                opened.iter().filter(|at_s| **at_s >= START_S + 20 * DAY_S).count()
            })
            .sum()
    };
    let (with, without) = (opened(&[dip]), opened(&[]));
    assert!(with <= without + 4, "{with} episodes around six holidays, {without} without any");
}
