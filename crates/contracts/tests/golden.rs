//! Bytes written years ago still read as what they meant: one record of each event, every field set.
//!
//! `REDRESS_BLESS=1 cargo test -p contracts` writes records of new fields and events to `golden/`.

// Helpers of tests may panic like tests; clippy exempts only functions marked as tests.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use contracts::json;
use prost::{Message, Name};
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage as _, Value,
};

macro_rules! golden {
    ($($test:ident: $message:ty;)*) => {
        $(#[test]
        fn $test() {
            check::<$message>();
        })*
    };
}

golden! {
    mention_event: contracts::ingest::v1::MentionEvent;
    raw_record: contracts::ingest::v1::RawRecord;
    dead_letter: contracts::ingest::v1::DeadLetter;
    erasure: contracts::ingest::v1::Erasure;
    coverage: contracts::ingest::v1::Coverage;
    verdict_event: contracts::classify::v1::VerdictEvent;
    feedback: contracts::classify::v1::Feedback;
    tally_event: contracts::alert::v1::TallyEvent;
    thread_outlook: contracts::alert::v1::ThreadOutlook;
    episode_event: contracts::alert::v1::EpisodeEvent;
    case_event: contracts::response::v1::CaseEvent;
}

fn check<M: Message + Name + Default>() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden");
    let bytes_path = folder.join(format!("{}.binpb", M::full_name()));
    let json_path = folder.join(format!("{}.json", M::full_name()));
    let descriptor = json::descriptors().get_message_by_name(&M::full_name()).unwrap();

    if std::env::var_os("REDRESS_BLESS").is_some() {
        // Through the generated type, which keeps maps in order.
        let message = M::decode(filled(&descriptor).encode_to_vec().as_slice()).unwrap();
        let (bytes, value) = (message.encode_to_vec(), json::exact(&message));
        fs::create_dir_all(&folder).unwrap();
        fs::write(&bytes_path, bytes).unwrap();
        fs::write(&json_path, serde_json::to_string_pretty(&value).unwrap() + "\n").unwrap();
    }

    let help = "run REDRESS_BLESS=1 cargo test -p contracts";
    let bytes = fs::read(&bytes_path).unwrap_or_else(|e| panic!("{}: {e}; {help}", M::full_name()));
    let meant: serde_json::Value = serde_json::from_slice(&fs::read(&json_path).unwrap()).unwrap();
    let read = M::decode(bytes.as_slice()).unwrap();
    assert_eq!(json::exact(&read), meant, "old bytes mean something else now");
    assert_eq!(read.encode_to_vec(), bytes, "the same value has other bytes now");

    let reflected = DynamicMessage::decode(descriptor, bytes.as_slice()).unwrap();
    let mut unset = Vec::new();
    find_unset(&reflected, &mut unset);
    assert!(unset.is_empty(), "not in the golden record: {}; {help}", unset.join(", "));
}

/// A message with every field set to something that depends on its name and number only.
fn filled(descriptor: &MessageDescriptor) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        let value = match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                let value = scalar(&entry.get_field(2).unwrap());
                Value::Map(
                    [(MapKey::String("b".into()), value.clone()), (MapKey::String("a".into()), value)].into(),
                )
            }
            _ if field.is_list() => Value::List(vec![scalar(&field), scalar(&field)]),
            _ => scalar(&field),
        };
        message.set_field(&field, value);
    }
    message
}

fn scalar(field: &FieldDescriptor) -> Value {
    let number = field.number();
    match field.kind() {
        Kind::Message(message) => Value::Message(filled(&message)),
        Kind::Enum(found) => Value::EnumNumber(found.values().nth(1).unwrap().number()),
        Kind::String => Value::String(format!("{} ü", field.name())),
        Kind::Bytes => Value::Bytes((0..16).map(|i| (i * 7) as u8 ^ number as u8).collect::<Vec<_>>().into()),
        Kind::Bool => Value::Bool(true),
        Kind::Double => Value::F64(f64::from(number) + 0.25),
        Kind::Float => Value::F32(number as f32 + 0.5),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(number as i32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(1_700_000_000_000_000 + i64::from(number)),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(number),
        Kind::Uint64 | Kind::Fixed64 => Value::U64((1 << 53) - u64::from(number)),
    }
}

fn find_unset(message: &DynamicMessage, unset: &mut Vec<String>) {
    for field in message.descriptor().fields() {
        let alternative_is_set = field
            .containing_oneof()
            .is_some_and(|one| !one.is_synthetic() && one.fields().any(|other| message.has_field(&other)));
        if !message.has_field(&field) && !alternative_is_set {
            unset.push(field.full_name().to_owned());
        }
        match &*message.get_field(&field) {
            Value::Message(inner) if message.has_field(&field) => find_unset(inner, unset),
            Value::List(list) => list.iter().filter_map(Value::as_message).for_each(|m| find_unset(m, unset)),
            _ => {}
        }
    }
}
