//! Nothing that comes in makes a decoder panic, and everything that comes in is accounted for.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod common;

use common::{check_event, decoded, decoded_in_chunks, decoded_with, files, read, shared};
use model::SourceKind;
use proptest::prelude::*;
use sources::Decoded;

/// Whatever the input: sound events, and reasons that repeat nothing of it.
fn check_result(kind: SourceKind, body: &[u8], result: &Decoded) {
    result.events.iter().for_each(check_event);
    let what_became = result.events.len() + result.ignored.len() + result.refusals.len();
    assert!(
        what_became as u64 >= result.records,
        "{kind}: a record vanished: {:?}",
        String::from_utf8_lossy(body)
    );
    for refusal in &result.refusals {
        assert!(refusal.bytes.end <= body.len() as u64);
        assert!(!refusal.reason.to_string().contains('\n'));
    }
}

fn every_kind(body: &[u8]) {
    for kind in SourceKind::ALL {
        check_result(*kind, body, &decoded(*kind, body));
    }
    check_result(SourceKind::Csv, body, &decoded_with(SourceKind::Csv, "a=text", "", body));
}

#[test]
fn broken_json_is_refused_and_valid_json_never_called_broken() {
    let Some(shared) = shared() else { return };
    let suite = files(&shared.join("hostile/json/JSONTestSuite"));
    let mut seen = [0, 0];
    for file in suite {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let body = read(&file);
        every_kind(&body);
        let result = decoded(SourceKind::Zendesk, &body);
        let broken = result.refusals.iter().any(|r| matches!(r.reason.label(), "malformed" | "cut_off"));
        let blank = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&body).trim_ascii().is_empty();
        if name.starts_with("n_") && !blank {
            assert!(!result.refusals.is_empty(), "{name} must be refused");
            seen[0] += 1;
        }
        // The one exception is ours: a name with two values is refused.
        if name.starts_with("y_") && name != "y_object_duplicated_key.json" {
            assert!(!broken, "{name} is valid: {:?}", result.refusals);
            seen[1] += 1;
        }
    }
    assert!(seen[0] > 140 && seen[1] > 60, "{seen:?}");
}

#[test]
fn naughty_strings_survive_as_text_of_every_kind_that_has_a_simple_form() {
    let Some(shared) = shared() else { return };
    let list: Vec<String> =
        serde_json::from_slice(&read(&shared.join("hostile/naughty-strings/blns.json"))).unwrap();
    for text in &list {
        let line = serde_json::json!({ "id": "1", "text": text }).to_string();
        let result = decoded(SourceKind::Ndjson, line.as_bytes());
        assert_eq!((result.events.len(), result.refusals.len()), (1, 0), "{text:?}");
        let tweet = serde_json::json!({ "data": { "id": "1", "text": text } }).to_string();
        assert_eq!(decoded(SourceKind::XV2, tweet.as_bytes()).events.len(), 1, "{text:?}");
        let status = serde_json::json!({ "id": "1", "uri": "u", "content": text, "account": {} }).to_string();
        assert_eq!(decoded(SourceKind::Mastodon, status.as_bytes()).events.len(), 1, "{text:?}");
        every_kind(text.as_bytes());
    }
}

#[test]
fn broken_feeds_and_hostile_markup_are_read_or_refused() {
    let Some(shared) = shared() else { return };
    let feeds = files(&shared.join("hostile/xml_html/feedparser"));
    let mut silent = Vec::new();
    let mut scripts = Vec::new();
    for file in feeds {
        let body = read(&file);
        let result = decoded(SourceKind::Feed, &body);
        check_result(SourceKind::Feed, &body, &result);
        if result.events.is_empty() && result.refusals.is_empty() && result.ignored.is_empty() {
            silent.push(file.clone());
        }
        for event in &result.events {
            let text = event.mention.as_ref().unwrap().text.as_str();
            if text.contains("<script") {
                scripts.push(file.clone());
            }
        }
    }
    assert!(silent.iter().all(|f| read(f).trim_ascii().is_empty()), "{silent:?}");
    assert!(scripts.len() < 3, "script elements in plain text: {scripts:?}");
}

#[test]
fn legacy_encodings_and_all_other_hostile_files_are_accounted_for() {
    let Some(shared) = shared() else { return };
    let encodings = files(&shared.join("hostile/encoding"));
    let tables = files(&shared.join("hostile/csv"));
    for file in encodings.into_iter().chain(tables) {
        let body = read(&file);
        let start = &body[..body.len().min(16_384)];
        every_kind(start);
    }
}

