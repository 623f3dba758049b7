//! Whole lives of episodes: what is sent, and what is not.

#![allow(clippy::unwrap_used)]

use model::{BrandId, MentionId, Severity, Subject, Timestamp, Topic};
use paging::{
    Change, Counts, Decision, DeliveredBefore, Effect, Episode, EscalationStep, Evidence, Facts, Forecast,
    Input, Matcher, Mutes, Notice, NoticeKind, NoticeReason, Phase, Policy, Reason, Route, Signal,
    SignalKind, Silence, Target, Wanted, What, decide, dedup_key, inhibitors_of, mutes_for, still_wanted,
};
use proptest::prelude::*;

const MIN: i64 = 60_000;
const HOUR: i64 = 60 * MIN;

fn start() -> Timestamp {
    "2026-01-02T03:00:00Z".parse().unwrap()
}

fn policy() -> Policy {
    Policy { routes: vec![Route { to: vec!["chat".into()], ..Route::default() }], ..Policy::default() }
}

fn subject(rule: &str) -> Subject {
    let brand = BrandId::slugify("acme");
    match rule {
        Policy::SPREADING_THREAD => Subject::Thread { brand, root: MentionId::derive(&["root"]) },
        _ => Subject::Topic { brand, topic: Topic::slugify("refund") },
    }
}

/// One episode's life under test: a clock, a policy, and what was sent.
struct Story {
    rule: &'static str,
    policy: Policy,
    at: Timestamp,
    state: Option<Episode>,
    mutes: Mutes,
    sent: Vec<String>,
    published: Vec<Change>,
    wake_at: Option<Timestamp>,
}

impl Story {
    fn of(rule: &'static str) -> Self {
        Self {
            rule,
            policy: policy(),
            at: start(),
            state: None,
            mutes: Mutes::default(),
            sent: Vec::new(),
            published: Vec::new(),
            wake_at: None,
        }
    }

    fn input(&mut self, what: What) -> Decision {
        let input = Input { what, mutes: self.mutes.clone() };
        let decision = decide(self.state.as_ref(), input, self.at, &self.policy);
        self.wake_at = None;
        for effect in &decision.effects {
            match effect {
                Effect::Notify { kind, reason, to } => {
                    self.sent.push(format!("{} {} to {}", kind.label(), reason.label(), to.join("+")));
                }
                Effect::Publish { sequence, change, .. } => {
                    self.published.push(*change);
                    let of_this: u64 = decision.next.as_ref().unwrap().sequence;
                    assert!(*sequence <= of_this);
                }
                Effect::WakeAt(at) => self.wake_at = Some(*at),
            }
        }
        self.state.clone_from(&decision.next);
        decision
    }

    fn signal(&mut self, kind: SignalKind, posts: u64, severity: Severity) -> Decision {
        let signal = Signal {
            rule: self.rule.into(),
            subject: subject(self.rule),
            topic: Some(Topic::slugify("refund")),
            kind,
            facts: Facts {
                title: "Refunds".into(),
                surprise: 5.0,
                counts: Counts::Total { posts, people: posts },
                severity,
                forecast: None,
                evidence: Vec::new(),
                thread_root: None,
                since: self.at,
            },
            at: self.at,
            why: Reason::Observed {
                code: "rising".into(),
                words: "many".into(),
                numbers: Default::default(),
            },
        };
        self.input(What::Signal(Box::new(signal)))
    }

    fn opened(mut self) -> Self {
        self.signal(SignalKind::Opened, 10, Severity::Disapproval);
        self
    }

    fn pass(&mut self, millis: i64) -> &mut Self {
        self.at = self.at.plus_millis(millis);
        self
    }

    fn tick(&mut self) -> Decision {
        let heard_until = self.at;
        self.input(What::Tick { heard_until })
    }

    fn acknowledge(&mut self, expected_version: u64) -> Decision {
        self.input(What::Acknowledge { owner: "ada".into(), for_ms: None, expected_version })
    }

    fn resolve(&mut self, expected_version: u64) -> Decision {
        self.input(What::Resolve { by: "ada".into(), note: String::new(), expected_version })
    }

