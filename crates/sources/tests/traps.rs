//! The traps that real data contain, each with data made up for it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod common;

use common::{check_event, decoded, decoded_in_chunks, decoded_with};
use model::{Flag, MentionId, MentionOp, SourceKind as K, TimeQuality, Visibility};
use serde_json::json;
use sources::{Decoded, to_json};

/// What a body became: one line per event (`op native_id text`), then what was ignored and refused.
fn told(result: &Decoded) -> Vec<String> {
    result.events.iter().for_each(check_event);
    let event = |e: &model::MentionEvent| {
        let text = e.mention.as_ref().map(|m| m.text.as_str()).unwrap_or_default();
        format!("{} {} {text}", e.op.name(), e.native_id).trim_end().to_owned()
    };
    let ignored = result.ignored.iter().map(|i| format!("ignored {}", i.label));
    let refused = result.refusals.iter().map(|r| format!("{}: {}", r.location, r.reason));
    result.events.iter().map(event).chain(ignored).chain(refused).collect()
}

fn check(kind: K, body: &str, expected: &[&str]) {
    assert_eq!(told(&decoded(kind, body.as_bytes())), expected, "{kind}: {body}");
}

fn check_json(kind: K, body: serde_json::Value, expected: &[&str]) {
    check(kind, &body.to_string(), expected);
}

fn only(kind: K, body: serde_json::Value) -> model::MentionEvent {
    let mut result = decoded(kind, body.to_string().as_bytes());
    assert_eq!((result.events.len(), result.refusals.len()), (1, 0), "{:?}", told(&result));
    result.events.remove(0)
}

#[test]
fn id_in_scientific_notation_is_refused_and_float_parents_are_read() {
    let map = "tweet_id=id,text=text,parent=reply_to";
    let table = "tweet_id,text,parent\n5.70306E+17,lost,\n3,found,4.0\n";
    let result = decoded_with(K::Csv, map, "", table.as_bytes());
    let refused =
        "line 2: field 'id' was damaged by a spreadsheet: an id in scientific notation names several posts";
    assert_eq!(told(&result), ["created 3 found", refused]);
    let parent = result.events[0].mention.as_ref().unwrap().refs.reply_to;
    assert_eq!(parent, Some(MentionId::of(K::Csv, "", "4")));
}

#[test]
fn spreadsheet_dates_are_dates() {
    for (cell, day) in
        [("42059.4832407407", "2015-02-24T11:35:52Z"), ("24-02-2015 11.35", "2015-02-24T11:35:00Z")]
    {
        let table = format!("id,text,created_at\n1,x,{cell}\n");
        let event = decoded(K::Csv, table.as_bytes()).events.remove(0);
        assert_eq!(event.mention.unwrap().created_at.unwrap().to_string(), day);
        assert_eq!(event.observed_at.to_string(), day, "the past is replayed at its own time");
    }
}

#[test]
fn formula_stays_as_text_with_a_flag() {
    let event = decoded(K::Csv, b"id,text\n1,=@Acme what\n").events.remove(0);
    assert!(event.flags.contains(&Flag::FormulaPrefix));
    assert_eq!(event.mention.unwrap().text.as_str(), "=@Acme what");
}

#[test]
fn bare_returns_and_bytes_that_are_no_text_do_not_break_a_table() {
    let result = decoded(K::Csv, b"id,text\r\n1,a\r\rb\r\n2,caf\xe9\r\n3,a,b\r\n");
    assert_eq!(
        told(&result),
        [
            "created 1 a\n\nb",
            "created 2 caf\u{fffd}",
            "line 6: malformed CSV: 3 cells where the header has 2"
        ]
        .map(|s| s.replace("line 6", "line 4")),
    );
    assert!(result.events[1].flags.contains(&Flag::DecodeReplaced));
    assert!(!result.events[0].flags.contains(&Flag::DecodeReplaced));
}

#[test]
fn cut_last_line_is_refused_and_empty_input_is_nothing() {
    check(
        K::Ndjson,
        "{\"id\":1,\"text\":\"a\"}\n{\"id\":2,\"te",
        &["created 1 a", "line 2: cut off: the input ends inside this record"],
    );
    for kind in K::ALL {
        check(*kind, "", &[]);
        check(*kind, "\r\n\n", &[]);
    }
}

