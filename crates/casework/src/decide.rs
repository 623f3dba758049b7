use model::{PromiseId, Timestamp};

use crate::work::Work;
use crate::{Case, ClockView, Input, Policy, Reason, Refusal, ask, hear, settle};

/// What happened to a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// It began.
    Opened,
    /// The customer said more.
    CustomerSpoke,
    /// The brand answered.
    BrandAnswered,
    /// Its owner changed.
    Assigned,
    /// Something was promised.
    Promised,
    /// A promise was kept.
    PromiseKept,
    /// A promise was not kept.
    PromiseBroken,
    /// A promise was replaced.
    PromiseRenegotiated,
    /// A clock ran out.
    Breached,
    /// A clock will run out, or a promise be due.
    Warned,
    /// It ended.
    Resolved,
    /// It began again.
    Reopened,
    /// The customer is back.
    WonBack,
    /// Words were taken back.
    Withdrawn,
    /// The team's clock stands still: the customer's turn.
    Paused,
    /// The team's clock runs again.
    Resumed,
}

/// One change of one case, as told to the world.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseChanged {
    /// Counts the changes of the case from 1, without a gap; the case's version after it.
    pub sequence: u64,
    /// What happened.
    pub change: Change,
    /// The case after the change, without anything anybody said.
    pub case: Case,
    /// When it happened: a breach at its due time, words when they were published.
    pub at: Timestamp,
    /// Who did it; empty for the system and for the public.
    pub by: String,
    /// Why.
    pub reason: Reason,
    /// The clock concerned, as it stood then.
    pub clock: Option<ClockView>,
    /// The promise concerned.
    pub promise: Option<PromiseId>,
}

/// What is to be done outside.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Tell the world.
    Publish(Box<CaseChanged>),
    /// Ask again at that time with [`Input::Due`], instead of any time said before; `None`: nothing to wait
    /// for.
    WakeAt(Option<Timestamp>),
}

/// The new state, what is to be done outside, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The case from now on; `None` while there is none.
    pub next: Option<Case>,
    /// In this order. Empty: nothing changed.
    pub effects: Vec<Effect>,
    /// Why.
    pub reason: Reason,
}

impl Decision {
    /// True when the case differs from before.
    pub fn is_change(&self) -> bool {
        self.effects.iter().any(|e| matches!(e, Effect::Publish(_)))
    }

    /// What is wrong with the request, if it was refused.
    pub const fn refusal(&self) -> Option<Refusal> {
        match self.reason {
            Reason::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

/// Decides what `input` does to a case, or whether it opens one.
///
/// What was said in public carries its own time and may arrive late or out of order; it is put where it
/// belongs before anything that fell due until `now` is told. What somebody asks for happens `now`, after
/// everything that fell due before.
pub fn decide(state: Option<&Case>, input: &Input, now: Timestamp, policy: &Policy) -> Decision {
    let Some(case) = state else {
        return match input {
            Input::Said(said) => hear::open(said, now, policy),
            Input::Asked { .. } => nothing(None, Reason::Refused(Refusal::NoSuchCase)),
            _ => nothing(None, Reason::NoCase),
        };
    };
    let mut work = Work::new(case, now, policy);
    let reason = match input {
        Input::Said(said) => hear::said(&mut work, said),
        Input::Answered(answered) => hear::answered(&mut work, answered),
        Input::Withdrawn { mention } => hear::withdrawn(&mut work, *mention),
        Input::Restored { mention, text } => hear::restored(&mut work, *mention, text),
        Input::Erased => hear::erased(&mut work),
        Input::Asked { by, what } => {
            settle::settle(&mut work);
            ask::asked(&mut work, by, what)
        }
        Input::Due => Reason::NothingDue,
    };
    let settled = settle::settle(&mut work);
    let reason = if *input == Input::Due { settled.unwrap_or(reason) } else { reason };
    // A wake-up used itself up, so it is asked for again even when nothing was due.
    if work.is_changed() || *input == Input::Due { work.done(reason) } else { nothing(state, reason) }
}

pub(crate) fn nothing(state: Option<&Case>, reason: Reason) -> Decision {
    Decision { next: state.cloned(), effects: Vec::new(), reason }
}
