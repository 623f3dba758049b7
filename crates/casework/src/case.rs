use model::{AuthorKey, BrandId, CaseId, MentionId, PromiseId, Severity, Timestamp, Topic};
use serde::{Deserialize, Serialize};

use crate::text::{as_key, as_level, as_micros, as_micros_option, as_text, as_text_option};
use crate::turns::{self, Line, Story};
use crate::{Clock, ClockSide, ClockView, Policy, Turn, TurnKind};

/// Messages kept per case; older ones are let go.
pub const MESSAGES_MAX: usize = 100;
/// Characters kept of one message.
pub const MESSAGE_CHARS_MAX: usize = 2_000;
/// Promises kept per case; beyond it the oldest that ended is let go, and none that is open.
pub const PROMISES_MAX: usize = 50;

/// Where a case stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseState {
    /// Nobody has answered yet and nobody took it.
    New,
    /// Answered, or being worked on.
    Open,
    /// It is the customer's turn.
    Waiting,
    /// The matter ended.
    Resolved,
}

impl CaseState {
    /// All states in order.
    pub const ALL: [Self; 4] = [Self::New, Self::Open, Self::Waiting, Self::Resolved];

    /// The word used in tables and tokens.
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Open => "open",
            Self::Waiting => "waiting",
            Self::Resolved => "resolved",
        }
    }
}

/// Why a case was resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// Answered, and the customer had nothing more to say.
    Answered,
    /// The customer said so in public.
    WonBack,
    /// The customer took the words back.
    Withdrawn,
    /// Somebody said so.
    ByHand,
}

impl Resolution {
    /// The word used on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::WonBack => "won_back",
            Self::Withdrawn => "withdrawn",
            Self::ByHand => "by_hand",
        }
    }
}

/// Who said something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The customer of the case.
    Customer,
    /// The brand.
    Brand,
}

impl Side {
    /// The word used on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Brand => "brand",
        }
    }
}

/// What was said on a case. Withdrawn messages keep their place and lose their words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Absent for replies recorded by hand.
    #[serde(with = "as_text_option")]
    pub mention: Option<MentionId>,
    /// Who.
    pub side: Side,
    /// The words, at most [`MESSAGE_CHARS_MAX`] characters; empty when withdrawn.
    pub text: String,
    /// As shown; may be empty.
    pub author: String,
    /// Where people can read it; may be empty.
    pub permalink: String,
    /// When it was said.
    #[serde(with = "as_micros")]
    pub at: Timestamp,
    /// Everybody may see it.
    pub is_public: bool,
    /// A machine wrote it; it stops no clock.
    pub is_automatic: bool,
    /// The words were taken back.
    #[serde(default)]
    pub is_withdrawn: bool,
}

/// Where a promise stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromiseState {
    /// Not kept yet, not due yet.
    Open,
    /// Kept before it was due.
    Kept,
    /// Its due time passed.
    Broken,
    /// Replaced before it was due.
    Renegotiated,
}

/// Something promised to a customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// Which.
    #[serde(with = "as_text")]
    pub id: PromiseId,
    /// In words.
    pub what: String,
    /// Who has to keep it.
    pub owner: String,
    /// When it was made.
    #[serde(with = "as_micros")]
    pub made_at: Timestamp,
    /// Until when, exclusive.
    #[serde(with = "as_micros")]
    pub due_at: Timestamp,
    /// Where it stands.
    pub state: PromiseState,
    /// When it was kept, broken or replaced.
    #[serde(with = "as_micros_option")]
    pub ended_at: Option<Timestamp>,
    /// What shows that it was kept.
    pub evidence: String,
    /// The owner was warned.
    pub is_warned: bool,
}

/// One customer's one matter with one brand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// Derived from brand, customer and the message that opened it.
    #[serde(with = "as_text")]
    pub id: CaseId,
    /// Counts the changes told of it, from 1 without a gap.
    pub version: u64,
    /// Whose customer.
    #[serde(with = "as_text")]
    pub brand: BrandId,
    /// About what.
    #[serde(with = "as_text_option")]
    pub topic: Option<Topic>,
    /// The customer.
    #[serde(with = "as_key")]
    pub customer: AuthorKey,
    /// As shown, without `@`; may be empty.
    pub handle: String,
    /// Where it stands.
    pub state: CaseState,
    /// Who works on it; empty: nobody.
    pub assignee: String,
    /// Highest severity of its messages.
    #[serde(with = "as_level")]
    pub severity: Severity,
    /// When the first message was published.
    #[serde(with = "as_micros")]
    pub opened_at: Timestamp,
    /// When it last changed, by the clock of decisions.
    #[serde(with = "as_micros")]
    pub changed_at: Timestamp,
    /// The thread of the first message.
    #[serde(with = "as_text")]
    pub thread_root: MentionId,
    /// Who said what when, in the order of time: the clocks are a fold over this.
    pub turns: Vec<Turn>,
    /// One per kind, side and round, in that order of rounds.
    pub clocks: Vec<Clock>,
    /// In the order made.
    pub promises: Vec<Promise>,
    /// In the order of time.
    pub messages: Vec<Message>,
    /// Since when the customer waits for an answer.
    #[serde(with = "as_micros_option")]
    pub waiting_since: Option<Timestamp>,
    /// When a person first answered.
    #[serde(with = "as_micros_option")]
    pub answered_at: Option<Timestamp>,
    /// When it was resolved, while it is.
    #[serde(with = "as_micros_option")]
    pub resolved_at: Option<Timestamp>,
    /// How often it was reopened.
    pub reopened: u32,
    /// When the customer said in public to be back.
    #[serde(with = "as_micros_option")]
    pub won_back_at: Option<Timestamp>,
    /// Why it was resolved, while it is.
    pub resolution: Option<Resolution>,
    /// What caused it, as given when it was resolved; may be empty.
    pub root_cause: String,
    /// The customer wrote to the brand alone at least once: an answer belongs where nobody else reads it.
    #[serde(default)]
    pub is_private: bool,
    /// The customer asked to be forgotten: no words, no names are kept.
    pub is_erased: bool,
}

