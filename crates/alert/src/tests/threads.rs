//! Threads from the verdict on: when they are called spreading, when over, and when news again.

use contracts::alert::v1::ThreadOutlook;
use paging::{Signal, SignalKind};

use super::{at, rules, tallies};
use crate::detection::Detectors;
use crate::tally;
use crate::testing::{Said, said};

/// A thread that one detector follows.
#[derive(Default)]
struct Thread {
    detectors: Detectors,
    reactions: i64,
    signals: Vec<Signal>,
    outlooks: Vec<ThreadOutlook>,
}

impl Thread {
    fn hears(&mut self, post: Said) {
        let folded = tally::fold(&[post.received(0, self.reactions)], 1, at(0));
        for tally in tallies(&folded.outputs) {
            let heard = self.detectors.take(&tally, &rules()).unwrap();
            self.outlooks.extend(heard.outlooks.iter().cloned());
            self.signals.extend(heard.into_signals());
        }
    }

    fn react(&mut self, from: i64, count: i64, every: i64) {
        for n in 0..count {
            self.reactions += 1;
            self.hears(said(format!("r{}", self.reactions), at(from + n * every)).answering("root"));
        }
    }

    /// Time passes with a look now and then.
    fn pass(&mut self, from: i64, to: i64) {
        for now in (from..to).step_by(60) {
            let heard = self.detectors.idle(at(now).as_seconds(), &rules());
            self.outlooks.extend(heard.outlooks.iter().cloned());
            self.signals.extend(heard.into_signals());
        }
    }

    /// What was told since the last look, but for fresh numbers.
    fn told(&mut self) -> Vec<SignalKind> {
        let told = std::mem::take(&mut self.signals).into_iter();
        told.filter(|s| s.rule == "spreading-thread")
            .map(|s| s.kind)
            .filter(|kind| *kind != SignalKind::Seen)
            .collect()
    }
}

const HOUR: i64 = 3_600;

#[test]
fn a_thread_that_was_over_is_news_again_only_when_it_outgrows_what_was_told() {
    let mut thread = Thread::default();
    thread.hears(said("root", at(0)));
    thread.react(10, 120, 5);
    assert_eq!(thread.told(), [SignalKind::Opened]);
    thread.pass(610, 4 * HOUR);
    assert_eq!(thread.told(), [SignalKind::Calm], "nobody reacts for hours");
    // It has passed the size that counts as spread, and always will have: a late reply is no news.
    thread.react(5 * HOUR, 3, 600);
    thread.pass(5 * HOUR + 1_800, 9 * HOUR);
    assert_eq!(thread.told(), []);
    thread.react(9 * HOUR, 600, 2);
    assert_eq!(thread.told(), [SignalKind::Opened], "a second wave, several times the first");
}

#[test]
fn the_time_left_is_until_it_passes_the_size_and_never_nought_seconds() {
    let mut thread = Thread::default();
    thread.hears(said("root", at(0)));
    thread.react(10, 20, 10);
    let words = |thread: &Thread| {
        let last = thread.signals.iter().rev().find(|signal| signal.rule == "spreading-thread").unwrap();
        (last.why.text(), last.facts.forecast.unwrap())
    };
    let (early, forecast) = words(&thread);
    let left_s = forecast.answer_within_s.unwrap();
    assert!(early.contains("; answer within ") && left_s > 0.0, "{early}");
    thread.react(300, 60, 5);
    let (late, forecast) = words(&thread);
    assert!(late.ends_with("; it has passed that already"), "{late}");
    assert_eq!(forecast.answer_within_s, Some(0.0));
}

#[test]
fn a_live_thread_speaks_to_the_subject_of_its_original_post_until_it_is_over() {
    let mut thread = Thread::default();
    thread.hears(Said { topic: "delivery", ..said("root", at(0)) });
    thread.react(10, 120, 5);
    let first = thread.outlooks.first().expect("it is said");
    assert_eq!(first.subject, "topic/acme/delivery", "the answers are about refunds");
    assert!(first.p_spread >= 0.1 && first.thread.starts_with("thread/acme/"), "{first:?}");
    assert!(thread.outlooks.len() < 20, "{} words for 120 reactions", thread.outlooks.len());
    assert!(thread.signals.iter().all(|s| s.topic.as_ref().is_some_and(|t| t.as_str() == "delivery")));
    thread.pass(610, 4 * HOUR);
    assert_eq!(thread.outlooks.last().map(|last| last.p_spread), Some(0.0), "nobody reacts for hours");
}

#[test]
fn praise_that_spreads_says_nothing() {
    let mut thread = Thread::default();
    thread.hears(Said { complaint: 0.05, ..said("root", at(0)) });
    for n in 0..120 {
        thread.hears(Said { complaint: 0.05, ..said(format!("p{n}"), at(10 + n * 5)) }.answering("root"));
    }
    assert_eq!(thread.outlooks, []);
}

/// When a subject whose complaints slowly become more is called rising, after its usual two hours.
fn opens_after_s(p_spread: Option<f32>) -> (i64, String) {
    let mut detectors = Detectors::default();
    let calm = (0..60).map(|n| said(format!("calm{n}"), at(n * 120)));
    let more = (0..400).map(|n| said(format!("more{n}"), at(7_200 + n * 45)));
    for (n, post) in calm.chain(more).enumerate() {
        if n == 60 {
            let outlook = |p_spread| ThreadOutlook {
                subject: "topic/acme/refund".into(),
                thread: "thread/acme/x".into(),
                at_s: at(7_200).as_seconds(),
                p_spread,
                expected_final: 900.0,
            };
            p_spread.into_iter().for_each(|p| detectors.expect(&outlook(p)).unwrap());
        }
        for tally in tallies(&tally::fold(&[post.received(0, n as i64)], 1, at(0)).outputs) {
            let signals: Vec<_> = detectors.take(&tally, &rules()).unwrap().into_signals().collect();
            if let Some(opened) = signals.iter().find(|s| s.rule == "rising-subject") {
                return (opened.at.as_seconds() - at(7_200).as_seconds(), opened.why.text());
            }
        }
    }
    (i64::MAX, String::new())
}

#[test]
fn a_subject_is_warned_earlier_by_its_spreading_thread() {
    let (alone, words) = opens_after_s(None);
    assert!(!words.contains("a thread on it spreads"), "{words}");
    let (warned, words) = opens_after_s(Some(0.9));
    assert!(warned + 60 <= alone, "{warned} s with a thread, {alone} s without");
    assert!(words.contains("a thread on it spreads with 90 % probability"), "{words}");
    assert_eq!(opens_after_s(Some(0.05)).0, alone, "an ordinary thread changes nothing");
}
