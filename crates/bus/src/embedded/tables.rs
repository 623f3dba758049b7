//! The tables of the embedded log and the few statements over them.

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::codec::{Row, read_row};
use super::state::{PartitionState, TopicState};
use crate::{Cleanup, Partition, Received, Topic};

/// Raised when the tables change shape.
const TABLES_VERSION: i64 = 1;
/// A row's id is its partition's id, then its last offset in this many bits.
const OFFSET_BITS: u32 = 40;
/// Memory for pages, in KiB: of the writer and of each reader. SQLite pools what all connections of a process may use.
const WRITER_CACHE_KIB: i64 = 4 * 1024;
const READER_CACHE_KIB: i64 = 1024;
/// What SQLite holds in the whole process before it lets go of pages that it could read again. Whoever runs
/// everything in one process has a dozen connections to four files.
const PROCESS_BYTES: i64 = 20 << 20;
/// How long one connection waits for another, in milliseconds.
const BUSY_TIMEOUT_MS: u64 = 10_000;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS topics (
    name TEXT PRIMARY KEY,
    cleanup TEXT NOT NULL,
    retention_ms INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS partitions (
    id INTEGER PRIMARY KEY,
    topic TEXT NOT NULL,
    number INTEGER NOT NULL,
    low INTEGER NOT NULL,
    high INTEGER NOT NULL,
    compacted_to INTEGER NOT NULL,
    UNIQUE (topic, number)
);
CREATE TABLE IF NOT EXISTS rows (
    id INTEGER PRIMARY KEY,
    max_at_us INTEGER NOT NULL,
    bytes BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS offsets (
    member_group TEXT NOT NULL,
    topic TEXT NOT NULL,
    number INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    PRIMARY KEY (member_group, topic, number)
) WITHOUT ROWID;
";

/// The id of a row of partition `id` whose last offset is `offset`.
pub(super) const fn row_id(id: i64, offset: i64) -> i64 {
    (id << OFFSET_BITS) | offset
}

/// The last offset of the row with that id.
pub(super) const fn offset_of(row_id: i64) -> i64 {
    row_id & ((1 << OFFSET_BITS) - 1)
}

/// Opens for writing and makes the tables where they are missing. `None`: in memory.
pub(super) fn open_writer(path: Option<&std::path::Path>) -> Result<Connection, rusqlite::Error> {
    let connection = match path {
        Some(path) => Connection::open(path)?,
        None => Connection::open_in_memory()?,
    };
    connection.busy_timeout(std::time::Duration::from_millis(BUSY_TIMEOUT_MS))?;
    // Large pages: rows are mostly long.
    connection.pragma_update(None, "page_size", 16_384)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "soft_heap_limit", PROCESS_BYTES)?;
    if version_of(&connection)? != 0 {
        check_version(&connection)?;
    }
    connection.execute_batch(TABLES)?;
    connection.pragma_update(None, "user_version", TABLES_VERSION)?;
    Ok(connection)
}

fn version_of(connection: &Connection) -> Result<i64, rusqlite::Error> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Fails when the tables are not of the version that this program knows.
pub(super) fn check_version(connection: &Connection) -> Result<(), rusqlite::Error> {
    let version = version_of(connection)?;
    if version == TABLES_VERSION {
        return Ok(());
    }
    Err(rusqlite::Error::ToSqlConversionFailure(
        format!("its tables are of version {version}, this program knows {TABLES_VERSION}").into(),
    ))
}

/// Opens for reading only.
pub(super) fn open_reader(path: &std::path::Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(std::time::Duration::from_millis(BUSY_TIMEOUT_MS))?;
    connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    Ok(connection)
}

/// Every topic with its partitions, as they are.
pub(super) fn load_topics(connection: &Connection) -> Result<Vec<(Topic, TopicState)>, rusqlite::Error> {
    let mut topics = Vec::new();
    let mut statement = connection.prepare("SELECT name, cleanup, retention_ms FROM topics")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let cleanup: String = row.get(1)?;
        // A topic of another version of this program: nothing here reads it.
        let Ok(topic) = name.parse::<Topic>() else { continue };
        let partitions = load_partitions(connection, topic)?;
        topics.push((
            topic,
            TopicState { cleanup: cleanup_named(&cleanup), retention_ms: row.get(2)?, partitions },
        ));
    }
    Ok(topics)
}

fn load_partitions(connection: &Connection, topic: Topic) -> Result<Vec<PartitionState>, rusqlite::Error> {
    let mut statement =
        connection.prepare("SELECT id, low, high FROM partitions WHERE topic = ?1 ORDER BY number")?;
    let mut rows = statement.query([topic.name()])?;
    let mut partitions = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, low, high): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let newest: Option<i64> = connection.query_row(
            "SELECT MAX(id) FROM rows WHERE id >= ?1 AND id < ?2",
            [row_id(id, 0), row_id(id + 1, 0)],
            |row| row.get(0),
        )?;
        let high = newest.map_or(high, |newest| high.max(offset_of(newest) + 1));
        partitions.push(PartitionState { id, low, high });
    }
    Ok(partitions)
}

