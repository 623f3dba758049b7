//! From verdicts through tallies to rising subjects: what is told, when, and what is not.

use contracts::alert::v1::TallyEvent;
use paging::{Signal, SignalKind};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::{at, tallies};
use crate::config::{DetectConfig, ThreadConfig, Zones};
use crate::detection::{Detectors, Rules};
use crate::tally;
use crate::testing::{Said, said};

const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

fn shipped() -> Rules {
    Rules {
        detect: DetectConfig::default(),
        threads: ThreadConfig::default(),
        zones: Zones::default(),
        cascade: detect::thread::CascadeModel::shipped(),
    }
}

/// Posts that come by chance, `per_hour` on average, between two times.
fn by_chance(rng: &mut StdRng, name: &str, per_hour: f64, from: i64, to: i64, like: &Said) -> Vec<Said> {
    let mut posts = Vec::new();
    let mut now = from as f64;
    loop {
        now -= (1.0 - rng.random::<f64>()).ln() * HOUR as f64 / per_hour;
        if now >= to as f64 {
            return posts;
        }
        let id = format!("{name}{}", posts.len());
        posts.push(Said { at: at(now as i64), native_id: id, ..like.clone() });
    }
}

/// `count` posts from `people` persons, evenly between two times.
fn crowd(name: &str, count: i64, people: i64, from: i64, to: i64, like: &Said) -> Vec<Said> {
    let post = |n: i64| Said {
        at: at(from + (to - from) * n / count),
        native_id: format!("{name}{n}"),
        author: Some(format!("{name}-person{}", n % people)),
        ..like.clone()
    };
    (0..count).map(post).collect()
}

/// What the first stage makes of the posts, in batches as a poll gives them.
fn folded(mut posts: Vec<Said>) -> Vec<TallyEvent> {
    posts.sort_by_key(|post| post.at);
    let records: Vec<_> = posts.iter().enumerate().map(|(n, post)| post.received(0, n as i64)).collect();
    let mut all = Vec::new();
    for batch in records.chunks(20) {
        let mut batch = tallies(&tally::fold(batch, 3, at(0)).outputs);
        batch.sort_by_key(|tally| tally.at_s);
        all.extend(batch);
    }
    all
}

/// The signals about rising subjects, without fresh numbers.
fn rising(posts: Vec<Said>, rules: &Rules) -> Vec<Signal> {
    let mut detectors = Detectors::default();
    let told = folded(posts)
        .into_iter()
        .flat_map(|tally| detectors.take(&tally, rules).unwrap().into_signals())
        .collect::<Vec<_>>();
    told.into_iter().filter(|s| s.rule == "rising-subject" && s.kind != SignalKind::Seen).collect()
}

/// A rise of `count` complaints from `people` persons within ten minutes, after `days` in which `per_hour`
/// were usual.
struct Rise {
    per_hour: f64,
    days: f64,
    count: i64,
    people: i64,
}

impl Rise {
    fn begins_s(&self) -> i64 {
        (self.days * DAY as f64) as i64
    }

    fn posts(&self, seed: u64) -> Vec<Said> {
        let (from, like) = (self.begins_s(), said("", at(0)));
        let mut rng = StdRng::seed_from_u64(seed);
        let mut posts = by_chance(&mut rng, "calm", self.per_hour, 0, from + 10 * MINUTE, &like);
        posts.extend(crowd("rise", self.count, self.people, from, from + 10 * MINUTE, &like));
        posts
    }

    /// The signal that opened the episode within the rise.
    fn opened(&self, seed: u64) -> Option<Signal> {
        let (from, to) = (at(self.begins_s()), at(self.begins_s() + 10 * MINUTE));
        let mut signals = rising(self.posts(seed), &shipped()).into_iter();
        signals.find(|s| s.kind == SignalKind::Opened && (from..to).contains(&s.at))
    }
}

#[test]
fn a_rise_is_told_while_it_rises() {
    let rises = [
        (30.0, 0.25, 50, 40),
        (30.0, 2.0, 50, 40),
        (1.0, 1.0, 20, 16),
        (6.0, 2.0, 30, 25),
        (120.0, 1.0, 200, 150),
        (0.2, 2.0, 10, 9),
    ];
    for (per_hour, days, count, people) in rises {
        let rise = Rise { per_hour, days, count, people };
        let opened: Vec<_> = (0..4).map(|seed| rise.opened(seed)).collect();
        let told = opened.iter().flatten().count();
        assert!(
            told == 4,
            "{count} from {people} where {per_hour} an hour are usual since {days} days: {told} of 4"
        );
    }
}

