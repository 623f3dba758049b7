//! The tables of alert. Facts only; rules are in `paging`.

pub(crate) mod erase;
pub(crate) mod sources;
pub(crate) mod timelines;

use model::{BrandId, EpisodeId, Timestamp};
use paging::{Action, Episode, Reason, Silence};
use store::sqlx::any::AnyRow;
use store::sqlx::{self, Any, Executor, Row};
use store::{Doing, Migration, Store, StoreError, Tx};

/// The service's name, and the prefix of its tables.
pub const SERVICE: &str = "alert";

/// The tables of alert, for `redress migrate`.
pub const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "episodes", sql: include_str!("../migrations/0001_episodes.sql") },
    Migration { version: 2, name: "sources", sql: include_str!("../migrations/0002_sources.sql") },
    Migration { version: 3, name: "timelines", sql: include_str!("../migrations/0003_timelines.sql") },
];

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
    /// Somebody else changed the episode meanwhile: begin again.
    #[error("episode {0} was changed by somebody else meanwhile")]
    Conflict(EpisodeId),
}

impl TableError {
    /// The same transaction may succeed when begun again.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Conflict(_) => true,
            // Two opened the same (rule, subject): the second sees the first next time.
            Self::Store(error @ StoreError::Sql { source: sqlx::Error::Database(cause), .. }) => {
                cause.is_unique_violation() || error.may_pass()
            }
            Self::Store(error) => error.may_pass(),
            Self::Damaged { .. } => false,
        }
    }
}

/// An episode as it lies in its table.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) episode: Episode,
    pub(crate) revision: i64,
}

fn damaged(what: &'static str, id: &str, problem: impl ToString) -> TableError {
    TableError::Damaged { what, id: id.to_owned(), problem: problem.to_string() }
}

fn kept(row: &AnyRow) -> Result<Kept, TableError> {
    let read = || -> Result<(String, i64, Vec<u8>), sqlx::Error> {
        Ok((row.try_get("episode_id")?, row.try_get("revision")?, row.try_get("body")?))
    };
    let (id, revision, body) = read().doing(|| "reading an episode".into())?;
    let episode = serde_json::from_slice(&body).map_err(|e| damaged("episode", &id, e))?;
    Ok(Kept { episode, revision })
}

/// The newest episode of a rule on a subject, open or not.
pub(crate) async fn newest(tx: &mut Tx, rule: &str, subject: &str) -> Result<Option<Kept>, TableError> {
    let row = sqlx::query(
        "SELECT episode_id, revision, body FROM alert_episodes WHERE rule = $1 AND subject = $2 \
         ORDER BY is_open DESC, opened_at_us DESC LIMIT 1",
    )
    .bind(rule)
    .bind(subject)
    .fetch_optional(&mut **tx)
    .await
    .doing(|| format!("looking for the episode of {rule} on {subject}"))?;
    row.as_ref().map(kept).transpose()
}

/// One episode.
pub(crate) async fn episode<'e>(
    on: impl Executor<'e, Database = Any>,
    id: EpisodeId,
) -> Result<Option<Kept>, TableError> {
    let row = sqlx::query("SELECT episode_id, revision, body FROM alert_episodes WHERE episode_id = $1")
        .bind(id.to_string())
        .fetch_optional(on)
        .await
        .doing(|| format!("reading episode {id}"))?;
    row.as_ref().map(kept).transpose()
}

/// The open episodes of a brand (of all without one), newest first, at most 1,000.
pub(crate) async fn open_of<'e>(
    on: impl Executor<'e, Database = Any>,
    brand: Option<&BrandId>,
) -> Result<Vec<Kept>, TableError> {
    let rows = sqlx::query(
        "SELECT episode_id, revision, body FROM alert_episodes WHERE is_open = 1 AND ($1 = '' OR brand = $1) \
         ORDER BY opened_at_us DESC LIMIT 1000",
    )
    .bind(brand.map_or("", |brand| brand.as_str()))
    .fetch_all(on)
    .await
    .doing(|| "reading open episodes".into())?;
    rows.iter().map(kept).collect()
}

/// Which episodes a list asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    /// Empty: all.
    pub(crate) brand: String,
    /// As [`state_of`] writes them, at most four; empty: all.
    pub(crate) states: Vec<&'static str>,
    /// After this opening time and id, in the order of the list.
    pub(crate) after: Option<(i64, String)>,
    /// At most so many.
    pub(crate) limit: u32,
}

