//! Messages to the world outside, written with the state they tell of, sent by a worker afterwards.
//!
//! A worker claims, asks its service whether the message is still wanted, sends, and records. A claim is a
//! lease: a worker that dies leaves its rows to the next one, so a message may be sent twice (its
//! `delivery_id` tells) but is recorded once. Of one `(ordering_key, destination)` only the oldest
//! unfinished message can be claimed, so order is kept even over retries.

use std::time::Duration;

use model::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::lease::{Claim, Leased};
use crate::open::backend_of;
use crate::{Backend, Doing, Statement, Store, StoreError, Tx, name};

/// The most rows one claim takes.
pub const CLAIM_MAX: u32 = 500;
/// The longest error text kept, in characters.
const ERROR_CHARS_MAX: usize = 500;

/// A message to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Stable: the same decision always makes the same id, so a repeat is recognised here and outside.
    pub delivery_id: String,
    /// What must stay in order, for example an episode's id.
    pub ordering_key: String,
    /// Where to: a topic, a webhook's name.
    pub destination: String,
    /// What it is, for whoever sends it.
    pub kind: String,
    /// The bytes.
    pub body: Vec<u8>,
    /// Headers, in the sender's own writing; may be empty.
    pub headers: String,
    /// Not before.
    pub due_at: Timestamp,
}

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// To be sent, or being sent.
    Pending,
    /// Taken by the destination.
    Sent,
    /// No longer wanted.
    Dropped,
    /// Given up.
    Failed,
}

impl State {
    /// As kept in the table and shown to people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Dropped => "dropped",
            Self::Failed => "failed",
        }
    }

    fn parse(name: &str) -> Self {
        match name {
            "sent" => Self::Sent,
            "dropped" => Self::Dropped,
            "failed" => Self::Failed,
            _ => Self::Pending,
        }
    }
}

/// A message as it stands in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What is to be sent.
    pub message: Message,
    /// Where it stands.
    pub state: State,
    /// How often it was claimed, this claim included.
    pub attempts: u32,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it was sent, dropped or given up.
    pub ended_at: Option<Timestamp>,
    /// Of the last attempt; empty when there was none.
    pub last_error: String,
}

/// A message that is ours until the lease ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The message.
    pub entry: Entry,
    /// Until when nobody else takes it.
    pub until: Timestamp,
    worker: String,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The destination has it.
    Sent,
    /// Not now; again at `at`.
    Retry {
        /// When.
        at: Timestamp,
        /// What went wrong; no secrets, no personal text.
        error: String,
    },
    /// No longer wanted.
    Drop {
        /// Why.
        reason: String,
    },
    /// Never: the destination refuses it for good, or attempts are used up.
    Fail {
        /// Why.
        reason: String,
    },
}

/// Whether an end was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Recorded {
    /// Yes.
    Yes,
    /// The lease had ended and another worker has it: nothing was changed. Roll back what goes with it.
    LostClaim,
}

/// Unfinished messages, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// How many.
    pub pending: u64,
    /// When the oldest was written.
    pub oldest: Option<Timestamp>,
}

/// Writes `message` with whatever else `tx` does. False: it was there already.
///
/// # Errors
/// When the database fails.
pub async fn enqueue(
    tx: &mut Tx,
    service: &str,
    message: &Message,
    now: Timestamp,
) -> Result<bool, StoreError> {
    name::check(service)?;
    let doing = format!("writing a message to {}", message.destination);
    if backend_of(tx) == Backend::Postgres {
        // Two transactions that write to one pair take turns, or both would get the same number.
        let pair = format!("{service}/{}/{}", message.ordering_key, message.destination);
        let mut lock = Statement::new("SELECT pg_advisory_xact_lock(");
        lock.bind(lock_number(&pair)).push(")");
        lock.run(&mut **tx, &doing).await?;
    }
    let sql = name::sql(
        service,
        "INSERT INTO {service}_outbox (delivery_id, ordering_key, destination, kind, body, headers, state, \
         attempts, created_at_us, due_at_us, claimed_by, claimed_until_us, last_error, seq) \
         VALUES ($1, $2, $3, $4, $5, $6, 'pending', 0, $7, $8, '', 0, '', \
         (SELECT COALESCE(MAX(o.seq), 0) + 1 FROM {service}_outbox o \
          WHERE o.ordering_key = $2 AND o.destination = $3)) \
         ON CONFLICT (delivery_id) DO NOTHING",
    )?;
    let written = sqlx::query(sql)
        .bind(&message.delivery_id)
        .bind(&message.ordering_key)
        .bind(&message.destination)
        .bind(&message.kind)
        .bind(message.body.clone())
        .bind(&message.headers)
        .bind(now.as_micros())
        .bind(message.due_at.as_micros())
        .execute(&mut **tx)
        .await
        .doing(|| doing)?;
    Ok(written.rows_affected() == 1)
}

