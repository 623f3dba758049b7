//! The tables of response. Facts only; rules are in `casework`.

mod cases;
mod early;
mod history;
mod lists;

use std::collections::BTreeSet;

use model::{CaseId, Timestamp};
use store::sqlx::any::AnyRow;
use store::sqlx::{self, Row};
use store::{Backend, Doing, Migration, Statement, Store, StoreError, Tx};

pub(crate) use cases::{Places, Saved, case, cases, cases_in, cases_of, place, places, save};
pub(crate) use early::{Early, drop_early, early_answers, keep_early};
pub(crate) use history::{
    Past, Told, advance_told, claim_told, history, history_after, history_end, history_ids, rewrite, tell,
    untold,
};
pub(crate) use lists::{Filter, FirstAnswers, Place, changes, count, list, unanswered};

/// The service's name, and the prefix of its tables.
pub const SERVICE: &str = "response";

/// The tables of response, for `redress migrate`.
pub const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "cases", sql: include_str!("../migrations/0001_cases.sql") },
    Migration {
        version: 2,
        name: "told_from_history",
        sql: include_str!("../migrations/0002_told_from_history.sql"),
    },
];

/// Values per `IN (...)`.
const IN_MAX: usize = 512;
/// Groups of customers and mentions that transactions keep each other from on Postgres.
const LOCKS: u32 = 256;
const LOCK_SPACE: i64 = 0x5245_5350_0000;
/// Something these tables could not do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TableError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row is not what was written.
    #[error("reading {what} {id}: {problem}")]
    Damaged {
        /// What kind of row.
        what: &'static str,
        /// Which.
        id: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Somebody else changed a case meanwhile: begin again.
    #[error("a case was changed by somebody else meanwhile")]
    Conflict,
}

impl TableError {
    /// The same transaction may succeed when begun again.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Conflict => true,
            Self::Store(error @ StoreError::Sql { source: sqlx::Error::Database(cause), .. }) => {
                cause.is_unique_violation() || error.may_pass()
            }
            Self::Store(error) => error.may_pass(),
            Self::Damaged { .. } => false,
        }
    }
}

fn damaged(what: &'static str, id: &str, problem: impl ToString) -> TableError {
    TableError::Damaged { what, id: id.to_owned(), problem: problem.to_string() }
}

/// Keeps other processes from the same customers and threads until `tx` ends, so that two posts that arrive
/// at once open one case. SQLite has one writer anyway.
pub(crate) async fn lock(store: &Store, tx: &mut Tx, keys: &BTreeSet<String>) -> Result<(), StoreError> {
    if store.backend() == Backend::Sqlite {
        return Ok(());
    }
    let groups: BTreeSet<u32> = keys.iter().map(|key| group(key)).collect();
    if groups.is_empty() {
        return Ok(());
    }
    // In order, so that two transactions never wait for each other.
    let mut lock = Statement::new("SELECT pg_advisory_xact_lock(g.column1) FROM (");
    lock.values(groups, |row, group| {
        row.bind(LOCK_SPACE + i64::from(group));
    })
    .push(") AS g");
    lock.rows(&mut **tx, "waiting for another batch").await?;
    Ok(())
}

fn group(key: &str) -> u32 {
    let mut hash: u32 = 0x811c_9dc5;
    for byte in key.bytes() {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    (hash ^ (hash >> 16)) % LOCKS
}

fn number(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}

/// What was asked under a key, and of which case.
pub(crate) async fn request(tx: &mut Tx, key: &str) -> Result<Option<(String, String)>, TableError> {
    let mut query = Statement::new("SELECT request, case_id FROM response_requests WHERE idempotency_key = ");
    query.bind(key.to_owned());
    let rows = query.rows(&mut **tx, "looking for a repeat").await?;
    let read = |row: &AnyRow| Ok((row.try_get("request")?, row.try_get("case_id")?));
    Ok(rows.first().map(read).transpose().doing(|| "looking for a repeat".into())?)
}

pub(crate) async fn keep_request(
    tx: &mut Tx,
    key: &str,
    request: &str,
    case: CaseId,
    now: Timestamp,
) -> Result<(), TableError> {
    let mut insert =
        Statement::new("INSERT INTO response_requests (idempotency_key, request, case_id, at_us) VALUES (");
    insert.bind(key.to_owned()).push(", ").bind(request.to_owned()).push(", ");
    insert.bind(case.to_string()).push(", ").bind(now.as_micros()).push(")");
    insert.run(&mut **tx, "remembering a request").await?;
    Ok(())
}

/// Forgets answered requests and answers that waited for nothing, from before these times.
pub(crate) async fn purge(store: &Store, requests: Timestamp, early: Timestamp) -> Result<(), TableError> {
    let mut tx = store.begin().await?;
    let mut delete = Statement::new("DELETE FROM response_requests WHERE at_us < ");
    delete.bind(requests.as_micros());
    delete.run(&mut *tx, "forgetting old requests").await?;
    let mut delete = Statement::new("DELETE FROM response_early_answers WHERE at_us < ");
    delete.bind(early.as_micros());
    delete.run(&mut *tx, "forgetting early answers").await?;
    tx.commit().await.doing(|| "forgetting".into())?;
    Ok(())
}

/// Takes back what a member of this name had claimed before it ended: it is not to wait for the lease. Should
/// that member still live, it can no longer finish what it claimed.
pub(crate) async fn release(store: &Store, member: &str) -> Result<(), TableError> {
    ::store::release(store, SERVICE, Some(member)).await?;
    Ok(())
}

/// Every calendar that was ever in use, as kept.
pub(crate) async fn calendars(store: &Store) -> Result<Vec<String>, TableError> {
    let query = Statement::new("SELECT body FROM response_calendars ORDER BY version");
    let rows = query.rows(store.pool(), "reading the calendars").await?;
    let read = rows.iter().map(|r| r.try_get::<String, _>("body")).collect::<Result<_, _>>();
    Ok(read.doing(|| "reading the calendars".into())?)
}

pub(crate) async fn keep_calendar(store: &Store, version: &str, body: &str) -> Result<(), TableError> {
    let mut tx = store.begin().await?;
    let mut insert = Statement::new("INSERT INTO response_calendars (version, body) VALUES (");
    insert.bind(version.to_owned()).push(", ").bind(body.to_owned()).push(") ON CONFLICT DO NOTHING");
    insert.run(&mut *tx, "keeping a calendar").await?;
    tx.commit().await.doing(|| "keeping a calendar".into())?;
    Ok(())
}
