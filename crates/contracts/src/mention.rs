use std::collections::BTreeSet;

use bytes::Bytes;
use model::{
    Author, AuthorKey, BrandId, Dedup, Engagement, EngagementKind, Entities, EventId, Flag, Invalid, Media,
    Mention, MentionEvent, MentionId, MentionOp, Mentioned, Rating, RawRef, Refs, Source, SourceKind,
    TenantId, Text, TimeQuality, Timestamp, Transport, UrlEntity, Visibility,
};

use crate::id;
use crate::ingest::v1 as wire;

impl From<&MentionEvent> for wire::MentionEvent {
    fn from(event: &MentionEvent) -> Self {
        event.clone().into()
    }
}

impl From<MentionEvent> for wire::MentionEvent {
    fn from(event: MentionEvent) -> Self {
        Self {
            event_id: id(event.event_id.as_bytes()),
            mention_id: id(event.mention_id.as_bytes()),
            op: op_to_wire(event.op).into(),
            native_id: event.native_id,
            native_rev: event.native_rev,
            source: Some(wire::Source::from(event.source)),
            tenant: event.tenant.to_string(),
            brands: event.brands.iter().map(ToString::to_string).collect(),
            by_brand: event.by_brand.as_ref().map(ToString::to_string),
            observed_at_us: event.observed_at.as_micros(),
            ingested_at_us: event.ingested_at.as_micros(),
            flags: event.flags.iter().map(|f| f.name().to_owned()).collect(),
            mention: event.mention.map(wire::Mention::from),
            author_key: event.author.as_ref().map(|a| a.as_str().to_owned()),
            raw: event.raw.as_ref().map(|raw| wire::RawRef {
                partition: raw.partition,
                offset: raw.offset,
                digest: id(&raw.digest),
            }),
        }
    }
}

impl TryFrom<wire::MentionEvent> for MentionEvent {
    type Error = Invalid;

    /// Refuses what is missing or out of range, by name. Flags this build does not know are left out:
    /// a newer writer may set them.
    fn try_from(event: wire::MentionEvent) -> Result<Self, Invalid> {
        let op = op_from_wire(event.op())?;
        let source = event.source.ok_or_else(|| missing("source"))?;
        Self {
            event_id: EventId::from_slice(&event.event_id)?,
            mention_id: MentionId::from_slice(&event.mention_id)?,
            op,
            native_id: event.native_id,
            native_rev: event.native_rev,
            source: source.try_into()?,
            tenant: TenantId::parse(&event.tenant)?,
            brands: event.brands.iter().map(|b| BrandId::parse(b)).collect::<Result<_, _>>()?,
            by_brand: event.by_brand.as_deref().map(BrandId::parse).transpose()?,
            observed_at: Timestamp::from_micros(event.observed_at_us),
            ingested_at: Timestamp::from_micros(event.ingested_at_us),
            flags: known_flags(&event.flags),
            mention: event.mention.map(Mention::try_from).transpose()?,
            author: event.author_key.as_deref().map(AuthorKey::parse).transpose()?,
            raw: event.raw.map(raw_from_wire).transpose()?,
        }
        .validated()
    }
}

impl From<Source> for wire::Source {
    fn from(source: Source) -> Self {
        let transport = match source.transport {
            Transport::Stream => wire::Transport::Stream,
            Transport::Webhook => wire::Transport::Webhook,
            Transport::Poll => wire::Transport::Poll,
            Transport::Backfill => wire::Transport::Backfill,
        };
        Self {
            kind: source.kind.name().to_owned(),
            instance: source.instance,
            connector: source.connector,
            transport: transport.into(),
        }
    }
}

impl TryFrom<wire::Source> for Source {
    type Error = Invalid;

    fn try_from(source: wire::Source) -> Result<Self, Invalid> {
        let transport = match source.transport() {
            wire::Transport::Unspecified => return Err(missing("source.transport")),
            wire::Transport::Stream => Transport::Stream,
            wire::Transport::Webhook => Transport::Webhook,
            wire::Transport::Poll => Transport::Poll,
            wire::Transport::Backfill => Transport::Backfill,
        };
        let kind: SourceKind = source.kind.parse()?;
        Ok(Self { kind, instance: source.instance, connector: source.connector, transport })
    }
}

