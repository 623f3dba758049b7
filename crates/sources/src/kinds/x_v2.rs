//! X API v2: single posts, pages, filtered streams, activity envelopes, compliance events.

use model::{
    Author, Engagement, EngagementKind, Flag, Media, MentionOp, Refs, TimeQuality, Timestamp, Visibility,
};
use serde_json::Value;

use crate::decoded::RefusalReason;
use crate::kinds::each_item;
use crate::out::{Draft, Notice, Out, Words};
use crate::{entities, json, when};

pub(crate) fn document(value: &Value, out: &mut Out<'_>) {
    if !value.is_object() {
        return out.refuse(RefusalReason::UnknownShape("needs an object"));
    }
    let includes = value.get("includes").unwrap_or(&Value::Null);
    match value.get("data") {
        Some(Value::Array(list)) => {
            each_item(list, out, |item, out| self::item(item, includes, out));
            partial_errors(value, out);
        }
        Some(data @ Value::Object(_)) => {
            if let Some(payload) = data.get("payload").filter(|_| data.get("event_type").is_some()) {
                activity(data, payload, out);
            } else if compliance_event(data, out) {
            } else {
                item(data, includes, out);
            }
            partial_errors(value, out);
        }
        Some(_) => out.refuse(RefusalReason::UnknownShape("'data' is no object or array")),
        None if value.get("action").is_some() => compliance_line(value, out),
        None if value.get("errors").is_some() || value.get("status").is_some_and(Value::is_number) => {
            out.refuse(RefusalReason::ErrorAnswer);
        }
        None if value.get("meta").is_some() => out.ignore("empty_page"),
        None => item(value, includes, out),
    }
}

/// Errors beside data tell of referenced things that are gone; the data stands.
fn partial_errors(value: &Value, out: &mut Out<'_>) {
    for _ in json::items(value, "errors") {
        out.ignore("partial_error");
    }
}

fn item(post: &Value, includes: &Value, out: &mut Out<'_>) {
    if post.get("text").is_none() {
        let label = match () {
            () if post.get("username").is_some() => "user",
            () if post.get("tweet_count").is_some() => "count",
            () if post.get("member_count").is_some() => "list",
            () if post.get("action").is_some() => return compliance_line(post, out),
            () if post.get("author_id").is_some() => return out.refuse(RefusalReason::MissingField("text")),
            // Lists, spaces, acknowledgements and whatever else the API answers with.
            () => "other_object",
        };
        return out.ignore(label);
    }
    match draft(post, includes, out) {
        Ok(draft) => out.publish(draft),
        Err(reason) => out.refuse(reason),
    }
}