#[test]
fn mastodon_payload_is_json_inside_json_or_a_bare_id_or_missing() {
    let status = json!({ "id": "7", "uri": "https://a.example/7", "content": "<p>down &amp; out</p>",
        "account": { "id": "1", "acct": "ada" }, "visibility": "public", "created_at": "2026-01-01T00:00:00Z" });
    let update = json!({ "stream": ["public"], "event": "update", "payload": status.to_string() });
    let delete = json!({ "stream": ["public"], "event": "delete", "payload": "7" });
    let unseen = json!({ "stream": ["public"], "event": "delete", "payload": "8" });
    let filters = json!({ "stream": ["user"], "event": "filters_changed" });
    let lines = format!("{update}\n{delete}\n{unseen}\n{filters}\n");
    check(
        K::Mastodon,
        &lines,
        &[
            "created https://a.example/7 down & out",
            "deleted https://a.example/7",
            "deleted fedi-local:/8",
            "ignored other_event",
        ],
    );
    let events =
        format!(":)\n\nevent: update\ndata: {status}\n\n:thump\nevent: filters_changed\ndata: undefined\n\n");
    let expected = [
        "created https://a.example/7 down & out",
        "ignored heartbeat",
        "ignored heartbeat",
        "ignored other_event",
    ];
    check(K::Mastodon, &events, &expected);
}

#[test]
fn private_status_stays_private() {
    for (word, visibility) in
        [("direct", Visibility::Private), ("unlisted", Visibility::Unlisted), ("novel", Visibility::Private)]
    {
        let status = json!({ "uri": "u", "content": "x", "account": {}, "visibility": word });
        assert_eq!(only(K::Mastodon, status).mention.unwrap().visibility, visibility);
    }
}

#[test]
fn x_errors_beside_data_do_not_lose_the_data_and_missing_authors_are_flagged() {
    let page = json!({ "data": [{ "id": "1", "text": "a &amp; b", "author_id": "9" }],
        "errors": [{ "title": "Forbidden" }], "includes": { "users": [{ "id": "8", "username": "other" }] } });
    let result = decoded(K::XV2, page.to_string().as_bytes());
    assert_eq!(told(&result), ["created 1 a & b", "ignored partial_error"]);
    assert!(result.events[0].flags.contains(&Flag::PartialAuthor));
    check_json(
        K::XV2,
        json!({ "errors": [{}], "title": "Unauthorized" }),
        &["line 1: the source answered with an error instead of data"],
    );
}

#[test]
fn retweet_takes_the_whole_text_of_the_original_and_not_its_counters() {
    let page = json!({ "data": { "id": "2", "text": "RT @a: the long com…", "author_id": "9",
            "referenced_tweets": [{ "type": "retweeted", "id": "1" }], "public_metrics": { "like_count": 5 } },
        "includes": { "tweets": [{ "id": "1", "text": "the long complaint" }] } });
    let event = only(K::XV2, page);
    let mention = event.mention.unwrap();
    assert_eq!(mention.text.as_str(), "the long complaint");
    assert_eq!(mention.refs.repost_of, Some(MentionId::of(K::XV2, "", "1")));
    assert_eq!(mention.engagement, None);
}

#[test]
fn edit_of_x_keeps_the_first_id() {
    let edited = json!({ "data": { "id": "12", "text": "b", "edit_history_tweet_ids": ["10", "12"] } });
    let event = only(K::XV2, edited);
    assert_eq!(
        (event.op, event.native_id.as_str(), event.native_rev.as_str()),
        (MentionOp::Edited, "10", "12")
    );
    assert_eq!(event.mention_id, MentionId::of(K::XV2, "", "10"));
}

#[test]
fn compliance_lines_withdraw_posts_and_accounts() {
    // 2020-01-01T00:00:00.000Z as a post's id.
    let id = ((1_577_836_800_000_i64 - 1_288_834_974_657) << 22).to_string();
    let post = json!({ "id": id, "action": "delete", "created_at": "2020-01-01T00:00:00.000Z", "reason": "deleted" });
    let user = json!({ "id": "42", "action": "delete", "created_at": "2013-06-04T16:25:04+00:00" });
    check(
        K::XV2,
        &format!("{post}\n{user}\n{user}"),
        &[&format!("deleted {id}"), "author_deleted 42", "author_deleted 42"],
    );
    let result = decoded(K::XV2, format!("{user}\n{user}").as_bytes());
    assert_eq!(result.events[0].event_id, result.events[1].event_id, "the repeat has the same id");
}

