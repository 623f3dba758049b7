//! The comments of the `.proto` files are the documentation: none is missing, and every enum can be unset.

// Helpers of tests may panic like tests; clippy exempts only functions marked as tests.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use prost::Message as _;
use prost_types::FileDescriptorSet;

#[test]
fn every_message_field_enum_service_and_call_is_documented() {
    let mut bare = Vec::new();
    for file in FileDescriptorSet::decode(contracts::DESCRIPTOR_SET).unwrap().file {
        let info = file.source_code_info.clone().unwrap();
        let documented: BTreeSet<Vec<i32>> = info
            .location
            .iter()
            .filter(|l| !l.leading_comments().trim().is_empty() || !l.trailing_comments().trim().is_empty())
            .map(|l| l.path.clone())
            .collect();
        let mut want = |path: &[usize], name: String| {
            let path: Vec<i32> = path.iter().map(|p| i32::try_from(*p).unwrap()).collect();
            if !documented.contains(&path) {
                bare.push(format!("{}: {name}", file.name()));
            }
        };
        // The numbers are those of the fields of FileDescriptorProto and below.
        for (m, message) in file.message_type.iter().enumerate() {
            want(&[4, m], message.name().into());
            for (f, field) in message.field.iter().enumerate() {
                want(&[4, m, 2, f], format!("{}.{}", message.name(), field.name()));
            }
        }
        for (e, found) in file.enum_type.iter().enumerate() {
            want(&[5, e], found.name().into());
        }
        for (s, service) in file.service.iter().enumerate() {
            want(&[6, s], service.name().into());
            for (c, call) in service.method.iter().enumerate() {
                want(&[6, s, 2, c], format!("{}.{}", service.name(), call.name()));
            }
        }
    }
    assert!(bare.is_empty(), "without a comment:\n{}", bare.join("\n"));
}

#[test]
fn zero_of_every_enum_means_that_the_writer_did_not_say() {
    for found in contracts::json::descriptors().all_enums() {
        let zero = found.get_value(0).unwrap();
        assert!(zero.name().ends_with("_UNSPECIFIED"), "{}", zero.full_name());
    }
}
