use model::Timestamp;
use store::sqlx::{self, Row as _};
use store::{Doing as _, Migration, Store, StoreError};

/// This service's name in the database.
pub(crate) const SERVICE: &str = "ingest";

/// The tables of ingest, for `redress migrate`.
pub const MIGRATIONS: &[Migration] =
    &[Migration { version: 1, name: "cursors", sql: include_str!("../migrations/0001_cursors.sql") }];

/// Reads how far `name` of `connector` was read.
///
/// # Errors
/// When the database fails.
pub(crate) async fn cursor(store: &Store, connector: &str, name: &str) -> Result<Option<String>, StoreError> {
    let row = sqlx::query("SELECT cursor FROM ingest_cursors WHERE connector = $1 AND name = $2")
        .bind(connector)
        .bind(name)
        .fetch_optional(store.pool())
        .await
        .doing(|| format!("reading the cursor of {connector}"))?;
    row.map(|row| row.try_get(0)).transpose().doing(|| format!("reading the cursor of {connector}"))
}

/// Notes how far `name` of `connector` was read: call it after the log has confirmed.
///
/// # Errors
/// When the database fails.
pub(crate) async fn save_cursor(
    store: &Store,
    connector: &str,
    name: &str,
    cursor: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let doing = || format!("saving the cursor of {connector}");
    let mut tx = store.begin().await?;
    sqlx::query(
        "INSERT INTO ingest_cursors (connector, name, cursor, updated_at_us) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (connector, name) DO UPDATE SET cursor = excluded.cursor, \
         updated_at_us = excluded.updated_at_us",
    )
    .bind(connector)
    .bind(name)
    .bind(cursor)
    .bind(now.as_micros())
    .execute(&mut *tx)
    .await
    .doing(doing)?;
    tx.commit().await.doing(doing)
}

/// Was this delivery confirmed before?
///
/// # Errors
/// When the database fails.
pub(crate) async fn is_delivered(store: &Store, connector: &str, delivery: &str) -> Result<bool, StoreError> {
    let row = sqlx::query("SELECT 1 FROM ingest_deliveries WHERE connector = $1 AND delivery_id = $2")
        .bind(connector)
        .bind(delivery)
        .fetch_optional(store.pool())
        .await
        .doing(|| format!("looking for a delivery to {connector}"))?;
    Ok(row.is_some())
}

/// Notes that a delivery was confirmed, and forgets those before `forget_before`.
///
/// # Errors
/// When the database fails.
pub(crate) async fn save_delivery(
    store: &Store,
    connector: &str,
    delivery: &str,
    now: Timestamp,
    forget_before: Timestamp,
) -> Result<(), StoreError> {
    let doing = || format!("noting a delivery to {connector}");
    let mut tx = store.begin().await?;
    sqlx::query(
        "INSERT INTO ingest_deliveries (connector, delivery_id, seen_at_us) VALUES ($1, $2, $3) \
         ON CONFLICT (connector, delivery_id) DO NOTHING",
    )
    .bind(connector)
    .bind(delivery)
    .bind(now.as_micros())
    .execute(&mut *tx)
    .await
    .doing(doing)?;
    sqlx::query("DELETE FROM ingest_deliveries WHERE seen_at_us < $1")
        .bind(forget_before.as_micros())
        .execute(&mut *tx)
        .await
        .doing(doing)?;
    tx.commit().await.doing(doing)
}
