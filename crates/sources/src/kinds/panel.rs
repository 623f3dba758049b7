//! Notes of a customer panel: what critics and fans said when we asked them.

use model::{Author, BrandId, MentionOp, Rating, TimeQuality, Visibility};
use serde_json::Value;

use crate::decoded::RefusalReason;
use crate::kinds::each_item;
use crate::out::{Draft, Out, Words};
use crate::{json, when};

pub(crate) fn document(value: &Value, out: &mut Out<'_>) {
    if !value.is_object() {
        return out.refuse(RefusalReason::UnknownShape("needs a note"));
    }
    // A session may hold its notes, which then share its date, place and brand.
    match value.get("notes").and_then(Value::as_array) {
        Some(notes) => each_item(notes, out, |n, out| note(n, value, out)),
        None => note(value, &Value::Null, out),
    }
}

fn note(note: &Value, session: &Value, out: &mut Out<'_>) {
    let either = |name: &str| json::text(note, name).or(json::text(session, name));
    let words = ["text", "note", "quote", "said"].iter().find_map(|name| json::text(note, name));
    let Some(words) = words else { return out.refuse(RefusalReason::MissingField("text")) };
    let participant = json::id(note, "participant").or_else(|| json::id(note, "author"));
    let session_id = json::id(note, "session")
        .or_else(|| json::id(session, "session"))
        .or_else(|| json::id(session, "id"));
    let at = ["created_at", "date", "held_at"].iter().find_map(|name| either(name)).and_then(when::parse);
    let id = json::id(note, "id").unwrap_or_else(|| {
        let who = participant.as_deref().unwrap_or_default();
        let said = format!("{}\n{who}\n{words}", session_id.as_deref().unwrap_or_default());
        format!("blake3:{}", &blake3::hash(said.as_bytes()).to_hex()[..32])
    });
    let mut draft = Draft::new(MentionOp::Created, id, Words::Plain(words));
    draft.author = Author { native_id: participant, ..Author::default() };
    draft.title = either("topic").or(either("title"));
    draft.rating = json::float(note, "rating").and_then(|r| Rating::new(r as f32, 5.0).ok());
    draft.languages = either("lang").map(str::to_owned).into_iter().collect();
    draft.created = at.map(|at| (at, TimeQuality::Source));
    draft.refs.conversation = session_id;
    draft.refs.place = either("place").map(str::to_owned);
    draft.brands = either("brand").map(BrandId::slugify).into_iter().collect();
    draft.visibility = Visibility::Internal;
    out.publish(draft);
}
