//! A mention event read where it lies: checked as a whole, and of its content only what understanding needs.

use std::borrow::Cow;

use bytes::Bytes;
use model::{
    AuthorKey, BrandId, EventId, Invalid, MentionEvent, MentionId, MentionOp, Rating, SourceKind,
    TEXT_BYTES_MAX, TenantId,
};

use crate::envelope::{self, DecodeError};
use crate::fields::{Content, Shape, visit_all};
use crate::ingest::v1 as wire;
use crate::mention::op_from_wire;

/// What a mention event says of itself, its words borrowed from the record.
#[derive(Debug, Clone, PartialEq)]
pub struct Glance<'a> {
    /// What it is about.
    pub subject: Subject,
    /// What happened.
    pub op: MentionOp,
    /// The source's kind.
    pub kind: SourceKind,
    /// What was said; none when the event carries no mention.
    pub words: Option<Words<'a>>,
}

/// What a mention event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// Which event.
    pub event_id: EventId,
    /// Of which mention.
    pub mention_id: MentionId,
    /// The thread the mention belongs to, as [`MentionEvent::thread_root`] tells it.
    pub thread_root: MentionId,
}

/// The words of a mention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words<'a> {
    /// The title, where there is one.
    pub title: Option<Cow<'a, str>>,
    /// The text.
    pub text: Cow<'a, str>,
    /// The first language that the source claims.
    pub language_claimed: Option<Cow<'a, str>>,
}

/// Why a record is no mention event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It cannot be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A field is missing or out of range.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

impl Unreadable {
    /// A stable label for counting and for dead letters.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Decode(error) => error.label(),
            Self::Invalid(_) => "invalid_mention",
        }
    }
}

impl<'a> Glance<'a> {
    /// Reads a record's `ce_type` header and value. What is refused, and why, is what decoding a
    /// [`wire::MentionEvent`] and converting it refuse.
    ///
    /// # Errors
    /// See [`Unreadable`].
    pub fn open(ce_type: Option<&str>, value: Option<&'a Bytes>) -> Result<Self, Unreadable> {
        let bytes = envelope::body::<wire::MentionEvent>(ce_type, value)?;
        match event(bytes) {
            Some(glance) => Ok(glance),
            None => Ok(MentionEvent::try_from(envelope::decode::<wire::MentionEvent>(bytes)?)?.into()),
        }
    }
}

impl From<MentionEvent> for Glance<'static> {
    fn from(event: MentionEvent) -> Self {
        Self {
            subject: Subject {
                event_id: event.event_id,
                mention_id: event.mention_id,
                thread_root: event.thread_root(),
            },
            op: event.op,
            kind: event.source.kind,
            words: event.mention.map(|mention| Words {
                title: mention.title.map(Cow::Owned),
                text: Cow::Owned(mention.text.into_string()),
                language_claimed: mention.languages_claimed.into_iter().next().map(Cow::Owned),
            }),
        }
    }
}

/// The shapes of the messages' fields, from tag 1 on.
const EVENT: [Shape; 15] = {
    use Shape::{Bytes, Message, Number, Text, Texts};
    [
        Bytes, Bytes, Number, Text, Text, Message, Text, Texts, Text, Number, Number, Texts, Message, Text,
        Message,
    ]
};
const SOURCE: [Shape; 4] = [Shape::Text, Shape::Text, Shape::Text, Shape::Number];
const RAW: [Shape; 3] = [Shape::Number, Shape::Number, Shape::Bytes];
const MENTION: [Shape; 18] = {
    use Shape::{Fixed64, Message, Messages, Number, Text, Texts};
    [
        Message, Text, Text, Message, Texts, Number, Number, Number, Message, Message, Text, Messages, Texts,
        Messages, Messages, Number, Fixed64, Fixed64,
    ]
};
const AUTHOR: [Shape; 9] = {
    use Shape::{Number, Text};
    [Text, Text, Text, Number, Number, Number, Number, Text, Number]
};
const RATING: [Shape; 2] = [Shape::Fixed32; 2];
const REFS: [Shape; 6] = {
    use Shape::{Bytes, Text};
    [Bytes, Bytes, Bytes, Bytes, Text, Text]
};
const ENGAGEMENT: [Shape; 8] = [Shape::Number; 8];
const MENTIONED: [Shape; 2] = [Shape::Text; 2];
const URL: [Shape; 2] = [Shape::Text; 2];
const MEDIA: [Shape; 3] = [Shape::Text; 3];

