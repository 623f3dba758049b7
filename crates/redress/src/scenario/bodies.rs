//! Writes the bytes that real sources would send: Mastodon's stream, Bluesky's Jetstream, X's v2 stream.

use model::{SourceKind, Timestamp};
use serde_json::{Value, json};

use super::Arrival;

/// The Mastodon server of the scenarios; replies name their parent by its local id, as the real one does.
pub(super) const MASTODON_HOST: &str = "social.example";

/// A person on the Mastodon server.
#[derive(Debug, Clone)]
pub(super) struct Person {
    pub(super) name: String,
    pub(super) display_name: String,
    pub(super) followers: u64,
}

/// A status on the Mastodon server.
#[derive(Debug, Clone)]
pub(super) struct Status<'a> {
    pub(super) id: u64,
    pub(super) author: &'a Person,
    pub(super) text: &'a str,
    pub(super) language: &'a str,
    /// The local id of the status it answers.
    pub(super) reply_to: Option<u64>,
    /// Only the people addressed may see it.
    pub(super) is_direct: bool,
}

pub(super) fn mastodon(at: Timestamp, status: &Status<'_>) -> Arrival {
    sse(at, &status_json(at, status))
}

/// `who` repeats `original`, which was written at `original_at`.
pub(super) fn boost(at: Timestamp, id: u64, who: &Person, original: &Status<'_>, original_at: Timestamp) -> Arrival {
    let repeated = Status { id, author: who, text: "", language: original.language, reply_to: None, is_direct: false };
    let mut outer = status_json(at, &repeated);
    outer["reblog"] = status_json(original_at, original);
    outer["uri"] = json!(format!("https://{MASTODON_HOST}/users/{}/statuses/{id}/activity", who.name));
    sse(at, &outer)
}

fn sse(at: Timestamp, status: &Value) -> Arrival {
    let body = format!("event: update\ndata: {status}\n\n").into_bytes();
    Arrival { at, kind: SourceKind::Mastodon, instance: MASTODON_HOST, body }
}

fn status_json(at: Timestamp, status: &Status<'_>) -> Value {
    let name = &status.author.name;
    let id = status.id.to_string();
    json!({
        "id": id,
        "uri": format!("https://{MASTODON_HOST}/users/{name}/statuses/{id}"),
        "url": format!("https://{MASTODON_HOST}/@{name}/{id}"),
        "created_at": at.to_string(),
        "content": format!("<p>{}</p>", escape(status.text)),
        "visibility": if status.is_direct { "direct" } else { "public" },
        "language": status.language,
        "sensitive": false,
        "spoiler_text": "",
        "in_reply_to_id": status.reply_to.map(|id| id.to_string()),
        "in_reply_to_account_id": null,
        "reblog": null,
        "replies_count": 0, "reblogs_count": 0, "favourites_count": 0,
        "media_attachments": [], "mentions": [], "tags": [], "emojis": [],
        "account": {
            "id": name,
            "username": name,
            "acct": name,
            "display_name": status.author.display_name,
            "url": format!("https://{MASTODON_HOST}/@{name}"),
            "followers_count": status.author.followers,
            "bot": false,
        },
    })
}

pub(super) fn bluesky(at: Timestamp, author: u32, number: u64, language: &str, text: &str) -> Arrival {
    let rkey = format!("3k{number:011}");
    let event = json!({
        "did": format!("did:plc:scenario{author:06}"),
        "time_us": at.as_micros(),
        "kind": "commit",
        "commit": {
            "rev": rkey, "operation": "create", "collection": "app.bsky.feed.post", "rkey": rkey,
            "cid": format!("bafyreiscenario{number:011}"),
            "record": {
                "$type": "app.bsky.feed.post",
                "createdAt": at.to_string(),
                "langs": [language],
                "text": text,
            },
        },
    });
    Arrival { at, kind: SourceKind::BlueskyJetstream, instance: "", body: format!("{event}\n").into_bytes() }
}

pub(super) fn x_v2(at: Timestamp, author: u32, number: u64, followers: u64, language: &str, text: &str) -> Arrival {
    let id = (1_760_000_000_000_000_000 + number).to_string();
    let event = json!({
        "data": {
            "id": id,
            "author_id": author.to_string(),
            "conversation_id": id,
            "edit_history_tweet_ids": [id],
            "created_at": at.to_string(),
            "lang": language,
            "text": escape(text),
            "public_metrics": {"retweet_count": 0, "reply_count": 0, "like_count": 0, "quote_count": 0},
        },
        "includes": {"users": [{
            "id": author.to_string(),
            "username": format!("person{author}"),
            "name": format!("Person {author}"),
            "public_metrics": {"followers_count": followers},
        }]},
    });
    Arrival { at, kind: SourceKind::XV2, instance: "", body: format!("{event}\n").into_bytes() }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
