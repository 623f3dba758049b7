use model::{Probability, Severity, Timestamp};

use super::{answer, asks_for_private_message, at, complaint, mention, policy, said, thanks};
use crate::{
    Answered, Case, CaseState, Change, ClockKind, ClockSide, ClockState, Command, Decision, Effect, Input,
    Policy, PromiseState, Reason, Refusal, Resolution, Said, choose, decide,
};

/// A case and what was told of it, driven like the service drives it: due times are met exactly.
struct Story {
    case: Option<Case>,
    told: Vec<(Timestamp, Change)>,
    wake: Option<Timestamp>,
    policy: Policy,
}

impl Story {
    fn new() -> Self {
        Self { case: None, told: Vec::new(), wake: None, policy: policy() }
    }

    fn of(said: Said) -> Self {
        let mut story = Self::new();
        let now = said.seen_at;
        story.step(&Input::Said(said), now);
        story
    }

    fn step(&mut self, input: &Input, now: Timestamp) -> Reason {
        let Decision { next, effects, reason } = decide(self.case.as_ref(), input, now, &self.policy);
        for effect in effects {
            match effect {
                Effect::Publish(changed) => {
                    assert_eq!(changed.sequence, self.told.len() as u64 + 1, "sequences have no gap");
                    assert!(changed.case.messages.is_empty(), "no words are published");
                    self.told.push((changed.at, changed.change));
                }
                Effect::WakeAt(wake) => {
                    assert!(wake.is_none_or(|at| at > now), "asked to be woken at {wake:?}, it is {now}");
                    self.wake = wake;
                }
            }
        }
        self.case = next;
        reason
    }

    fn hears(&mut self, said: Said) -> Reason {
        self.passes(said.seen_at);
        let now = said.seen_at;
        self.step(&Input::Said(said), now)
    }

    fn answers(&mut self, answered: Answered) -> Reason {
        self.passes(answered.seen_at);
        let now = answered.seen_at;
        self.step(&Input::Answered(answered), now)
    }

    fn asks(&mut self, when: &str, what: Command) -> Reason {
        self.passes(at(when));
        self.step(&Input::Asked { by: "kim".into(), what }, at(when))
    }

    /// Lets time pass, waking when asked to.
    fn passes(&mut self, until: Timestamp) {
        while let Some(wake) = self.wake.filter(|w| *w <= until) {
            self.wake = None;
            self.step(&Input::Due, wake);
        }
    }

    fn case(&self) -> &Case {
        self.case.as_ref().unwrap()
    }

    fn changes(&self) -> Vec<Change> {
        self.told.iter().map(|(_, change)| *change).collect()
    }

    fn clock(&self, kind: ClockKind, side: ClockSide, now: &str) -> Vec<(ClockState, i64)> {
        let views = self.case().clocks_at(at(now), &self.policy);
        views.iter().filter(|v| v.kind == kind && v.side == side).map(|v| (v.state, v.elapsed_ms)).collect()
    }
}

const MONDAY: &str = "2026-01-12T09:00:00Z";
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

#[test]
fn a_complaint_opens_a_case_with_three_clocks_each() {
    let story = Story::of(complaint("a", MONDAY));
    let case = story.case();
    assert_eq!((case.state, case.version, case.waiting_since), (CaseState::New, 1, Some(at(MONDAY))));
    assert_eq!(case.clocks.len(), 6);
    assert_eq!(story.changes(), [Change::Opened]);
    // Three quarters of an hour after nine: the first warning.
    assert_eq!(story.wake, Some(at("2026-01-12T09:45:00Z")));
}

#[test]
fn what_is_no_complaint_opens_nothing_and_says_why() {
    let spam = Said { spam: Probability::ONE, ..complaint("a", MONDAY) };
    let robot = Said { is_automatic: true, ..complaint("a", MONDAY) };
    let private_thanks = Said { is_public: false, ..thanks("a", MONDAY) };
    for (input, reason) in [
        (said("a", MONDAY), Reason::NoComplaint),
        (spam, Reason::Spam),
        (robot, Reason::Automatic),
        (private_thanks, Reason::NoComplaint),
    ] {
        let mut story = Story::new();
        assert_eq!(story.hears(input), reason);
        assert!(story.case.is_none() && story.told.is_empty());
    }
}

#[test]
fn a_private_message_opens_a_case_whatever_it_says() {
    let story = Story::of(Said { is_public: false, ..said("a", MONDAY) });
    assert_eq!(story.case().state, CaseState::New);
}