const LEASED: Leased = Leased {
    table: "outbox",
    key: "delivery_id",
    counter: "attempts",
    columns: "delivery_id, ordering_key, destination, kind, body, headers, state, attempts, created_at_us, \
              due_at_us, ended_at_us, last_error",
    is_free: "o.state = 'pending' AND o.due_at_us <= $1 \
              AND NOT EXISTS (SELECT 1 FROM {service}_outbox p WHERE p.ordering_key = o.ordering_key \
              AND p.destination = o.destination AND p.state = 'pending' AND p.seq < o.seq) \
              AND NOT EXISTS (SELECT 1 FROM {service}_outbox_pauses r \
              WHERE r.destination = o.destination AND r.until_us > $1)",
    order: "o.due_at_us, o.created_at_us, o.delivery_id",
};

/// Takes up to `limit` (at most [`CLAIM_MAX`]) messages that are due, for `lease`. Leaves out those whose
/// destination rests and those behind an unfinished one of the same pair.
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
    let read = rows.iter().map(entry).collect::<Result<Vec<_>, _>>();
    let mut entries = read.doing(|| format!("reading claimed messages of {service}"))?;
    entries.sort_by(|a, b| place(a).cmp(&place(b)));
    let claimed = |entry| Claimed { entry, until: claim.until(), worker: worker.to_owned() };
    Ok(entries.into_iter().map(claimed).collect())
}

fn place(entry: &Entry) -> (Timestamp, Timestamp, &str) {
    (entry.message.due_at, entry.created_at, &entry.message.delivery_id)
}

/// Records how an attempt ended, with whatever else `tx` does (an event that tells of it).
///
/// # Errors
/// When the database fails.
pub async fn complete(
    tx: &mut Tx,
    service: &str,
    claimed: &Claimed,
    end: &End,
    now: Timestamp,
) -> Result<Recorded, StoreError> {
    let id = &claimed.entry.message.delivery_id;
    let due_at = claimed.entry.message.due_at;
    let (state, due, ended, error) = match end {
        End::Sent => (State::Sent, due_at, Some(now), ""),
        End::Retry { at, error } => (State::Pending, *at, None, error.as_str()),
        End::Drop { reason } => (State::Dropped, due_at, Some(now), reason.as_str()),
        End::Fail { reason } => (State::Failed, due_at, Some(now), reason.as_str()),
    };
    let error: String = error.chars().take(ERROR_CHARS_MAX).collect();
    let sql = name::sql(
        service,
        "UPDATE {service}_outbox SET state = $1, due_at_us = $2, ended_at_us = $3, last_error = $4, \
         claimed_by = '', claimed_until_us = 0 WHERE delivery_id = $5 AND state = 'pending' \
         AND claimed_by = $6 AND claimed_until_us = $7 AND attempts = $8",
    )?;
    let changed = sqlx::query(sql)
        .bind(state.name())
        .bind(due.as_micros())
        .bind(ended.map(Timestamp::as_micros))
        .bind(error)
        .bind(id)
        .bind(&claimed.worker)
        .bind(claimed.until.as_micros())
        .bind(i64::from(claimed.entry.attempts))
        .execute(&mut **tx)
        .await
        .doing(|| format!("recording the end of message {id}"))?;
    Ok(if changed.rows_affected() == 1 { Recorded::Yes } else { Recorded::LostClaim })
}

/// Nothing goes to `destination` before `until`: it asked for a rest. A longer rest is never shortened.
///
/// # Errors
/// When the database fails.
pub async fn pause_destination(
    tx: &mut Tx,
    service: &str,
    destination: &str,
    until: Timestamp,
) -> Result<(), StoreError> {
    let sql = name::sql(
        service,
        "INSERT INTO {service}_outbox_pauses (destination, until_us) VALUES ($1, $2) \
         ON CONFLICT (destination) DO UPDATE SET until_us = excluded.until_us \
         WHERE excluded.until_us > {service}_outbox_pauses.until_us",
    )?;
    sqlx::query(sql)
        .bind(destination)
        .bind(until.as_micros())
        .execute(&mut **tx)
        .await
        .doing(|| format!("pausing {destination}"))?;
    Ok(())
}

