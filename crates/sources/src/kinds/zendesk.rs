//! Zendesk: events about tickets and their comments.

use model::{Author, MentionOp, TimeQuality, Visibility};
use serde_json::Value;

use crate::decoded::RefusalReason;
use crate::kinds::ndjson;
use crate::out::{Draft, Notice, Out, Words};
use crate::{json, when};

pub(crate) fn document(value: &Value, out: &mut Out<'_>) {
    let Some(kind) = json::text(value, "type").and_then(|t| t.strip_prefix("zen:event-type:")) else {
        // Triggers send whatever their author wrote into the template.
        if value.get("text").is_some() {
            return ndjson::value(value, ndjson::Defaults::default(), out);
        }
        return out.refuse(RefusalReason::UnknownShape("no Zendesk event and no field 'text'"));
    };
    let detail = value.get("detail").unwrap_or(&Value::Null);
    let event = value.get("event").unwrap_or(&Value::Null);
    let ticket = json::id(detail, "id")
        .or_else(|| json::text(value, "subject")?.strip_prefix("zen:ticket:").map(str::to_owned));
    let withdraw = |op: MentionOp, id: Option<String>, out: &mut Out<'_>| {
        let Some(id) = id else { return out.refuse(RefusalReason::MissingField("event.comment.id")) };
        let at = json::text(value, "time").and_then(when::parse);
        let rev = json::id(value, "id").unwrap_or_else(|| op.name().to_owned());
        out.notice(Notice { witnessed_at: at, ..Notice::new(op, id, &rev) });
    };
    let comment_id = || {
        json::id_at(event, "/comment/id")
            .or_else(|| json::id(event, "comment_id"))
            .map(|id| format!("comment/{id}"))
    };
    match kind {
        "ticket.comment_added" => comment(value, detail, event, ticket, out),
        "ticket.created" => created(value, detail, ticket, out),
        "ticket.comment_redacted" => withdraw(MentionOp::Deleted, comment_id(), out),
        "ticket.comment_made_private" => withdraw(MentionOp::Hidden, comment_id(), out),
        "ticket.soft_deleted" | "ticket.permanently_deleted" => {
            withdraw(MentionOp::Deleted, ticket.map(|t| format!("ticket/{t}")), out);
        }
        _ => out.ignore("other_event"),
    }
}

fn created(value: &Value, detail: &Value, ticket: Option<String>, out: &mut Out<'_>) {
    let Some(ticket) = ticket else { return out.refuse(RefusalReason::MissingField("detail.id")) };
    let Some(words) = json::text(detail, "description").or(json::text(detail, "subject")) else {
        // The first comment brings the words.
        return out.ignore("ticket_without_words");
    };
    let mut draft = Draft::new(MentionOp::Created, format!("ticket/{ticket}"), Words::Plain(words));
    draft.native_rev = json::id(value, "id");
    draft.title = json::text(detail, "subject");
    draft.author.native_id = json::id(detail, "requester_id");
    let at = json::text(detail, "created_at").or(json::text(value, "time")).and_then(when::parse);
    draft.created = at.map(|at| (at, TimeQuality::Platform));
    draft.refs.conversation = Some(ticket);
    draft.refs.place = json::text_at(detail, "/via/channel").map(str::to_owned);
    draft.visibility = Visibility::Private;
    out.publish(draft);
}

fn comment(value: &Value, detail: &Value, event: &Value, ticket: Option<String>, out: &mut Out<'_>) {
    let comment = event.get("comment").unwrap_or(&Value::Null);
    let Some(id) = json::id(comment, "id") else {
        return out.refuse(RefusalReason::MissingField("event.comment.id"));
    };
    let Some(words) = json::text(comment, "body").or(json::text(comment, "plain_body")) else {
        return out.refuse(RefusalReason::MissingField("event.comment.body"));
    };
    let mut draft = Draft::new(MentionOp::Created, format!("comment/{id}"), Words::Plain(words));
    draft.native_rev = json::id(value, "id");
    let who = comment.get("author").unwrap_or(&Value::Null);
    draft.author = Author {
        native_id: json::id(who, "id"),
        display_name: json::text(who, "name").map(str::to_owned),
        is_staff: json::flag(who, "is_staff"),
        ..Author::default()
    };
    draft.title = json::text(detail, "subject");
    let at = json::text(value, "time").and_then(when::parse);
    draft.created = at.map(|at| (at, TimeQuality::Platform));
    draft.refs.root = ticket.as_deref().map(|t| out.mention_id(&format!("ticket/{t}")));
    draft.refs.reply_to = draft.refs.root;
    draft.refs.conversation = ticket;
    draft.visibility = if json::flag(comment, "is_public") == Some(false) {
        Visibility::Internal
    } else {
        Visibility::Private
    };
    out.publish(draft);
}
