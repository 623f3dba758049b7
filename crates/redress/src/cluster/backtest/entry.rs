//! What rules would have made, one by one.

use std::collections::BTreeMap;

use alert::Rehearsed;
use contracts::alert::v1::EpisodeChange;
use contracts::response::v1::{CaseChange, CaseEvent};
use model::Timestamp;
use serde::Serialize;

use super::super::wire::{id_text, word};

/// Two episodes of one rule on one subject that are no further apart are one matter: other rules notice earlier,
/// or later.
const MATTER_MS: i64 = 2 * 3_600_000;

/// A stretch of time in which a subject was open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) subject: String,
    pub(super) from: Timestamp,
    /// Absent while it is open.
    pub(super) to: Option<Timestamp>,
}

impl Span {
    /// Is `other`, on the same subject, the same matter?
    pub(super) fn is_same_matter(&self, other: &Self) -> bool {
        let reaches = |a: &Self, b: &Self| a.to.is_none_or(|to| b.from <= to.plus_millis(MATTER_MS));
        reaches(self, other) && reaches(other, self)
    }
}

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// People are called.
    Page,
    /// A clock ran out.
    Breach,
    /// A customer's matter is opened.
    Case,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Breach => "breach",
            Self::Case => "case",
        }
    }
}

/// Something the rules would have made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Entry {
    /// What is told.
    pub(super) kind: Kind,
    /// When, by the time of the records.
    #[serde(serialize_with = "as_text")]
    pub(super) at: Timestamp,
    pub(super) brand: String,
    /// Pages: `topic/BRAND/TOPIC` or `thread/BRAND/ID`. Cases and breaches: the customer.
    pub(super) subject: String,
    /// May be empty.
    pub(super) topic: String,
    /// The episode's or the case's id.
    pub(super) id: String,
    /// Pages: the rule. Breaches: the clock, as `first_answer/customer`. Cases: empty.
    pub(super) rule: String,
    /// One line.
    pub(super) title: String,
    /// What decided, as a sentence.
    pub(super) reason: String,
    /// A stable label of it.
    pub(super) reason_code: String,
    /// Pages: how many posts and people by then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) posts: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) people: Option<u64>,
    /// Pages about threads: reactions expected in the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expected_final: Option<f64>,
    /// 0..4.
    pub(super) severity: u32,
    /// Pages: who would have been called.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) to: Vec<String>,
    /// Pages: what people said of the real one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) useful: Option<bool>,
    /// With `--against`: `both`, `rules` or `against`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) under: Option<&'static str>,
}

fn as_text<S: serde::Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

impl Entry {
    /// The page a change of an episode is, if it is one that is news: reminders and escalations are not.
    pub(super) fn page(rehearsed: &Rehearsed) -> Option<Self> {
        let event = &rehearsed.event;
        let episode = event.episode.as_ref()?;
        let reason = event.reason.clone().unwrap_or_default();
        if event.change() != EpisodeChange::Paged || is_reminder(&reason.code) {
            return None;
        }
        // "Told for the first time" says nothing about the matter; what the detector saw does.
        let seen = episode.reason.as_ref().map_or_else(String::new, |seen| seen.text.clone());
        Some(Self {
            kind: Kind::Page,
            at: Timestamp::from_micros(event.at_us),
            brand: episode.brand.clone(),
            subject: episode.subject.clone(),
            topic: episode.topic.clone(),
            id: id_text(&episode.episode_id),
            rule: episode.rule.clone(),
            title: episode.title.clone(),
            reason: if seen.is_empty() { reason.text } else { seen },
            reason_code: reason.code,
            posts: Some(episode.posts),
            people: Some(episode.people),
            expected_final: episode.forecast.as_ref().map(|forecast| forecast.expected_final),
            severity: episode.severity,
            to: rehearsed.to.clone(),
            useful: None,
            under: None,
        })
    }