    /// What was sent since the last look.
    fn sent(&mut self) -> String {
        std::mem::take(&mut self.sent).join(", ")
    }

    fn episode(&self) -> &Episode {
        self.state.as_ref().unwrap()
    }
}

#[test]
fn first_signal_pages_and_more_of_the_same_is_quiet() {
    let mut story = Story::of(Policy::RISING_SUBJECT).opened();
    assert_eq!(story.sent(), "page first_notification to chat");
    assert_eq!(story.published, [Change::Opened, Change::Paged]);
    for posts in 10..20 {
        story.pass(1_000).signal(SignalKind::Seen, posts, Severity::Disapproval);
    }
    assert_eq!(story.sent(), "");
    story.pass(MIN).signal(SignalKind::Grew, 20, Severity::Disapproval);
    assert_eq!(story.sent(), "update grew to chat");
}

#[test]
fn ten_thousand_severe_complaints_in_a_second_page_once_and_are_all_counted() {
    let mut story = Story::of(Policy::SEVERE_COMPLAINT);
    for n in 1..=10_000 {
        story.signal(SignalKind::Opened, n, Severity::Blame);
    }
    let pages = story.sent.iter().filter(|line| line.starts_with("page")).count();
    assert_eq!(pages, 1);
    assert!(story.sent.len() < 20, "{}", story.sent.len());
    assert_eq!(story.episode().posts, 10_000);
}

#[test]
fn severity_rise_ends_the_acknowledgement_and_pages_again() {
    let mut story = Story::of(Policy::RISING_SUBJECT).opened();
    story.pass(MIN).acknowledge(0);
    assert_eq!(story.sent(), "page first_notification to chat, acknowledged acknowledged to chat");
    story.pass(MIN).signal(SignalKind::Seen, 11, Severity::Disapproval);
    assert_eq!(story.sent(), "");
    story.pass(MIN).signal(SignalKind::Seen, 11, Severity::Blame);
    assert_eq!(story.sent(), "page severity_rose to chat");
    assert_eq!(story.episode().phase, Phase::Firing);
}

#[test]
fn untaken_page_is_repeated_once_per_interval_and_not_between() {
    let mut story = Story::of(Policy::RISING_SUBJECT).opened();
    story.sent();
    for _ in 0..(24 * 60 / 5) {
        story.pass(5 * MIN).tick();
    }
    assert_eq!(story.sent(), ["page repeat_interval_elapsed to chat"; 6].join(", "));
}

#[test]
fn taken_episode_is_not_repeated_until_the_acknowledgement_expires() {
    let mut story = Story::of(Policy::RISING_SUBJECT).opened();
    let ack_for_ms = 6 * HOUR;
    story.policy.ack_for_ms = ack_for_ms;
    story.acknowledge(0);
    story.sent();
    assert_eq!(story.wake_at, Some(story.at.plus_millis(ack_for_ms)));
    story.pass(5 * HOUR).tick();
    assert_eq!(story.sent(), "");
    story.pass(HOUR).tick();
    assert_eq!(story.sent(), "page ack_expired to chat");
    assert!(story.published.contains(&Change::AckExpired));
    story.pass(MIN).tick();
    assert_eq!(story.sent(), "");
}

#[test]
fn long_outage_gives_one_escalation_not_one_per_step() {
    let mut story = Story::of(Policy::RISING_SUBJECT);
    let step = |minutes: i64, to: &str| EscalationStep { after_ms: minutes * MIN, to: vec![to.into()] };
    story.policy.escalation = vec![step(5, "second"), step(15, "boss")];
    let mut story = story.opened();
    story.sent();
    assert_eq!(story.wake_at, Some(story.at.plus_millis(5 * MIN)));
    story.pass(2 * HOUR).tick();
    assert_eq!(story.sent(), "page escalated to boss+second");
    story.pass(MIN).tick();
    assert_eq!(story.sent(), "");
    story.pass(MIN).resolve(0);
    assert_eq!(story.sent(), "resolve resolved to boss+chat+second");
}

