//! What each kind makes of its deliveries, with data made up for it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod common;

use common::{check_event, decoded, decoded_with, files, read, shared};
use model::{BrandId, Flag, MentionEvent, MentionId, SourceKind as K, Timestamp, Visibility};
use serde_json::{Value, json};
use sources::brandmatch::{BrandRule, Matcher};
use sources::signature::{Scheme, Secret, verify};

/// One line per event: `op native_id [stars] [visibility] @author: text`, then what was left out and why.
fn told(kind: K, body: &str) -> Vec<String> {
    let result = decoded_with(kind, "", "desk.example", body.as_bytes());
    result.events.iter().for_each(check_event);
    let events = result.events.iter().map(tell);
    let ignored = result.ignored.iter().map(|i| format!("ignored {}", i.label));
    let refused = result.refusals.iter().map(|r| format!("{}: {}", r.location, r.reason));
    events.chain(ignored).chain(refused).collect()
}

fn tell(event: &MentionEvent) -> String {
    let mut line = format!("{} {}", event.op.name(), event.native_id);
    let Some(mention) = &event.mention else { return line };
    if let Some(rating) = mention.rating {
        line += &format!(" [{}/{}]", rating.value(), rating.max());
    }
    if mention.visibility != Visibility::Public {
        line += &format!(" [{:?}]", mention.visibility).to_lowercase();
    }
    let author = &mention.author;
    let who = author.handle.as_ref().or(author.display_name.as_ref()).or(author.native_id.as_ref());
    let staff = if author.is_staff == Some(true) { "staff " } else { "" };
    line += &format!(" {staff}@{}:", who.map_or("", String::as_str));
    if let Some(title) = &mention.title {
        line += &format!(" <{title}>");
    }
    format!("{line} {}", mention.text.as_str()).trim_end().to_owned()
}

fn check(kind: K, body: Value, expected: &[&str]) {
    assert_eq!(told(kind, &body.to_string()), expected, "{kind}: {body}");
}

#[test]
fn slack_messages_are_keyed_by_team_channel_and_time() {
    let event = |event: Value| json!({ "type": "event_callback", "team_id": "T1", "event_id": "Ev1", "event": event });
    let plain = json!({ "type": "message", "channel": "C1", "user": "U1", "ts": "1712345678.000200", "text": "a &amp; <@U2>" });
    check(K::Slack, event(plain), &["created T1/C1/1712345678.000200 [internal] @U1: a & @U2"]);
    let changed = json!({ "type": "message", "subtype": "message_changed", "channel": "C1", "message": {
        "user": "U1", "ts": "1712345678.000200", "text": "b", "edited": { "ts": "1712345699.0" } } });
    check(K::Slack, event(changed), &["edited T1/C1/1712345678.000200 [internal] @U1: b"]);
    let gone = json!({ "type": "message", "subtype": "message_deleted", "channel": "C1", "deleted_ts": "1712345678.000200" });
    check(K::Slack, event(gone), &["deleted T1/C1/1712345678.000200"]);
    check(K::Slack, json!({ "type": "url_verification", "challenge": "x" }), &["ignored url_verification"]);
    let join = json!({ "type": "message", "subtype": "channel_join", "channel": "C1", "ts": "1.1" });
    check(K::Slack, event(join), &["ignored other_subtype"]);
}

