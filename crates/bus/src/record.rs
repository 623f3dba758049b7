use bytes::Bytes;
use model::Timestamp;

use crate::{Headers, Partition, Topic};

/// The largest record accepted, key, value and headers together, in bytes.
pub const RECORD_BYTES_MAX: usize = 1_000_000;
/// The largest sum of header names and values, in bytes.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;

/// What is written and read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Decides the partition, unless one is named; records of one key keep their order.
    pub key: Bytes,
    /// `None` is a tombstone: compaction forgets the key.
    pub value: Option<Bytes>,
    /// What travels beside it.
    pub headers: Headers,
    /// When it happened; retention goes by it.
    pub at: Timestamp,
}

impl Record {
    /// Bytes of key, value and headers.
    pub fn bytes(&self) -> usize {
        self.body_bytes() + self.headers.bytes()
    }

    fn body_bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Bytes::len)
    }

    /// Whether the log takes a record of this size.
    ///
    /// # Errors
    /// The label `too_large` when it exceeds [`RECORD_BYTES_MAX`] or its headers [`HEADER_BYTES_MAX`].
    pub fn check_size(&self) -> Result<(), &'static str> {
        let headers = self.headers.bytes();
        if self.body_bytes() + headers > RECORD_BYTES_MAX || headers > HEADER_BYTES_MAX {
            return Err("too_large");
        }
        Ok(())
    }
}

/// A record on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Where to.
    pub topic: Topic,
    /// A fixed partition; `None`: by the key's hash (murmur2, as Java clients do).
    pub partition: Option<i32>,
    /// What.
    pub record: Record,
}

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The partition.
    pub partition: Partition,
    /// The offset in it.
    pub offset: i64,
}

/// A record as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Where it lies.
    pub position: Position,
    /// What it is.
    pub record: Record,
}