/// When to claim again: the earliest moment after `now` at which something may become claimable, a moment
/// not after `now` when something already is; absent when nothing is pending.
///
/// # Errors
/// When the database fails.
pub async fn next_due(store: &Store, service: &str) -> Result<Option<Timestamp>, StoreError> {
    // CASE instead of MAX/GREATEST, which the two databases call by different names.
    let sql = name::sql(
        service,
        "SELECT MIN(w.at_us) FROM (SELECT CASE WHEN o.claimed_until_us > o.due_at_us \
         AND o.claimed_until_us >= COALESCE(r.until_us, 0) THEN o.claimed_until_us \
         WHEN COALESCE(r.until_us, 0) > o.due_at_us THEN r.until_us ELSE o.due_at_us END AS at_us \
         FROM {service}_outbox o LEFT JOIN {service}_outbox_pauses r ON r.destination = o.destination \
         WHERE o.state = 'pending' AND NOT EXISTS (SELECT 1 FROM {service}_outbox p \
         WHERE p.ordering_key = o.ordering_key AND p.destination = o.destination \
         AND p.state = 'pending' AND p.seq < o.seq)) w",
    )?;
    let at: Option<i64> = sqlx::query_scalar(sql)
        .fetch_one(store.pool())
        .await
        .doing(|| format!("looking for the next message of {service}"))?;
    Ok(at.map(Timestamp::from_micros))
}

/// All messages of one ordering key, in the order they were written per destination; at most 1,000.
///
/// # Errors
/// When the database fails.
pub async fn list(store: &Store, service: &str, ordering_key: &str) -> Result<Vec<Entry>, StoreError> {
    let doing = || format!("listing messages of {service}");
    let sql = name::sql(
        service,
        "SELECT delivery_id, ordering_key, destination, kind, body, headers, state, attempts, \
         created_at_us, due_at_us, ended_at_us, last_error FROM {service}_outbox \
         WHERE ordering_key = $1 ORDER BY created_at_us, destination, seq LIMIT 1000",
    )?;
    let rows = sqlx::query(sql).bind(ordering_key).fetch_all(store.pool()).await.doing(doing)?;
    rows.iter().map(entry).collect::<Result<_, _>>().doing(doing)
}

/// How much waits.
///
/// # Errors
/// When the database fails.
pub async fn backlog(store: &Store, service: &str) -> Result<Backlog, StoreError> {
    let doing = || format!("counting messages of {service}");
    let sql = name::sql(
        service,
        "SELECT COUNT(*) AS pending, MIN(created_at_us) AS oldest FROM {service}_outbox \
         WHERE state = 'pending'",
    )?;
    let row = sqlx::query(sql).fetch_one(store.pool()).await.doing(doing)?;
    let pending: i64 = row.try_get("pending").doing(doing)?;
    let oldest: Option<i64> = row.try_get("oldest").doing(doing)?;
    Ok(Backlog { pending: u64::try_from(pending).unwrap_or(0), oldest: oldest.map(Timestamp::from_micros) })
}

/// Forgets up to `limit` finished messages that ended before `before`; tells how many.
///
/// # Errors
/// When the database fails.
pub async fn purge(store: &Store, service: &str, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
    let doing = || format!("forgetting old messages of {service}");
    let mut tx = store.begin().await?;
    let sql = name::sql(
        service,
        "DELETE FROM {service}_outbox WHERE delivery_id IN (SELECT delivery_id FROM {service}_outbox \
         WHERE state <> 'pending' AND ended_at_us < $1 ORDER BY ended_at_us LIMIT $2)",
    )?;
    let gone = sqlx::query(sql)
        .bind(before.as_micros())
        .bind(i64::from(limit))
        .execute(&mut *tx)
        .await
        .doing(doing)?;
    tx.commit().await.doing(doing)?;
    Ok(gone.rows_affected())
}

fn entry(row: &AnyRow) -> Result<Entry, sqlx::Error> {
    let micros = |column: &str| row.try_get::<i64, _>(column).map(Timestamp::from_micros);
    Ok(Entry {
        message: Message {
            delivery_id: row.try_get("delivery_id")?,
            ordering_key: row.try_get("ordering_key")?,
            destination: row.try_get("destination")?,
            kind: row.try_get("kind")?,
            body: row.try_get("body")?,
            headers: row.try_get("headers")?,
            due_at: micros("due_at_us")?,
        },
        state: State::parse(row.try_get("state")?),
        attempts: u32::try_from(row.try_get::<i64, _>("attempts")?).unwrap_or(u32::MAX),
        created_at: micros("created_at_us")?,
        ended_at: row.try_get::<Option<i64>, _>("ended_at_us")?.map(Timestamp::from_micros),
        last_error: row.try_get("last_error")?,
    })
}

/// A number for Postgres's advisory locks; two names may share one and then merely take turns.
fn lock_number(name: &str) -> i64 {
    let hash = blake3::hash(name.as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash.as_bytes()[..8]);
    i64::from_le_bytes(bytes)
}
