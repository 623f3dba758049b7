//! Hacker News: items of its API.

use model::{Author, Engagement, MentionOp, TimeQuality};
use serde_json::Value;

use crate::decoded::RefusalReason;
use crate::out::{Draft, Notice, Out, Words, snapshot};
use crate::{entities, json, when};

pub(crate) fn document(value: &Value, out: &mut Out<'_>) {
    if value.is_null() {
        return out.ignore("missing_item");
    }
    if value.is_number() || value.get("profiles").is_some() {
        return out.ignore("ids");
    }
    if let (Some(_), Some(data)) = (value.get("path"), value.get("data")) {
        // What an event stream sends.
        return if data.get("data").is_none() { document(data, out) } else { out.ignore("other_event") };
    }
    if value.get("karma").is_some() {
        return out.ignore("user");
    }
    if !value.is_object() {
        return out.refuse(RefusalReason::UnknownShape("needs an item"));
    }
    let Some(id) = json::id(value, "id") else { return out.refuse(RefusalReason::MissingField("id")) };
    let at = json::int(value, "time").and_then(|t| when::from_number(t as f64));
    for (field, op) in [("deleted", MentionOp::Deleted), ("dead", MentionOp::Hidden)] {
        if json::flag(value, field) == Some(true) {
            return out.notice(Notice::new(op, id, field));
        }
    }
    let title = json::text(value, "title");
    let words = match json::text(value, "text") {
        Some(html) => Words::Html(html),
        None => match title {
            Some(title) => Words::Escaped(title),
            None => return out.refuse(RefusalReason::MissingField("text")),
        },
    };
    let mut draft = Draft::new(MentionOp::Created, id, words);
    draft.title = title;
    draft.author = Author {
        handle: json::text(value, "by").map(str::to_owned),
        profile_url: json::text(value, "by").map(|by| format!("https://news.ycombinator.com/user?id={by}")),
        ..Author::default()
    };
    draft.created = at.map(|at| (at, TimeQuality::Platform));
    draft.refs.reply_to =
        json::id(value, "parent").or_else(|| json::id(value, "poll")).map(|p| out.mention_id(&p));
    draft.engagement = Some(Engagement {
        score: json::int(value, "score"),
        replies: json::int(value, "descendants"),
        ..snapshot(out.ctx.received_at)
    });
    draft.permalink = Some(format!("https://news.ycombinator.com/item?id={}", draft.native_id));
    if let Some(url) = json::text(value, "url") {
        entities::add_url(url, None, &mut draft.entities);
    }
    out.publish(draft);
}
