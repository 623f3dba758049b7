//! Redress's own JSON lines: the canonical event that `decode` prints, and a simple form that people
//! write by hand: `{"id":"1","text":"...","author":"ada","created_at":"...","brand":"acme"}`.

mod fields;

use std::borrow::Cow;

use model::{
    AuthorKey, BrandId, Engagement, EngagementKind, EventId, Flag, Media, Mention, MentionEvent, MentionId,
    MentionOp, Mentioned, Refs, Source, SourceKind, TimeQuality, Timestamp, Transport, UrlEntity, Visibility,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use fields::{EngagementIn, EntitiesIn, IdText, Line, When};

use crate::decoded::RefusalReason;
use crate::out::{Draft, Notice, Out, Words, content_rev, event_id};
use crate::output::{quality_name, transport_name, visibility_name};
use crate::{dedup, entities, json, text};

/// More brands than this on one line are a mistake.
const BRANDS_MAX: usize = 64;

pub(crate) fn line(bytes: &[u8], out: &mut Out<'_>) -> Result<(), RefusalReason> {
    if bytes.first() != Some(&b'{') {
        // Tell broken syntax from a value that is just no object.
        json::parse(bytes)?;
        return Err(RefusalReason::UnknownShape("needs an object with at least 'text'"));
    }
    let line: Line<'_> = match json::typed(bytes) {
        Ok(line) => line,
        Err(reason) => return foreign(&json::parse(bytes)?, Defaults::default(), out).unwrap_or(Err(reason)),
    };
    if line.mention_id.is_some() && line.source.is_some() {
        let event = canonical(line, out)?;
        out.event(event);
        return Ok(());
    }
    simple(line, out)
}

/// A line of somebody else's, in which a name of ours means something of another type: what can be
/// understood is. None for lines of our own, which have to be right, and for broken essentials.
fn foreign(line: &Value, defaults: Defaults, out: &mut Out<'_>) -> Option<Result<(), RefusalReason>> {
    const TEXTS: [&str; 15] = [
        "op",
        "native_rev",
        "created_at",
        "observed_at",
        "edited_at",
        "brand",
        "title",
        "lang",
        "permalink",
        "url",
        "conversation",
        "place",
        "reply_to",
        "author_id",
        "visibility",
    ];
    const COUNTS: [&str; 5] = ["likes", "reposts", "replies", "views", "followers"];
    if line.get("mention_id").is_some() {
        return None;
    }
    let mut kept = Map::new();
    for (name, value) in line.as_object()? {
        let value = match (name.as_str(), value) {
            ("id" | "native_id" | "text", value) => value.clone(),
            ("author", value @ (Value::String(_) | Value::Object(_))) => value.clone(),
            ("rating", _) => json::float(line, name).map_or(Value::Null, Value::from),
            (name, _) if COUNTS.contains(&name) => json::int(line, name).map_or(Value::Null, Value::from),
            (name, Value::String(text)) if TEXTS.contains(&name) => text.as_str().into(),
            (name, Value::Number(n)) if TEXTS.contains(&name) && n.is_u64() => n.to_string().into(),
            _ => continue,
        };
        kept.insert(name.clone(), value);
    }
    let kept = Value::Object(kept);
    let line = Line::deserialize(&kept).ok()?;
    Some(in_envelope(line, defaults, out))
}

/// What the envelope around a line says, where the line itself is silent.
#[derive(Debug, Default)]
pub(crate) struct Defaults {
    /// Put before every id, so that two senders' ids stay apart.
    pub(crate) scope: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) rev: Option<String>,
    pub(crate) created_at: Option<Timestamp>,
}

