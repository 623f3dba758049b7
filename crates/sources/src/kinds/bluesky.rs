//! Bluesky's Jetstream, version 1 events.

use std::borrow::Cow;

use model::{Author, Engagement, EngagementKind, Flag, Media, MentionOp, TimeQuality, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::decoded::RefusalReason;
use crate::out::{Draft, Notice, Out, Words};
use crate::{entities, json, when};

const POST: &str = "app.bsky.feed.post";
const LIKE: &str = "app.bsky.feed.like";
const REPOST: &str = "app.bsky.feed.repost";

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    did: Cow<'a, str>,
    time_us: i64,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    commit: Option<Commit<'a>>,
    identity: Option<Identity>,
    account: Option<Account>,
}

#[derive(Deserialize)]
struct Commit<'a> {
    #[serde(borrow)]
    operation: Cow<'a, str>,
    #[serde(borrow)]
    collection: Cow<'a, str>,
    #[serde(borrow)]
    rkey: Cow<'a, str>,
    rev: Option<String>,
    cid: Option<String>,
    #[serde(borrow)]
    record: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Identity {
    handle: Option<String>,
}

#[derive(Deserialize)]
struct Account {
    active: Option<bool>,
}

#[derive(Deserialize)]
struct Post<'a> {
    #[serde(borrow, default)]
    text: Cow<'a, str>,
    #[serde(rename = "createdAt")]
    created_at: Option<String>,
    #[serde(default)]
    langs: Option<Vec<String>>,
    reply: Option<Reply>,
    embed: Option<Embed>,
    #[serde(default)]
    facets: Option<Vec<Facet>>,
    #[serde(default)]
    tags: Option<Vec<String>>,
    labels: Option<Labels>,
}

#[derive(Deserialize)]
struct Reply {
    root: Option<StrongRef>,
    parent: Option<StrongRef>,
}

#[derive(Deserialize)]
struct StrongRef {
    uri: Option<String>,
    /// Embeds of quotes with media wrap the reference once more.
    record: Option<Box<StrongRef>>,
}

#[derive(Deserialize)]
struct Embed {
    record: Option<StrongRef>,
    #[serde(default)]
    images: Option<Vec<Image>>,
    media: Option<EmbeddedMedia>,
    video: Option<serde::de::IgnoredAny>,
    external: Option<External>,
    alt: Option<String>,
}

#[derive(Deserialize)]
struct EmbeddedMedia {
    #[serde(default)]
    images: Option<Vec<Image>>,
    video: Option<serde::de::IgnoredAny>,
    external: Option<External>,
}

#[derive(Deserialize)]
struct Image {
    alt: Option<String>,
}

#[derive(Deserialize)]
struct External {
    uri: Option<String>,
}

#[derive(Deserialize)]
struct Facet {
    #[serde(default)]
    features: Vec<Feature>,
    index: Option<ByteRange>,
}

/// Bytes of the UTF-8 text, not characters.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ByteRange {
    byte_start: usize,
    byte_end: usize,
}

#[derive(Deserialize)]
struct Feature {
    did: Option<String>,
    tag: Option<String>,
    uri: Option<String>,
}

