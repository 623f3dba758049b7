use std::fmt::Write as _;

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::{
    Any, AnyConnection, AnyPool, Arguments as _, AssertSqlSafe, Database as _, Encode, Executor, Sqlite, Type,
};

use crate::{Backend, Doing, StoreError};

/// Rows in one statement at most. Half as many, a quarter, ... make up what is left over, so that a statement
/// exists in few lengths and is prepared once in each.
const PIECE_ROWS: usize = 64;

/// What a statement runs on: a pool, or the connection of a transaction.
pub trait On<'e>: Executor<'e, Database = Any> {
    /// Which database answers.
    fn backend(&self) -> Backend;
}

impl<'e> On<'e> for &AnyPool {
    fn backend(&self) -> Backend {
        let is_file = self.connect_options().database_url.scheme() == "sqlite";
        if is_file { Backend::Sqlite } else { Backend::Postgres }
    }
}

impl<'e> On<'e> for &'e mut AnyConnection {
    fn backend(&self) -> Backend {
        if self.backend_name() == Sqlite::NAME { Backend::Sqlite } else { Backend::Postgres }
    }
}

/// A statement in the making, with places for its values.
pub struct Statement {
    /// With [`PLACE`] where a value belongs.
    sql: String,
    args: AnyArguments,
}

/// SQLite's word for a place. It looks for a number's value through all numbers, so long statements do without them.
const PLACE: char = '?';

impl Statement {
    /// Begins with `sql`. It and all that is pushed must be the program's own words, without `?`: values are bound.
    pub fn new(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), args: AnyArguments::default() }
    }

    /// Goes on with `sql`.
    pub fn push(&mut self, sql: &str) -> &mut Self {
        self.sql.push_str(sql);
        self
    }

    /// A place for `value`.
    pub fn bind<'q, T>(&mut self, value: T) -> &mut Self
    where
        T: Encode<'q, Any> + Type<Any> + 'q,
    {
        self.sql.push(PLACE);
        // Refused only by types outside the subset of both databases.
        if let Err(error) = self.args.add(value) {
            tracing::error!(%error, "a value cannot be written");
        }
        self
    }

    /// `(v, v, ...)`, the last value as often as makes the length a usual one: for `IN`.
    pub fn list(&mut self, values: &[String]) -> &mut Self {
        let last = values.len().saturating_sub(1);
        self.push("(");
        for i in 0..values.len().next_power_of_two() {
            if i > 0 {
                self.push(", ");
            }
            match values.get(i.min(last)) {
                Some(value) => self.bind(value.clone()),
                None => self.push("NULL"),
            };
        }
        self.push(")")
    }

    /// `VALUES (..), (..)`, a row for each of `rows`.
    pub fn values<R>(
        &mut self,
        rows: impl IntoIterator<Item = R>,
        mut write: impl FnMut(&mut Values<'_>, R),
    ) -> &mut Self {
        for (i, row) in rows.into_iter().enumerate() {
            self.push(if i == 0 { "VALUES (" } else { ", (" });
            write(&mut Values { statement: self, is_first: true }, row);
            self.push(")");
        }
        self
    }

    /// Runs it and takes the rows.
    ///
    /// # Errors
    /// When the database fails; `doing` says at what.
    pub async fn rows<'e>(self, on: impl On<'e>, doing: &str) -> Result<Vec<AnyRow>, StoreError> {
        let sql = sql_for(self.sql, on.backend());
        sqlx::query_with(AssertSqlSafe(sql), self.args).fetch_all(on).await.doing(|| doing.to_owned())
    }

    /// Runs it; how many rows it changed.
    ///
    /// # Errors
    /// As [`Statement::rows`].
    pub async fn run<'e>(self, on: impl On<'e>, doing: &str) -> Result<u64, StoreError> {
        let sql = sql_for(self.sql, on.backend());
        let done = sqlx::query_with(AssertSqlSafe(sql), self.args).execute(on).await;
        Ok(done.doing(|| doing.to_owned())?.rows_affected())
    }
}

/// The words as this database reads them.
fn sql_for(sql: String, backend: Backend) -> String {
    match backend {
        Backend::Sqlite => sql,
        Backend::Postgres => numbered(&sql),
    }
}

/// With `$1`, `$2`, ... for places.
fn numbered(sql: &str) -> String {
    let mut parts = sql.split(PLACE);
    let mut numbered = parts.next().unwrap_or_default().to_owned();
    for (i, part) in parts.enumerate() {
        let _ = write!(numbered, "${}{part}", i + 1);
    }
    numbered
}

/// The values of one row.
pub struct Values<'a> {
    statement: &'a mut Statement,
    is_first: bool,
}

impl Values<'_> {
    /// The next value.
    pub fn bind<'q, T>(&mut self, value: T) -> &mut Self
    where
        T: Encode<'q, Any> + Type<Any> + 'q,
    {
        if !std::mem::take(&mut self.is_first) {
            self.statement.push(", ");
        }
        self.statement.bind(value);
        self
    }
}

/// `rows` in pieces of the usual lengths, in order: one statement each.
pub fn pieces<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let fits = (rows.len() + 1).next_power_of_two() / 2;
        let (piece, rest) =
            rows.split_at_checked(fits.min(PIECE_ROWS)).filter(|(piece, _)| !piece.is_empty())?;
        rows = rest;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_have_few_lengths_and_leave_nothing_out() {
        for count in [0, 1, 2, 3, 63, 64, 65, 200, 1_000] {
            let rows: Vec<usize> = (0..count).collect();
            let found: Vec<&[usize]> = pieces(&rows).collect();
            assert!(found.iter().all(|p| p.len().is_power_of_two() && p.len() <= PIECE_ROWS), "{count}");
            assert_eq!(found.concat(), rows);
            assert!(found.len() <= count / PIECE_ROWS + PIECE_ROWS.ilog2() as usize, "{count}");
        }
    }

    #[test]
    fn lists_and_rows_number_their_places() {
        let mut statement = Statement::new("x IN ");
        statement.list(&["a".into(), "b".into(), "c".into()]).push(" AND y IN ").list(&[]).push(" ");
        statement.values([1_i64, 2], |row, n| {
            row.bind(n).bind("z");
        });
        let numbers = "x IN ($1, $2, $3, $4) AND y IN (NULL) VALUES ($5, $6), ($7, $8)";
        assert_eq!(sql_for(statement.sql.clone(), Backend::Postgres), numbers);
        let places = "x IN (?, ?, ?, ?) AND y IN (NULL) VALUES (?, ?), (?, ?)";
        assert_eq!(sql_for(statement.sql, Backend::Sqlite), places);
    }
}
