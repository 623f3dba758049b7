use std::collections::BTreeSet;

use model::{EpisodeId, Millis, Subject, Timestamp, Topic};

use crate::episode::{Ack, Change, Episode, Facts, Forgotten, Phase, Told};
use crate::{Labels, Mutes, NoticeKind, NoticeReason, Policy, Reason, RulePolicy, Urgency};

/// How soon an open question (sources behind, a larger episode that says it already) is looked at again.
const LOOK_AGAIN_MS: Millis = 60_000;

/// What a detector says about a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalKind {
    /// It began.
    Opened,
    /// It is clearly bigger.
    Grew,
    /// It goes on: fresh numbers.
    Seen,
    /// It keeps coming back.
    Flapping,
    /// It is over.
    Calm,
    /// Too few sources report.
    NoData,
}

/// A detector's word about one rule and one subject.
#[derive(Debug, Clone, PartialEq)]
pub struct Signal {
    /// The rule's name.
    pub rule: String,
    /// What is rising.
    pub subject: Subject,
    /// What it is about, also where the subject is a thread.
    pub topic: Option<Topic>,
    /// What happens.
    pub kind: SignalKind,
    /// The numbers.
    pub facts: Facts,
    /// Event time.
    pub at: Timestamp,
    /// Why the detector says so.
    pub why: Reason,
}

/// What happens to an episode.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A detector speaks.
    Signal(Box<Signal>),
    /// The time it asked to be woken at, or something that holds it back changed.
    Tick {
        /// Everything witnessed before this has been heard.
        heard_until: Timestamp,
    },
    /// A person takes it.
    Acknowledge {
        /// The person.
        owner: String,
        /// For how long; `None`: the policy's time.
        for_ms: Option<Millis>,
        /// The version the person saw; 0: whatever is current.
        expected_version: u64,
    },
    /// A person ends it.
    Resolve {
        /// The person.
        by: String,
        /// What they say about it.
        note: String,
        /// The version the person saw; 0: whatever is current.
        expected_version: u64,
    },
    /// It becomes part of another.
    Merge {
        /// Which.
        into: EpisodeId,
        /// Who says so; empty for the system.
        by: String,
    },
    /// Something it shows is to be forgotten.
    Forget(Forgotten),
    /// A notice arrived, or never will.
    Delivery {
        /// Where.
        destination: String,
        /// It arrived.
        arrived: bool,
        /// Why not; empty when it did.
        why: String,
    },
}

/// What happens, and what holds the episode's pages back at this time.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// What happens.
    pub what: What,
    /// See [`crate::mutes_for`].
    pub mutes: Mutes,
}

/// What is owed to the world outside.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Tell these destinations.
    Notify {
        /// What it asks of them.
        kind: NoticeKind,
        /// Why.
        reason: NoticeReason,
        /// Who, each once, in order.
        to: Vec<String>,
    },
    /// Everybody may know of this change.
    Publish {
        /// Its number within the episode, from 1 without a gap.
        sequence: u64,
        /// What changed.
        change: Change,
        /// Who did it; empty for the system.
        by: String,
        /// Why.
        reason: Reason,
    },
    /// Ask again then.
    WakeAt(Timestamp),
}

/// One step of the reasoning, kept so that people can ask why.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// Stable word: `opened`, `grew`, `paged`, `held_back`, `resolved`, ...
    pub action: &'static str,
    /// Why.
    pub reason: Reason,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The episode from now on; `None`: there is none.
    pub next: Option<Episode>,
    /// What is owed to the world outside, in order.
    pub effects: Vec<Effect>,
    /// The steps of the reasoning.
    pub trail: Vec<Action>,
    /// The main reason.
    pub reason: Reason,
}

