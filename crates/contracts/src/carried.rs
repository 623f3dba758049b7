//! A mention event on its way from the mentions topic to the verdicts topic: its bytes are copied, not read
//! into a message and written again.

use std::ops::RangeInclusive;

use model::{Timestamp, Verdict};
use prost::{DecodeError, encoding};

use crate::Subject;
use crate::classified::CLASSIFIED_TEXT_CHARS_MAX;
use crate::classify::v1 as wire;
use crate::fields::{Field, next_field, put, put_written};

/// Fields of a mention event: the mention, and what stays behind of the rest.
const MENTION: u32 = 13;
const RAW: u32 = 15;
/// Fields of a mention: its text, and what stays behind: people, hashtags, links and media.
const TEXT: u32 = 2;
const ENTITIES: RangeInclusive<u32> = 12..=15;

/// Room made for what a verdict adds to its mention, in bytes: most take less.
const LIKELY_BYTES: usize = 512;

/// The bytes of the [`wire::VerdictEvent`] that [`crate::Classified::new`] describes, of the mention event that
/// `bytes` are. What this build does not know travels on.
///
/// # Errors
/// When `bytes` are no message; never for bytes that a [`crate::Glance`] was had of.
pub fn carried_verdict(
    subject: Subject,
    bytes: &[u8],
    verdict: Option<Verdict>,
    classified_at: Timestamp,
) -> Result<Vec<u8>, DecodeError> {
    let mut out = Vec::with_capacity(bytes.len() + LIKELY_BYTES);
    put(&mut out, 1, subject.event_id.as_bytes());
    put_written(&mut out, 2, |out| carry(bytes, out))?;
    put(&mut out, 3, subject.thread_root.as_bytes());
    if let Some(verdict) = verdict {
        encoding::message::encode(4, &wire::Verdict::from(verdict), &mut out);
    }
    if classified_at != Timestamp::EPOCH {
        encoding::int64::encode(5, &classified_at.as_micros(), &mut out);
    }
    Ok(out)
}

/// Writes the mention event without what later steps do not need.
fn carry(event: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let mut rest = event;
    while let Some(field) = next_field(&mut rest)? {
        match field.tag {
            RAW => {}
            MENTION => put_written(out, MENTION, |out| carry_mention(field.content, out))?,
            _ => out.extend_from_slice(field.whole),
        }
    }
    Ok(())
}

/// Writes the mention without entities, its text cut.
fn carry_mention(mention: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let mut rest = mention;
    while let Some(field) = next_field(&mut rest)? {
        if ENTITIES.contains(&field.tag) {
            continue;
        }
        match cut(&field) {
            Some(text) => put(out, TEXT, text.as_bytes()),
            None => out.extend_from_slice(field.whole),
        }
    }
    Ok(())
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
