//! Where one record ends and the next begins, in constant memory.

mod nesting;

use model::SourceKind;
use nesting::{Nesting, Quoting, depth_of};

/// The longest line, element or table row, in bytes.
pub const RECORD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The longest document that is read in one piece: a feed, a mail, an indented JSON page.
pub const DOCUMENT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Without a line end in this many bytes a `[` begins an array that is read element by element.
const PEEK_BYTES: usize = 64 * 1024;

/// A first line that is open deeper than this is an attack, not the start of a document.
const DEPTH_MAX: u64 = 128;

/// How the input of a kind is cut into records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// JSON in any of its packings, found out from the first bytes: lines, one document, one array
    /// (read element by element), or server-sent events with JSON in `data`.
    Json,
    /// Rows of a table; a row may span lines inside quotes.
    Csv,
    /// One document from the first to the last byte.
    Whole {
        /// The limit in bytes.
        max: usize,
    },
}

/// How the input of `kind` is cut into records.
pub const fn framing(kind: SourceKind) -> Framing {
    match kind {
        SourceKind::Csv => Framing::Csv,
        SourceKind::Feed | SourceKind::Email => Framing::Whole { max: DOCUMENT_BYTES_MAX },
        _ => Framing::Json,
    }
}

/// One record and where it stood.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// The event name of a server-sent event.
    pub event: Option<&'a str>,
    /// The line on which it begins, counted from 1.
    pub line: u64,
    /// Its first byte, counted from 0.
    pub offset: u64,
}

/// What the framer found.
#[derive(Debug, Clone, Copy)]
pub enum Piece<'a> {
    /// A whole record.
    Record(Record<'a>),
    /// A record over its limit; its bytes were dropped.
    TooLong {
        /// Where it begins, counted from 1.
        line: u64,
        /// Its first byte, counted from 0.
        offset: u64,
        /// The limit in bytes.
        limit: usize,
    },
    /// The input ended inside a record.
    CutOff {
        /// Where that begins, counted from 1.
        line: u64,
        /// Its first byte, counted from 0.
        offset: u64,
    },
    /// An array with a comma where an element should be.
    NoElement {
        /// Where, counted from 1.
        line: u64,
        /// The byte, counted from 0.
        offset: u64,
    },
    /// A comment of a server-sent-event stream: the line is alive.
    Heartbeat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Undecided,
    Lines,
    Events,
    Array,
    Document,
    Rows,
    Whole(usize),
}

/// Cuts a stream of chunks into records.
#[derive(Debug, Clone)]
pub struct Framer {
    mode: Mode,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are used up.
    used: usize,
    /// Bytes of `buffer` from `used` on that were looked at without finding an end.
    scanned: usize,
    /// Offset of `buffer[0]` in the input.
    base: u64,
    /// Line of `buffer[used]`.
    line: u64,
    /// A record over its limit is being dropped.
    dropping: bool,
    json: Nesting,
    quoted: Quoting,
    event: PendingEvent,
    /// An element was seen since the last comma (or the opening bracket).
    comma_open: bool,
    cut_rows: u32,
}

#[derive(Debug, Clone, Default)]
struct PendingEvent {
    name: String,
    data: Vec<u8>,
    has_data: bool,
    too_long: bool,
    line: u64,
    offset: u64,
}

impl Framer {
    /// A framer for the input of `kind`.
    pub fn new(kind: SourceKind) -> Self {
        let mode = match framing(kind) {
            Framing::Json => Mode::Undecided,
            Framing::Csv => Mode::Rows,
            Framing::Whole { max } => Mode::Whole(max),
        };
        Self {
            mode,
            buffer: Vec::new(),
            used: 0,
            scanned: 0,
            base: 0,
            line: 1,
            dropping: false,
            json: Nesting::default(),
            quoted: Quoting::FieldStart,
            event: PendingEvent::default(),
            comma_open: false,
            cut_rows: 0,
        }
    }