#[test]
fn escalation_stops_when_somebody_takes_it() {
    let mut story = Story::of(Policy::RISING_SUBJECT);
    story.policy.escalation = vec![EscalationStep { after_ms: 5 * MIN, to: vec!["boss".into()] }];
    let mut story = story.opened();
    story.pass(MIN).acknowledge(0);
    story.sent();
    story.pass(30 * MIN).tick();
    assert_eq!(story.sent(), "");
}

#[test]
fn silence_holds_back_the_page_and_its_end_releases_it() {
    let mut story = Story::of(Policy::RISING_SUBJECT);
    story.mutes = Mutes {
        silenced_by: vec!["s1".into()],
        silent_until: Some(story.at.plus_millis(HOUR)),
        ..Mutes::default()
    };
    let mut story = story.opened();
    assert_eq!(story.sent(), "");
    assert_eq!(story.published, [Change::Opened, Change::Silenced]);
    assert_eq!(story.wake_at, Some(story.at.plus_millis(HOUR)));
    story.mutes = Mutes::default();
    story.pass(HOUR).tick();
    assert_eq!(story.sent(), "page first_notification to chat");
}

#[test]
fn silence_after_the_page_never_holds_back_the_resolve() {
    let mut story = Story::of(Policy::RISING_SUBJECT).opened();
    story.sent();
    story.mutes.silenced_by = vec!["s1".into()];
    story.pass(MIN).signal(SignalKind::Seen, 100, Severity::Blame);
    assert_eq!(story.sent(), "");
    story.pass(MIN).signal(SignalKind::Calm, 0, Severity::None);
    assert_eq!(story.sent(), "resolve resolved to chat");
}

#[test]
fn held_back_is_said_once() {
    let mut story = Story::of(Policy::RISING_SUBJECT);
    story.mutes.silenced_by = vec!["s1".into()];
    let mut story = story.opened();
    let mut said = 0;
    for _ in 0..50 {
        said += story.pass(1_000).signal(SignalKind::Seen, 10, Severity::Disapproval).trail.len();
    }
    assert_eq!(said, 0);
}

#[test]
fn acknowledge_and_resolve_meet_in_either_order_and_it_is_resolved() {
    for resolve_first in [true, false] {
        let mut story = Story::of(Policy::RISING_SUBJECT).opened();
        let seen = story.episode().version;
        if resolve_first {
            story.resolve(seen);
            let refused = story.acknowledge(seen);
            assert_eq!(refused.reason, Reason::AlreadyResolved);
        } else {
            story.acknowledge(seen);
            story.resolve(seen);
        }
        assert!(!story.episode().is_open());
    }
}

#[test]
fn older_version_is_refused_with_both_numbers() {
    let mut story = Story::of(Policy::RISING_SUBJECT).opened();
    let seen = story.episode().version;
    story.pass(MIN).signal(SignalKind::Grew, 40, Severity::Blame);
    let current = story.episode().version;
    assert_eq!(story.acknowledge(seen).reason, Reason::VersionMoved { expected: seen, current });
    assert!(story.episode().ack().is_none());
}

#[test]
fn signals_around_the_threshold_for_an_hour_page_once_and_say_flapping_once() {
    let mut story = Story::of(Policy::RISING_SUBJECT);
    for _ in 0..30 {
        story.signal(SignalKind::Opened, 10, Severity::Disapproval);
        story.pass(MIN).signal(SignalKind::Calm, 0, Severity::None);
        story.pass(MIN);
    }
    let pages: Vec<_> = story.sent.iter().filter(|line| line.starts_with("page")).cloned().collect();
    assert_eq!(pages, ["page first_notification to chat", "page flapping to chat"]);
}

#[test]
fn complaint_after_a_person_resolved_is_news_not_flapping() {
    let mut story = Story::of(Policy::SEVERE_COMPLAINT).opened();
    for _ in 0..3 {
        story.pass(MIN).resolve(0);
        story.sent();
        story.pass(MIN).signal(SignalKind::Opened, 1, Severity::Blame);
        assert_eq!(story.sent(), "page first_notification to chat");
    }
}

