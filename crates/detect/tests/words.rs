//! What a reason says to a person: count and usual range in the same unit, local hours, and why nothing opened.
#![allow(clippy::unwrap_used)]

use detect::{
    Context, Coverage, DetectPolicy, Observation, Post, ReasonKind, SubjectState, Tally, observe,
    simulate::{Rhythmic, background, generator},
    tick,
};
use rand_chacha::rand_core::RngCore;

const START_S: i64 = 1_700_006_400;
const DAY_S: i64 = 86_400;

fn flat() -> Rhythmic {
    Rhythmic { day: 0.0, weekend: 1.0, wander: 0.0, ..Rhythmic::default() }
}

/// What is found of steady posts of one kind, each by another author with another text.
fn observed(post: Post, per_s: f64, days: i64) -> (SubjectState, Vec<Observation>) {
    let mut random = generator(3, 9);
    let mut state = SubjectState::new();
    let found = background(3, per_s, START_S, days * DAY_S, &flat(), &[])
        .into_iter()
        .map(|at_s| {
            let mut tally = Tally::at(at_s);
            tally.add(Post { author: random.next_u64(), text: random.next_u64(), ..post });
            observe(&mut state, &tally, &Context::default(), &DetectPolicy::default())
        })
        .collect();
    (state, found)
}

#[test]
fn what_is_usual_is_told_in_the_unit_of_the_count() {
    let light = Post { complaint: 0.8, ..Post::default() };
    let heavy = Post { complaint: 0.8, severity: 4.0, arousal: 1.0, followers: 1_000_000, ..Post::default() };
    for (name, post) in [("light", light), ("heavy", heavy)] {
        let (_, found) = observed(post, 1.0 / 20.0, 6);
        let later = &found[found.len() / 2..];
        // At the end of a window, when its count is complete and it is as long as the range supposes.
        let (mut inside, mut windows, mut ratio) = (0, 0.0, 0.0);
        for reason in later.iter().map(|one| one.reason).filter(|reason| reason.span_s >= 570) {
            windows += 1.0;
            inside += i32::from((reason.usual_low..=reason.usual_high).contains(&reason.complaints));
            ratio += 2.0 * reason.complaints / (reason.usual_low + reason.usual_high);
        }
        let share = f64::from(inside) / windows;
        assert!((0.85..0.99).contains(&share), "{name}: {share} of the windows are as usual");
        let ratio = f64::from(ratio) / windows;
        assert!((0.8..1.2).contains(&ratio), "{name}: a usual count is {ratio} times the middle of usual");
    }
}

#[test]
fn a_surprise_from_two_people_is_too_few_and_says_so() {
    let post = Post { complaint: 0.9, severity: 1.0, arousal: 0.3, followers: 100, ..Post::default() };
    let (mut state, _) = observed(post, 1.0 / 43_200.0, 30);
    let from_s = state.last_s().unwrap() + 900;
    // However often they post, two people are two: only somebody who wants to hear of every stir asks.
    let policy = DetectPolicy { false_alarms_per_day: 20.0, ..DetectPolicy::default() };
    let last = (0..30)
        .map(|i| {
            let mut tally = Tally::at(from_s + i);
            (0..20)
                .for_each(|k| tally.add(Post { author: i as u64 % 2, text: (i * 100 + k) as u64, ..post }));
            observe(&mut state, &tally, &Context::default(), &policy)
        })
        .skip(1)
        .find(|one| one.reason.kind == ReasonKind::TooFew);
    let words = last.unwrap().reason.words("refunds");
    assert!(words.contains("from 2 people") && words.ends_with("too few to call it a rise"), "{words}");
    assert_eq!(state.open_since_s(), None);
}

#[test]
fn a_backlog_says_that_it_is_one() {
    let (mut state, _) = observed(Post { complaint: 0.9, ..Post::default() }, 1.0 / 600.0, 4);
    let coverage = Coverage { share: 1.0, catching_up: true };
    let context = Context { coverage, ..Context::default() };
    let at_s = state.last_s().unwrap() + 7200;
    let mut tally = Tally::at(at_s);
    (0..60).for_each(|i| tally.add(Post { complaint: 0.9, author: i, text: i, ..Post::default() }));
    let found = observe(&mut state, &tally, &context, &DetectPolicy::default());
    assert_eq!((found.surprise, found.episode, found.reason.kind), (0.0, None, ReasonKind::CatchingUp));
    assert!(found.reason.words("refunds").contains("delivering a backlog"));
}

#[test]
fn the_hour_in_the_words_is_the_local_one() {
    let (mut state, _) = observed(Post { complaint: 0.9, ..Post::default() }, 1.0 / 600.0, 4);
    // 2023-11-19 was a Sunday; 01:30 UTC is 03:30 in Helsinki, and still Saturday in New York.
    let at_s = 1_700_357_400;
    for (offset_s, hour) in [(0, "Sunday 01:00"), (7200, "Sunday 03:00"), (-5 * 3600, "Saturday 20:00")] {
        let context = Context { utc_offset_s: offset_s, ..Context::default() };
        let found = tick(&mut state, at_s, &context, &DetectPolicy::default());
        let words = found.reason.words("refunds");
        assert!(words.contains(&format!("usual for {hour} is")), "{words}");
    }
}
