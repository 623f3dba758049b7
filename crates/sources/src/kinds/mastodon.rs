//! Mastodon: statuses from REST, server-sent events, WebSocket frames, administrators' webhooks.

use model::{Author, Engagement, EngagementKind, Flag, Media, MentionOp, Refs, TimeQuality, Visibility};
use serde_json::Value;

use crate::decoded::RefusalReason;
use crate::framing::Record;
use crate::kinds::{each_item, each_value};
use crate::out::{Draft, Notice, Out, Words};
use crate::{entities, json, when};

pub(crate) fn record(record: Record<'_>, out: &mut Out<'_>) {
    match record.event {
        Some(name) => named_event(name, record.bytes, out),
        None => each_value(record.bytes, out, document),
    }
}

/// An event of a stream: its payload is JSON, a bare id, or nothing at all.
fn named_event(name: &str, payload: &[u8], out: &mut Out<'_>) {
    match name {
        "update" | "status.update" => {
            each_value(payload, out, |v, out| status(v, name == "status.update", out))
        }
        "delete" => match std::str::from_utf8(payload).map(|id| id.trim().trim_matches('"')) {
            Ok(id) if !id.is_empty() && id.len() <= 128 => deleted(id, out),
            _ => out.refuse(RefusalReason::BadField { field: "payload", problem: "is no status id".into() }),
        },
        "notification" => each_value(payload, out, document),
        "conversation" => each_value(payload, out, document),
        _ => out.ignore("other_event"),
    }
}

fn document(value: &Value, out: &mut Out<'_>) {
    let has = |name: &str| value.get(name).is_some();
    if has("event") && has("stream") {
        frame(value, out);
    } else if has("event") && has("object") {
        match (json::text(value, "event"), value.get("object")) {
            (Some(name @ ("status.created" | "status.updated")), Some(object)) => {
                status(object, name == "status.updated", out);
            }
            _ => out.ignore("other_webhook"),
        }
    } else if has("content") && has("account") && !has("id") && !has("uri") {
        // An older version of a status, without saying of which.
        out.ignore("history");
    } else if has("content") && has("account") {
        status(value, false, out);
    } else if let Some(inner) = value.get("status").or(value.get("last_status")).filter(|s| s.is_object()) {
        status(inner, false, out);
    } else if has("ancestors") && has("descendants") {
        each_item(json::items(value, "ancestors"), out, document);
        each_item(json::items(value, "descendants"), out, document);
    } else if has("statuses") && !has("rules") {
        each_item(json::items(value, "statuses"), out, document);
    } else if has("error") {
        out.refuse(RefusalReason::ErrorAnswer);
    } else if value.is_object() && !value.as_object().is_some_and(serde_json::Map::is_empty) {
        out.ignore("no_status");
    } else if value.is_object() {
        out.ignore("empty");
    } else {
        out.refuse(RefusalReason::UnknownShape("needs an object"));
    }
}

/// A WebSocket frame: the payload is JSON inside a string, or a bare id.
fn frame(frame: &Value, out: &mut Out<'_>) {
    let name = json::text(frame, "event").unwrap_or_default();
    match frame.get("payload") {
        Some(Value::String(payload)) => named_event(name, payload.as_bytes(), out),
        Some(payload @ Value::Object(_)) => named_event(name, payload.to_string().as_bytes(), out),
        // Some events have no payload; some servers then write the word undefined.
        _ => named_event(name, b"", out),
    }
}

fn deleted(id: &str, out: &mut Out<'_>) {
    let local = local_id(id, out);
    // Deletions name the status by its number on this server; without its beginning that number has to do.
    let native_id = out.memory.recall(&local).map_or(local.clone(), str::to_owned);
    out.notice(Notice {
        op: MentionOp::Deleted,
        native_id,
        native_rev: "deleted".into(),
        witnessed_at: None,
        author: None,
    });
}

/// How a status is named that is only known by its number on one server.
fn local_id(id: &str, out: &Out<'_>) -> String {
    format!("fedi-local:{}/{id}", out.ctx.instance)
}

fn status(value: &Value, updated: bool, out: &mut Out<'_>) {
    match draft(value, updated, out) {
        Ok(draft) => out.publish(draft),
        Err(reason) => out.refuse(reason),
    }
}