/// None wherever decoding might fail, or make something else of it.
fn event(bytes: &[u8]) -> Option<Glance<'_>> {
    let (mut event_id, mut mention_id, mut op, mut kind, mut thread_root) = (None, None, None, None, None);
    let (mut words, mut has_tenant) = (None, false);
    visit_all(bytes, &EVENT, |tag, content| {
        match (tag, content) {
            (1, Content::Bytes(id)) => event_id = Some(EventId::from_slice(id).ok()?),
            (2, Content::Bytes(id)) => mention_id = Some(MentionId::from_slice(id).ok()?),
            (3, Content::Number(number)) => {
                let op_on_wire = wire::MentionOp::try_from(i32::try_from(number).ok()?).ok()?;
                op = Some(op_from_wire(op_on_wire).ok()?);
            }
            (6, Content::Bytes(source)) => kind = Some(source_kind(source)?),
            (7, Content::Text(tenant)) => {
                TenantId::check(tenant).ok()?;
                has_tenant = true;
            }
            (8 | 9, Content::Text(brand)) => BrandId::check(brand).ok()?,
            (13, Content::Bytes(said)) => words = Some(mention(said, &mut thread_root)?),
            (14, Content::Text(key)) => AuthorKey::check(key).ok()?,
            (15, Content::Bytes(raw)) => raw_ref(raw)?,
            _ => {}
        }
        Some(())
    })?;
    let op: MentionOp = op?;
    let says_what_it_must = match op {
        MentionOp::Created | MentionOp::Edited => words.is_some(),
        op => !op.withdraws() || words.is_none(),
    };
    let mention_id = mention_id?;
    let thread_root = thread_root.unwrap_or(mention_id);
    let subject = Subject { event_id: event_id?, mention_id, thread_root };
    (has_tenant && says_what_it_must).then_some(Glance { subject, op, kind: kind?, words })
}

fn source_kind(source: &[u8]) -> Option<SourceKind> {
    let (mut kind, mut has_transport) = (None, false);
    visit_all(source, &SOURCE, |tag, content| {
        match (tag, content) {
            (1, Content::Text(name)) => kind = Some(name.parse().ok()?),
            (4, Content::Number(number)) => has_transport = (1..=4).contains(&number),
            _ => {}
        }
        Some(())
    })?;
    kind.filter(|_| has_transport)
}

fn raw_ref(raw: &[u8]) -> Option<()> {
    let mut has_digest = false;
    visit_all(raw, &RAW, |_, content| {
        if let Content::Bytes(digest) = content {
            has_digest = digest.len() == 16;
        }
        Some(())
    })?;
    has_digest.then_some(())
}

fn mention<'a>(mention: &'a [u8], thread_root: &mut Option<MentionId>) -> Option<Words<'a>> {
    let mut words = Words { title: None, text: Cow::Borrowed(""), language_claimed: None };
    let (mut has_quality, mut has_visibility) = (false, false);
    visit_all(mention, &MENTION, |tag, content| {
        match (tag, content) {
            (1, Content::Bytes(author)) => nothing_of(author, &AUTHOR)?,
            (2, Content::Text(text)) if text.len() <= TEXT_BYTES_MAX => words.text = text.into(),
            (2, _) => return None,
            (3, Content::Text(title)) => words.title = Some(title.into()),
            (4, Content::Bytes(rated)) => rating(rated)?,
            (5, Content::Text(language)) => {
                words.language_claimed.get_or_insert(language.into());
            }
            (7, Content::Number(quality)) => has_quality = (1..=4).contains(&quality),
            (9, Content::Bytes(refs)) => *thread_root = root(refs)?,
            (10, Content::Bytes(engagement)) => nothing_of(engagement, &ENGAGEMENT)?,
            (12, Content::Bytes(mentioned)) => nothing_of(mentioned, &MENTIONED)?,
            (14, Content::Bytes(url)) => nothing_of(url, &URL)?,
            (15, Content::Bytes(media)) => nothing_of(media, &MEDIA)?,
            (16, Content::Number(visibility)) => has_visibility = (1..=4).contains(&visibility),
            _ => {}
        }
        Some(())
    })?;
    (has_quality && has_visibility).then_some(words)
}