/// Moves the episode of one (rule, subject) on. `state` is its newest episode, open or resolved.
pub fn decide(state: Option<&Episode>, input: Input, now: Timestamp, policy: &Policy) -> Decision {
    let Input { what, mutes } = input;
    if let What::Signal(signal) = what {
        return on_signal(state, &signal, mutes, now, policy);
    }
    let Some(episode) = state else { return nothing(None, Reason::NothingOpen) };
    if let What::Delivery { destination, arrived, why } = what {
        return Draft::of(episode, mutes, now, policy).delivery(destination, arrived, why);
    }
    if let What::Forget(forgotten) = what {
        return Draft::of(episode, mutes, now, policy).forget(&forgotten);
    }
    if !episode.is_open() {
        return nothing(Some(episode), Reason::AlreadyResolved);
    }
    let draft = Draft::of(episode, mutes, now, policy);
    match what {
        What::Tick { heard_until } => draft.tick(heard_until),
        What::Acknowledge { owner, for_ms, expected_version } => {
            draft.acknowledge(owner, for_ms, expected_version)
        }
        What::Resolve { by, note, expected_version } => draft.resolve_by(by, note, expected_version),
        What::Merge { into, by } => {
            let reason = Reason::MergedInto { episode: into.to_string() };
            draft.end(Change::Merged, by, reason).finish()
        }
        What::Signal(_) | What::Delivery { .. } | What::Forget(_) => {
            nothing(Some(episode), Reason::NothingNew)
        }
    }
}

fn nothing(state: Option<&Episode>, reason: Reason) -> Decision {
    Decision { next: state.cloned(), effects: Vec::new(), trail: Vec::new(), reason }
}

fn on_signal(
    state: Option<&Episode>,
    signal: &Signal,
    mutes: Mutes,
    now: Timestamp,
    policy: &Policy,
) -> Decision {
    let Some(rule) = policy.rules.get(&signal.rule) else { return nothing(state, Reason::UnknownRule) };
    let Some(open) = state.filter(|episode| episode.is_open()) else {
        return open_episode(state, signal, rule, mutes, now, policy);
    };
    let mut draft = Draft::of(open, mutes, now, policy);
    match signal.kind {
        SignalKind::Calm => {
            let reason = Reason::Calm { words: signal.why.text() };
            draft.end(Change::Resolved, String::new(), reason).finish()
        }
        SignalKind::NoData => {
            draft.lose_sight(signal.why.clone());
            draft.finish()
        }
        SignalKind::Opened | SignalKind::Grew | SignalKind::Seen | SignalKind::Flapping => {
            draft.episode.learn(&signal.facts, signal.at);
            draft.episode.is_flapping |= signal.kind == SignalKind::Flapping;
            draft.regain_sight();
            draft.raise_urgency(rule);
            draft.look(Some(&signal.why));
            draft.finish()
        }
    }
}

fn open_episode(
    last: Option<&Episode>,
    signal: &Signal,
    rule: &RulePolicy,
    mutes: Mutes,
    now: Timestamp,
    policy: &Policy,
) -> Decision {
    let begins = match signal.kind {
        SignalKind::Opened | SignalKind::Grew | SignalKind::Flapping => true,
        // It goes on, and nobody was ever told of it: its beginning was heard too late. After a person has
        // ended it, it goes on without them.
        SignalKind::Seen => last.is_none_or(|last| last.resolved_at() < Some(signal.facts.since)),
        SignalKind::Calm | SignalKind::NoData => false,
    };
    if !begins {
        return nothing(last, Reason::NothingOpen);
    }
    let age_ms = now.millis_since(signal.at);
    if age_ms > policy.age_max_ms {
        return nothing(last, Reason::TooOld { age_s: age_ms / 1000 });
    }
    // Only what ended by itself can flap: after a person ended it, more of it is news. So is what was held back.
    let flaps_on = last.filter(|last| match &last.phase {
        Phase::Resolved { at, by } => {
            let is_known = last.told.is_some() || last.flapping_told;
            is_known && by.is_empty() && now.millis_since(*at) <= policy.flap_within_ms
        }
        _ => false,
    });
    let reopenings = flaps_on.map_or(0, |last| last.reopenings.saturating_add(1));
    let joins_on = last.and_then(|last| Some((last, joined(last, rule, now)?)));
    let mut episode = Episode {
        id: new_id(signal, last, now),
        version: 0,
        sequence: 0,
        rule: signal.rule.clone(),
        subject: signal.subject.clone(),
        topic: signal.topic.clone(),
        trigger: rule.trigger,
        phase: Phase::Firing,
        urgency: rule.urgency,
        title: String::new(),
        opened_at: now,
        changed_at: now,
        since: joins_on.map_or(signal.facts.since, |(last, _)| last.since),
        heard_at: signal.at,
        surprise: 0.0,
        surprise_max: 0.0,
        posts: joins_on.map_or(0, |(last, _)| last.posts),
        people: joins_on.map_or(0, |(last, _)| last.people),
        severity: signal.facts.severity,
        forecast: None,
        evidence: joins_on.map_or_else(Vec::new, |(last, _)| last.evidence.clone()),
        thread_root: None,
        told: None,
        joins: joins_on.map(|(_, known)| known.clone()),
        silenced_by: Vec::new(),
        inhibited_by: Vec::new(),
        reopenings,
        last_ended_at: last.and_then(Episode::resolved_at),
        is_flapping: signal.kind == SignalKind::Flapping
            || (reopenings > 0 && reopenings >= policy.flap_reopenings),
        flapping_told: flaps_on.is_some_and(|last| last.flapping_told),
        held_back: None,
        reason: signal.why.clone(),
        delivered: Default::default(),
    };
    episode.learn(&signal.facts, signal.at);
    let mut draft = Draft::of(&episode, mutes, now, policy);
    draft.publish("opened", Change::Opened, String::new(), signal.why.clone());
    draft.raise_urgency(rule);
    draft.look(None);
    draft.finish()
}

