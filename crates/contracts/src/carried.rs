//! A mention event on its way from the mentions topic to the verdicts topic: its bytes are copied, not read
//! into a message and written again.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use bytes::Bytes;
use model::{MentionEvent, Timestamp, Verdict};
use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field,
};
use prost::{DecodeError, Message, Name};

use crate::classified::CLASSIFIED_TEXT_CHARS_MAX;
use crate::classify::v1 as wire;
use crate::id;

/// Fields of a mention event: the mention, and what stays behind of the rest.
const MENTION: u32 = 13;
const RAW: u32 = 15;
/// Fields of a mention: its text, and what stays behind: people, hashtags, links and media.
const TEXT: u32 = 2;
const ENTITIES: RangeInclusive<u32> = 12..=15;

/// A [`wire::VerdictEvent`] whose mention event is bytes already; the same on the wire.
#[derive(Clone, PartialEq, Message)]
pub struct CarriedVerdict {
    #[prost(bytes = "bytes", tag = "1")]
    event_id: Bytes,
    #[prost(bytes = "vec", tag = "2")]
    mention: Vec<u8>,
    #[prost(bytes = "bytes", tag = "3")]
    thread_root: Bytes,
    #[prost(message, optional, tag = "4")]
    verdict: Option<wire::Verdict>,
    #[prost(int64, tag = "5")]
    classified_at_us: i64,
}

impl Name for CarriedVerdict {
    const NAME: &'static str = wire::VerdictEvent::NAME;
    const PACKAGE: &'static str = wire::VerdictEvent::PACKAGE;
}

impl CarriedVerdict {
    /// The event that [`crate::Classified::new`] describes, of `event` and the bytes it was read from. What this
    /// build does not know travels on.
    ///
    /// # Errors
    /// When `bytes` are no message; never for bytes that an event was read from.
    pub fn new(
        event: &MentionEvent,
        bytes: &[u8],
        verdict: Option<Verdict>,
        classified_at: Timestamp,
    ) -> Result<Self, DecodeError> {
        Ok(Self {
            event_id: id(event.event_id.as_bytes()),
            mention: carried(bytes)?,
            thread_root: id(event.thread_root().as_bytes()),
            verdict: verdict.map(wire::Verdict::from),
            classified_at_us: classified_at.as_micros(),
        })
    }
}

/// The mention event without what later steps do not need.
fn carried(event: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut out = Vec::with_capacity(event.len());
    let mut rest = event;
    while let Some(field) = next_field(&mut rest)? {
        match field.tag {
            RAW => {}
            MENTION => put(&mut out, MENTION, &mention(field.content)?),
            _ => out.extend_from_slice(field.whole),
        }
    }
    Ok(out)
}

/// The mention without entities, its text cut. Most have nothing to leave behind and are not copied.
fn mention(mention: &[u8]) -> Result<Cow<'_, [u8]>, DecodeError> {
    let mut out: Option<Vec<u8>> = None;
    let (mut rest, mut begin) = (mention, 0);
    while let Some(field) = next_field(&mut rest)? {
        let text = cut(&field);
        if text.is_some() || ENTITIES.contains(&field.tag) {
            let out = out.get_or_insert_with(|| mention[..begin].to_vec());
            if let Some(text) = text {
                put(out, TEXT, text.as_bytes());
            }
        } else if let Some(out) = &mut out {
            out.extend_from_slice(field.whole);
        }
        begin += field.whole.len();
    }
    Ok(out.map_or(Cow::Borrowed(mention), Cow::Owned))
}

/// What remains of a text that is too long to travel on.
fn cut<'a>(field: &Field<'a>) -> Option<&'a str> {
    if field.tag != TEXT || field.content.len() <= CLASSIFIED_TEXT_CHARS_MAX {
        return None;
    }
    let text = std::str::from_utf8(field.content).ok()?;
    let (end, _) = text.char_indices().nth(CLASSIFIED_TEXT_CHARS_MAX)?;
    Some(&text[..end])
}

/// One field as it lies in a message.
struct Field<'a> {
    tag: u32,
    /// With its key.
    whole: &'a [u8],
    /// What has a length, without that length; else empty.
    content: &'a [u8],
}

fn next_field<'a>(rest: &mut &'a [u8]) -> Result<Option<Field<'a>>, DecodeError> {
    if rest.is_empty() {
        return Ok(None);
    }
    let before = *rest;
    let (tag, wire_type) = decode_key(rest)?;
    let mut content: &[u8] = &[];
    if wire_type == WireType::LengthDelimited {
        let mut ahead = *rest;
        let length = usize::try_from(decode_varint(&mut ahead)?).unwrap_or(usize::MAX);
        content = ahead.get(..length).unwrap_or_default();
        // A length beyond the end is refused below.
    }
    skip_field(wire_type, tag, rest, DecodeContext::default())?;
    Ok(Some(Field { tag, whole: &before[..before.len() - rest.len()], content }))
}

fn put(out: &mut Vec<u8>, tag: u32, content: &[u8]) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(content.len() as u64, out);
    out.extend_from_slice(content);
}
