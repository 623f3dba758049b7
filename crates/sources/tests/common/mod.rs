//! What the tests of this crate share.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::{Path, PathBuf};

use model::{MentionEvent, SourceKind, TenantId, Timestamp, Transport};
use sources::{CsvMap, DecodeContext, Decoded, StreamDecoder, decode, to_json};

/// The time of arrival in all tests.
pub(crate) const ARRIVAL: &str = "2026-11-22T00:00:00Z";

/// Decodes `body` as it would be decoded from a file.
pub(crate) fn decoded(kind: SourceKind, body: &[u8]) -> Decoded {
    decoded_with(kind, "", "", body)
}

/// The same with a column map (empty: none) and an instance.
pub(crate) fn decoded_with(kind: SourceKind, map: &str, instance: &str, body: &[u8]) -> Decoded {
    with_context(map, instance, |ctx| decode(kind, body, ctx))
}

/// The same in chunks of `step` bytes.
pub(crate) fn decoded_in_chunks(kind: SourceKind, body: &[u8], step: usize) -> Decoded {
    with_context("", "", |ctx| {
        let mut decoder = StreamDecoder::new(kind);
        let mut all = Decoded::default();
        for chunk in body.chunks(step) {
            all.append(decoder.push(chunk, ctx));
        }
        all.append(decoder.finish(ctx));
        all
    })
}

fn with_context(map: &str, instance: &str, run: impl FnOnce(&DecodeContext<'_>) -> Decoded) -> Decoded {
    let tenant = TenantId::parse("test").unwrap();
    let map = (!map.is_empty()).then(|| CsvMap::parse(map).unwrap());
    run(&DecodeContext {
        tenant: &tenant,
        connector: "",
        instance,
        transport: Transport::Backfill,
        received_at: Timestamp::parse_rfc3339(ARRIVAL).unwrap(),
        csv_map: map.as_ref(),
    })
}

/// What every event must hold, whatever it came from.
pub(crate) fn check_event(event: &MentionEvent) {
    let json = to_json(event);
    for field in ["mention_id", "native_id", "op", "author", "created_at", "observed_at"] {
        assert!(json.get(field).is_some(), "{field}");
    }
    if event.op.withdraws() {
        assert!(json.get("text").is_none(), "{}", event.op.name());
    }
    assert!(!event.native_id.is_empty() && !event.native_rev.is_empty());
    assert_eq!(event.tenant.as_str(), "test");
    if let Some(mention) = &event.mention {
        let latest = event.observed_at.plus_millis(5 * 60 * 1_000);
        assert!(mention.created_at.is_none_or(|at| at <= latest));
        let text = mention.text.as_str();
        assert!(!text.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "{text:?}");
    }
}

/// The folder of recordings, or none (and one printed line) when it is not beside the repository.
pub(crate) fn shared() -> Option<PathBuf> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    if place.is_dir() {
        return Some(place);
    }
    println!("skipped: no recordings beside the repository");
    None
}

/// Every file below a place, in order.
pub(crate) fn files(place: &Path) -> Vec<PathBuf> {
    if place.is_file() {
        return vec![place.to_owned()];
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(place).unwrap() {
        found.extend(files(&entry.unwrap().path()));
    }
    found.sort();
    found
}

/// The bytes of a file.
#[expect(clippy::disallowed_methods, reason = "a test may read its input")]
pub(crate) fn read(file: &Path) -> Vec<u8> {
    std::fs::read(file).unwrap()
}