fn draft<'v>(post: &'v Value, includes: &'v Value, out: &Out<'_>) -> Result<Draft<'v>, RefusalReason> {
    let id = json::id(post, "id").ok_or(RefusalReason::MissingField("id"))?;
    // An edit is a new id: the first one names the post for its whole life.
    let first = post.pointer("/edit_history_tweet_ids/0").and_then(json::id_of).unwrap_or_else(|| id.clone());
    let op = if first == id { MentionOp::Created } else { MentionOp::Edited };
    let references = json::items(post, "referenced_tweets");
    let reference = |kind: &str| references.iter().find(|r| json::text(r, "type") == Some(kind));
    let retweeted = reference("retweeted");
    // The text of a retweet is cut; the original's is whole.
    let original = retweeted.and_then(|r| included_post(r, includes));
    let words = original
        .and_then(words)
        .or_else(|| words(post))
        .ok_or(RefusalReason::BadField { field: "text", problem: "is no text".into() })?;
    let created = json::text(post, "created_at").and_then(when::parse);
    let mut draft = Draft::new(op, first, Words::Escaped(words));
    draft.native_rev = Some(id.clone());
    draft.author = author(post, includes, &mut draft.flags);
    draft.languages = json::text(post, "lang").and_then(language).into_iter().collect();
    draft.created = created.map(|at| (at, TimeQuality::Platform));
    draft.edited_at = created.filter(|_| op == MentionOp::Edited);
    let to = |r: Option<&Value>| {
        let r = r?;
        let first = included_post(r, includes).and_then(|p| p.pointer("/edit_history_tweet_ids/0"));
        first.and_then(json::id_of).or_else(|| json::id(r, "id")).map(|id| out.mention_id(&id))
    };
    let conversation = json::id(post, "conversation_id");
    draft.refs = Refs {
        root: conversation
            .as_ref()
            .filter(|c| **c != id && reference("replied_to").is_some())
            .map(|c| out.mention_id(c)),
        reply_to: to(reference("replied_to")),
        quote_of: to(reference("quoted")),
        repost_of: to(retweeted),
        conversation,
        place: json::text_at(post, "/geo/place_id").map(str::to_owned),
    };
    draft.engagement = engagement(post, retweeted.is_some(), out.ctx.received_at);
    draft.permalink = Some(format!("https://x.com/i/status/{id}"));
    if post.get("dm_conversation_id").is_some() {
        draft.visibility = Visibility::Private;
        draft.permalink = None;
        draft.author.native_id = draft.author.native_id.or_else(|| json::id(post, "sender_id"));
    }
    if json::flag(post, "possibly_sensitive") == Some(true) {
        draft.flags.insert(Flag::Sensitive);
    }
    let source = original.unwrap_or(post);
    for mention in source.pointer("/entities/mentions").and_then(Value::as_array).into_iter().flatten() {
        if let Some(handle) = json::text(mention, "username") {
            entities::add_mention(handle, json::text(mention, "id"), &mut draft.entities);
        }
    }
    for tag in source.pointer("/entities/hashtags").and_then(Value::as_array).into_iter().flatten() {
        json::text(tag, "tag").into_iter().for_each(|t| entities::add_hashtag(t, &mut draft.entities));
    }
    for url in source.pointer("/entities/urls").and_then(Value::as_array).into_iter().flatten() {
        if let Some(short) = json::text(url, "url") {
            let expanded = json::text(url, "unwound_url").or(json::text(url, "expanded_url"));
            entities::add_url(short, expanded, &mut draft.entities);
        }
    }
    let keys = source.pointer("/attachments/media_keys").and_then(Value::as_array);
    for key in keys.into_iter().flatten().take(8) {
        let found = json::items(includes, "media").iter().find(|m| m.get("media_key") == Some(key));
        draft.entities.media.push(Media {
            kind: found.and_then(|m| json::text(m, "type")).unwrap_or("media").to_owned(),
            url: found
                .and_then(|m| json::text(m, "url").or(json::text(m, "preview_image_url")))
                .map(str::to_owned),
            alt: found.and_then(|m| json::text(m, "alt_text")).map(str::to_owned),
        });
    }
    Ok(draft)
}

/// The whole text, also of long posts.
fn words(post: &Value) -> Option<&str> {
    json::text_at(post, "/note_tweet/text").or_else(|| post.get("text")?.as_str())
}

/// `und` and the codes that stand for "only links" and the like are no language.
fn language(code: &str) -> Option<String> {
    let real = !matches!(code, "und" | "zxx" | "art" | "qam" | "qct" | "qht" | "qme" | "qst");
    // X still writes the withdrawn code of Indonesian and Hebrew.
    real.then(|| match code {
        "in" => "id".to_owned(),
        "iw" => "he".to_owned(),
        code => code.to_owned(),
    })
}

fn included_post<'v>(reference: &'v Value, includes: &'v Value) -> Option<&'v Value> {
    if reference.get("text").is_some() {
        // Flattened by a tool: the post stands in the reference itself.
        return Some(reference);
    }
    let id = reference.get("id")?;
    json::items(includes, "tweets").iter().find(|p| p.get("id") == Some(id))
}

fn author(post: &Value, includes: &Value, flags: &mut std::collections::BTreeSet<Flag>) -> Author {
    let id = json::id(post, "author_id");
    let inline = post.get("author").filter(|a| a.is_object());
    let user = inline.or_else(|| {
        let id = id.as_deref()?;
        json::items(includes, "users").iter().find(|u| json::id(u, "id").as_deref() == Some(id))
    });
    let Some(user) = user else {
        flags.insert(Flag::PartialAuthor);
        return Author { native_id: id, ..Author::default() };
    };
    Author {
        native_id: id.or_else(|| json::id(user, "id")),
        handle: json::text(user, "username").map(str::to_owned),
        display_name: json::text(user, "name").map(str::to_owned),
        followers: json::int_at(user, "/public_metrics/followers_count").and_then(|n| n.try_into().ok()),
        is_verified: json::flag(user, "verified"),
        profile_url: json::text(user, "username").map(|name| format!("https://x.com/{name}")),
        ..Author::default()
    }
}

