//! Every recording of a source decodes without loss. The recordings lie beside the repository; without
//! them these tests print one line and pass. The file `docs/recordings.md` is the table they make.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod common;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use common::{check_event, decoded_with, files, read, shared};
use model::{MentionEvent, MentionOp, SourceKind};
use sources::Decoded;

/// One recording: where, as which kind, with which column map, and how its file wraps the bodies.
struct Recording {
    kind: SourceKind,
    place: &'static str,
    map: &'static str,
    packing: Packing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Packing {
    /// The file is the body.
    Body,
    /// Lines `{"body_raw": "..."}` of recorded exchanges.
    Exchanges,
    /// The same, only those of version 1.1 or 2 of an API.
    ExchangesV1,
    ExchangesV2,
    /// One delivery with its headers: `{"headers": {...}, "raw_body": "..."}`.
    Delivery,
}

const fn body(kind: SourceKind, place: &'static str) -> Recording {
    Recording { kind, place, map: "", packing: Packing::Body }
}

const fn exchanges(kind: SourceKind, place: &'static str) -> Recording {
    Recording { kind, place, map: "", packing: Packing::Exchanges }
}

const fn table(place: &'static str, map: &'static str) -> Recording {
    Recording { kind: SourceKind::Csv, place, map, packing: Packing::Body }
}

const AIRLINE: &str =
    "tweet_id=id,text=text,name=author,tweet_created=created_at,airline=brand,retweet_count=reposts";
const TWCS: &str =
    "tweet_id=id,text=text,author_id=author_id,created_at=created_at,in_response_to_tweet_id=reply_to";

const RECORDINGS: &[Recording] = &[
    table("sources/x_csv/airline/Tweets.csv", AIRLINE),
    table("sources/x_csv/twcs/twcs_head.csv", TWCS),
    table("hostile/csv/airline_sci_notation_ids_head.csv", AIRLINE),
    table("hostile/csv/twcs_bare_cr_in_unquoted_field.csv", TWCS),
    body(SourceKind::BlueskyJetstream, "sources/bluesky/jetstream_v1_152_events.jsonl"),
    body(SourceKind::BlueskyJetstream, "sources/bluesky/jetstream_v1_golden_10.jsonl"),
    body(SourceKind::XV2, "sources/x_v2"),
    body(SourceKind::Mastodon, "sources/mastodon/streaming"),
    exchanges(SourceKind::Mastodon, "sources/mastodon/exchanges"),
    body(SourceKind::Feed, "sources/feeds/feed-rs"),
    Recording {
        kind: SourceKind::XV1,
        place: "sources/x_v1_1/exchanges",
        map: "",
        packing: Packing::ExchangesV1,
    },
    Recording {
        kind: SourceKind::XV2,
        place: "sources/x_v1_1/exchanges",
        map: "",
        packing: Packing::ExchangesV2,
    },
    exchanges(SourceKind::Reddit, "sources/reddit/exchanges"),
    body(SourceKind::YoutubeComments, "sources/youtube/apidata/comment_threads"),
    body(SourceKind::YoutubeComments, "sources/youtube/apidata/comments"),
    body(SourceKind::YoutubeComments, "sources/youtube/error_response.json"),
    body(SourceKind::FacebookWebhook, "sources/facebook_webhooks"),
    body(SourceKind::FacebookWebhook, "sources/facebook_instagram/facebook/apidata"),
    body(SourceKind::InstagramWebhook, "sources/facebook_webhooks/instagram-comment-huawei-doc.partial.json"),
    body(SourceKind::InstagramWebhook, "sources/facebook_instagram/instagram/apidata"),
    body(SourceKind::AppstoreRss, "sources/appstore/FixtureReviewAPI.json"),
    body(SourceKind::AppstoreRss, "sources/docs_examples/appstoreconnect_customer_review.json"),
    body(SourceKind::Trustpilot, "sources/docs_examples/trustpilot_service_review_created.json"),
    body(SourceKind::Discourse, "sources/discourse/post_small_action.json"),
    body(SourceKind::Zendesk, "sources/docs_examples/zendesk_user_active_changed.json"),
    Recording {
        kind: SourceKind::Zendesk,
        place: "sources/docs_examples/zendesk_ticket_created_delivery.json",
        map: "",
        packing: Packing::Delivery,
    },
    body(SourceKind::Intercom, "sources/intercom"),
    body(SourceKind::Github, "sources/github"),
    body(SourceKind::Slack, "sources/slack/events"),
    body(SourceKind::Hackernews, "sources/hackernews/items.jsonl"),
    body(SourceKind::Email, "sources/email/mail-parser/eml"),
    body(SourceKind::Email, "sources/email/mail-parser/maildir"),
    body(SourceKind::Cloudevents, "sources/cloudevents"),
];

/// The bodies below a place; licences and the expected output of other parsers are none.
fn bodies(place: &Path) -> Vec<PathBuf> {
    let mut found = files(place);
    found.retain(|f| {
        let name = f.file_name().unwrap().to_string_lossy();
        let parsed_mail = name.ends_with(".json") && f.components().any(|c| c.as_os_str() == "eml");
        let about = ["LICENSE", "COPYING"].iter().any(|n| name.starts_with(n)) || name.ends_with(".md");
        !parsed_mail && !about && !name.ends_with(".serde.json")
    });
    found
}

fn decoded(recording: &Recording, bytes: &[u8]) -> Decoded {
    let one = |body: &[u8]| decoded_with(recording.kind, recording.map, "", body);
    match recording.packing {
        Packing::Body => return one(bytes),
        Packing::Delivery => {
            let delivery: serde_json::Value = serde_json::from_slice(bytes).unwrap();
            return one(delivery["raw_body"].as_str().unwrap().as_bytes());
        }
        Packing::Exchanges | Packing::ExchangesV1 | Packing::ExchangesV2 => {}
    }
    let mut all = Decoded::default();
    for line in bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        let exchange: serde_json::Value = serde_json::from_slice(line).unwrap();
        let second = exchange["uri"].as_str().unwrap_or_default().contains(".com/2/");
        let wanted = match recording.packing {
            Packing::ExchangesV1 => !second,
            Packing::ExchangesV2 => second,
            _ => true,
        };
        if let Some(body) = exchange["body_raw"].as_str().filter(|_| wanted) {
            all.append(one(body.as_bytes()));
        }
    }
    all
}

