use model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::text::as_micros;
use crate::{ClockKind, ClockSide, Mark, MarkKind};

/// The most turns one case remembers; beyond it old exchanges that are complete are let go.
pub const TURNS_MAX: usize = 64;

/// What happened on a case, as far as its clocks care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnKind {
    /// The customer said something.
    Customer,
    /// A person answered for the brand.
    Answer {
        /// It is the customer's turn now.
        waits: bool,
    },
    /// The matter ended.
    Resolved,
    /// The matter began again.
    Reopened,
    /// The customer took the words back: nobody waits.
    Withdrawn,
}

/// One turn of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// When it happened, for the customer.
    #[serde(with = "as_micros")]
    pub at: Timestamp,
    /// When we could know, at or after `at`.
    #[serde(with = "as_micros")]
    pub seen_at: Timestamp,
    /// What happened.
    pub kind: TurnKind,
}

/// Puts `turn` where it belongs in time; of equal times the one told later comes later.
pub(crate) fn insert(turns: &mut Vec<Turn>, turn: Turn) {
    let place = turns.partition_point(|t| t.at <= turn.at);
    turns.insert(place, turn);
    if turns.len() > TURNS_MAX {
        shorten(turns);
    }
}

/// The marks of one clock, side by side for the three.
pub(crate) struct Line {
    pub(crate) kind: ClockKind,
    pub(crate) round: u32,
    started: Turn,
    marks: Vec<Mark>,
}

impl Line {
    fn new(kind: ClockKind, round: u32, started: Turn) -> Self {
        Self { kind, round, started, marks: Vec::new() }
    }

    fn mark(&mut self, at: Timestamp, kind: MarkKind) {
        self.marks.push(Mark::new(at, kind));
    }

    /// The mark that starts one side's clock.
    pub(crate) fn start(&self, side: ClockSide) -> Mark {
        let at = if side == ClockSide::Team { self.started.seen_at } else { self.started.at };
        Mark::new(at, MarkKind::Activate)
    }

    /// The marks as one side sees them: the team's time starts when we could know, and waits.
    pub(crate) fn marks(&self, side: ClockSide) -> Vec<Mark> {
        let start = self.start(side);
        let waits =
            |m: &&Mark| side == ClockSide::Team || !matches!(m.kind, MarkKind::Pause | MarkKind::Resume);
        let mut marks = vec![start];
        // An answer can be seen before the message it answers: the clock then ends as it starts.
        marks.extend(self.marks.iter().filter(waits).map(|m| Mark::new(m.at.max(start.at), m.kind)));
        marks
    }
}

/// What the turns amount to.
pub(crate) struct Story {
    pub(crate) lines: Vec<Line>,
    /// The oldest customer message without an answer.
    pub(crate) waiting_since: Option<Timestamp>,
    pub(crate) is_answered: bool,
    pub(crate) is_resolved: bool,
    pub(crate) waits_for_customer: bool,
    pub(crate) resolved_at: Option<Timestamp>,
}

/// Folds turns, which are in the order of time.
pub(crate) fn tell(turns: &[Turn]) -> Story {
    let mut story = Story {
        lines: Vec::new(),
        waiting_since: None,
        is_answered: false,
        is_resolved: false,
        waits_for_customer: false,
        resolved_at: None,
    };
    let mut answer: Option<Line> = None;
    let mut matter: Option<Line> = None;
    let (mut answers, mut matters) = (0, 0);
    for turn in turns {
        match turn.kind {
            TurnKind::Customer => {
                // A word after the end, thanks for example, wants no answer.
                if story.is_resolved {
                    continue;
                }
                if matter.is_none() {
                    matter = Some(Line::new(ClockKind::Resolution, matters, *turn));
                }
                if answer.is_none() {
                    let kind = if story.is_answered { ClockKind::NextAnswer } else { ClockKind::FirstAnswer };
                    answer = Some(Line::new(kind, answers, *turn));
                    answers += 1;
                }
                if story.waits_for_customer
                    && let Some(matter) = &mut matter
                {
                    matter.mark(turn.at, MarkKind::Resume);
                }
                story.waits_for_customer = false;
            }
            TurnKind::Answer { waits } => {
                // What the brand said before the customer spoke is no answer.
                if matter.is_none() && !story.is_resolved {
                    continue;
                }
                story.is_answered = true;
                if let Some(mut line) = answer.take() {
                    line.mark(turn.at, MarkKind::Fulfil);
                    story.lines.push(line);
                }
                if waits != story.waits_for_customer
                    && let Some(matter) = &mut matter
                {
                    matter.mark(turn.at, if waits { MarkKind::Pause } else { MarkKind::Resume });
                }
                story.waits_for_customer = waits && matter.is_some();
            }
            TurnKind::Resolved | TurnKind::Withdrawn => {
                let end = if turn.kind == TurnKind::Resolved { MarkKind::Fulfil } else { MarkKind::Cancel };
                if let Some(mut line) = answer.take() {
                    line.mark(turn.at, MarkKind::Cancel);
                    story.lines.push(line);
                }
                if let Some(mut line) = matter.take() {
                    line.mark(turn.at, end);
                    story.lines.push(line);
                    matters += 1;
                }
                story.is_resolved = true;
                story.waits_for_customer = false;
                story.resolved_at = Some(turn.at);
            }
            TurnKind::Reopened => {
                story.is_resolved = false;
                story.resolved_at = None;
                if matter.is_none() {
                    matter = Some(Line::new(ClockKind::Resolution, matters, *turn));
                }
            }
        }
    }
    story.waiting_since = answer.as_ref().map(|line| line.started.at);
    story.lines.extend(answer);
    story.lines.extend(matter);
    story
}

/// First the repeats of one side go, then the oldest complete exchange after the first one. The clocks of
/// what stays do not change, but for a wait inside an exchange that goes.
fn shorten(turns: &mut Vec<Turn>) {
    let mut last: Option<TurnKind> = None;
    turns.retain(|turn| {
        let repeats = turn.kind == TurnKind::Customer && last == Some(TurnKind::Customer);
        last = Some(turn.kind);
        !repeats
    });
    if turns.len() <= TURNS_MAX {
        return;
    }
    let opening = turns.iter().position(|t| matches!(t.kind, TurnKind::Answer { .. })).map_or(1, |i| i + 1);
    let exchange = (opening..turns.len().saturating_sub(1)).find(|i| {
        turns[*i].kind == TurnKind::Customer && matches!(turns[i + 1].kind, TurnKind::Answer { .. })
    });
    match exchange {
        Some(i) => drop(turns.drain(i..i + 2)),
        // Nothing but answers or endings: the second turn tells least.
        None => drop(turns.remove(1)),
    }
}