#[test]
fn what_was_held_back_and_is_back_is_news_not_flapping() {
    let mut story = Story::of(Policy::RISING_SUBJECT);
    story.mutes.silenced_by = vec!["s1".into()];
    let mut story = story.opened();
    story.pass(MIN).signal(SignalKind::Calm, 0, Severity::None);
    story.mutes = Mutes::default();
    story.pass(MIN).signal(SignalKind::Opened, 10, Severity::Disapproval);
    assert_eq!(story.sent(), "page first_notification to chat");
    story.pass(5 * HOUR).tick();
    assert_eq!(story.sent(), "page repeat_interval_elapsed to chat", "it is not quiet about it");
}

/// One more severe complaint after so long; what was sent up to then and for it.
fn one_more(story: &mut Story, after_ms: i64) -> String {
    let wanted = story.at.plus_millis(after_ms);
    // Whatever time alone does on the way is done.
    while let Some(wake) = story.wake_at.filter(|wake| *wake <= wanted) {
        story.at = wake;
        story.tick();
    }
    story.at = wanted;
    let posts = story.state.as_ref().map_or(0, |episode| episode.posts) + 1;
    story.signal(SignalKind::Opened, posts, Severity::Blame);
    story.sent()
}

#[test]
fn severe_complaints_of_one_day_about_the_same_call_once_and_again_when_there_are_clearly_more() {
    let mut story = Story::of(Policy::SEVERE_COMPLAINT);
    assert_eq!(one_more(&mut story, 0), "page first_notification to chat");
    assert_eq!(one_more(&mut story, 3 * HOUR), "resolve resolved to chat", "over, and quietly back");
    let joined = Reason::Joined { called_s: 3 * 3_600, known: 1, next: 5 };
    assert_eq!(story.episode().held_back.as_deref(), Some(joined.code()));
    for after in [10 * MIN, 3 * HOUR, 5 * HOUR] {
        assert_eq!(
            one_more(&mut story, after),
            match story.episode().posts {
                5 => "page grew to chat",
                _ => "",
            }
        );
    }
    assert_eq!(story.episode().posts, 5, "spans count on");
    for _ in 6..10 {
        assert_eq!(one_more(&mut story, 10 * MIN), "");
    }
    assert_eq!(
        one_more(&mut story, 10 * MIN),
        "update grew to chat",
        "who was called is told of the next step"
    );
    assert_eq!(one_more(&mut story, 25 * HOUR), "resolve resolved to chat, page first_notification to chat");
}

#[test]
fn what_a_larger_episode_said_meanwhile_is_no_growth_when_that_ends() {
    let larger = Story::of(Policy::SPREADING_THREAD).opened().episode().id;
    let mut joined = Story::of(Policy::SEVERE_COMPLAINT);
    one_more(&mut joined, 0);
    one_more(&mut joined, 3 * HOUR);
    let mut known = Story::of(Policy::SEVERE_COMPLAINT);
    one_more(&mut known, 0);
    for story in [&mut joined, &mut known] {
        story.mutes.inhibited_by = vec![larger];
        story.signal(SignalKind::Seen, 238, Severity::Blame);
        assert_eq!(story.sent(), "", "the larger one says it");
        story.mutes.inhibited_by.clear();
        story.pass(MIN).tick();
        assert_eq!(story.sent(), "", "the same posts are not told twice");
        story.signal(SignalKind::Seen, 475, Severity::Blame);
        assert_eq!(story.sent(), "");
    }
    joined.signal(SignalKind::Seen, 476, Severity::Blame);
    assert_eq!(joined.sent(), "page grew to chat", "what comes after it is growth");
    known.signal(SignalKind::Seen, 476, Severity::Blame);
    assert_eq!(known.sent(), "update grew to chat");
}

