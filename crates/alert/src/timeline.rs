//! How an episode went, minute by minute of event time, and who drove it. Kept for what is not calm alone, so that a
//! million calm subjects cost nothing. Pure: the same tallies always give the same timeline.
//!
//! It is kept and not worked out again from the tallies: a timeline outlives the log's retention, holds what the
//! detector said at the time whatever the settings are now, and reads nobody else's records.

use contracts::alert::v1 as wire;
use contracts::alert::v1::{
    Branch, Contributor, ContributorKind, TallyEvent, ThreadStep, Timeline, TimelineStep, WhatIf,
};
use detect::{DetectPolicy, Observation};
use model::Timestamp;
use paging::{Forecast, Forgotten};

/// Event seconds of a step while it is young, and about the opening for ever.
const MINUTE_S: i64 = 60;
/// Event seconds kept from before an opening, and how long what is calm again is still followed.
pub(crate) const LOOKBACK_S: i64 = 1_800;
/// Event seconds after an opening that stay in minutes, as those before it do.
const RISE_S: i64 = 1_800;
/// Steps older than this, in event seconds, become longer: ten minutes, later an hour and more.
const YOUNG_S: i64 = 7_200;
const MIDDLE_S: i64 = 86_400;
const MIDDLE_STEP_S: i64 = 600;
const OLD_STEP_S: i64 = 3_600;
/// Most steps of a timeline: the old ones become twice as long as often as needed.
pub(crate) const STEPS_MAX: usize = 400;
/// Most contributors counted, and told, of one kind.
const COUNTED_MAX: usize = 64;
const TOLD_MAX: usize = 10;

/// A subject from this surprise on, and a thread from this probability to spread on, is not calm.
pub(crate) const SURPRISE_FROM: f32 = 1.0;
pub(crate) const SPREADS_FROM: f64 = 0.1;
/// Most subjects and threads of a partition that are followed without being open.
pub(crate) const FOLLOWED_MAX: usize = 1_000;

/// What is kept of one subject or thread while it is not calm, and its stored form.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Diary {
    /// In order of time, without overlap.
    #[prost(message, repeated, tag = "1")]
    steps: Vec<TimelineStep>,
    /// When it opened; 0 while it is not open.
    #[prost(int64, tag = "2")]
    opened_s: i64,
    /// When it was last not calm.
    #[prost(int64, tag = "3")]
    hot_s: i64,
    /// How long the oldest steps are; 0: not yet decided.
    #[prost(int64, tag = "4")]
    old_step_s: i64,
    /// Since `since_s`, or since half an hour before it opened.
    #[prost(message, repeated, tag = "5")]
    recent: Vec<Contributor>,
    /// In the quarter of an hour before that, while it is not open.
    #[prost(message, repeated, tag = "6")]
    before: Vec<Contributor>,
    #[prost(int64, tag = "7")]
    since_s: i64,
}

impl Diary {
    /// Posts came. A late one counts as of the latest time, as it does with the detector.
    pub(crate) fn count(&mut self, at_s: i64, posts: u64, event: &TallyEvent) {
        self.trim(at_s);
        let step = self.step(at_s);
        step.posts = step.posts.saturating_add(posts);
        step.complaints += event.complaints_milli as f32 / 1_000.0;
        self.credit(event);
    }

    /// What the detector of a subject says at this time.
    pub(crate) fn see(&mut self, at_s: i64, seen: &Observation) {
        let reason = &seen.reason;
        if seen.surprise >= SURPRISE_FROM {
            self.hot_s = self.hot_s.max(at_s);
        }
        let step = self.step(at_s);
        if seen.surprise < step.surprise {
            return;
        }
        let branch = match reason.branch {
            detect::Branch::Sudden => Branch::Sudden,
            detect::Branch::Building => Branch::Building,
            detect::Branch::Slow => Branch::Slow,
        };
        *step = TimelineStep {
            at_us: step.at_us,
            length_s: step.length_s,
            posts: step.posts,
            complaints: step.complaints,
            window_complaints: reason.complaints,
            people: reason.people,
            window_s: reason.span_s,
            usual_low: reason.usual_low,
            usual_high: reason.usual_high,
            surprise: seen.surprise,
            open_at: reason.open_at,
            branch: branch.into(),
            coverage: reason.coverage,
            thread: None,
        };
    }