#[test]
fn reddit_edited_is_false_or_a_time_and_authors_may_be_gone() {
    let thing = |edited: serde_json::Value, author: serde_json::Value, body: &str| {
        json!({ "kind": "t1", "data": { "name": "t1_a", "body": body, "author": author, "edited": edited,
            "created_utc": 1.7e9, "link_id": "t3_b", "parent_id": "t3_b", "score": -3 } })
    };
    assert_eq!(only(K::Reddit, thing(json!(false), json!("ada"), "x")).op, MentionOp::Created);
    let edited = only(K::Reddit, thing(json!(1.7e9 + 60.0), json!(null), "x &lt; y"));
    assert_eq!((edited.op, edited.mention.as_ref().unwrap().text.as_str()), (MentionOp::Edited, "x < y"));
    assert!(edited.flags.contains(&Flag::PartialAuthor));
    assert_eq!(edited.mention.unwrap().engagement.unwrap().score, Some(-3));
    check_json(K::Reddit, thing(json!(false), json!("[deleted]"), "[deleted]"), &["deleted t1_a"]);
    check_json(K::Reddit, thing(json!(false), json!("ada"), "[removed]"), &["hidden t1_a"]);
}

#[test]
fn facebook_ids_are_text_or_numbers_and_never_floats() {
    let delivery = |sender: serde_json::Value, verb: &str| {
        json!({ "object": "page", "entry": [{ "id": "1", "time": 1_700_000_000, "changes": [{ "field": "feed", "value": {
            "item": "comment", "verb": verb, "comment_id": "5_6", "post_id": "1_5", "sender_id": sender,
            "message": "late again", "created_time": 1_700_000_000 } }] }] })
    };
    let author = |e: model::MentionEvent| e.mention.unwrap().author.native_id;
    let big = 9_007_199_254_740_993_u64;
    assert_eq!(
        author(only(K::FacebookWebhook, delivery(json!(big), "add"))).as_deref(),
        Some("9007199254740993")
    );
    assert_eq!(author(only(K::FacebookWebhook, delivery(json!("77"), "add"))).as_deref(), Some("77"));
    assert_eq!(author(only(K::FacebookWebhook, delivery(json!(7.5e20), "add"))), None);
    for (verb, op) in [("remove", "deleted"), ("hide", "hidden"), ("unhide", "restored")] {
        check_json(K::FacebookWebhook, delivery(json!(1), verb), &[&format!("{op} 5_6")]);
    }
    check_json(K::FacebookWebhook, delivery(json!(1), "edited"), &["edited 5_6 late again"]);
}

#[test]
fn feed_escaped_twice_and_in_a_wrong_charset_is_read() {
    let twice = "<rss><channel><item><guid>1</guid><title>T &amp;amp; U</title><description>&amp;lt;p&amp;gt;down\
        &amp;lt;/p&amp;gt;</description><pubDate>Tue, 24 Feb 2015 11:35:52 +0100</pubDate></item></channel></rss>";
    let event = decoded(K::Feed, twice.as_bytes()).events.remove(0);
    let mention = event.mention.unwrap();
    assert_eq!((mention.title.as_deref(), mention.text.as_str()), (Some("T & U"), "down"));
    assert_eq!(mention.created_at_quality, TimeQuality::Claimed);
    let latin = b"<?xml version=\"1.0\" encoding=\"utf-8\"?><rss><channel><item><title>caf\xe9</title></item></channel></rss>";
    assert_eq!(decoded(K::Feed, latin).events[0].mention.as_ref().unwrap().text.as_str(), "café");
    let cut = "<rss><channel><item><title>whole</title></item><item><title>cut";
    let result = decoded(K::Feed, cut.as_bytes());
    assert_eq!((result.events.len(), result.refusals[0].reason.label()), (1, "cut_off"));
}