/// A span's id comes from its rule, subject and opening; one that opens within the microsecond of the last is told
/// apart by that one's id, so that it is never taken for it.
fn new_id(signal: &Signal, last: Option<&Episode>, now: Timestamp) -> EpisodeId {
    let (subject, opened) = (signal.subject.key(), now.as_micros().to_string());
    match last.filter(|last| last.opened_at == now) {
        Some(last) => EpisodeId::derive(&[&signal.rule, &subject, &opened, &last.id.to_string()]),
        None => EpisodeId::derive(&[&signal.rule, &subject, &opened]),
    }
}

/// What people know of the matter that `last` was a span of, when what comes now is more of it. After a person
/// has ended it, more of it is news.
fn joined<'a>(last: &'a Episode, rule: &RulePolicy, now: Timestamp) -> Option<&'a Told> {
    let Phase::Resolved { by, .. } = &last.phase else { return None };
    let known = last.told.as_ref().or(last.joins.as_ref())?;
    (by.is_empty() && now.millis_since(known.paged_at) < rule.joins_for_ms).then_some(known)
}

/// An episode being moved on, with what that owes.
struct Draft<'a> {
    episode: Episode,
    effects: Vec<Effect>,
    trail: Vec<Action>,
    mutes: Mutes,
    now: Timestamp,
    policy: &'a Policy,
}

impl<'a> Draft<'a> {
    fn of(episode: &Episode, mutes: Mutes, now: Timestamp, policy: &'a Policy) -> Self {
        Self { episode: episode.clone(), effects: Vec::new(), trail: Vec::new(), mutes, now, policy }
    }

