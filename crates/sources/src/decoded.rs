use std::fmt;
use std::ops::Range;

use model::{MentionEvent, TenantId, Timestamp, Transport};

use crate::csv_map::CsvMap;

/// What a body itself does not say: whose it is, which connector heard it, and when.
#[derive(Debug, Clone, Copy)]
pub struct DecodeContext<'a> {
    /// Whose data this is; never read from a body.
    pub tenant: &'a TenantId,
    /// The configured connector, or empty for ad-hoc files.
    pub connector: &'a str,
    /// Host, page id, app id or mailbox; empty where the network is one or the body tells.
    pub instance: &'a str,
    /// How the body reached us.
    pub transport: Transport,
    /// When it reached us: `ingested_at`, and `observed_at` where no platform witnessed the post.
    pub received_at: Timestamp,
    /// Which column means what; only kind `csv` looks at it.
    pub csv_map: Option<&'a CsvMap>,
}

/// What one piece of input became. Every record of the input is in exactly one of the three lists,
/// except that one record (a page, a batch) may hold several items, each of them in one list.
#[derive(Debug, Clone, Default)]
pub struct Decoded {
    /// Mention events in the order of the input.
    pub events: Vec<MentionEvent>,
    /// What could not be understood, each with its place and reason.
    pub refusals: Vec<Refusal>,
    /// Valid deliveries that hold no mention.
    pub ignored: Vec<Ignored>,
    /// Records read, blank lines not counted.
    pub records: u64,
}

impl Decoded {
    /// Adds what came later in the same input.
    pub fn append(&mut self, mut later: Self) {
        self.events.append(&mut later.events);
        self.refusals.append(&mut later.refusals);
        self.ignored.append(&mut later.ignored);
        self.records += later.records;
    }
}

/// Where in the input something stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Location {
    /// The line on which the record begins, counted from 1.
    Line(u64),
    /// One item of a page or batch: the record's line and the item's number, both counted from 1.
    Item {
        /// The line on which the page begins.
        line: u64,
        /// The item's number in it.
        item: usize,
    },
    /// A byte of the input, counted from 1.
    Offset(u64),
    /// The whole input.
    Whole,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Item { line, item } => write!(f, "line {line}, item {item}"),
            Self::Offset(offset) => write!(f, "offset {offset}"),
            Self::Whole => f.write_str("whole input"),
        }
    }
}

/// One record or item that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Where it stood.
    pub location: Location,
    /// Why.
    pub reason: RefusalReason,
    /// The bytes of the record, counted from 0 over the whole input.
    pub bytes: Range<u64>,
}

/// Why something was refused. The text never repeats words of the input: it goes to logs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefusalReason {
    /// The syntax is broken.
    #[error("malformed {format}: {problem}")]
    Malformed {
        /// JSON, XML, CSV...
        format: &'static str,
        /// What the parser says, without content.
        problem: String,
    },
    /// It ends in the middle.
    #[error("cut off: the input ends inside this record")]
    CutOff,
    /// Longer than the limit.
    #[error("too long: more than {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// Well-formed, but no shape that this source sends.
    #[error("unknown shape: {0}")]
    UnknownShape(&'static str),
    /// A field that must be there is not.
    #[error("field '{0}' is missing")]
    MissingField(&'static str),
    /// A field is there but cannot be used.
    #[error("field '{field}' {problem}")]
    BadField {
        /// The field's name at the source.
        field: &'static str,
        /// What is wrong with it, without its content.
        problem: String,
    },
    /// The id went through a spreadsheet or a float and is no longer the id.
    #[error("field '{0}' was damaged by a spreadsheet: an id in scientific notation names several posts")]
    DamagedId(&'static str),
    /// The source answered with an error instead of data.
    #[error("the source answered with an error instead of data")]
    ErrorAnswer,
    /// A batch holds more than the limit.
    #[error("too many items: more than {limit}")]
    TooMany {
        /// The limit.
        limit: usize,
    },
}

impl RefusalReason {
    /// A stable name for metrics and accounts.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "malformed",
            Self::CutOff => "cut_off",
            Self::TooLong { .. } => "too_long",
            Self::UnknownShape(_) => "unknown_shape",
            Self::MissingField(_) => "missing_field",
            Self::BadField { .. } => "bad_field",
            Self::DamagedId(_) => "damaged_id",
            Self::ErrorAnswer => "error_answer",
            Self::TooMany { .. } => "too_many",
        }
    }
}

/// A valid delivery without a mention, for example a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ignored {
    /// What it was; a stable name for metrics and accounts.
    pub label: &'static str,
}
