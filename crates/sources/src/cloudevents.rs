//! How CloudEvents travel over HTTP: structured, batched, or in binary mode with the attributes in
//! headers. [`structured`] turns binary mode into the JSON form that [`crate::decode`] reads.

use base64::Engine as _;
use serde_json::{Map, Value};

use crate::decoded::RefusalReason;
use crate::json;

/// More `ce-` headers than this are no event.
const ATTRIBUTES_MAX: usize = 128;

/// How one HTTP request carries its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `application/cloudevents+json`: the body is one event.
    Structured,
    /// `application/cloudevents-batch+json`: the body is an array of events.
    Batch,
    /// Attributes in `ce-` headers, the body is the data.
    Binary,
}

/// The mode of a request by its headers; none when it carries no CloudEvents.
pub fn mode<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<Mode> {
    let mut binary = false;
    for (name, value) in headers {
        if name.eq_ignore_ascii_case("content-type") {
            let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            match essence.as_str() {
                "application/cloudevents+json" => return Some(Mode::Structured),
                "application/cloudevents-batch+json" => return Some(Mode::Batch),
                _ => {}
            }
        }
        binary |= name.eq_ignore_ascii_case("ce-specversion");
    }
    binary.then_some(Mode::Binary)
}

/// The JSON form of an event in binary mode. Header values are percent-decoded as the HTTP binding
/// says; a body that is JSON becomes `data`, text becomes a string, anything else `data_base64`.
///
/// # Errors
/// When an attribute stands twice, there are too many, or a JSON body is broken.
pub fn structured<'a>(
    headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    body: &[u8],
) -> Result<Vec<u8>, RefusalReason> {
    let mut event = Map::new();
    let mut kind = None;
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        if name == "content-type" {
            kind = Some(value.to_owned());
        }
        let Some(attribute) = name.strip_prefix("ce-") else { continue };
        if event.len() == ATTRIBUTES_MAX {
            return Err(RefusalReason::TooMany { limit: ATTRIBUTES_MAX });
        }
        if event.insert(attribute.to_owned(), percent_decoded(value).into()).is_some() {
            let problem = "stands twice in the headers".to_owned();
            return Err(RefusalReason::BadField { field: "ce- attribute", problem });
        }
    }
    let essence =
        kind.as_deref().and_then(|k| k.split(';').next()).unwrap_or_default().trim().to_ascii_lowercase();
    if essence.ends_with("/json") || essence.ends_with("+json") || (essence.is_empty() && !body.is_empty()) {
        event.insert("data".into(), json::parse(body)?);
    } else if essence.starts_with("text/") {
        event.insert("data".into(), String::from_utf8_lossy(body).into_owned().into());
    } else if !body.is_empty() {
        let encoded = base64::engine::general_purpose::STANDARD.encode(body);
        event.insert("data_base64".into(), encoded.into());
    }
    if let Some(kind) = kind {
        event.insert("datacontenttype".into(), kind.into());
    }
    serde_json::to_vec(&Value::Object(event)).map_err(|_| RefusalReason::Malformed {
        format: "CloudEvent",
        problem: "cannot be written as JSON".into(),
    })
}

fn percent_decoded(value: &str) -> String {
    let value = value.trim();
    if !value.contains('%') {
        return value.to_owned();
    }
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&b, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|h| std::str::from_utf8(h).ok());
        match hex.and_then(|h| u8::from_str_radix(h, 16).ok()).filter(|_| b == b'%') {
            Some(byte) => {
                out.push(byte);
                rest = &after[2..];
            }
            None => {
                out.push(b);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(headers: &[(&str, &str)], body: &str) -> Result<Value, RefusalReason> {
        structured(headers.iter().copied(), body.as_bytes()).map(|bytes| json::parse(&bytes).unwrap())
    }

    #[test]
    fn mode_is_told_by_the_headers() {
        for (name, value, expected) in [
            ("Content-Type", "application/cloudevents+json; charset=utf-8", Some(Mode::Structured)),
            ("content-type", "application/cloudevents-batch+json", Some(Mode::Batch)),
            ("CE-SpecVersion", "1.0", Some(Mode::Binary)),
            ("content-type", "application/json", None),
        ] {
            assert_eq!(mode([(name, value)]), expected);
        }
    }

    #[test]
    fn binary_mode_becomes_the_json_form() {
        let headers = [("ce-id", "1"), ("CE-Source", "/a%20b"), ("content-type", "application/json")];
        let event = built(&headers, "{\"text\":\"hi\"}").unwrap();
        assert_eq!((&event["source"], &event["data"]["text"]), (&"/a b".into(), &"hi".into()));
        let event = built(&[("ce-id", "1"), ("content-type", "text/plain")], "hi").unwrap();
        assert_eq!(event["data"], "hi");
        let event = built(&[("ce-id", "1"), ("content-type", "image/png")], "hi").unwrap();
        assert_eq!(event["data_base64"], "aGk=");
        assert!(built(&[("ce-id", "1"), ("Ce-Id", "2")], "").is_err());
        assert!(built(&[("ce-id", "1"), ("content-type", "application/json")], "{").is_err());
    }
}