/// Episodes, newest first.
pub(crate) async fn list(store: &Store, filter: &Filter) -> Result<Vec<Episode>, TableError> {
    let (after_us, after_id) = match &filter.after {
        Some((opened_at_us, id)) => (*opened_at_us, id.as_str()),
        None => (i64::MAX, ""),
    };
    // A fixed text with a place for each state there is: what is not asked for repeats what is.
    let any = filter.states.is_empty();
    let state = |n: usize| filter.states.get(n).or(filter.states.first()).copied().unwrap_or_default();
    let rows = sqlx::query(
        "SELECT episode_id, revision, body FROM alert_episodes WHERE ($1 = '' OR brand = $1) \
         AND ($2 = 1 OR state IN ($3, $4, $5, $6)) \
         AND (opened_at_us < $7 OR (opened_at_us = $7 AND episode_id < $8)) \
         ORDER BY opened_at_us DESC, episode_id DESC LIMIT $9",
    )
    .bind(&filter.brand)
    .bind(i64::from(any))
    .bind(state(0))
    .bind(state(1))
    .bind(state(2))
    .bind(state(3))
    .bind(after_us)
    .bind(after_id)
    .bind(i64::from(filter.limit))
    .fetch_all(store.pool())
    .await
    .doing(|| "listing episodes".into())?;
    rows.iter().map(|row| kept(row).map(|kept| kept.episode)).collect()
}

/// The word by which an episode's state is kept.
pub(crate) const fn state_of(episode: &Episode) -> &'static str {
    paging::format::webhook::state(episode)
}

/// Writes an episode: a new one without `revision`, else over exactly that one.
pub(crate) async fn save(tx: &mut Tx, episode: &Episode, revision: Option<i64>) -> Result<(), TableError> {
    let id = episode.id.to_string();
    let body = serde_json::to_vec(episode).map_err(|e| damaged("episode", &id, e))?;
    let doing = || format!("writing episode {id}");
    let written = match revision {
        None => sqlx::query(
            "INSERT INTO alert_episodes (episode_id, rule, subject, brand, state, is_open, opened_at_us, \
             revision, body) VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8)",
        )
        .bind(&id)
        .bind(&episode.rule)
        .bind(episode.subject.key())
        .bind(episode.brand().as_str())
        .bind(state_of(episode))
        .bind(i64::from(episode.is_open()))
        .bind(episode.opened_at.as_micros())
        .bind(body)
        .execute(&mut **tx)
        .await
        .doing(doing)?,
        Some(revision) => sqlx::query(
            "UPDATE alert_episodes SET state = $1, is_open = $2, revision = revision + 1, body = $3 \
             WHERE episode_id = $4 AND revision = $5",
        )
        .bind(state_of(episode))
        .bind(i64::from(episode.is_open()))
        .bind(body)
        .bind(&id)
        .bind(revision)
        .execute(&mut **tx)
        .await
        .doing(doing)?,
    };
    if written.rows_affected() == 1 { Ok(()) } else { Err(TableError::Conflict(episode.id)) }
}

