use std::fmt;
use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use sqlx::any::AnyPoolOptions;
use sqlx::{Any, AnyPool, Executor};

use crate::{Doing, StoreError};

/// How long a statement waits for SQLite's writer before it gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(15);
/// SQLite: pages that gather in its journal before they are put in their places, 16 MiB; pages written often
/// are put there once.
const CHECKPOINT_PAGES: u32 = 4_096;
/// SQLite: what the writer adds to the memory for pages, which all connections of a process share.
const WRITER_CACHE_KIB: u32 = 4_096;
/// SQLite: what each reader adds to it.
const READER_CACHE_KIB: u32 = 512;

static DRIVERS: Once = Once::new();

/// A transaction; dropping it without `commit` undoes everything.
pub type Tx = sqlx::Transaction<'static, Any>;

/// Which database answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// One file.
    Sqlite,
    /// A server.
    Postgres,
}

/// How to open.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Connections at most, at least 1. SQLite: readers; there is always one writer.
    pub connections_max: u32,
    /// SQLite: a commit may be lost when the machine (not the process) dies. The file stays consistent.
    pub relaxed_sync: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { connections_max: 4, relaxed_sync: false }
    }
}

/// A database, open. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    backend: Backend,
    /// SQLite: the one connection that writes, so that writers queue here and not in the file's lock.
    writer: AnyPool,
    reader: AnyPool,
}

impl Store {
    /// Opens `sqlite://PATH` (made, with its folders, when missing) or `postgres://USER@HOST/DATABASE`.
    ///
    /// # Errors
    /// When the address is no such URL or the database does not answer.
    pub async fn open(url: &str, options: StoreOptions) -> Result<Self, StoreError> {
        DRIVERS.call_once(sqlx::any::install_default_drivers);
        let connections_max = options.connections_max.max(1);
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return Self::open_file(Path::new(path), connections_max, options.relaxed_sync).await;
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Self::open_server(url, connections_max).await;
        }
        // The address may hold a password, so only its scheme is shown.
        let scheme = url.split(':').next().unwrap_or_default();
        Err(StoreError::Address(format!("'{scheme}:' is neither 'sqlite:' nor 'postgres:'")))
    }

    async fn open_file(path: &Path, readers: u32, relaxed_sync: bool) -> Result<Self, StoreError> {
        let shown = path.display();
        if path.as_os_str().is_empty() || path.to_string_lossy().contains(":memory:") {
            return Err(StoreError::Address("sqlite needs the path of a file".into()));
        }
        if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)
                .map_err(|e| StoreError::Address(format!("cannot make folder {}: {e}", folder.display())))?;
        }
        let url = format!("sqlite:{}?mode=rwc", escape_path(&path.to_string_lossy()));
        let sync = if relaxed_sync { "NORMAL" } else { "FULL" };
        // What a statement of many rows would undo is written nowhere but in memory: a third of all writes.
        let pragmas = format!(
            "PRAGMA busy_timeout = {}; PRAGMA journal_mode = WAL; PRAGMA synchronous = {sync}; \
             PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}; PRAGMA temp_store = MEMORY",
            BUSY_TIMEOUT.as_millis()
        );
        let pool = |connections: u32, cache_kib: u32| {
            let pragmas = format!("{pragmas}; PRAGMA cache_size = -{cache_kib}");
            AnyPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                // A file's connection does not go bad by waiting.
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(false)
                .after_connect(move |connection, _| {
                    let pragmas = pragmas.clone();
                    Box::pin(async move {
                        connection.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(pragmas))).await.map(|_| ())
                    })
                })
        };
        let doing = || format!("opening {shown}");
        // The writer first: it turns the journal to WAL before readers come.
        let writer = pool(1, WRITER_CACHE_KIB).connect(&url).await.doing(doing)?;
        let reader = pool(readers, READER_CACHE_KIB).connect(&url).await.doing(doing)?;
        Ok(Self { backend: Backend::Sqlite, writer, reader })
    }

    async fn open_server(url: &str, connections_max: u32) -> Result<Self, StoreError> {
        let pool = AnyPoolOptions::new()
            .max_connections(connections_max)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect(url)
            .await
            .doing(|| "connecting to postgres".into())?;
        Ok(Self { backend: Backend::Postgres, writer: pool.clone(), reader: pool })
    }

    /// Which database answers.
    pub const fn backend(&self) -> Backend {
        self.backend
    }

    /// Begins a transaction that may write.
    ///
    /// # Errors
    /// When no connection is to be had.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        let begun = match self.backend {
            // A deferred transaction that turns writer half way can fail; an immediate one waits first.
            Backend::Sqlite => self.writer.begin_with("BEGIN IMMEDIATE").await,
            Backend::Postgres => self.writer.begin().await,
        };
        begun.doing(|| "beginning a transaction".into())
    }

    /// For reading outside a transaction. Write through [`Store::begin`].
    pub const fn pool(&self) -> &AnyPool {
        &self.reader
    }

    /// Is it there? For readiness.
    ///
    /// # Errors
    /// Why not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.reader).await.doing(|| "asking the database".into())?;
        Ok(())
    }

    /// Waits for open transactions and closes all connections.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("backend", &self.backend).finish_non_exhaustive()
    }
}

/// Which database `tx` runs on.
pub(crate) fn backend_of(tx: &Tx) -> Backend {
    if tx.backend_name() == "PostgreSQL" { Backend::Postgres } else { Backend::Sqlite }
}

/// The driver reads a path as part of a URL.
fn escape_path(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}
