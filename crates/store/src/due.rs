//! Work for a given time: escalate, remind, breach. A row per piece of work, so that it survives restarts,
//! is done by one process among several, and can be moved or called off with the state it belongs to.

use std::collections::BTreeMap;
use std::time::Duration;

use model::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::lease::{Claim, Leased};
use crate::{Doing, Statement, Store, StoreError, Tx, name, pieces};

/// The most rows one claim takes.
pub const CLAIM_MAX: u32 = 500;

/// Work for a given time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// What it is called; a second one of the same name replaces the first.
    pub key: String,
    /// Not before.
    pub due_at: Timestamp,
    /// What to do, for the service.
    pub kind: String,
    /// With what; may be empty.
    pub body: Vec<u8>,
}

/// Work that is ours until the lease ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The work.
    pub due: Due,
    /// How often it was taken up, this time included: more than once means that a worker died or failed.
    pub claims: u32,
    /// Until when nobody else takes it.
    pub until: Timestamp,
    worker: String,
}

/// Writes or replaces work, with whatever else `tx` does. Who has an older version claimed can no longer
/// finish it.
///
/// # Errors
/// When the database fails.
pub async fn put(tx: &mut Tx, service: &str, due: &Due) -> Result<(), StoreError> {
    put_all(tx, service, std::slice::from_ref(due)).await
}

/// As [`put`], for many; of those with one key the last counts.
///
/// # Errors
/// When the database fails.
pub async fn put_all(tx: &mut Tx, service: &str, dues: &[Due]) -> Result<(), StoreError> {
    name::check(service)?;
    let last: BTreeMap<&str, &Due> = dues.iter().map(|due| (due.key.as_str(), due)).collect();
    let rows: Vec<&Due> = last.into_values().collect();
    for rows in pieces(&rows) {
        let mut insert = Statement::new(format!(
            "INSERT INTO {service}_due (key, due_at_us, kind, body, claimed_by, claimed_until_us, claims) "
        ));
        insert.values(rows, |row, due| {
            row.bind(due.key.clone()).bind(due.due_at.as_micros()).bind(due.kind.clone());
            row.bind(due.body.clone()).bind("").bind(0_i64).bind(0_i64);
        });
        insert.push(
            " ON CONFLICT (key) DO UPDATE SET due_at_us = excluded.due_at_us, kind = excluded.kind, \
             body = excluded.body, claimed_by = '', claimed_until_us = 0",
        );
        insert.run(&mut **tx, &format!("writing due work of {service}")).await?;
    }
    Ok(())
}

/// Calls work off, with whatever else `tx` does. False: there was none.
///
/// # Errors
/// When the database fails.
pub async fn cancel(tx: &mut Tx, service: &str, key: &str) -> Result<bool, StoreError> {
    Ok(cancel_all(tx, service, &[key.to_owned()]).await? == 1)
}

/// As [`cancel`], for many; how many there were.
///
/// # Errors
/// When the database fails.
pub async fn cancel_all(tx: &mut Tx, service: &str, keys: &[String]) -> Result<u64, StoreError> {
    name::check(service)?;
    let mut gone = 0;
    for keys in pieces(keys) {
        let mut delete = Statement::new(format!("DELETE FROM {service}_due WHERE key IN "));
        delete.list(keys);
        gone += delete.run(&mut **tx, &format!("calling off due work of {service}")).await?;
    }
    Ok(gone)
}

const LEASED: Leased = Leased {
    table: "due",
    key: "key",
    counter: "claims",
    columns: "key, due_at_us, kind, body, claims",
    is_free: "o.due_at_us <= $1",
    order: "o.due_at_us, o.key",
};

/// Takes up to `limit` (at most [`CLAIM_MAX`]) pieces of work that are due, earliest first, for `lease`.
///
/// # Errors
/// When the database fails.
pub async fn claim(
    store: &Store,
    service: &str,
    worker: &str,
    now: Timestamp,
    lease: Duration,
    limit: u32,
) -> Result<Vec<Claimed>, StoreError> {
    let claim = Claim { service, worker, now, lease, limit: limit.min(CLAIM_MAX) };
    let rows = claim.take(store, &LEASED).await?;
    let read = |row: &AnyRow| -> Result<Claimed, sqlx::Error> {
        let due = Due {
            key: row.try_get("key")?,
            due_at: Timestamp::from_micros(row.try_get("due_at_us")?),
            kind: row.try_get("kind")?,
            body: row.try_get("body")?,
        };
        let claims = u32::try_from(row.try_get::<i64, _>("claims")?).unwrap_or(u32::MAX);
        Ok(Claimed { due, claims, until: claim.until(), worker: worker.to_owned() })
    };
    let read = rows.iter().map(read).collect::<Result<Vec<_>, _>>();
    let mut claimed = read.doing(|| format!("reading claimed work of {service}"))?;
    claimed.sort_by(|a, b| (a.due.due_at, &a.due.key).cmp(&(b.due.due_at, &b.due.key)));
    Ok(claimed)
}

/// Ends claimed work, with whatever else `tx` does. False: it was moved, called off or taken over
/// meanwhile, and `tx` must not be committed.
///
/// # Errors
/// When the database fails.
pub async fn finish(tx: &mut Tx, service: &str, claimed: &Claimed) -> Result<bool, StoreError> {
    Ok(finish_all(tx, service, std::slice::from_ref(claimed)).await? == 1)
}

/// As [`finish`], for many; how many could be ended. `tx` must not be committed unless all could.
///
/// # Errors
/// When the database fails.
pub async fn finish_all(tx: &mut Tx, service: &str, claimed: &[Claimed]) -> Result<u64, StoreError> {
    name::check(service)?;
    let mut gone = 0;
    for claimed in pieces(claimed) {
        let mut delete = Statement::new(format!(
            "DELETE FROM {service}_due WHERE (key, claimed_by, claimed_until_us, claims) IN ("
        ));
        delete.values(claimed, |row, work| {
            row.bind(work.due.key.clone()).bind(work.worker.clone());
            row.bind(work.until.as_micros()).bind(i64::from(work.claims));
        });
        delete.push(")");
        gone += delete.run(&mut **tx, &format!("ending due work of {service}")).await?;
    }
    Ok(gone)
}

/// When to claim again; absent when nothing is planned.
///
/// # Errors
/// When the database fails.
pub async fn next_due(store: &Store, service: &str) -> Result<Option<Timestamp>, StoreError> {
    let sql = name::sql(
        service,
        "SELECT MIN(CASE WHEN claimed_until_us > due_at_us THEN claimed_until_us ELSE due_at_us END) \
         FROM {service}_due",
    )?;
    let at: Option<i64> = sqlx::query_scalar(sql)
        .fetch_one(store.pool())
        .await
        .doing(|| format!("looking for the next due work of {service}"))?;
    Ok(at.map(Timestamp::from_micros))
}
