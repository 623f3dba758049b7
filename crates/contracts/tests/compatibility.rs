//! The contracts never break those who read them: compared field by field with the committed descriptors.
//!
//! `REDRESS_BLESS=1 cargo test -p contracts` takes additions into `proto/redress.binpb`; `REDRESS_BLESS=breaking`
//! takes everything.

// Helpers of tests may panic like tests; clippy exempts only functions marked as tests.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use prost::Message as _;
use prost_reflect::{
    DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, ServiceDescriptor,
};
use prost_types::FileDescriptorSet;

fn baseline_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../proto/redress.binpb")
}

/// The current descriptors without comments and positions, which may change freely.
fn current() -> FileDescriptorSet {
    let mut set = FileDescriptorSet::decode(contracts::DESCRIPTOR_SET).unwrap();
    for file in &mut set.file {
        file.source_code_info = None;
    }
    set
}

fn pool(set: &FileDescriptorSet) -> DescriptorPool {
    DescriptorPool::from_file_descriptor_set(set.clone()).unwrap()
}

#[test]
fn contracts_are_compatible_with_the_committed_ones_and_these_are_up_to_date() {
    let bless = std::env::var("REDRESS_BLESS").unwrap_or_default();
    let current = current();
    let baseline = fs::read(baseline_path()).unwrap_or_default();
    let baseline = FileDescriptorSet::decode(baseline.as_slice()).unwrap();
    let breaking = broken(&pool(&baseline), &pool(&current));
    assert!(
        breaking.is_empty() || bless == "breaking",
        "breaks those who read the contracts; add a new field or a v2 instead:\n{}",
        breaking.join("\n")
    );
    if !bless.is_empty() {
        fs::write(baseline_path(), current.encode_to_vec()).unwrap();
        return;
    }
    // What was added has to be in the baseline, or breaking it later would go unseen.
    let missing = broken(&pool(&current), &pool(&baseline));
    assert!(
        missing.is_empty(),
        "proto/redress.binpb lacks additions; run REDRESS_BLESS=1 cargo test -p contracts:\n{}",
        missing.join("\n")
    );
}

#[test]
fn each_way_to_break_a_reader_is_named() {
    type Change = Box<dyn Fn(&mut FileDescriptorSet)>;
    let mut cases: Vec<(&str, Change)> = Vec::new();
    cases.push((
        "redress.ingest.v1.Rating.max (2): removed without reserving its number and name",
        Box::new(|set| message(set, "Rating").field.retain(|f| f.name() != "max")),
    ));
    cases.push((
        "redress.ingest.v1.Rating.max (2): now called 'best'",
        Box::new(|set| field(set, "Rating", "max").name = Some("best".into())),
    ));
    cases.push((
        "redress.ingest.v1.Rating.max (2): was float, is int32",
        Box::new(|set| {
            field(set, "Rating", "max").set_type(prost_types::field_descriptor_proto::Type::Int32);
        }),
    ));
    cases.push((
        "redress.ingest.v1.Rating.max (2): was one, is repeated",
        Box::new(|set| {
            field(set, "Rating", "max").set_label(prost_types::field_descriptor_proto::Label::Repeated);
        }),
    ));
    cases.push((
        "redress.ingest.v1.Rating: removed",
        Box::new(|set| {
            file(set).message_type.retain(|m| m.name() != "Rating");
            message(set, "Mention").field.retain(|f| f.name() != "rating");
            message(set, "Mention").reserved_name.push("rating".into());
        }),
    ));
    cases.push((
        "redress.ingest.v1.Transport.TRANSPORT_POLL (3): removed without reserving its number and name",
        Box::new(|set| {
            let found = file(set).enum_type.iter_mut().find(|e| e.name() == "Transport").unwrap();
            found.value.retain(|v| v.name() != "TRANSPORT_POLL");
        }),
    ));
    cases.push((
        "redress.ingest.v1.IngestService.Publish: removed",
        Box::new(|set| {
            let services =
                set.file.iter_mut().find(|f| f.name().ends_with("ingest/v1/service.proto")).unwrap();
            services.service[0].method.retain(|m| m.name() != "Publish");
        }),
    ));
    cases.push((
        "redress.ingest.v1.IngestService.PublishStream: was a stream of requests, is one",
        Box::new(|set| {
            let services =
                set.file.iter_mut().find(|f| f.name().ends_with("ingest/v1/service.proto")).unwrap();
            services.service[0].method[1].client_streaming = Some(false);
        }),
    ));
    for (expected, change) in cases {
        let mut changed = current();
        change(&mut changed);
        let found = broken(&pool(&current()), &pool(&changed));
        assert!(found.iter().any(|line| line == expected), "expected '{expected}', found {found:#?}");
    }
}

#[test]
fn additions_and_reserved_removals_break_nobody() {
    let mut changed = current();
    let rating = message(&mut changed, "Rating");
    let mut added = rating.field[0].clone();
    added.name = Some("added".into());
    added.json_name = None;
    added.number = Some(77);
    rating.field.push(added);
    rating.field.retain(|f| f.name() != "max");
    rating.reserved_name.push("max".into());
    rating.reserved_range.push(prost_types::descriptor_proto::ReservedRange { start: Some(2), end: Some(3) });
    assert_eq!(broken(&pool(&current()), &pool(&changed)), Vec::<String>::new());
    // Taking the reservation back does.
    let reused = broken(&pool(&changed), &pool(&current()));
    assert!(reused.iter().any(|l| l.contains("Rating: number 2 is no longer reserved")), "{reused:#?}");
}