#[test]
fn recordings_decode_without_loss() {
    let Some(shared) = shared() else { return };
    let mut table = String::from(HEAD);
    let mut totals: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    for recording in RECORDINGS {
        let mut sum = Decoded::default();
        let found = bodies(&shared.join(recording.place));
        let file_by_file = found.len() > 1 && recording.packing == Packing::Body && by_file(recording.kind);
        for file in &found {
            let result = decoded(recording, &read(file));
            result.events.iter().for_each(check_event);
            if file_by_file {
                let name = file.strip_prefix(&shared).unwrap().display().to_string();
                write_row(&mut table, recording, &name, &result);
            }
            sum.append(result);
        }
        let mentions = sum.events.iter().filter(|e| is_mention(e)).count();
        let parts = [mentions, sum.events.len() - mentions, sum.ignored.len(), sum.refusals.len()];
        if matches!(recording.kind, SourceKind::Csv | SourceKind::BlueskyJetstream) {
            assert_eq!(sum.records as usize, parts.iter().sum::<usize>(), "{}", recording.place);
        }
        if !file_by_file {
            let many = if found.len() > 1 { format!(" ({} files)", found.len()) } else { String::new() };
            write_row(&mut table, recording, &format!("{}{many}", recording.place), &sum);
        }
        let total = totals.entry(recording.kind.name()).or_default();
        total.iter_mut().zip(parts).for_each(|(total, part)| *total += part);
    }
    table.push_str(
        "\n| kind | mentions | other events | without a mention | refused |\n|---|---|---|---|---|\n",
    );
    for (kind, [mentions, others, ignored, refused]) in &totals {
        writeln!(table, "| {kind} | {mentions} | {others} | {ignored} | {refused} |").unwrap();
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/recordings.md");
    let written = String::from_utf8(read(&page)).unwrap();
    assert!(written.ends_with(&table), "docs/recordings.md is out of date; its tables should be:\n{table}");
}

const HEAD: &str = "\
| kind | recording | records | events | without a mention | refused |
|---|---|---|---|---|---|
";

/// The kinds that people replay are told file by file, the others folder by folder.
fn by_file(kind: SourceKind) -> bool {
    matches!(kind, SourceKind::XV2 | SourceKind::Mastodon | SourceKind::Feed | SourceKind::FacebookWebhook)
}

fn is_mention(event: &MentionEvent) -> bool {
    matches!(event.op, MentionOp::Created | MentionOp::Edited)
}

fn write_row(table: &mut String, recording: &Recording, name: &str, result: &Decoded) {
    let count = |labels: Vec<&'static str>| {
        let mut by_label: BTreeMap<&str, usize> = BTreeMap::new();
        labels.into_iter().for_each(|l| *by_label.entry(l).or_default() += 1);
        let parts: Vec<String> = by_label.iter().map(|(l, n)| format!("{l} {n}")).collect();
        if parts.is_empty() { "-".to_owned() } else { parts.join(", ") }
    };
    let events = count(result.events.iter().map(|e| e.op.name()).collect());
    let ignored = count(result.ignored.iter().map(|i| i.label).collect());
    let refused = count(result.refusals.iter().map(|r| r.reason.label()).collect());
    let kind = recording.kind.name();
    writeln!(table, "| {kind} | {name} | {} | {events} | {ignored} | {refused} |", result.records).unwrap();
}