#[test]
fn what_opened_it_is_said_in_numbers_a_person_can_use() {
    let rise = Rise { per_hour: 30.0, days: 2.0, count: 50, people: 40 };
    let signal = rise.opened(1).unwrap();
    let (words, numbers) = (signal.why.text(), signal.why.numbers());
    assert!(words.contains("complaints on refund in") && words.contains("people; usual for"), "{words}");
    assert!(numbers["complaints"] > numbers["usual_high"] && numbers["people"] >= 8.0, "{words}");
    assert!(!signal.facts.evidence.is_empty());
    assert!(signal.facts.since >= at(rise.begins_s() - 10 * MINUTE), "{:?}", signal.facts.since);
}

#[test]
fn a_topic_first_heard_at_its_rise_is_judged_by_what_its_brand_is_used_to() {
    const TOPICS: [&str; 6] = ["refund", "delivery", "staff", "app", "price", "safety"];
    for seed in 0..4 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut posts = Vec::new();
        for topic in TOPICS {
            let like = Said { topic, ..said("", at(0)) };
            posts.extend(by_chance(&mut rng, topic, 3.0, 0, 2 * DAY + 10 * MINUTE, &like));
        }
        let new = Said { topic: "boycott", ..said("", at(0)) };
        posts.extend(crowd("new", 25, 20, 2 * DAY, 2 * DAY + 10 * MINUTE, &new));
        let told = rising(posts, &shipped())
            .into_iter()
            .find(|s| s.kind == SignalKind::Opened && s.at >= at(2 * DAY));
        let told = told.expect("the rise is told");
        assert!(
            told.subject.key() == "topic/acme/boycott" && told.at < at(2 * DAY + 10 * MINUTE),
            "{told:?}"
        );
    }
}

#[test]
fn a_new_brand_borrows_the_hours_of_the_others_and_believes_their_size_for_an_hour() {
    let mut rng = StdRng::seed_from_u64(1);
    let mut posts = Vec::new();
    for day in 0..8 {
        let (opens, shuts) = (day * DAY + 8 * HOUR, day * DAY + 20 * HOUR);
        posts.extend(by_chance(&mut rng, &format!("{day}-"), 60.0, opens, shuts, &said("", at(0))));
        let like = said("", at(0));
        posts.extend(by_chance(&mut rng, &format!("{day}-late-"), 5.0, day * DAY, opens, &like));
        posts.extend(by_chance(&mut rng, &format!("{day}-early-"), 5.0, shuts, (day + 1) * DAY, &like));
    }
    posts.sort_by_key(|post| post.at);
    let mut detectors = Detectors::default();
    for tally in folded(posts) {
        detectors.take(&tally, &shipped()).unwrap();
    }
    let (old, new) = (detectors.prior("acme"), detectors.prior("unheard"));
    let hours = new.rhythm.factors();
    assert!(hours[14] > 2.0 * hours[3], "{hours:?}");
    assert_eq!((new.rhythm, new.calibration), (old.rhythm, old.calibration));
    assert!(new.calibration.is_some() && new.trust_s <= 3_600.0 && old.trust_s > 3_600.0);
}

#[test]
fn one_loud_person_is_no_rise() {
    let rise = Rise { per_hour: 6.0, days: 1.0, count: 60, people: 2 };
    assert!((0..4).all(|seed| rise.opened(seed).is_none()));
}

#[test]
fn calm_days_call_nobody_more_often_than_was_asked_for() {
    let (mut told, mut days) = (0, 0);
    for (per_hour, length) in [(0.2, 30), (1.0, 20), (6.0, 10), (30.0, 6), (90.0, 3)] {
        for seed in 0..3 {
            let mut rng = StdRng::seed_from_u64(seed);
            let posts = by_chance(&mut rng, "calm", per_hour, 0, length * DAY, &said("", at(0)));
            let signals = rising(posts, &shipped());
            told += signals
                .iter()
                .filter(|s| matches!(s.kind, SignalKind::Opened | SignalKind::Flapping))
                .count();
            days += length;
        }
    }
    let asked_for = f64::from(DetectConfig::default().false_alarms_per_day) * days as f64;
    assert!(told as f64 <= asked_for, "{told} in {days} days, {asked_for} were asked for");
    println!("{told} in {days} days of calm, {asked_for} were asked for");
}
