//! Why now and what if: an episode's timeline and drivers, other thresholds on history, and the threshold that
//! follows people's answers.
#![allow(clippy::unwrap_used)]

use detect::{
    Branch, Context, Controller, DetectPolicy, EpisodeSignal, Explanation, Post, ReasonKind, Tally, backtest,
    simulate::{Fault, Rhythmic, background},
};

const START_S: i64 = 1_700_006_400;
const DAY_S: i64 = 86_400;
const ONSET_S: i64 = START_S + 8 * DAY_S + 12 * 3600;

/// Eight calm days and a rise of two hours, in which every sixth post is by one of two loud accounts.
fn posts(times: f64) -> Vec<(i64, Post)> {
    let rise = Fault::Onset { at_s: ONSET_S - START_S, for_s: 7200, times };
    background(2, 1.0 / 120.0, START_S, 9 * DAY_S, &Rhythmic::default(), &[rise])
        .into_iter()
        .enumerate()
        .map(|(i, at_s)| {
            let i = i as u64;
            let author = if at_s >= ONSET_S && i.is_multiple_of(6) { 7 + i % 12 / 6 } else { 1000 + i };
            let post = Post { complaint: 0.9, severity: 1.0, arousal: 0.3, followers: 100, author, text: i };
            (at_s, post)
        })
        .collect()
}

#[test]
fn an_explanation_has_the_timeline_the_branch_and_who_drove_it() {
    let found = Explanation::of(posts(12.0), |_| Context::default(), &DetectPolicy::default());
    let mut rise = found.moments.iter().filter(|moment| (ONSET_S..ONSET_S + 1800).contains(&moment.at_s));
    let opened = rise.find(|moment| moment.episode == Some(EpisodeSignal::Opened)).unwrap();
    assert_eq!(opened.reason.kind, ReasonKind::Rising);
    assert!(matches!(opened.reason.branch, Branch::Sudden | Branch::Building));
    assert!(opened.reason.surprise >= opened.reason.open_at);
    // The surprise before and after it, five minutes apart, and the end.
    let around = |from_s: i64, until_s: i64| -> Vec<f32> {
        let inside = found.moments.iter().filter(|moment| (from_s..until_s).contains(&moment.at_s));
        inside.map(|moment| moment.reason.surprise).collect()
    };
    let (before, during) = (around(ONSET_S - 3600, ONSET_S), around(opened.at_s, ONSET_S + 7200));
    assert!(before.len() >= 6 && during.len() >= 12, "{before:?} {during:?}");
    assert!(before.iter().all(|surprise| *surprise < opened.reason.open_at), "{before:?}");
    assert!(found.moments.iter().any(|moment| moment.episode == Some(EpisodeSignal::Calm)));
    assert!(found.moments.is_sorted_by_key(|moment| moment.at_s));
    assert!(found.moments.len() <= Explanation::MOMENTS_MAX);
    // The two loud accounts first, with all they wrote since ten minutes before it opened.
    let loudest: Vec<u64> = found.contributors[..2].iter().map(|one| one.author).collect();
    assert!(loudest.contains(&7) && loudest.contains(&8), "{:?}", found.contributors);
    assert!(found.contributors[1].posts > 20 && found.contributors[2].posts == 1, "{:?}", found.contributors);
    assert!(found.contributors.len() <= Explanation::CONTRIBUTORS_MAX);
}

#[test]
fn more_authors_than_are_counted_apart_do_not_hide_the_loudest() {
    let mut all = posts(12.0);
    let crowd = (0..30_000u64).map(|i| {
        let author = if i % 50 == 0 { 7 } else { 1_000_000 + i };
        (ONSET_S + 1800 + i as i64 / 10, Post { complaint: 0.9, author, text: author + i, ..Post::default() })
    });
    all.extend(crowd);
    all.sort_by_key(|(at_s, _)| *at_s);
    let found = Explanation::of(all, |_| Context::default(), &DetectPolicy::default());
    assert_eq!(found.contributors[0].author, 7, "{:?}", found.contributors);
    assert!((600..900).contains(&found.contributors[0].posts), "{:?}", found.contributors);
}

#[test]
fn the_past_under_another_threshold_is_what_that_threshold_would_have_done() {
    let mut tallies: Vec<Tally> = Vec::new();
    for (at_s, post) in posts(6.0) {
        let mut tally = Tally::at(at_s);
        tally.add(post);
        tallies.push(tally);
    }
    let openings = |false_alarms_per_day: f32, min_people: f32| {
        let policy = DetectPolicy { false_alarms_per_day, min_people, ..DetectPolicy::default() };
        let changes = backtest(&tallies, |_| Context::default(), &policy);
        let opened: Vec<i64> = changes
            .iter()
            .filter(|change| matches!(change.episode, Some(EpisodeSignal::Opened | EpisodeSignal::Flapping)))
            .map(|change| change.at_s)
            .collect();
        // Whatever is asked for is kept: at this surprise and with so many people, or not at all.
        for change in changes.iter().filter(|change| change.episode == Some(EpisodeSignal::Opened)) {
            assert!(change.reason.surprise >= policy.opening_surprise(detect::ROW_S));
            assert!(change.reason.people >= min_people);
        }
        opened
    };
    let (strict, usual, eager) = (openings(0.001, 3.0), openings(0.1, 3.0), openings(2.0, 3.0));
    assert!(strict.len() <= usual.len() && usual.len() < eager.len(), "{strict:?} {usual:?} {eager:?}");
    let in_rise =
        |opened: &[i64]| opened.iter().copied().find(|at_s| (ONSET_S..ONSET_S + 7200).contains(at_s));
    assert!(in_rise(&eager).unwrap() <= in_rise(&usual).unwrap(), "the lower threshold is not later");
    assert_eq!(openings(0.1, 1000.0), [0i64; 0]);
}

#[test]
fn the_threshold_follows_what_people_call_noise_and_never_far() {
    let mut noisy = Controller::default();
    (0..30).for_each(|_| noisy.day(20, 5.0));
    let mut quiet = Controller::default();
    (0..30).for_each(|_| quiet.day(0, 5.0));
    let mut right = Controller::default();
    (0..30).for_each(|day| right.day(4 + day % 3, 5.0));
    assert!(noisy.nudge() > 0.5 && quiet.nudge() < -0.5, "{noisy:?} {quiet:?}");
    assert!(right.nudge().abs() < 0.2, "{right:?}");
    (0..1000).for_each(|_| noisy.day(u32::MAX, 0.0));
    assert_eq!(noisy.nudge(), Controller::NUDGE_MAX);
    let policy = DetectPolicy { nudge: noisy.nudge(), ..DetectPolicy::default() };
    let raised = policy.opening_surprise(300.0) - DetectPolicy::default().opening_surprise(300.0);
    assert!((raised - Controller::NUDGE_MAX).abs() < 1e-4);
}