/// Writes one published change and answers its place among all changes.
pub(crate) async fn record_change(
    tx: &mut Tx,
    episode: &Episode,
    sequence: u64,
    at: Timestamp,
    body: Vec<u8>,
) -> Result<i64, TableError> {
    let doing = || format!("writing the history of episode {}", episode.id);
    // The counter's row stays locked until the end of the transaction: ids become visible in their order.
    let id: i64 = sqlx::query_scalar(
        "UPDATE alert_counters SET value = value + 1 WHERE name = 'history' RETURNING value",
    )
    .fetch_one(&mut **tx)
    .await
    .doing(doing)?;
    sqlx::query(
        "INSERT INTO alert_history (id, episode_id, sequence, brand, at_us, body) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(id)
    .bind(episode.id.to_string())
    .bind(i64::try_from(sequence).unwrap_or(i64::MAX))
    .bind(episode.brand().as_str())
    .bind(at.as_micros())
    .bind(body)
    .execute(&mut **tx)
    .await
    .doing(doing)?;
    Ok(id)
}

/// The published changes of one episode, oldest first, at most 1,000.
pub(crate) async fn history(store: &Store, id: EpisodeId) -> Result<Vec<Vec<u8>>, TableError> {
    let found = sqlx::query_scalar(
        "SELECT body FROM alert_history WHERE episode_id = $1 ORDER BY sequence LIMIT 1000",
    )
    .bind(id.to_string())
    .fetch_all(store.pool())
    .await
    .doing(|| format!("reading the history of episode {id}"))?;
    Ok(found)
}

/// A published change with its place among all.
#[derive(Debug, Clone)]
pub(crate) struct Changed {
    pub(crate) id: i64,
    pub(crate) brand: String,
    pub(crate) body: Vec<u8>,
}

/// Changes after a place, in order.
pub(crate) async fn changes_after(store: &Store, id: i64, limit: u32) -> Result<Vec<Changed>, TableError> {
    let doing = || "reading changes".to_owned();
    let rows = sqlx::query("SELECT id, brand, body FROM alert_history WHERE id > $1 ORDER BY id LIMIT $2")
        .bind(id)
        .bind(i64::from(limit))
        .fetch_all(store.pool())
        .await
        .doing(doing)?;
    let changed = |row: &AnyRow| {
        Ok(Changed { id: row.try_get("id")?, brand: row.try_get("brand")?, body: row.try_get("body")? })
    };
    Ok(rows.iter().map(changed).collect::<Result<_, sqlx::Error>>().doing(doing)?)
}

/// The place of the last change.
pub(crate) async fn last_change(store: &Store) -> Result<i64, TableError> {
    let found = sqlx::query_scalar("SELECT value FROM alert_counters WHERE name = 'history'")
        .fetch_one(store.pool())
        .await
        .doing(|| "reading the last change".into())?;
    Ok(found)
}

/// Writes steps of the reasoning behind those there are.
pub(crate) async fn explain(
    tx: &mut Tx,
    id: EpisodeId,
    trail: &[Action],
    at: Timestamp,
) -> Result<(), TableError> {
    for step in trail {
        let body = serde_json::to_vec(&step.reason).map_err(|e| damaged("reason", step.action, e))?;
        sqlx::query(
            "INSERT INTO alert_decisions (episode_id, number, at_us, action, body) VALUES ($1, \
             (SELECT COALESCE(MAX(d.number), 0) + 1 FROM alert_decisions d WHERE d.episode_id = $1), $2, $3, $4)",
        )
        .bind(id.to_string())
        .bind(at.as_micros())
        .bind(step.action)
        .bind(body)
        .execute(&mut **tx)
        .await
        .doing(|| format!("writing why of episode {id}"))?;
    }
    Ok(())
}

/// The steps of the reasoning about one episode, oldest first, at most 1,000.
pub(crate) async fn decisions(
    store: &Store,
    id: EpisodeId,
) -> Result<Vec<(Timestamp, String, Reason)>, TableError> {
    let doing = || format!("reading why of episode {id}");
    let rows = sqlx::query(
        "SELECT at_us, action, body FROM alert_decisions WHERE episode_id = $1 ORDER BY number LIMIT 1000",
    )
    .bind(id.to_string())
    .fetch_all(store.pool())
    .await
    .doing(doing)?;
    let decision = |row: &AnyRow| -> Result<_, TableError> {
        let read = || -> Result<(i64, String, Vec<u8>), sqlx::Error> {
            Ok((row.try_get("at_us")?, row.try_get("action")?, row.try_get("body")?))
        };
        let (at_us, action, body) = read().doing(doing)?;
        let reason = serde_json::from_slice(&body).map_err(|e| damaged("reason", &action, e))?;
        Ok((Timestamp::from_micros(at_us), action, reason))
    };
    rows.iter().map(decision).collect()
}

fn silence(row: &AnyRow) -> Result<Silence, TableError> {
    let read = || -> Result<(String, Vec<u8>), sqlx::Error> {
        Ok((row.try_get("silence_id")?, row.try_get("body")?))
    };
    let (id, body) = read().doing(|| "reading a silence".into())?;
    serde_json::from_slice(&body).map_err(|e| damaged("silence", &id, e))
}

/// Silences that end after `ends_after`, newest first, at most 1,000.
pub(crate) async fn silences<'e>(
    on: impl Executor<'e, Database = Any>,
    ends_after: Timestamp,
) -> Result<Vec<Silence>, TableError> {
    let rows = sqlx::query(
        "SELECT silence_id, body FROM alert_silences WHERE ends_at_us > $1 \
         ORDER BY starts_at_us DESC, silence_id LIMIT 1000",
    )
    .bind(ends_after.as_micros())
    .fetch_all(on)
    .await
    .doing(|| "reading silences".into())?;
    rows.iter().map(silence).collect()
}

/// One silence.
pub(crate) async fn silence_by_id(tx: &mut Tx, id: &str) -> Result<Option<Silence>, TableError> {
    let row = sqlx::query("SELECT silence_id, body FROM alert_silences WHERE silence_id = $1")
        .bind(id)
        .fetch_optional(&mut **tx)
        .await
        .doing(|| format!("reading silence {id}"))?;
    row.as_ref().map(silence).transpose()
}

/// Writes or replaces a silence.
pub(crate) async fn save_silence(tx: &mut Tx, silence: &Silence) -> Result<(), TableError> {
    let body = serde_json::to_vec(silence).map_err(|e| damaged("silence", &silence.id, e))?;
    sqlx::query(
        "INSERT INTO alert_silences (silence_id, starts_at_us, ends_at_us, body) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (silence_id) DO UPDATE SET ends_at_us = excluded.ends_at_us, body = excluded.body",
    )
    .bind(&silence.id)
    .bind(silence.starts_at.as_micros())
    .bind(silence.ends_at.as_micros())
    .bind(body)
    .execute(&mut **tx)
    .await
    .doing(|| format!("writing silence {}", silence.id))?;
    Ok(())
}