#[test]
fn claimed_language_and_time_are_kept_as_claims() {
    let post = json!({ "did": "did:plc:a", "time_us": 1_783_175_888_085_434_i64, "kind": "commit", "commit": {
        "operation": "create", "collection": "app.bsky.feed.post", "rkey": "3k", "cid": "c1", "rev": "r1",
        "record": { "text": "hello there", "langs": ["tr"], "createdAt": "2031-01-01T00:00:00.000Z" } } });
    let event = only(K::BlueskyJetstream, post);
    assert!(event.flags.contains(&Flag::TimeClamped));
    assert_eq!(event.observed_at.as_micros(), 1_783_175_888_085_434);
    let mention = event.mention.unwrap();
    assert_eq!(
        (mention.languages_claimed, mention.created_at_quality),
        (vec!["tr".to_owned()], TimeQuality::Claimed)
    );
    assert!(mention.created_at.unwrap() <= event.observed_at.plus_millis(300_000));
}

#[test]
fn deletion_may_come_first_and_a_like_is_undone_by_its_own_id() {
    let event = |collection: &str, operation: &str, record: serde_json::Value| {
        json!({ "did": "did:plc:a", "time_us": 1_700_000_000_000_000_i64, "kind": "commit", "commit": {
            "operation": operation, "collection": format!("app.bsky.feed.{collection}"), "rkey": "1", "record": record } })
    };
    let uri = "at://did:plc:b/app.bsky.feed.post/9";
    let like = event("like", "create", json!({ "subject": { "uri": uri, "cid": "c" } }));
    let undo = event("like", "delete", json!(null));
    check_json(K::BlueskyJetstream, undo.clone(), &["ignored reaction_undone_unseen"]);
    check_json(
        K::BlueskyJetstream,
        event("post", "delete", json!(null)),
        &["deleted at://did:plc:a/app.bsky.feed.post/1"],
    );
    let result = decoded(K::BlueskyJetstream, format!("{like}\n{undo}").as_bytes());
    let likes: Vec<_> =
        result.events.iter().map(|e| e.mention.as_ref().unwrap().engagement.unwrap().likes).collect();
    assert_eq!(likes, [Some(1), Some(-1)]);
    assert!(result.events.iter().all(|e| e.mention_id == MentionId::of(K::BlueskyJetstream, "", uri)));
    assert_ne!(result.events[0].event_id, result.events[1].event_id);
}

#[test]
fn account_that_is_gone_takes_its_posts_with_it() {
    let account = |active: bool| {
        json!({ "did": "did:plc:a", "time_us": 1_700_000_000_000_000_i64, "kind": "account",
            "account": { "active": active, "did": "did:plc:a", "status": "takendown" } })
    };
    check_json(K::BlueskyJetstream, account(false), &["author_deleted did:plc:a"]);
    check_json(K::BlueskyJetstream, account(true), &["ignored account_active"]);
    let event = decoded(K::BlueskyJetstream, account(false).to_string().as_bytes()).events.remove(0);
    assert_eq!(event.author.unwrap().as_str(), "bluesky-jetstream::did:plc:a");
}

#[test]
fn word_null_is_no_value_where_a_value_is_expected_but_stays_as_text() {
    let post = json!({ "post": { "id": 1, "cooked": "<p>null</p>", "username": "ada", "post_type": 1,
        "deleted_at": "null", "created_at": "2026-01-01T00:00:00Z", "reply_to_post_number": "null" } });
    check_json(K::Discourse, post, &["created 1 null"]);
    check(K::Csv, "id,text,author\n1,null,null\n", &["created 1 null"]);
    assert_eq!(decoded(K::Csv, b"id,text,author\n1,null,null\n").events[0].author_key(), None);
    let whisper = json!({ "post": { "id": 1, "cooked": "<p>psst</p>", "post_type": 4 } });
    check_json(K::Discourse, whisper, &["ignored whisper"]);
}