impl From<Mention> for wire::Mention {
    fn from(mention: Mention) -> Self {
        let quality = match mention.created_at_quality {
            TimeQuality::Source => wire::TimeQuality::Source,
            TimeQuality::Platform => wire::TimeQuality::Platform,
            TimeQuality::Claimed => wire::TimeQuality::Claimed,
            TimeQuality::Missing => wire::TimeQuality::Missing,
        };
        let visibility = match mention.visibility {
            Visibility::Public => wire::Visibility::Public,
            Visibility::Unlisted => wire::Visibility::Unlisted,
            Visibility::Private => wire::Visibility::Private,
            Visibility::Internal => wire::Visibility::Internal,
        };
        let entities = mention.entities;
        Self {
            author: Some(wire::Author::from(mention.author)),
            text: mention.text.into_string(),
            title: mention.title,
            rating: mention.rating.map(|r| wire::Rating { value: r.value(), max: r.max() }),
            languages_claimed: mention.languages_claimed,
            created_at_us: mention.created_at.map(Timestamp::as_micros),
            created_at_quality: quality.into(),
            edited_at_us: mention.edited_at.map(Timestamp::as_micros),
            refs: Some(wire::Refs::from(mention.refs)),
            engagement: mention.engagement.as_ref().map(wire::Engagement::from),
            permalink: mention.permalink,
            mentions: entities
                .mentions
                .into_iter()
                .map(|m| wire::Mentioned { handle: m.handle, native_id: m.native_id })
                .collect(),
            hashtags: entities.hashtags,
            urls: entities.urls.into_iter().map(|u| wire::Url { url: u.url, expanded: u.expanded }).collect(),
            media: entities
                .media
                .into_iter()
                .map(|m| wire::Media { kind: m.kind, url: m.url, alt: m.alt })
                .collect(),
            visibility: visibility.into(),
            text_hash: mention.dedup.text_hash,
            simhash: mention.dedup.simhash,
        }
    }
}

impl TryFrom<wire::Mention> for Mention {
    type Error = Invalid;

    fn try_from(mention: wire::Mention) -> Result<Self, Invalid> {
        let created_at_quality = match mention.created_at_quality() {
            wire::TimeQuality::Unspecified => return Err(missing("mention.created_at_quality")),
            wire::TimeQuality::Source => TimeQuality::Source,
            wire::TimeQuality::Platform => TimeQuality::Platform,
            wire::TimeQuality::Claimed => TimeQuality::Claimed,
            wire::TimeQuality::Missing => TimeQuality::Missing,
        };
        let visibility = match mention.visibility() {
            wire::Visibility::Unspecified => return Err(missing("mention.visibility")),
            wire::Visibility::Public => Visibility::Public,
            wire::Visibility::Unlisted => Visibility::Unlisted,
            wire::Visibility::Private => Visibility::Private,
            wire::Visibility::Internal => Visibility::Internal,
        };
        let entities = Entities {
            mentions: mention
                .mentions
                .into_iter()
                .map(|m| Mentioned { handle: m.handle, native_id: m.native_id })
                .collect(),
            hashtags: mention.hashtags,
            urls: mention.urls.into_iter().map(|u| UrlEntity { url: u.url, expanded: u.expanded }).collect(),
            media: mention
                .media
                .into_iter()
                .map(|m| Media { kind: m.kind, url: m.url, alt: m.alt })
                .collect(),
        };
        Ok(Self {
            author: mention.author.unwrap_or_default().into(),
            text: Text::new(mention.text)?,
            title: mention.title,
            rating: mention.rating.map(|r| Rating::new(r.value, r.max)).transpose()?,
            languages_claimed: mention.languages_claimed,
            created_at: mention.created_at_us.map(Timestamp::from_micros),
            created_at_quality,
            edited_at: mention.edited_at_us.map(Timestamp::from_micros),
            refs: mention.refs.unwrap_or_default().try_into()?,
            engagement: mention.engagement.map(Engagement::from),
            permalink: mention.permalink,
            entities,
            visibility,
            dedup: Dedup { text_hash: mention.text_hash, simhash: mention.simhash },
        })
    }
}

impl From<Author> for wire::Author {
    fn from(author: Author) -> Self {
        Self {
            native_id: author.native_id,
            handle: author.handle,
            display_name: author.display_name,
            followers: author.followers,
            is_verified: author.is_verified,
            is_staff: author.is_staff,
            is_bot: author.is_bot,
            profile_url: author.profile_url,
            observed_at_us: author.observed_at.map(Timestamp::as_micros),
        }
    }
}