#[test]
fn what_became_worse_meanwhile_is_told_when_the_larger_episode_ends() {
    let mut story = Story::of(Policy::SEVERE_COMPLAINT);
    story.signal(SignalKind::Opened, 1, Severity::Accusation);
    story.sent();
    story.mutes.inhibited_by = vec![Story::of(Policy::SPREADING_THREAD).opened().episode().id];
    story.signal(SignalKind::Seen, 9, Severity::Blame);
    assert_eq!(story.sent(), "");
    story.mutes.inhibited_by.clear();
    story.pass(MIN).tick();
    assert_eq!(story.sent(), "page severity_rose to chat");
}

#[test]
fn opened_again_within_one_microsecond_is_another_episode() {
    let mut story = Story::of(Policy::RISING_SUBJECT).opened();
    let first = story.episode().id;
    story.input(What::Resolve { by: "ada".into(), note: String::new(), expected_version: 0 });
    story.signal(SignalKind::Opened, 10, Severity::Disapproval);
    assert!(story.episode().is_open());
    assert_ne!(story.episode().id, first);
}

#[test]
fn joined_span_says_why_it_calls_nobody_and_calls_when_it_is_worse() {
    let mut story = Story::of(Policy::SEVERE_COMPLAINT);
    story.policy.rules.get_mut(Policy::SEVERE_COMPLAINT).unwrap().page_from = Severity::Accusation;
    story.signal(SignalKind::Opened, 1, Severity::Accusation);
    story.pass(3 * HOUR).tick();
    story.sent();
    let decision = story.signal(SignalKind::Opened, 2, Severity::Accusation);
    let joined = Reason::Joined { called_s: 3 * 3_600, known: 1, next: 5 };
    let steps: Vec<_> = decision.trail.iter().map(|step| (step.action, &step.reason)).collect();
    assert_eq!(steps[1..], [("joined", &joined)]);
    assert_eq!(
        joined.text(),
        "people were called about 1 of it 3 h ago, and this joins that: called again at 5, or when it is worse"
    );
    assert!(story.signal(SignalKind::Opened, 3, Severity::Accusation).trail.is_empty(), "said once");
    story.pass(4 * HOUR);
    assert_eq!(story.wake_at.map(|at| at <= story.at), Some(true), "its quiet time is looked at");
    assert_eq!(story.sent(), "");
    story.signal(SignalKind::Opened, 4, Severity::Blame);
    assert_eq!(story.sent(), "page severity_rose to chat");
}

#[test]
fn severity_rise_below_the_level_that_calls_is_an_update_and_leaves_it_taken() {
    let mut story = Story::of(Policy::RISING_SUBJECT);
    story.signal(SignalKind::Opened, 10, Severity::None);
    story.acknowledge(0);
    story.sent();
    story.pass(MIN).signal(SignalKind::Seen, 10, Severity::NoReproach);
    assert_eq!(story.sent(), "update severity_rose to chat");
    assert!(story.episode().ack().is_some());
    story.pass(MIN).signal(SignalKind::Seen, 10, Severity::Accusation);
    assert_eq!(story.sent(), "page severity_rose to chat");
}

#[test]
fn quiet_resolves_only_when_sources_were_heard_that_far() {
    let mut story = Story::of(Policy::SEVERE_COMPLAINT).opened();
    let quiet = 2 * HOUR;
    let lagging = story.at.plus_millis(HOUR);
    story.sent();
    story.pass(quiet);
    let decision = story.input(What::Tick { heard_until: lagging });
    assert!(matches!(decision.reason, Reason::NoData { .. }), "{:?}", decision.reason);
    assert_eq!(story.sent(), "update no_data to chat");
    assert!(matches!(story.episode().phase, Phase::NoData { .. }));
    story.pass(MIN);
    story.input(What::Tick { heard_until: lagging });
    assert_eq!(story.sent(), "", "said once");
    story.pass(MIN).tick();
    assert!(!story.episode().is_open());
    assert_eq!(story.sent(), "resolve resolved to chat");
}

