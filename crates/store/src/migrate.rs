use std::collections::BTreeMap;
use std::time::Duration;

use model::Timestamp;
use sqlx::{AssertSqlSafe, Row};

use crate::open::backend_of;
use crate::{Backend, Doing, Store, StoreError, Tx, name};

/// How often a waiting service looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// One step of a service's tables. Applied once, never changed afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migration {
    /// Counts up from 1 per service.
    pub version: i64,
    /// For people.
    pub name: &'static str,
    /// Statements, each ended by ';' at the end of a line. `{service}` stands for the service's name;
    /// lines that begin with `--` are left out.
    pub sql: &'static str,
}

/// The tables of this crate, for each service that has any.
const BASE: &[Migration] = &[Migration {
    version: 1,
    name: "offsets_outbox_due",
    sql: include_str!("../migrations/0001_offsets_outbox_due.sql"),
}];

/// A migration that was applied just now, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Whose: the service's name, with `/store` behind it for the tables of this crate.
    pub service: String,
    /// Its number.
    pub version: i64,
    /// Its name.
    pub name: &'static str,
}

/// Brings the tables of `service` up to date in one transaction and tells what was done. Safe to run twice
/// and by several at once.
///
/// # Errors
/// When a statement fails, an applied migration has been changed since, or versions repeat.
pub async fn migrate(
    store: &Store,
    service: &str,
    migrations: &[Migration],
    now: Timestamp,
) -> Result<Vec<Applied>, StoreError> {
    let mut tx = store.begin().await?;
    if store.backend() == Backend::Postgres {
        // Held to the end of the transaction; also keeps two first runs from making the ledger twice.
        sqlx::query("SELECT pg_advisory_xact_lock(7238247)")
            .execute(&mut *tx)
            .await
            .doing(|| "waiting for the migration lock".into())?;
    }
    sqlx::query(
        "CREATE TABLE IF NOT EXISTS redress_migrations (service TEXT NOT NULL, version BIGINT NOT NULL, \
         name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at_us BIGINT NOT NULL, \
         PRIMARY KEY (service, version))",
    )
    .execute(&mut *tx)
    .await
    .doing(|| "creating the migration ledger".into())?;

    let mut done = Vec::new();
    for (ledger, list) in ledgers(service, migrations)? {
        let applied = sqlx::query(LEDGER_SQL)
            .bind(&ledger)
            .fetch_all(&mut *tx)
            .await
            .doing(|| "reading the migration ledger".into())?;
        for migration in missing(&ledger, list, &applied)? {
            run(&mut tx, service, &ledger, migration, now).await?;
            done.push(Applied { service: ledger.clone(), version: migration.version, name: migration.name });
        }
    }
    tx.commit().await.doing(|| format!("committing the migrations of {service}"))?;
    Ok(done)
}

/// What [`migrate`] would do, without doing it.
///
/// # Errors
/// As [`migrate`].
pub async fn pending(
    store: &Store,
    service: &str,
    migrations: &[Migration],
) -> Result<Vec<Applied>, StoreError> {
    let mut found = Vec::new();
    let has_ledger = has_ledger(store).await?;
    for (ledger, list) in ledgers(service, migrations)? {
        let applied = if has_ledger {
            sqlx::query(LEDGER_SQL)
                .bind(&ledger)
                .fetch_all(store.pool())
                .await
                .doing(|| "reading the migration ledger".into())?
        } else {
            Vec::new()
        };
        for migration in missing(&ledger, list, &applied)? {
            found.push(Applied { service: ledger.clone(), version: migration.version, name: migration.name });
        }
    }
    Ok(found)
}