impl Case {
    /// The clocks as people read them at `now`.
    pub fn clocks_at(&self, now: Timestamp, policy: &Policy) -> Vec<ClockView> {
        self.clocks.iter().filter_map(|c| c.view(now, policy.calendar_of(&c.calendar)?)).collect()
    }

    /// True when a clock that still runs is past its due time, or a promise was broken and not made good.
    pub fn is_overdue(&self, now: Timestamp, policy: &Policy) -> bool {
        let broken = self.promises.iter().any(|p| p.state == PromiseState::Broken);
        let late = |c: &Clock| {
            policy
                .calendar_of(&c.calendar)
                .and_then(|cal| c.view(now, cal))
                .is_some_and(|v| v.state == crate::ClockState::Breached)
        };
        self.state != CaseState::Resolved && (broken || self.clocks.iter().any(late))
    }

    /// The message of that mention.
    pub fn message(&self, mention: MentionId) -> Option<&Message> {
        self.messages.iter().find(|m| m.mention == Some(mention))
    }

    /// The case without anything anybody said: what is published and kept as history.
    #[must_use]
    pub fn without_words(&self) -> Self {
        Self { messages: Vec::new(), ..self.clone() }
    }

    pub(crate) fn story(&self) -> Story {
        turns::tell(&self.turns)
    }

    /// When the customer last spoke or the brand last answered.
    pub(crate) fn last_said_at(&self) -> Timestamp {
        let said = |t: &&Turn| matches!(t.kind, TurnKind::Customer | TurnKind::Answer { .. });
        self.turns.iter().rev().find(said).map_or(self.opened_at, |t| t.at)
    }

    pub(crate) fn take_turn(&mut self, turn: Turn, policy: &Policy) {
        turns::insert(&mut self.turns, turn);
        self.refold(policy);
    }

    /// Makes state, waiting time and clocks what the turns say. Clocks keep the calendar, policy and
    /// target they were started with.
    pub(crate) fn refold(&mut self, policy: &Policy) {
        let story = self.story();
        let mut known = std::mem::take(&mut self.clocks);
        for line in &story.lines {
            for side in ClockSide::ALL {
                let marks = line.marks(side);
                if let Some(place) = counterpart(&known, &story, line, side) {
                    let pinned = known.swap_remove(place);
                    self.clocks.push(Clock { round: line.round, marks, ..pinned });
                } else if let Some(target_ms) = policy.target_ms(self.severity, line.kind, side) {
                    self.clocks.push(Clock {
                        kind: line.kind,
                        side,
                        round: line.round,
                        marks,
                        target_ms,
                        warn_after_ms: target_ms.saturating_mul(i64::from(policy.warn_after_percent)) / 100,
                        calendar: policy.calendar.clone(),
                        policy: policy.version.clone(),
                        warned: None,
                        breach_told: None,
                    });
                }
            }
        }
        self.waiting_since = story.waiting_since;
        self.resolved_at = story.resolved_at.filter(|_| story.is_resolved);
        self.answered_at = first_answer(&self.turns);
        self.state = match (story.is_resolved, story.waits_for_customer, story.is_answered) {
            (true, ..) => CaseState::Resolved,
            (_, true, _) => CaseState::Waiting,
            (_, _, true) => CaseState::Open,
            _ if !self.assignee.is_empty() || self.reopened > 0 => CaseState::Open,
            _ => CaseState::New,
        };
    }

    pub(crate) fn add_message(&mut self, mut message: Message) {
        self.is_private |= message.side == Side::Customer && !message.is_public;
        if let Some((end, _)) = message.text.char_indices().nth(MESSAGE_CHARS_MAX) {
            message.text.truncate(end);
        }
        let place = self.messages.partition_point(|m| m.at <= message.at);
        self.messages.insert(place, message);
        if self.messages.len() > MESSAGES_MAX {
            self.messages.remove(0);
        }
    }
}

/// The clock that stood for `line` before: the one with the same start, else the one of the same round,
/// if no other line has its start.
fn counterpart(known: &[Clock], story: &Story, line: &Line, side: ClockSide) -> Option<usize> {
    let same = |c: &Clock, l: &Line| c.kind == l.kind && c.side == side;
    let starts = |c: &Clock, l: &Line| same(c, l) && c.marks.first() == Some(&l.start(side));
    known.iter().position(|c| starts(c, line)).or_else(|| {
        known
            .iter()
            .position(|c| same(c, line) && c.round == line.round && !story.lines.iter().any(|l| starts(c, l)))
    })
}

fn first_answer(turns: &[Turn]) -> Option<Timestamp> {
    let customer = turns.iter().position(|t| t.kind == TurnKind::Customer)?;
    turns[customer..].iter().find(|t| matches!(t.kind, TurnKind::Answer { .. })).map(|t| t.at)
}
