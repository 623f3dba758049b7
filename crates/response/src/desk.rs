//! What every part of response works with, and the one way in which a decision is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use casework::{Case, CaseChanged, Decision, Effect};
use model::Timestamp;
use prost::Message as _;
use runtime::{Clock, telemetry};
use store::due::{self, Due};
use store::{Store, Tx};
use tokio::sync::{Notify, watch};

use crate::config::Policies;
use crate::store::{self as tables, SERVICE, Saved, TableError, Told};
use crate::wire;

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
    /// A change waits to be sent.
    pub(crate) to_tell: Notify,
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
            to_tell: Notify::new(),
            told: watch::Sender::new(0),
        }
    }

    /// Wakes whoever waits for what a transaction just committed.
    pub(crate) fn committed(&self) {
        self.planned.notify_one();
        self.to_tell.notify_one();
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

/// Keeps cases, their history, which is also what is to be published, and their due times, with whatever
/// else `tx` does.
pub(crate) async fn keep(
    desk: &Desk,
    tx: &mut Tx,
    cases: &[&Open],
    now: Timestamp,
) -> Result<(), TableError> {
    let changed: Vec<&Open> = cases.iter().copied().filter(|open| open.is_changed()).collect();
    let saved = changed.iter().map(|open| Saved {
        case: &open.case,
        before: open.before,
        is_overdue: open.case.is_overdue(now, desk.policies.of(&open.case.brand)),
    });
    tables::save(tx, &saved.collect::<Vec<_>>()).await?;
    plan(tx, cases).await?;
    // Last, because the counter holds others up until the commit.
    let told: Vec<_> = changed.iter().flat_map(|open| &open.told).collect();
    if told.is_empty() {
        return Ok(());
    }
    let first = tables::history_ids(tx, i64::try_from(told.len()).unwrap_or(i64::MAX)).await?;
    let rows: Vec<_> = (first..).zip(told).map(|(id, changed)| row(desk, id, changed)).collect();
    tables::tell(tx, &rows, &trace()).await?;
    for open in changed.iter().filter(|open| open.case.is_erased) {
        forget(tx, &open.case).await?;
    }
    Ok(())
}

/// Writes when cases are to be asked again.
async fn plan(tx: &mut Tx, cases: &[&Open]) -> Result<(), TableError> {
    let (mut dues, mut none) = (Vec::new(), Vec::new());
    for open in cases {
        let key = open.case.id.to_string();
        match open.wake {
            Some(Some(due_at)) => dues.push(Due { key, due_at, kind: DUE_CASE.into(), body: Vec::new() }),
            // A new case was never planned.
            Some(None) if open.before.is_some() => none.push(key),
            Some(None) | None => {}
        }
    }
    due::put_all(tx, SERVICE, &dues).await?;
    due::cancel_all(tx, SERVICE, &none).await?;
    Ok(())
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

/// Takes the customer out of everything told before.
async fn forget(tx: &mut Tx, case: &Case) -> Result<(), TableError> {
    for past in tables::history(&mut **tx, case.id).await? {
        let Ok(mut event) = contracts::response::v1::CaseEvent::decode(past.body.as_slice()) else {
            continue;
        };
        wire::forget(&mut event, case.customer.as_str());
        tables::rewrite(tx, past.id, event.encode_to_vec()).await?;
    }
    Ok(())
}