    /// The case or breach a change of a case is, if it is one.
    pub(super) fn of_case(event: &CaseEvent) -> Option<Self> {
        let case = event.case.as_ref()?;
        let kind = match event.change() {
            CaseChange::Opened => Kind::Case,
            CaseChange::Breached => Kind::Breach,
            _ => return None,
        };
        let customer =
            if case.customer_handle.is_empty() { &case.customer_key } else { &case.customer_handle };
        let clock = event.clock.as_ref().map(clock_name).unwrap_or_default();
        Some(Self {
            kind,
            at: Timestamp::from_micros(event.at_us),
            brand: case.brand.clone(),
            subject: customer.clone(),
            topic: case.topic.clone(),
            id: id_text(&case.case_id),
            rule: clock,
            title: format!("{customer} about {}", case.topic),
            reason: event.reason.clone(),
            reason_code: event.reason_code.clone(),
            posts: None,
            people: None,
            expected_final: None,
            severity: case.severity,
            to: Vec::new(),
            useful: None,
            under: None,
        })
    }

    /// What is the same under two sets of rules, for cases and clocks.
    pub(super) fn key(&self) -> (Kind, String, String) {
        (self.kind, self.id.clone(), self.rule.clone())
    }
}

/// People know already, and are asked again.
pub(super) fn is_reminder(code: &str) -> bool {
    matches!(code, "repeat_interval_elapsed" | "escalated" | "ack_expired")
}

fn clock_name(clock: &contracts::response::v1::Clock) -> String {
    format!(
        "{}/{}",
        word(clock.kind().as_str_name(), "CLOCK_KIND_"),
        word(clock.side().as_str_name(), "CLOCK_SIDE_")
    )
}

/// The episodes that were paged, by rule and subject, to see whether other rules paged about the same.
#[derive(Debug, Default)]
pub(super) struct Paged {
    of: BTreeMap<(String, String), Vec<Span>>,
}

impl Paged {
    /// A page went out; true when it is the first of its episode.
    pub(super) fn page(&mut self, entry: &Entry) -> bool {
        let spans = self.of.entry((entry.rule.clone(), entry.subject.clone())).or_default();
        let is_first = spans.last().is_none_or(|span| span.to.is_some());
        if is_first {
            spans.push(Span { subject: entry.subject.clone(), from: entry.at, to: None });
        }
        is_first
    }

    /// An episode ended.
    pub(super) fn end(&mut self, rule: &str, subject: &str, at: Timestamp) {
        let Some(spans) = self.of.get_mut(&(rule.to_owned(), subject.to_owned())) else { return };
        if let Some(open) = spans.last_mut().filter(|span| span.to.is_none()) {
            open.to = Some(at);
        }
    }

    /// The episode that `page` belongs to.
    pub(super) fn episode_of(&self, page: &Entry) -> Option<&Span> {
        let spans = self.of.get(&(page.rule.clone(), page.subject.clone()))?;
        spans.iter().rev().find(|span| span.from <= page.at)
    }

    /// Was there a page about the matter of `span`?
    pub(super) fn knows(&self, rule: &str, span: &Span) -> bool {
        let spans = self.of.get(&(rule.to_owned(), span.subject.clone()));
        spans.is_some_and(|spans| spans.iter().any(|own| own.is_same_matter(span)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_matter_is_noticed_earlier_or_later_but_not_half_a_day_apart() {
        let span = |from_h: i64, to_h: Option<i64>| Span {
            subject: "topic/acme/refund".into(),
            from: Timestamp::from_seconds(from_h * 3_600),
            to: to_h.map(|h| Timestamp::from_seconds(h * 3_600)),
        };
        for (one, other, same) in [
            (span(10, Some(12)), span(11, Some(11)), true),
            (span(10, None), span(20, Some(21)), true),
            (span(10, Some(11)), span(13, None), true),
            (span(10, Some(11)), span(14, None), false),
            (span(10, Some(11)), span(0, Some(1)), false),
        ] {
            assert_eq!(
                (one.is_same_matter(&other), other.is_same_matter(&one)),
                (same, same),
                "{one:?} {other:?}"
            );
        }
    }
}
