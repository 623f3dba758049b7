//! What a subject's detection promises: people before posts, silence is not calm, catching up is no burst, restarts change nothing.
#![allow(clippy::unwrap_used)]

use detect::{
    Context, Coverage, DetectPolicy, EpisodeSignal, Observation, Post, Prior, ReasonKind, SubjectState,
    Tally, ThreadPrior, backtest, observe,
    simulate::{Fault, Rhythmic, background, campaign},
    tick,
};
use proptest::prelude::*;

const START_S: i64 = 1_700_000_000;
const DAY_S: i64 = 86_400;

fn complaint(at_s: i64, author: u64, text: u64) -> Tally {
    let mut tally = Tally::at(at_s);
    tally.add(Post { complaint: 0.9, severity: 1.0, arousal: 0.3, followers: 100, author, text });
    tally
}

/// A tally per event, each by another author with another text.
fn crowd(events: &[i64]) -> Vec<Tally> {
    events.iter().enumerate().map(|(i, at_s)| complaint(*at_s, i as u64, i as u64 + 1_000_000)).collect()
}

fn signals(tallies: &[Tally], context: impl Fn(i64) -> Context) -> Vec<(i64, EpisodeSignal)> {
    backtest(tallies, context, &DetectPolicy::default())
        .into_iter()
        .map(|m| (m.at_s, m.episode.unwrap()))
        .collect()
}

fn opened(found: &[(i64, EpisodeSignal)]) -> Vec<i64> {
    found
        .iter()
        .filter(|(_, s)| matches!(s, EpisodeSignal::Opened | EpisodeSignal::Flapping))
        .map(|(at_s, _)| *at_s)
        .collect()
}

/// Ten calm days at about a complaint every ten minutes, then what the fault does.
fn history(seed: u64, fault: Fault) -> Vec<i64> {
    background(seed, 1.0 / 600.0, START_S, 11 * DAY_S, &Rhythmic::default(), &[fault])
}

#[test]
fn state_is_small() {
    assert!(size_of::<SubjectState>() <= 160, "{}", size_of::<SubjectState>());
}

#[test]
fn a_true_rise_opens_on_the_rise_and_says_so() {
    let onset_s = 10 * DAY_S + 12 * 3600;
    let found_after: Vec<i64> = (0..10)
        .map(|seed| {
            let events = history(seed, Fault::Onset { at_s: onset_s, for_s: 7200, times: 20.0 });
            let opened = opened(&signals(&crowd(&events), |_| Context::default()));
            opened
                .into_iter()
                .find(|at_s| (onset_s..onset_s + 7200).contains(&(at_s - START_S)))
                .map_or(i64::MAX, |at_s| at_s - START_S - onset_s)
        })
        .collect();
    assert!(found_after.iter().filter(|s| **s < 1800).count() >= 9, "{found_after:?}");
}

#[test]
fn calm_days_open_next_to_nothing() {
    let false_alarms: usize = (0..10)
        .map(|seed| {
            let events = background(seed, 1.0 / 300.0, START_S, 20 * DAY_S, &Rhythmic::default(), &[]);
            opened(&signals(&crowd(&events), |_| Context::default())).len()
        })
        .sum();
    // 200 subject days at a nominal 0.1 a day are 20.
    assert!(false_alarms <= 50, "{false_alarms}");
}

