//! Cases in the words of the contract.

use bytes::Bytes;
use casework::{
    Case, CaseChanged, CaseState, Change, ClockKind, ClockSide, ClockState, ClockView, Message, Policy,
    Promise, PromiseState,
};
use contracts::id;
use contracts::response::v1 as wire;
use model::Timestamp;

/// The case as people see it at `now`.
pub(crate) fn case(case: &Case, now: Timestamp, policy: &Policy) -> wire::Case {
    wire::Case {
        case_id: id(case.id.as_bytes()),
        version: case.version,
        brand: case.brand.to_string(),
        topic: case.topic.as_ref().map(ToString::to_string).unwrap_or_default(),
        customer_key: case.customer.as_str().to_owned(),
        customer_handle: case.handle.clone(),
        state: state(case.state).into(),
        assignee: case.assignee.clone(),
        severity: u32::from(case.severity.level()),
        opened_at_us: case.opened_at.as_micros(),
        changed_at_us: case.changed_at.as_micros(),
        clocks: case.clocks_at(now, policy).iter().map(clock).collect(),
        promises: case.promises.iter().map(promise).collect(),
        messages: case.messages.iter().map(message).collect(),
        thread_root: id(case.thread_root.as_bytes()),
        waiting_since_us: case.waiting_since.map(Timestamp::as_micros),
        reopened: case.reopened,
        won_back_at_us: case.won_back_at.map(Timestamp::as_micros),
        resolution: case.resolution.map(|r| r.name().to_owned()).unwrap_or_default(),
        root_cause: case.root_cause.clone(),
        is_private: case.is_private,
    }
}

/// One change, as told to the world.
pub(crate) fn event(changed: &CaseChanged, policy: &Policy) -> wire::CaseEvent {
    wire::CaseEvent {
        sequence: changed.sequence,
        change: change(changed.change).into(),
        case: Some(case(&changed.case, changed.case.changed_at, policy)),
        at_us: changed.at.as_micros(),
        by: changed.by.clone(),
        reason_code: changed.reason.code().to_owned(),
        reason: changed.reason.to_string(),
        clock: changed.clock.as_ref().map(clock),
        promise_id: changed.promise.map_or_else(Bytes::new, |p| id(p.as_bytes())),
    }
}

/// Takes out of an event what tells who the customer is: of somebody who is to be forgotten.
pub(crate) fn forget(event: &mut wire::CaseEvent, customer_key: &str) {
    // A sentence may hold a note about the customer.
    event.reason.clone_from(&event.reason_code);
    if let Some(case) = &mut event.case {
        customer_key.clone_into(&mut case.customer_key);
        case.customer_handle.clear();
        case.messages.clear();
    }
}

pub(crate) fn state(state: CaseState) -> wire::CaseState {
    match state {
        CaseState::New => wire::CaseState::New,
        CaseState::Open => wire::CaseState::Open,
        CaseState::Waiting => wire::CaseState::Waiting,
        CaseState::Resolved => wire::CaseState::Resolved,
    }
}

pub(crate) fn change(change: Change) -> wire::CaseChange {
    match change {
        Change::Opened => wire::CaseChange::Opened,
        Change::CustomerSpoke => wire::CaseChange::CustomerSpoke,
        Change::BrandAnswered => wire::CaseChange::BrandAnswered,
        Change::Assigned => wire::CaseChange::Assigned,
        Change::Promised => wire::CaseChange::Promised,
        Change::PromiseKept => wire::CaseChange::PromiseKept,
        Change::PromiseBroken => wire::CaseChange::PromiseBroken,
        Change::PromiseRenegotiated => wire::CaseChange::PromiseRenegotiated,
        Change::Breached => wire::CaseChange::Breached,
        Change::Warned => wire::CaseChange::Warned,
        Change::Resolved => wire::CaseChange::Resolved,
        Change::Reopened => wire::CaseChange::Reopened,
        Change::WonBack => wire::CaseChange::WonBack,
        Change::Withdrawn => wire::CaseChange::Withdrawn,
        Change::Paused => wire::CaseChange::Paused,
        Change::Resumed => wire::CaseChange::Resumed,
    }
}

fn clock(view: &ClockView) -> wire::Clock {
    let kind = match view.kind {
        ClockKind::FirstAnswer => wire::ClockKind::FirstAnswer,
        ClockKind::NextAnswer => wire::ClockKind::NextAnswer,
        ClockKind::Resolution => wire::ClockKind::Resolution,
    };
    let side = match view.side {
        ClockSide::Customer => wire::ClockSide::Customer,
        ClockSide::Contract => wire::ClockSide::Contract,
        ClockSide::Team => wire::ClockSide::Team,
    };
    let state = match view.state {
        ClockState::Running => wire::ClockState::Running,
        ClockState::Paused => wire::ClockState::Paused,
        ClockState::Fulfilled => wire::ClockState::Fulfilled,
        ClockState::Breached => wire::ClockState::Breached,
        ClockState::Cancelled => wire::ClockState::Cancelled,
    };
    wire::Clock {
        kind: kind.into(),
        side: side.into(),
        state: state.into(),
        started_at_us: view.started_at.as_micros(),
        due_at_us: view.due_at.map(Timestamp::as_micros),
        ended_at_us: view.ended_at.map(Timestamp::as_micros),
        elapsed_ms: view.elapsed_ms,
        target_ms: view.target_ms,
        was_breached: view.was_breached,
    }
}

fn promise(promise: &Promise) -> wire::Promise {
    let state = match promise.state {
        PromiseState::Open => wire::PromiseState::Open,
        PromiseState::Kept => wire::PromiseState::Kept,
        PromiseState::Broken => wire::PromiseState::Broken,
        PromiseState::Renegotiated => wire::PromiseState::Renegotiated,
    };
    wire::Promise {
        promise_id: id(promise.id.as_bytes()),
        what: promise.what.clone(),
        owner: promise.owner.clone(),
        made_at_us: promise.made_at.as_micros(),
        due_at_us: promise.due_at.as_micros(),
        state: state.into(),
        ended_at_us: promise.ended_at.map(Timestamp::as_micros),
        evidence: promise.evidence.clone(),
    }
}

fn message(message: &Message) -> wire::CaseMessage {
    wire::CaseMessage {
        mention_id: message.mention.map_or_else(Bytes::new, |m| id(m.as_bytes())),
        side: message.side.name().to_owned(),
        text: message.text.clone(),
        author: message.author.clone(),
        permalink: message.permalink.clone(),
        at_us: message.at.as_micros(),
        is_public: message.is_public,
        is_automatic: message.is_automatic,
    }
}