#[test]
fn nobody_answers_and_each_clock_warns_and_breaches_once_at_its_time() {
    let mut story = Story::of(complaint("a", "2026-01-09T15:30:00Z"));
    story.passes(at("2026-01-31T00:00:00Z"));
    // Friday 16:30: the customer's hour ends at 17:30, the office's on Monday at 9:30.
    let first: Vec<_> = story.told[1..7].iter().map(|(t, c)| (t.to_string(), *c)).collect();
    let expected = [
        ("2026-01-09T16:15:00Z", Change::Warned),
        ("2026-01-09T16:30:00Z", Change::Breached),
        ("2026-01-12T08:15:00Z", Change::Warned),
        ("2026-01-12T08:15:00Z", Change::Warned),
        ("2026-01-12T08:30:00Z", Change::Breached),
        ("2026-01-12T08:30:00Z", Change::Breached),
    ];
    let wanted: Vec<_> = expected.iter().map(|(t, c)| ((*t).to_owned(), *c)).collect();
    // The customer's resolution clock warns at the weekend.
    let others: Vec<_> = first.iter().filter(|f| !wanted.contains(f)).collect();
    assert!(others.iter().all(|(_, c)| *c == Change::Warned), "{others:?}");
    assert_eq!(story.changes().iter().filter(|c| **c == Change::Breached).count(), 6);
    assert_eq!(story.changes().iter().filter(|c| **c == Change::Warned).count(), 6);
    assert_eq!(story.wake, None);
    assert!(story.case().is_overdue(at("2026-01-31T00:00:00Z"), &story.policy));
}

#[test]
fn an_answer_by_a_person_stops_the_answer_clocks_and_a_machine_does_not() {
    let mut story = Story::of(complaint("a", MONDAY));
    story.answers(Answered { is_automatic: true, ..answer("auto", "2026-01-12T09:00:05Z") });
    assert_eq!(story.case().state, CaseState::New);
    story.answers(answer("b", "2026-01-12T09:20:00Z"));
    let case = story.case();
    assert_eq!((case.state, case.waiting_since), (CaseState::Open, None));
    assert_eq!(case.answered_at, Some(at("2026-01-12T09:20:00Z")));
    for side in ClockSide::ALL {
        let expected = [(ClockState::Fulfilled, 20 * MINUTE)];
        assert_eq!(story.clock(ClockKind::FirstAnswer, side, "2026-02-01T00:00:00Z"), expected);
    }
}

#[test]
fn the_next_answer_clock_starts_at_the_oldest_unanswered_message() {
    let mut story = Story::of(complaint("a", MONDAY));
    story.answers(answer("b", "2026-01-12T09:10:00Z"));
    story.hears(complaint("c", "2026-01-12T09:30:00Z"));
    story.hears(complaint("d", "2026-01-12T09:50:00Z"));
    assert_eq!(story.case().waiting_since, Some(at("2026-01-12T09:30:00Z")));
    story.answers(answer("e", "2026-01-12T10:00:00Z"));
    let expected = [(ClockState::Fulfilled, 30 * MINUTE)];
    assert_eq!(story.clock(ClockKind::NextAnswer, ClockSide::Customer, "2026-02-01T00:00:00Z"), expected);
}

#[test]
fn the_teams_clock_alone_waits_for_the_customer() {
    let mut story = Story::of(complaint("a", MONDAY));
    story.answers(asks_for_private_message("b", "2026-01-12T09:30:00Z"));
    assert_eq!(story.case().state, CaseState::Waiting);
    story.hears(complaint("c", "2026-01-12T11:30:00Z"));
    assert_eq!(story.case().state, CaseState::Open);
    let wanted =
        [Change::Opened, Change::BrandAnswered, Change::Paused, Change::CustomerSpoke, Change::Resumed];
    assert_eq!(story.changes(), wanted);
    let now = "2026-01-12T11:45:00Z";
    assert_eq!(
        story.clock(ClockKind::Resolution, ClockSide::Team, now),
        [(ClockState::Running, 45 * MINUTE)]
    );
    let whole = [(ClockState::Running, 2 * HOUR + 45 * MINUTE)];
    assert_eq!(story.clock(ClockKind::Resolution, ClockSide::Contract, now), whole);
}