/// The most complaints counted in ten minutes at noon of the third day, when `more` posts come on top of what is
/// usual in as long, and how often an episode opened in them.
fn beside_a_crowd(per_s: f64, more: usize, seed: u64, post: impl Fn(i64, u64) -> Tally) -> (f32, usize) {
    let noon_s = START_S - START_S % DAY_S + 3 * DAY_S + DAY_S / 2;
    let usual = background(seed, per_s, START_S, 4 * DAY_S, &Rhythmic::default(), &[]);
    let mut tallies = crowd(&usual[..usual.partition_point(|at_s| *at_s < noon_s + 600)]);
    let on_top = campaign(seed, noon_s, 600, more, 1).into_iter().zip(0..);
    tallies.extend(on_top.map(|((at_s, _), n)| post(at_s, n)));
    tallies.sort_by_key(|tally| tally.at_s);
    let mut state = SubjectState::new();
    let (mut most, mut openings) = (0.0f32, 0);
    for tally in &tallies {
        let seen = observe(&mut state, tally, &Context::default(), &DetectPolicy::default());
        if tally.at_s >= noon_s {
            most = most.max(seen.reason.complaints);
            openings += usize::from(seen.episode == Some(EpisodeSignal::Opened));
        }
    }
    (most, openings)
}

/// Posts on top of a quiet, a lively and a heavy subject's, each many times what is usual in ten minutes, count for
/// no more than a few.
fn counts_for_a_few(post: impl Fn(i64, u64) -> Tally) {
    for (per_s, more) in [(1.0 / 600.0, 500), (0.1, 500), (1.0, 3000)] {
        for seed in 0..4 {
            let (without, _) = beside_a_crowd(per_s, 0, seed, &post);
            let (with, opened) = beside_a_crowd(per_s, more, seed, &post);
            let line = format!("{per_s} a second, {seed}: {without} without, {with} with");
            assert!(with < 1.4 * without + 4.0 && opened == 0, "{line}");
        }
    }
}

#[test]
fn one_loud_account_is_one_person() {
    counts_for_a_few(|at_s, n| complaint(at_s, 7_000_000, 5_000_000 + n));
}

#[test]
fn copies_count_for_little_whoever_posts_them() {
    counts_for_a_few(|at_s, n| complaint(at_s, 7_000_000 + n % 3, 42));
    counts_for_a_few(|at_s, n| complaint(at_s, 7_000_000 + n, 42));
}

#[test]
fn a_crowd_of_new_people_counts_in_full_however_many_are_usual() {
    for (per_s, more) in [(1.0 / 600.0, 500), (0.1, 500), (1.0, 3000)] {
        let post = |at_s, n| complaint(at_s, 7_000_000 + n, 5_000_000 + n);
        let share = |seed| {
            let (without, _) = beside_a_crowd(per_s, 0, seed, post);
            let (with, _) = beside_a_crowd(per_s, more, seed, post);
            (with - without) / (0.9 * more as f32)
        };
        // The two epochs that are counted hold 500 of the 600 seconds.
        let mean = (0..4).map(share).sum::<f32>() / 4.0;
        assert!((0.7..1.1).contains(&mean), "{per_s} a second: {mean}");
    }
}

#[test]
fn a_backlog_is_never_a_burst_when_coverage_says_so() {
    let gap = (10 * DAY_S, 4 * 3600);
    let events = history(5, Fault::Backlog { at_s: gap.0, for_s: gap.1 });
    let context = |at_s: i64| {
        let after_s = at_s - START_S - gap.0;
        Context {
            coverage: Coverage { catching_up: (0..gap.1 + 1800).contains(&after_s), ..Coverage::FULL },
            ..Context::default()
        }
    };
    let found = opened(&signals(&crowd(&events), context));
    assert!(found.iter().all(|at_s| at_s - START_S < gap.0), "{found:?}");
}

/// A rise of an hour after ten days at a complaint a minute, heard under `coverage`, then six hours of less than
/// usual, from which the first `later_s` seconds are left out; how many episodes opened in those, in eight histories.
fn opened_after_a_rise(coverage: Coverage, later_s: i64) -> Vec<usize> {
    let over_s = START_S + 10 * DAY_S + 13 * 3600;
    let one = |seed| {
        let rise = Fault::Onset { at_s: over_s - START_S - 3600, for_s: 3600, times: 12.0 };
        let mut events = background(seed, 1.0 / 60.0, START_S, 11 * DAY_S, &Rhythmic::default(), &[rise]);
        events.retain(|at_s| *at_s < over_s || at_s % 3 == 0);
        let context = |at_s| {
            let is_rise = (over_s - 3600..over_s + later_s).contains(&at_s);
            Context { coverage: if is_rise { coverage } else { Coverage::FULL }, ..Context::default() }
        };
        let after = over_s + later_s..over_s + 6 * 3600;
        opened(&signals(&crowd(&events), context)).iter().filter(|at_s| after.contains(at_s)).count()
    };
    (0..8).map(one).collect()
}