/// Bytes that look enough like the real thing to get past the first check.
fn plausible() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        Just("{"),
        Just("}"),
        Just("["),
        Just("]"),
        Just(":"),
        Just(","),
        Just("\n"),
        Just("\""),
        Just("null"),
        Just("true"),
        Just("1e400"),
        Just("-1"),
        Just("\"id\":"),
        Just("\"text\":\"a\""),
        Just("\"data\":"),
        Just("\"did\":\"did:x\""),
        Just("\"time_us\":99999999999999999"),
        Just("\"kind\":\"commit\""),
        Just("\"event\":"),
        Just("\"created_at\":\"9999-99-99T99:99:99Z\""),
        Just("\\ud800"),
        Just("data: "),
        Just("event: update\n"),
        Just("<item>"),
        Just("</item>"),
        Just("<rss>"),
        Just("<title>"),
        Just("&#x110000;"),
        Just("<![CDATA["),
        Just("]]>"),
        Just("From: a@b\n"),
        Just("Date: 99 Foo\n"),
        Just("Content-Type: text/html;"),
        Just("=?utf-8?b?"),
        Just("a,b\n"),
        Just("é"),
        Just("\u{202e}"),
        Just("\u{0}"),
    ];
    prop::collection::vec(word, 0..24).prop_map(|words| words.concat().into_bytes())
}

/// A JSON value whose names are those that the sources use.
fn plausible_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        "\\PC{0,12}".prop_map(Into::into),
        prop::sample::select(vec![
            "t1",
            "Listing",
            "message",
            "edited",
            "remove",
            "create",
            "delete",
            "app.bsky.feed.post",
            "commit",
            "2026-01-01T00:00:00Z",
            "1.0",
            "notification_event",
            "conversation",
            "[deleted]",
            "message_created",
            "message_changed",
            "zen:event-type:ticket.comment_added",
            "service-review-deleted",
            "retweeted",
            "1.5",
        ])
        .prop_map(Into::into),
    ];
    let names = prop::sample::select(vec![
        "id",
        "text",
        "data",
        "kind",
        "type",
        "event",
        "payload",
        "content",
        "account",
        "uri",
        "created_at",
        "user",
        "body",
        "name",
        "author",
        "entry",
        "changes",
        "value",
        "item",
        "verb",
        "message",
        "object",
        "feed",
        "label",
        "reviews",
        "comments",
        "userComment",
        "events",
        "eventData",
        "post",
        "comment",
        "issue",
        "action",
        "detail",
        "subtype",
        "ts",
        "channel",
        "deleted_ts",
        "specversion",
        "source",
        "data_base64",
        "includes",
        "tweets",
        "referenced_tweets",
        "did",
        "time_us",
        "commit",
        "operation",
        "collection",
        "rkey",
        "record",
        "subject",
        "children",
        "replies",
        "snippet",
        "textDisplay",
        "items",
        "cooked",
        "time",
        "edited",
        "mention_id",
        "op",
        "native_id",
        "observed_at",
        "rating",
        "engagement",
        "entities",
        "refs",
        "json",
        "things",
        "reblog",
        "quote",
    ]);
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map(names.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..400)) {
        every_kind(&body);
    }

    #[test]
    fn nearly_right_bytes_never_panic(body in plausible()) {
        every_kind(&body);
    }

    #[test]
    fn nearly_right_json_never_panics(value in plausible_json()) {
        every_kind(value.to_string().as_bytes());
    }

    #[test]
    fn chunks_do_not_change_what_is_decoded(values in prop::collection::vec(plausible_json(), 0..4), step in 1_usize..40) {
        let body: String = values.iter().map(|v| format!("{v}\n")).collect();
        for kind in [SourceKind::Ndjson, SourceKind::Mastodon, SourceKind::XV2, SourceKind::Csv] {
            let (whole, parts) = (decoded(kind, body.as_bytes()), decoded_in_chunks(kind, body.as_bytes(), step));
            prop_assert_eq!(whole.events, parts.events);
            prop_assert_eq!(whole.refusals, parts.refusals);
            prop_assert_eq!(whole.ignored, parts.ignored);
        }
    }
}
