//! The bytes of each source, decoded into mention events; and each source's signature check.
//!
//! This crate decides what a body means: which post, by whom, published, edited or withdrawn, and what
//! in it cannot be used and why. It stays ignorant of everything around it: no clock (the time of
//! arrival is an argument), no file, no socket, no storage. Nothing that comes in from outside makes it
//! panic, and everything that comes in ends as an event, a refusal with a reason, or a named delivery
//! without a mention.

pub mod brandmatch;
pub mod cloudevents;
mod csv_map;
mod decoded;
pub mod dedup;
pub mod entities;
mod framing;
mod html;
mod json;
mod kinds;
mod memory;
mod out;
mod output;
pub mod signature;
mod stream;
mod text;
mod when;

pub use csv_map::{CsvField, CsvMap, CsvMapError};
pub use decoded::{DecodeContext, Decoded, Ignored, Location, Refusal, RefusalReason};
pub use framing::{DOCUMENT_BYTES_MAX, Framer, Framing, Piece, RECORD_BYTES_MAX, Record, framing};
pub use memory::{MEMORY_MAX, Memory};
pub use output::to_json;
pub use stream::StreamDecoder;

use model::SourceKind;

/// Decodes one body as it was received: a JSON document (object, page or array), JSON lines, a segment
/// of server-sent events, a feed, a mail message or a table.
pub fn decode(kind: SourceKind, body: &[u8], ctx: &DecodeContext<'_>) -> Decoded {
    let mut decoder = StreamDecoder::new(kind);
    let mut decoded = decoder.push(body, ctx);
    decoded.append(decoder.finish(ctx));
    decoded
}