#[derive(Deserialize)]
struct Labels {
    #[serde(default)]
    values: Vec<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Reaction {
    subject: Option<StrongRef>,
}

pub(crate) fn event(bytes: &[u8], out: &mut Out<'_>) -> Result<(), RefusalReason> {
    let event: Event<'_> = json::typed(bytes)?;
    if !event.did.starts_with("did:") || event.did.len() > 2_048 {
        return Err(RefusalReason::BadField { field: "did", problem: "is no DID".into() });
    }
    let at = Timestamp::from_micros(event.time_us);
    match (&*event.kind, &event.commit) {
        ("commit", Some(commit)) => self::commit(&event.did, at, commit, out),
        ("commit", None) => Err(RefusalReason::MissingField("commit")),
        ("identity", _) => {
            let handle = event.identity.and_then(|i| i.handle);
            out.notice(account_notice(MentionOp::AuthorUpdated, &event.did, at, event.time_us, handle));
            Ok(())
        }
        ("account", _) => {
            if event.account.and_then(|a| a.active).unwrap_or(true) {
                out.ignore("account_active");
            } else {
                out.notice(account_notice(MentionOp::AuthorDeleted, &event.did, at, event.time_us, None));
            }
            Ok(())
        }
        _ => {
            out.ignore("other_kind");
            Ok(())
        }
    }
}

fn account_notice(op: MentionOp, did: &str, at: Timestamp, time_us: i64, handle: Option<String>) -> Notice {
    Notice {
        op,
        native_id: did.to_owned(),
        native_rev: time_us.to_string(),
        witnessed_at: Some(at),
        author: Some(Author { handle, ..author(did) }),
    }
}

fn author(did: &str) -> Author {
    Author {
        native_id: Some(did.to_owned()),
        profile_url: Some(format!("https://bsky.app/profile/{did}")),
        ..Author::default()
    }
}

fn commit(did: &str, at: Timestamp, commit: &Commit<'_>, out: &mut Out<'_>) -> Result<(), RefusalReason> {
    let uri = format!("at://{did}/{}/{}", commit.collection, commit.rkey);
    let rev = || commit.cid.clone().or_else(|| commit.rev.clone());
    match (&*commit.collection, &*commit.operation) {
        (POST, "create" | "update") => {
            let raw = commit.record.ok_or(RefusalReason::MissingField("record"))?;
            let post: Post<'_> = json::typed(raw.get().as_bytes())?;
            out.publish(draft(did, at, commit, uri, &post, out));
        }
        (POST, "delete") => out.notice(Notice {
            op: MentionOp::Deleted,
            native_id: uri,
            native_rev: rev().unwrap_or_else(|| "deleted".into()),
            witnessed_at: Some(at),
            author: Some(author(did)),
        }),
        (LIKE | REPOST, "create" | "update") => {
            let raw = commit.record.ok_or(RefusalReason::MissingField("record"))?;
            let reaction: Reaction = json::typed(raw.get().as_bytes())?;
            let subject = reaction.subject.and_then(|s| s.uri);
            let subject = subject.ok_or(RefusalReason::MissingField("record.subject.uri"))?;
            if !subject.contains(POST) {
                // Feeds and lists can be liked too.
                out.ignore("reaction_to_no_post");
                return Ok(());
            }
            out.memory.learn(uri.clone(), subject.clone());
            out.reaction(subject, uri, author(did), delta(&commit.collection, 1, at), Some(at));
        }
        (LIKE | REPOST, "delete") => match out.memory.recall(&uri).map(str::to_owned) {
            Some(subject) => {
                let undone = delta(&commit.collection, -1, at);
                out.reaction(subject, format!("{uri}#undone"), author(did), undone, Some(at));
            }
            // The wire names only the reaction; without its beginning nobody knows to what.
            None => out.ignore("reaction_undone_unseen"),
        },
        (_, "create" | "update" | "delete") => out.ignore("other_collection"),
        _ => return Err(RefusalReason::UnknownShape("commit with an unknown operation")),
    }
    Ok(())
}

fn delta(collection: &str, by: i64, at: Timestamp) -> Engagement {
    Engagement {
        likes: (collection == LIKE).then_some(by),
        reposts: (collection == REPOST).then_some(by),
        replies: None,
        quotes: None,
        views: None,
        score: None,
        as_of: at,
        kind: EngagementKind::Delta,
    }
}

fn draft<'p>(
    did: &str,
    at: Timestamp,
    commit: &Commit<'_>,
    uri: String,
    post: &'p Post<'_>,
    out: &Out<'_>,
) -> Draft<'p> {
    let op = if commit.operation == "update" { MentionOp::Edited } else { MentionOp::Created };
    let mut draft = Draft::new(op, uri, Words::Plain(&post.text));
    draft.native_rev = commit.cid.clone().or_else(|| commit.rev.clone());
    draft.author = author(did);
    draft.languages = post.langs.clone().unwrap_or_default();
    draft.languages.truncate(8);
    draft.created = post.created_at.as_deref().and_then(when::parse).map(|t| (t, TimeQuality::Claimed));
    draft.edited_at = (op == MentionOp::Edited).then_some(at);
    draft.witnessed_at = Some(at);
    draft.permalink = Some(format!("https://bsky.app/profile/{did}/post/{}", commit.rkey));
    if let Some(reply) = &post.reply {
        let uri = |r: &'_ Option<StrongRef>| r.as_ref().and_then(|r| r.uri.clone());
        let (root, parent) = (uri(&reply.root), uri(&reply.parent));
        draft.refs.root = root.as_deref().map(|uri| out.mention_id(uri));
        // First answers are the most frequent.
        draft.refs.reply_to =
            if parent == root { draft.refs.root } else { parent.map(|uri| out.mention_id(&uri)) };
        draft.refs.conversation = reply.root.as_ref().and_then(|r| r.uri.clone());
    }
    if post.labels.as_ref().is_some_and(|l| !l.values.is_empty()) {
        draft.flags.insert(Flag::Sensitive);
    }
    for facet in post.facets.iter().flatten() {
        let covered = facet.index.as_ref().and_then(|i| post.text.get(i.byte_start..i.byte_end));
        for feature in &facet.features {
            if let Some(tag) = &feature.tag {
                entities::add_hashtag(tag, &mut draft.entities);
            }
            if let Some(uri) = &feature.uri {
                entities::add_url(uri, None, &mut draft.entities);
            }
            if let Some(handle) = feature.did.as_ref().and(covered) {
                entities::add_mention(handle, feature.did.as_deref(), &mut draft.entities);
            }
        }
    }
    post.tags.iter().flatten().for_each(|tag| entities::add_hashtag(tag, &mut draft.entities));
    if let Some(embed) = &post.embed {
        let quoted = embed.record.as_ref().and_then(|r| r.uri.as_ref().or(r.record.as_ref()?.uri.as_ref()));
        draft.refs.quote_of = quoted.map(|uri| out.mention_id(uri));
        let inner = embed.media.as_ref();
        let images =
            embed.images.iter().flatten().chain(inner.and_then(|m| m.images.as_ref()).into_iter().flatten());
        draft.entities.media.extend(images.take(8).map(|image| Media {
            kind: "image".into(),
            url: None,
            alt: image.alt.clone().filter(|a| !a.is_empty()),
        }));
        if embed.video.is_some() || inner.is_some_and(|m| m.video.is_some()) {
            draft.entities.media.push(Media { kind: "video".into(), url: None, alt: embed.alt.clone() });
        }
        let external = embed.external.as_ref().or(inner.and_then(|m| m.external.as_ref()));
        if let Some(uri) = external.and_then(|e| e.uri.as_deref()) {
            entities::add_url(uri, None, &mut draft.entities);
        }
    }
    draft
}
