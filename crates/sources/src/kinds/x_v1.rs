//! X API v1.1: tweets, timelines, streams and account-activity webhooks.

use model::{Author, Engagement, Flag, Media, MentionOp, Refs, TimeQuality, Timestamp};
use serde_json::Value;

use crate::decoded::RefusalReason;
use crate::kinds::each_item;
use crate::out::{Draft, Notice, Out, Words, like, snapshot};
use crate::{entities, json, when};

pub(crate) fn document(value: &Value, out: &mut Out<'_>) {
    let has = |name: &str| value.get(name).is_some();
    if has("text") || has("full_text") {
        tweet(value, out);
    } else if has("statuses") {
        each_item(json::items(value, "statuses"), out, document);
    } else if has("for_user_id") || has("user_event") {
        activity(value, out);
    } else if let Some(deleted) = value.pointer("/delete/status") {
        let at = json::int_at(value, "/delete/timestamp_ms").map(Timestamp::from_millis);
        withdraw(MentionOp::Deleted, deleted, at, out);
    } else if let Some(withheld) = value.get("status_withheld") {
        withdraw(MentionOp::Hidden, withheld, None, out);
    } else if has("errors") || has("error") {
        out.refuse(RefusalReason::ErrorAnswer);
    } else if value.is_object() {
        out.ignore("no_tweet");
    } else {
        out.refuse(RefusalReason::UnknownShape("needs an object"));
    }
}

fn activity(value: &Value, out: &mut Out<'_>) {
    let mut known = false;
    for list in ["tweet_create_events", "tweet_delete_events", "favorite_events"] {
        known |= value.get(list).is_some();
        each_item(json::items(value, list), out, |item, out| match list {
            "tweet_create_events" => tweet(item, out),
            "tweet_delete_events" => {
                let at = json::int(item, "timestamp_ms").map(Timestamp::from_millis);
                withdraw(MentionOp::Deleted, item.get("status").unwrap_or(item), at, out);
            }
            _ => favorite(item, out),
        });
    }
    if !known {
        out.ignore("other_activity");
    }
}

fn favorite(item: &Value, out: &mut Out<'_>) {
    let (Some(id), Some(rev)) = (item.get("favorited_status").and_then(id), json::id(item, "id")) else {
        return out.refuse(RefusalReason::MissingField("favorited_status.id_str"));
    };
    let at = json::int(item, "timestamp_ms").map(Timestamp::from_millis);
    let actor = author(item.get("user").unwrap_or(&Value::Null));
    out.reaction(id, rev, actor, like(1, out.ctx.received_at), at);
}

fn withdraw(op: MentionOp, status: &Value, at: Option<Timestamp>, out: &mut Out<'_>) {
    let Some(id) = id(status) else { return out.refuse(RefusalReason::MissingField("status.id_str")) };
    let user = json::id(status, "user_id_str").or_else(|| json::id(status, "user_id"));
    out.notice(Notice {
        witnessed_at: at,
        author: user.map(|id| Author { native_id: Some(id), ..Author::default() }),
        ..Notice::new(op, id, op.name())
    });
}

/// The id as text; the number beside it is only trusted where the text is missing.
fn id(status: &Value) -> Option<String> {
    json::id(status, "id_str").or_else(|| json::id(status, "id"))
}

fn tweet(tweet: &Value, out: &mut Out<'_>) {
    match draft(tweet, out) {
        Ok(draft) => out.publish(draft),
        Err(reason) => out.refuse(reason),
    }
}

fn words(tweet: &Value) -> Option<&str> {
    json::text_at(tweet, "/extended_tweet/full_text")
        .or_else(|| json::text(tweet, "full_text"))
        .or_else(|| tweet.get("text")?.as_str())
}

fn draft<'v>(tweet: &'v Value, out: &Out<'_>) -> Result<Draft<'v>, RefusalReason> {
    let native_id = id(tweet).ok_or(RefusalReason::MissingField("id_str"))?;
    let original = tweet.get("retweeted_status").filter(|o| o.is_object());
    let said = original.unwrap_or(tweet);
    let bad_text = || RefusalReason::BadField { field: "text", problem: "is no text".into() };
    let words = words(said).ok_or_else(bad_text)?;
    let mut draft = Draft::new(MentionOp::Created, native_id.clone(), Words::Escaped(words));
    draft.native_rev = Some(native_id.clone());
    draft.author = author(tweet.get("user").unwrap_or(&Value::Null));
    if draft.author.handle.is_none() {
        draft.flags.insert(Flag::PartialAuthor);
    }
    draft.languages =
        json::text(tweet, "lang").filter(|l| *l != "und").map(str::to_owned).into_iter().collect();
    let at = json::text(tweet, "created_at").and_then(when::parse);
    draft.created = at.map(|at| (at, TimeQuality::Platform));
    let to = |id: Option<String>| id.map(|id| out.mention_id(&id));
    draft.refs = Refs {
        root: None,
        reply_to: to(
            json::id(tweet, "in_reply_to_status_id_str").or_else(|| json::id(tweet, "in_reply_to_status_id"))
        ),
        quote_of: to(json::id(said, "quoted_status_id_str").or_else(|| json::id(said, "quoted_status_id"))),
        repost_of: to(original.and_then(id)),
        conversation: None,
        place: json::text_at(tweet, "/place/id").map(str::to_owned),
    };
    draft.engagement = original.is_none().then(|| Engagement {
        likes: json::int(tweet, "favorite_count"),
        reposts: json::int(tweet, "retweet_count"),
        replies: json::int(tweet, "reply_count"),
        quotes: json::int(tweet, "quote_count"),
        ..snapshot(out.ctx.received_at)
    });
    draft.permalink = Some(format!("https://x.com/i/status/{native_id}"));
    if json::flag(tweet, "possibly_sensitive") == Some(true) {
        draft.flags.insert(Flag::Sensitive);
    }
    let whole = said.get("extended_tweet").unwrap_or(said);
    let list = |pointer: &str| whole.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    for mention in list("/entities/user_mentions") {
        if let Some(handle) = json::text(mention, "screen_name") {
            entities::add_mention(handle, json::id(mention, "id_str").as_deref(), &mut draft.entities);
        }
    }
    for tag in list("/entities/hashtags") {
        json::text(tag, "text").into_iter().for_each(|t| entities::add_hashtag(t, &mut draft.entities));
    }
    for url in list("/entities/urls") {
        if let Some(short) = json::text(url, "url") {
            entities::add_url(short, json::text(url, "expanded_url"), &mut draft.entities);
        }
    }
    for media in list("/extended_entities/media").take(8) {
        draft.entities.media.push(Media {
            kind: json::text(media, "type").unwrap_or("media").to_owned(),
            url: json::text(media, "media_url_https").map(str::to_owned),
            alt: json::text(media, "ext_alt_text").map(str::to_owned),
        });
    }
    Ok(draft)
}

fn author(user: &Value) -> Author {
    Author {
        native_id: id(user),
        handle: json::text(user, "screen_name").map(str::to_owned),
        display_name: json::text(user, "name").map(str::to_owned),
        followers: json::int(user, "followers_count").and_then(|n| n.try_into().ok()),
        is_verified: json::flag(user, "verified"),
        profile_url: json::text(user, "screen_name").map(|name| format!("https://x.com/{name}")),
        ..Author::default()
    }
}
