//! CloudEvents 1.0 in their JSON form, single or in a batch.

use base64::Engine as _;
use serde_json::Value;

use crate::decoded::RefusalReason;
use crate::kinds::ndjson::{self, Defaults};
use crate::out::Out;
use crate::{json, when};

pub(crate) fn document(event: &Value, out: &mut Out<'_>) {
    if !event.is_object() {
        return out.refuse(RefusalReason::UnknownShape("needs a CloudEvent"));
    }
    if json::text(event, "specversion") != Some("1.0") {
        let problem = "is not 1.0".to_owned();
        return out.refuse(RefusalReason::BadField { field: "specversion", problem });
    }
    for name in ["id", "source", "type"] {
        if json::text(event, name).is_none() {
            let missing = match name {
                "id" => "id",
                "source" => "source",
                _ => "type",
            };
            return out.refuse(RefusalReason::MissingField(missing));
        }
    }
    let id = json::text(event, "id").unwrap_or_default();
    let source = json::text(event, "source").unwrap_or_default();
    let kind = json::text(event, "datacontenttype").unwrap_or("application/json");
    let defaults = || Defaults {
        scope: Some(format!("{source}#")),
        id: Some(id.to_owned()),
        rev: Some(id.to_owned()),
        created_at: json::text(event, "time").and_then(when::parse),
    };
    match (event.get("data"), json::text(event, "data_base64")) {
        (Some(Value::Null) | None, None) => out.ignore("event_without_data"),
        (Some(Value::Null) | None, Some(encoded)) => {
            match base64::engine::general_purpose::STANDARD.decode(encoded) {
                Ok(bytes) => bytes_as_data(&bytes, kind, defaults(), out),
                Err(_) => out
                    .refuse(RefusalReason::BadField { field: "data_base64", problem: "is no base64".into() }),
            }
        }
        (Some(_), Some(_)) => {
            let problem = "stands beside data".to_owned();
            out.refuse(RefusalReason::BadField { field: "data_base64", problem });
        }
        (Some(data), None) => payload(data, defaults(), out),
    }
}

/// A string is the text; an object is read as our own lines are.
pub(crate) fn payload(data: &Value, defaults: Defaults, out: &mut Out<'_>) {
    match data {
        Value::String(text) => {
            let line = serde_json::json!({ "text": text });
            ndjson::value(&line, defaults, out);
        }
        Value::Object(_) => ndjson::value(data, defaults, out),
        _ => out.refuse(RefusalReason::BadField {
            field: "data",
            problem: "is neither text nor an object".into(),
        }),
    }
}

fn bytes_as_data(bytes: &[u8], kind: &str, defaults: Defaults, out: &mut Out<'_>) {
    let essence = kind.split(';').next().unwrap_or(kind).trim().to_ascii_lowercase();
    if essence.ends_with("/json") || essence.ends_with("+json") {
        match json::parse(bytes) {
            Ok(data) => payload(&data, defaults, out),
            Err(reason) => out.refuse(reason),
        }
    } else if essence.starts_with("text/") {
        out.repaired |= std::str::from_utf8(bytes).is_err();
        payload(&Value::String(String::from_utf8_lossy(bytes).into_owned()), defaults, out);
    } else {
        let problem = "is neither JSON nor text".to_owned();
        out.refuse(RefusalReason::BadField { field: "datacontenttype", problem });
    }
}
