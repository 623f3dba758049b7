use bytes::Bytes;
use model::{MentionEvent, MentionId, SourceKind, TenantId, Timestamp, Transport};
use sources::{CsvMap, DecodeContext, Decoded, Location, Memory, StreamDecoder};

use crate::config::Connector;
use crate::known::View;
use crate::matching::Matching;

/// How much of a refused record is kept, in bytes.
pub(crate) const REFUSED_BODY_BYTES_MAX: usize = 256 * 1024;

/// One body as received, and what is known about it.
#[derive(Debug, Clone)]
pub struct Body {
    /// The wire format.
    pub kind: SourceKind,
    /// Host, page, app; empty where the network is one or the body tells.
    pub instance: String,
    /// How it reached us.
    pub transport: Transport,
    /// When it reached us.
    pub received_at: Timestamp,
    /// For tables: which column means what, where the connector does not say.
    pub csv_map: Option<CsvMap>,
    /// The exact bytes.
    pub bytes: Bytes,
}

/// What is to happen to one item of a body.
#[derive(Debug)]
pub(crate) enum Item {
    /// To be published.
    Event(Box<MentionEvent>),
    /// Published before.
    Repeat(MentionId),
    /// Left out, for a reason.
    Suppressed(MentionId, &'static str),
    /// Refused; kept for a person.
    Refused(Refused),
    /// A valid delivery without a mention.
    Ignored(&'static str),
}

/// One record that could not be read.
#[derive(Debug)]
pub(crate) struct Refused {
    pub reason: &'static str,
    pub detail: String,
    pub location: String,
    pub bytes: Bytes,
}

/// A body decoded, not yet decided about or published.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub connector: String,
    pub keep_raw: bool,
    pub body: Body,
    pub items: Vec<Item>,
}

/// One input, read body by body: later records may need what earlier ones said.
#[derive(Debug)]
pub struct Feed {
    decoder: StreamDecoder,
    /// Bytes read before the present body.
    base: u64,
    /// Added to line numbers: an input that is read on from the middle did not begin there.
    line_shift: u64,
}

impl Feed {
    /// At the beginning of an input of `kind`.
    pub fn new(kind: SourceKind) -> Self {
        Self { decoder: StreamDecoder::new(kind), base: 0, line_shift: 0 }
    }

    /// At the beginning of an input whose earlier parts came as inputs of their own.
    pub(crate) fn remembering(kind: SourceKind, memory: Memory) -> Self {
        Self { decoder: StreamDecoder::remembering(kind, memory), base: 0, line_shift: 0 }
    }

    /// What later inputs of the same source may need.
    pub(crate) fn into_memory(self) -> Memory {
        self.decoder.into_memory()
    }

    /// Line numbers from here on are `lines` higher than the decoder counts.
    pub(crate) fn shift_lines(&mut self, lines: u64) {
        self.line_shift = lines;
    }
}

/// Decodes `body` as the next part of `feed`. `is_end`: the input ends with this body, and so does whatever
/// record is open.
pub(crate) fn decode(
    feed: &mut Feed,
    body: Body,
    is_end: bool,
    connector: &Connector,
    tenant: &TenantId,
) -> Prepared {
    let ctx = DecodeContext {
        tenant,
        connector: &connector.id,
        instance: if body.instance.is_empty() { &connector.instance } else { &body.instance },
        transport: body.transport,
        received_at: body.received_at,
        csv_map: body.csv_map.as_ref().or(connector.csv_map.as_ref()),
    };
    let mut reading =
        Reading { body: &body.bytes, base: feed.base, line_shift: feed.line_shift, items: Vec::new() };
    // Line by line, so that items stand in the order of their records.
    for line in body.bytes.split_inclusive(|byte| *byte == b'\n') {
        reading.take(feed.decoder.push(line, &ctx));
    }
    if is_end {
        reading.take(feed.decoder.finish(&ctx));
    }
    let items = reading.items;
    feed.base += body.bytes.len() as u64;
    Prepared { connector: connector.id.clone(), keep_raw: connector.keep_raw, body, items }
}

/// Decides about each event: repeats fold away, what concerns none of our brands is left out.
pub(crate) fn decide(items: &mut [Item], connector: &Connector, matching: &Matching, view: &mut View<'_>) {
    for item in items {
        let Item::Event(event) = item else { continue };
        if view.has_event(&event.event_id) {
            *item = Item::Repeat(event.mention_id);
            continue;
        }
        match matching.apply(event, connector.brand.as_ref(), view) {
            Ok(()) => view.add(event),
            Err(reason) => *item = Item::Suppressed(event.mention_id, reason),
        }
    }
}

struct Reading<'a> {
    body: &'a Bytes,
    base: u64,
    line_shift: u64,
    items: Vec<Item>,
}

impl Reading<'_> {
    fn take(&mut self, decoded: Decoded) {
        self.items.extend(decoded.events.into_iter().map(|event| Item::Event(Box::new(event))));
        for refusal in decoded.refusals {
            self.items.push(Item::Refused(Refused {
                reason: refusal.reason.label(),
                detail: refusal.reason.to_string(),
                location: match refusal.location {
                    Location::Whole => String::new(),
                    Location::Line(line) => Location::Line(line + self.line_shift).to_string(),
                    Location::Item { line, item } => {
                        Location::Item { line: line + self.line_shift, item }.to_string()
                    }
                    place @ Location::Offset(_) => place.to_string(),
                },
                bytes: self.bytes_of(&refusal.bytes),
            }));
        }
        self.items.extend(decoded.ignored.iter().map(|ignored| Item::Ignored(ignored.label)));
    }

    /// The refused record itself where its place is known, else the body; cut either way.
    fn bytes_of(&self, range: &std::ops::Range<u64>) -> Bytes {
        let place = |at: u64| {
            at.checked_sub(self.base)
                .and_then(|at| usize::try_from(at).ok())
                .filter(|at| *at <= self.body.len())
        };
        let (start, end) = match (place(range.start), place(range.end)) {
            (Some(start), Some(end)) if start < end => (start, end),
            // Only its beginning is known: keep from there on.
            (Some(start), Some(_)) if start < self.body.len() => (start, self.body.len()),
            _ => (0, self.body.len()),
        };
        self.body.slice(start..end.min(start + REFUSED_BODY_BYTES_MAX))
    }
}