#[test]
fn what_built_up_while_sources_were_away_opens_nothing_once_it_is_over() {
    let found = opened_after_a_rise(Coverage { share: 0.2, catching_up: false }, 1800);
    // A chance crowd on top of it may open one.
    assert!(found.iter().sum::<usize>() <= 2, "{found:?}");
}

#[test]
fn a_backlog_leaves_nothing_behind_that_is_read_as_a_burst() {
    assert_eq!(opened_after_a_rise(Coverage { share: 1.0, catching_up: true }, 0), [0; 8]);
}

#[test]
fn no_data_is_a_state_of_its_own_and_not_calm() {
    let mut state = SubjectState::new();
    let policy = DetectPolicy::default();
    for tally in crowd(&history(6, Fault::Holiday { at_s: 0, for_s: 0, times: 1.0 })) {
        observe(&mut state, &tally, &Context::default(), &policy);
    }
    let dark = Context { coverage: Coverage { share: 0.1, catching_up: false }, ..Context::default() };
    let now_s = state.last_s().unwrap();
    let first = tick(&mut state, now_s + 3600, &dark, &policy);
    assert_eq!((first.episode, first.reason.kind), (Some(EpisodeSignal::NoData), ReasonKind::NoData));
    assert!(first.reason.words("refunds").contains("silence is not calm"));
    let again = tick(&mut state, now_s + 7200, &dark, &policy);
    assert_eq!((again.episode, again.reason.kind), (None, ReasonKind::NoData));
}

#[test]
fn an_episode_grows_calms_and_reopens_as_flapping() {
    let burst = |from_s: i64| (0..20).map(move |i| from_s + i * 5);
    let mut events = history(7, Fault::Holiday { at_s: 0, for_s: 0, times: 1.0 });
    let from_s = *events.last().unwrap() + 600;
    for k in 0..5 {
        events.extend(burst(from_s + k * 18_000));
        events.push(from_s + k * 18_000 + 14_000);
    }
    events.sort_unstable();
    let found: Vec<EpisodeSignal> = signals(&crowd(&events), |_| Context::default())
        .into_iter()
        .filter(|(at_s, _)| *at_s >= from_s)
        .map(|(_, s)| s)
        .collect();
    assert!(matches!(found[0], EpisodeSignal::Opened), "{found:?}");
    assert!(found.iter().any(|s| matches!(s, EpisodeSignal::Grew { .. })), "{found:?}");
    assert!(found.contains(&EpisodeSignal::Calm), "{found:?}");
    assert!(found.contains(&EpisodeSignal::Flapping), "{found:?}");
}

#[test]
fn a_spreading_thread_warns_before_the_count_alone_would() {
    let onset_s = 10 * DAY_S + 12 * 3600;
    let first = |thread: Option<ThreadPrior>| -> i64 {
        (0..8)
            .map(|seed| {
                let events = history(seed, Fault::Onset { at_s: onset_s, for_s: 7200, times: 6.0 });
                let context = |at_s: i64| Context {
                    thread: thread.filter(|_| at_s - START_S >= onset_s),
                    ..Context::default()
                };
                opened(&signals(&crowd(&events), context))
                    .into_iter()
                    .map(|at_s| at_s - START_S - onset_s)
                    .find(|after_s| (0..7200).contains(after_s))
                    .unwrap_or(7200)
            })
            .sum()
    };
    let (with, without) = (first(Some(ThreadPrior { p_spread: 0.9, expected_final: 3000.0 })), first(None));
    assert!(with < without, "{with} {without}");
}