#[test]
fn help_desks_keep_what_is_private_private() {
    let zendesk = |kind: &str, event: Value| {
        json!({ "type": format!("zen:event-type:{kind}"), "id": "e1", "time": "2026-01-01T00:00:00Z",
            "subject": "zen:ticket:7", "detail": { "id": "7", "subject": "Refund" }, "event": event })
    };
    let comment = |public: bool| {
        json!({ "comment": { "id": 5, "body": "where is it?", "is_public": public,
        "author": { "id": 3, "name": "Ada", "is_staff": false } } })
    };
    check(
        K::Zendesk,
        zendesk("ticket.comment_added", comment(true)),
        &["created comment/5 [private] @Ada: <Refund> where is it?"],
    );
    check(
        K::Zendesk,
        zendesk("ticket.comment_added", comment(false)),
        &["created comment/5 [internal] @Ada: <Refund> where is it?"],
    );
    check(K::Zendesk, zendesk("ticket.comment_redacted", comment(true)), &["deleted comment/5"]);
    check(
        K::Zendesk,
        zendesk("ticket.created", json!({})),
        &["created ticket/7 [private] @: <Refund> Refund"],
    );
    check(K::Zendesk, zendesk("user.active_changed", json!({})), &["ignored other_event"]);

    let chatwoot = |kind: Value, more: Value| {
        let mut body = json!({ "event": "message_created", "id": 4, "content": "hello?", "message_type": kind,
            "created_at": "2020-03-03 13:05:57 UTC", "sender": { "id": 2, "name": "Ada" }, "conversation": { "display_id": 9 } });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    check(K::Chatwoot, chatwoot(json!("incoming"), json!({})), &["created 4 [private] @Ada: hello?"]);
    check(
        K::Chatwoot,
        chatwoot(json!(1), json!({ "private": true })),
        &["created 4 [internal] staff @Ada: hello?"],
    );
    check(
        K::Chatwoot,
        chatwoot(json!("incoming"), json!({ "content_attributes": { "deleted": true } })),
        &["deleted 4"],
    );
    check(K::Chatwoot, json!({ "event": "conversation_opened" }), &["ignored other_event"]);

    let intercom = |topic: &str, redacted: bool| {
        json!({ "type": "notification_event", "id": "notif_1", "topic": topic,
        "data": { "item": { "type": "conversation", "id": "9", "source": { "id": "1", "body": "<p>first</p>", "author": { "type": "user", "id": "u", "name": "Ada" } },
            "conversation_parts": { "conversation_parts": [{ "id": "2", "part_type": "comment", "body": "<p>still <b>broken</b></p>",
                "redacted": redacted, "created_at": 1_700_000_000, "author": { "type": "user", "id": "u", "name": "Ada" } }] } } } })
    };
    check(
        K::Intercom,
        intercom("conversation.user.replied", false),
        &["created 9/2 [private] @Ada: still broken"],
    );
    check(K::Intercom, intercom("conversation_part.redacted", true), &["deleted 9/2"]);
    check(
        K::Intercom,
        json!({ "type": "notification_event", "topic": "ping", "data": {} }),
        &["ignored ping"],
    );
}

#[test]
fn reviews_have_stars_and_the_answer_of_the_company_is_staff() {
    check(
        K::GooglePlay,
        json!({ "reviews": [{ "reviewId": "r1", "authorName": "Ada", "comments": [
            { "userComment": { "text": "Bad\tIt crashes", "starRating": 1, "lastModified": { "seconds": "1700000000" } } },
            { "developerComment": { "text": "Sorry", "lastModified": { "seconds": "1700000100" } } }] }] }),
        &["created r1 [1/5] @Ada: <Bad> It crashes", "created r1/reply staff @: Sorry"],
    );
    let trustpilot = |name: &str| {
        json!({ "events": [{ "eventName": name, "eventData": {
        "id": "t1", "stars": 2, "title": "Slow", "text": "Three weeks", "consumer": { "id": "c", "name": "Ada" } } }] })
    };
    check(
        K::Trustpilot,
        trustpilot("service-review-created"),
        &["created t1 [2/5] @Ada: <Slow> Three weeks"],
    );
    check(K::Trustpilot, trustpilot("service-review-updated"), &["edited t1 [2/5] @Ada: <Slow> Three weeks"]);
    check(K::Trustpilot, trustpilot("service-review-deleted"), &["deleted t1"]);
    let entry = |id: &str| {
        json!({ "id": { "label": id }, "im:rating": { "label": "4" }, "title": { "label": "神" },
        "content": { "label": "良い" }, "author": { "name": { "label": "ヤミ" }, "uri": { "label": "https://x.example/id7" } } })
    };
    check(
        K::AppstoreRss,
        json!({ "feed": { "entry": [{ "id": { "label": "app" } }, entry("1")] } }),
        &["created 1 [4/5] @ヤミ: <神> 良い", "ignored app"],
    );
    check(K::AppstoreRss, json!({ "feed": { "entry": entry("2") } }), &["created 2 [4/5] @ヤミ: <神> 良い"]);
}

#[test]
fn video_comments_and_their_answers() {
    let snippet = |text: &str, updated: &str| {
        json!({ "textDisplay": text, "authorDisplayName": "@ada",
        "authorChannelId": { "value": "UC1" }, "publishedAt": "2026-01-01T00:00:00Z", "updatedAt": updated })
    };
    let same = "2026-01-01T00:00:00Z";
    check(
        K::YoutubeComments,
        json!({ "items": [{ "snippet": { "videoId": "v", "topLevelComment": { "id": "A", "snippet": snippet("a<br>b", same) } },
        "replies": { "comments": [{ "id": "A.B", "snippet": snippet("no", "2026-01-02T00:00:00Z") }] } }] }),
        &["created A @ada: a\nb", "edited A.B @ada: no"],
    );
}

#[test]
fn issues_and_comments_are_opened_edited_and_deleted() {
    let user = json!({ "id": 3, "login": "ada", "type": "User" });
    let issue = json!({ "id": 10, "title": "Crash", "body": null, "user": user, "created_at": "2026-01-01T00:00:00Z" });
    let comment = json!({ "id": 11, "body": "me too", "user": user, "created_at": "2026-01-01T00:00:00Z" });
    let event = |action: &str, with_comment: bool| {
        let mut body = json!({ "action": action, "issue": issue });
        if with_comment {
            body["comment"] = comment.clone();
        }
        body
    };
    check(K::Github, event("opened", false), &["created issue/10 @ada: <Crash> Crash"]);
    check(K::Github, event("created", true), &["created comment/11 @ada: me too"]);
    check(K::Github, event("edited", true), &["edited comment/11 @ada: me too"]);
    check(K::Github, event("deleted", true), &["deleted comment/11"]);
    check(K::Github, event("transferred", false), &["deleted issue/10"]);
    check(K::Github, event("labeled", false), &["ignored other_action"]);
    check(K::Github, json!({ "zen": "Keep it logically awesome." }), &["ignored ping"]);
}

#[test]
fn old_tweets_give_their_whole_text_and_activities_their_parts() {
    let tweet = json!({ "id": 1e20, "id_str": "12", "text": "cut…", "extended_tweet": { "full_text": "whole &gt; cut" },
        "created_at": "Tue Oct 31 22:10:47 +0000 2017", "user": { "id_str": "3", "screen_name": "ada" } });
    check(K::XV1, tweet.clone(), &["created 12 @ada: whole > cut"]);
    check(
        K::XV1,
        json!({ "for_user_id": "1", "tweet_create_events": [tweet],
        "tweet_delete_events": [{ "status": { "id": "12", "user_id": "3" }, "timestamp_ms": "1700000000000" }] }),
        &["created 12 @ada: whole > cut", "deleted 12"],
    );
    check(K::XV1, json!({ "delete": { "status": { "id_str": "12", "user_id_str": "3" } } }), &["deleted 12"]);
}

#[test]
fn mail_is_read_from_its_plain_part_and_machines_are_flagged() {
    let mail = "From: Ada <Ada@Example.org>\r\nSubject: =?utf-8?q?R=C3=BCckgabe?=\r\nMessage-ID: <1@example.org>\r\n\
        In-Reply-To: <0@example.org>\r\nDate: Tue, 24 Feb 2015 11:35:52 +0100\r\nContent-Type: text/html\r\n\r\n<p>Wo ist <b>es</b>?</p>";
    assert_eq!(
        told(K::Email, mail),
        ["created 1@example.org [private] @ada@example.org: <Rückgabe> Wo ist es?"]
    );
    let event = decoded(K::Email, mail.as_bytes()).events.remove(0);
    assert_eq!(event.mention.unwrap().refs.reply_to, Some(MentionId::of(K::Email, "", "0@example.org")));
    let absent = mail.replace("Subject:", "Auto-Submitted: auto-replied\r\nSubject:");
    assert!(decoded(K::Email, absent.as_bytes()).events[0].flags.contains(&Flag::AutoSubmitted));
    assert!(!decoded(K::Email, mail.as_bytes()).events[0].flags.contains(&Flag::AutoSubmitted));
    let nameless = mail.replace("Message-ID: <1@example.org>\r\n", "");
    assert!(decoded(K::Email, nameless.as_bytes()).events[0].native_id.starts_with("blake3:"));
    assert_eq!(told(K::Email, "hello")[0].split(':').next(), Some("line 1"));
}

#[test]
fn form_is_json_or_what_a_browser_posts() {
    let expected = ["created 7 [private] @Ada L: <Refund> where is it & why?"];
    let posted = "id=7&name=Ada+L&email=Ada%40x.example&subject=Refund&message=where+is+it+%26+why%3F";
    assert_eq!(told(K::Form, posted), expected);
    let sent = json!({ "id": 7, "name": "Ada L", "email": "Ada@x.example", "subject": "Refund", "message": "where is it & why?" });
    assert_eq!(told(K::Form, &sent.to_string()), expected);
    check(K::Form, json!({ "name": "x" }), &["line 1: field 'message' is missing"]);
}

#[test]
fn panel_notes_share_their_session() {
    check(
        K::Panel,
        json!({ "session": "s1", "brand": "Acme", "date": "2026-01-01", "notes": [
        { "id": "n1", "participant": "p1", "text": "the app is slow", "rating": 2 }, { "participant": "p2" }] }),
        &["created n1 [2/5] [internal] @p1: the app is slow", "line 1, item 2: field 'text' is missing"],
    );
}

#[test]
fn envelopes_carry_text_or_lines_of_our_own() {
    let event = |data: Value| json!({ "specversion": "1.0", "id": "e1", "source": "/shop", "type": "x", "data": data });
    check(K::Cloudevents, event(json!("late again")), &["created /shop#e1 @: late again"]);
    check(
        K::Cloudevents,
        event(json!({ "id": 5, "text": "late", "author": "ada" })),
        &["created /shop#5 @ada: late"],
    );
    check(K::Cloudevents, event(json!({ "id": 5, "op": "deleted" })), &["deleted /shop#5"]);
    check(
        K::Cloudevents,
        json!([event(json!("a")), event(json!(7))]),
        &["created /shop#e1 @: a", "line 1, item 2: field 'data' is neither text nor an object"],
    );
    let encoded = json!({ "specversion": "1.0", "id": "e1", "source": "/s", "type": "x", "datacontenttype": "text/plain", "data_base64": "aGk=" });
    check(K::Cloudevents, encoded, &["created /s#e1 @: hi"]);
    check(K::Cloudevents, json!({ "specversion": "0.3" }), &["line 1: field 'specversion' is not 1.0"]);
    let webhook = json!({ "type": "review.created", "timestamp": "2026-01-01T00:00:00Z", "data": { "id": "5", "text": "late" } });
    check(K::StandardWebhook, webhook, &["created 5 @: late"]);
    check(K::StandardWebhook, json!({ "type": "ping" }), &["ignored ping"]);
}

#[test]
fn items_of_hacker_news_may_be_gone() {
    check(
        K::Hackernews,
        json!({ "id": 1, "by": "ada", "text": "a<p>b", "time": 1_700_000_000 }),
        &["created 1 @ada: a\n\nb"],
    );
    check(K::Hackernews, json!({ "id": 1, "deleted": true }), &["deleted 1"]);
    check(K::Hackernews, json!({ "id": 1, "dead": true, "text": "x" }), &["hidden 1"]);
    check(K::Hackernews, json!(null), &["ignored missing_item"]);
}

#[test]
fn graph_pages_are_read_beside_webhooks() {
    check(
        K::FacebookWebhook,
        json!({ "data": [{ "id": "1_2", "message": "late", "created_time": "2021-07-21T21:05:14+0000",
        "comments": { "data": [{ "id": "2_3", "message": "me too", "from": { "id": "9", "name": "Ada" } }] } }] }),
        &["created 1_2 @: late", "created 2_3 @Ada: me too"],
    );
    check(
        K::InstagramWebhook,
        json!({ "object": "instagram", "entry": [{ "id": "1", "time": 1_700_000_000, "changes": [
        { "field": "comments", "value": { "id": "5", "text": "late", "from": { "id": "9", "username": "ada" }, "media": { "id": "7" } } }] }] }),
        &["created 5 @ada: late"],
    );
}

#[test]
fn brands_are_found_in_text_handles_and_own_accounts() {
    let rule = BrandRule {
        brand: BrandId::parse("acme").unwrap(),
        words: vec!["acme air".into()],
        handles: vec!["@AcmeAir".into()],
        own_accounts: vec!["acmehelps".into()],
    };
    let matcher = Matcher::new(&[rule]).unwrap();
    for (text, author, brands, by_brand) in [
        ("why, ACME  Air?", "ada", 1, false),
        ("hey @acmeair", "ada", 1, false),
        ("we are sorry", "AcmeHelps", 1, true),
        ("something else", "ada", 0, false),
    ] {
        let line = json!({ "id": "1", "text": text, "author": author });
        let mut event = decoded(K::Ndjson, line.to_string().as_bytes()).events.remove(0);
        matcher.apply(&mut event);
        assert_eq!((event.brands.len(), event.by_brand.is_some()), (brands, by_brand), "{text}");
    }
    assert!(Matcher::parse("word,\"two words\"").is_ok());
}

#[test]
fn published_signature_vectors_are_believed() {
    let Some(shared) = shared() else { return };
    let vectors: Vec<Value> =
        serde_json::from_slice(&read(&files(&shared.join("sources/signatures/vectors.json"))[0])).unwrap();
    for vector in &vectors {
        let scheme = match vector["scheme"].as_str().unwrap().split(' ').next().unwrap() {
            "standard-webhooks" => Scheme::STANDARD_WEBHOOKS,
            "github" => Scheme::GITHUB,
            "slack" => Scheme::SLACK,
            other => panic!("unknown scheme {other}"),
        };
        let headers: Vec<(&str, &str)> = vector["headers"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str().unwrap()))
            .collect();
        let signed_at = scheme.time_header.map_or(0, |name| {
            headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).unwrap().1.parse().unwrap()
        });
        let secret = Secret::new(vector["secret"].as_str().unwrap());
        let body = vector["body"].as_str().unwrap().as_bytes();
        let now = Timestamp::from_seconds(signed_at);
        assert!(verify(&scheme, &[secret], headers, body, now).is_ok(), "{}", scheme.name);
    }
    assert_eq!(vectors.len(), 3);
}
