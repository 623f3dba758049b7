//! What falls due: warnings, breaches, broken promises, silence.

use model::Timestamp;

use crate::work::Work;
use crate::{Case, CaseState, Change, Policy, PromiseState, Reason, Resolution, Turn, TurnKind};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    ClockWarning(usize),
    ClockBreach(usize),
    PromiseWarning(usize),
    PromiseBreach(usize),
    Silence,
}

/// Tells everything that fell due until now, in the order of its time; the last reason, if any.
pub(crate) fn settle(work: &mut Work<'_>) -> Option<Reason> {
    let mut last = None;
    // Each pass tells something once, so there is an end.
    loop {
        let next =
            dues(&work.case, work.policy, work.now).into_iter().filter(|(at, _)| *at <= work.now).min();
        let Some((at, due)) = next else { return last };
        last = Some(tell(work, at, due));
    }
}

/// When something will fall due next, for a case that is settled.
pub(crate) fn wakes_at(case: &Case, policy: &Policy) -> Option<Timestamp> {
    // Nothing is past any more, so no warning is left out for its breach.
    dues(case, policy, Timestamp::MIN).into_iter().map(|(at, _)| at).min()
}

fn tell(work: &mut Work<'_>, at: Timestamp, due: Due) -> Reason {
    match due {
        Due::ClockWarning(i) | Due::ClockBreach(i) => {
            let is_breach = matches!(due, Due::ClockBreach(_));
            let clock = &mut work.case.clocks[i];
            let calendar = work.policy.calendar_of(&clock.calendar);
            let due_at = calendar.and_then(|c| clock.breaches_at(c));
            if is_breach {
                clock.breach_told = due_at
            } else {
                clock.warned = due_at
            }
            let view = calendar.and_then(|c| clock.view(at, c));
            let (kind, side, due_at) = (clock.kind, clock.side, due_at.unwrap_or(at));
            let (change, reason) = if is_breach {
                (Change::Breached, Reason::Breached { kind, side, due_at })
            } else {
                (Change::Warned, Reason::DueSoon { kind, side, due_at })
            };
            work.tell_about(change, at, "", reason.clone(), view, None);
            reason
        }
        Due::PromiseWarning(i) => {
            let promise = &mut work.case.promises[i];
            promise.is_warned = true;
            let (id, reason) = (promise.id, Reason::PromiseDueSoon { due_at: promise.due_at });
            work.tell_about(Change::Warned, at, "", reason.clone(), None, Some(id));
            reason
        }
        Due::PromiseBreach(i) => {
            let promise = &mut work.case.promises[i];
            promise.state = PromiseState::Broken;
            promise.ended_at = Some(promise.due_at);
            let (id, reason) = (promise.id, Reason::PromiseBroken { due_at: promise.due_at });
            work.tell_about(Change::PromiseBroken, at, "", reason.clone(), None, Some(id));
            reason
        }
        Due::Silence => {
            // The matter ended with the last answer, not when we were sure of it.
            let ended = work.case.last_said_at();
            work.case.resolution = Some(Resolution::Answered);
            work.case.take_turn(Turn { at: ended, seen_at: ended, kind: TurnKind::Resolved }, work.policy);
            let reason = Reason::Resolved { resolution: Resolution::Answered, note: String::new() };
            work.tell(Change::Resolved, at, "", reason.clone());
            reason
        }
    }
}

fn dues(case: &Case, policy: &Policy, now: Timestamp) -> Vec<(Timestamp, Due)> {
    let mut dues = Vec::new();
    for (i, clock) in case.clocks.iter().enumerate() {
        let Some(calendar) = policy.calendar_of(&clock.calendar) else { continue };
        let Some(breach) = clock.breaches_at(calendar) else { continue };
        if clock.breach_told.is_some_and(|told| told >= breach) {
            continue;
        }
        dues.push((breach, Due::ClockBreach(i)));
        let is_warned = clock.warned.is_some_and(|told| told >= breach);
        if !is_warned
            && breach > now
            && let Some(warn) = clock.warns_at(calendar)
        {
            dues.push((warn, Due::ClockWarning(i)));
        }
    }
    for (i, promise) in case.promises.iter().enumerate().filter(|(_, p)| p.state == PromiseState::Open) {
        dues.push((promise.due_at, Due::PromiseBreach(i)));
        let warn = promise.due_at.plus_millis(-policy.promise_warn_before_ms);
        let is_wanted = policy.promise_warn_before_ms > 0 && warn > promise.made_at && !promise.is_warned;
        if is_wanted && promise.due_at > now {
            dues.push((warn, Due::PromiseWarning(i)));
        }
    }
    dues.extend(silence(case, policy).map(|at| (at, Due::Silence)));
    dues
}

fn silence(case: &Case, policy: &Policy) -> Option<Timestamp> {
    let is_quiet = policy.close_when_silent_ms > 0
        && case.state != CaseState::Resolved
        && case.waiting_since.is_none()
        && case.turns.last().is_some_and(|t| matches!(t.kind, TurnKind::Answer { .. }))
        && case.promises.iter().all(|p| p.state != PromiseState::Open);
    is_quiet.then(|| case.last_said_at().plus_millis(policy.close_when_silent_ms))
}