#[test]
fn too_late_changes_nothing_and_fast_clocks_are_brought_back() {
    let mut state = SubjectState::new();
    let policy = DetectPolicy::default();
    let context = Context { horizon_s: START_S + 10, ..Context::default() };
    observe(&mut state, &complaint(START_S + 1_000_000, 1, 1), &context, &policy);
    assert_eq!(state.last_s(), Some(START_S + 10));
    let before = state;
    let late = observe(&mut state, &complaint(START_S + 9 - policy.lateness_s, 2, 2), &context, &policy);
    assert_eq!(late.reason.kind, ReasonKind::TooLate);
    assert_eq!(state, before);
    let slightly = observe(&mut state, &complaint(START_S + 5, 3, 3), &context, &policy);
    assert_ne!(slightly.reason.kind, ReasonKind::TooLate);
    assert_eq!(state.last_s(), Some(START_S + 10));
}

#[test]
fn a_young_subject_borrows_from_its_brand() {
    let policy = DetectPolicy::default();
    let olds: Vec<SubjectState> = (0..5)
        .map(|seed| {
            let mut state = SubjectState::new();
            let events = background(seed, 1.0 / 60.0, START_S, 10 * DAY_S, &Rhythmic::default(), &[]);
            crowd(&events).iter().for_each(|tally| {
                observe(&mut state, tally, &Context::default(), &policy);
            });
            state
        })
        .collect();
    let borrowed = Context { prior: Prior::pool(&olds), ..Context::default() };
    let first_day: Vec<i64> =
        background(9, 1.0 / 60.0, START_S + 10 * DAY_S, DAY_S, &Rhythmic::default(), &[]);
    let alone = opened(&signals(&crowd(&first_day), |_| Context::default())).len();
    let with = opened(&signals(&crowd(&first_day), |_| borrowed)).len();
    assert!(with <= alone && with <= 1, "{with} {alone}");
    // And no blind first day: the same subject with a true rise in its sixth hour.
    let rising = background(
        9,
        1.0 / 60.0,
        START_S + 10 * DAY_S,
        DAY_S,
        &Rhythmic::default(),
        &[Fault::Onset { at_s: 6 * 3600, for_s: 3600, times: 15.0 }],
    );
    let found = opened(&signals(&crowd(&rising), |_| borrowed));
    assert!(
        found.iter().any(|at_s| (0..2400).contains(&(at_s - START_S - 10 * DAY_S - 6 * 3600))),
        "{found:?}"
    );
}

fn any_tallies() -> impl Strategy<Value = Vec<Tally>> {
    let one = (-700i64..5000, 0.0f32..1.0, 0u64..30, 0u64..30, 1usize..5).prop_map(
        |(gap, complaint, author, text, posts)| {
            let mut tally = Tally::at(gap);
            (0..posts).for_each(|i| {
                tally.add(Post {
                    complaint,
                    severity: 2.0,
                    arousal: 0.5,
                    followers: 10,
                    author: author + i as u64,
                    text,
                })
            });
            tally
        },
    );
    prop::collection::vec(one, 1..120).prop_map(|mut all| {
        let mut now_s = START_S;
        for tally in &mut all {
            now_s += tally.at_s;
            tally.at_s = now_s;
        }
        all
    })
}

fn run(state: &mut SubjectState, tallies: &[Tally]) -> Vec<Observation> {
    tallies.iter().map(|tally| observe(state, tally, &Context::default(), &DetectPolicy::default())).collect()
}

