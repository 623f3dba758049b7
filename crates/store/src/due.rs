//! Work for a given time: escalate, remind, breach. A row per piece of work, so that it survives restarts,
//! is done by one process among several, and can be moved or called off with the state it belongs to.

use std::time::Duration;

use model::Timestamp;
use sqlx::Row;

use crate::outbox::plus;
use crate::{Backend, Doing, Store, StoreError, Tx, name};

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
    let sql = name::sql(
        service,
        "INSERT INTO {service}_due (key, due_at_us, kind, body, claimed_by, claimed_until_us, claims) \
         VALUES ($1, $2, $3, $4, '', 0, 0) ON CONFLICT (key) DO UPDATE SET \
         due_at_us = excluded.due_at_us, kind = excluded.kind, body = excluded.body, \
         claimed_by = '', claimed_until_us = 0",
    )?;
    sqlx::query(sql)
        .bind(&due.key)
        .bind(due.due_at.as_micros())
        .bind(&due.kind)
        .bind(due.body.clone())
        .execute(&mut **tx)
        .await
        .doing(|| format!("writing due work '{}' of {service}", due.kind))?;
    Ok(())
}

/// Calls work off, with whatever else `tx` does. False: there was none.
///
/// # Errors
/// When the database fails.
pub async fn cancel(tx: &mut Tx, service: &str, key: &str) -> Result<bool, StoreError> {
    let sql = name::sql(service, "DELETE FROM {service}_due WHERE key = $1")?;
    let gone = sqlx::query(sql)
        .bind(key)
        .execute(&mut **tx)
        .await
        .doing(|| format!("calling off due work of {service}"))?;
    Ok(gone.rows_affected() == 1)
}

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
    let doing = || format!("claiming due work of {service}");
    let mut tx = store.begin().await?;
    let skip = match store.backend() {
        Backend::Postgres => " FOR UPDATE SKIP LOCKED",
        Backend::Sqlite => "",
    };
    let select = name::sql(
        service,
        &format!(
            "SELECT key, due_at_us, kind, body, claims FROM {{service}}_due \
             WHERE due_at_us <= $1 AND claimed_until_us <= $1 ORDER BY due_at_us, key LIMIT $2{skip}"
        ),
    )?;
    let rows = sqlx::query(select)
        .bind(now.as_micros())
        .bind(i64::from(limit.min(CLAIM_MAX)))
        .fetch_all(&mut *tx)
        .await
        .doing(doing)?;
    let until = plus(now, lease);
    let mut claimed = Vec::with_capacity(rows.len());
    for row in &rows {
        let read = || -> Result<(Due, i64), sqlx::Error> {
            let due = Due {
                key: row.try_get("key")?,
                due_at: Timestamp::from_micros(row.try_get("due_at_us")?),
                kind: row.try_get("kind")?,
                body: row.try_get("body")?,
            };
            Ok((due, row.try_get("claims")?))
        };
        let (due, claims) = read().doing(doing)?;
        let update = name::sql(
            service,
            "UPDATE {service}_due SET claimed_by = $1, claimed_until_us = $2, claims = claims + 1 \
             WHERE key = $3 AND claimed_until_us <= $4 AND claims = $5",
        )?;
        let taken = sqlx::query(update)
            .bind(worker)
            .bind(until.as_micros())
            .bind(&due.key)
            .bind(now.as_micros())
            .bind(claims)
            .execute(&mut *tx)
            .await
            .doing(doing)?;
        if taken.rows_affected() == 1 {
            let claims = u32::try_from(claims + 1).unwrap_or(u32::MAX);
            claimed.push(Claimed { due, claims, until, worker: worker.to_owned() });
        }
    }
    tx.commit().await.doing(doing)?;
    Ok(claimed)
}

/// Ends claimed work, with whatever else `tx` does. False: it was moved, called off or taken over
/// meanwhile, and `tx` must not be committed.
///
/// # Errors
/// When the database fails.
pub async fn finish(tx: &mut Tx, service: &str, claimed: &Claimed) -> Result<bool, StoreError> {
    let sql = name::sql(
        service,
        "DELETE FROM {service}_due WHERE key = $1 AND claimed_by = $2 AND claimed_until_us = $3 \
         AND claims = $4",
    )?;
    let gone = sqlx::query(sql)
        .bind(&claimed.due.key)
        .bind(&claimed.worker)
        .bind(claimed.until.as_micros())
        .bind(i64::from(claimed.claims))
        .execute(&mut **tx)
        .await
        .doing(|| format!("ending due work '{}' of {service}", claimed.due.kind))?;
    Ok(gone.rows_affected() == 1)
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