#[test]
fn delay_before_we_heard_it_counts_for_the_customer_and_not_for_the_team() {
    let story = Story::of(Said { seen_at: at("2026-01-12T09:40:00Z"), ..complaint("a", MONDAY) });
    let now = "2026-01-12T09:50:00Z";
    let counted = |side| story.clock(ClockKind::FirstAnswer, side, now)[0].1;
    assert_eq!(counted(ClockSide::Customer), 50 * MINUTE);
    assert_eq!(counted(ClockSide::Contract), 50 * MINUTE);
    assert_eq!(counted(ClockSide::Team), 10 * MINUTE);
}

#[test]
fn thanks_in_public_after_an_answer_win_the_customer_back() {
    let mut story = Story::of(complaint("a", MONDAY));
    let sarcasm = Said { positive: Probability::clamped(0.2), ..thanks("x", "2026-01-12T09:05:00Z") };
    story.hears(sarcasm);
    assert_eq!(story.case().won_back_at, None);
    story.answers(answer("b", "2026-01-12T09:30:00Z"));
    story.hears(thanks("c", "2026-01-12T12:00:00Z"));
    let case = story.case();
    assert_eq!(case.won_back_at, Some(at("2026-01-12T12:00:00Z")));
    assert_eq!((case.state, case.resolution), (CaseState::Resolved, Some(Resolution::WonBack)));
    assert_eq!(story.changes().iter().filter(|c| **c == Change::WonBack).count(), 1);
}

#[test]
fn thanks_for_nothing_yet_or_in_private_win_nobody_back() {
    let mut story = Story::of(complaint("a", MONDAY));
    story.hears(thanks("b", "2026-01-12T09:05:00Z"));
    assert_eq!(story.case().state, CaseState::New);
    story.answers(answer("c", "2026-01-12T09:30:00Z"));
    story.hears(Said { is_public: false, ..thanks("d", "2026-01-12T10:00:00Z") });
    assert_eq!((story.case().won_back_at, story.case().waiting_since), (None, None));
}

#[test]
fn a_complaint_after_resolution_reopens_and_starts_new_clocks() {
    let mut story = Story::of(complaint("a", MONDAY));
    story.answers(answer("b", "2026-01-12T09:30:00Z"));
    story.asks("2026-01-12T10:00:00Z", Command::Resolve { note: "sent".into(), root_cause: "ramp".into() });
    assert_eq!(story.case().state, CaseState::Resolved);
    assert_eq!(story.hears(complaint("c", "2026-01-13T09:00:00Z")), Reason::ComplainedAgain);
    let case = story.case();
    assert_eq!((case.state, case.reopened, case.resolution), (CaseState::Open, 1, None));
    assert_eq!(case.waiting_since, Some(at("2026-01-13T09:00:00Z")));
    let now = "2026-01-13T09:30:00Z";
    let expected = [(ClockState::Fulfilled, HOUR), (ClockState::Running, 30 * MINUTE)];
    assert_eq!(story.clock(ClockKind::Resolution, ClockSide::Customer, now), expected);
    assert_eq!(
        story.clock(ClockKind::NextAnswer, ClockSide::Customer, now),
        [(ClockState::Running, 30 * MINUTE)]
    );
}

#[test]
fn a_late_word_from_before_the_resolution_does_not_reopen() {
    let mut story = Story::of(complaint("a", MONDAY));
    story.asks("2026-01-12T10:00:00Z", Command::Resolve { note: String::new(), root_cause: String::new() });
    let late = Said { seen_at: at("2026-01-12T11:00:00Z"), ..complaint("b", "2026-01-12T09:30:00Z") };
    assert_eq!(story.hears(late), Reason::CustomerSpoke);
    assert_eq!(story.case().state, CaseState::Resolved);
}

#[test]
fn silence_after_an_answer_resolves_at_the_time_of_the_answer() {
    let mut story = Story::of(complaint("a", MONDAY));
    story.policy.close_when_silent_ms = 24 * HOUR;
    story.answers(answer("b", "2026-01-12T09:30:00Z"));
    story.passes(at("2026-01-14T00:00:00Z"));
    let case = story.case();
    assert_eq!(case.resolution, Some(Resolution::Answered));
    assert_eq!(case.resolved_at, Some(at("2026-01-12T09:30:00Z")));
    assert_eq!(story.told.last().unwrap().0, at("2026-01-13T09:30:00Z"));
}