#[test]
fn signals_older_than_the_limit_open_nothing() {
    let mut story = Story::of(Policy::RISING_SUBJECT);
    let old = story.at.plus_millis(-2 * HOUR);
    let now = std::mem::replace(&mut story.at, old);
    let mut signal = story.signal(SignalKind::Opened, 10, Severity::Blame);
    assert!(signal.next.is_some(), "in its own time it opens");
    story.state = None;
    story.sent();
    let what = What::Signal(Box::new(Signal {
        rule: story.rule.into(),
        subject: subject(story.rule),
        topic: None,
        kind: SignalKind::Opened,
        facts: Facts {
            title: String::new(),
            surprise: 9.0,
            counts: Counts::Total { posts: 9, people: 9 },
            severity: Severity::Blame,
            forecast: None,
            evidence: Vec::new(),
            thread_root: None,
            since: old,
        },
        at: old,
        why: Reason::NothingNew,
    }));
    story.at = now;
    signal = story.input(what);
    assert_eq!(signal.reason, Reason::TooOld { age_s: 7_200 });
    assert!(signal.next.is_none() && signal.effects.is_empty());
}

#[test]
fn nothing_is_sent_where_no_route_leads_and_the_reason_says_so() {
    let mut story = Story::of(Policy::RISING_SUBJECT);
    story.policy.routes.clear();
    let mut story = story.opened();
    assert_eq!(story.sent(), "");
    let decision = story.signal(SignalKind::Seen, 10, Severity::Disapproval);
    assert_eq!(decision.trail, []);
    assert_eq!(story.episode().held_back.as_deref(), Some("no_route"));
}

#[test]
fn growth_of_a_thread_is_measured_by_its_forecast() {
    let mut story = Story::of(Policy::SPREADING_THREAD);
    let grow = |story: &mut Story, expected_final: f64| {
        let forecast = Forecast {
            seen: 10,
            expected_final,
            low: 1.0,
            high: 2.0 * expected_final,
            p_viral: 0.7,
            viral_size: 1_000,
            doubling_s: None,
            expected_next_staffed: 0.0,
            answer_within_s: Some(600.0),
        };
        let facts = Facts {
            title: "Thread".into(),
            surprise: 0.0,
            counts: Counts::Total { posts: 10, people: 9 },
            severity: Severity::None,
            forecast: Some(forecast),
            evidence: Vec::new(),
            thread_root: Some(MentionId::derive(&["root"])),
            since: story.at,
        };
        let signal = Signal {
            rule: story.rule.into(),
            subject: subject(story.rule),
            topic: None,
            kind: SignalKind::Opened,
            facts,
            at: story.at,
            why: Reason::NothingNew,
        };
        story.input(What::Signal(Box::new(signal)));
        story.sent()
    };
    assert_eq!(grow(&mut story, 500.0), "page first_notification to chat");
    assert_eq!(grow(&mut story, 900.0), "");
    assert_eq!(grow(&mut story, 1_000.0), "update grew to chat");
}

#[test]
fn topic_episode_that_people_know_inhibits_its_single_complaints_and_not_itself() {
    let topic = Story::of(Policy::RISING_SUBJECT).opened();
    let mut unknown = topic.episode().clone();
    unknown.told = None;
    let refund = Topic::slugify("refund");
    let other = Topic::slugify("delivery");
    let about = subject(Policy::SPREADING_THREAD);
    let target = |rule, topic| Target { rule, subject: &about, topic };
    let open = [topic.episode().clone()];
    let found = |target: &Target<'_>, open: &[Episode]| inhibitors_of(target, open, &policy()).len();
    assert_eq!(found(&target(Policy::SPREADING_THREAD, Some(&refund)), &open), 1);
    assert_eq!(found(&target(Policy::SEVERE_COMPLAINT, Some(&refund)), &open), 1);
    assert_eq!(found(&target(Policy::SPREADING_THREAD, Some(&other)), &open), 0);
    let thread = Episode { rule: Policy::SPREADING_THREAD.into(), subject: about.clone(), ..open[0].clone() };
    assert_eq!(found(&target(Policy::SEVERE_COMPLAINT, Some(&refund)), &[thread]), 1, "the thread says it");
    assert_eq!(found(&target(Policy::SPREADING_THREAD, None), &open), 0, "unknown topics are not equal");
    assert_eq!(found(&target(Policy::SPREADING_THREAD, Some(&refund)), &[unknown]), 0);
    assert_eq!(found(&Target::of(&open[0]), &open), 0);
}