/// Reads an object that stands inside another document.
pub(crate) fn value(value: &Value, defaults: Defaults, out: &mut Out<'_>) {
    let result = match Line::deserialize(value) {
        Ok(line) if line.mention_id.is_some() && line.source.is_some() => {
            canonical(line, out).map(|event| out.event(event))
        }
        Ok(line) => in_envelope(line, defaults, out),
        Err(error) => foreign(value, defaults, out).unwrap_or_else(|| Err(json::refusal(&error))),
    };
    if let Err(reason) = result {
        out.refuse(reason);
    }
}

fn in_envelope(mut line: Line<'_>, defaults: Defaults, out: &mut Out<'_>) -> Result<(), RefusalReason> {
    let scope = defaults.scope.unwrap_or_default();
    let inside = |id: Option<IdText>| id.map(|id| IdText(format!("{scope}{}", id.0)));
    line.native_id = inside(line.native_id.or(defaults.id.map(IdText)));
    line.reply_to = inside(line.reply_to);
    line.repost_of = inside(line.repost_of);
    line.quote_of = inside(line.quote_of);
    line.root = inside(line.root);
    line.native_rev = line.native_rev.or(defaults.rev);
    line.created_at = line.created_at.or(defaults.created_at.map(|at| When(Some(at))));
    simple(line, out)
}

/// The form people write. The id may be missing; then the content is the id.
fn simple(line: Line<'_>, out: &mut Out<'_>) -> Result<(), RefusalReason> {
    let op = op_of(line.op.as_deref())?;
    let mut author = line.author.map(|a| a.0).unwrap_or_default();
    if let Some(IdText(id)) = line.author_id {
        author.native_id = Some(id).filter(|id| !id.is_empty());
    }
    author.followers = author.followers.or(line.followers);
    let created_at = line.created_at.and_then(|w| w.0);
    let id = line.native_id.map(|id| id.0).filter(|id| !id.is_empty());
    if id.as_ref().is_some_and(|id| id.len() > 2_048) {
        return Err(RefusalReason::BadField { field: "id", problem: "has more than 2048 bytes".into() });
    }
    if matches!(
        op,
        MentionOp::Deleted | MentionOp::Hidden | MentionOp::AuthorDeleted | MentionOp::AuthorUpdated
    ) {
        out.notice(Notice {
            op,
            native_id: id.ok_or(RefusalReason::MissingField("id"))?,
            native_rev: line.native_rev.unwrap_or_else(|| op.name().into()),
            witnessed_at: line.observed_at.and_then(|w| w.0),
            author: Some(author),
        });
        return Ok(());
    }
    let words = match (line.text, op) {
        (Some(words), _) => words,
        (None, MentionOp::Engagement | MentionOp::Restored) => Cow::Borrowed(""),
        (None, _) => return Err(RefusalReason::MissingField("text")),
    };
    let id = id.unwrap_or_else(|| {
        let who = author.native_id.as_deref().or(author.handle.as_deref()).unwrap_or_default();
        let at = created_at.map(|t| t.to_string()).unwrap_or_default();
        format!("blake3:{}", &blake3::hash(format!("{who}\n{at}\n{words}").as_bytes()).to_hex()[..32])
    });
    let mut draft = Draft::new(op, id, Words::Plain(&words));
    draft.native_rev = line.native_rev;
    draft.author = author;
    draft.title = line.title.as_deref();
    draft.rating = line.rating.and_then(|r| r.0);
    draft.languages = line.lang_claimed.or(line.lang.map(|l| vec![l])).unwrap_or_default();
    draft.created = created_at.map(|t| (t, TimeQuality::Source));
    draft.edited_at = line.edited_at.and_then(|w| w.0);
    draft.witnessed_at = line.observed_at.and_then(|w| w.0);
    let to = |id: Option<IdText>| id.filter(|id| !id.0.is_empty()).map(|id| out.mention_id(&id.0));
    draft.refs = Refs {
        root: to(line.root),
        reply_to: to(line.reply_to),
        quote_of: to(line.quote_of),
        repost_of: to(line.repost_of),
        conversation: line.conversation,
        place: line.place,
    };
    let counts = (line.likes, line.reposts, line.replies, line.views);
    draft.engagement = (counts != (None, None, None, None)).then_some(Engagement {
        likes: line.likes,
        reposts: line.reposts,
        replies: line.replies,
        quotes: None,
        views: line.views,
        score: None,
        as_of: out.ctx.received_at,
        kind: EngagementKind::Snapshot,
    });
    draft.permalink = line.permalink;
    draft.visibility = visibility_of(line.visibility.as_deref())?;
    let named = line.brand.into_iter().chain(line.brands.into_iter().flatten());
    draft.brands = named.take(BRANDS_MAX).map(|b| BrandId::slugify(&b)).collect();
    out.publish(draft);
    Ok(())
}

