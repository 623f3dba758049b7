//! Trustpilot: review events, and pages of reviews.

use model::{Author, MentionOp, Rating, TimeQuality};
use serde_json::Value;

use crate::decoded::RefusalReason;
use crate::kinds::each_item;
use crate::out::{Draft, Notice, Out, Words};
use crate::{json, when};

pub(crate) fn document(value: &Value, out: &mut Out<'_>) {
    if let Some(list) = value.get("events").and_then(Value::as_array) {
        each_item(list, out, event);
    } else if let Some(list) = value.get("reviews").and_then(Value::as_array) {
        each_item(list, out, |item, out| review(MentionOp::Created, item, out));
    } else if value.get("eventName").is_some() {
        event(value, out);
    } else if value.get("stars").is_some() {
        review(MentionOp::Created, value, out);
    } else {
        out.refuse(RefusalReason::UnknownShape("no events and no reviews"));
    }
}

fn event(event: &Value, out: &mut Out<'_>) {
    let name = json::text(event, "eventName").unwrap_or_default();
    let Some(data) = event.get("eventData").filter(|d| d.is_object()) else {
        return out.refuse(RefusalReason::MissingField("eventData"));
    };
    match name.rsplit('-').next().unwrap_or_default() {
        _ if !name.contains("review") => out.ignore("other_event"),
        "created" => review(MentionOp::Created, data, out),
        "updated" => review(MentionOp::Edited, data, out),
        "deleted" => match json::id(data, "id") {
            Some(id) => out.notice(Notice::new(MentionOp::Deleted, id, "deleted")),
            None => out.refuse(RefusalReason::MissingField("eventData.id")),
        },
        _ => out.ignore("other_event"),
    }
}

fn review(op: MentionOp, data: &Value, out: &mut Out<'_>) {
    let Some(id) = json::id(data, "id") else { return out.refuse(RefusalReason::MissingField("id")) };
    let words = data.get("text").or(data.get("content")).and_then(Value::as_str).unwrap_or_default();
    let mut draft = Draft::new(op, id.clone(), Words::Plain(words));
    draft.title = json::text(data, "title");
    draft.rating = json::float(data, "stars").and_then(|s| Rating::new(s as f32, 5.0).ok());
    draft.author = Author {
        native_id: json::id_at(data, "/consumer/id"),
        display_name: json::text_at(data, "/consumer/name")
            .or(json::text_at(data, "/consumer/displayName"))
            .map(str::to_owned),
        ..Author::default()
    };
    draft.languages = json::text(data, "language").map(str::to_owned).into_iter().collect();
    let time = |name| json::text(data, name).and_then(when::parse);
    draft.created = time("createdAt").map(|at| (at, TimeQuality::Platform));
    draft.edited_at = time("updatedAt").filter(|_| op == MentionOp::Edited);
    draft.refs.place = json::id(data, "locationId");
    draft.permalink = Some(format!("https://www.trustpilot.com/reviews/{id}"));
    out.publish(draft);
    if let Some(answer) = data.get("companyReply").filter(|r| json::text(r, "text").is_some()) {
        let words = json::text(answer, "text").unwrap_or_default();
        let mut draft = Draft::new(MentionOp::Created, format!("{id}/reply"), Words::Plain(words));
        draft.author.is_staff = Some(true);
        draft.created =
            json::text(answer, "createdAt").and_then(when::parse).map(|at| (at, TimeQuality::Platform));
        draft.refs.root = Some(out.mention_id(&id));
        draft.refs.reply_to = draft.refs.root;
        out.publish(draft);
    }
}
