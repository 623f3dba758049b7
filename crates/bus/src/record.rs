use std::borrow::Cow;

use bytes::Bytes;
use model::Timestamp;

use crate::{Partition, Topic};

/// The largest record accepted, key, value and headers together, in bytes.
pub const RECORD_BYTES_MAX: usize = 1_000_000;
/// The largest sum of header names and values, in bytes.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;

/// Header names that most records have: read without an allocation, one byte each in the embedded log.
/// Their places are part of that log's layout: only append.
pub(crate) const KNOWN_HEADERS: [&str; 12] = [
    "ce_specversion",
    "ce_id",
    "ce_source",
    "ce_type",
    "ce_time",
    "content-type",
    "traceparent",
    "tracestate",
    "ce_subject",
    "ce_dataschema",
    "baggage",
    "ce_datacontenttype",
];

/// The name, without an allocation where it is known.
pub(crate) fn known_header(name: &str) -> Cow<'static, str> {
    match KNOWN_HEADERS.into_iter().find(|known| *known == name) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(name.to_owned()),
    }
}

/// Names and values that travel beside a record: CloudEvents attributes (`ce_id`, `ce_type`, ...) and W3C
/// trace context. A name may occur more than once; the last one counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Cow<'static, str>, Bytes)>);

impl<N: Into<Cow<'static, str>>, V: Into<Bytes>> Extend<(N, V)> for Headers {
    fn extend<T: IntoIterator<Item = (N, V)>>(&mut self, more: T) {
        self.0.extend(more.into_iter().map(|(name, value)| (name.into(), value.into())));
    }
}

impl<N: Into<Cow<'static, str>>, V: Into<Bytes>> FromIterator<(N, V)> for Headers {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(all: T) -> Self {
        let mut headers = Self::new();
        headers.extend(all);
        headers
    }
}

impl Headers {
    /// None yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// None yet, with room for so many.
    pub fn with_capacity(count: usize) -> Self {
        Self(Vec::with_capacity(count))
    }

    /// Adds one more.
    pub fn push(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Bytes>) {
        self.0.push((name.into(), value.into()));
    }

    /// Replaces all of that name by one.
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Bytes>) {
        let name = name.into();
        self.0.retain(|(n, _)| *n != name);
        self.0.push((name, value.into()));
    }

    /// The last value of that name.
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.0.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v)
    }

    /// The last value of that name, if it is UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|v| std::str::from_utf8(v).ok())
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.0.iter().map(|(n, v)| (n.as_ref(), v))
    }

    /// Bytes of all names and values.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|(n, v)| n.len() + v.len()).sum()
    }
}

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
        self.key.len() + self.value.as_ref().map_or(0, Bytes::len) + self.headers.bytes()
    }

    /// Whether the log takes a record of this size.
    ///
    /// # Errors
    /// The label `too_large` when it exceeds [`RECORD_BYTES_MAX`] or its headers [`HEADER_BYTES_MAX`].
    pub fn check_size(&self) -> Result<(), &'static str> {
        if self.bytes() > RECORD_BYTES_MAX || self.headers.bytes() > HEADER_BYTES_MAX {
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
