use std::collections::BTreeMap;

use model::{Invalid, Millis, Probability, Severity};
use serde::{Deserialize, Serialize};

use crate::{Calendar, ClockKind, ClockSide};

const MINUTE_MS: Millis = 60_000;
const HOUR_MS: Millis = 60 * MINUTE_MS;
const DAY_MS: Millis = 24 * HOUR_MS;

/// How long each side of one clock kind allows, in its own time; `None`: no such clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowed {
    /// Wall clock.
    pub customer_ms: Option<Millis>,
    /// Business hours.
    pub contract_ms: Option<Millis>,
    /// Business hours less waiting.
    pub team_ms: Option<Millis>,
}

impl Allowed {
    /// The same for all sides.
    pub const fn all(ms: Millis) -> Self {
        Self { customer_ms: Some(ms), contract_ms: Some(ms), team_ms: Some(ms) }
    }

    /// What one side allows.
    pub const fn of(&self, side: ClockSide) -> Option<Millis> {
        match side {
            ClockSide::Customer => self.customer_ms,
            ClockSide::Contract => self.contract_ms,
            ClockSide::Team => self.team_ms,
        }
    }
}

/// The targets of cases of at least one severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Targets {
    /// To the first answer.
    pub first_answer: Allowed,
    /// To each next answer.
    pub next_answer: Allowed,
    /// To resolution.
    pub resolution: Allowed,
}

impl Targets {
    /// What one clock kind allows.
    pub const fn of(&self, kind: ClockKind) -> &Allowed {
        match kind {
            ClockKind::FirstAnswer => &self.first_answer,
            ClockKind::NextAnswer => &self.next_answer,
            ClockKind::Resolution => &self.resolution,
        }
    }
}

/// What is decided once for a brand: when a case opens, what is promised, when to warn.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Names this policy; clocks keep the name they started under.
    pub version: String,
    /// A post this likely to be a complaint opens a case...
    pub complaint_at: Probability,
    /// ...if it is at least this severe.
    pub severity_at: Severity,
    /// A post this likely to be spam opens nothing.
    pub spam_at: Probability,
    /// A private message to the brand opens a case whatever it says, unless it only thanks.
    pub private_opens: bool,
    /// Said to have come back with at least this probability: won back.
    pub won_back_at: Probability,
    /// Thanks with at least this probability, and sounding as positive: won back, once somebody answered.
    pub thanks_at: Probability,
    /// An answer this likely to ask for another channel makes it the customer's turn.
    pub channel_move_at: Probability,
    /// Posts of one customer on one topic this close belong to one matter, in milliseconds.
    pub matter_window_ms: Millis,
    /// Posts of one customer this close belong to one matter whatever the topic, in milliseconds.
    pub same_breath_ms: Millis,
    /// A complaint this long after resolution reopens the case; later ones open a new case. Milliseconds.
    pub reopen_window_ms: Millis,
    /// Answered and then silent for this long: resolved as answered; 0: never. Milliseconds.
    pub close_when_silent_ms: Millis,
    /// Warn after this share of a target, in percent; 0: never.
    pub warn_after_percent: u8,
    /// Warn this long before a promise is due, in milliseconds; 0: never.
    pub promise_warn_before_ms: Millis,
    /// Targets by least severity; a case takes those of the highest severity not above its own.
    pub targets: BTreeMap<u8, Targets>,
    /// Version of the calendar for new clocks; one of `calendars`.
    pub calendar: String,
    /// Every calendar that a clock may be pinned to, by version.
    pub calendars: BTreeMap<String, Calendar>,
}

impl Policy {
    /// Sensible targets for a brand with these business hours: first answer in an hour of business time
    /// (half an hour when severe), next answers in two, resolution in three business days.
    pub fn standard(version: impl Into<String>, calendar: Calendar) -> Self {
        let day_of_work = 8 * HOUR_MS;
        let targets = |first: Millis, next: Millis, days: Millis| Targets {
            first_answer: Allowed::all(first),
            next_answer: Allowed::all(next),
            resolution: Allowed {
                customer_ms: Some(days * DAY_MS),
                contract_ms: Some(days * day_of_work),
                team_ms: Some(days * day_of_work),
            },
        };
        Self {
            version: version.into(),
            complaint_at: Probability::clamped(0.6),
            severity_at: Severity::None,
            spam_at: Probability::clamped(0.8),
            private_opens: true,
            won_back_at: Probability::clamped(0.6),
            thanks_at: Probability::clamped(0.6),
            channel_move_at: Probability::clamped(0.6),
            matter_window_ms: 14 * DAY_MS,
            same_breath_ms: HOUR_MS,
            reopen_window_ms: 14 * DAY_MS,
            close_when_silent_ms: 7 * DAY_MS,
            warn_after_percent: 75,
            promise_warn_before_ms: HOUR_MS,
            targets: BTreeMap::from([
                (0, targets(HOUR_MS, 2 * HOUR_MS, 3)),
                (3, targets(30 * MINUTE_MS, HOUR_MS, 2)),
            ]),
            calendar: calendar.version().to_owned(),
            calendars: BTreeMap::from([(calendar.version().to_owned(), calendar)]),
        }
    }

    /// Checks what no field can check alone.
    ///
    /// # Errors
    /// When a span is negative, a target is not positive, no target covers severity 0, or the calendar is
    /// not among the calendars.
    pub fn validated(self) -> Result<Self, Invalid> {
        let spans = [
            ("matter_window", self.matter_window_ms),
            ("same_breath", self.same_breath_ms),
            ("reopen_window", self.reopen_window_ms),
            ("close_when_silent", self.close_when_silent_ms),
            ("promise_warn_before", self.promise_warn_before_ms),
        ];
        for (name, ms) in spans {
            if !(0..=3_650 * DAY_MS).contains(&ms) {
                return Err(Invalid::new(name, format!("needs 0 to 3650 days, is {ms} ms")));
            }
        }
        if self.warn_after_percent > 99 {
            return Err(Invalid::new("warn_after_percent", "needs 0 to 99"));
        }
        if !self.targets.contains_key(&0) {
            return Err(Invalid::new("targets", "need an entry for severity 0"));
        }
        for (severity, targets) in &self.targets {
            for allowed in [targets.first_answer, targets.next_answer, targets.resolution] {
                for ms in ClockSide::ALL.iter().filter_map(|side| allowed.of(*side)) {
                    if !(1..=3_650 * DAY_MS).contains(&ms) {
                        return Err(Invalid::new(
                            "targets",
                            format!(
                                "severity {severity} needs more than nothing and at most 3650 days, has {ms} ms"
                            ),
                        ));
                    }
                }
            }
        }
        if !self.calendars.contains_key(&self.calendar) {
            return Err(Invalid::new("calendar", "is not among the known calendars"));
        }
        Ok(self)
    }

    /// Adds a calendar that older clocks may be pinned to.
    pub fn remember(&mut self, calendar: Calendar) {
        self.calendars.insert(calendar.version().to_owned(), calendar);
    }

    /// The target of a new clock, if there is to be one.
    pub(crate) fn target_ms(&self, severity: Severity, kind: ClockKind, side: ClockSide) -> Option<Millis> {
        let (_, targets) = self.targets.range(..=severity.level()).next_back()?;
        targets.of(kind).of(side)
    }

    /// The calendar of that version, else the present one: a clock outlives even a lost calendar.
    pub(crate) fn calendar_of(&self, version: &str) -> Option<&Calendar> {
        self.calendars.get(version).or_else(|| self.calendars.get(&self.calendar))
    }
}