#[test]
fn silences_hold_by_every_field_that_is_set_and_only_in_their_time() {
    let story = Story::of(Policy::RISING_SUBJECT).opened();
    let episode = story.episode();
    let silence = |matcher: Matcher| Silence {
        id: "s1".into(),
        matcher,
        starts_at: start(),
        ends_at: start().plus_millis(HOUR),
        created_by: "ada".into(),
        comment: String::new(),
        expires_on_resolve: false,
    };
    let acme = Some(BrandId::slugify("acme"));
    let held = |matcher: Matcher, at: Timestamp| {
        !mutes_for(&Target::of(episode), [&silence(matcher)], [], at, &policy()).silenced_by.is_empty()
    };
    let brand = Matcher { brand: acme.clone(), ..Matcher::default() };
    assert!(held(brand.clone(), start()));
    assert!(!held(brand.clone(), start().plus_millis(HOUR)), "the end is exclusive");
    assert!(!held(brand, start().plus_millis(-1)));
    let both = |rule: &str| Matcher { brand: acme.clone(), rule: Some(rule.into()), ..Matcher::default() };
    assert!(held(both(Policy::RISING_SUBJECT), start()));
    assert!(!held(both(Policy::SEVERE_COMPLAINT), start()));
    assert!(Matcher::default().validated().is_err());
}

#[test]
fn queued_notices_are_judged_by_what_is_so_now() {
    let mut story = Story::of(Policy::RISING_SUBJECT).opened();
    let firing = story.episode().clone();
    story.acknowledge(0);
    let acked = story.episode().clone();
    story.resolve(0);
    let over = story.episode().clone();
    let silenced = Episode { silenced_by: vec!["s".into()], ..firing.clone() };
    let notice = |kind| Notice {
        delivery_id: Notice::id(&firing, kind, "chat"),
        destination: "chat".into(),
        kind,
        reason: NoticeReason::FirstNotification,
        at: start(),
        episode: firing.clone(),
    };
    use DeliveredBefore::{Arrived, Nothing, Overtaken};
    for (kind, now, before, wanted) in [
        (NoticeKind::Page, &firing, Nothing, Wanted::Send),
        (NoticeKind::Page, &acked, Nothing, Wanted::Drop("acknowledged")),
        (NoticeKind::Page, &silenced, Nothing, Wanted::Drop("silenced")),
        (NoticeKind::Page, &over, Nothing, Wanted::Drop("resolved")),
        (NoticeKind::Update, &firing, Arrived, Wanted::Send),
        (NoticeKind::Update, &acked, Arrived, Wanted::Send),
        (NoticeKind::Update, &over, Arrived, Wanted::Drop("resolved")),
        (NoticeKind::Acknowledged, &acked, Arrived, Wanted::Send),
        (NoticeKind::Acknowledged, &firing, Arrived, Wanted::Drop("ack_ended")),
        (NoticeKind::Resolve, &over, Arrived, Wanted::Send),
        (NoticeKind::Resolve, &over, Overtaken, Wanted::SendAs(NoticeReason::FiredAndCleared)),
        (NoticeKind::Resolve, &over, Nothing, Wanted::Drop("never_told")),
    ] {
        assert_eq!(still_wanted(&notice(kind), now, before), wanted, "{kind:?} {:?}", now.phase);
    }
}

#[test]
fn dedup_key_is_stable_and_over_rule_and_subject() {
    assert_eq!(dedup_key("r", "s"), dedup_key("r", "s"));
    assert_ne!(dedup_key("r", "s"), dedup_key("rs", ""));
    // sha256("v1\0burst\0topic/acme/refund"), computed with coreutils.
    assert_eq!(
        dedup_key("burst", "topic/acme/refund"),
        "9d4638dc23b3bc43da970f4a182909538d995ab5f814052f657a20016f9f5ecd"
    );
}

