//! Messages as JSON, from their descriptors: exactly as protobuf maps them, or the way people like to read.

use std::sync::LazyLock;

use prost::{Message, Name};
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage as _, SerializeOptions,
    Value as Field,
};
use serde_json::{Map, Value};

use crate::DESCRIPTOR_SET;

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(DESCRIPTOR_SET).expect("the build wrote a descriptor set that fits together")
});

/// The descriptors of all contracts.
pub fn descriptors() -> &'static DescriptorPool {
    &POOL
}

/// A message as protobuf maps it to JSON, with the field names of the `.proto` files.
pub fn exact<M: Message + Name>(message: &M) -> Value {
    let options = SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false);
    reflect(message)
        .serialize_with_options(serde_json::value::Serializer, &options)
        .expect("our messages have no types that JSON lacks")
}

/// A message for people: ids as UUIDs, times (`at_us`) as RFC 3339 under the name without its unit (`at`),
/// enum values in lower case without their prefix, other bytes in hex. Fields that can be absent are left
/// out when they are; everything else is always there.
pub fn readable<M: Message + Name>(message: &M) -> Value {
    readable_message(&reflect(message))
}

fn reflect<M: Message + Name>(message: &M) -> DynamicMessage {
    let descriptor = POOL.get_message_by_name(&M::full_name()).expect("every message is in the set");
    let mut dynamic = DynamicMessage::new(descriptor);
    dynamic.transcode_from(message).expect("the descriptor is this message's own");
    dynamic
}

fn readable_message(message: &DynamicMessage) -> Value {
    let mut object = Map::new();
    for field in message.descriptor().fields() {
        if field.supports_presence() && !message.has_field(&field) {
            continue;
        }
        let (name, value) = readable_field(&field, &message.get_field(&field));
        object.insert(name, value);
    }
    Value::Object(object)
}

fn readable_field(field: &FieldDescriptor, value: &Field) -> (String, Value) {
    if let (Some(name), Field::I64(micros)) = (field.name().strip_suffix("_us"), value) {
        return (name.to_owned(), model::Timestamp::from_micros(*micros).to_string().into());
    }
    (field.name().to_owned(), readable_value(&field.kind(), value))
}

fn readable_value(kind: &Kind, value: &Field) -> Value {
    match value {
        Field::Bool(v) => (*v).into(),
        Field::I32(v) => (*v).into(),
        Field::I64(v) => (*v).into(),
        Field::U32(v) => (*v).into(),
        Field::U64(v) => (*v).into(),
        // Through its shortest decimal, so that 0.1 does not read 0.10000000149.
        Field::F32(v) => v.to_string().parse::<f64>().map_or(Value::Null, Value::from),
        Field::F64(v) => (*v).into(),
        Field::String(v) => v.clone().into(),
        Field::Bytes(v) => readable_bytes(v).into(),
        Field::EnumNumber(v) => readable_enum(kind, *v),
        Field::Message(v) => readable_message(v),
        Field::List(list) => list.iter().map(|v| readable_value(kind, v)).collect(),
        Field::Map(map) => {
            let value_kind =
                kind.as_message().and_then(|m| m.get_field(2)).map_or(Kind::String, |f| f.kind());
            let mut entries: Vec<_> =
                map.iter().map(|(k, v)| (readable_key(k), readable_value(&value_kind, v))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().collect())
        }
    }
}

fn readable_key(key: &MapKey) -> String {
    match key {
        MapKey::Bool(v) => v.to_string(),
        MapKey::I32(v) => v.to_string(),
        MapKey::I64(v) => v.to_string(),
        MapKey::U32(v) => v.to_string(),
        MapKey::U64(v) => v.to_string(),
        MapKey::String(v) => v.clone(),
    }
}

fn readable_bytes(bytes: &[u8]) -> String {
    match model::MentionId::from_slice(bytes) {
        Ok(id) => id.to_string(),
        Err(_) => bytes.iter().map(|b| format!("{b:02x}")).collect(),
    }
}

fn readable_enum(kind: &Kind, number: i32) -> Value {
    let Some(descriptor) = kind.as_enum() else { return number.into() };
    let Some(value) = descriptor.get_value(number) else { return number.into() };
    let prefix = shouted(descriptor.name());
    let name = value.name().strip_prefix(&prefix).unwrap_or(value.name());
    name.to_ascii_lowercase().into()
}

/// `MentionOp` becomes `MENTION_OP_`.
fn shouted(name: &str) -> String {
    let mut shouted = String::with_capacity(name.len() + 4);
    for (i, c) in name.char_indices() {
        if c.is_ascii_uppercase() && i > 0 {
            shouted.push('_');
        }
        shouted.push(c.to_ascii_uppercase());
    }
    shouted.push('_');
    shouted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::v1::{Evidence, Reason};
    use crate::ingest::v1::{Engagement, MentionEvent};

    #[test]
    fn people_read_ids_times_and_names() {
        let event = MentionEvent {
            mention_id: crate::id(model::MentionId::derive(&["x"]).as_bytes()),
            op: crate::ingest::v1::MentionOp::AuthorDeleted.into(),
            observed_at_us: 1_500_000,
            ..MentionEvent::default()
        };
        let value = readable(&event);
        assert_eq!(value["mention_id"], model::MentionId::derive(&["x"]).to_string());
        assert_eq!(value["op"], "author_deleted");
        assert_eq!(value["observed_at"], "1970-01-01T00:00:01.5Z");
        assert!(value.get("by_brand").is_none() && value["flags"].as_array().unwrap().is_empty());
        assert_eq!(exact(&event)["op"], "MENTION_OP_AUTHOR_DELETED");
    }

    #[test]
    fn absent_is_not_zero_and_numbers_stay_short() {
        let value = readable(&Engagement { likes: Some(0), ..Engagement::default() });
        assert_eq!(value["likes"], 0);
        assert!(value.get("views").is_none());
        let value = readable(&Evidence { complaint: 0.1, ..Evidence::default() });
        assert_eq!(value["complaint"].to_string(), "0.1");
        let reason = Reason { numbers: [("b".into(), 2.0), ("a".into(), 1.5)].into(), ..Reason::default() };
        assert_eq!(readable(&reason)["numbers"].to_string(), r#"{"a":1.5,"b":2.0}"#);
    }
}