fn file(set: &mut FileDescriptorSet) -> &mut prost_types::FileDescriptorProto {
    set.file.iter_mut().find(|f| f.name().ends_with("ingest/v1/events.proto")).unwrap()
}

fn message<'a>(set: &'a mut FileDescriptorSet, name: &str) -> &'a mut prost_types::DescriptorProto {
    file(set).message_type.iter_mut().find(|m| m.name() == name).unwrap()
}

fn field<'a>(
    set: &'a mut FileDescriptorSet,
    name: &str,
    field: &str,
) -> &'a mut prost_types::FieldDescriptorProto {
    message(set, name).field.iter_mut().find(|f| f.name() == field).unwrap()
}

/// One line for each thing of `old` that a reader of it can no longer rely on in `new`.
fn broken(old: &DescriptorPool, new: &DescriptorPool) -> Vec<String> {
    let mut lines = Vec::new();
    for message in old.all_messages() {
        match new.get_message_by_name(message.full_name()) {
            Some(now) => broken_message(&message, &now, &mut lines),
            None => lines.push(format!("{}: removed", message.full_name())),
        }
    }
    for old in old.all_enums() {
        match new.get_enum_by_name(old.full_name()) {
            Some(now) => broken_enum(&old, &now, &mut lines),
            None => lines.push(format!("{}: removed", old.full_name())),
        }
    }
    for service in old.services() {
        match new.get_service_by_name(service.full_name()) {
            Some(now) => broken_service(&service, &now, &mut lines),
            None => lines.push(format!("{}: removed", service.full_name())),
        }
    }
    lines
}

fn broken_message(old: &MessageDescriptor, new: &MessageDescriptor, lines: &mut Vec<String>) {
    for field in old.fields() {
        let place = format!("{} ({})", field.full_name(), field.number());
        match new.get_field(field.number()) {
            Some(now) => {
                lines.extend(broken_field(&field, &now).into_iter().map(|what| format!("{place}: {what}")));
            }
            None => {
                let is_reserved = new.reserved_ranges().any(|range| range.contains(&field.number()))
                    && new.reserved_names().any(|name| name == field.name());
                if !is_reserved {
                    lines.push(format!("{place}: removed without reserving its number and name"));
                }
            }
        }
    }
    for number in old.reserved_ranges().flatten() {
        if !new.reserved_ranges().any(|range| range.contains(&number)) {
            lines.push(format!("{}: number {number} is no longer reserved", old.full_name()));
        }
    }
}

fn broken_field(old: &FieldDescriptor, new: &FieldDescriptor) -> Vec<String> {
    let mut lines = Vec::new();
    if old.name() != new.name() {
        lines.push(format!("now called '{}'", new.name()));
    }
    let (was, is) = (kind(&old.kind()), kind(&new.kind()));
    if was != is {
        lines.push(format!("was {was}, is {is}"));
    }
    let (was, is) = (shape(old), shape(new));
    if was != is {
        lines.push(format!("was {was}, is {is}"));
    }
    lines
}

fn kind(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(found) => found.full_name().to_owned(),
        scalar => format!("{scalar:?}").to_ascii_lowercase(),
    }
}

fn shape(field: &FieldDescriptor) -> String {
    match field.containing_oneof() {
        _ if field.is_map() => "a map".into(),
        _ if field.is_list() => "repeated".into(),
        Some(one) if !one.is_synthetic() => format!("part of '{}'", one.name()),
        Some(_) => "one that may be absent".into(),
        None => "one".into(),
    }
}

fn broken_enum(old: &EnumDescriptor, new: &EnumDescriptor, lines: &mut Vec<String>) {
    for value in old.values() {
        let place = format!("{}.{} ({})", old.full_name(), value.name(), value.number());
        match new.get_value(value.number()) {
            Some(now) if now.name() == value.name() => {}
            Some(now) => lines.push(format!("{place}: now called '{}'", now.name())),
            None => {
                let is_reserved = new.reserved_ranges().any(|range| range.contains(&value.number()))
                    && new.reserved_names().any(|name| name == value.name());
                if !is_reserved {
                    lines.push(format!("{place}: removed without reserving its number and name"));
                }
            }
        }
    }
}

fn broken_service(old: &ServiceDescriptor, new: &ServiceDescriptor, lines: &mut Vec<String>) {
    for method in old.methods() {
        let place = format!("{}.{}", old.full_name(), method.name());
        let Some(now) = new.methods().find(|m| m.name() == method.name()) else {
            lines.push(format!("{place}: removed"));
            continue;
        };
        let amount =
            |stream: bool, what: &str| if stream { format!("a stream of {what}s") } else { "one".into() };
        for (was, is, what) in [
            (method.is_client_streaming(), now.is_client_streaming(), "request"),
            (method.is_server_streaming(), now.is_server_streaming(), "response"),
        ] {
            if was != is {
                lines.push(format!("{place}: was {}, is {}", amount(was, what), amount(is, what)));
            }
        }
        for (was, is) in [(method.input(), now.input()), (method.output(), now.output())] {
            if was.full_name() != is.full_name() {
                lines.push(format!("{place}: was {}, is {}", was.full_name(), is.full_name()));
            }
        }
    }
}
