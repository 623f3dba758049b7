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
pub(super) fn boost(
    at: Timestamp,
    id: u64,
    who: &Person,
    original: &Status<'_>,
    original_at: Timestamp,
) -> Arrival {
    let repeated =
        Status { id, author: who, text: "", language: original.language, reply_to: None, is_direct: false };
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

/// A post on Bluesky.
#[derive(Debug, Clone)]
pub(super) struct Skeet<'a> {
    pub(super) did: &'a str,
    pub(super) number: u64,
    pub(super) language: &'a str,
    pub(super) text: &'a str,
    /// Who wrote the post it answers, and its number.
    pub(super) reply_to: Option<(&'a str, u64)>,
}

pub(super) fn did(author: u32) -> String {
    format!("did:plc:scenario{author:06}")
}

pub(super) fn bluesky(at: Timestamp, post: &Skeet<'_>) -> Arrival {
    let rkey = |number: u64| format!("3k{number:011}");
    let cid = |number: u64| format!("bafyreiscenario{number:011}");
    let mut record = json!({
        "$type": "app.bsky.feed.post",
        "createdAt": at.to_string(),
        "langs": [post.language],
        "text": post.text,
    });
    if let Some((did, number)) = post.reply_to {
        let parent =
            json!({"uri": format!("at://{did}/app.bsky.feed.post/{}", rkey(number)), "cid": cid(number)});
        record["reply"] = json!({"root": parent, "parent": parent});
    }
    let rkey = rkey(post.number);
    let event = json!({
        "did": post.did,
        "time_us": at.as_micros(),
        "kind": "commit",
        "commit": {
            "rev": rkey, "operation": "create", "collection": "app.bsky.feed.post", "rkey": rkey,
            "cid": cid(post.number),
            "record": record,
        },
    });
    Arrival { at, kind: SourceKind::BlueskyJetstream, instance: "", body: format!("{event}\n").into_bytes() }
}

/// A post on X.
#[derive(Debug, Clone)]
pub(super) struct Tweet<'a> {
    pub(super) author: u64,
    pub(super) username: &'a str,
    pub(super) followers: u64,
    pub(super) number: u64,
    pub(super) language: &'a str,
    pub(super) text: &'a str,
    /// The number of the post it answers.
    pub(super) reply_to: Option<u64>,
}

pub(super) fn x_v2(at: Timestamp, post: &Tweet<'_>) -> Arrival {
    let id = |number: u64| (1_760_000_000_000_000_000 + number).to_string();
    let mut data = json!({
        "id": id(post.number),
        "author_id": post.author.to_string(),
        "conversation_id": id(post.reply_to.unwrap_or(post.number)),
        "edit_history_tweet_ids": [id(post.number)],
        "created_at": at.to_string(),
        "lang": post.language,
        "text": escape(post.text),
        "public_metrics": {"retweet_count": 0, "reply_count": 0, "like_count": 0, "quote_count": 0},
    });
    if let Some(parent) = post.reply_to {
        data["referenced_tweets"] = json!([{"type": "replied_to", "id": id(parent)}]);
    }
    let event = json!({
        "data": data,
        "includes": {"users": [{
            "id": post.author.to_string(),
            "username": post.username,
            "name": post.username,
            "public_metrics": {"followers_count": post.followers},
        }]},
    });
    Arrival { at, kind: SourceKind::XV2, instance: "", body: format!("{event}\n").into_bytes() }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
