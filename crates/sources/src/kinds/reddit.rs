//! Reddit: things and listings of its API.

use model::{Author, Engagement, Flag, MentionOp, TimeQuality, Visibility};
use serde_json::Value;

use crate::decoded::RefusalReason;
use crate::out::{Draft, Notice, Out, Words, snapshot};
use crate::{json, when};

pub(crate) fn document(value: &Value, out: &mut Out<'_>) {
    match json::text(value, "kind") {
        Some("Listing") => {
            let children = value.pointer("/data/children").and_then(Value::as_array);
            if children.is_none_or(Vec::is_empty) {
                out.ignore("empty_listing");
            }
            children.into_iter().flatten().for_each(|child| document(child, out));
        }
        Some(kind @ ("t1" | "t3" | "t4")) => match value.get("data").filter(|d| d.is_object()) {
            Some(data) => thing(kind, data, out),
            None => out.refuse(RefusalReason::MissingField("data")),
        },
        Some("more") => out.ignore("more"),
        Some(_) => out.ignore("other_thing"),
        None => match value.pointer("/json/data/things").and_then(Value::as_array) {
            Some(things) => things.iter().for_each(|thing| document(thing, out)),
            None if value.pointer("/json/errors/0").is_some() || value.get("error").is_some() => {
                out.refuse(RefusalReason::ErrorAnswer);
            }
            None if value.is_object() => out.ignore("no_thing"),
            None => out.refuse(RefusalReason::UnknownShape("needs a thing or a listing")),
        },
    }
}

fn thing(kind: &str, data: &Value, out: &mut Out<'_>) {
    match one(kind, data, out) {
        Ok(()) => {}
        Err(reason) => out.refuse(reason),
    }
    if let Some(replies) = data.get("replies").filter(|r| r.is_object()) {
        document(replies, out);
    }
}

fn one(kind: &str, data: &Value, out: &mut Out<'_>) -> Result<(), RefusalReason> {
    let id = match (json::text(data, "name").filter(|n| n.starts_with(kind)), json::text(data, "id")) {
        (Some(name), _) => name.to_owned(),
        (None, Some(id)) => format!("{kind}_{id}"),
        (None, None) => return Err(RefusalReason::MissingField("name")),
    };
    let title = json::text(data, "title").or(json::text(data, "subject"));
    let body =
        data.get(if kind == "t3" { "selftext" } else { "body" }).and_then(Value::as_str).unwrap_or_default();
    let author_name = json::text(data, "author");
    // Nobody tells of a removal: the words are just gone when the thing is read again.
    let gone = match body {
        "[deleted]" => Some(MentionOp::Deleted),
        "[removed]" => Some(MentionOp::Hidden),
        _ if kind == "t3" && json::text(data, "removed_by_category").is_some() => Some(MentionOp::Hidden),
        _ => None,
    };
    if let Some(op) = gone {
        out.notice(Notice::new(op, id, op.name()));
        return Ok(());
    }
    if body.is_empty() && title.is_none() {
        return Err(RefusalReason::MissingField("body"));
    }
    let words = if body.is_empty() { title.unwrap_or_default() } else { body };
    // `edited` is false, or the time of the last edit.
    let edited_at = data.get("edited").and_then(Value::as_f64).and_then(when::from_epoch_seconds);
    let op = if edited_at.is_some() { MentionOp::Edited } else { MentionOp::Created };
    let mut draft = Draft::new(op, id, Words::Escaped(words));
    draft.title = title;
    draft.author = Author {
        native_id: json::text(data, "author_fullname").map(str::to_owned),
        handle: author_name.filter(|a| *a != "[deleted]").map(str::to_owned),
        profile_url: author_name
            .filter(|a| *a != "[deleted]")
            .map(|a| format!("https://www.reddit.com/user/{a}")),
        is_staff: json::text(data, "distinguished").map(|d| d == "admin" || d == "moderator"),
        ..Author::default()
    };
    if draft.author.handle.is_none() {
        draft.flags.insert(Flag::PartialAuthor);
    }
    let at = data.get("created_utc").and_then(Value::as_f64).and_then(when::from_epoch_seconds);
    draft.created = at.map(|at| (at, TimeQuality::Platform));
    draft.edited_at = edited_at;
    let to = |name: &str| json::text(data, name).filter(|p| p.contains('_')).map(|id| out.mention_id(id));
    draft.refs.root = to("link_id");
    draft.refs.reply_to = to("parent_id");
    draft.refs.repost_of = to("crosspost_parent");
    draft.refs.conversation = json::text(data, "link_id").map(str::to_owned);
    draft.refs.place = json::text(data, "subreddit").map(|s| format!("r/{s}"));
    draft.engagement = Some(Engagement {
        score: json::int(data, "score").filter(|_| json::flag(data, "score_hidden") != Some(true)),
        replies: json::int(data, "num_comments"),
        ..snapshot(out.ctx.received_at)
    });
    draft.permalink = json::text(data, "permalink").map(|p| format!("https://www.reddit.com{p}"));
    if json::flag(data, "over_18") == Some(true) {
        draft.flags.insert(Flag::Sensitive);
    }
    if kind == "t4" {
        draft.visibility = Visibility::Private;
    }
    if let Some(url) = json::text(data, "url").filter(|_| json::flag(data, "is_self") == Some(false)) {
        crate::entities::add_url(url, None, &mut draft.entities);
    }
    out.publish(draft);
    Ok(())
}
