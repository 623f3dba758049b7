//! Records for this crate's tests.

use std::collections::BTreeSet;

use bus::{Outgoing, Partition, Position, Received, Record, Topic};
use contracts::{envelope, ingest::v1 as wire};
use model::{
    Author, Dedup, Entities, EventId, Mention, MentionEvent, MentionId, MentionOp, Refs, Source, SourceKind,
    TenantId, Text, TimeQuality, Timestamp, Transport, Visibility,
};

/// A post with that native id and text.
pub(crate) fn created(native_id: &str, text: &str) -> MentionEvent {
    let mention_id = MentionId::of(SourceKind::Ndjson, "", native_id);
    let at = Timestamp::from_seconds(1_700_000_000);
    MentionEvent {
        event_id: EventId::derive(&[native_id, "created"]),
        mention_id,
        op: MentionOp::Created,
        native_id: native_id.into(),
        native_rev: String::new(),
        source: Source {
            kind: SourceKind::Ndjson,
            instance: String::new(),
            connector: "test".into(),
            transport: Transport::Webhook,
        },
        tenant: TenantId::slugify("main"),
        brands: vec![model::BrandId::slugify("acme")],
        by_brand: None,
        observed_at: at,
        ingested_at: at,
        flags: BTreeSet::new(),
        mention: Some(Mention {
            author: Author::default(),
            text: Text::truncated(text.into()).0,
            title: None,
            rating: None,
            languages_claimed: vec![],
            created_at: Some(at),
            created_at_quality: TimeQuality::Platform,
            edited_at: None,
            refs: Refs::default(),
            engagement: None,
            permalink: None,
            entities: Entities::default(),
            visibility: Visibility::Public,
            dedup: Dedup::default(),
        }),
        author: None,
        raw: None,
    }
}

/// The record ingest would write.
pub(crate) fn record(event: &MentionEvent) -> Record {
    let message = wire::MentionEvent::from(event);
    let sealed = envelope::seal(&event.event_id.to_string(), "redress/ingest", event.ingested_at, &message);
    let headers = sealed.headers.into_iter().collect();
    Record {
        key: contracts::id(event.mention_id.as_bytes()),
        value: Some(sealed.value),
        headers,
        at: event.ingested_at,
    }
}

/// That record on its way to `partition`.
pub(crate) fn outgoing(partition: i32, event: &MentionEvent) -> Outgoing {
    Outgoing { topic: Topic::Mentions, partition: Some(partition), record: record(event) }
}

/// That record as read from the log.
pub(crate) fn received(partition: i32, offset: i64, event: &MentionEvent) -> Received {
    let partition = Partition { topic: Topic::Mentions, number: partition };
    Received { position: Position { partition, offset }, record: record(event) }
}

/// What a source says about itself, as ingest writes it.
pub(crate) fn coverage(connector: &str, state: wire::CoverageState) -> Record {
    let at = Timestamp::from_seconds(1_700_000_000);
    let said = wire::Coverage {
        connector: connector.into(),
        watermark_us: at.as_micros(),
        state: state.into(),
        since_us: at.as_micros(),
        detail: "connection lost".into(),
    };
    let sealed = envelope::seal(connector, "redress/ingest", at, &said);
    let headers = sealed.headers.into_iter().collect();
    Record { key: connector.to_owned().into(), value: Some(sealed.value), headers, at }
}