/// Every group's progress.
pub(super) fn load_offsets(
    connection: &Connection,
) -> Result<Vec<(String, Partition, i64)>, rusqlite::Error> {
    let mut statement = connection.prepare("SELECT member_group, topic, number, next_offset FROM offsets")?;
    let mut rows = statement.query([])?;
    let mut offsets = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(1)?;
        if let Ok(topic) = name.parse::<Topic>() {
            offsets.push((row.get(0)?, Partition { topic, number: row.get(2)? }, row.get(3)?));
        }
    }
    Ok(offsets)
}

/// Makes a topic, or sets how its records go.
pub(super) fn put_topic(
    connection: &Connection,
    topic: Topic,
    cleanup: Cleanup,
    retention_ms: i64,
    partitions: i32,
) -> Result<(), rusqlite::Error> {
    connection.execute(
        "INSERT INTO topics (name, cleanup, retention_ms) VALUES (?1, ?2, ?3)
         ON CONFLICT (name) DO UPDATE SET cleanup = excluded.cleanup, retention_ms = excluded.retention_ms",
        params![topic.name(), cleanup_name(cleanup), retention_ms],
    )?;
    for number in 0..partitions {
        connection.execute(
            "INSERT INTO partitions (topic, number, low, high, compacted_to) VALUES (?1, ?2, 0, 0, 0)
             ON CONFLICT (topic, number) DO NOTHING",
            params![topic.name(), number],
        )?;
    }
    Ok(())
}

pub(super) fn put_row(connection: &Connection, partition_id: i64, row: &Row) -> Result<(), rusqlite::Error> {
    connection
        .prepare_cached("INSERT INTO rows (id, max_at_us, bytes) VALUES (?1, ?2, ?3)")?
        .execute(params![row_id(partition_id, row.last_offset), row.max_at, row.bytes])?;
    Ok(())
}

pub(super) fn put_offset(
    connection: &Connection,
    group: &str,
    partition: Partition,
    next: i64,
) -> Result<(), rusqlite::Error> {
    connection
        .prepare_cached(
            "INSERT INTO offsets (member_group, topic, number, next_offset) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (member_group, topic, number) DO UPDATE SET next_offset = excluded.next_offset",
        )?
        .execute(params![group, partition.topic.name(), partition.number, next])?;
    Ok(())
}

/// Remembers where a partition begins and ends, for when no row tells.
pub(super) fn put_marks(connection: &Connection, state: PartitionState) -> Result<(), rusqlite::Error> {
    connection.execute(
        "UPDATE partitions SET low = ?2, high = ?3 WHERE id = ?1",
        params![state.id, state.low, state.high],
    )?;
    Ok(())
}

/// The offset up to which a partition was compacted.
pub(super) fn compacted_to(connection: &Connection, partition_id: i64) -> Result<i64, rusqlite::Error> {
    let found = connection
        .query_row("SELECT compacted_to FROM partitions WHERE id = ?1", [partition_id], |row| row.get(0))
        .optional()?;
    Ok(found.unwrap_or(0))
}

/// Where to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) partition: Partition,
    pub(super) partition_id: i64,
    /// First offset wanted.
    pub(super) from: i64,
    /// First offset not wanted.
    pub(super) to: i64,
}

/// Records of whole rows until there are at least `records_wanted` or the span ends. Fewer than wanted
/// means that the span holds no more.
pub(super) fn read_span(
    connection: &Connection,
    span: Span,
    records_wanted: usize,
) -> Result<Vec<Received>, rusqlite::Error> {
    let mut statement =
        connection.prepare_cached("SELECT bytes FROM rows WHERE id >= ?1 AND id < ?2 ORDER BY id")?;
    let mut rows =
        statement.query([row_id(span.partition_id, span.from), row_id(span.partition_id, span.to)])?;
    let mut records = Vec::new();
    while records.len() < records_wanted
        && let Some(row) = rows.next()?
    {
        let bytes: Vec<u8> = row.get(0)?;
        read_row(span.partition, bytes, span.from, usize::MAX, &mut records).map_err(|damaged| {
            rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, damaged.into())
        })?;
    }
    Ok(records)
}

fn cleanup_name(cleanup: Cleanup) -> &'static str {
    match cleanup {
        Cleanup::Delete => "delete",
        Cleanup::Compact => "compact",
        Cleanup::CompactDelete => "compact,delete",
    }
}

fn cleanup_named(name: &str) -> Cleanup {
    match name {
        "compact" => Cleanup::Compact,
        "compact,delete" => Cleanup::CompactDelete,
        _ => Cleanup::Delete,
    }
}
