//! Rows that one worker has for a while: how messages and due work are claimed.

use std::time::Duration;

use model::Timestamp;
use sqlx::any::AnyRow;

use crate::{Backend, Doing, Statement, Store, StoreError, name};

/// Rows of a service's table that can be claimed: it has `claimed_by`, `claimed_until_us` (0: nobody) and a
/// counter of claims, which together tell one claim from another.
pub(crate) struct Leased {
    /// The table, without the service's name.
    pub(crate) table: &'static str,
    /// Its key.
    pub(crate) key: &'static str,
    /// Its counter of claims.
    pub(crate) counter: &'static str,
    /// What is read of a claimed row.
    pub(crate) columns: &'static str,
    /// Which rows `o` are free at `$1`, besides not being claimed.
    pub(crate) is_free: &'static str,
    /// Which of them go first.
    pub(crate) order: &'static str,
}

/// Who claims, when, and how much.
pub(crate) struct Claim<'a> {
    pub(crate) service: &'a str,
    pub(crate) worker: &'a str,
    pub(crate) now: Timestamp,
    pub(crate) lease: Duration,
    pub(crate) limit: u32,
}

/// Takes back what `worker` (or, with none, anybody) has claimed of the messages and due work of `service`: it
/// is not to wait for the lease. Should the worker still live, it can no longer finish what it claimed.
///
/// # Errors
/// When the database fails.
pub async fn release(store: &Store, service: &str, worker: Option<&str>) -> Result<(), StoreError> {
    name::check(service)?;
    let mut tx = store.begin().await?;
    for table in ["outbox", "due"] {
        let mut update = Statement::new(format!(
            "UPDATE {service}_{table} SET claimed_by = '', claimed_until_us = 0 WHERE claimed_until_us <> 0"
        ));
        if let Some(worker) = worker {
            update.push(" AND claimed_by = ").bind(worker.to_owned());
        }
        update.run(&mut *tx, "taking back claims").await?;
    }
    tx.commit().await.doing(|| "taking back claims".into())
}

impl Claim<'_> {
    /// When the lease ends.
    pub(crate) fn until(&self) -> Timestamp {
        let micros = i64::try_from(self.lease.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(self.now.as_micros().saturating_add(micros))
    }

    /// Takes free rows in one statement; they come in no order.
    pub(crate) async fn take(&self, store: &Store, of: &Leased) -> Result<Vec<AnyRow>, StoreError> {
        name::check(self.service)?;
        let Leased { table, key, counter, columns, is_free, order } = of;
        let doing = format!("claiming of {table} of {}", self.service);
        let skip = match store.backend() {
            Backend::Postgres => " FOR UPDATE OF o SKIP LOCKED",
            Backend::Sqlite => "",
        };
        // Materialised, or Postgres may choose the rows anew for each row it changes.
        let sql = format!(
            "WITH free AS MATERIALIZED (SELECT o.{key} FROM {{service}}_{table} o WHERE ({is_free}) \
             AND o.claimed_until_us <= $1 ORDER BY {order} LIMIT $2{skip}) \
             UPDATE {{service}}_{table} SET claimed_by = $3, claimed_until_us = $4, \
             {counter} = {counter} + 1 WHERE {key} IN (SELECT {key} FROM free) \
             AND claimed_until_us <= $1 RETURNING {columns}"
        );
        let mut tx = store.begin().await?;
        let rows = sqlx::query(name::sql(self.service, &sql)?)
            .bind(self.now.as_micros())
            .bind(i64::from(self.limit))
            .bind(self.worker)
            .bind(self.until().as_micros())
            .fetch_all(&mut *tx)
            .await
            .doing(|| doing.clone())?;
        tx.commit().await.doing(|| doing)?;
        Ok(rows)
    }
}