    /// Takes the next bytes and hands out every record that is now whole.
    pub fn push(&mut self, chunk: &[u8], each: &mut dyn FnMut(Piece<'_>)) {
        self.buffer.extend_from_slice(chunk);
        self.advance(false, each);
        self.compact();
    }

    /// Hands out what is left at the end of the input.
    pub fn finish(&mut self, each: &mut dyn FnMut(Piece<'_>)) {
        self.advance(true, each);
        self.compact();
    }

    fn advance(&mut self, end: bool, each: &mut dyn FnMut(Piece<'_>)) {
        loop {
            let before = (self.mode, self.used, self.scanned);
            match self.mode {
                Mode::Undecided => self.decide(end),
                Mode::Lines => self.lines(end, each),
                Mode::Events => self.events(end, each),
                Mode::Array => self.array(end, each),
                Mode::Document => self.document(end, each),
                Mode::Rows => self.rows(end, each),
                Mode::Whole(max) => self.whole(max, end, each),
            }
            if before == (self.mode, self.used, self.scanned) {
                return;
            }
        }
    }

    fn compact(&mut self) {
        if self.used > 0 {
            self.buffer.drain(..self.used);
            self.base += self.used as u64;
            self.used = 0;
        }
    }

    fn left(&self) -> &[u8] {
        &self.buffer[self.used..]
    }

    fn offset(&self) -> u64 {
        self.base + self.used as u64
    }

    /// Uses up `n` bytes and counts their lines.
    fn consume(&mut self, n: usize) {
        let n = n.min(self.buffer.len() - self.used);
        self.line += memchr::memchr_iter(b'\n', &self.buffer[self.used..self.used + n]).count() as u64;
        self.used += n;
        self.scanned = 0;
    }

    fn emit(&self, len: usize, each: &mut dyn FnMut(Piece<'_>)) {
        let bytes = &self.left()[..len];
        let trimmed = bytes.trim_ascii();
        if !trimmed.is_empty() {
            let skipped = bytes.len() - bytes.trim_ascii_start().len();
            let line = self.line + memchr::memchr_iter(b'\n', &bytes[..skipped]).count() as u64;
            let offset = self.offset() + skipped as u64;
            each(Piece::Record(Record { bytes: trimmed, event: None, line, offset }));
        }
    }

    fn decide(&mut self, end: bool) {
        if self.base == 0 && self.used == 0 {
            let mark = b"\xef\xbb\xbf";
            if self.left().starts_with(mark) {
                self.consume(mark.len());
            } else if !end && self.left().len() < mark.len() {
                return;
            }
        }
        let blank = self.left().len() - self.left().trim_ascii_start().len();
        self.consume(blank);
        let left = self.left();
        let Some(&first) = left.first() else { return };
        let line_end = memchr::memchr(b'\n', left);
        if first == b'<' {
            // Markup instead of JSON is one document, not as many broken lines.
            self.mode = Mode::Whole(DOCUMENT_BYTES_MAX);
            return;
        }
        if !matches!(first, b'{' | b'[') {
            const FIELDS: [&[u8]; 5] = [b":", b"event:", b"data:", b"id:", b"retry:"];
            if FIELDS.iter().any(|f| left.starts_with(f)) {
                self.mode = Mode::Events;
            } else if left.len() >= 6 || line_end.is_some() || end {
                self.mode = Mode::Lines;
            }
            return;
        }
        let long = if first == b'[' { Mode::Array } else { Mode::Document };
        let Some(line_end) = line_end else {
            if first == b'[' && left.len() > PEEK_BYTES && depth_of(left) <= DEPTH_MAX {
                self.enter(Mode::Array);
            } else if end || left.len() > RECORD_BYTES_MAX {
                self.mode = Mode::Lines;
            }
            return;
        };
        let first_line = left[..line_end].trim_ascii();
        let mut nesting = Nesting::default();
        first_line.iter().for_each(|b| nesting.step(*b));
        let whole_or_damaged = nesting.depth == 0 || nesting.depth > DEPTH_MAX || nesting.in_string;
        let next = left[line_end..].trim_ascii_start().first().copied();
        if !whole_or_damaged && next.is_none() && !end {
            // The next line tells whether this one was meant to end here.
            return;
        }
        let last = first_line.last().copied().unwrap_or(b'{');
        let open_ended = matches!(last, b'{' | b'[' | b',' | b':');
        let next_opens = matches!(next, Some(b'{' | b'['));
        let inner_object = nesting.innermost == Some(b'{');
        let cannot_go_on = next_opens && (!open_ended || (inner_object && last != b':'));
        if whole_or_damaged || cannot_go_on {
            self.mode = Mode::Lines;
        } else {
            self.enter(long);
        }
    }

    fn enter(&mut self, mode: Mode) {
        self.mode = mode;
        self.json = Nesting::default();
        self.comma_open = false;
        self.scanned = 0;
        if mode == Mode::Array {
            self.consume(1);
        }
    }

    fn lines(&mut self, end: bool, each: &mut dyn FnMut(Piece<'_>)) {
        while let Some(found) = memchr::memchr(b'\n', &self.buffer[self.used + self.scanned..]) {
            let len = self.scanned + found;
            if self.dropping {
                self.dropping = false;
            } else if len > RECORD_BYTES_MAX {
                self.too_long(RECORD_BYTES_MAX, each);
            } else {
                self.emit(len, each);
            }
            self.used += len + 1;
            self.line += 1;
            self.scanned = 0;
        }
        self.scanned = self.left().len();
        if self.scanned > RECORD_BYTES_MAX {
            if !self.dropping {
                self.too_long(RECORD_BYTES_MAX, each);
                self.dropping = true;
            }
            self.consume(self.scanned);
        }
        if end && self.scanned > 0 {
            if !self.dropping {
                self.emit(self.scanned, each);
            }
            self.consume(self.scanned);
        }
    }

    fn too_long(&self, limit: usize, each: &mut dyn FnMut(Piece<'_>)) {
        each(Piece::TooLong { line: self.line, offset: self.offset(), limit });
    }

    fn cut_off(&self, each: &mut dyn FnMut(Piece<'_>)) {
        each(Piece::CutOff { line: self.line, offset: self.offset() });
    }

    fn array(&mut self, end: bool, each: &mut dyn FnMut(Piece<'_>)) {
        let mut at = self.scanned;
        while let Some(&b) = self.buffer.get(self.used + at) {
            let ends = self.json.depth == 0 && !self.json.in_string && matches!(b, b',' | b']' | b'}');
            if !ends {
                self.json.step(b);
                at += 1;
                if at > RECORD_BYTES_MAX {
                    if !self.dropping {
                        self.too_long(RECORD_BYTES_MAX, each);
                        self.dropping = true;
                    }
                    self.consume(at);
                    at = 0;
                }
                continue;
            }
            let blank = !self.dropping && self.left()[..at].trim_ascii().is_empty();
            if blank && (b != b']' || self.comma_open) {
                each(Piece::NoElement { line: self.line, offset: self.offset() });
            } else if !self.dropping {
                self.emit(at, each);
            }
            self.dropping = false;
            self.consume(at + 1);
            at = 0;
            self.json = Nesting::default();
            self.comma_open = b == b',';
            if b != b',' {
                self.mode = Mode::Undecided;
                return;
            }
        }
        self.scanned = at;
        if end {
            self.cut_off(each);
            self.consume(self.left().len());
            self.mode = Mode::Lines;
        }
    }

    fn document(&mut self, end: bool, each: &mut dyn FnMut(Piece<'_>)) {
        let mut at = self.scanned;
        while let Some(&b) = self.buffer.get(self.used + at) {
            self.json.step(b);
            at += 1;
            if self.json.depth == 0 {
                if !self.dropping {
                    self.emit(at, each);
                }
                self.dropping = false;
                self.consume(at);
                self.mode = Mode::Undecided;
                return;
            }
            if at > DOCUMENT_BYTES_MAX {
                if !self.dropping {
                    self.too_long(DOCUMENT_BYTES_MAX, each);
                    self.dropping = true;
                }
                self.consume(at);
                at = 0;
            }
        }
        self.scanned = at;
        if end {
            if !self.dropping {
                self.cut_off(each);
            }
            self.consume(self.left().len());
            self.mode = Mode::Lines;
        }
    }

    fn events(&mut self, end: bool, each: &mut dyn FnMut(Piece<'_>)) {
        while let Some(found) = memchr::memchr(b'\n', &self.buffer[self.used + self.scanned..]) {
            self.event_line(self.scanned + found, each);
            self.consume(self.scanned + found + 1);
        }
        self.scanned = self.left().len();
        if self.scanned > RECORD_BYTES_MAX {
            self.event.too_long = true;
            self.consume(self.scanned);
        }
        if end {
            if self.scanned > 0 {
                self.event_line(self.scanned, each);
                self.consume(self.scanned);
            }
            self.dispatch(each);
        }
    }

    fn event_line(&mut self, len: usize, each: &mut dyn FnMut(Piece<'_>)) {
        let line = self.left()[..len].trim_ascii_end().to_owned();
        if line.is_empty() {
            self.dispatch(each);
            return;
        }
        let colon = memchr::memchr(b':', &line).unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            b"" => each(Piece::Heartbeat),
            b"event" => self.event.name = String::from_utf8_lossy(value.trim_ascii()).into_owned(),
            b"data" => {
                if !self.event.has_data {
                    (self.event.line, self.event.offset) = (self.line, self.offset());
                }
                self.event.has_data = true;
                if self.event.data.len() + value.len() > RECORD_BYTES_MAX {
                    self.event.too_long = true;
                } else {
                    if !self.event.data.is_empty() {
                        self.event.data.push(b'\n');
                    }
                    self.event.data.extend_from_slice(value);
                }
            }
            b"id" | b"retry" => {}
            // No field of an event stream: let the record reader say so.
            _ => each(Piece::Record(Record {
                bytes: &line,
                event: None,
                line: self.line,
                offset: self.offset(),
            })),
        }
    }

    fn dispatch(&mut self, each: &mut dyn FnMut(Piece<'_>)) {
        let event = std::mem::take(&mut self.event);
        if event.too_long {
            each(Piece::TooLong { line: event.line, offset: event.offset, limit: RECORD_BYTES_MAX });
        } else if event.has_data {
            let name = (!event.name.is_empty()).then_some(event.name.as_str());
            each(Piece::Record(Record {
                bytes: &event.data,
                event: name,
                line: event.line,
                offset: event.offset,
            }));
        } else if !event.name.is_empty() {
            // An event without data, such as filters_changed.
            let (line, offset) = (self.line, self.offset());
            each(Piece::Record(Record { bytes: b"", event: Some(&event.name), line, offset }));
        }
    }

    fn rows(&mut self, end: bool, each: &mut dyn FnMut(Piece<'_>)) {
        loop {
            let mut at = self.scanned;
            let mut row_end = None;
            while let Some(&b) = self.buffer.get(self.used + at) {
                at += 1;
                if self.quoted.step(b) {
                    row_end = Some(at);
                    break;
                }
                if at > RECORD_BYTES_MAX {
                    break;
                }
            }
            self.scanned = at;
            if let Some(len) = row_end {
                if self.dropping {
                    self.dropping = false;
                } else {
                    self.emit_row(len, each);
                }
                self.consume(len);
                continue;
            }
            let unclosed = matches!(self.quoted, Quoting::Inside);
            if at > RECORD_BYTES_MAX || (end && unclosed && at > 0) {
                self.refuse_row(at > RECORD_BYTES_MAX, each);
                continue;
            }
            if end && at > 0 {
                if !self.dropping {
                    self.emit_row(at, each);
                }
                self.consume(at);
            }
            return;
        }
    }

    /// A quote that is never closed would swallow the rest: the first line is refused and the reader
    /// goes on with the next one, a bounded number of times.
    fn refuse_row(&mut self, too_long: bool, each: &mut dyn FnMut(Piece<'_>)) {
        const CUT_ROWS_MAX: u32 = 16;
        if !self.dropping {
            if too_long {
                self.too_long(RECORD_BYTES_MAX, each);
            } else {
                self.cut_off(each);
            }
        }
        self.quoted = Quoting::FieldStart;
        self.cut_rows += 1;
        let line_end = memchr::memchr(b'\n', self.left());
        match line_end {
            Some(line_end) if self.cut_rows <= CUT_ROWS_MAX => {
                self.dropping = false;
                self.consume(line_end + 1);
            }
            _ => {
                // Nothing but one long line: drop it to its end.
                self.dropping = true;
                self.consume(self.left().len());
            }
        }
    }

    fn emit_row(&self, len: usize, each: &mut dyn FnMut(Piece<'_>)) {
        let row = &self.left()[..len];
        let row = row.strip_suffix(b"\n").unwrap_or(row);
        let row = row.strip_suffix(b"\r").unwrap_or(row);
        if !row.is_empty() {
            each(Piece::Record(Record { bytes: row, event: None, line: self.line, offset: self.offset() }));
        }
    }

    fn whole(&mut self, max: usize, end: bool, each: &mut dyn FnMut(Piece<'_>)) {
        if self.left().len() > max {
            if !self.dropping {
                each(Piece::TooLong { line: 1, offset: 0, limit: max });
                self.dropping = true;
            }
            self.consume(self.left().len());
        }
        if end && !self.left().is_empty() {
            if !self.dropping && !self.left().trim_ascii().is_empty() {
                let bytes = self.left();
                each(Piece::Record(Record { bytes, event: None, line: 1, offset: self.offset() }));
            }
            self.consume(self.left().len());
        }
    }
}

#[cfg(test)]
mod tests;
