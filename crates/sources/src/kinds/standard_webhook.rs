//! Bodies of Standard Webhooks: `{"type":"...","timestamp":"...","data":{...}}`.

use serde_json::Value;

use crate::decoded::RefusalReason;
use crate::kinds::cloudevents::payload;
use crate::kinds::ndjson::Defaults;
use crate::out::Out;
use crate::{json, when};

pub(crate) fn document(value: &Value, out: &mut Out<'_>) {
    let Some(kind) = json::text(value, "type") else {
        return out.refuse(RefusalReason::MissingField("type"));
    };
    let Some(data) = value.get("data").filter(|d| !d.is_null()) else {
        return if kind.contains("ping") || kind.contains("test") {
            out.ignore("ping");
        } else {
            out.refuse(RefusalReason::MissingField("data"));
        };
    };
    // The delivery's own id is in a header and only good for recognising a repeated delivery.
    let defaults =
        Defaults { created_at: json::text(value, "timestamp").and_then(when::parse), ..Defaults::default() };
    payload(data, defaults, out);
}
