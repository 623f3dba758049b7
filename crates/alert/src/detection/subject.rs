//! What is remembered of a brand and topic, and what it says.

use contracts::alert::v1::TallyEvent;
use detect::{Observation, ReasonKind, SubjectState};
use model::{Severity, Subject, Timestamp};
use paging::{Counts, Evidence, Facts, Policy, Signal, SignalKind};

use super::evidence::keep;
use super::{Rising, observed};
use crate::desk::topic_of;
use crate::timeline::{self, Diary};
use crate::wire;

/// Event seconds over which the usual severity of a subject is averaged.
const SEVERITY_TAU_S: f32 = 600.0;

#[derive(Debug, Clone, Default)]
pub(super) struct SubjectEntry {
    pub(super) state: SubjectState,
    pub(super) evidence: Vec<Evidence>,
    /// Severity and complaint sums, fading.
    pub(super) severity: f32,
    pub(super) complaints: f32,
    pub(super) at_s: i64,
    pub(super) told_s: i64,
    /// Complaints counted while nobody knew what is usual for the brand.
    pub(super) warmup: f32,
    /// While it is not calm.
    pub(super) diary: Option<Box<Diary>>,
}

impl SubjectEntry {
    pub(super) fn note(&mut self, event: &TallyEvent) {
        let faded = (-((event.at_s - self.at_s).max(0) as f32) / SEVERITY_TAU_S).exp();
        self.severity = self.severity * faded + event.severity_milli as f32 / 1_000.0;
        self.complaints = self.complaints * faded + event.complaints_milli as f32 / 1_000.0;
        self.at_s = self.at_s.max(event.at_s);
        if let Some(piece) = event.top.as_ref().and_then(wire::evidence_from) {
            keep(&mut self.evidence, piece, event.at_s);
        }
    }

    /// Something is open or unusual, and there is room: what is calm costs nothing.
    pub(super) fn is_worth_a_diary(&self, seen: &Observation, followed: usize) -> bool {
        if self.state.open_since_s().is_some() || self.diary.is_some() {
            return true;
        }
        seen.surprise >= timeline::SURPRISE_FROM && followed < timeline::FOLLOWED_MAX
    }

    pub(super) fn write_diary(&mut self, seen: &Observation, at_s: i64, event: Option<&TallyEvent>) {
        if seen.reason.kind == ReasonKind::TooLate {
            return;
        }
        let diary = self.diary.get_or_insert_default();
        if let Some(event) = event {
            diary.count(at_s, u64::from(event.posts), event);
        }
        diary.see(at_s, seen);
        if let Some(since_s) = self.state.open_since_s() {
            diary.open(since_s);
        }
    }

    /// How hard the complaints of the last minutes accuse, on average: one angry voice is no angry crowd.
    fn severity(&self) -> Severity {
        let level = if self.complaints > 0.0 { (self.severity / self.complaints).round() } else { 0.0 };
        Severity::from_level(level.clamp(0.0, 4.0) as u32).unwrap_or_default()
    }

    pub(super) fn signal(
        &self,
        subject: &Subject,
        kind: SignalKind,
        seen: &Observation,
        at_s: i64,
    ) -> Signal {
        let topic = topic_of(subject);
        let name = topic.as_ref().map_or("", |topic| topic.as_str());
        let reason = &seen.reason;
        let numbers = [
            ("complaints", f64::from(reason.complaints)),
            ("people", f64::from(reason.people)),
            ("window_s", f64::from(reason.span_s)),
            ("usual_low", f64::from(reason.usual_low)),
            ("usual_high", f64::from(reason.usual_high)),
            ("surprise", f64::from(reason.surprise)),
            ("open_at", f64::from(reason.open_at)),
            ("coverage", f64::from(reason.coverage)),
        ];
        let code = match kind {
            SignalKind::Calm => "calm",
            SignalKind::NoData => "no_data",
            SignalKind::Flapping => "flapping",
            _ => "surprise_over_threshold",
        };
        let since_s = self.state.open_since_s().unwrap_or(at_s);
        Signal {
            rule: Policy::RISING_SUBJECT.to_owned(),
            subject: subject.clone(),
            topic: topic.clone(),
            kind,
            facts: Facts {
                title: format!("{}: complaints about {name} are rising", subject.brand()),
                surprise: f64::from(seen.surprise),
                counts: Counts::Total {
                    posts: reason.complaints.max(0.0).round() as u64,
                    people: reason.people.max(0.0).round() as u64,
                },
                severity: self.severity(),
                forecast: None,
                evidence: self.evidence.clone(),
                thread_root: None,
                since: Timestamp::from_seconds(since_s - i64::from(reason.span_s)),
            },
            at: Timestamp::from_seconds(at_s),
            why: observed(code, reason.words(name), &numbers),
        }
    }

    pub(super) fn rising(&self, subject: &Subject, seen: &Observation, at_s: i64) -> Rising {
        let topic = topic_of(subject);
        Rising {
            subject: subject.clone(),
            surprise: f64::from(seen.surprise),
            posts: seen.reason.complaints.max(0.0).round() as u64,
            people: seen.reason.people.max(0.0).round() as u64,
            words: seen.reason.words(topic.as_ref().map_or("", |topic| topic.as_str())),
            forecast: None,
            excerpt: String::new(),
            at_s,
        }
    }
}
