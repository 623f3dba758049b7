//! Facebook pages: webhooks, and pages of the Graph API.

use model::{Author, Engagement, Flag, MentionOp, TimeQuality, Timestamp, Visibility};
use serde_json::Value;

use crate::decoded::RefusalReason;
use crate::kinds::each_item;
use crate::out::{Draft, Notice, Out, Words, like, snapshot};
use crate::{json, when};

pub(crate) fn document(value: &Value, out: &mut Out<'_>) {
    if value.get("object").is_some() && value.get("entry").is_some() {
        webhook(value, out, change);
    } else if value.get("error").is_some() {
        out.refuse(RefusalReason::ErrorAnswer);
    } else {
        graph(value, out, 0);
    }
}

/// A delivery is a batch twice over: entries, each with changes (or messages).
pub(crate) fn webhook(
    value: &Value,
    out: &mut Out<'_>,
    change: fn(&str, &Value, &Value, Option<Timestamp>, &mut Out<'_>),
) {
    let mut number = 0;
    for entry in json::items(value, "entry") {
        let at = json::int(entry, "time").and_then(|t| when::from_number(t as f64));
        let page = entry.get("id").unwrap_or(&Value::Null);
        for item in json::items(entry, "changes") {
            out.at_item(number);
            number += 1;
            let field = json::text(item, "field").unwrap_or_default();
            match item.get("value").filter(|v| v.is_object()) {
                Some(value) => change(field, value, page, at, out),
                None => out.refuse(RefusalReason::MissingField("value")),
            }
        }
        for item in json::items(entry, "messaging") {
            out.at_item(number);
            number += 1;
            message(item, out);
        }
    }
    if number == 0 {
        out.ignore("empty_batch");
    }
}

fn change(field: &str, value: &Value, page: &Value, at: Option<Timestamp>, out: &mut Out<'_>) {
    if !matches!(field, "feed" | "mention" | "ratings") {
        return out.ignore("other_field");
    }
    let item = json::text(value, "item").unwrap_or_default();
    let id = match item {
        "comment" => json::id(value, "comment_id"),
        "rating" => json::id(value, "open_graph_story_id").or_else(|| json::id(value, "review_id")),
        _ => json::id(value, "post_id"),
    };
    let Some(id) = id else { return out.refuse(RefusalReason::MissingField("comment_id or post_id")) };
    let happened = json::int(value, "created_time").and_then(|t| when::from_number(t as f64)).or(at);
    let verb = json::text(value, "verb").unwrap_or_default();
    if matches!(item, "reaction" | "like") {
        let target = json::id(value, "comment_id").unwrap_or(id);
        let by = if verb == "remove" { -1 } else { 1 };
        let actor = author(value);
        let who = actor.native_id.clone().unwrap_or_default();
        let rev = format!("{item}:{who}:{verb}:{}", happened.map_or(0, Timestamp::as_micros));
        return out.reaction(target, rev, actor, like(by, out.ctx.received_at), happened.or(at));
    }
    let rev = format!("{verb}:{}", at.or(happened).map_or(0, Timestamp::as_micros));
    let withdrawal = match verb {
        "remove" => Some(MentionOp::Deleted),
        "hide" => Some(MentionOp::Hidden),
        "unhide" => Some(MentionOp::Restored),
        _ => None,
    };
    if let Some(op) = withdrawal {
        let author = Some(author(value));
        return out.notice(Notice { witnessed_at: at.or(happened), author, ..Notice::new(op, id, &rev) });
    }
    let op = match verb {
        "add" | "" => MentionOp::Created,
        "edited" | "edit" | "update" => MentionOp::Edited,
        _ => return out.ignore("other_verb"),
    };
    let words = value.get("message").or(value.get("review_text")).and_then(Value::as_str).unwrap_or_default();
    let mut draft = Draft::new(op, id.clone(), Words::Plain(words));
    draft.author = author(value);
    if draft.author.native_id.is_none() {
        draft.flags.insert(Flag::PartialAuthor);
    }
    draft.author.is_staff = draft.author.native_id.as_ref().map(|id| Some(id) == json::id_of(page).as_ref());
    draft.created = happened.map(|at| (at, TimeQuality::Platform));
    draft.edited_at = at.filter(|_| op == MentionOp::Edited);
    let post = json::id(value, "post_id").filter(|p| *p != id);
    draft.refs.root = post.as_deref().map(|p| out.mention_id(p));
    draft.refs.reply_to = json::id(value, "parent_id").filter(|p| *p != id).map(|p| out.mention_id(&p));
    draft.refs.conversation = post;
    draft.refs.place = json::id_of(page);
    draft.permalink = json::text_at(value, "/post/permalink_url").map(str::to_owned);
    out.publish(draft);
}

/// Older deliveries name the sender by a number, newer ones by an object.
fn author(value: &Value) -> Author {
    Author {
        native_id: json::id_at(value, "/from/id").or_else(|| json::id(value, "sender_id")),
        display_name: json::text_at(value, "/from/name")
            .or(json::text(value, "sender_name"))
            .map(str::to_owned),
        handle: json::text_at(value, "/from/username").map(str::to_owned),
        ..Author::default()
    }
}

/// A private message to the page.
fn message(item: &Value, out: &mut Out<'_>) {
    let Some(message) = item.get("message") else { return out.ignore("other_message") };
    let Some(id) = json::id(message, "mid") else {
        return out.refuse(RefusalReason::MissingField("message.mid"));
    };
    if json::flag(message, "is_deleted") == Some(true) {
        return out.notice(Notice::new(MentionOp::Deleted, id, "deleted"));
    }
    let words = message.get("text").and_then(Value::as_str).unwrap_or_default();
    let mut draft = Draft::new(MentionOp::Created, id, Words::Plain(words));
    draft.author.native_id = json::id_at(item, "/sender/id");
    draft.author.is_staff = json::flag(message, "is_echo");
    draft.created = json::int(item, "timestamp")
        .and_then(|t| when::from_number(t as f64))
        .map(|at| (at, TimeQuality::Platform));
    draft.visibility = Visibility::Private;
    out.publish(draft);
}

/// Deeper than this no page nests its answers.
const DEPTH_MAX: usize = 8;

fn graph(value: &Value, out: &mut Out<'_>, depth: usize) {
    if let Some(list) = value.get("data").and_then(Value::as_array) {
        if list.is_empty() {
            out.ignore("empty_page");
        }
        return each_item(list, out, |item, out| graph(item, out, depth));
    }
    let has = |name: &str| value.get(name).is_some();
    if has("message") || has("story") {
        post(value, out);
    } else if let Some(map) =
        value.as_object().filter(|o| !o.is_empty() && o.values().all(|v| v.get("id").is_some()))
    {
        // Asked for several at once, Graph answers with a map from id to object.
        map.values().for_each(|item| graph(item, out, depth));
        return;
    } else if value.is_object() {
        out.ignore("no_words");
    } else {
        return out.refuse(RefusalReason::UnknownShape("needs an object"));
    }
    let answers = value.get("comments").filter(|c| depth < DEPTH_MAX && c.get("data").is_some());
    if let Some(answers) = answers {
        graph(answers, out, depth + 1);
    }
}

fn post(post: &Value, out: &mut Out<'_>) {
    let words = json::text(post, "message").or(json::text(post, "story")).unwrap_or_default();
    // Whoever asks for fields gets only those; without an id the content is the id.
    let id = json::id(post, "id").unwrap_or_else(|| {
        let text = |name| json::text(post, name).unwrap_or_default();
        let said = format!("{}\n{}\n{words}", text("permalink_url"), text("created_time"));
        format!("blake3:{}", &blake3::hash(said.as_bytes()).to_hex()[..32])
    });
    let mut draft = Draft::new(MentionOp::Created, id, Words::Plain(words));
    draft.author = author(post);
    if draft.author.native_id.is_none() {
        draft.flags.insert(Flag::PartialAuthor);
    }
    let time = |name| json::text(post, name).and_then(when::parse);
    draft.created = time("created_time").map(|at| (at, TimeQuality::Platform));
    draft.refs.reply_to = json::id_at(post, "/parent/id").map(|p| out.mention_id(&p));
    draft.engagement = Some(Engagement {
        likes: json::int(post, "like_count").or_else(|| json::int_at(post, "/likes/summary/total_count")),
        replies: json::int(post, "comment_count")
            .or_else(|| json::int_at(post, "/comments/summary/total_count")),
        reposts: json::int_at(post, "/shares/count"),
        ..snapshot(out.ctx.received_at)
    });
    draft.permalink = json::text(post, "permalink_url").map(str::to_owned);
    out.publish(draft);
}
