//! How far a consumer has read: a row that moves by compare-and-set, in the transaction of the effects.
//!
//! Whoever moves it owns the partition; a consumer that was replaced meanwhile matches no row, and its
//! effects are rolled back with it.

use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row as _};

use crate::{Doing, StoreError, Tx, name};

/// Which row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetKey<'a> {
    /// The service, whose table it is.
    pub service: &'a str,
    /// The consumer group.
    pub consumer: &'a str,
    /// The topic's name.
    pub topic: &'a str,
    /// The partition, from 0.
    pub partition: i32,
}

/// Why an offset did not move.
#[derive(Debug, thiserror::Error)]
pub enum AdvanceError {
    /// Somebody else moved it: the partition is no longer ours. Roll back and stop reading it.
    #[error("offset of {consumer} on {topic}/{partition} is no longer {from}: another member has moved it")]
    Conflict {
        /// The consumer group.
        consumer: String,
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Where it was believed to be.
        from: i64,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The offset of the next record to read; 0 when there is none. `on` is a pool or a transaction.
///
/// # Errors
/// When the database fails.
pub async fn load<'e>(on: impl Executor<'e, Database = Any>, key: OffsetKey<'_>) -> Result<i64, StoreError> {
    let sql = name::sql(
        key.service,
        "SELECT next_offset FROM {service}_offsets WHERE consumer = $1 AND topic = $2 AND partition_no = $3",
    )?;
    let found: Option<i64> = sqlx::query_scalar(sql)
        .bind(key.consumer)
        .bind(key.topic)
        .bind(i64::from(key.partition))
        .fetch_optional(on)
        .await
        .doing(|| format!("reading the offset of {} on {}/{}", key.consumer, key.topic, key.partition))?;
    Ok(found.unwrap_or(0))
}

/// How far a consumer group has come in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offset {
    /// The consumer group.
    pub consumer: String,
    /// The topic's name.
    pub topic: String,
    /// The partition, from 0.
    pub partition: i32,
    /// The next record to read.
    pub next: i64,
}

/// Every offset of `service` that ever moved, by consumer, topic and partition.
///
/// # Errors
/// When the database fails.
pub async fn all<'e>(
    on: impl Executor<'e, Database = Any>,
    service: &str,
) -> Result<Vec<Offset>, StoreError> {
    let doing = || format!("reading the offsets of {service}");
    let sql = name::sql(
        service,
        "SELECT consumer, topic, partition_no, next_offset FROM {service}_offsets \
         ORDER BY consumer, topic, partition_no",
    )?;
    let rows = sqlx::query(sql).fetch_all(on).await.doing(doing)?;
    let offset = |row: &AnyRow| -> Result<Offset, sqlx::Error> {
        Ok(Offset {
            consumer: row.try_get("consumer")?,
            topic: row.try_get("topic")?,
            partition: i32::try_from(row.try_get::<i64, _>("partition_no")?)
                .map_err(|e| sqlx::Error::Decode(e.into()))?,
            next: row.try_get("next_offset")?,
        })
    };
    rows.iter().map(offset).collect::<Result<_, _>>().doing(doing)
}

/// Moves the offset from `from` (as loaded, or as last advanced to) to `to`, with whatever else `tx` does.
///
/// # Errors
/// [`AdvanceError::Conflict`] when it is not at `from`, or `to` lies before it; then `tx` must not be
/// committed.
pub async fn advance(tx: &mut Tx, key: OffsetKey<'_>, from: i64, to: i64) -> Result<(), AdvanceError> {
    let conflict = || AdvanceError::Conflict {
        consumer: key.consumer.to_owned(),
        topic: key.topic.to_owned(),
        partition: key.partition,
        from,
    };
    if to < from {
        return Err(conflict());
    }
    let doing = || format!("moving the offset of {} on {}/{}", key.consumer, key.topic, key.partition);
    let sql = name::sql(
        key.service,
        "UPDATE {service}_offsets SET next_offset = $1 \
         WHERE consumer = $2 AND topic = $3 AND partition_no = $4 AND next_offset = $5",
    )?;
    let moved = sqlx::query(sql)
        .bind(to)
        .bind(key.consumer)
        .bind(key.topic)
        .bind(i64::from(key.partition))
        .bind(from)
        .execute(&mut **tx)
        .await
        .doing(doing)?;
    if moved.rows_affected() == 1 {
        return Ok(());
    }
    if from != 0 {
        return Err(conflict());
    }
    let sql = name::sql(
        key.service,
        "INSERT INTO {service}_offsets (consumer, topic, partition_no, next_offset) \
         VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    )?;
    let made = sqlx::query(sql)
        .bind(key.consumer)
        .bind(key.topic)
        .bind(i64::from(key.partition))
        .bind(to)
        .execute(&mut **tx)
        .await
        .doing(doing)?;
    if made.rows_affected() == 1 { Ok(()) } else { Err(conflict()) }
}
