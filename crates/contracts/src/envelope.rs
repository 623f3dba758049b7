//! CloudEvents 1.0 in binary mode: a message's bytes are the record's value, what it is travels in headers.

use std::cell::RefCell;
use std::marker::PhantomData;

use bytes::Bytes;
use model::Timestamp;
use prost::{Message, Name};

/// Stable over re-deliveries; readers recognise repeats by it.
pub const CE_ID: &str = "ce_id";
/// Who wrote it, for example `redress/ingest`.
pub const CE_SOURCE: &str = "ce_source";
/// The message's full name, for example `redress.ingest.v1.MentionEvent`.
pub const CE_TYPE: &str = "ce_type";
/// When it happened, RFC 3339.
pub const CE_TIME: &str = "ce_time";
/// Always `1.0`.
pub const CE_SPECVERSION: &str = "ce_specversion";
/// Always `application/protobuf`.
pub const CONTENT_TYPE: &str = "content-type";

/// A message ready for a log: what goes into the record's value and headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Names and values, in a fixed order.
    pub headers: Vec<(&'static str, Bytes)>,
    /// The message's bytes.
    pub value: Bytes,
}

/// Why a record could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It does not say what it is.
    #[error("header 'ce_type' is missing, expected {expected}")]
    Untyped {
        /// What was looked for.
        expected: String,
    },
    /// It is something else.
    #[error("header 'ce_type' is '{found}', expected {expected}")]
    OtherType {
        /// What was looked for.
        expected: String,
        /// What it says, cut at 100 characters.
        found: String,
    },
    /// It has no value: a tombstone where none is meant to be.
    #[error("{expected} has no value")]
    Empty {
        /// What was looked for.
        expected: String,
    },
    /// Its bytes are no such message.
    #[error("bytes are no {expected}: {problem}")]
    Malformed {
        /// What was looked for.
        expected: String,
        /// What the decoder said.
        problem: String,
    },
}

impl DecodeError {
    /// A stable label for counting and for dead letters.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Untyped { .. } => "untyped_record",
            Self::OtherType { .. } => "unexpected_type",
            Self::Empty { .. } => "empty_record",
            Self::Malformed { .. } => "malformed_protobuf",
        }
    }
}

/// Turns `message` into a record's value and headers. `id` is stable over re-deliveries, `source` says who
/// writes (`redress/ingest`), `at` when it happened.
pub fn seal<M: Message + Name>(id: &str, source: &'static str, at: Timestamp, message: &M) -> Sealed {
    let id = Bytes::copy_from_slice(id.as_bytes());
    let source = Bytes::from_static(source.as_bytes());
    let headers = attributes(id, source, full_name::<M>(), rendered(at), Bytes::from_static);
    Sealed { headers: headers.into(), value: message.encode_to_vec().into() }
}

/// What all records of one kind have in common that one writer writes at one time, for who seals many.
#[derive(Debug, Clone)]
pub struct Seal<M> {
    source: &'static str,
    kind: String,
    at: Timestamp,
    time: String,
    of: PhantomData<fn() -> M>,
}

impl<M: Name> Seal<M> {
    /// Of what `source` writes `at` this time.
    pub fn new(source: &'static str, at: Timestamp) -> Self {
        Self { source, kind: M::full_name(), at, time: at.to_string(), of: PhantomData }
    }

    /// When.
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// The headers of the record with this id: those that [`seal`] gives it.
    pub fn headers<'a>(&'a self, id: &'a str) -> [(&'static str, &'a [u8]); 6] {
        attributes(id.as_bytes(), self.source.as_bytes(), self.kind.as_bytes(), self.time.as_bytes(), |v| v)
    }
}