/// Waits until somebody has applied `migrations` (newer ones may be there, too): services never migrate.
///
/// # Errors
/// When that takes longer than `within`, or an applied migration differs.
pub async fn wait_for_version(
    store: &Store,
    service: &str,
    migrations: &[Migration],
    within: Duration,
) -> Result<(), StoreError> {
    let mut waited = Duration::ZERO;
    loop {
        let problem = match pending(store, service, migrations).await {
            Ok(missing) if missing.is_empty() => return Ok(()),
            Ok(missing) => {
                let list: Vec<_> =
                    missing.iter().map(|m| format!("{} {} {}", m.service, m.version, m.name)).collect();
                StoreError::Schema {
                    service: service.to_owned(),
                    problem: format!("not yet applied: {}; run 'redress migrate'", list.join(", ")),
                }
            }
            Err(error) if error.may_pass() => error,
            Err(error) => return Err(error),
        };
        if waited >= within {
            return Err(problem);
        }
        if waited.is_zero() {
            tracing::info!(%service, %problem, "waiting for the tables");
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        waited += LOOK_AGAIN;
    }
}

const LEDGER_SQL: &str = "SELECT version, name, checksum FROM redress_migrations WHERE service = $1";

async fn has_ledger(store: &Store) -> Result<bool, StoreError> {
    let sql = match store.backend() {
        Backend::Sqlite => "SELECT COUNT(*) FROM sqlite_master WHERE name = 'redress_migrations'",
        Backend::Postgres => {
            "SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 'redress_migrations'"
        }
    };
    let count: i64 = sqlx::query_scalar(sql)
        .fetch_one(store.pool())
        .await
        .doing(|| "looking for the migration ledger".into())?;
    Ok(count > 0)
}

/// This crate's tables keep numbers of their own, so that they never collide with the service's.
fn ledgers<'a>(
    service: &str,
    migrations: &'a [Migration],
) -> Result<[(String, &'a [Migration]); 2], StoreError> {
    name::check(service)?;
    for pair in migrations.windows(2) {
        if pair[0].version >= pair[1].version {
            return Err(StoreError::Schema {
                service: service.to_owned(),
                problem: format!("migration {} comes after {}", pair[1].version, pair[0].version),
            });
        }
    }
    Ok([(format!("{service}/store"), BASE), (service.to_owned(), migrations)])
}

fn missing<'a>(
    ledger: &str,
    list: &'a [Migration],
    applied: &[sqlx::any::AnyRow],
) -> Result<Vec<&'a Migration>, StoreError> {
    let mut checksums = BTreeMap::new();
    for row in applied {
        let read = || -> Result<(i64, String), sqlx::Error> {
            Ok((row.try_get("version")?, row.try_get("checksum")?))
        };
        let (version, checksum) = read().doing(|| "reading the migration ledger".into())?;
        checksums.insert(version, checksum);
    }
    let mut missing = Vec::new();
    for migration in list {
        match checksums.get(&migration.version) {
            None => missing.push(migration),
            Some(applied) if *applied == checksum(migration) => {}
            Some(_) => {
                return Err(StoreError::Schema {
                    service: ledger.to_owned(),
                    problem: format!(
                        "migration {} {} was changed after it had been applied; add a new one instead",
                        migration.version, migration.name
                    ),
                });
            }
        }
    }
    Ok(missing)
}

async fn run(
    tx: &mut Tx,
    service: &str,
    ledger: &str,
    migration: &Migration,
    now: Timestamp,
) -> Result<(), StoreError> {
    let backend = backend_of(tx);
    for (index, statement) in statements(service, migration.sql, backend).into_iter().enumerate() {
        // Safe: migrations are part of the program.
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut **tx).await.doing(|| {
            format!(
                "applying migration {} {} of {ledger}, statement {}",
                migration.version,
                migration.name,
                index + 1
            )
        })?;
    }
    sqlx::query(
        "INSERT INTO redress_migrations (service, version, name, checksum, applied_at_us) \
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(ledger)
    .bind(migration.version)
    .bind(migration.name)
    .bind(checksum(migration))
    .bind(now.as_micros())
    .execute(&mut **tx)
    .await
    .doing(|| format!("recording migration {} of {ledger}", migration.version))?;
    Ok(())
}

fn statements(service: &str, sql: &str, backend: Backend) -> Vec<String> {
    let mut list = Vec::new();
    let mut open = String::new();
    for line in sql.lines().filter(|l| !l.trim_start().starts_with("--")) {
        let mut line = line.replace("{service}", service);
        if backend == Backend::Sqlite {
            // The driver reads a column's declared type, and knows no BYTEA.
            line = line.replace("BYTEA", "BLOB");
        }
        open.push_str(&line);
        open.push('\n');
        if line.trim_end().ends_with(';') {
            list.push(std::mem::take(&mut open));
        }
    }
    if !open.trim().is_empty() {
        list.push(open);
    }
    list
}

fn checksum(migration: &Migration) -> String {
    blake3::hash(migration.sql.as_bytes()).to_hex()[..32].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_at_a_semicolon_at_the_end_of_a_line() {
        let sql = "-- why; not\nCREATE TABLE {service}_a (x BYTEA DEFAULT ';'\n);\nSELECT 1";
        let split = statements("alert", sql, Backend::Sqlite);
        assert_eq!(split, ["CREATE TABLE alert_a (x BLOB DEFAULT ';'\n);\n", "SELECT 1\n"]);
        assert!(statements("alert", sql, Backend::Postgres)[0].contains("BYTEA"));
    }

    #[test]
    fn numbers_that_do_not_rise_are_refused() {
        let m = |version| Migration { version, name: "x", sql: "" };
        assert!(ledgers("alert", &[m(1), m(2)]).is_ok());
        assert!(ledgers("alert", &[m(2), m(2)]).is_err());
        assert!(ledgers("Alert; DROP", &[]).is_err());
    }
}
