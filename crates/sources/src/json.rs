//! JSON as the sources send it, read strictly and looked into gently.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::decoded::RefusalReason;

/// Reads one document. A name that stands twice in an object with two values is refused: two readers
/// could understand two different things. Depth is bounded by `serde_json` at 128.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, RefusalReason> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Unique.deserialize(&mut reader).map_err(|e| refusal(&e))?;
    reader.end().map_err(|e| refusal(&e))?;
    Ok(value)
}

/// Reads one document into a type of its own.
pub(crate) fn typed<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, RefusalReason> {
    serde_json::from_slice(bytes).map_err(|e| refusal(&e))
}

/// A copy in which bytes that are no UTF-8 and halves of surrogate pairs are U+FFFD; none when there
/// is nothing to replace.
pub(crate) fn repair(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(bytes);
    let mut changed = matches!(text, std::borrow::Cow::Owned(_));
    let b = text.as_bytes();
    let unit = |at: usize| -> Option<u16> {
        let digits = b.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut out = Vec::with_capacity(b.len());
    let mut i = 0;
    while i < b.len() {
        if b[i] != b'\\' {
            out.push(b[i]);
            i += 1;
            continue;
        }
        match (unit(i), unit(i + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => {
                out.extend_from_slice(&b[i..i + 12]);
                i += 12;
            }
            (Some(0xd800..=0xdfff), _) => {
                out.extend_from_slice(b"\\ufffd");
                changed = true;
                i += 6;
            }
            _ => {
                let end = (i + 2).min(b.len());
                out.extend_from_slice(&b[i..end]);
                i = end;
            }
        }
    }
    changed.then_some(out)
}

/// What the parser says, without repeating anything that stands in the input.
pub(crate) fn refusal(error: &serde_json::Error) -> RefusalReason {
    if error.is_eof() {
        return RefusalReason::CutOff;
    }
    let said = error.to_string();
    let said = said.rsplit_once(" at line ").map_or(said.as_str(), |(before, _)| before);
    let problem =
        if let Some(wrong) = said.strip_prefix("invalid type: ").or(said.strip_prefix("invalid value: ")) {
            let found = wrong.split([' ', ',']).next().unwrap_or("something");
            let wanted = wrong.rsplit_once(", expected ").map_or("something else", |(_, w)| w);
            format!("found {found} instead of {wanted}")
        } else if said.starts_with("unknown variant") {
            "unknown variant".to_owned()
        } else {
            said.chars().take(120).collect()
        };
    let problem = match error.column() {
        0 => problem,
        column => format!("{problem} at column {column}"),
    };
    RefusalReason::Malformed { format: "JSON", problem }
}

/// A text field; absent when it is not text or empty.
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str().filter(|s| !s.is_empty())
}

/// A text field somewhere below, by JSON pointer.
pub(crate) fn text_at<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str().filter(|s| !s.is_empty())
}

/// An id: text or a whole number, never a float, because a float may be another post's id.
pub(crate) fn id(value: &Value, name: &str) -> Option<String> {
    value.get(name).and_then(id_of)
}

/// An id somewhere below, by JSON pointer.
pub(crate) fn id_at(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer).and_then(id_of)
}

/// See [`id`].
pub(crate) fn id_of(value: &Value) -> Option<String> {
    match value {
        Value::String(s) if !s.is_empty() && s.len() <= 2_048 => Some(s.clone()),
        Value::Number(n) if n.is_u64() || n.is_i64() => Some(n.to_string()),
        _ => None,
    }
}

/// A whole number, also when it is written as text.
pub(crate) fn int(value: &Value, name: &str) -> Option<i64> {
    int_of(value.get(name)?)
}

/// A whole number somewhere below, by JSON pointer.
pub(crate) fn int_at(value: &Value, pointer: &str) -> Option<i64> {
    int_of(value.pointer(pointer)?)
}

fn int_of(value: &Value) -> Option<i64> {
    match value {
        Value::Number(n) => n.as_i64().or_else(|| n.as_f64().filter(|f| f.fract() == 0.0).map(|f| f as i64)),
        Value::String(s) => s.parse().ok(),
        _ => None,
    }
}

/// A number, also when it is written as text; always finite.
pub(crate) fn float(value: &Value, name: &str) -> Option<f64> {
    let number = match value.get(name)? {
        Value::Number(n) => n.as_f64(),
        Value::String(s) => s.parse().ok(),
        _ => None,
    };
    number.filter(|n: &f64| n.is_finite())
}

/// A yes-or-no field.
pub(crate) fn flag(value: &Value, name: &str) -> Option<bool> {
    value.get(name)?.as_bool()
}

/// The elements of a field that is an array; empty otherwise.
pub(crate) fn items<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

struct Unique;

impl<'de> DeserializeSeed<'de> for Unique {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }
    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }
    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element_seed(Unique)? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value_seed(Unique)?;
            match object.get(&name) {
                Some(before) if *before != value => {
                    return Err(A::Error::custom("a name stands twice in one object, with two values"));
                }
                _ => object.insert(name, value),
            };
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubled_names_depth_bombs_and_rubbish_are_refused_without_repeating_them() {
        let bomb = "[".repeat(100_000);
        for bad in ["{\"a\":1,\"a\":2}", &bomb, "{\"secret\":tru}", "[1] x", "\"\\ud800\""] {
            let refused = parse(bad.as_bytes()).unwrap_err().to_string();
            assert!(!refused.contains("secret"), "{refused}");
        }
        assert_eq!(parse(b"{\"a\":"), Err(RefusalReason::CutOff));
    }

    #[test]
    fn type_errors_do_not_repeat_the_text() {
        let error = typed::<Vec<u8>>(b"\"my secret, expected nothing\"").unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn half_surrogates_and_broken_bytes_are_replaced_and_pairs_stay() {
        let repaired = repair(br#"["\ud83d\ude00 \ud83d \\ud83d x"]"#).unwrap();
        assert_eq!(parse(&repaired).unwrap()[0], "😀 \u{fffd} \\ud83d x");
        assert_eq!(parse(&repair(b"[\"a\xffb\"]").unwrap()).unwrap()[0], "a\u{fffd}b");
        assert_eq!(repair(br#"["\ud83d\ude00"]"#), None);
    }

    #[test]
    fn an_id_is_never_a_float() {
        let value =
            parse(b"{\"a\":12345678901234567,\"b\":\"7\",\"c\":1.5,\"d\":5.7e17,\"e\":\"\"}").unwrap();
        assert_eq!(id(&value, "a").as_deref(), Some("12345678901234567"));
        assert_eq!(id(&value, "b").as_deref(), Some("7"));
        for name in ["c", "d", "e", "f"] {
            assert_eq!(id(&value, name), None, "{name}");
        }
    }
}
