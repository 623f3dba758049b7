//! From a mention's record to its verdict's: where the bytes lie, beside decoding into owned messages and back.

use std::hint::black_box;

use bytes::Bytes;
use contracts::classify::v1::VerdictEvent;
use contracts::ingest::v1 as wire;
use contracts::{Classified, Glance, carried_verdict, envelope};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use model::{
    MentionEvent, MentionId, Probability, ReplyActs, Sentiment, Severity, SeverityEstimate, Signals,
    Timestamp, Topic, TopicScore, Verdict, Why,
};
use prost::{Message as _, Name as _};

const AT: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// A reply on a social network, as ingest writes it.
fn written() -> Bytes {
    let id = |name: &str| Bytes::copy_from_slice(MentionId::derive(&[name]).as_bytes());
    let text = "Three weeks since you took my guitar and still no answer, how long does a refund take?";
    let author = wire::Author {
        native_id: Some("did:plc:ab12cd34ef56".into()),
        handle: Some("guitar.lover.example".into()),
        display_name: Some("Guitar Lover".into()),
        followers: Some(812),
        ..wire::Author::default()
    };
    let mention = wire::Mention {
        author: Some(author),
        text: text.into(),
        languages_claimed: vec!["en".into()],
        created_at_us: Some(AT.as_micros()),
        created_at_quality: wire::TimeQuality::Platform.into(),
        refs: Some(wire::Refs { root: Some(id("root")), reply_to: Some(id("one")), ..wire::Refs::default() }),
        engagement: Some(wire::Engagement {
            likes: Some(3),
            replies: Some(1),
            ..wire::Engagement::default()
        }),
        permalink: Some("https://social.example/profile/guitar.lover/post/3kabc".into()),
        hashtags: vec!["refund".into()],
        visibility: wire::Visibility::Public.into(),
        text_hash: 7,
        simhash: Some(9),
        ..wire::Mention::default()
    };
    let source = wire::Source {
        kind: "bluesky-jetstream".into(),
        instance: "social.example".into(),
        connector: "live".into(),
        transport: wire::Transport::Stream.into(),
    };
    let event = wire::MentionEvent {
        event_id: id("event"),
        mention_id: id("mention"),
        op: wire::MentionOp::Created.into(),
        native_id: "at://did:plc:ab12cd34ef56/app.bsky.feed.post/3kabc".into(),
        source: Some(source),
        tenant: "main".into(),
        brands: vec!["broken-guitar-air".into()],
        observed_at_us: AT.as_micros(),
        ingested_at_us: AT.as_micros(),
        mention: Some(mention),
        raw: Some(wire::RawRef { partition: 3, offset: 70_000, digest: id("raw") }),
        ..wire::MentionEvent::default()
    };
    event.encode_to_vec().into()
}

/// As classify says it of such a reply.
fn verdict() -> Verdict {
    let p = Probability::clamped;
    Verdict {
        language: "en".parse().expect("a language"),
        sentiment: Sentiment { negative: p(0.91), neutral: p(0.08), positive: p(0.01) },
        complaint: p(0.87),
        severity: SeverityEstimate {
            level: Severity::Accusation,
            probabilities: [0.13, 0.1, 0.2, 0.4, 0.17].map(p),
        },
        arousal: p(0.4),
        topics: vec![TopicScore { topic: Topic::slugify("refund"), probability: p(0.6) }],
        signals: Signals { unanswered: p(0.7), threat_leave: p(0.02), spam: p(0.001), ..Signals::default() },
        reply: ReplyActs { apology: p(0.01), ..ReplyActs::default() },
        sure: true,
        why: vec![Why { text: "still no answer".into(), weight: 1.4 }],
        model_version: "63f41ece6d95ba98".into(),
    }
}

fn mentions(c: &mut Criterion) {
    let bytes = written();
    let ce_type = wire::MentionEvent::full_name();
    let decoded = || {
        let event: wire::MentionEvent = envelope::open(Some(&ce_type), Some(&bytes)).expect("an event");
        MentionEvent::try_from(event).expect("valid")
    };
    let glanced = || Glance::open(Some(&ce_type), Some(&bytes)).expect("an event");
    let mut group = c.benchmark_group("a mention");
    group.bench_function("decoded", |b| b.iter(|| black_box(decoded())));
    group.bench_function("glanced at", |b| b.iter(|| black_box(glanced())));
    group.finish();

    let mut group = c.benchmark_group("its verdict");
    let (event, subject) = (decoded(), glanced().subject);
    group.bench_function("encoded", |b| {
        let anew = || Classified::new(event.clone(), Some(verdict()), AT);
        b.iter_batched(anew, |anew| VerdictEvent::from(anew).encode_to_vec(), BatchSize::SmallInput);
    });
    group.bench_function("carried", |b| {
        b.iter_batched(
            verdict,
            |verdict| carried_verdict(subject, &bytes, Some(&verdict), AT),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, mentions);
criterion_main!(benches);
