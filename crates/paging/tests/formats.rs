//! What goes over each wire, and how answers are judged.

#![allow(clippy::unwrap_used)]

use model::{BrandId, MentionId, Severity, Subject, Timestamp, Topic};
use paging::format::{Answer, pagerduty, slack, webhook};
use paging::{
    Attempt, Counts, Effect, Episode, Evidence, Facts, Input, Mutes, Notice, NoticeKind, NoticeReason,
    Policy, Reason, Route, Secret, Signal, SignalKind, What, decide,
};
use serde_json::Value;

fn at() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn episode(excerpt: &str, pieces: usize) -> Episode {
    let evidence = (0..pieces)
        .map(|n| Evidence {
            mention: MentionId::derive(&[&n.to_string()]),
            excerpt: excerpt.to_owned(),
            author_handle: "bob".into(),
            permalink: String::new(),
            at: at(),
            severity: Severity::Blame,
            complaint: 0.9,
            author_key: String::new(),
        })
        .collect();
    let signal = Signal {
        rule: Policy::SEVERE_COMPLAINT.into(),
        subject: Subject::Topic { brand: BrandId::slugify("acme"), topic: Topic::slugify("refund") },
        topic: Some(Topic::slugify("refund")),
        kind: SignalKind::Opened,
        facts: Facts {
            title: format!("acme refund: {excerpt}"),
            surprise: f64::INFINITY,
            counts: Counts::Total { posts: 41, people: 38 },
            severity: Severity::Blame,
            forecast: None,
            evidence,
            thread_root: None,
            since: at(),
        },
        at: at(),
        why: Reason::Observed {
            code: "severe".into(),
            words: excerpt.to_owned(),
            numbers: Default::default(),
        },
    };
    let policy =
        Policy { routes: vec![Route { to: vec!["d".into()], ..Route::default() }], ..Policy::default() };
    let input = Input { what: What::Signal(Box::new(signal)), mutes: Mutes::default() };
    let decision = decide(None, input, at(), &policy);
    assert!(decision.effects.iter().any(|e| matches!(e, Effect::Notify { .. })));
    decision.next.unwrap()
}

fn notice(excerpt: &str, pieces: usize, kind: NoticeKind) -> Notice {
    let episode = episode(excerpt, pieces);
    Notice {
        delivery_id: Notice::id(&episode, kind, "my.chat"),
        destination: "my.chat".into(),
        kind,
        reason: NoticeReason::FirstNotification,
        at: at(),
        episode,
    }
}

fn json(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap()
}

/// Text that tries to be markup in every wire.
fn hostile() -> Vec<String> {
    vec![
        "<!channel> & <script>alert(1)</script>".into(),
        "\u{202e}txet desrever\u{202c} \0\u{7} \"quotes\" \\ back".into(),
        "ü🎸".repeat(300_000),
        "\u{fffd}\n\n> forged quote\n*bold*".into(),
        String::new(),
    ]
}

#[test]
fn hostile_text_is_data_within_limits_on_every_wire() {
    for text in hostile() {
        for kind in [NoticeKind::Page, NoticeKind::Update, NoticeKind::Acknowledged, NoticeKind::Resolve] {
            let notice = notice(&text, 8, kind);
            let chat = json(&slack::render(&notice, "https://r.example/").body);
            let blocks = chat["blocks"].as_array().unwrap();
            assert!(blocks.len() <= 50);
            let header = blocks[0]["text"]["text"].as_str().unwrap();
            assert!(header.chars().count() <= 150 && !header.contains('\u{202e}'));
            for block in blocks {
                let text = block["text"]["text"].as_str().unwrap_or_default();
                assert!(text.chars().count() <= 3_000);
                if block["text"]["type"] == "mrkdwn" {
                    assert!(!text.contains('<'), "{text}");
                }
                for field in block["fields"].as_array().into_iter().flatten() {
                    assert!(field["text"].as_str().unwrap().chars().count() <= 2_000);
                }
            }
            assert!(!chat["text"].as_str().unwrap().contains("<!"));
            let pager = pagerduty::render(&notice, "https://r.example", "key");
            assert!(pager.body.len() < 512 * 1024);
            let hook = webhook::render(&notice, "", &[], at());
            assert!(hook.body.len() <= webhook::BODY_BYTES_MAX, "{}", hook.body.len());
            json(&hook.body);
        }
    }
}

#[test]
fn webhook_repeat_has_the_same_id_and_body_and_a_new_signature() {
    let secret = Secret::parse("whsec_YWxlcnRzLWRlbW8tc2VjcmV0LTMyLWJ5dGVzLWxvbmc=").unwrap();
    let notice = notice("angry", 2, NoticeKind::Page);
    let first = webhook::render(&notice, "https://r.example", std::slice::from_ref(&secret), at());
    let again = webhook::render(&notice, "https://r.example", &[secret], at().plus_millis(5_000));
    assert_eq!(first.body, again.body);
    assert_eq!(first.headers[0], again.headers[0]);
    assert_ne!(first.headers[2], again.headers[2]);
    assert!(!notice.delivery_id.contains('.'));
    let body = json(&first.body);
    assert_eq!(body["type"], "alert.episode.paged");
    assert_eq!(body["data"]["link"], format!("https://r.example/alerts/{}", notice.episode.id));
    assert_eq!(body["data"]["posts"], 41);
}

#[test]
fn pagerduty_has_one_key_for_all_of_an_episode() {
    for (kind, action) in [
        (NoticeKind::Page, "trigger"),
        (NoticeKind::Update, "trigger"),
        (NoticeKind::Acknowledged, "acknowledge"),
        (NoticeKind::Resolve, "resolve"),
    ] {
        let notice = notice("angry", 1, kind);
        let body = json(&pagerduty::render(&notice, "", "r-key").body);
        assert_eq!(body["event_action"], action);
        assert_eq!(body["dedup_key"], notice.episode.dedup_key());
        assert_eq!(body["dedup_key"].as_str().unwrap().len(), 64);
        assert_eq!(body["payload"].is_object(), action == "trigger");
    }
}

#[test]
fn success_needs_status_and_body() {
    let answer = |status, body: &'static str| Answer { status, retry_after: None, body: body.as_bytes() };
    assert_eq!(slack::judge_answer(&answer(200, "ok\n"), at()), Attempt::Ok);
    for body in ["", "no_service", "{\"ok\":false}"] {
        assert!(matches!(slack::judge_answer(&answer(200, body), at()), Attempt::Retry(_)), "{body}");
    }
    assert!(matches!(slack::judge_answer(&answer(404, "no_team"), at()), Attempt::Permanent(_)));
    assert_eq!(pagerduty::judge_answer(&answer(202, "{}"), at()), Attempt::Ok);
    assert!(matches!(pagerduty::judge_answer(&answer(200, "{}"), at()), Attempt::Retry(_)));
    assert_eq!(webhook::judge_answer(&answer(204, ""), at()), Attempt::Ok);
    assert!(matches!(webhook::judge_answer(&answer(302, ""), at()), Attempt::Permanent(_)));
}

#[test]
fn episode_is_stored_and_read_back_unchanged() {
    let mut episode = episode("text", 3);
    episode.surprise = 4.25;
    let stored = serde_json::to_vec(&episode).unwrap();
    assert_eq!(serde_json::from_slice::<Episode>(&stored).unwrap(), episode);
}
