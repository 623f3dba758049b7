//! What every part of response works with, and the one way in which a decision is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use casework::{Case, CaseChanged, Decision, Effect};
use model::{CaseId, Timestamp};
use prost::{Message as _, Name as _};
use runtime::{Clock, telemetry};
use store::{Store, Tx, due, outbox};
use tokio::sync::{Notify, watch};

use crate::config::Policies;
use crate::store::{self as tables, SERVICE, TableError, Told};
use crate::wire;

/// Where changes of cases go.
pub(crate) const CASES: &str = "cases";
/// Where refused records go.
pub(crate) const DEAD_LETTERS: &str = "deadletter";
/// The kind of due work that asks a case again.
const DUE_CASE: &str = "case";

/// What every part of response works with.
pub(crate) struct Desk {
    pub(crate) store: Store,
    pub(crate) policies: Policies,
    pub(crate) clock: Arc<dyn Clock>,
    /// Something may be due earlier than the timers believe.
    pub(crate) planned: Notify,
    /// Something waits to be sent.
    pub(crate) to_send: Notify,
    /// Counts up with each transaction that told something.
    pub(crate) told: watch::Sender<u64>,
}

impl Desk {
    pub(crate) fn new(store: Store, policies: Policies, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            policies,
            clock,
            planned: Notify::new(),
            to_send: Notify::new(),
            told: watch::Sender::new(0),
        }
    }

    /// Wakes whoever waits for what a transaction just committed.
    pub(crate) fn committed(&self) {
        self.planned.notify_one();
        self.to_send.notify_one();
        self.told.send_modify(|n| *n = n.wrapping_add(1));
    }
}

/// A case with what is to be kept of it.
pub(crate) struct Open {
    /// The case as it will be.
    pub(crate) case: Case,
    /// The version it was read at; absent for a new one.
    before: Option<u64>,
    told: Vec<CaseChanged>,
    wake: Option<Option<Timestamp>>,
}

impl Open {
    /// A case as read.
    pub(crate) fn read(case: Case) -> Self {
        Self { before: Some(case.version), case, told: Vec::new(), wake: None }
    }

    /// A case that was just opened.
    pub(crate) fn new(decision: Decision) -> Option<Self> {
        let case = decision.next.clone()?;
        let mut open = Self { before: None, case, told: Vec::new(), wake: None };
        open.absorb(decision);
        Some(open)
    }

    /// Takes over what was decided.
    pub(crate) fn absorb(&mut self, decision: Decision) {
        if let Some(next) = decision.next {
            self.case = next;
        }
        for effect in decision.effects {
            match effect {
                Effect::Publish(changed) => self.told.push(*changed),
                Effect::WakeAt(at) => self.wake = Some(at),
            }
        }
    }

    fn is_changed(&self) -> bool {
        !self.told.is_empty()
    }
}

/// Keeps cases, their history, their due times and what is to be published, with whatever else `tx` does.
pub(crate) async fn keep<'a>(
    desk: &Desk,
    tx: &mut Tx,
    cases: impl IntoIterator<Item = &'a Open> + Clone,
    now: Timestamp,
) -> Result<(), TableError> {
    for open in cases.clone() {
        if open.is_changed() {
            let policy = desk.policies.of(&open.case.brand);
            tables::save(tx, &open.case, open.before, open.case.is_overdue(now, policy)).await?;
        }
        if let Some(wake) = open.wake {
            plan(tx, open.case.id, wake).await?;
        }
    }
    // Last, because the counter holds others up until the commit.
    let told: usize = cases.clone().into_iter().map(|open| open.told.len()).sum();
    if told == 0 {
        return Ok(());
    }
    let first = tables::history_ids(tx, i64::try_from(told).unwrap_or(i64::MAX)).await?;
    let changes = cases.clone().into_iter().flat_map(|open| &open.told);
    let rows: Vec<_> = (first..).zip(changes).map(|(id, changed)| row(desk, id, changed)).collect();
    tables::tell(tx, &rows).await?;
    let trace = trace();
    for row in rows {
        let message = outbox::Message { headers: trace.clone(), ..message(row, now) };
        outbox::enqueue(tx, SERVICE, &message, now).await?;
    }
    for open in cases.into_iter().filter(|open| open.case.is_erased && open.is_changed()) {
        forget(tx, &open.case).await?;
    }
    Ok(())
}

async fn plan(tx: &mut Tx, case: CaseId, wake: Option<Timestamp>) -> Result<(), TableError> {
    let key = case.to_string();
    match wake {
        Some(due_at) => {
            let due = due::Due { key, due_at, kind: DUE_CASE.into(), body: Vec::new() };
            due::put(tx, SERVICE, &due).await?;
        }
        None => {
            due::cancel(tx, SERVICE, &key).await?;
        }
    }
    Ok(())
}

fn delivery_id(case: CaseId, sequence: u64) -> String {
    format!("{case}/{sequence}")
}

fn row<'a>(desk: &Desk, id: i64, changed: &'a CaseChanged) -> Told<'a> {
    let case = &changed.case;
    let event = wire::event(changed, desk.policies.of(&case.brand));
    Told {
        id,
        case: case.id,
        sequence: changed.sequence,
        brand: &case.brand,
        change: event.change,
        at: changed.at,
        body: event.encode_to_vec(),
    }
}

/// What the present work was caused by, for those who read the change; empty when nobody traces.
fn trace() -> String {
    let mut names = BTreeMap::new();
    telemetry::inject(|name, value| {
        names.insert(name.to_owned(), value);
    });
    if names.is_empty() { String::new() } else { serde_json::to_string(&names).unwrap_or_default() }
}

fn message(told: Told<'_>, now: Timestamp) -> outbox::Message {
    outbox::Message {
        delivery_id: delivery_id(told.case, told.sequence),
        ordering_key: told.case.to_string(),
        destination: CASES.into(),
        kind: contracts::response::v1::CaseEvent::full_name(),
        body: told.body,
        headers: String::new(),
        due_at: now,
    }
}

/// Takes the customer out of everything told before.
async fn forget(tx: &mut Tx, case: &Case) -> Result<(), TableError> {
    for past in tables::history(&mut **tx, case.id).await? {
        let Ok(mut event) = contracts::response::v1::CaseEvent::decode(past.body.as_slice()) else {
            continue;
        };
        wire::forget(&mut event, case.customer.as_str());
        tables::rewrite(tx, past.id, &delivery_id(case.id, event.sequence), event.encode_to_vec()).await?;
    }
    Ok(())
}
