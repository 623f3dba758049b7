//! A subject known for days or hours at most, told second by second: a rise is told while it rises.

use detect::{
    Context, DetectPolicy, EpisodeSignal, Post, Prior, SubjectState, Tally, observe,
    simulate::{Rhythmic, background, generator},
};
use rand_chacha::rand_core::RngCore;

const START_S: i64 = 1_700_006_400;
const DAY_S: i64 = 86_400;
const TEN_MIN_S: i64 = 600;

/// Complaints in ten minutes at a steady pace, before and in the rise, and how many people write them.
struct Story {
    before_s: i64,
    usual_per_s: f64,
    rise: i64,
    people: u64,
    complaint: f32,
    prior: Prior,
}

/// Complaints of the rise that had come when the episode opened; `None` if it did not open in the rise.
fn opened_after(story: &Story, seed: u64) -> Option<i64> {
    let calm = background(
        seed,
        story.usual_per_s,
        START_S,
        story.before_s,
        &Rhythmic { day: 0.0, weekend: 1.0, wander: 0.0, ..Rhythmic::default() },
        &[],
    );
    let rise_s = START_S + story.before_s;
    let mut random = generator(seed, 7);
    let posts = calm
        .into_iter()
        .map(|at_s| (at_s, random.next_u64()))
        .chain((0..story.rise).map(|i| {
            (rise_s + i * TEN_MIN_S / story.rise, (1 << 40) | (seed << 20) | (i as u64 % story.people))
        }))
        .collect::<Vec<_>>();
    let context = Context { prior: story.prior, ..Context::default() };
    let mut state = SubjectState::new();
    let mut opened = None;
    let mut calm_alarms = 0;
    for (i, (at_s, author)) in posts.into_iter().enumerate() {
        let mut tally = Tally::at(at_s);
        let text = (seed << 32) + i as u64;
        tally.add(Post {
            complaint: story.complaint,
            severity: 1.0,
            arousal: 0.3,
            followers: 50,
            author,
            text,
        });
        let found = observe(&mut state, &tally, &context, &DetectPolicy::default());
        if matches!(found.episode, Some(EpisodeSignal::Opened)) {
            calm_alarms += i32::from(at_s < rise_s);
            opened = opened.or((at_s >= rise_s).then(|| (at_s - rise_s) * story.rise / TEN_MIN_S + 1));
        }
    }
    assert!(calm_alarms <= 1, "{calm_alarms} alarms before the rise");
    opened
}

fn assert_told(story: &Story, within: i64) {
    let after: Vec<Option<i64>> = (0..20).map(|seed| opened_after(story, seed)).collect();
    let told = after.iter().filter(|count| count.is_some_and(|count| count <= within)).count();
    assert!(told >= 19, "told after {after:?} complaints, {within} wanted, {} s old", story.before_s);
}

#[test]
fn tenfold_rise_of_a_two_day_old_subject_is_told_within_it() {
    let story = Story {
        before_s: 2 * DAY_S,
        usual_per_s: 5.0 / 600.0,
        rise: 50,
        people: 40,
        complaint: 0.9,
        prior: Prior::NONE,
    };
    assert_told(&story, 40);
    assert_told(&Story { complaint: 0.6, ..story }, 50);
}

#[test]
fn twenty_in_ten_minutes_where_one_an_hour_is_usual_are_told_within_them() {
    for before_s in [3 * 3600, DAY_S / 2, 2 * DAY_S] {
        let story = Story {
            before_s,
            usual_per_s: 1.0 / 3600.0,
            rise: 20,
            people: 18,
            complaint: 0.9,
            prior: Prior::NONE,
        };
        assert_told(&story, 15);
    }
}

#[test]
fn a_subject_first_seen_at_the_rise_is_told_by_what_its_brand_is_used_to() {
    let quiet = Prior { level_per_s: 2.0 / 3600.0, trust_s: DAY_S as f32, ..Prior::NONE };
    let story = Story { before_s: 0, usual_per_s: 0.0, rise: 50, people: 40, complaint: 0.9, prior: quiet };
    assert_told(&story, 25);
    let busy = Prior { level_per_s: 60.0 / 600.0, trust_s: DAY_S as f32, ..Prior::NONE };
    let usual = Story { prior: busy, ..story };
    assert!((0..20).all(|seed| opened_after(&usual, seed).is_none()), "fifty are usual there");
}

/// Episodes of subjects that are calm in their first two days, as bursty ones are.
fn opened_in_calm(prior: Prior) -> usize {
    (100..140)
        .map(|seed| {
            let mut state = SubjectState::new();
            let context = Context { prior, ..Context::default() };
            tallies(seed, 2)
                .iter()
                .filter(|tally| {
                    let found = observe(&mut state, tally, &context, &DetectPolicy::default());
                    matches!(found.episode, Some(EpisodeSignal::Opened | EpisodeSignal::Flapping))
                })
                .count()
        })
        .sum()
}

/// Days of a subject whose pace wanders widely within the hour.
fn tallies(seed: u64, days: i64) -> Vec<Tally> {
    let bursty = Rhythmic { day: 0.3, weekend: 1.0, wander: 1.2, wander_s: 1800.0 };
    let mut random = generator(seed, 11);
    let of = |at_s: i64| {
        let mut tally = Tally::at(at_s);
        let (author, text) = (random.next_u64(), random.next_u64());
        tally.add(Post { complaint: 0.9, severity: 1.0, arousal: 0.3, followers: 50, author, text });
        tally
    };
    background(seed, 1.0 / 40.0, START_S, days * DAY_S, &bursty, &[]).into_iter().map(of).collect()
}

#[test]
fn what_is_calm_for_a_bursty_brand_is_calm_for_a_young_subject_of_it() {
    let olds: Vec<SubjectState> = (0..6)
        .map(|seed| {
            let mut state = SubjectState::new();
            for tally in tallies(seed, 15) {
                observe(&mut state, &tally, &Context::default(), &DetectPolicy::default());
            }
            state
        })
        .collect();
    let brand = Prior::pool(&olds);
    let (with, without) = (opened_in_calm(brand), opened_in_calm(Prior { calibration: None, ..brand }));
    // Eighty subject days at 0.1 a day are eight.
    assert!(
        with <= 24 && 2 * with <= without,
        "{with} episodes with the brand's calibration, {without} without"
    );
}
