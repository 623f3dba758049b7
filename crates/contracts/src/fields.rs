//! The fields of a message where they lie: nothing is copied.

use std::convert::Infallible;

use prost::DecodeError;
use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field,
};

/// One field as it lies in a message.
pub(crate) struct Field<'a> {
    pub tag: u32,
    /// With its key.
    pub whole: &'a [u8],
    pub wire: WireType,
    /// What has a length, without that length; else empty.
    pub content: &'a [u8],
    /// What is a number of varying length; else 0.
    pub number: u64,
}

/// Takes the first field off `rest`; none at the end.
///
/// # Errors
/// When `rest` does not begin with a whole field.
pub(crate) fn next_field<'a>(rest: &mut &'a [u8]) -> Result<Option<Field<'a>>, DecodeError> {
    if rest.is_empty() {
        return Ok(None);
    }
    let before = *rest;
    let (tag, wire) = decode_key(rest)?;
    let (mut content, mut number): (&[u8], u64) = (&[], 0);
    match wire {
        WireType::Varint => number = decode_varint(rest)?,
        WireType::LengthDelimited => {
            let mut ahead = *rest;
            let length = usize::try_from(decode_varint(&mut ahead)?).unwrap_or(usize::MAX);
            match ahead.split_at_checked(length) {
                Some((inside, after)) => (content, *rest) = (inside, after),
                // It says what is wrong.
                None => skip_field(wire, tag, rest, DecodeContext::default())?,
            }
        }
        _ => skip_field(wire, tag, rest, DecodeContext::default())?,
    }
    Ok(Some(Field { tag, whole: &before[..before.len() - rest.len()], wire, content, number }))
}

/// Appends a field that has a length.
pub(crate) fn put(out: &mut Vec<u8>, tag: u32, content: &[u8]) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(content.len() as u64, out);
    out.extend_from_slice(content);
}

/// Appends a message whose fields `write` appends.
pub(crate) fn put_message(out: &mut Vec<u8>, tag: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let written: Result<(), Infallible> = try_put_message(out, tag, |out| {
        write(out);
        Ok(())
    });
    let Ok(()) = written;
}

/// As [`put_message`], where writing may fail. The message moves up when its length is known.
///
/// # Errors
/// Those of `write`.
pub(crate) fn try_put_message<E>(
    out: &mut Vec<u8>,
    tag: u32,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    encode_key(tag, WireType::LengthDelimited, out);
    let begin = out.len();
    write(out)?;
    let end = out.len();
    encode_varint((end - begin) as u64, out);
    let size = out.len() - end;
    out[begin..].rotate_right(size);
    Ok(())
}

/// What a known field of a message holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Text,
    Bytes,
    /// Of varying length: integers, truth values, enumerations.
    Number,
    Fixed32,
    Fixed64,
    Message,
    /// Any number of texts.
    Texts,
    /// Any number of messages.
    Messages,
}

/// The content of a field of known shape.
pub(crate) enum Content<'a> {
    Text(&'a str),
    /// Bytes, or a message's bytes.
    Bytes(&'a [u8]),
    Number(u64),
    Fixed32(u32),
    Fixed64,
}

impl<'a> Field<'a> {
    /// The content, if it is of that shape.
    fn content(&self, shape: Shape) -> Option<Content<'a>> {
        match (shape, self.wire) {
            (Shape::Text | Shape::Texts, WireType::LengthDelimited) => {
                std::str::from_utf8(self.content).ok().map(Content::Text)
            }
            (Shape::Bytes | Shape::Message | Shape::Messages, WireType::LengthDelimited) => {
                Some(Content::Bytes(self.content))
            }
            (Shape::Number, WireType::Varint) => Some(Content::Number(self.number)),
            (Shape::Fixed32, WireType::ThirtyTwoBit) => {
                let bytes = self.whole.last_chunk()?;
                Some(Content::Fixed32(u32::from_le_bytes(*bytes)))
            }
            (Shape::Fixed64, WireType::SixtyFourBit) => Some(Content::Fixed64),
            _ => None,
        }
    }
}

impl Shape {
    const fn may_repeat(self) -> bool {
        matches!(self, Self::Texts | Self::Messages)
    }
}

/// Hands each known field of a message to `visit`, in order; `shapes` are those of the tags from 1 on. None where
/// anything is out of the ordinary, though a decoder might still make something of it: a field that is no field, has
/// another shape, or stands twice; and where `visit` answers none.
pub(crate) fn visit_all<'a>(
    message: &'a [u8],
    shapes: &[Shape],
    mut visit: impl FnMut(u32, Content<'a>) -> Option<()>,
) -> Option<()> {
    let (mut rest, mut seen) = (message, 0u32);
    while let Some(field) = next_field(&mut rest).ok()? {
        let place = field.tag as usize - 1;
        let Some(shape) = shapes.get(place).copied() else { continue };
        if !shape.may_repeat() && seen & 1 << place != 0 {
            return None;
        }
        seen |= 1 << place;
        visit(field.tag, field.content(shape)?)?;
    }
    Some(())
}
