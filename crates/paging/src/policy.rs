use std::collections::BTreeMap;

use model::{Millis, Severity};

use crate::{Route, Trigger, Urgency};

const MINUTE_MS: Millis = 60_000;
const HOUR_MS: Millis = 60 * MINUTE_MS;

/// One rule: what its episodes are worth and when they are over.
#[derive(Debug, Clone, PartialEq)]
pub struct RulePolicy {
    /// What it listens to.
    pub trigger: Trigger,
    /// How loudly it speaks.
    pub urgency: Urgency,
    /// From this severity on it always pages, whatever `urgency` says.
    pub page_from: Severity,
    /// Over after so long without a signal; `None`: the detector tells.
    pub quiet_for_ms: Option<Millis>,
    /// What ended by itself and comes back so soon after people were called about it joins what they know: it
    /// calls them when it is a step bigger or worse. 0: each return calls.
    pub joins_for_ms: Millis,
    /// A step of growth is at least so much more than people know, whatever [`Policy::growth`] says.
    pub step_min: u64,
}

/// Who is told next when nobody takes an episode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EscalationStep {
    /// After the first page (or the page that re-opened the matter).
    pub after_ms: Millis,
    /// Destinations.
    pub to: Vec<String>,
}

/// While an episode of `source` fires, pages of `target` about the same brand and topic are held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inhibition {
    /// The rule that says enough.
    pub source: String,
    /// The rule held back.
    pub target: String,
}

/// Everything an operator sets about alerts.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The rules, by name.
    pub rules: BTreeMap<String, RulePolicy>,
    /// Who is told; see [`Policy::route`].
    pub routes: Vec<Route>,
    /// A page that nobody takes is repeated after so long.
    pub repeat_after_ms: Millis,
    /// How long an acknowledgement holds when nobody says.
    pub ack_for_ms: Millis,
    /// The longest an acknowledgement may hold.
    pub ack_max_ms: Millis,
    /// What happens when nobody takes it, in order of time.
    pub escalation: Vec<EscalationStep>,
    /// Which rules say enough for which.
    pub inhibitions: Vec<Inhibition>,
    /// An episode that opens again within so long is flapping.
    pub flap_within_ms: Millis,
    /// So many re-openings within the window make it flapping.
    pub flap_reopenings: u32,
    /// People hear of growth when the size is so many times what they know: a step.
    pub growth: f64,
    /// A rise in severity calls people from this level on; below it is an update for those who know.
    pub worse_from: Severity,
    /// Signals older than this open nothing.
    pub age_max_ms: Millis,
    /// Sources not heard for so long are silent: no end is believed.
    pub stale_after_ms: Millis,
}

impl Policy {
    /// The rule names of the triggers.
    pub const SEVERE_COMPLAINT: &'static str = "severe-complaint";
    /// A rising subject.
    pub const RISING_SUBJECT: &'static str = "rising-subject";
    /// A spreading thread.
    pub const SPREADING_THREAD: &'static str = "spreading-thread";
    /// A source that is not heard.
    pub const SILENT_SOURCE: &'static str = "silent-source";
}

impl Default for Policy {
    fn default() -> Self {
        let rule = |trigger, quiet_for_ms| RulePolicy {
            trigger,
            urgency: Urgency::Page,
            page_from: Severity::Blame,
            quiet_for_ms,
            joins_for_ms: 0,
            step_min: 1,
        };
        // One customer's blame is a matter for the care team, who have the case; the pager is for the first and
        // for clearly more.
        let severe = RulePolicy {
            joins_for_ms: 24 * HOUR_MS,
            step_min: 4,
            ..rule(Trigger::SevereComplaint, Some(2 * HOUR_MS))
        };
        let inhibition =
            |source: &str, target: &str| Inhibition { source: source.into(), target: target.into() };
        Self {
            rules: BTreeMap::from([
                (Self::SEVERE_COMPLAINT.to_owned(), severe),
                (Self::RISING_SUBJECT.to_owned(), rule(Trigger::RisingSubject, None)),
                (Self::SPREADING_THREAD.to_owned(), rule(Trigger::SpreadingThread, Some(6 * HOUR_MS))),
                (Self::SILENT_SOURCE.to_owned(), rule(Trigger::SilentSource, None)),
            ]),
            routes: Vec::new(),
            repeat_after_ms: 4 * HOUR_MS,
            ack_for_ms: HOUR_MS,
            ack_max_ms: 7 * 24 * HOUR_MS,
            escalation: Vec::new(),
            inhibitions: vec![
                inhibition(Self::RISING_SUBJECT, Self::SEVERE_COMPLAINT),
                inhibition(Self::RISING_SUBJECT, Self::SPREADING_THREAD),
                inhibition(Self::SPREADING_THREAD, Self::SEVERE_COMPLAINT),
            ],
            flap_within_ms: HOUR_MS,
            flap_reopenings: 1,
            growth: 2.0,
            worse_from: Severity::Accusation,
            age_max_ms: HOUR_MS,
            stale_after_ms: 15 * MINUTE_MS,
        }
    }
}