/// What a request with this key was answered, if it was made before.
pub(crate) async fn answered(tx: &mut Tx, kind: &str, key: &str) -> Result<Option<Vec<u8>>, TableError> {
    let found =
        sqlx::query_scalar("SELECT body FROM alert_requests WHERE idempotency_key = $1 AND kind = $2")
            .bind(key)
            .bind(kind)
            .fetch_optional(&mut **tx)
            .await
            .doing(|| "looking for an earlier request".into())?;
    Ok(found)
}

/// Remembers what a request was answered.
pub(crate) async fn remember_answer(
    tx: &mut Tx,
    kind: &str,
    key: &str,
    body: Vec<u8>,
    now: Timestamp,
) -> Result<(), TableError> {
    sqlx::query("INSERT INTO alert_requests (idempotency_key, kind, at_us, body) VALUES ($1, $2, $3, $4)")
        .bind(key)
        .bind(kind)
        .bind(now.as_micros())
        .bind(body)
        .execute(&mut **tx)
        .await
        .doing(|| "remembering a request".into())?;
    Ok(())
}

/// Days that answers to requests, ended silences, and resolved episodes are kept.
const REQUEST_DAYS: i64 = 7;
const SILENCE_DAYS: i64 = 90;
const EPISODE_DAYS: i64 = 400;
/// Episodes forgotten in one go.
const FORGET_MAX: i64 = 100;

/// Forgets what is too old: answers, ended silences, and episodes with all that was kept about them. Tells
/// how many episodes went.
pub(crate) async fn forget_old(tx: &mut Tx, now: Timestamp) -> Result<usize, TableError> {
    let doing = || "forgetting what is old".to_owned();
    let before = |days: i64| now.plus_millis(-days * 86_400_000).as_micros();
    sqlx::query("DELETE FROM alert_requests WHERE at_us < $1")
        .bind(before(REQUEST_DAYS))
        .execute(&mut **tx)
        .await
        .doing(doing)?;
    sqlx::query("DELETE FROM alert_silences WHERE ends_at_us < $1")
        .bind(before(SILENCE_DAYS))
        .execute(&mut **tx)
        .await
        .doing(doing)?;
    let gone: Vec<String> = sqlx::query_scalar(
        "SELECT episode_id FROM alert_episodes WHERE is_open = 0 AND opened_at_us < $1 \
         ORDER BY opened_at_us LIMIT $2",
    )
    .bind(before(EPISODE_DAYS))
    .bind(FORGET_MAX)
    .fetch_all(&mut **tx)
    .await
    .doing(doing)?;
    for id in &gone {
        for sql in [
            "DELETE FROM alert_history WHERE episode_id = $1",
            "DELETE FROM alert_decisions WHERE episode_id = $1",
            "DELETE FROM alert_evidence WHERE episode_id = $1",
            "DELETE FROM alert_timelines WHERE episode_id = $1",
            "DELETE FROM alert_episodes WHERE episode_id = $1",
        ] {
            sqlx::query(sql).bind(id).execute(&mut **tx).await.doing(doing)?;
        }
    }
    Ok(gone.len())
}

/// Detector states of a partition.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) next_offset: i64,
    pub(crate) settings: String,
    pub(crate) body: Vec<u8>,
}

/// The snapshot of a partition, if there is one.
pub(crate) async fn snapshot(store: &Store, partition: i32) -> Result<Option<Snapshot>, TableError> {
    let doing = || format!("reading the snapshot of partition {partition}");
    let row = sqlx::query("SELECT next_offset, settings, body FROM alert_snapshots WHERE partition_no = $1")
        .bind(i64::from(partition))
        .fetch_optional(store.pool())
        .await
        .doing(doing)?;
    let read = |row: &AnyRow| {
        Ok(Snapshot {
            next_offset: row.try_get("next_offset")?,
            settings: row.try_get("settings")?,
            body: row.try_get("body")?,
        })
    };
    Ok(row.as_ref().map(read).transpose().doing(doing)?)
}

/// Replaces the snapshot of a partition.
pub(crate) async fn save_snapshot(
    tx: &mut Tx,
    partition: i32,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<(), TableError> {
    sqlx::query(
        "INSERT INTO alert_snapshots (partition_no, next_offset, at_us, settings, body) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (partition_no) DO UPDATE SET \
         next_offset = excluded.next_offset, at_us = excluded.at_us, settings = excluded.settings, \
         body = excluded.body",
    )
    .bind(i64::from(partition))
    .bind(snapshot.next_offset)
    .bind(now.as_micros())
    .bind(&snapshot.settings)
    .bind(snapshot.body.clone())
    .execute(&mut **tx)
    .await
    .doing(|| format!("writing the snapshot of partition {partition}"))?;
    Ok(())
}