    /// What is forecast of a thread at this time, by how many people so far; `open_at`: the probability that opens.
    pub(crate) fn foresee(&mut self, at_s: i64, forecast: &Forecast, people: f32, open_at: f32) {
        if forecast.p_viral >= SPREADS_FROM {
            self.hot_s = self.hot_s.max(at_s);
        }
        let step = self.step(at_s);
        step.people = people;
        step.open_at = open_at;
        step.coverage = 1.0;
        step.thread = Some(ThreadStep {
            seen: forecast.seen,
            expected_final: forecast.expected_final as f32,
            low: forecast.low as f32,
            high: forecast.high as f32,
            p_viral: forecast.p_viral as f32,
            viral_size: forecast.viral_size,
        });
    }

    /// It is open since then; what is older than half an hour before that is no part of it.
    pub(crate) fn open(&mut self, since_s: i64) {
        if self.opened_s != 0 {
            return;
        }
        self.trim(since_s);
        self.opened_s = since_s;
        for one in std::mem::take(&mut self.before) {
            if !add(&mut self.recent, one.kind(), &one.name, one.posts, one.complaints) {
                take_in(&mut self.recent, one);
            }
        }
    }

    /// It is over: what comes now may be the beginning of another.
    pub(crate) fn close(&mut self, at_s: i64) {
        if self.opened_s == 0 {
            return;
        }
        (self.opened_s, self.old_step_s) = (0, 0);
        self.recent.clear();
        self.since_s = at_s;
        self.trim(at_s);
    }

    /// Nothing is open, and it has been calm for so long that a new rise would have nothing to do with it.
    pub(crate) fn is_over(&self, now_s: i64) -> bool {
        self.opened_s == 0 && now_s - self.hot_s > LOOKBACK_S
    }

    /// What is to be forgotten is named no more. True: something was.
    pub(crate) fn forget(&mut self, forgotten: &Forgotten) -> bool {
        let before = (self.recent.len(), self.before.len());
        self.recent.retain(|one| !names(one, forgotten));
        self.before.retain(|one| !names(one, forgotten));
        before != (self.recent.len(), self.before.len())
    }

    /// For people who ask; `threads`: the live ones of a subject.
    pub(crate) fn timeline(&self, threads: impl IntoIterator<Item = Contributor>) -> Timeline {
        let mut contributors: Vec<Contributor> = self.recent.iter().cloned().chain(threads).collect();
        contributors.sort_by(|a, b| {
            let largest = b.posts.cmp(&a.posts).then(b.complaints.total_cmp(&a.complaints));
            let likeliest = b.p_spread.total_cmp(&a.p_spread);
            a.kind.cmp(&b.kind).then(likeliest).then(largest).then_with(|| a.name.cmp(&b.name))
        });
        let (mut kind, mut told) = (0, 0);
        contributors.retain(|one| {
            told = if one.kind == kind { told + 1 } else { 1 };
            kind = one.kind;
            told <= TOLD_MAX
        });
        let opened_at_us = self.opened_s.saturating_mul(1_000_000);
        Timeline { steps: self.steps.clone(), opened_at_us, contributors }
    }

    /// The step of a time, or of the latest time if that is later.
    fn step(&mut self, at_s: i64) -> &mut TimelineStep {
        let minute_s = at_s.div_euclid(MINUTE_S) * MINUTE_S;
        if self.steps.last().is_none_or(|last| end_s(last) <= minute_s) {
            // Rarely enough to cost nothing, often enough that the young ones are few.
            let is_time = minute_s.rem_euclid(MIDDLE_STEP_S) == 0 || self.steps.len() >= STEPS_MAX;
            let at_us = minute_s.saturating_mul(1_000_000);
            self.steps.push(TimelineStep { at_us, length_s: MINUTE_S as u32, ..TimelineStep::default() });
            if is_time {
                self.join_old(minute_s);
            }
        }
        let last = self.steps.len() - 1;
        &mut self.steps[last]
    }

    /// Makes old steps longer, those about the opening left out, until there are few enough.
    fn join_old(&mut self, now_s: i64) {
        self.old_step_s = self.old_step_s.max(OLD_STEP_S);
        loop {
            let mut joined: Vec<TimelineStep> = Vec::with_capacity(self.steps.len());
            for step in std::mem::take(&mut self.steps) {
                let length_s = self.length_s(&step, now_s);
                let begins_s = start_s(&step).div_euclid(length_s) * length_s;
                match joined.last_mut() {
                    Some(last) if length_s > MINUTE_S && self.joins(last, begins_s, now_s) => {
                        last.join(&step);
                    }
                    _ => joined.push(step),
                }
            }
            self.steps = joined;
            // Twice as long again and again ends: all that is old becomes one.
            if self.steps.len() <= STEPS_MAX || self.old_step_s > i64::MAX / 4 {
                return;
            }
            self.old_step_s *= 2;
        }
    }