proptest! {
    #[test]
    fn restored_state_has_the_same_future_bit_for_bit(tallies in any_tallies(), cut in 0usize..120) {
        let cut = cut.min(tallies.len());
        let mut state = SubjectState::new();
        run(&mut state, &tallies[..cut]);
        let mut restored = SubjectState::from_bytes(&state.to_bytes()).unwrap();
        prop_assert_eq!(restored, state);
        let (a, b) = (run(&mut state, &tallies[cut..]), run(&mut restored, &tallies[cut..]));
        prop_assert_eq!(a, b);
        prop_assert_eq!(state.to_bytes(), restored.to_bytes());
    }

    #[test]
    fn answers_are_finite_and_of_the_past_alone(tallies in any_tallies(), cut in 1usize..120) {
        let mut state = SubjectState::new();
        let whole = run(&mut state, &tallies);
        prop_assert!(whole.iter().all(|o| o.surprise.is_finite() && o.surprise >= 0.0 && o.reason.usual_high.is_finite()));
        let cut = cut.min(tallies.len());
        prop_assert_eq!(&run(&mut SubjectState::new(), &tallies[..cut])[..], &whole[..cut]);
    }

    #[test]
    fn ticks_leave_what_was_learned_alone(tallies in any_tallies(), every in 1usize..5) {
        let (mut plain, mut ticked) = (SubjectState::new(), SubjectState::new());
        for (i, tally) in tallies.iter().enumerate() {
            let a = observe(&mut plain, tally, &Context::default(), &DetectPolicy::default());
            let b = observe(&mut ticked, tally, &Context::default(), &DetectPolicy::default());
            prop_assert_eq!(a.surprise.is_finite(), b.surprise.is_finite());
            if plain.open_since_s().is_none() && ticked.open_since_s().is_none() {
                prop_assert_eq!(a.surprise, b.surprise);
            }
            if i % every == 0 && plain.open_since_s().is_none() {
                let last_s = ticked.last_s().unwrap();
                tick(&mut ticked, last_s + 60, &Context::default(), &DetectPolicy::default());
            }
        }
    }

    #[test]
    fn snapshots_of_anything_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = SubjectState::from_bytes(&bytes);
    }
}

#[test]
fn quiet_weekends_are_learned_from_many_complaints_and_not_from_few() {
    let week = |per_s: f64| -> [f32; 7] {
        let rhythm = Rhythmic { weekend: 0.4, wander: 0.0, ..Rhythmic::default() };
        let mut state = SubjectState::new();
        for tally in crowd(&background(1, per_s, START_S, 35 * DAY_S, &rhythm, &[])) {
            observe(&mut state, &tally, &Context::default(), &DetectPolicy::default());
        }
        // What a young subject of the brand would borrow.
        Prior::pool([&state]).rhythm.weekdays()
    };
    let [.., friday, saturday, sunday] = week(1.0 / 60.0);
    assert!(saturday < 0.85 * friday && sunday < 0.85 * friday, "{friday} {saturday} {sunday}");
    assert!(week(1.0 / 21_600.0).iter().all(|day| (0.8..1.25).contains(day)));
}

#[test]
fn silent_nights_are_learned_as_nights_and_not_as_an_empty_first_hour() {
    let mut state = SubjectState::new();
    // Midnight.
    let start_s = 1_700_006_400;
    for tally in crowd(&background(
        1,
        1.0 / 100.0,
        start_s,
        20 * DAY_S,
        &Rhythmic { day: 0.0, ..Rhythmic::default() },
        &[],
    )) {
        if (8..20).contains(&(tally.at_s.rem_euclid(DAY_S) / 3600)) {
            observe(&mut state, &tally, &Context::default(), &DetectPolicy::default());
        }
    }
    let hours = Prior::pool([&state]).rhythm.factors();
    let of = |hours: &[f32]| hours.iter().sum::<f32>() / hours.len() as f32;
    let (night, first, day) = (
        of(&hours[21..].iter().chain(&hours[..7]).copied().collect::<Vec<_>>()),
        hours[8],
        of(&hours[9..20]),
    );
    assert!(night < 0.5 * day, "{hours:?}");
    assert!((0.6..1.5).contains(&(first / day)), "{hours:?}");
}
