//! Threads from the verdict on: when they are called spreading, when over, and when news again.

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
}

impl Thread {
    fn hears(&mut self, post: Said) {
        let folded = tally::fold(&[post.received(0, self.reactions)], 1, at(0));
        for tally in tallies(&folded.outputs) {
            self.signals.extend(self.detectors.take(&tally, &rules()).unwrap().signals);
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
            self.signals.extend(self.detectors.idle(at(now).as_seconds(), &rules()).signals);
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