/// Exactly the event that [`crate::to_json`] wrote. The tenant is never taken from the line.
fn canonical(line: Line<'_>, out: &Out<'_>) -> Result<MentionEvent, RefusalReason> {
    let bad = |field, problem: &str| RefusalReason::BadField { field, problem: problem.to_owned() };
    let source = line.source.ok_or(RefusalReason::MissingField("source"))?;
    let kind: SourceKind = source.kind.parse().map_err(|_| bad("source.kind", "is no known kind"))?;
    let op = op_of(line.op.as_deref())?;
    let native_id = line.native_id.ok_or(RefusalReason::MissingField("native_id"))?.0;
    let written = line.mention_id.ok_or(RefusalReason::MissingField("mention_id"))?;
    let mention_id: MentionId = written.parse().map_err(|_| bad("mention_id", "is no UUID"))?;
    let observed_at = line.observed_at.and_then(|w| w.0).ok_or(RefusalReason::MissingField("observed_at"))?;
    let brand = |b: String| BrandId::parse(&b).map_err(|_| bad("brands", "has an entry that is no slug"));
    let id_of = |id: Option<String>| -> Result<Option<MentionId>, RefusalReason> {
        id.map(|id| id.parse().map_err(|_| bad("refs", "has an entry that is no UUID"))).transpose()
    };
    let mut flags: std::collections::BTreeSet<Flag> = line
        .flags
        .iter()
        .flatten()
        .filter_map(|name| Flag::ALL.into_iter().find(|f| f.name() == name))
        .collect();
    let mention = match line.text {
        Some(words) if !op.withdraws() => {
            let text = text::clean(&words, &mut flags);
            let r = line.refs.unwrap_or_default();
            let e = line.entities.unwrap_or_default();
            Some(Mention {
                author: line.author.map(|a| a.0).unwrap_or_default(),
                dedup: if text.as_str().is_empty() { Default::default() } else { dedup::keys(text.as_str()) },
                text,
                title: line.title,
                rating: line.rating.and_then(|r| r.0),
                languages_claimed: line.lang_claimed.unwrap_or_default(),
                created_at: line.created_at.and_then(|w| w.0),
                created_at_quality: quality_of(line.created_at_quality.as_deref()),
                edited_at: line.edited_at.and_then(|w| w.0),
                refs: Refs {
                    root: id_of(r.root)?,
                    reply_to: id_of(r.reply_to)?,
                    quote_of: id_of(r.quote_of)?,
                    repost_of: id_of(r.repost_of)?,
                    conversation: r.conversation,
                    place: r.place,
                },
                engagement: line.engagement.map(|e| engagement_of(e, observed_at)),
                permalink: line.permalink.filter(|u| entities::http_url(u).is_some()),
                entities: entities_of(e),
                visibility: visibility_of(line.visibility.as_deref())?,
            })
        }
        _ => None,
    };
    let native_rev = line.native_rev.unwrap_or_else(|| {
        mention.as_ref().map_or_else(|| op.name().to_owned(), |m| content_rev(m.text.as_str(), None, 0.0))
    });
    let event_id = match line.event_id {
        Some(id) => id.parse::<EventId>().map_err(|_| bad("event_id", "is no UUID"))?,
        None => event_id(mention_id, op, &native_rev),
    };
    let transports = [Transport::Stream, Transport::Webhook, Transport::Poll, Transport::Backfill];
    let transport = source.transport.and_then(|n| transports.into_iter().find(|t| transport_name(*t) == n));
    Ok(MentionEvent {
        event_id,
        mention_id,
        op,
        native_id,
        native_rev,
        source: Source {
            kind,
            instance: source.instance,
            connector: source.connector.unwrap_or_else(|| out.ctx.connector.to_owned()),
            transport: transport.unwrap_or(out.ctx.transport),
        },
        tenant: out.ctx.tenant.clone(),
        brands: line
            .brands
            .unwrap_or_default()
            .into_iter()
            .take(BRANDS_MAX)
            .map(brand)
            .collect::<Result<_, _>>()?,
        by_brand: line.by_brand.map(brand).transpose()?,
        observed_at,
        ingested_at: out.ctx.received_at,
        flags,
        mention,
        author: line
            .author_key
            .map(|key| AuthorKey::parse(&key).map_err(|_| bad("author_key", "needs 1 to 1024 bytes")))
            .transpose()?,
        raw: None,
    })
}

