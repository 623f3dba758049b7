//! The canonical JSON of one mention event: what `redress decode` prints and kind `ndjson` reads back.

use model::{
    Author, Engagement, EngagementKind, Entities, Mention, MentionEvent, MentionId, Refs, Timestamp,
};
use model::{TimeQuality, Transport, Visibility};
use serde_json::{Map, Value, json};

use crate::dedup::NEAR_KEY_VERSION;

/// Version of the JSON form; it only grows by fields.
const SCHEMA_VERSION: u16 = 1;

/// One event as JSON in snake case. `mention_id`, `native_id`, `op`, `author`, `created_at` and
/// `observed_at` are always there (null when unknown); a withdrawal has no `text`. Other unknown fields
/// are left out: absent is not zero. 64-bit hashes are decimal text, because many readers round numbers.
pub fn to_json(event: &MentionEvent) -> Value {
    let mut out = Map::new();
    out.insert("schema_version".into(), SCHEMA_VERSION.into());
    out.insert("event_id".into(), event.event_id.to_string().into());
    out.insert("mention_id".into(), event.mention_id.to_string().into());
    out.insert("op".into(), event.op.name().into());
    out.insert("native_id".into(), event.native_id.as_str().into());
    out.insert("native_rev".into(), event.native_rev.as_str().into());
    out.insert(
        "source".into(),
        json!({
            "kind": event.source.kind.name(),
            "instance": event.source.instance,
            "connector": event.source.connector,
            "transport": transport_name(event.source.transport),
        }),
    );
    out.insert("tenant".into(), event.tenant.as_str().into());
    match &event.mention {
        Some(mention) => words(mention, &mut out),
        None => {
            let who = event.author.as_ref().and_then(|key| key.as_str().splitn(3, ':').nth(2));
            out.insert("author".into(), who.map_or(Value::Null, |id| json!({ "native_id": id })));
            out.insert("created_at".into(), Value::Null);
        }
    }
    if let Some(key) = &event.author {
        out.insert("author_key".into(), key.as_str().into());
    }
    out.insert("observed_at".into(), time(event.observed_at));
    out.insert("ingested_at".into(), time(event.ingested_at));
    out.insert("brands".into(), event.brands.iter().map(|b| Value::from(b.as_str())).collect());
    put(&mut out, "by_brand", event.by_brand.as_ref().map(|b| b.as_str()));
    out.insert("flags".into(), event.flags.iter().map(|f| Value::from(f.name())).collect());
    if let Some(raw) = &event.raw {
        let digest: String = raw.digest.iter().map(|b| format!("{b:02x}")).collect();
        let raw = json!({ "partition": raw.partition, "offset": raw.offset, "digest": digest });
        out.insert("raw_ref".into(), raw);
    }
    Value::Object(out)
}

fn words(mention: &Mention, out: &mut Map<String, Value>) {
    out.insert("author".into(), author(&mention.author));
    out.insert("text".into(), mention.text.as_str().into());
    put(out, "title", mention.title.as_deref());
    if let Some(rating) = mention.rating {
        out.insert("rating".into(), json!({ "value": rating.value(), "max": rating.max() }));
    }
    out.insert("lang_claimed".into(), mention.languages_claimed.clone().into());
    out.insert("created_at".into(), mention.created_at.map_or(Value::Null, time));
    out.insert("created_at_quality".into(), quality_name(mention.created_at_quality).into());
    put(out, "edited_at", mention.edited_at.map(time));
    out.insert("refs".into(), refs(&mention.refs));
    put(out, "engagement", mention.engagement.as_ref().map(engagement));
    put(out, "permalink", mention.permalink.as_deref());
    out.insert("entities".into(), entities(&mention.entities));
    out.insert("visibility".into(), visibility_name(mention.visibility).into());
    let mut dedup = Map::new();
    dedup.insert("text_hash".into(), mention.dedup.text_hash.to_string().into());
    put(&mut dedup, "simhash", mention.dedup.simhash.map(|h| h.to_string()));
    dedup.insert("near_key_version".into(), NEAR_KEY_VERSION.into());
    out.insert("dedup".into(), dedup.into());
}

