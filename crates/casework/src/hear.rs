//! What is said in public or written to the brand.

use model::{AuthorKey, CaseId, MentionId, Timestamp};

use crate::decide::nothing;
use crate::matter::{is_complaint, is_ignored, is_thanks, is_won_back, opens};
use crate::work::Work;
use crate::{
    Answered, Case, CaseState, Change, Decision, Message, Policy, Reason, Refusal, Resolution, Said, Side,
    Turn, TurnKind, settle,
};

pub(crate) fn open(said: &Said, now: Timestamp, policy: &Policy) -> Decision {
    if !opens(said, policy) {
        return nothing(None, not_heard(said, policy).unwrap_or(Reason::NoComplaint));
    }
    let reason = if is_complaint(said, policy) {
        Reason::Complaint { probability: said.complaint, severity: said.severity }
    } else {
        Reason::PrivateMessage
    };
    let mut case = Case {
        id: CaseId::derive(&[said.brand.as_str(), said.author.as_str(), &said.mention.to_string()]),
        version: 0,
        brand: said.brand.clone(),
        topic: said.topic.clone(),
        customer: said.author.clone(),
        handle: said.handle.clone(),
        state: CaseState::New,
        assignee: String::new(),
        severity: said.severity,
        opened_at: said.at,
        changed_at: now,
        thread_root: said.thread_root,
        turns: Vec::new(),
        clocks: Vec::new(),
        promises: Vec::new(),
        messages: Vec::new(),
        waiting_since: None,
        answered_at: None,
        resolved_at: None,
        reopened: 0,
        won_back_at: None,
        resolution: None,
        root_cause: String::new(),
        is_private: false,
        is_erased: false,
    };
    case.add_message(message(said));
    let mut work = Work::new(&case, now, policy);
    work.take_turn(turn(said), "", Change::Opened, reason.clone());
    settle::settle(&mut work);
    work.done(reason)
}

pub(crate) fn said(work: &mut Work<'_>, said: &Said) -> Reason {
    if work.case.is_erased {
        return Reason::NoCase;
    }
    if let Some(known) = work.case.messages.iter_mut().find(|m| m.mention == Some(said.mention)) {
        if !said.is_edit || known.is_withdrawn || known.text == message(said).text {
            return Reason::Repeat;
        }
        known.text = message(said).text;
        raise(work, said);
        work.tell(Change::CustomerSpoke, said.at, "", Reason::Edited);
        return Reason::Edited;
    }
    if let Some(reason) = not_heard(said, work.policy) {
        return reason;
    }
    work.case.add_message(message(said));
    raise(work, said);
    if work.case.handle.is_empty() {
        work.case.handle.clone_from(&said.handle);
    }
    if is_won_back(said, &work.case, work.policy) {
        return won_back(work, said);
    }
    if is_thanks(said, work.policy) {
        // Thanks want no answer: no clock starts.
        work.tell(Change::CustomerSpoke, said.at, "", Reason::CustomerSpoke);
        return Reason::CustomerSpoke;
    }
    let complains_again =
        work.case.resolved_at.is_some_and(|resolved| said.at > resolved) && opens(said, work.policy);
    if complains_again {
        reopen(work, said.at);
        work.take_turn(turn(said), "", Change::Reopened, Reason::ComplainedAgain);
        return Reason::ComplainedAgain;
    }
    work.case.opened_at = work.case.opened_at.min(said.at);
    work.take_turn(turn(said), "", Change::CustomerSpoke, Reason::CustomerSpoke);
    Reason::CustomerSpoke
}

pub(crate) fn answered(work: &mut Work<'_>, answered: &Answered) -> Reason {
    if work.case.is_erased {
        return Reason::NoCase;
    }
    if work.case.message(answered.mention).is_some() {
        return Reason::Repeat;
    }
    work.case.add_message(Message {
        mention: Some(answered.mention),
        side: Side::Brand,
        text: answered.text.clone(),
        author: answered.author.clone(),
        permalink: answered.permalink.clone(),
        at: answered.at,
        is_public: answered.is_public,
        is_automatic: answered.is_automatic,
        is_withdrawn: false,
    });
    if answered.is_automatic {
        work.tell(Change::BrandAnswered, answered.at, "", Reason::Automatic);
        return Reason::Automatic;
    }
    let waits = answered.channel_move >= work.policy.channel_move_at;
    let turn = Turn {
        at: answered.at,
        seen_at: answered.seen_at.max(answered.at),
        kind: TurnKind::Answer { waits },
    };
    work.take_turn(turn, "", Change::BrandAnswered, Reason::BrandAnswered);
    Reason::BrandAnswered
}