/// Checks a message of which nothing is needed.
fn nothing_of(message: &[u8], shapes: &[Shape]) -> Option<()> {
    visit_all(message, shapes, |_, _| Some(()))
}

fn rating(rating: &[u8]) -> Option<()> {
    let mut numbers = [0.0; 2];
    visit_all(rating, &RATING, |tag, content| {
        if let Content::Fixed32(bits) = content {
            numbers[tag as usize - 1] = f32::from_bits(bits);
        }
        Some(())
    })?;
    Rating::new(numbers[0], numbers[1]).ok().map(drop)
}

/// The thread that the references name, if they name any.
fn root(refs: &[u8]) -> Option<Option<MentionId>> {
    // The root itself, what it answers, what it quotes, what it repeats.
    let mut named = [None; 4];
    visit_all(refs, &REFS, |tag, content| {
        if let Content::Bytes(id) = content {
            named[tag as usize - 1] = Some(MentionId::from_slice(id).ok()?);
        }
        Some(())
    })?;
    let [root, answered, quoted, repeated] = named;
    Some(root.or(answered).or(repeated).or(quoted))
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::field_descriptor_proto::{Label, Type};
    use prost_types::{FieldDescriptorProto, FileDescriptorSet};

    use super::*;

    fn shape(field: &FieldDescriptorProto) -> Shape {
        match (field.r#type(), field.label()) {
            (Type::String, Label::Repeated) => Shape::Texts,
            (Type::Message, Label::Repeated) => Shape::Messages,
            (_, Label::Repeated) => panic!("no shape for {field:?}"),
            (Type::String, _) => Shape::Text,
            (Type::Bytes, _) => Shape::Bytes,
            (Type::Message, _) => Shape::Message,
            (Type::Float, _) => Shape::Fixed32,
            (Type::Fixed64, _) => Shape::Fixed64,
            (Type::Int32 | Type::Int64 | Type::Uint64 | Type::Bool | Type::Enum, _) => Shape::Number,
            _ => panic!("no shape for {field:?}"),
        }
    }

    #[test]
    fn shapes_are_those_of_the_contract() {
        let files = FileDescriptorSet::decode(crate::DESCRIPTOR_SET).unwrap().file;
        let messages =
            || files.iter().filter(|f| f.package() == "redress.ingest.v1").flat_map(|f| &f.message_type);
        for (name, shapes) in [
            ("MentionEvent", &EVENT[..]),
            ("Source", &SOURCE),
            ("RawRef", &RAW),
            ("Mention", &MENTION),
            ("Author", &AUTHOR),
            ("Rating", &RATING),
            ("Refs", &REFS),
            ("Engagement", &ENGAGEMENT),
            ("Mentioned", &MENTIONED),
            ("Url", &URL),
            ("Media", &MEDIA),
        ] {
            let message = messages().find(|m| m.name() == name).unwrap();
            let mut fields: Vec<_> = message.field.iter().map(|f| (f.number(), shape(f))).collect();
            fields.sort_unstable_by_key(|(number, _)| *number);
            assert_eq!(fields, (1..).zip(shapes.iter().copied()).collect::<Vec<_>>(), "{name}");
        }
    }
}