fn author(author: &Author) -> Value {
    let mut out = Map::new();
    put(&mut out, "native_id", author.native_id.as_deref());
    put(&mut out, "handle", author.handle.as_deref());
    put(&mut out, "display_name", author.display_name.as_deref());
    put(&mut out, "followers", author.followers);
    put(&mut out, "is_verified", author.is_verified);
    put(&mut out, "is_staff", author.is_staff);
    put(&mut out, "is_bot", author.is_bot);
    put(&mut out, "profile_url", author.profile_url.as_deref());
    put(&mut out, "observed_at", author.observed_at.map(time));
    out.into()
}

fn refs(refs: &Refs) -> Value {
    let mut out = Map::new();
    let id = |id: Option<MentionId>| id.map(|id| id.to_string());
    put(&mut out, "root", id(refs.root));
    put(&mut out, "reply_to", id(refs.reply_to));
    put(&mut out, "quote_of", id(refs.quote_of));
    put(&mut out, "repost_of", id(refs.repost_of));
    put(&mut out, "conversation", refs.conversation.as_deref());
    put(&mut out, "place", refs.place.as_deref());
    out.into()
}

fn engagement(counts: &Engagement) -> Value {
    let mut out = Map::new();
    put(&mut out, "likes", counts.likes);
    put(&mut out, "reposts", counts.reposts);
    put(&mut out, "replies", counts.replies);
    put(&mut out, "quotes", counts.quotes);
    put(&mut out, "views", counts.views);
    put(&mut out, "score", counts.score);
    out.insert("as_of".into(), time(counts.as_of));
    let kind = match counts.kind {
        EngagementKind::Snapshot => "snapshot",
        EngagementKind::Delta => "delta",
    };
    out.insert("kind".into(), kind.into());
    out.into()
}

fn entities(entities: &Entities) -> Value {
    let mentions = entities.mentions.iter().map(|m| {
        let mut out = Map::new();
        out.insert("handle".into(), m.handle.as_str().into());
        put(&mut out, "id", m.native_id.as_deref());
        Value::Object(out)
    });
    let urls = entities.urls.iter().map(|u| {
        let mut out = Map::new();
        out.insert("url".into(), u.url.as_str().into());
        put(&mut out, "expanded", u.expanded.as_deref());
        put(&mut out, "domain", domain(u.expanded.as_deref().unwrap_or(&u.url)));
        Value::Object(out)
    });
    let media = entities.media.iter().map(|m| {
        let mut out = Map::new();
        out.insert("kind".into(), m.kind.as_str().into());
        put(&mut out, "url", m.url.as_deref());
        put(&mut out, "alt", m.alt.as_deref());
        Value::Object(out)
    });
    json!({
        "mentions": mentions.collect::<Vec<_>>(),
        "hashtags": entities.hashtags,
        "urls": urls.collect::<Vec<_>>(),
        "media": media.collect::<Vec<_>>(),
    })
}

fn domain(url: &str) -> Option<String> {
    url::Url::parse(url).ok()?.host_str().map(str::to_owned)
}

fn put<T: Into<Value>>(out: &mut Map<String, Value>, name: &str, value: Option<T>) {
    if let Some(value) = value {
        out.insert(name.to_owned(), value.into());
    }
}

fn time(at: Timestamp) -> Value {
    at.to_string().into()
}

pub(crate) const fn transport_name(transport: Transport) -> &'static str {
    match transport {
        Transport::Stream => "stream",
        Transport::Webhook => "webhook",
        Transport::Poll => "poll",
        Transport::Backfill => "backfill",
    }
}

pub(crate) const fn quality_name(quality: TimeQuality) -> &'static str {
    match quality {
        TimeQuality::Source => "source",
        TimeQuality::Platform => "platform",
        TimeQuality::Claimed => "claimed",
        TimeQuality::Missing => "missing",
    }
}

pub(crate) const fn visibility_name(visibility: Visibility) -> &'static str {
    match visibility {
        Visibility::Public => "public",
        Visibility::Unlisted => "unlisted",
        Visibility::Private => "private",
        Visibility::Internal => "internal",
    }
}
