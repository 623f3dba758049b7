//! Instagram: webhooks, and pages of the Graph API.

use model::{Author, Engagement, Flag, Media, MentionOp, TimeQuality, Timestamp};
use serde_json::Value;

use crate::decoded::RefusalReason;
use crate::kinds::{each_item, facebook};
use crate::out::{Draft, Out, Words, snapshot};
use crate::{json, when};

/// Deeper than this no page nests its answers.
const DEPTH_MAX: usize = 8;

pub(crate) fn document(value: &Value, out: &mut Out<'_>) {
    if value.get("object").is_some() && value.get("entry").is_some() {
        facebook::webhook(value, out, change);
    } else if value.get("error").is_some() {
        out.refuse(RefusalReason::ErrorAnswer);
    } else {
        graph(value, None, out, 0);
    }
}

fn change(field: &str, value: &Value, page: &Value, at: Option<Timestamp>, out: &mut Out<'_>) {
    match field {
        "comments" | "live_comments" => {}
        // Names only the ids; the words have to be fetched.
        "mentions" => return out.ignore("mention_to_fetch"),
        _ => return out.ignore("other_field"),
    }
    let Some(id) = json::id(value, "id") else { return out.refuse(RefusalReason::MissingField("id")) };
    let Some(words) = value.get("text").and_then(Value::as_str) else {
        return out.refuse(RefusalReason::MissingField("text"));
    };
    let mut draft = Draft::new(MentionOp::Created, id, Words::Plain(words));
    draft.author = author(value);
    draft.author.is_staff = draft.author.native_id.as_ref().map(|id| Some(id) == json::id_of(page).as_ref());
    draft.created = at.map(|at| (at, TimeQuality::Platform));
    let media = json::id_at(value, "/media/id");
    draft.refs.root = media.as_deref().map(|m| out.mention_id(m));
    draft.refs.reply_to = json::id(value, "parent_id").map(|p| out.mention_id(&p)).or(draft.refs.root);
    draft.refs.conversation = media;
    draft.refs.place = json::id_of(page);
    out.publish(draft);
}

fn author(value: &Value) -> Author {
    let handle = json::text_at(value, "/from/username").or(json::text(value, "username"));
    Author {
        native_id: json::id_at(value, "/from/id").or_else(|| json::id_at(value, "/owner/id")),
        handle: handle.map(str::to_owned),
        profile_url: handle.map(|h| format!("https://www.instagram.com/{h}/")),
        ..Author::default()
    }
}

fn graph(value: &Value, parent: Option<&str>, out: &mut Out<'_>, depth: usize) {
    if let Some(list) = value.get("data").and_then(Value::as_array) {
        if list.is_empty() {
            out.ignore("empty_page");
        }
        return each_item(list, out, |item, out| graph(item, parent, out, depth));
    }
    if !value.is_object() {
        return out.refuse(RefusalReason::UnknownShape("needs an object"));
    }
    let nested =
        value.get("business_discovery").or(value.get("mentioned_comment")).or(value.get("mentioned_media"));
    if let Some(inner) = nested.filter(|_| depth < DEPTH_MAX) {
        return graph(inner, None, out, depth + 1);
    }
    let id = json::id(value, "id");
    let words = value.get("text").or(value.get("caption")).and_then(Value::as_str);
    match words {
        Some(words) => post(value, words, parent, out),
        None => out.ignore("no_words"),
    }
    for answers in ["replies", "comments", "media"] {
        if let Some(list) = value.get(answers).filter(|l| depth < DEPTH_MAX && l.get("data").is_some()) {
            graph(list, id.as_deref().filter(|_| answers != "media"), out, depth + 1);
        }
    }
}

fn post(value: &Value, words: &str, parent: Option<&str>, out: &mut Out<'_>) {
    let Some(id) = json::id(value, "id") else { return out.refuse(RefusalReason::MissingField("id")) };
    let mut draft = Draft::new(MentionOp::Created, id, Words::Plain(words));
    draft.author = author(value);
    if draft.author.handle.is_none() {
        draft.flags.insert(Flag::PartialAuthor);
    }
    draft.created =
        json::text(value, "timestamp").and_then(when::parse).map(|at| (at, TimeQuality::Platform));
    let parent = json::id(value, "parent_id").or_else(|| parent.map(str::to_owned));
    let media = json::id_at(value, "/media/id");
    draft.refs.root = media.as_deref().map(|m| out.mention_id(m));
    draft.refs.reply_to = parent.map(|p| out.mention_id(&p)).or(draft.refs.root);
    draft.refs.conversation = media;
    draft.engagement = Some(Engagement {
        likes: json::int(value, "like_count"),
        replies: json::int(value, "comments_count"),
        ..snapshot(out.ctx.received_at)
    });
    draft.permalink = json::text(value, "permalink").map(str::to_owned);
    if let Some(kind) = json::text(value, "media_type") {
        let url = json::text(value, "media_url").map(str::to_owned);
        draft.entities.media.push(Media { kind: kind.to_lowercase(), url, alt: None });
    }
    out.publish(draft);
}
