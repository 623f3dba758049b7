//! Intercom: notifications about conversations.

use model::{Author, MentionOp, TimeQuality, Timestamp, Visibility};
use serde_json::Value;

use crate::decoded::RefusalReason;
use crate::kinds::each_item;
use crate::out::{Draft, Notice, Out, Words};
use crate::{json, when};

pub(crate) fn document(value: &Value, out: &mut Out<'_>) {
    match json::text(value, "type") {
        Some("notification_event") => notification(value, out),
        Some("conversation.list") => {
            each_item(json::items(value, "conversations"), out, |c, out| conversation(c, true, out));
        }
        Some("conversation") => conversation(value, true, out),
        Some("error.list") => out.refuse(RefusalReason::ErrorAnswer),
        Some(_) => out.ignore("other_object"),
        None => out.refuse(RefusalReason::MissingField("type")),
    }
}

fn notification(value: &Value, out: &mut Out<'_>) {
    let topic = json::text(value, "topic").unwrap_or_default();
    if topic == "ping" {
        return out.ignore("ping");
    }
    let Some(item) = value.pointer("/data/item").filter(|i| i.is_object()) else {
        return out.refuse(RefusalReason::MissingField("data.item"));
    };
    if json::text(item, "type") != Some("conversation") {
        return out.ignore("other_topic");
    }
    // Only the delivery that begins a conversation is about its first message.
    let first = topic.ends_with(".created")
        || topic.ends_with("operator.replied") && item.get("conversation_parts").is_none();
    conversation(item, first, out);
}

fn conversation(item: &Value, with_first: bool, out: &mut Out<'_>) {
    let Some(id) = json::id(item, "id") else {
        return out.refuse(RefusalReason::MissingField("data.item.id"));
    };
    let before = out.told();
    let first = item.get("source").or(item.get("conversation_message")).filter(|f| f.is_object());
    let first_id = first.and_then(|f| json::id(f, "id")).map(|m| format!("{id}/{m}"));
    if let (Some(first), Some(first_id)) = (first, &first_id) {
        let redacted = json::flag(first, "redacted") == Some(true);
        if with_first || redacted {
            part(first, item, first_id.clone(), &id, None, out);
        }
    }
    for one in
        item.pointer("/conversation_parts/conversation_parts").and_then(Value::as_array).into_iter().flatten()
    {
        match json::id(one, "id") {
            Some(part_id) => part(one, item, format!("{id}/{part_id}"), &id, first_id.as_deref(), out),
            None => out.refuse(RefusalReason::MissingField("conversation_parts.id")),
        }
    }
    if before == out.told() {
        out.ignore("no_words");
    }
}

fn part(part: &Value, item: &Value, id: String, conversation: &str, root: Option<&str>, out: &mut Out<'_>) {
    let time = |v: &Value, name| json::int(v, name).and_then(|t| when::from_number(t as f64));
    if json::flag(part, "redacted") == Some(true) {
        // The words were already replaced by a notice.
        let at = time(part, "updated_at").or_else(|| time(item, "updated_at"));
        return out.notice(Notice { witnessed_at: at, ..Notice::new(MentionOp::Deleted, id, "redacted") });
    }
    let Some(words) = json::text(part, "body") else { return };
    let mut draft = Draft::new(MentionOp::Created, id, Words::Html(words));
    let who = part.get("author").unwrap_or(&Value::Null);
    let kind = json::text(who, "type").unwrap_or_default();
    draft.author = Author {
        native_id: json::id(who, "id"),
        display_name: json::text(who, "name").map(str::to_owned),
        is_staff: Some(matches!(kind, "admin" | "team" | "bot")),
        is_bot: Some(kind == "bot"),
        ..Author::default()
    };
    draft.title = json::text(part, "subject");
    let at: Option<Timestamp> = time(part, "created_at").or_else(|| time(item, "created_at"));
    draft.created = at.map(|at| (at, TimeQuality::Platform));
    draft.refs.root = root.map(|r| out.mention_id(r));
    draft.refs.reply_to = draft.refs.root;
    draft.refs.conversation = Some(conversation.to_owned());
    draft.permalink = json::text_at(item, "/links/conversation_web").map(str::to_owned);
    draft.visibility = if json::text(part, "part_type") == Some("note") {
        Visibility::Internal
    } else {
        Visibility::Private
    };
    out.publish(draft);
}
