//! A contact form: JSON, or what a browser posts.

use model::{Author, BrandId, MentionOp, Rating, TimeQuality, Visibility};
use serde_json::{Map, Value};

use crate::decoded::RefusalReason;
use crate::kinds::each_value;
use crate::out::{Draft, Out, Words};
use crate::{json, when};

/// More fields than this are no form.
const FIELDS_MAX: usize = 256;

pub(crate) fn record(bytes: &[u8], out: &mut Out<'_>) {
    if matches!(bytes.first(), Some(b'{' | b'[')) {
        return each_value(bytes, out, entry);
    }
    if !bytes.contains(&b'=') {
        return out.refuse(RefusalReason::UnknownShape("neither JSON nor form fields"));
    }
    let mut fields = Map::new();
    for (name, value) in url::form_urlencoded::parse(bytes).take(FIELDS_MAX) {
        out.repaired |= value.contains('\u{fffd}');
        fields.entry(name.into_owned()).or_insert_with(|| Value::String(value.into_owned()));
    }
    entry(&Value::Object(fields), out);
}

fn first<'v>(value: &'v Value, names: &[&str]) -> Option<&'v str> {
    names.iter().find_map(|name| json::text(value, name))
}

fn entry(value: &Value, out: &mut Out<'_>) {
    if !value.is_object() {
        return out.refuse(RefusalReason::UnknownShape("needs the fields of a form"));
    }
    let words = first(value, &["message", "text", "body", "comment", "comments", "description", "feedback"]);
    let Some(words) = words else { return out.refuse(RefusalReason::MissingField("message")) };
    let mail = first(value, &["email", "mail", "e-mail"]).map(str::to_lowercase);
    let at = ["created_at", "submitted_at", "date", "timestamp"].iter().find_map(|name| {
        match value.get(name)? {
            Value::String(text) => when::parse(text),
            number => when::from_number(number.as_f64()?),
        }
    });
    let id = ["id", "submission_id", "ticket", "reference"].iter().find_map(|name| json::id(value, name));
    let id = id.unwrap_or_else(|| {
        // A browser that sends twice sends the same.
        let said =
            format!("{}\n{}\n{words}", mail.as_deref().unwrap_or_default(), at.map_or(0, |a| a.as_seconds()));
        format!("blake3:{}", &blake3::hash(said.as_bytes()).to_hex()[..32])
    });
    let mut draft = Draft::new(MentionOp::Created, id, Words::Plain(words));
    draft.title = first(value, &["subject", "title", "topic"]);
    draft.author = Author {
        native_id: json::id(value, "customer_id").or(mail),
        display_name: first(value, &["name", "full_name"]).map(str::to_owned),
        ..Author::default()
    };
    draft.rating = json::float(value, "rating").and_then(|r| Rating::new(r as f32, 5.0).ok());
    draft.languages = first(value, &["lang", "language", "locale"]).map(str::to_owned).into_iter().collect();
    draft.created = at.map(|at| (at, TimeQuality::Source));
    draft.refs.conversation = json::id(value, "order").or_else(|| json::id(value, "order_id"));
    draft.refs.place = first(value, &["page", "url", "form"]).map(str::to_owned);
    draft.brands = first(value, &["brand", "company"]).map(BrandId::slugify).into_iter().collect();
    draft.visibility = Visibility::Private;
    out.publish(draft);
}
