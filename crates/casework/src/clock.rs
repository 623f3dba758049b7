use model::{Millis, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Calendar;
use crate::text::{as_micros, as_micros_option};

/// What a clock measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockKind {
    /// First customer message to the first answer by a person.
    FirstAnswer,
    /// Oldest unanswered customer message to the next answer.
    NextAnswer,
    /// First customer message to resolution; starts anew when the case is reopened.
    Resolution,
}

impl ClockKind {
    /// What people call it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::FirstAnswer => "first answer",
            Self::NextAnswer => "next answer",
            Self::Resolution => "resolution",
        }
    }
}

/// Whose time a clock counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockSide {
    /// Wall clock from publication: what the customer feels.
    Customer,
    /// Business hours from publication: what was agreed.
    Contract,
    /// Business hours from when we had it, less waiting for the customer: what the team can be asked.
    Team,
}

impl ClockSide {
    /// All sides in order.
    pub const ALL: [Self; 3] = [Self::Customer, Self::Contract, Self::Team];

    /// What people call it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Contract => "contract",
            Self::Team => "team",
        }
    }
}

/// Where a clock stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClockState {
    /// Counting, not yet due.
    Running,
    /// Not counting for now.
    Paused,
    /// Ended by what it waited for.
    Fulfilled,
    /// Its due time passed and it has not ended.
    Breached,
    /// Ended because nobody waits any more.
    Cancelled,
}

/// What happens to a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkKind {
    /// It starts; only the first one counts.
    Activate,
    /// It counts on after a pause.
    Resume,
    /// It stops counting.
    Pause,
    /// What it waited for happened.
    Fulfil,
    /// Nobody waits for it any more.
    Cancel,
}

/// One event of a clock. A breach is no mark: it follows from the marks and the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mark {
    /// When.
    #[serde(with = "as_micros")]
    pub at: Timestamp,
    /// What.
    pub kind: MarkKind,
}

impl Mark {
    /// A mark of `kind` at `at`.
    pub const fn new(at: Timestamp, kind: MarkKind) -> Self {
        Self { at, kind }
    }
}

/// One clock of one case: marks in any order, a target, and the calendar and policy it was started under.
///
/// Everything else is a fold over the marks, so a mark that arrives late corrects what was believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// What it measures.
    pub kind: ClockKind,
    /// Whose time it counts.
    pub side: ClockSide,
    /// Counts the clocks of one kind and side of one case from 0.
    pub round: u32,
    /// Its events, in the order of time.
    pub marks: Vec<Mark>,
    /// Allowed, in its own time.
    pub target_ms: Millis,
    /// The share of the target after which to warn, in its own time; 0: never.
    pub warn_after_ms: Millis,
    /// Version of the calendar it was started under; stays when the configuration changes.
    pub calendar: String,
    /// Version of the policy it was started under.
    pub policy: String,
    /// The due time that people were warned of.
    #[serde(with = "as_micros_option")]
    pub warned: Option<Timestamp>,
    /// The due time whose passing was told.
    #[serde(with = "as_micros_option")]
    pub breach_told: Option<Timestamp>,
}

/// A clock as people read it, at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockView {
    /// What it measures.
    pub kind: ClockKind,
    /// Whose time it counts.
    pub side: ClockSide,
    /// Where it stands.
    pub state: ClockState,
    /// When it began.
    pub started_at: Timestamp,
    /// When its target is or was used up; absent while paused with time left.
    pub due_at: Option<Timestamp>,
    /// When it was fulfilled or cancelled, or, while it still runs, breached.
    pub ended_at: Option<Timestamp>,
    /// Counted so far, in its own time.
    pub elapsed_ms: Millis,
    /// Allowed, in its own time.
    pub target_ms: Millis,
    /// The due time passed before it ended.
    pub was_breached: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Fulfilled,
    Cancelled,
}

/// What the marks amount to.
struct Timeline {
    start: Timestamp,
    /// Sorted and apart; the last may be open.
    pauses: Vec<(Timestamp, Option<Timestamp>)>,
    end: Option<(Timestamp, Ended)>,
}

impl Timeline {
    fn of(marks: &[Mark]) -> Option<Self> {
        let mut sorted = marks.to_vec();
        sorted.sort_unstable();
        let start = sorted.iter().find(|m| m.kind == MarkKind::Activate)?.at;
        let mut line = Self { start, pauses: Vec::new(), end: None };
        for mark in sorted.iter().filter(|m| m.at >= start) {
            let paused = line.pauses.last().is_some_and(|(_, to)| to.is_none());
            match mark.kind {
                MarkKind::Activate => {}
                MarkKind::Pause if paused => {}
                MarkKind::Pause => line.pauses.push((mark.at, None)),
                MarkKind::Resume => {
                    if let Some((_, to @ None)) = line.pauses.last_mut() {
                        *to = Some(mark.at);
                    }
                }
                MarkKind::Fulfil => line.end = Some((mark.at, Ended::Fulfilled)),
                MarkKind::Cancel => line.end = Some((mark.at, Ended::Cancelled)),
            }
            if line.end.is_some() {
                break;
            }
        }
        Some(line)
    }