pub(crate) fn withdrawn(work: &mut Work<'_>, mention: MentionId) -> Reason {
    let Some(known) = work.case.messages.iter_mut().find(|m| m.mention == Some(mention)) else {
        return Reason::NoCase;
    };
    if known.is_withdrawn {
        return Reason::Repeat;
    }
    forget(known);
    let nothing_left = work.case.messages.iter().filter(|m| m.side == Side::Customer).all(|m| m.is_withdrawn);
    if nothing_left {
        work.case.handle.clear();
        end_as_withdrawn(work);
    }
    work.tell(Change::Withdrawn, work.now, "", Reason::Withdrawn);
    Reason::Withdrawn
}

pub(crate) fn restored(work: &mut Work<'_>, mention: MentionId, text: &str) -> Reason {
    let Some(known) = work.case.messages.iter_mut().find(|m| m.mention == Some(mention)) else {
        return Reason::NoCase;
    };
    if !known.is_withdrawn || work.case.is_erased {
        return Reason::Repeat;
    }
    known.is_withdrawn = false;
    known.text = text.to_owned();
    if work.case.resolution == Some(Resolution::Withdrawn) {
        let turn = work.hand_turn(TurnKind::Customer);
        reopen(work, turn.at);
        work.take_turn(turn, "", Change::Reopened, Reason::Restored);
    } else {
        work.tell(Change::CustomerSpoke, work.now, "", Reason::Restored);
    }
    Reason::Restored
}

pub(crate) fn erased(work: &mut Work<'_>) -> Reason {
    if work.case.is_erased {
        return Reason::Repeat;
    }
    let nobody = format!("erased:{}", work.case.id);
    let Ok(nobody) = AuthorKey::parse(&nobody) else { return Reason::Refused(Refusal::Forgotten) };
    work.case.customer = nobody;
    work.case.handle.clear();
    work.case.is_erased = true;
    work.case.messages.iter_mut().for_each(forget);
    end_as_withdrawn(work);
    work.tell(Change::Withdrawn, work.now, "", Reason::Erased);
    Reason::Erased
}

fn not_heard(said: &Said, policy: &Policy) -> Option<Reason> {
    is_ignored(said, policy).then_some(if said.is_automatic { Reason::Automatic } else { Reason::Spam })
}

fn won_back(work: &mut Work<'_>, said: &Said) -> Reason {
    if work.case.won_back_at.is_some() {
        work.tell(Change::CustomerSpoke, said.at, "", Reason::CustomerSpoke);
        return Reason::CustomerSpoke;
    }
    work.case.won_back_at = Some(said.at);
    work.tell(Change::WonBack, said.at, "", Reason::WonBack);
    if work.case.state != CaseState::Resolved {
        let at = work.case.turns.last().map_or(said.at, |t| t.at.max(said.at));
        work.case.resolution = Some(Resolution::WonBack);
        let turn = Turn { at, seen_at: said.seen_at.max(at), kind: TurnKind::Resolved };
        let reason = Reason::Resolved { resolution: Resolution::WonBack, note: String::new() };
        work.take_turn(turn, "", Change::Resolved, reason);
    }
    Reason::WonBack
}

/// Prepares the case for a turn that begins it again at `at`.
pub(crate) fn reopen(work: &mut Work<'_>, at: Timestamp) {
    work.case.reopened += 1;
    work.case.resolution = None;
    work.case.won_back_at = None;
    work.case.take_turn(Turn { at, seen_at: at, kind: TurnKind::Reopened }, work.policy);
}

fn end_as_withdrawn(work: &mut Work<'_>) {
    if work.case.state == CaseState::Resolved {
        return;
    }
    work.case.resolution = Some(Resolution::Withdrawn);
    let turn = work.hand_turn(TurnKind::Withdrawn);
    work.case.take_turn(turn, work.policy);
}

fn forget(message: &mut Message) {
    message.text.clear();
    message.author.clear();
    message.permalink.clear();
    message.is_withdrawn = true;
}

fn raise(work: &mut Work<'_>, said: &Said) {
    if is_complaint(said, work.policy) {
        work.case.severity = work.case.severity.max(said.severity);
    }
}

fn message(said: &Said) -> Message {
    Message {
        mention: Some(said.mention),
        side: Side::Customer,
        text: said.text.chars().take(crate::MESSAGE_CHARS_MAX).collect(),
        author: said.handle.clone(),
        permalink: said.permalink.clone(),
        at: said.at,
        is_public: said.is_public,
        is_automatic: said.is_automatic,
        is_withdrawn: false,
    }
}

fn turn(said: &Said) -> Turn {
    Turn { at: said.at, seen_at: said.seen_at.max(said.at), kind: TurnKind::Customer }
}