#[test]
fn evidence_is_cut_bounded_and_weightiest_first() {
    let mut story = Story::of(Policy::SEVERE_COMPLAINT);
    for n in 0..40u32 {
        let evidence = Evidence {
            mention: MentionId::derive(&[&n.to_string()]),
            excerpt: "ü".repeat(2_000),
            author_handle: String::new(),
            permalink: String::new(),
            at: story.at,
            severity: Severity::from_level(n % 5).unwrap(),
            complaint: 0.9,
            author_key: String::new(),
        };
        let facts = Facts {
            title: "t".into(),
            surprise: 0.0,
            counts: Counts::More { posts: 1, people: 1 },
            severity: Severity::None,
            forecast: None,
            evidence: vec![evidence],
            thread_root: None,
            since: story.at,
        };
        let signal = Signal {
            rule: story.rule.into(),
            subject: subject(story.rule),
            topic: None,
            kind: SignalKind::Opened,
            facts,
            at: story.at,
            why: Reason::NothingNew,
        };
        story.input(What::Signal(Box::new(signal)));
    }
    let kept = &story.episode().evidence;
    assert_eq!(kept.len(), 8);
    assert!(kept.iter().all(|e| e.severity == Severity::Blame && e.excerpt.chars().count() == 280));
    assert_eq!(story.episode().posts, 40);
}

#[derive(Debug, Clone)]
enum Op {
    Signal(usize, u64, u32),
    Ack,
    Resolve,
    Tick(bool),
    Mute(bool),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0usize..6, 0u64..200, 0u32..5).prop_map(|(kind, posts, level)| Op::Signal(kind, posts, level)),
        Just(Op::Ack),
        Just(Op::Resolve),
        any::<bool>().prop_map(Op::Tick),
        any::<bool>().prop_map(Op::Mute),
    ]
}

proptest! {
    /// Whatever happens: versions and sequences only count up and without a gap, a resolve goes only and
    /// exactly to those who were told, nobody is paged while muted or taken, decisions repeat exactly, and
    /// an open episode always has a time to be woken at when time could change it.
    #[test]
    fn any_life_keeps_its_promises(ops in prop::collection::vec((op(), 1i64..3 * HOUR), 1..60)) {
        use SignalKind::{Calm, Flapping, Grew, NoData, Opened, Seen};
        let mut story = Story::of(Policy::SEVERE_COMPLAINT);
        let mut told_now = false;
        for (op, millis) in ops {
            story.pass(millis);
            let before = story.state.clone();
            story.sent.clear();
            story.wake_at = None;
            let heard_until = story.at;
            match op {
                Op::Signal(kind, posts, level) => {
                    let kind = [Opened, Grew, Seen, Flapping, Calm, NoData][kind];
                    story.signal(kind, posts, Severity::from_level(level).unwrap());
                }
                Op::Ack => { story.acknowledge(0); }
                Op::Resolve => { story.resolve(0); }
                Op::Tick(heard) => {
                    let until = if heard { heard_until } else { start() };
                    story.input(What::Tick { heard_until: until });
                }
                Op::Mute(on) => {
                    story.mutes.silenced_by = if on { vec!["s".into()] } else { Vec::new() };
                }
            }
            let Some(after) = story.state.clone() else { continue };
            let same = before.as_ref().is_some_and(|b| b.id == after.id);
            if same {
                let before = before.as_ref().unwrap();
                prop_assert!(after.version >= before.version && after.sequence >= before.sequence);
                if !before.is_open() {
                    prop_assert!(story.sent.is_empty() && after.version == before.version);
                }
            } else {
                told_now = false;
            }
            for line in &story.sent {
                if line.starts_with("page") {
                    prop_assert!(after.silenced_by.is_empty(), "{line}");
                    prop_assert!(after.ack().is_none(), "{line}");
                    told_now = true;
                }
                if line.starts_with("resolve") {
                    prop_assert!(told_now, "{line}");
                    prop_assert!(!after.is_open());
                    told_now = false;
                }
            }
            if !after.is_open() {
                prop_assert!(!told_now, "told and never told of the end");
            } else if let Some(wake) = story.wake_at {
                prop_assert!(wake > story.at);
            }
        }
    }
}
