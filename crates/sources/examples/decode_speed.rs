//! Decodes one file many times, for timing and profiling from outside:
//! `time cargo run --release -p sources --example decode_speed -- KIND FILE TIMES [MAP]`.

use model::{SourceKind, TenantId, Timestamp, Transport};
use sources::{CsvMap, DecodeContext, decode};

#[expect(clippy::disallowed_methods, reason = "an example may read its input")]
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (Some(kind), Some(file), Some(times)) = (args.get(1), args.get(2), args.get(3)) else {
        eprintln!("usage: decode_speed KIND FILE TIMES [MAP]");
        return;
    };
    let kind: SourceKind = match kind.parse() {
        Ok(kind) => kind,
        Err(error) => return eprintln!("{error}"),
    };
    let body = match std::fs::read(file) {
        Ok(body) => body,
        Err(error) => return eprintln!("cannot read {file}: {error}"),
    };
    let map = args.get(4).and_then(|map| CsvMap::parse(map).ok());
    let tenant = TenantId::slugify("test");
    let ctx = DecodeContext {
        tenant: &tenant,
        connector: "",
        instance: "",
        transport: Transport::Backfill,
        received_at: Timestamp::from_seconds(1_800_000_000),
        csv_map: map.as_ref(),
    };
    let (mut records, mut events) = (0, 0);
    for _ in 0..times.parse().unwrap_or(1) {
        let decoded = decode(kind, &body, &ctx);
        records += decoded.records;
        events += decoded.events.len();
    }
    println!("{records} records, {events} events");
}
