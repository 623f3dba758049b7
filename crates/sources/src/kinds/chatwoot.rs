//! Chatwoot: webhooks about messages.

use model::{Author, MentionOp, TimeQuality, Timestamp, Visibility};
use serde_json::Value;

use crate::decoded::RefusalReason;
use crate::out::{Draft, Notice, Out, Words};
use crate::{json, when};

pub(crate) fn document(value: &Value, out: &mut Out<'_>) {
    let op = match json::text(value, "event") {
        Some("message_created") => MentionOp::Created,
        Some("message_updated") => MentionOp::Edited,
        Some(_) => return out.ignore("other_event"),
        None => return out.refuse(RefusalReason::MissingField("event")),
    };
    let Some(id) = json::id(value, "id") else { return out.refuse(RefusalReason::MissingField("id")) };
    if value.pointer("/content_attributes/deleted").and_then(Value::as_bool) == Some(true) {
        return out.notice(Notice::new(MentionOp::Deleted, id, "deleted"));
    }
    // Names in webhooks, numbers in the API.
    let incoming = match value.get("message_type") {
        Some(Value::String(name)) if name == "incoming" => true,
        Some(Value::String(name)) if name == "outgoing" => false,
        Some(Value::Number(n)) if n.as_i64() == Some(0) => true,
        Some(Value::Number(n)) if n.as_i64() == Some(1) => false,
        None => true,
        _ => return out.ignore("activity"),
    };
    let Some(words) = json::text(value, "content") else {
        // A picture without words is a message too; anything else says nothing.
        if json::items(value, "attachments").is_empty() {
            return out.ignore("message_without_words");
        }
        return publish(value, op, id, "", incoming, out);
    };
    publish(value, op, id, words, incoming, out);
}

fn publish(value: &Value, op: MentionOp, id: String, words: &str, incoming: bool, out: &mut Out<'_>) {
    let mut draft = Draft::new(op, id, Words::Plain(words));
    let sender = value.get("sender").unwrap_or(&Value::Null);
    draft.author = Author {
        native_id: json::id(sender, "id")
            .map(|id| format!("{}/{id}", if incoming { "contact" } else { "agent" })),
        display_name: json::text(sender, "name").map(str::to_owned),
        is_staff: Some(!incoming),
        is_bot: json::text(sender, "type").map(|t| t == "agent_bot"),
        ..Author::default()
    };
    let at = value.get("created_at").and_then(|at| match at {
        Value::String(text) => when::parse(text),
        at => at.as_f64().and_then(when::from_epoch_seconds),
    });
    draft.created = at.map(|at: Timestamp| (at, TimeQuality::Platform));
    let conversation =
        json::id_at(value, "/conversation/display_id").or_else(|| json::id_at(value, "/conversation/id"));
    draft.refs.conversation = conversation;
    draft.refs.place = json::text_at(value, "/inbox/name").map(str::to_owned);
    draft.visibility =
        if json::flag(value, "private") == Some(true) { Visibility::Internal } else { Visibility::Private };
    out.publish(draft);
}
