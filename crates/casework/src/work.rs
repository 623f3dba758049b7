use model::{PromiseId, Timestamp};

use crate::{
    Case, CaseChanged, CaseState, Change, ClockView, Decision, Effect, Policy, Reason, Turn, TurnKind, settle,
};

/// A decision in the making: the case as it will be, and what was told so far.
pub(crate) struct Work<'a> {
    pub(crate) case: Case,
    pub(crate) now: Timestamp,
    pub(crate) policy: &'a Policy,
    effects: Vec<Effect>,
}

impl<'a> Work<'a> {
    pub(crate) fn new(case: &Case, now: Timestamp, policy: &'a Policy) -> Self {
        Self { case: case.clone(), now, policy, effects: Vec::new() }
    }

    pub(crate) fn is_changed(&self) -> bool {
        !self.effects.is_empty()
    }

    /// Tells a change that was just made.
    pub(crate) fn tell(&mut self, change: Change, at: Timestamp, by: &str, reason: Reason) {
        self.tell_about(change, at, by, reason, None, None);
    }

    pub(crate) fn tell_about(
        &mut self,
        change: Change,
        at: Timestamp,
        by: &str,
        reason: Reason,
        clock: Option<ClockView>,
        promise: Option<PromiseId>,
    ) {
        self.case.version += 1;
        self.case.changed_at = self.now;
        self.effects.push(Effect::Publish(Box::new(CaseChanged {
            sequence: self.case.version,
            change,
            case: self.case.without_words(),
            at,
            by: by.to_owned(),
            reason,
            clock,
            promise,
        })));
    }

    /// A turn of the customer or the brand; `told` says what it is. Tells also when the turn changed hands.
    pub(crate) fn take_turn(&mut self, turn: Turn, by: &str, change: Change, reason: Reason) {
        let waited = self.case.state == CaseState::Waiting;
        self.case.take_turn(turn, self.policy);
        self.tell(change, turn.at, by, reason);
        match (waited, self.case.state) {
            (false, CaseState::Waiting) => self.tell(Change::Paused, turn.at, by, Reason::WaitingForCustomer),
            (true, CaseState::Open | CaseState::New) => {
                self.tell(Change::Resumed, turn.at, by, Reason::CustomerReturned);
            }
            _ => {}
        }
    }

    /// The time of something done by hand: now, but never before what was already said.
    pub(crate) fn hand_turn(&self, kind: TurnKind) -> Turn {
        let at = self.case.turns.last().map_or(self.now, |t| t.at.max(self.now));
        Turn { at, seen_at: at, kind }
    }

    pub(crate) fn done(mut self, reason: Reason) -> Decision {
        let wake = settle::wakes_at(&self.case, self.policy);
        self.effects.push(Effect::WakeAt(wake));
        Decision { next: Some(self.case), effects: self.effects, reason }
    }
}