fn engagement(post: &Value, is_retweet: bool, as_of: Timestamp) -> Option<Engagement> {
    let metrics = post.get("public_metrics").filter(|m| m.is_object())?;
    // The counters of a retweet are those of the original, and partly zero: they would be counted twice.
    (!is_retweet).then(|| Engagement {
        likes: json::int(metrics, "like_count"),
        reposts: json::int(metrics, "retweet_count"),
        replies: json::int(metrics, "reply_count"),
        quotes: json::int(metrics, "quote_count"),
        views: json::int(metrics, "impression_count"),
        score: None,
        as_of,
        kind: EngagementKind::Snapshot,
    })
}

fn activity(data: &Value, payload: &Value, out: &mut Out<'_>) {
    match json::text(data, "event_type").unwrap_or_default() {
        "post.create" | "post.mention.create" => {
            item(payload, data.get("includes").unwrap_or(&Value::Null), out)
        }
        "post.delete" => match json::id(payload, "id") {
            Some(id) => out.notice(withdrawal(MentionOp::Deleted, id, "deleted", None, None)),
            None => out.refuse(RefusalReason::MissingField("payload.id")),
        },
        _ => out.ignore("other_activity"),
    }
}

/// Compliance streams wrap each event in its name. True when this was one.
fn compliance_event(data: &Value, out: &mut Out<'_>) -> bool {
    let Some((name, event)) =
        data.as_object().and_then(|o| o.iter().find(|(_, v)| v.is_object() && compliance_id(v).is_some()))
    else {
        return false;
    };
    let at = json::text(event, "event_at").and_then(when::parse);
    let (of_user, id, author) = compliance_id(event).unwrap_or_default();
    let rev = format!("{name}:{}", at.map_or(0, Timestamp::as_micros));
    let op = match name.as_str() {
        "delete" => MentionOp::Deleted,
        "drop" | "withheld" | "tweet_withheld" => MentionOp::Hidden,
        "undrop" => return restored(id, rev, at, out),
        "user_delete" | "user_suspend" | "user_protect" | "user_withheld" => MentionOp::AuthorDeleted,
        "user_profile_modification" => MentionOp::AuthorUpdated,
        _ => {
            out.ignore("other_compliance");
            return true;
        }
    };
    let author = if of_user { Some(id.clone()) } else { author };
    out.notice(withdrawal(op, id, &rev, at, author));
    true
}

fn restored(id: String, rev: String, at: Option<Timestamp>, out: &mut Out<'_>) -> bool {
    out.notice(withdrawal(MentionOp::Restored, id, &rev, at, None));
    true
}

/// Whether a user or a post is meant, its id, and the author of the post.
fn compliance_id(event: &Value) -> Option<(bool, String, Option<String>)> {
    let wrapped = |outer: &str| {
        json::id_at(event, &format!("/{outer}/{outer}/id"))
            .or_else(|| json::id_at(event, &format!("/{outer}/id")))
    };
    if let Some(id) = wrapped("tweet") {
        let author =
            json::id_at(event, "/tweet/tweet/author_id").or_else(|| json::id_at(event, "/tweet/author_id"));
        return Some((false, id, author));
    }
    wrapped("user").map(|id| (true, id, None))
}

/// One line of a compliance job. Jobs for posts and for users write the same fields; a post's id
/// contains the millisecond of its creation, a user's time has whole seconds.
fn compliance_line(line: &Value, out: &mut Out<'_>) {
    let Some(id) = json::id(line, "id") else { return out.refuse(RefusalReason::MissingField("id")) };
    if json::text(line, "action") != Some("delete") {
        return out.ignore("other_compliance");
    }
    let created = json::text(line, "created_at").and_then(when::parse);
    let redacted = json::text(line, "redacted_at").and_then(when::parse);
    let rev = json::text(line, "reason").unwrap_or("deleted");
    if created.is_some_and(|at| snowflake_ms(&id) == Some(at.as_millis())) {
        out.notice(withdrawal(MentionOp::Deleted, id, rev, redacted, None));
    } else {
        out.notice(withdrawal(MentionOp::AuthorDeleted, id.clone(), rev, redacted, Some(id)));
    }
}

fn snowflake_ms(id: &str) -> Option<i64> {
    const EPOCH_MS: i64 = 1_288_834_974_657;
    Some((id.parse::<i64>().ok()? >> 22) + EPOCH_MS)
}

fn withdrawal(op: MentionOp, id: String, rev: &str, at: Option<Timestamp>, author: Option<String>) -> Notice {
    Notice {
        op,
        native_id: id,
        native_rev: rev.to_owned(),
        witnessed_at: at,
        author: author.map(|id| Author { native_id: Some(id), ..Author::default() }),
    }
}