#[test]
fn doubled_names_depth_bombs_and_half_surrogates_each_have_their_end() {
    check(
        K::Ndjson,
        "{\"id\":\"1\",\"text\":\"a\",\"text\":\"b\"}",
        &["line 1: malformed JSON: a name stands twice in one object, with two values at column 32"],
    );
    let bomb = format!("{}\n{{\"id\":\"1\",\"text\":\"after\"}}", "[".repeat(100_000));
    let result = decoded(K::Ndjson, bomb.as_bytes());
    assert_eq!((result.events.len(), result.refusals.len()), (1, 1));
    let result = decoded(K::Ndjson, br#"{"id":"1","text":"cut \ud83d"}"#);
    assert_eq!(told(&result), ["created 1 cut \u{fffd}"]);
    assert!(result.events[0].flags.contains(&Flag::DecodeReplaced));
}

#[test]
fn names_of_ours_with_other_types_do_not_lose_a_line_of_somebody_else() {
    let line = json!({ "id": 7, "text": "late", "source": "airline", "rating": "2", "likes": "12", "entities": [],
        "flags": "x", "place": { "x": 1 }, "conversation": 9, "lang": "en" });
    let event = only(K::Ndjson, line);
    let mention = event.mention.unwrap();
    assert_eq!((mention.rating.unwrap().value(), mention.engagement.unwrap().likes), (2.0, Some(12)));
    assert_eq!((mention.refs.conversation.as_deref(), mention.refs.place), (Some("9"), None));
    check(
        K::Ndjson,
        "{\"id\":1.5,\"text\":\"a\",\"source\":\"x\"}",
        &["line 1: malformed JSON: found floating instead of an id as text or whole number at column 9"],
    );
    check(
        K::Ndjson,
        "{\"id\":1,\"text\":7}",
        &["line 1: malformed JSON: found integer instead of a string at column 16"],
    );
}

#[test]
fn every_event_can_be_fed_back_in() {
    let bodies = [
        (
            K::Ndjson,
            "{\"id\":\"1\",\"text\":\"late\",\"author\":\"@ada\",\"created_at\":\"2026-01-01T00:00:00Z\",\"brand\":\"Acme Air\",\"rating\":2,\"lang\":\"en\",\"reply_to\":\"0\"}",
        ),
        (K::Ndjson, "{\"id\":\"1\",\"op\":\"deleted\"}"),
        (
            K::Slack,
            "{\"type\":\"event_callback\",\"team_id\":\"T\",\"event\":{\"type\":\"message\",\"channel\":\"C\",\"user\":\"U\",\"ts\":\"1712345678.000200\",\"text\":\"hi\"}}",
        ),
        (
            K::Hackernews,
            "{\"id\":8,\"by\":\"a\",\"text\":\"x<p>y\",\"time\":1700000000,\"parent\":7,\"type\":\"comment\"}",
        ),
        (K::Hackernews, "{\"id\":9,\"deleted\":true}"),
    ];
    for (kind, body) in bodies {
        let event = decoded(kind, body.as_bytes()).events.remove(0);
        let again = decoded(K::Ndjson, to_json(&event).to_string().as_bytes());
        assert_eq!(again.events, [event], "{body}");
    }
}

#[test]
fn line_is_read_in_chunks_as_it_is_read_whole() {
    let body = "{\"id\":\"1\",\"text\":\"ü\"}\n\nrubbish\n{\"id\":\"2\",\"text\":\"b\"}";
    for step in 1..12 {
        let result = decoded_in_chunks(K::Ndjson, body.as_bytes(), step);
        let expected = ["created 1 ü", "created 2 b", "line 3: malformed JSON: expected value at column 1"];
        assert_eq!(told(&result), expected);
        assert_eq!(result.refusals[0].bytes, 24..31);
    }
}

#[test]
fn same_input_gives_the_same_ids_and_another_revision_another_event() {
    let line = |text: &str| format!("{{\"id\":\"1\",\"text\":\"{text}\"}}");
    let event = |text: &str| decoded(K::Ndjson, line(text).as_bytes()).events.remove(0);
    assert_eq!(event("a").event_id, event("a").event_id);
    assert_ne!(event("a").event_id, event("b").event_id);
    assert_eq!(event("a").mention_id, event("b").mention_id);
    let elsewhere = decoded_with(K::Ndjson, "", "shop", line("a").as_bytes()).events.remove(0);
    assert_ne!(elsewhere.mention_id, event("a").mention_id);
}