impl From<wire::Author> for Author {
    fn from(author: wire::Author) -> Self {
        Self {
            native_id: author.native_id,
            handle: author.handle,
            display_name: author.display_name,
            followers: author.followers,
            is_verified: author.is_verified,
            is_staff: author.is_staff,
            is_bot: author.is_bot,
            profile_url: author.profile_url,
            observed_at: author.observed_at_us.map(Timestamp::from_micros),
        }
    }
}

impl From<Refs> for wire::Refs {
    fn from(refs: Refs) -> Self {
        let bytes = |mention: Option<MentionId>| mention.map(|m| id(m.as_bytes()));
        Self {
            root: bytes(refs.root),
            reply_to: bytes(refs.reply_to),
            quote_of: bytes(refs.quote_of),
            repost_of: bytes(refs.repost_of),
            conversation: refs.conversation,
            place: refs.place,
        }
    }
}

impl TryFrom<wire::Refs> for Refs {
    type Error = Invalid;

    fn try_from(refs: wire::Refs) -> Result<Self, Invalid> {
        let read = |bytes: Option<Bytes>| bytes.map(|b| MentionId::from_slice(&b)).transpose();
        Ok(Self {
            root: read(refs.root)?,
            reply_to: read(refs.reply_to)?,
            quote_of: read(refs.quote_of)?,
            repost_of: read(refs.repost_of)?,
            conversation: refs.conversation,
            place: refs.place,
        })
    }
}

impl From<&Engagement> for wire::Engagement {
    fn from(engagement: &Engagement) -> Self {
        Self {
            likes: engagement.likes,
            reposts: engagement.reposts,
            replies: engagement.replies,
            quotes: engagement.quotes,
            views: engagement.views,
            score: engagement.score,
            as_of_us: engagement.as_of.as_micros(),
            is_delta: engagement.kind == EngagementKind::Delta,
        }
    }
}

impl From<wire::Engagement> for Engagement {
    fn from(engagement: wire::Engagement) -> Self {
        let kind = if engagement.is_delta { EngagementKind::Delta } else { EngagementKind::Snapshot };
        Self {
            likes: engagement.likes,
            reposts: engagement.reposts,
            replies: engagement.replies,
            quotes: engagement.quotes,
            views: engagement.views,
            score: engagement.score,
            as_of: Timestamp::from_micros(engagement.as_of_us),
            kind,
        }
    }
}

const fn op_to_wire(op: MentionOp) -> wire::MentionOp {
    match op {
        MentionOp::Created => wire::MentionOp::Created,
        MentionOp::Edited => wire::MentionOp::Edited,
        MentionOp::Deleted => wire::MentionOp::Deleted,
        MentionOp::Hidden => wire::MentionOp::Hidden,
        MentionOp::Restored => wire::MentionOp::Restored,
        MentionOp::Engagement => wire::MentionOp::Engagement,
        MentionOp::AuthorDeleted => wire::MentionOp::AuthorDeleted,
        MentionOp::AuthorUpdated => wire::MentionOp::AuthorUpdated,
    }
}

pub(crate) fn op_from_wire(op: wire::MentionOp) -> Result<MentionOp, Invalid> {
    Ok(match op {
        wire::MentionOp::Unspecified => return Err(missing("op")),
        wire::MentionOp::Created => MentionOp::Created,
        wire::MentionOp::Edited => MentionOp::Edited,
        wire::MentionOp::Deleted => MentionOp::Deleted,
        wire::MentionOp::Hidden => MentionOp::Hidden,
        wire::MentionOp::Restored => MentionOp::Restored,
        wire::MentionOp::Engagement => MentionOp::Engagement,
        wire::MentionOp::AuthorDeleted => MentionOp::AuthorDeleted,
        wire::MentionOp::AuthorUpdated => MentionOp::AuthorUpdated,
    })
}

fn known_flags(names: &[String]) -> BTreeSet<Flag> {
    Flag::ALL.into_iter().filter(|flag| names.iter().any(|name| name == flag.name())).collect()
}

fn raw_from_wire(raw: wire::RawRef) -> Result<RawRef, Invalid> {
    let digest = <[u8; 16]>::try_from(raw.digest.as_ref())
        .map_err(|_| Invalid::new("raw.digest", format!("needs 16 bytes, has {}", raw.digest.len())))?;
    Ok(RawRef { partition: raw.partition, offset: raw.offset, digest })
}

pub(crate) fn missing(field: &'static str) -> Invalid {
    Invalid::new(field, "is missing or unknown to this build")
}
