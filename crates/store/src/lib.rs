//! SQL for the services: pool, migrations, consumer offsets, outbox, due rows. One code path for SQLite
//! and Postgres.
//!
//! It decides nothing about pages, cases or clocks and knows no service's own tables. A service writes its
//! SQL against [`Tx`] in the subset both databases share:
//! - placeholders `$1`, `$2`, ...; types `BIGINT`, `TEXT`, `DOUBLE PRECISION`, `BYTEA` (a migration's
//!   `BYTEA` becomes `BLOB` on SQLite); `ON CONFLICT`, `RETURNING`, partial indexes;
//! - a truth value is a `BIGINT` of 0 or 1;
//! - `SUM` of `BIGINT` needs `CAST(SUM(x) AS BIGINT)`, for Postgres answers `NUMERIC`;
//! - never bind an `Option<f64>`: the driver announces an absent one as a four-byte number, and Postgres
//!   then refuses the present ones of the same statement. Keep such values in `BIGINT` or `NOT NULL`.
//!
//! Tables of a service are prefixed with its name. [`migrate`] first creates the tables of [`offsets`],
//! [`outbox`] and [`due`] for it; its own migrations number from 1.

pub mod due;
mod error;
mod lease;
mod local;
mod migrate;
mod name;
pub mod offsets;
mod open;
pub mod outbox;
mod statement;

pub use error::{Doing, StoreError};
pub use lease::release;
pub use local::open_local;
pub use migrate::{Applied, Migration, migrate, pending, wait_for_version};
pub use open::{Backend, Store, StoreOptions, Tx};
pub use statement::{On, Statement, Values, pieces};

/// The driver, so that services write SQL with the same version.
pub use sqlx;