fn draft<'v>(status: &'v Value, updated: bool, out: &mut Out<'_>) -> Result<Draft<'v>, RefusalReason> {
    let uri = json::text(status, "uri").or(json::text(status, "url"));
    let local = json::id(status, "id");
    let native_id = match (uri, &local) {
        (Some(uri), _) => uri.to_owned(),
        (None, Some(id)) => local_id(id, out),
        (None, None) => return Err(RefusalReason::MissingField("uri")),
    };
    if native_id.len() > 2_048 {
        return Err(RefusalReason::BadField { field: "uri", problem: "has more than 2048 bytes".into() });
    }
    if let Some(id) = &local {
        let local = local_id(id, out);
        out.memory.learn(local, native_id.clone());
    }
    let boosted = status.get("reblog").filter(|r| r.is_object());
    let said = boosted.unwrap_or(status);
    let content =
        said.get("content").and_then(Value::as_str).ok_or(RefusalReason::MissingField("content"))?;
    let edited_at = json::text(said, "edited_at").and_then(when::parse);
    let op = if updated || edited_at.is_some() { MentionOp::Edited } else { MentionOp::Created };
    let mut draft = Draft::new(op, native_id, Words::Html(content));
    draft.native_rev = edited_at.map(|at| at.to_string());
    draft.author = author(status.get("account").unwrap_or(&Value::Null), out.ctx.instance, &mut draft.flags);
    draft.title = json::text(said, "spoiler_text");
    draft.languages = json::text(said, "language").map(str::to_owned).into_iter().collect();
    draft.created =
        json::text(status, "created_at").and_then(when::parse).map(|at| (at, TimeQuality::Platform));
    draft.edited_at = edited_at;
    let quoted = said.pointer("/quote/quoted_status").filter(|q| q.is_object());
    let named = |s: &Value| json::text(s, "uri").or(json::text(s, "url")).map(str::to_owned);
    draft.refs = Refs {
        root: None,
        reply_to: json::id(said, "in_reply_to_id").map(|id| {
            let local = local_id(&id, out);
            out.mention_id(out.memory.recall(&local).unwrap_or(&local))
        }),
        quote_of: quoted.and_then(named).map(|uri| out.mention_id(&uri)),
        repost_of: boosted.and_then(named).map(|uri| out.mention_id(&uri)),
        conversation: None,
        place: None,
    };
    draft.engagement = boosted.is_none().then(|| Engagement {
        likes: json::int(status, "favourites_count"),
        reposts: json::int(status, "reblogs_count"),
        replies: json::int(status, "replies_count"),
        quotes: json::int(status, "quotes_count"),
        views: None,
        score: None,
        as_of: out.ctx.received_at,
        kind: EngagementKind::Snapshot,
    });
    draft.permalink = json::text(status, "url").or(uri).map(str::to_owned);
    draft.visibility = match json::text(status, "visibility") {
        Some("public") => Visibility::Public,
        Some("unlisted") => Visibility::Unlisted,
        Some("private" | "direct" | "limited") => Visibility::Private,
        // A word that nobody knows is no permission to publish.
        Some(_) => Visibility::Private,
        None => Visibility::Public,
    };
    if json::flag(said, "sensitive") == Some(true) {
        draft.flags.insert(Flag::Sensitive);
    }
    for mention in json::items(said, "mentions") {
        if let Some(acct) = json::text(mention, "acct") {
            entities::add_mention(acct, json::id(mention, "id").as_deref(), &mut draft.entities);
        }
    }
    for tag in json::items(said, "tags") {
        json::text(tag, "name").into_iter().for_each(|t| entities::add_hashtag(t, &mut draft.entities));
    }
    for media in json::items(said, "media_attachments").iter().take(8) {
        draft.entities.media.push(Media {
            kind: json::text(media, "type").unwrap_or("media").to_owned(),
            url: json::text(media, "url").map(str::to_owned),
            alt: json::text(media, "description").map(str::to_owned),
        });
    }
    Ok(draft)
}

fn author(account: &Value, instance: &str, flags: &mut std::collections::BTreeSet<Flag>) -> Author {
    let handle = json::text(account, "acct").map(|acct| {
        // A local account is written without its server.
        if acct.contains('@') || instance.is_empty() { acct.to_owned() } else { format!("{acct}@{instance}") }
    });
    if handle.is_none() {
        flags.insert(Flag::PartialAuthor);
    }
    Author {
        native_id: json::id(account, "id"),
        handle,
        display_name: json::text(account, "display_name").map(str::to_owned),
        followers: json::int(account, "followers_count").and_then(|n| n.try_into().ok()),
        is_bot: json::flag(account, "bot"),
        profile_url: json::text(account, "url").map(str::to_owned),
        ..Author::default()
    }
}
