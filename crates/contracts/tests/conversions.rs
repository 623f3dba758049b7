//! What is valid survives the wire; what is not is refused by name.

// Helpers of tests may panic like tests; clippy exempts only functions marked as tests.
#![allow(clippy::unwrap_used)]

use std::borrow::Cow;

use bytes::Bytes;
use contracts::classify::v1::VerdictEvent;
use contracts::envelope;
use contracts::ingest::v1 as wire;
use contracts::{CLASSIFIED_TEXT_CHARS_MAX, Classified, Glance, Subject, Unreadable, carried_verdict};
use model::{
    Author, AuthorKey, BrandId, Dedup, Engagement, EngagementKind, Entities, EventId, Flag, Language, Media,
    Mention, MentionEvent, MentionId, MentionOp, Mentioned, Probability, Rating, RawRef, Refs, ReplyActs,
    Sentiment, Severity, SeverityEstimate, Signals, Source, SourceKind, TenantId, Text, TimeQuality,
    Timestamp, Topic, TopicScore, Transport, UrlEntity, Verdict, Visibility, Why,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use prost::Message as _;

proptest! {
    #[test]
    fn every_valid_mention_event_survives_the_wire(event in mention_events()) {
        let bytes = wire::MentionEvent::from(&event).encode_to_vec();
        let read = wire::MentionEvent::decode(bytes.as_slice()).unwrap();
        prop_assert_eq!(MentionEvent::try_from(read).unwrap(), event);
    }

    #[test]
    fn every_valid_verdict_survives_the_wire(event in mention_events(), verdict in of(verdicts())) {
        let classified = Classified::new(event.clone(), verdict, Timestamp::from_seconds(7));
        let bytes = VerdictEvent::from(&classified).encode_to_vec();
        let read = Classified::try_from(VerdictEvent::decode(bytes.as_slice()).unwrap()).unwrap();
        prop_assert_eq!(read.thread_root, event.thread_root());
        prop_assert_eq!(read, classified);
    }

    #[test]
    fn what_is_carried_on_as_bytes_is_what_would_be_written_anew(
        event in mention_events(), verdict in of(verdicts()), is_long: bool,
    ) {
        let mut event = event;
        if is_long && let Some(mention) = &mut event.mention {
            mention.text = Text::new(format!("{}{}", mention.text.as_str(), "ü".repeat(1_990))).unwrap();
        }
        let bytes = wire::MentionEvent::from(&event).encode_to_vec();
        let at = Timestamp::from_seconds(7);
        let carried = carried_verdict(subject(&event), &bytes, verdict.as_ref(), at).unwrap();
        let anew = VerdictEvent::from(Classified::new(event, verdict, at));
        prop_assert_eq!(carried, anew.encode_to_vec());
    }

    #[test]
    fn a_glance_sees_what_decoding_sees_and_copies_no_text(event in mention_events()) {
        let bytes = wire::MentionEvent::from(&event).encode_to_vec().into();
        let glance = Glance::open(Some(MENTION_EVENT), Some(&bytes)).unwrap();
        let is_borrowed = glance.words.as_ref().is_none_or(|words| matches!(words.text, Cow::Borrowed(_)));
        prop_assert!(is_borrowed, "what ingest writes is read where it lies");
        prop_assert_eq!(glance, Glance::from(event));
    }

    #[test]
    fn a_glance_refuses_what_decoding_refuses_and_for_the_same_reason(
        event in mention_events(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = wire::MentionEvent::from(&event).encode_to_vec();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        glanced_as_decoded(bytes)?;
    }

    #[test]
    fn fields_that_stand_twice_are_merged_in_a_glance_too(one in mention_events(), other in mention_events()) {
        let (one, other) = (wire::MentionEvent::from(&one), wire::MentionEvent::from(&other));
        glanced_as_decoded([one.encode_to_vec(), other.encode_to_vec()].concat())?;
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = carried_verdict(subject(&simple("x")), &bytes, None, Timestamp::EPOCH);
        glanced_as_decoded(bytes.clone())?;
        if let Ok(read) = VerdictEvent::decode(bytes.as_slice()) {
            let _ = Classified::try_from(read);
        }
    }
}

#[test]
fn what_is_wrong_is_named() {
    fn refused(change: impl FnOnce(&mut wire::MentionEvent)) -> String {
        let mut event = wire::MentionEvent::from(&simple("text"));
        change(&mut event);
        MentionEvent::try_from(event).unwrap_err().to_string()
    }
    let cases = [
        (refused(|e| e.event_id = "short".into()), "event id: needs 16 bytes, has 5"),
        (refused(|e| e.mention_id.clear()), "mention id: needs 16 bytes, has 0"),
        (refused(|e| e.op = 0), "op: is missing"),
        (refused(|e| e.op = 99), "op: is missing or unknown"),
        (refused(|e| e.source = None), "source: is missing"),
        (refused(|e| e.source.as_mut().unwrap().kind = "fax".into()), "source kind: unknown kind 'fax'"),
        (refused(|e| e.source.as_mut().unwrap().transport = 0), "source.transport: is missing"),
        (refused(|e| e.tenant.clear()), "tenant: needs 1 to 64"),
        (refused(|e| e.brands = vec!["No Slug".into()]), "brand: needs"),
        (refused(|e| e.mention = None), "mention: a created event needs its text"),
        (refused(|e| e.op = wire::MentionOp::Deleted.into()), "mention: a deleted event carries no text"),
        (refused(|e| e.mention.as_mut().unwrap().visibility = 0), "mention.visibility: is missing"),
        (refused(|e| e.mention.as_mut().unwrap().created_at_quality = 0), "mention.created_at_quality"),
        (refused(|e| e.mention.as_mut().unwrap().text = "x".repeat(70_000)), "text: has 70000 bytes"),
        (
            refused(|e| e.mention.as_mut().unwrap().rating = Some(wire::Rating { value: 6.0, max: 5.0 })),
            "rating: needs",
        ),
        (
            refused(|e| e.raw = Some(wire::RawRef { digest: "x".into(), ..wire::RawRef::default() })),
            "raw.digest: needs 16 bytes, has 1",
        ),
    ];
    for (found, expected) in cases {
        assert!(found.starts_with(expected), "expected '{expected}', found '{found}'");
    }
}

#[test]
fn flags_of_a_newer_writer_are_left_out() {
    let mut event = wire::MentionEvent::from(&simple("x"));
    event.flags = vec!["truncated".into(), "invented_later".into()];
    let read = MentionEvent::try_from(event).unwrap();
    assert_eq!(read.flags.into_iter().collect::<Vec<_>>(), [Flag::Truncated]);
}

#[test]
fn numbers_that_are_no_probabilities_are_refused() {
    let classified = Classified::new(simple("x"), Some(calm()), Timestamp::EPOCH);
    for bad in [f32::NAN, -0.1, 1.5] {
        let mut event = VerdictEvent::from(&classified);
        event.verdict.as_mut().unwrap().complaint = bad;
        let error = Classified::try_from(event).unwrap_err().to_string();
        assert!(error.starts_with("complaint: needs a number in 0..1"), "{error}");
    }
    let mut event = VerdictEvent::from(&classified);
    event.verdict.as_mut().unwrap().severity.as_mut().unwrap().probabilities.pop();
    let error = Classified::try_from(event).unwrap_err().to_string();
    assert_eq!(error, "severity.probabilities: needs 5 numbers, has 4");
    let mut event = VerdictEvent::from(&classified);
    event.event_id = vec![0; 16].into();
    assert!(Classified::try_from(event).unwrap_err().to_string().contains("differs"));
}

#[test]
fn a_long_text_travels_on_cut_at_its_limit() {
    let long = "ü".repeat(CLASSIFIED_TEXT_CHARS_MAX + 1);
    for (text, chars) in [(long.as_str(), CLASSIFIED_TEXT_CHARS_MAX), (&long[..4_000], 2_000), ("ü", 1)] {
        let classified = Classified::new(simple(text), None, Timestamp::EPOCH);
        assert_eq!(classified.event.mention.unwrap().text.as_str().chars().count(), chars);
    }
}

#[test]
fn what_this_build_does_not_know_travels_on() {
    let mut bytes = wire::MentionEvent::from(&simple("x")).encode_to_vec();
    let unknown = [0xfa, 0x7d, 2, b'h', b'i'];
    bytes.extend(unknown);
    let carried = carried_verdict(subject(&simple("x")), &bytes, None, Timestamp::EPOCH).unwrap();
    assert!(carried.windows(unknown.len()).any(|part| part == unknown));
    let read = VerdictEvent::decode(carried.as_slice()).unwrap();
    assert_eq!(
        Classified::try_from(read).unwrap().event,
        Classified::new(simple("x"), None, Timestamp::EPOCH).event
    );
}

const MENTION_EVENT: &str = "redress.ingest.v1.MentionEvent";

fn glanced_as_decoded(bytes: Vec<u8>) -> Result<(), TestCaseError> {
    let bytes = Bytes::from(bytes);
    let decoded = envelope::open::<wire::MentionEvent>(Some(MENTION_EVENT), Some(&bytes))
        .map_err(Unreadable::from)
        .and_then(|event| Ok(Glance::from(MentionEvent::try_from(event)?)));
    prop_assert_eq!(Glance::open(Some(MENTION_EVENT), Some(&bytes)), decoded);
    Ok(())
}

fn subject(event: &MentionEvent) -> Subject {
    Glance::from(event.clone()).subject
}

fn simple(text: &str) -> MentionEvent {
    MentionEvent {
        event_id: EventId::derive(&["e"]),
        mention_id: MentionId::derive(&["m"]),
        op: MentionOp::Created,
        native_id: "1".into(),
        native_rev: String::new(),
        source: Source {
            kind: SourceKind::Ndjson,
            instance: String::new(),
            connector: "test".into(),
            transport: Transport::Backfill,
        },
        tenant: TenantId::slugify("t"),
        brands: vec![BrandId::slugify("acme")],
        by_brand: None,
        observed_at: Timestamp::from_seconds(5),
        ingested_at: Timestamp::from_seconds(6),
        flags: [].into(),
        mention: Some(Mention {
            author: Author::default(),
            text: Text::new(text).unwrap(),
            title: None,
            rating: None,
            languages_claimed: vec![],
            created_at: None,
            created_at_quality: TimeQuality::Missing,
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

fn calm() -> Verdict {
    Verdict {
        language: Language::unknown(),
        sentiment: Sentiment::default(),
        complaint: Probability::ZERO,
        severity: SeverityEstimate::default(),
        arousal: Probability::ZERO,
        topics: vec![],
        signals: Signals::default(),
        reply: ReplyActs::default(),
        sure: true,
        why: vec![],
        model_version: "test".into(),
    }
}

fn text() -> impl Strategy<Value = String> {
    any::<String>()
}

fn slug() -> impl Strategy<Value = String> {
    "[a-z0-9_.-]{1,64}"
}

fn timestamps() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_micros)
}

fn mention_ids() -> impl Strategy<Value = MentionId> {
    any::<[u8; 16]>().prop_map(|b| MentionId::from_slice(&b).unwrap())
}

fn probability() -> impl Strategy<Value = Probability> {
    (0.0_f32..=1.0).prop_map(Probability::clamped)
}

fn authors() -> impl Strategy<Value = Author> {
    let flags = (of(any::<bool>()), of(any::<bool>()), of(any::<bool>()));
    (of(text()), of(text()), of(text()), of(any::<u64>()), flags, of(text()), of(timestamps())).prop_map(
        |(native_id, handle, display_name, followers, flags, profile_url, observed_at)| Author {
            native_id,
            handle,
            display_name,
            followers,
            is_verified: flags.0,
            is_staff: flags.1,
            is_bot: flags.2,
            profile_url,
            observed_at,
        },
    )
}

fn refs() -> impl Strategy<Value = Refs> {
    let ids = (of(mention_ids()), of(mention_ids()), of(mention_ids()), of(mention_ids()));
    (ids, of(text()), of(text())).prop_map(|(ids, conversation, place)| Refs {
        root: ids.0,
        reply_to: ids.1,
        quote_of: ids.2,
        repost_of: ids.3,
        conversation,
        place,
    })
}

fn engagements() -> impl Strategy<Value = Engagement> {
    let kinds = select(vec![EngagementKind::Snapshot, EngagementKind::Delta]);
    (proptest::array::uniform6(of(any::<i64>())), timestamps(), kinds).prop_map(|(n, as_of, kind)| {
        Engagement {
            likes: n[0],
            reposts: n[1],
            replies: n[2],
            quotes: n[3],
            views: n[4],
            score: n[5],
            as_of,
            kind,
        }
    })
}

fn entities() -> impl Strategy<Value = Entities> {
    let mentions =
        vec((text(), of(text())).prop_map(|(handle, native_id)| Mentioned { handle, native_id }), 0..3);
    let urls = vec((text(), of(text())).prop_map(|(url, expanded)| UrlEntity { url, expanded }), 0..3);
    let media =
        vec((text(), of(text()), of(text())).prop_map(|(kind, url, alt)| Media { kind, url, alt }), 0..3);
    (mentions, vec(text(), 0..3), urls, media).prop_map(|(mentions, hashtags, urls, media)| Entities {
        mentions,
        hashtags,
        urls,
        media,
    })
}

fn mentions() -> impl Strategy<Value = Mention> {
    let rating = of((0.0_f32..5.0).prop_map(|v| Rating::new(v, 5.0).unwrap()));
    let quality =
        select(vec![TimeQuality::Source, TimeQuality::Platform, TimeQuality::Claimed, TimeQuality::Missing]);
    let visibility =
        select(vec![Visibility::Public, Visibility::Unlisted, Visibility::Private, Visibility::Internal]);
    let dedup =
        (any::<u64>(), of(any::<u64>())).prop_map(|(text_hash, simhash)| Dedup { text_hash, simhash });
    let words = (text(), of(text()), rating, vec(text(), 0..3));
    let times = (of(timestamps()), quality, of(timestamps()));
    (authors(), words, times, refs(), of(engagements()), of(text()), entities(), visibility, dedup).prop_map(
        |(author, words, times, refs, engagement, permalink, entities, visibility, dedup)| Mention {
            author,
            text: Text::truncated(words.0).0,
            title: words.1,
            rating: words.2,
            languages_claimed: words.3,
            created_at: times.0,
            created_at_quality: times.1,
            edited_at: times.2,
            refs,
            engagement,
            permalink,
            entities,
            visibility,
            dedup,
        },
    )
}

fn mention_events() -> impl Strategy<Value = MentionEvent> {
    let transport = select(vec![Transport::Stream, Transport::Webhook, Transport::Poll, Transport::Backfill]);
    let source = (select(SourceKind::ALL), text(), text(), transport)
        .prop_map(|(kind, instance, connector, transport)| Source { kind, instance, connector, transport });
    let brands = vec(slug().prop_map(|s| BrandId::parse(&s).unwrap()), 0..3);
    let by_brand = of(slug().prop_map(|s| BrandId::parse(&s).unwrap()));
    let flags = proptest::collection::btree_set(select(&Flag::ALL), 0..4);
    let raw = of((any::<i32>(), any::<i64>(), any::<[u8; 16]>())
        .prop_map(|(partition, offset, digest)| RawRef { partition, offset, digest }));
    let who = of("[a-z]{1,20}".prop_map(|s| AuthorKey::parse(&s).unwrap()));
    let names = (mention_ids(), select(&MentionOp::ALL), text(), text());
    let ours = (slug(), brands, by_brand, who);
    (names, source, ours, timestamps(), timestamps(), flags, mentions(), raw).prop_map(
        |(names, source, ours, observed_at, ingested_at, flags, mention, raw)| MentionEvent {
            event_id: EventId::derive(&[&names.2]),
            mention_id: names.0,
            op: names.1,
            native_id: names.2,
            native_rev: names.3,
            source,
            tenant: TenantId::parse(&ours.0).unwrap(),
            brands: ours.1,
            by_brand: ours.2,
            observed_at,
            ingested_at,
            flags,
            mention: (!names.1.withdraws()).then_some(mention),
            author: ours.3,
            raw,
        },
    )
}

fn verdicts() -> impl Strategy<Value = Verdict> {
    let severity = (select(&Severity::ALL), proptest::array::uniform5(probability()))
        .prop_map(|(level, probabilities)| SeverityEstimate { level, probabilities });
    let topics = vec(
        (slug(), probability())
            .prop_map(|(name, probability)| TopicScore { topic: Topic::parse(&name).unwrap(), probability }),
        0..4,
    );
    let why = vec((text(), -9.0_f32..9.0).prop_map(|(text, weight)| Why { text, weight }), 0..3);
    let many = proptest::array::uniform16(probability());
    ("[a-zA-Z-]{1,35}", severity, topics, why, many, any::<bool>(), text()).prop_map(
        |(language, severity, topics, why, p, sure, model_version)| Verdict {
            language: Language::parse(&language).unwrap(),
            sentiment: Sentiment { negative: p[0], neutral: p[1], positive: p[2] },
            complaint: p[3],
            severity,
            arousal: p[4],
            topics,
            signals: Signals {
                spam: p[5],
                thanks: p[6],
                won_back: p[7],
                threat_leave: p[8],
                threat_sue: p[9],
                threat_publish: p[10],
                unanswered: p[11],
            },
            reply: ReplyActs { apology: p[12], explanation: p[13], offer: p[14], channel_move: p[15] },
            sure,
            why,
            model_version: model_version.into(),
        },
    )
}