#[test]
fn promises_are_kept_broken_at_their_time_or_renegotiated_before() {
    let promise = |due: &str, replaces| Command::Promise {
        what: "refund of 42 EUR".into(),
        owner: String::new(),
        due_at: at(due),
        replaces,
    };
    let mut story = Story::of(complaint("a", MONDAY));
    story.asks("2026-01-12T09:10:00Z", promise("2026-01-16T16:00:00Z", None));
    let first = story.case().promises[0].id;
    story.asks("2026-01-13T09:00:00Z", promise("2026-01-19T16:00:00Z", Some(first)));
    let second = story.case().promises[1].id;
    assert_eq!(
        story.asks("2026-01-13T10:00:00Z", promise("2026-01-13T10:00:00Z", None)),
        Reason::Refused(Refusal::DueInThePast)
    );
    let twice = story.asks("2026-01-13T10:00:00Z", promise("2026-01-20T00:00:00Z", Some(first)));
    assert_eq!(twice, Reason::Refused(Refusal::PromiseNotOpen));
    story.asks("2026-01-13T11:00:00Z", promise("2026-01-14T16:00:00Z", None));
    let third = story.case().promises[2].id;
    story.asks("2026-01-14T12:00:00Z", Command::Keep { promise: third, evidence: "receipt 7".into() });
    // Asked at the very due time: broken first.
    let late = story.asks("2026-01-19T16:00:00Z", Command::Keep { promise: second, evidence: String::new() });
    assert_eq!(late, Reason::Refused(Refusal::PromiseNotOpen));
    let states: Vec<_> = story.case().promises.iter().map(|p| p.state).collect();
    assert_eq!(states, [PromiseState::Renegotiated, PromiseState::Broken, PromiseState::Kept]);
    assert!(story.told.contains(&(at("2026-01-19T16:00:00Z"), Change::PromiseBroken)));
    assert!(story.told.contains(&(at("2026-01-19T15:00:00Z"), Change::Warned)));
}

#[test]
fn words_taken_back_are_kept_no_more_and_the_last_one_ends_the_matter() {
    let mut story = Story::of(complaint("a", MONDAY));
    story.hears(complaint("b", "2026-01-12T09:10:00Z"));
    story.step(&Input::Withdrawn { mention: mention("a") }, at("2026-01-12T09:20:00Z"));
    assert_eq!(story.case().messages[0].text, "");
    assert_eq!(story.case().state, CaseState::New);
    story.step(&Input::Withdrawn { mention: mention("b") }, at("2026-01-12T09:30:00Z"));
    let case = story.case();
    assert_eq!((case.state, case.resolution), (CaseState::Resolved, Some(Resolution::Withdrawn)));
    assert!(case.messages.iter().all(|m| m.text.is_empty()) && case.handle.is_empty());
    story.passes(at("2026-03-01T00:00:00Z"));
    assert!(!story.changes().contains(&Change::Breached));
    story.step(&Input::Restored { mention: mention("b"), text: "again".into() }, at("2026-03-01T00:00:00Z"));
    assert_eq!(story.case().waiting_since, Some(at("2026-03-01T00:00:00Z")));
}

#[test]
fn a_forgotten_customer_leaves_no_name_and_no_words() {
    let mut story = Story::of(complaint("a", MONDAY));
    story.answers(answer("b", "2026-01-12T09:10:00Z"));
    story.step(&Input::Erased, at("2026-01-12T09:20:00Z"));
    let kept = serde_json::to_string(story.case()).unwrap();
    for trace in ["words of", "dave", "mastodon:a.example:1", "sorry!"] {
        assert!(!kept.contains(trace), "{trace} in {kept}");
    }
    let refused = story.asks("2026-01-12T10:00:00Z", Command::Assign { assignee: "kim".into() });
    assert_eq!(refused, Reason::Refused(Refusal::Forgotten));
}

#[test]
fn a_repeat_changes_nothing_and_an_edit_changes_the_words() {
    let mut story = Story::of(complaint("a", MONDAY));
    assert_eq!(story.hears(complaint("a", MONDAY)), Reason::Repeat);
    let edit =
        Said { is_edit: true, text: "worse".into(), severity: Severity::Blame, ..complaint("a", MONDAY) };
    assert_eq!(story.hears(edit.clone()), Reason::Edited);
    assert_eq!(story.hears(edit), Reason::Repeat);
    assert_eq!((story.case().version, story.case().severity), (2, Severity::Blame));
    assert_eq!(story.case().messages.len(), 1);
}

