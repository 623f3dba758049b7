//! What somebody asks for.

use model::{PromiseId, Timestamp};

use crate::work::Work;
use crate::{
    CaseState, Change, Command, Message, PROMISES_MAX, Promise, PromiseState, Reason, Refusal, Resolution,
    Side, TurnKind, hear,
};

pub(crate) fn asked(work: &mut Work<'_>, by: &str, what: &Command) -> Reason {
    if work.case.is_erased {
        return Reason::Refused(Refusal::Forgotten);
    }
    match what {
        Command::Assign { assignee } => assign(work, by, assignee),
        Command::RecordReply { text, is_public, permalink, waits_for_customer } => {
            work.case.add_message(Message {
                mention: None,
                side: Side::Brand,
                text: text.clone(),
                author: by.to_owned(),
                permalink: permalink.clone(),
                at: work.now,
                is_public: *is_public,
                is_automatic: false,
                is_withdrawn: false,
            });
            let turn = work.hand_turn(TurnKind::Answer { waits: *waits_for_customer });
            work.take_turn(turn, by, Change::BrandAnswered, Reason::ReplyRecorded);
            Reason::ReplyRecorded
        }
        Command::Promise { what, owner, due_at, replaces } => {
            promise(work, by, what, owner, *due_at, *replaces)
        }
        Command::Keep { promise, evidence } => keep(work, by, *promise, evidence),
        Command::Resolve { note, root_cause } => resolve(work, by, note, root_cause),
        Command::Reopen { note } => {
            if work.case.state != CaseState::Resolved {
                return Reason::Refused(Refusal::NotResolved);
            }
            let at = work.hand_turn(TurnKind::Reopened).at;
            hear::reopen(work, at);
            let reason = Reason::ReopenedByHand { note: note.clone() };
            work.tell(Change::Reopened, at, by, reason.clone());
            reason
        }
    }
}

fn assign(work: &mut Work<'_>, by: &str, assignee: &str) -> Reason {
    if work.case.assignee == assignee {
        return Reason::Repeat;
    }
    assignee.clone_into(&mut work.case.assignee);
    work.case.refold(work.policy);
    let reason = if assignee.is_empty() { Reason::Unassigned } else { Reason::Assigned };
    work.tell(Change::Assigned, work.now, by, reason.clone());
    reason
}

fn promise(
    work: &mut Work<'_>,
    by: &str,
    what: &str,
    owner: &str,
    due_at: Timestamp,
    replaces: Option<PromiseId>,
) -> Reason {
    if what.trim().is_empty() {
        return Reason::Refused(Refusal::EmptyPromise);
    }
    if due_at <= work.now {
        return Reason::Refused(Refusal::DueInThePast);
    }
    let replaced = match replaces.map(|id| work.case.promises.iter().position(|p| p.id == id)) {
        None => None,
        Some(None) => return Reason::Refused(Refusal::NoSuchPromise),
        Some(Some(i)) if work.case.promises[i].state != PromiseState::Open => {
            return Reason::Refused(Refusal::PromiseNotOpen);
        }
        Some(found) => found,
    };
    let open = work.case.promises.iter().filter(|p| p.state == PromiseState::Open).count();
    if open - usize::from(replaced.is_some()) >= PROMISES_MAX {
        return Reason::Refused(Refusal::TooManyPromises);
    }
    if let Some(i) = replaced {
        let old = &mut work.case.promises[i];
        old.state = PromiseState::Renegotiated;
        old.ended_at = Some(work.now);
        let (id, reason) = (old.id, Reason::PromiseRenegotiated);
        work.tell_about(Change::PromiseRenegotiated, work.now, by, reason, None, Some(id));
    }
    if work.case.promises.len() >= PROMISES_MAX {
        // One has ended: fewer than the most are open.
        work.case
            .promises
            .iter()
            .position(|p| p.state != PromiseState::Open)
            .map(|i| work.case.promises.remove(i));
    }
    let id = PromiseId::derive(&[&work.case.id.to_string(), &(work.case.version + 1).to_string()]);
    work.case.promises.push(Promise {
        id,
        what: what.to_owned(),
        owner: if owner.is_empty() { by.to_owned() } else { owner.to_owned() },
        made_at: work.now,
        due_at,
        state: PromiseState::Open,
        ended_at: None,
        evidence: String::new(),
        is_warned: false,
    });
    work.tell_about(Change::Promised, work.now, by, Reason::Promised { due_at }, None, Some(id));
    Reason::Promised { due_at }
}

fn keep(work: &mut Work<'_>, by: &str, id: PromiseId, evidence: &str) -> Reason {
    let Some(promise) = work.case.promises.iter_mut().find(|p| p.id == id) else {
        return Reason::Refused(Refusal::NoSuchPromise);
    };
    if promise.state != PromiseState::Open {
        return Reason::Refused(Refusal::PromiseNotOpen);
    }
    promise.state = PromiseState::Kept;
    promise.ended_at = Some(work.now);
    evidence.clone_into(&mut promise.evidence);
    work.tell_about(Change::PromiseKept, work.now, by, Reason::PromiseKept, None, Some(id));
    Reason::PromiseKept
}

fn resolve(work: &mut Work<'_>, by: &str, note: &str, root_cause: &str) -> Reason {
    if work.case.state == CaseState::Resolved {
        return Reason::Refused(Refusal::AlreadyResolved);
    }
    work.case.resolution = Some(Resolution::ByHand);
    if !root_cause.is_empty() {
        root_cause.clone_into(&mut work.case.root_cause);
    }
    let turn = work.hand_turn(TurnKind::Resolved);
    let reason = Reason::Resolved { resolution: Resolution::ByHand, note: note.to_owned() };
    work.take_turn(turn, by, Change::Resolved, reason.clone());
    reason
}
