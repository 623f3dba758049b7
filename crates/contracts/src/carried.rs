//! A mention event on its way from the mentions topic to the verdicts topic: its bytes are copied, not read
//! into a message and written again.

use std::ops::RangeInclusive;

use model::{Probability, Severity, Signals, Timestamp, TopicScore, Verdict, Why};
use prost::{DecodeError, encoding};

use crate::Subject;
use crate::classified::CLASSIFIED_TEXT_CHARS_MAX;
use crate::fields::{Field, next_field, put, put_message, try_put_message};

/// Fields of a mention event: the mention, and what stays behind of the rest.
const MENTION: u32 = 13;
const RAW: u32 = 15;
/// Fields of a mention: its text, and what stays behind: people, hashtags, links and media.
const TEXT: u32 = 2;
const ENTITIES: RangeInclusive<u32> = 12..=15;

/// Room made for what a verdict adds to its mention, in bytes: most take less.
const LIKELY_BYTES: usize = 512;

/// The bytes of the [`VerdictEvent`](crate::classify::v1::VerdictEvent) that [`crate::Classified::new`] describes, of the mention event that
/// `bytes` are. What this build does not know travels on.
///
/// # Errors
/// When `bytes` are no message; never for bytes that a [`crate::Glance`] was had of.
pub fn carried_verdict(
    subject: Subject,
    bytes: &[u8],
    verdict: Option<&Verdict>,
    classified_at: Timestamp,
) -> Result<Vec<u8>, DecodeError> {
    let mut out = Vec::with_capacity(bytes.len() + LIKELY_BYTES);
    put(&mut out, 1, subject.event_id.as_bytes());
    try_put_message(&mut out, 2, |out| carry(bytes, out))?;
    put(&mut out, 3, subject.thread_root.as_bytes());
    if let Some(verdict) = verdict {
        put_message(&mut out, 4, |out| write_verdict(verdict, out));
    }
    if classified_at != Timestamp::EPOCH {
        encoding::int64::encode(5, &classified_at.as_micros(), &mut out);
    }
    Ok(out)
}

/// Writes what encoding a [`Verdict`](crate::classify::v1::Verdict) writes.
fn write_verdict(verdict: &Verdict, out: &mut Vec<u8>) {
    let Verdict { sentiment, severity, signals, reply, .. } = verdict;
    put_text(out, 1, verdict.language.as_str());
    put_probabilities(out, 2, [sentiment.negative, sentiment.neutral, sentiment.positive]);
    put_float(out, 3, verdict.complaint.get());
    put_message(out, 4, |out| {
        if severity.level != Severity::None {
            encoding::uint32::encode(1, &severity.level.level().into(), out);
        }
        encoding::float::encode_packed(2, &severity.probabilities.map(Probability::get), out);
    });
    put_float(out, 5, verdict.arousal.get());
    for TopicScore { topic, probability } in &verdict.topics {
        put_message(out, 6, |out| {
            put_text(out, 1, topic.as_str());
            put_float(out, 2, probability.get());
        });
    }
    let Signals { spam, thanks, won_back, threat_leave, threat_sue, threat_publish, unanswered } = *signals;
    let signals = [spam, thanks, won_back, threat_leave, threat_sue, threat_publish, unanswered];
    put_probabilities(out, 7, signals);
    put_probabilities(out, 8, [reply.apology, reply.explanation, reply.offer, reply.channel_move]);
    if verdict.sure {
        encoding::bool::encode(9, &true, out);
    }
    for Why { text, weight } in &verdict.why {
        put_message(out, 10, |out| {
            put_text(out, 1, text);
            put_float(out, 2, *weight);
        });
    }
    put_text(out, 11, &verdict.model_version);
}

/// A message whose fields are probabilities, from tag 1 on.
fn put_probabilities<const COUNT: usize>(out: &mut Vec<u8>, tag: u32, values: [Probability; COUNT]) {
    put_message(out, tag, |out| {
        for (tag, value) in (1..).zip(values) {
            put_float(out, tag, value.get());
        }
    });
}

/// A text, unless it is empty.
fn put_text(out: &mut Vec<u8>, tag: u32, text: &str) {
    if !text.is_empty() {
        put(out, tag, text.as_bytes());
    }
}

/// A number, unless it is 0.
fn put_float(out: &mut Vec<u8>, tag: u32, value: f32) {
    if value != 0.0 {
        encoding::float::encode(tag, &value, out);
    }
}

/// Writes the mention event without what later steps do not need.
fn carry(event: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let mut rest = event;
    while let Some(field) = next_field(&mut rest)? {
        match field.tag {
            RAW => {}
            MENTION => try_put_message(out, MENTION, |out| carry_mention(field.content, out))?,
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