    /// The stretches that count, from the start until `until`.
    fn counting(&self, until: Timestamp) -> impl Iterator<Item = (Timestamp, Timestamp)> + '_ {
        let starts = std::iter::once(Some(self.start)).chain(self.pauses.iter().map(|(_, to)| *to));
        let stops = self.pauses.iter().map(|(from, _)| *from).chain([Timestamp::MAX]);
        starts.zip(stops).filter_map(move |(from, to)| {
            let (from, to) = (from?, to.min(until));
            (from < to).then_some((from, to))
        })
    }
}

impl Clock {
    /// Where the clock stands at `now`; `None` when it was never started. `calendar` is the pinned one.
    pub fn view(&self, now: Timestamp, calendar: &Calendar) -> Option<ClockView> {
        let line = Timeline::of(&self.marks)?;
        let until = line.end.map_or(now, |(at, _)| at.min(now));
        let elapsed = self.elapsed_us(&line, until, calendar);
        let due_at = self.due_after_us(&line, self.target_ms.saturating_mul(1_000), calendar);
        let ended = line.end.filter(|(at, _)| *at <= now);
        let was_breached = due_at.is_some_and(|due| match ended {
            // Answered at the very due time is in time; cancelled counts no more.
            Some((at, _)) => due < at,
            None => due <= now,
        });
        let paused =
            line.pauses.last().is_some_and(|(from, to)| *from <= now && to.is_none_or(|to| to > now));
        let state = match ended {
            Some((_, Ended::Fulfilled)) => ClockState::Fulfilled,
            Some((_, Ended::Cancelled)) => ClockState::Cancelled,
            None if was_breached => ClockState::Breached,
            None if paused => ClockState::Paused,
            None => ClockState::Running,
        };
        Some(ClockView {
            kind: self.kind,
            side: self.side,
            state,
            started_at: line.start,
            due_at,
            ended_at: ended.map(|(at, _)| at).or(due_at.filter(|_| was_breached)),
            elapsed_ms: elapsed / 1_000,
            target_ms: self.target_ms,
            was_breached,
        })
    }

    /// When to warn, if the clock comes that far and does not end before.
    pub(crate) fn warns_at(&self, calendar: &Calendar) -> Option<Timestamp> {
        if self.warn_after_ms <= 0 || self.warn_after_ms >= self.target_ms {
            return None;
        }
        self.reaches(self.warn_after_ms, calendar)
    }

    /// When it breaches, if it comes that far and does not end before.
    pub(crate) fn breaches_at(&self, calendar: &Calendar) -> Option<Timestamp> {
        self.reaches(self.target_ms, calendar)
    }

    fn reaches(&self, counted_ms: Millis, calendar: &Calendar) -> Option<Timestamp> {
        let line = Timeline::of(&self.marks)?;
        let at = self.due_after_us(&line, counted_ms.saturating_mul(1_000), calendar)?;
        line.end.is_none_or(|(end, _)| at < end).then_some(at)
    }

    fn elapsed_us(&self, line: &Timeline, until: Timestamp, calendar: &Calendar) -> i64 {
        line.counting(until).map(|(from, to)| self.span_us(from, to, calendar)).sum()
    }

    fn due_after_us(&self, line: &Timeline, target_us: i64, calendar: &Calendar) -> Option<Timestamp> {
        let mut left = target_us;
        if left <= 0 {
            return Some(line.start);
        }
        for (from, to) in line.counting(Timestamp::MAX) {
            // Counting the open end until the year 9999 would be slow, and is not needed.
            let counted = if to == Timestamp::MAX { i64::MAX } else { self.span_us(from, to, calendar) };
            if left <= counted {
                return match self.side {
                    ClockSide::Customer => {
                        Some(Timestamp::from_micros(from.as_micros().saturating_add(left)))
                    }
                    ClockSide::Contract | ClockSide::Team => calendar.due_after_us(from, left),
                };
            }
            left -= counted;
        }
        None
    }

    fn span_us(&self, from: Timestamp, to: Timestamp, calendar: &Calendar) -> i64 {
        match self.side {
            ClockSide::Customer => to.as_micros() - from.as_micros(),
            ClockSide::Contract | ClockSide::Team => calendar.elapsed_us(from, to),
        }
    }
}