    /// May what begins in the stretch from `begins_s` on be joined to the step before it?
    fn joins(&self, last: &TimelineStep, begins_s: i64, now_s: i64) -> bool {
        start_s(last) >= begins_s && self.length_s(last, now_s) > MINUTE_S
    }

    /// How long a step of that time is to be.
    fn length_s(&self, step: &TimelineStep, now_s: i64) -> i64 {
        let (start_s, age_s) = (start_s(step), now_s - start_s(step));
        let rise_s = self.opened_s - LOOKBACK_S..self.opened_s + RISE_S;
        let is_of_rise = self.opened_s != 0 && rise_s.contains(&start_s);
        if is_of_rise || age_s <= YOUNG_S {
            MINUTE_S
        } else if age_s <= MIDDLE_S {
            MIDDLE_STEP_S
        } else {
            self.old_step_s
        }
    }

    /// While it is not open, only the last minutes are of interest.
    fn trim(&mut self, now_s: i64) {
        if self.opened_s != 0 {
            return;
        }
        self.steps.retain(|step| end_s(step) > now_s - LOOKBACK_S);
        let passed_s = now_s - self.since_s;
        if passed_s >= LOOKBACK_S / 2 {
            let recent = std::mem::take(&mut self.recent);
            self.before = if passed_s < LOOKBACK_S { recent } else { Vec::new() };
            self.since_s = now_s;
        }
    }

    /// Who and what a tally came from, as far as it says.
    fn credit(&mut self, event: &TallyEvent) {
        if let Some(top) = event.top.as_ref().filter(|top| !top.author_key.is_empty()) {
            let complaints = if top.complaint > 0.0 { top.complaint.min(1.0) } else { 0.0 };
            let known = add(&mut self.recent, ContributorKind::Author, &top.author_key, 1, complaints);
            if !known {
                let author = Contributor {
                    handle: top.author_handle.clone(),
                    complaints,
                    mention_id: top.mention_id.clone(),
                    ..contributor(ContributorKind::Author, &top.author_key, 1)
                };
                take_in(&mut self.recent, author);
            }
        }
        let topic = Some((&event.topic, &event.posts)).filter(|(topic, _)| !topic.is_empty());
        let sources = event.connectors.iter().map(|of| (ContributorKind::Source, of));
        for (kind, (name, posts)) in sources.chain(topic.map(|of| (ContributorKind::Topic, of))) {
            let posts = u64::from(*posts);
            if !add(&mut self.recent, kind, name, posts, 0.0) {
                take_in(&mut self.recent, contributor(kind, name, posts));
            }
        }
    }
}

fn contributor(kind: ContributorKind, name: &str, posts: u64) -> Contributor {
    Contributor { kind: kind.into(), name: name.to_owned(), posts, ..Contributor::default() }
}

/// Adds to a contributor that is counted. False: it is not.
fn add(counted: &mut [Contributor], kind: ContributorKind, name: &str, posts: u64, complaints: f32) -> bool {
    let kind = i32::from(kind);
    let Some(known) = counted.iter_mut().find(|known| known.kind == kind && known.name == name) else {
        return false;
    };
    known.posts = known.posts.saturating_add(posts);
    known.complaints += complaints;
    true
}

/// Counts another contributor. Where there is no room, all of its kind lose a post instead, and who has none left
/// goes: who has many is never lost, and no count is too large (Misra and Gries 1982).
fn take_in(counted: &mut Vec<Contributor>, one: Contributor) {
    if counted.iter().filter(|known| known.kind == one.kind).count() < COUNTED_MAX {
        counted.push(one);
        return;
    }
    counted.retain_mut(|known| {
        if known.kind != one.kind {
            return true;
        }
        let left = known.posts.saturating_sub(1);
        known.complaints *= left as f32 / known.posts.max(1) as f32;
        known.posts = left;
        left > 0
    });
}

fn start_s(step: &TimelineStep) -> i64 {
    step.at_us.div_euclid(1_000_000)
}

fn end_s(step: &TimelineStep) -> i64 {
    step.end_us().div_euclid(1_000_000)
}