/// The headers of every record, in a fixed order.
fn attributes<T>(
    id: T,
    source: T,
    kind: T,
    time: T,
    fixed: impl Fn(&'static [u8]) -> T,
) -> [(&'static str, T); 6] {
    [
        (CE_SPECVERSION, fixed(b"1.0")),
        (CE_ID, id),
        (CE_SOURCE, source),
        (CE_TYPE, kind),
        (CE_TIME, time),
        (CONTENT_TYPE, fixed(b"application/protobuf")),
    ]
}

/// The time as text. What is written together has one time: it is rendered once.
fn rendered(at: Timestamp) -> Bytes {
    thread_local! {
        static LAST: RefCell<(Timestamp, Bytes)> = const { RefCell::new((Timestamp::EPOCH, Bytes::new())) };
    }
    LAST.with_borrow_mut(|(time, text)| {
        if *time != at || text.is_empty() {
            (*time, *text) = (at, Bytes::from(at.to_string()));
        }
        text.clone()
    })
}

/// As [`Name::full_name`], in one allocation.
fn full_name<M: Name>() -> Bytes {
    [M::PACKAGE, M::NAME].join(".").into()
}

/// Does a record with this `ce_type` hold an `M`?
pub fn is<M: Name>(ce_type: Option<&str>) -> bool {
    ce_type.is_some_and(|found| {
        // Compared in parts, so that asking costs no allocation per record.
        found.strip_suffix(M::NAME).and_then(|rest| rest.strip_suffix('.')) == Some(M::PACKAGE)
    })
}

/// Reads an `M` from a record's `ce_type` header and value.
///
/// # Errors
/// See [`DecodeError`].
pub fn open<M: Message + Name + Default>(
    ce_type: Option<&str>,
    value: Option<&Bytes>,
) -> Result<M, DecodeError> {
    decode(body::<M>(ce_type, value)?)
}

/// The bytes of a record that says it holds an `M`.
pub(crate) fn body<'a, M: Name>(
    ce_type: Option<&str>,
    value: Option<&'a Bytes>,
) -> Result<&'a Bytes, DecodeError> {
    let expected = M::full_name;
    let Some(found) = ce_type else { return Err(DecodeError::Untyped { expected: expected() }) };
    if !is::<M>(ce_type) {
        let found = found.chars().take(100).collect();
        return Err(DecodeError::OtherType { expected: expected(), found });
    }
    value.ok_or_else(|| DecodeError::Empty { expected: expected() })
}

/// The message that these bytes are.
pub(crate) fn decode<M: Message + Name + Default>(bytes: &Bytes) -> Result<M, DecodeError> {
    M::decode(bytes.clone())
        .map_err(|e| DecodeError::Malformed { expected: M::full_name(), problem: e.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::v1::{Coverage, MentionEvent};

    fn sealed() -> Sealed {
        let coverage = Coverage { connector: "live".into(), ..Coverage::default() };
        seal("c1", "redress/ingest", Timestamp::from_seconds(1), &coverage)
    }

    #[test]
    fn a_sealed_message_opens_as_itself_and_as_nothing_else() {
        let Sealed { headers, value } = sealed();
        let text: Vec<_> =
            headers.iter().map(|(n, v)| format!("{n}: {}", std::str::from_utf8(v).unwrap())).collect();
        assert_eq!(
            text,
            [
                "ce_specversion: 1.0",
                "ce_id: c1",
                "ce_source: redress/ingest",
                "ce_type: redress.ingest.v1.Coverage",
                "ce_time: 1970-01-01T00:00:01Z",
                "content-type: application/protobuf"
            ]
        );
        let many = Seal::<Coverage>::new("redress/ingest", Timestamp::from_seconds(1));
        assert!(headers.iter().map(|(name, value)| (*name, &value[..])).eq(many.headers("c1")));
        let ce_type = Some("redress.ingest.v1.Coverage");
        assert_eq!(open::<Coverage>(ce_type, Some(&value)).unwrap().connector, "live");
        for (ce_type, value, label) in [
            (None, Some(&value), "untyped_record"),
            (Some("redress.ingest.v1.MentionEvent"), Some(&value), "unexpected_type"),
            (Some("xredress.ingest.v1.Coverage"), Some(&value), "unexpected_type"),
            (ce_type, None, "empty_record"),
            (ce_type, Some(&Bytes::from_static(&[0xff; 3])), "malformed_protobuf"),
        ] {
            assert_eq!(open::<Coverage>(ce_type, value).unwrap_err().label(), label);
        }
        assert!(!is::<MentionEvent>(ce_type));
    }
}
