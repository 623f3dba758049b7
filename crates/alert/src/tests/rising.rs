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
    let told = folded(posts).into_iter().flat_map(|tally| detectors.take(&tally, rules).unwrap().signals).collect::<Vec<_>>();
    told.into_iter().filter(|s| s.rule == "rising-subject" && s.kind != SignalKind::Seen).collect()
}

#[test]
fn experiment() {
    for (per_hour, burst, people) in [(30.0, 50, 40), (1.0, 20, 16), (1.0, 50, 40), (6.0, 30, 25), (120.0, 200, 150), (0.2, 10, 9)] {
        for days in [1, 2, 7] {
            let mut line = String::new();
            let mut early = 0;
            for seed in 0..12 {
                let mut rng = StdRng::seed_from_u64(seed);
                let calm = said("", at(0));
                let from = days * DAY;
                let mut posts = by_chance(&mut rng, "calm", per_hour, 0, from + 10 * MINUTE, &calm);
                posts.extend(crowd("burst", burst, people, from, from + 10 * MINUTE, &calm));
                let signals = rising(posts, &shipped());
                early += signals.iter().filter(|s| s.kind == SignalKind::Opened && s.at < at(from)).count();
                let opened = signals.iter().find(|s| s.kind == SignalKind::Opened && s.at >= at(from));
                line.push_str(&opened.map_or("  none".into(), |s| format!("{:>6}", s.at.as_seconds() - at(from).as_seconds())));
            }
            println!("{per_hour}/h, {burst} from {people}, {days} d: early {early}: {line}");
        }
    }
    for per_hour in [0.2, 1.0, 6.0, 30.0, 120.0] {
        let mut n = 0;
        for seed in 0..10 {
            let mut rng = StdRng::seed_from_u64(seed);
            let posts = by_chance(&mut rng, "calm", per_hour, 0, 10 * DAY, &said("", at(0)));
            n += rising(posts, &shipped()).iter().filter(|s| matches!(s.kind, SignalKind::Opened | SignalKind::Flapping)).count();
        }
        println!("{per_hour}/h: {n} in 100 days of calm");
    }
}