#[test]
fn a_case_read_back_from_text_is_the_same_case() {
    let mut story = Story::of(complaint("a", MONDAY));
    story.answers(asks_for_private_message("b", "2026-01-12T09:30:00Z"));
    let kept = serde_json::to_string(story.case()).unwrap();
    assert_eq!(&serde_json::from_str::<Case>(&kept).unwrap(), story.case());
}

#[test]
fn a_new_policy_leaves_running_and_paused_clocks_alone() {
    let mut story = Story::of(complaint("a", MONDAY));
    story.answers(asks_for_private_message("b", "2026-01-12T09:30:00Z"));
    let before = story.case().clocks_at(at("2026-01-12T10:00:00Z"), &story.policy);
    let nights = super::calendar("Asia/Tokyo", &[("sat", &["01:00-02:00"])], &[]);
    let mut changed = Policy::standard("p2", nights);
    changed.remember(super::office());
    story.policy = changed;
    assert_eq!(story.case().clocks_at(at("2026-01-12T10:00:00Z"), &story.policy), before);
    story.hears(complaint("c", "2026-01-12T11:30:00Z"));
    // Resumed under the old calendar, while the new clock counts under the new one.
    let now = "2026-01-12T11:45:00Z";
    assert_eq!(
        story.clock(ClockKind::Resolution, ClockSide::Team, now),
        [(ClockState::Running, 45 * MINUTE)]
    );
    assert_eq!(story.clock(ClockKind::NextAnswer, ClockSide::Team, now), [(ClockState::Running, 0)]);
}

#[test]
fn posts_find_the_case_they_belong_to() {
    let story = Story::of(complaint("a", MONDAY));
    let case = story.case();
    let other_topic = |when| Said { topic: None, ..complaint("z", when) };
    let in_thread = |when| Said { thread_root: mention("a"), ..said("z", when) };
    let answering = |when| Said { reply_to: Some(mention("a")), ..said("z", when) };
    let somebody_else = |when| Said { author: model::AuthorKey::parse("x").unwrap(), ..complaint("z", when) };
    for (post, belongs) in [
        (complaint("a", "2026-06-01T00:00:00Z"), true),
        (in_thread("2026-06-01T00:00:00Z"), true),
        (answering("2026-06-01T00:00:00Z"), true),
        (complaint("z", "2026-01-20T00:00:00Z"), true),
        (complaint("z", "2026-03-20T00:00:00Z"), false),
        (other_topic("2026-01-12T09:30:00Z"), true),
        // Still waiting: complains about what he waits for.
        (other_topic("2026-01-12T19:30:00Z"), true),
        (other_topic("2026-03-12T19:30:00Z"), false),
        (said("z", "2026-01-13T09:00:00Z"), false),
        (thanks("z", "2026-01-13T09:00:00Z"), true),
        (somebody_else("2026-01-12T09:01:00Z"), false),
    ] {
        let chosen = choose(&post, [case], &story.policy);
        assert_eq!(chosen == Some(case.id), belongs, "{post:?}");
    }
}

#[test]
fn who_was_answered_and_complains_of_something_else_has_a_new_matter() {
    let mut story = Story::of(complaint("a", MONDAY));
    story.answers(answer("b", "2026-01-12T09:10:00Z"));
    let post = |when| Said { topic: None, ..complaint("z", when) };
    let chosen = |when| choose(&post(when), [story.case()], &story.policy);
    assert_eq!(chosen("2026-01-12T09:30:00Z"), Some(story.case().id), "in the same breath");
    assert_eq!(chosen("2026-01-12T19:30:00Z"), None);
}

#[test]
fn long_cases_keep_within_their_bounds() {
    let mut story = Story::of(complaint("a", MONDAY));
    for i in 0..150_i64 {
        let when = |s: i64| at(MONDAY).plus_millis(s * 1_000).to_string();
        story.hears(complaint(&format!("c{i}"), &when(20 * i + 1)));
        story.answers(answer(&format!("d{i}"), &when(20 * i + 11)));
    }
    let case = story.case();
    assert_eq!(case.messages.len(), crate::MESSAGES_MAX);
    assert!(case.turns.len() <= crate::TURNS_MAX && case.clocks.len() <= 3 * crate::TURNS_MAX);
    assert_eq!(case.waiting_since, None);
    // The first answer is not forgotten, and clocks that came and went told no breach.
    assert_eq!(case.answered_at, Some(at(MONDAY).plus_millis(11_000)));
    assert!(!story.changes().contains(&Change::Breached));
}
