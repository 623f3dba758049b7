/// Something the database could not do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database or the way to it failed.
    #[error("{doing}: {source}")]
    Sql {
        /// What was being done.
        doing: String,
        /// What the driver said.
        source: sqlx::Error,
    },
    /// The address is none we understand.
    #[error("cannot open store: {0}")]
    Address(String),
    /// The tables are not those this program was built for.
    #[error("tables of {service}: {problem}")]
    Schema {
        /// Whose tables.
        service: String,
        /// What is wrong with them, and what helps.
        problem: String,
    },
    /// A name that cannot become part of a table's name.
    #[error("service name '{0}' needs 1 to 32 characters of a-z and '_'")]
    Name(String),
}

impl StoreError {
    /// True when the same call may succeed later: the server is away, a lock was held too long, two
    /// transactions met.
    pub fn may_pass(&self) -> bool {
        let Self::Sql { source, .. } = self else { return false };
        match source {
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed => true,
            sqlx::Error::Database(e) => {
                let code = e.code().unwrap_or_default();
                // SQLite: BUSY 5, LOCKED 6 and their extended codes. Postgres: connection (08), rollback
                // (40), resources (53), shutdown (57P).
                let is_busy = code.parse::<u32>().is_ok_and(|c| code.len() < 5 && matches!(c & 0xff, 5 | 6));
                is_busy || ["08", "40", "53", "57P"].iter().any(|class| code.starts_with(class))
            }
            _ => false,
        }
    }
}

/// Says what was being done when the driver failed.
pub trait Doing<T> {
    /// Turns the driver's error into [`StoreError::Sql`].
    ///
    /// # Errors
    /// When `self` is one.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, StoreError>;
}

impl<T> Doing<T> for Result<T, sqlx::Error> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Sql { doing: what(), source })
    }
}