    fn rule(&self) -> Option<&'a RulePolicy> {
        self.policy.rules.get(&self.episode.rule)
    }

    /// A change that everybody may know of and that people's versions count.
    fn publish(&mut self, action: &'static str, change: Change, by: String, reason: Reason) {
        self.episode.version += 1;
        self.episode.changed_at = self.now;
        self.announce(action, change, by, reason);
    }

    fn announce(&mut self, action: &'static str, change: Change, by: String, reason: Reason) {
        self.episode.sequence += 1;
        let sequence = self.episode.sequence;
        self.effects.push(Effect::Publish { sequence, change, by, reason: reason.clone() });
        self.explain(action, reason);
    }

    fn explain(&mut self, action: &'static str, reason: Reason) {
        self.trail.push(Action { action, reason });
    }

    fn raise_urgency(&mut self, rule: &RulePolicy) {
        if self.episode.severity >= rule.page_from {
            self.episode.urgency = Urgency::Page;
        }
    }

    /// Is there something that people do not know and should? `why` is the signal that brought it up.
    fn look(&mut self, why: Option<&Reason>) {
        self.take_mutes();
        self.count_as_known();
        let Some((kind, notice, reason)) = self.news() else {
            self.say_joined();
            return;
        };
        if self.held_back(notice).is_none() {
            if (kind, notice) == (NoticeKind::Page, NoticeReason::SeverityRose) {
                self.episode.phase = Phase::Firing;
            }
            if matches!(notice, NoticeReason::Grew | NoticeReason::SeverityRose) {
                let why = why.unwrap_or(&reason).clone();
                self.publish("grew", Change::Grew, String::new(), why);
            }
        }
        self.tell(kind, notice, reason);
    }

    /// What people do not know yet.
    fn news(&self) -> Option<(NoticeKind, NoticeReason, Reason)> {
        let episode = &self.episode;
        if matches!(episode.phase, Phase::NoData { .. }) {
            return None;
        }
        let Some(told) = &episode.told else {
            // Somebody took it before anybody was called: they know.
            if episode.ack().is_some() {
                return None;
            }
            if let Some(known) = &episode.joins {
                return self.step(known, NoticeKind::Page).filter(|(kind, ..)| *kind == NoticeKind::Page);
            }
            return Some(match episode.is_flapping {
                true => (NoticeKind::Page, NoticeReason::Flapping, self.flapping()),
                false => (NoticeKind::Page, NoticeReason::FirstNotification, self.first_notice()),
            });
        };
        self.step(told, NoticeKind::Update)
    }

    /// Is it worse, or a step bigger, than people know? Growth is told as `growth`.
    fn step(&self, known: &Told, growth: NoticeKind) -> Option<(NoticeKind, NoticeReason, Reason)> {
        let (severity, size) = (self.episode.severity, self.episode.size());
        if severity > known.severity {
            let kind = match severity >= self.policy.worse_from {
                true => NoticeKind::Page,
                false => NoticeKind::Update,
            };
            let reason = Reason::SeverityRose { from: known.severity.level(), to: severity.level() };
            return Some((kind, NoticeReason::SeverityRose, reason));
        }
        let reason = Reason::Grew { from: known.size, to: size };
        (size >= self.next_step(known)).then_some((growth, NoticeReason::Grew, reason))
    }

    /// The size at which people hear that it grew.
    fn next_step(&self, known: &Told) -> u64 {
        let times = known.size.max(1) as f64 * self.policy.growth.max(1.1);
        let step_min = self.rule().map_or(1, |rule| rule.step_min.max(1));
        (times.ceil() as u64).max(known.size.saturating_add(step_min))
    }

    /// Says once that it calls nobody because it joins what people know.
    fn say_joined(&mut self) {
        let (None, Some(known)) = (&self.episode.told, &self.episode.joins) else { return };
        let reason = Reason::Joined {
            called_s: self.now.millis_since(known.paged_at).max(0) / 1000,
            known: known.size,
            next: self.next_step(known),
        };
        if self.episode.held_back.as_deref() != Some(reason.code()) {
            self.episode.held_back = Some(reason.code().to_owned());
            self.explain("joined", reason);
        }
    }

    fn first_notice(&self) -> Reason {
        match self.episode.last_ended_at {
            Some(at) => Reason::BackAgain { after_s: self.now.millis_since(at).max(0) / 1000 },
            None => Reason::FirstNotice,
        }
    }

    fn flapping(&self) -> Reason {
        Reason::Flapping { times: self.episode.reopenings, within_s: self.policy.flap_within_ms / 1000 }
    }

    /// Tells people, unless something holds it back; either way the reason is kept.
    fn tell(&mut self, kind: NoticeKind, notice: NoticeReason, reason: Reason) {
        if let Some(held) = self.held_back(notice) {
            if self.episode.held_back.as_deref() != Some(held.code()) {
                self.episode.held_back = Some(held.code().to_owned());
                self.explain("held_back", held);
            }
            return;
        }
        let routed = self.policy.route(&Labels::of(&self.episode));
        let to: Vec<String> = match (&self.episode.told, kind) {
            // Updates go to those who know.
            (Some(told), NoticeKind::Update) => told.to.iter().cloned().collect(),
            (Some(told), _) => {
                let known: Vec<String> =
                    told.to.iter().filter(|name| !routed.contains(name)).cloned().collect();
                routed.into_iter().chain(known).collect()
            }
            (None, _) => routed,
        };
        self.send(kind, notice, reason, to);
    }

    fn held_back(&self, notice: NoticeReason) -> Option<Reason> {
        let episode = &self.episode;
        if episode.urgency == Urgency::Digest {
            return Some(Reason::DigestOnly);
        }
        if !episode.silenced_by.is_empty() {
            return Some(Reason::Silenced { by: episode.silenced_by.clone() });
        }
        if !episode.inhibited_by.is_empty() {
            let by = episode.inhibited_by.iter().map(ToString::to_string).collect();
            return Some(Reason::Inhibited { by });
        }
        if episode.flapping_told && notice != NoticeReason::SeverityRose {
            return Some(Reason::FlappingKnown);
        }
        let nobody = self.policy.route(&Labels::of(episode)).is_empty()
            && episode.told.as_ref().is_none_or(|told| told.to.is_empty());
        nobody.then_some(Reason::NoRoute)
    }

    fn send(&mut self, kind: NoticeKind, notice: NoticeReason, reason: Reason, to: Vec<String>) {
        self.episode.held_back = None;
        self.episode.flapping_told |= notice == NoticeReason::Flapping;
        self.remember_told(kind, notice, &to);
        match kind {
            NoticeKind::Page => self.publish("paged", Change::Paged, String::new(), reason),
            _ => self.explain("told", reason),
        }
        self.effects.push(Effect::Notify { kind, reason: notice, to });
    }

    fn remember_told(&mut self, kind: NoticeKind, notice: NoticeReason, to: &[String]) {
        let (now, severity, size) = (self.now, self.episode.severity, self.episode.size());
        let told = self.episode.told.get_or_insert_with(|| Told {
            paged_at: now,
            unanswered_since: now,
            severity,
            size,
            to: BTreeSet::new(),
            steps: 0,
        });
        told.to.extend(to.iter().cloned());
        told.severity = severity;
        told.size = told.size.max(size);
        if kind == NoticeKind::Page {
            told.paged_at = now;
        }
        if kind == NoticeKind::Page && matches!(notice, NoticeReason::SeverityRose | NoticeReason::AckExpired)
        {
            told.unanswered_since = now;
            told.steps = 0;
        }
    }

    /// Notes what holds pages back now; the beginning of it is a change people see.
    fn take_mutes(&mut self) {
        let was_muted = self.episode.is_muted();
        self.episode.silenced_by.clone_from(&self.mutes.silenced_by);
        self.episode.inhibited_by.clone_from(&self.mutes.inhibited_by);
        if was_muted || !self.episode.is_muted() {
            return;
        }
        let reason = match self.episode.silenced_by.is_empty() {
            false => Reason::Silenced { by: self.episode.silenced_by.clone() },
            true => {
                Reason::Inhibited { by: self.episode.inhibited_by.iter().map(ToString::to_string).collect() }
            }
        };
        self.episode.held_back = Some(reason.code().to_owned());
        self.publish("held_back", Change::Silenced, String::new(), reason);
    }

    /// What is counted while a larger episode says it already is known by that episode: when it ends, the same
    /// posts are no growth. A forecast is no count, and that something became worse is still told.
    fn count_as_known(&mut self) {
        let episode = &mut self.episode;
        if episode.inhibited_by.is_empty() || episode.forecast.is_some() {
            return;
        }
        let size = episode.size();
        if let Some(known) = episode.told.as_mut().or(episode.joins.as_mut()) {
            known.size = known.size.max(size);
        }
    }

    fn lose_sight(&mut self, reason: Reason) {
        if matches!(self.episode.phase, Phase::NoData { .. }) {
            return;
        }
        let ack = self.episode.ack().cloned();
        self.episode.phase = Phase::NoData { since: self.now, ack };
        self.publish("no_data", Change::NoData, String::new(), reason.clone());
        if self.episode.told.is_some() {
            self.take_mutes();
            self.tell(NoticeKind::Update, NoticeReason::NoData, reason);
        }
    }

    fn regain_sight(&mut self) {
        if let Phase::NoData { ack, .. } = &self.episode.phase {
            self.episode.phase = match ack.clone() {
                Some(ack) => Phase::Acknowledged(ack),
                None => Phase::Firing,
            };
            self.explain("data_back", Reason::DataBack);
        }
    }

    fn tick(mut self, heard_until: Timestamp) -> Decision {
        let behind_ms = self.now.millis_since(heard_until).max(0);
        if behind_ms < self.policy.stale_after_ms {
            self.regain_sight();
        }
        if let Some(quiet_for_ms) = self.rule().and_then(|rule| rule.quiet_for_ms) {
            let quiet_at = self.episode.heard_at.plus_millis(quiet_for_ms);
            if self.now >= quiet_at && heard_until >= quiet_at {
                let reason = Reason::Quiet { for_s: self.now.millis_since(self.episode.heard_at) / 1000 };
                return self.end(Change::Resolved, String::new(), reason).finish();
            }
            if self.now >= quiet_at && behind_ms >= self.policy.stale_after_ms {
                self.lose_sight(Reason::NoData { behind_s: behind_ms / 1000 });
                return self.finish();
            }
        }
        if let Some(ack) = self.episode.ack().filter(|ack| ack.expires_at <= self.now) {
            let reason = Reason::AckExpired { owner: ack.owner.clone() };
            self.episode.phase = match &self.episode.phase {
                Phase::NoData { since, .. } => Phase::NoData { since: *since, ack: None },
                _ => Phase::Firing,
            };
            self.publish("ack_expired", Change::AckExpired, String::new(), reason.clone());
            self.take_mutes();
            self.tell(NoticeKind::Page, NoticeReason::AckExpired, reason);
            return self.finish();
        }
        self.look(None);
        self.remind();
        self.finish()
    }

    /// Escalation and repeats of what people know and nobody has taken. However long nobody asked, one
    /// notice goes out, not one for each step or interval that passed.
    fn remind(&mut self) {
        let Some(told) = self.episode.told.clone() else { return };
        if self.episode.phase != Phase::Firing || told.paged_at == self.now || self.episode.flapping_told {
            return;
        }
        let waited_ms = self.now.millis_since(told.unanswered_since);
        let due = self.policy.escalation.iter().take_while(|step| step.after_ms <= waited_ms).count();
        let taken = usize::try_from(told.steps).unwrap_or(usize::MAX);
        if due > taken {
            let next = self.policy.escalation[taken..due].iter().flat_map(|step| step.to.iter().cloned());
            let to: BTreeSet<String> = next.collect();
            let step = u32::try_from(due).unwrap_or(u32::MAX);
            let reason = Reason::Escalated { step, after_s: waited_ms / 1000 };
            match self.held_back(NoticeReason::Escalated) {
                Some(_) => return,
                None => {
                    self.send(NoticeKind::Page, NoticeReason::Escalated, reason, to.into_iter().collect());
                }
            }
            if let Some(told) = &mut self.episode.told {
                told.steps = step;
            }
            return;
        }
        let since_page_ms = self.now.millis_since(told.paged_at);
        if since_page_ms >= self.policy.repeat_after_ms {
            let reason = Reason::RepeatDue { after_s: since_page_ms / 1000 };
            self.tell(NoticeKind::Page, NoticeReason::RepeatIntervalElapsed, reason);
        }
    }

    fn acknowledge(mut self, owner: String, for_ms: Option<Millis>, expected_version: u64) -> Decision {
        let current = self.episode.version;
        if expected_version != 0 && expected_version != current {
            let reason = Reason::VersionMoved { expected: expected_version, current };
            return nothing(Some(&self.episode), reason);
        }
        let for_ms = for_ms.unwrap_or(self.policy.ack_for_ms).clamp(1_000, self.policy.ack_max_ms.max(1_000));
        let ack = Ack {
            owner: owner.clone(),
            at: self.now,
            version: current + 1,
            expires_at: self.now.plus_millis(for_ms),
        };
        self.episode.phase = match self.episode.phase {
            Phase::NoData { since, .. } => Phase::NoData { since, ack: Some(ack) },
            _ => Phase::Acknowledged(ack),
        };
        let reason = Reason::Acknowledged { owner: owner.clone(), for_s: for_ms / 1000 };
        self.publish("acknowledged", Change::Acknowledged, owner, reason);
        self.notify_known(NoticeKind::Acknowledged, NoticeReason::Acknowledged);
        self.finish()
    }

    fn resolve_by(self, by: String, note: String, expected_version: u64) -> Decision {
        let current = self.episode.version;
        // A resolve beats an acknowledgement that came in between.
        let only_acked = self.episode.ack().is_some_and(|ack| ack.version == current)
            && expected_version.checked_add(1) == Some(current);
        if expected_version != 0 && expected_version != current && !only_acked {
            let reason = Reason::VersionMoved { expected: expected_version, current };
            return nothing(Some(&self.episode), reason);
        }
        let reason = Reason::ResolvedBy { by: by.clone(), note };
        self.end(Change::Resolved, by, reason).finish()
    }

    fn end(mut self, change: Change, by: String, reason: Reason) -> Self {
        self.episode.phase = Phase::Resolved { at: self.now, by: by.clone() };
        let action = if change == Change::Merged { "merged" } else { "resolved" };
        self.publish(action, change, by, reason);
        // Silences hold back pages, never the end of a page already sent.
        self.notify_known(NoticeKind::Resolve, NoticeReason::Resolved);
        self
    }

    fn notify_known(&mut self, kind: NoticeKind, reason: NoticeReason) {
        let known = self.episode.told.iter().flat_map(|told| told.to.iter().cloned());
        let to: Vec<String> = known.collect();
        if !to.is_empty() {
            self.effects.push(Effect::Notify { kind, reason, to });
        }
    }

    /// Takes out what is to be forgotten; the counts stay.
    fn forget(mut self, forgotten: &Forgotten) -> Decision {
        let before = self.episode.evidence.len();
        self.episode.evidence.retain(|piece| !forgotten.concerns(piece));
        let pieces = (before - self.episode.evidence.len()) as u64;
        if pieces == 0 {
            return nothing(Some(&self.episode), Reason::NothingNew);
        }
        self.announce("erased", Change::Erased, String::new(), Reason::Erased { pieces });
        self.finish()
    }

    fn delivery(mut self, destination: String, arrived: bool, why: String) -> Decision {
        self.episode.delivered.insert(destination.clone(), arrived);
        match arrived {
            true => {
                let reason = Reason::Delivered { destination };
                self.announce("delivered", Change::Delivered, String::new(), reason);
            }
            false => {
                let reason = Reason::NotDelivered { destination, why };
                self.announce("delivery_failed", Change::DeliveryFailed, String::new(), reason);
            }
        }
        self.close(None)
    }

    /// Ends the decision and asks to be woken when time alone would change something.
    fn finish(self) -> Decision {
        let wake_at = self.wake_at();
        self.close(wake_at)
    }

    fn close(mut self, wake_at: Option<Timestamp>) -> Decision {
        self.effects.extend(wake_at.map(Effect::WakeAt));
        let main = self.trail.iter().find(|step| step.action != "data_back").or(self.trail.first());
        let reason = main.map_or(Reason::NothingNew, |step| step.reason.clone());
        if !self.trail.is_empty() && !matches!(reason, Reason::Delivered { .. }) {
            self.episode.reason = reason.clone();
        }
        Decision { next: Some(self.episode), effects: self.effects, trail: self.trail, reason }
    }

    fn wake_at(&self) -> Option<Timestamp> {
        let episode = &self.episode;
        if !episode.is_open() {
            return None;
        }
        let soon = self.now.plus_millis(LOOK_AGAIN_MS);
        let mut times: Vec<Timestamp> = Vec::new();
        if let Some(quiet_for_ms) = self.rule().and_then(|rule| rule.quiet_for_ms) {
            let quiet_at = episode.heard_at.plus_millis(quiet_for_ms);
            times.push(if quiet_at > self.now { quiet_at } else { soon });
        }
        times.extend(episode.ack().map(|ack| ack.expires_at));
        times.extend(self.mutes.silent_until.filter(|_| !episode.silenced_by.is_empty()));
        if !episode.inhibited_by.is_empty() || matches!(episode.phase, Phase::NoData { .. }) {
            times.push(soon);
        }
        if let (Some(told), Phase::Firing, false) = (&episode.told, &episode.phase, episode.flapping_told) {
            let taken = usize::try_from(told.steps).unwrap_or(usize::MAX);
            times.extend(
                self.policy
                    .escalation
                    .get(taken)
                    .map(|step| told.unanswered_since.plus_millis(step.after_ms)),
            );
            times.push(told.paged_at.plus_millis(self.policy.repeat_after_ms.max(LOOK_AGAIN_MS)));
        }
        // A time that has passed while something holds the episode back is looked at again soon, not now.
        times.into_iter().map(|at| if at > self.now { at } else { soon }).min()
    }
}