/// What is to go of those who contributed.
pub(crate) fn names(one: &Contributor, forgotten: &Forgotten) -> bool {
    one.kind() == ContributorKind::Author
        && match forgotten {
            Forgotten::Mention(id) => one.mention_id.as_ref() == id.as_bytes(),
            Forgotten::Author(key) => !key.is_empty() && one.name == *key,
        }
}

/// When another threshold would have opened, as far as the timeline tells: to the minute, by the numbers of each
/// step's most surprising moment, and with what `policy` wants besides.
pub(crate) fn what_if(timeline: &wire::Timeline, threshold: f64, policy: &DetectPolicy) -> WhatIf {
    let opens = |step: &&TimelineStep| {
        let is_enough = step.window_complaints >= policy.min_count
            && step.people >= policy.min_people
            && step.coverage >= policy.min_coverage;
        f64::from(step.level()) >= threshold && (step.thread.is_some() || is_enough)
    };
    let found = timeline.steps.iter().find(opens);
    let is_first = found.is_some() && found == timeline.steps.first();
    let text = match found {
        None => {
            let most = timeline.steps.iter().map(TimelineStep::level).fold(0.0, f32::max);
            let few = if f64::from(most) >= threshold { ", from too few complaints or people" } else { "" };
            format!("at {threshold} it would not have opened: it reached {most:.2} at most{few}")
        }
        Some(step) => {
            let at = Timestamp::from_seconds(start_s(step));
            let later_min =
                (start_s(step) - timeline.opened_at_us.div_euclid(60_000_000) * 60).div_euclid(60);
            let when = match later_min {
                _ if timeline.opened_at_us == 0 => String::new(),
                _ if is_first => " or before, where nothing is kept".to_owned(),
                0 => ", when it did".to_owned(),
                n if n < 0 => format!(", {} min sooner than it did", -n),
                n => format!(", {n} min later than it did"),
            };
            format!("at {threshold} it would have opened at {at}{when}")
        }
    };
    WhatIf { threshold, opens_at_us: found.map(|step| step.at_us), text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::alert::v1::Evidence;
    use proptest::prelude::*;

    fn tally(author: &str) -> TallyEvent {
        let top = Evidence {
            author_key: author.into(),
            mention_id: contracts::id(&[author.len() as u8; 16]),
            complaint: 0.5,
            ..Evidence::default()
        };
        TallyEvent {
            posts: 1,
            complaints_milli: 500,
            top: Some(top),
            connectors: [("stream".to_owned(), 1)].into(),
            topic: "refund".into(),
            ..TallyEvent::default()
        }
    }

    fn posts(diary: &Diary) -> u64 {
        diary.steps.iter().map(|step| step.posts).sum()
    }

    fn is_in_order(diary: &Diary) -> bool {
        diary.steps.windows(2).all(|two| end_s(&two[0]) <= start_s(&two[1]))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn however_long_it_lasts_it_stays_in_bounds_and_loses_no_post(
            start_s in 1i64..2_000_000_000,
            gaps in prop::collection::vec(prop_oneof![20 => 0i64..90, 2 => 60i64..4_000, 1 => -500i64..200_000], 1..4),
            count in 100usize..6_000,
        ) {
            let (mut diary, mut now_s) = (Diary::default(), start_s);
            diary.open(start_s);
            let tally = tally("bob");
            for n in 0..count {
                now_s += gaps[n % gaps.len()];
                diary.count(now_s, 1, &tally);
                prop_assert!(diary.steps.len() <= STEPS_MAX);
            }
            prop_assert!(is_in_order(&diary));
            prop_assert_eq!(posts(&diary), count as u64);
            let rise = diary.steps.iter().filter(|step| start_s - 60 <= self::start_s(step));
            prop_assert!(rise.filter(|step| self::start_s(step) < start_s + RISE_S).all(|step| step.length_s == 60));
            prop_assert_eq!(diary.recent[0].posts, count as u64);
        }
    }

    #[test]
    fn a_month_is_told_in_minutes_where_it_opened_and_lately_and_in_long_steps_between() {
        let mut diary = Diary::default();
        diary.open(60);
        let tally = tally("bob");
        for minute in 0..30 * 24 * 60 {
            diary.count(60 + minute * 60, 1, &tally);
        }
        assert_eq!((posts(&diary), is_in_order(&diary)), (30 * 24 * 60, true));
        assert!((200..=STEPS_MAX).contains(&diary.steps.len()), "{}", diary.steps.len());
        let length_s = |n: usize| diary.steps[n].length_s;
        let last = diary.steps.len() - 1;
        assert_eq!([length_s(0), length_s(29), length_s(last)], [60, 60, 60]);
        assert!(diary.steps.iter().any(|step| step.length_s == 600));
        assert!(diary.steps.iter().all(|step| step.length_s <= 8 * 3_600));
    }

    #[test]
    fn contributors_are_bounded_and_who_writes_most_is_never_lost() {
        let mut diary = Diary::default();
        diary.open(1);
        for n in 1..5_001 {
            diary.count(n, 1, &tally(&format!("one-time-{n}")));
            if n % 4 == 0 {
                diary.count(n, 1, &tally("loud"));
            }
        }
        assert!(diary.recent.len() <= COUNTED_MAX + 2, "{}", diary.recent.len());
        let timeline = diary.timeline([]);
        assert!(timeline.contributors.len() <= TOLD_MAX + 2);
        let first = &timeline.contributors[0];
        assert!(first.name == "loud" && (1_000..=1_250).contains(&first.posts), "{first:?}");
    }

    #[test]
    fn before_it_opens_half_an_hour_is_kept_of_counts_and_people() {
        let mut diary = Diary::default();
        for minute in 0..120 {
            diary.count(minute * 60, 1, &tally(if minute < 60 { "early" } else { "late" }));
        }
        assert!(diary.steps.len() <= 31, "{}", diary.steps.len());
        diary.open(120 * 60);
        let contributors = diary.timeline([]).contributors;
        assert!(
            contributors.iter().any(|one| one.name == "late" && (15..=31).contains(&one.posts)),
            "{contributors:?}"
        );
        assert!(contributors.iter().all(|one| one.name != "early"));
        diary.close(130 * 60);
        assert!(diary.timeline([]).contributors.is_empty() && diary.is_over(200 * 60));
    }

    #[test]
    fn a_mention_taken_back_takes_the_name_it_stands_for_along() {
        let mut diary = Diary::default();
        diary.count(0, 1, &tally("bob"));
        diary.count(0, 1, &tally("alice"));
        let gone = Forgotten::Mention(model::MentionId::from_slice(&[3; 16]).unwrap());
        assert!(diary.forget(&gone) && !diary.forget(&gone));
        assert!(diary.forget(&Forgotten::Author("alice".into())));
        assert!(diary.timeline([]).contributors.iter().all(|one| one.kind() != ContributorKind::Author));
        assert!(!diary.forget(&Forgotten::Author(String::new())));
    }

    #[test]
    fn another_threshold_is_told_in_one_sentence() {
        let step = |minute: i64, surprise: f32| TimelineStep {
            at_us: minute * 60_000_000,
            length_s: 60,
            window_complaints: 10.0,
            people: 9.0,
            surprise,
            coverage: 1.0,
            ..TimelineStep::default()
        };
        let steps = vec![step(10, 1.2), step(11, 2.5), step(12, 4.0), step(13, 6.0)];
        let timeline = Timeline { steps, opened_at_us: 12 * 60_000_000 + 7, contributors: Vec::new() };
        let told = |threshold| what_if(&timeline, threshold, &DetectPolicy::default());
        for (threshold, minute, words) in [
            (
                0.5,
                Some(10),
                "at 0.5 it would have opened at 1970-01-01T00:10:00Z or before, where nothing is kept",
            ),
            (2.0, Some(11), "at 2 it would have opened at 1970-01-01T00:11:00Z, 1 min sooner than it did"),
            (3.46, Some(12), "at 3.46 it would have opened at 1970-01-01T00:12:00Z, when it did"),
            (5.0, Some(13), "at 5 it would have opened at 1970-01-01T00:13:00Z, 1 min later than it did"),
            (7.0, None, "at 7 it would not have opened: it reached 6.00 at most"),
        ] {
            let found = told(threshold);
            assert_eq!((found.opens_at_us.map(|us| us / 60_000_000), found.text.as_str()), (minute, words));
        }
        let strict = DetectPolicy { min_people: 10.0, ..DetectPolicy::default() };
        let few = what_if(&timeline, 2.0, &strict).text;
        assert!(few.ends_with("from too few complaints or people"), "{few}");
        let thread = ThreadStep { p_viral: 0.4, ..ThreadStep::default() };
        let steps = vec![step(10, 0.0), TimelineStep { thread: Some(thread), ..step(11, 0.0) }];
        let timeline = Timeline { steps, ..timeline.clone() };
        assert!(what_if(&timeline, 0.3, &strict).text.ends_with("1 min sooner than it did"));
    }
}
