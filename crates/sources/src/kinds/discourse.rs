//! Discourse: webhooks about posts, topics and likes, and pages of posts.

use model::{Author, Engagement, MentionOp, TimeQuality, Timestamp};
use serde_json::Value;

use crate::decoded::RefusalReason;
use crate::kinds::each_item;
use crate::out::{Draft, Notice, Out, Words, like, snapshot};
use crate::{json, when};

pub(crate) fn document(value: &Value, out: &mut Out<'_>) {
    if let Some(post) = value.get("post").filter(|p| p.is_object()) {
        self::post(post, out);
    } else if let Some(like) = value.get("like").filter(|l| l.is_object()) {
        liked(like, out);
    } else if let Some(list) =
        value.get("latest_posts").or(value.pointer("/post_stream/posts")).and_then(Value::as_array)
    {
        each_item(list, out, self::post);
    } else if value.get("cooked").is_some() {
        self::post(value, out);
    } else if value.get("ping").is_some() {
        out.ignore("ping");
    } else if value.get("errors").is_some() {
        out.refuse(RefusalReason::ErrorAnswer);
    } else if value.get("topic").is_some() {
        // A topic has no words of its own: its first post comes as a post.
        out.ignore("topic");
    } else if value.is_object() {
        out.ignore("other_event");
    } else {
        out.refuse(RefusalReason::UnknownShape("needs an object"));
    }
}

/// A time; some deliveries write the word null where they mean none.
fn time(value: &Value, name: &str) -> Option<Timestamp> {
    json::text(value, name).and_then(when::parse)
}

fn post(post: &Value, out: &mut Out<'_>) {
    let Some(id) = json::id(post, "id") else { return out.refuse(RefusalReason::MissingField("post.id")) };
    let version = json::int(post, "version").unwrap_or(1);
    if let Some(at) = time(post, "deleted_at") {
        let notice = Notice::new(MentionOp::Deleted, id, &format!("{version}:deleted"));
        return out.notice(Notice { witnessed_at: Some(at), author: Some(author(post)), ..notice });
    }
    if json::flag(post, "user_deleted") == Some(true) {
        return out.notice(Notice::new(MentionOp::Deleted, id, &format!("{version}:deleted")));
    }
    match json::int(post, "post_type") {
        Some(3) => return out.ignore("small_action"),
        // What staff whispers to staff must not leave the forum.
        Some(4) => return out.ignore("whisper"),
        _ => {}
    }
    if json::flag(post, "hidden") == Some(true) {
        return out.notice(Notice::new(MentionOp::Hidden, id, &format!("{version}:hidden")));
    }
    let raw = json::text(post, "raw").map(Words::Plain);
    let Some(words) = post.get("cooked").and_then(Value::as_str).map(Words::Html).or(raw) else {
        return out.refuse(RefusalReason::MissingField("post.cooked"));
    };
    let op = if version > 1 { MentionOp::Edited } else { MentionOp::Created };
    let mut draft = Draft::new(op, id, words);
    draft.native_rev = Some(format!("v{version}"));
    draft.author = author(post);
    draft.title = json::text(post, "topic_title").filter(|_| json::int(post, "post_number") == Some(1));
    draft.created = time(post, "created_at").map(|at| (at, TimeQuality::Platform));
    draft.edited_at = time(post, "updated_at").filter(|_| version > 1);
    let topic = json::id(post, "topic_id");
    draft.refs.conversation = topic.clone();
    draft.refs.place =
        json::text(post, "category_slug").or(json::text(post, "topic_slug")).map(str::to_owned);
    // Posts answer by number within the topic; the number is turned into an id where it was seen.
    if let (Some(topic), Some(number)) = (&topic, json::int(post, "post_number")) {
        let local = |n: i64| format!("{topic}/{n}");
        draft.refs.root =
            (number > 1).then(|| out.memory.recall(&local(1)).map(|id| out.mention_id(id))).flatten();
        let answered = json::int(post, "reply_to_post_number");
        draft.refs.reply_to =
            answered.and_then(|n| out.memory.recall(&local(n)).map(|id| out.mention_id(id)));
        out.memory.learn(local(number), draft.native_id.clone());
    }
    draft.engagement = Some(Engagement {
        replies: json::int(post, "reply_count"),
        views: json::int(post, "reads"),
        ..snapshot(out.ctx.received_at)
    });
    let site = out.ctx.instance.trim_end_matches('/');
    if let (false, Some(topic), Some(number)) = (site.is_empty(), topic, json::int(post, "post_number")) {
        let site = if site.contains("://") { site.to_owned() } else { format!("https://{site}") };
        let slug = json::text(post, "topic_slug").unwrap_or("-");
        draft.permalink = Some(format!("{site}/t/{slug}/{topic}/{number}"));
    }
    out.publish(draft);
}

fn author(post: &Value) -> Author {
    Author {
        native_id: json::id(post, "user_id").or_else(|| json::id_at(post, "/user/id")),
        handle: json::text(post, "username").map(str::to_owned),
        display_name: json::text(post, "name").map(str::to_owned),
        is_staff: json::flag(post, "staff"),
        ..Author::default()
    }
}

fn liked(like_event: &Value, out: &mut Out<'_>) {
    let Some(id) = json::id_at(like_event, "/post/id") else {
        return out.refuse(RefusalReason::MissingField("like.post.id"));
    };
    let user = like_event.get("user").unwrap_or(&Value::Null);
    let actor = Author {
        native_id: json::id(user, "id"),
        handle: json::text(user, "username").map(str::to_owned),
        ..Author::default()
    };
    let rev = format!("like:{}", actor.native_id.as_deref().unwrap_or_default());
    out.reaction(id, rev, actor, like(1, out.ctx.received_at), None);
}