pub(crate) fn bare_handle(handle: &str) -> Option<String> {
    let handle = handle.trim().trim_start_matches('@');
    (!handle.is_empty() && handle.len() <= 1_000).then(|| handle.to_owned())
}

pub(crate) fn op_of(name: Option<&str>) -> Result<MentionOp, RefusalReason> {
    match name {
        None | Some("") => Ok(MentionOp::Created),
        Some(name) => MentionOp::ALL
            .into_iter()
            .find(|op| op.name() == name)
            .ok_or_else(|| RefusalReason::BadField { field: "op", problem: "is no known operation".into() }),
    }
}

fn visibility_of(name: Option<&str>) -> Result<Visibility, RefusalReason> {
    let all = [Visibility::Public, Visibility::Unlisted, Visibility::Private, Visibility::Internal];
    let Some(name) = name else { return Ok(Visibility::Public) };
    // Guessing here could publish something private.
    all.into_iter().find(|v| visibility_name(*v) == name).ok_or_else(|| RefusalReason::BadField {
        field: "visibility",
        problem: "is none of public, unlisted, private, internal".into(),
    })
}

fn quality_of(name: Option<&str>) -> TimeQuality {
    let all = [TimeQuality::Source, TimeQuality::Platform, TimeQuality::Claimed, TimeQuality::Missing];
    all.into_iter().find(|q| Some(quality_name(*q)) == name).unwrap_or(TimeQuality::Claimed)
}

fn engagement_of(e: EngagementIn, observed_at: Timestamp) -> Engagement {
    Engagement {
        likes: e.likes,
        reposts: e.reposts,
        replies: e.replies,
        quotes: e.quotes,
        views: e.views,
        score: e.score,
        as_of: e.as_of.and_then(|w| w.0).unwrap_or(observed_at),
        kind: if e.kind.as_deref() == Some("delta") {
            EngagementKind::Delta
        } else {
            EngagementKind::Snapshot
        },
    }
}

fn entities_of(e: EntitiesIn) -> model::Entities {
    let max = entities::ENTITIES_MAX;
    model::Entities {
        mentions: e
            .mentions
            .into_iter()
            .take(max)
            .map(|m| Mentioned { handle: m.handle, native_id: m.id })
            .collect(),
        hashtags: e.hashtags.into_iter().take(max).collect(),
        urls: e.urls.into_iter().take(max).map(|u| UrlEntity { url: u.url, expanded: u.expanded }).collect(),
        media: e
            .media
            .into_iter()
            .take(max)
            .map(|m| Media { kind: m.kind, url: m.url, alt: m.alt })
            .collect(),
    }
}
