//! YouTube: comment threads and comments of the data API.

use model::{Author, Engagement, MentionOp, TimeQuality};
use serde_json::Value;

use crate::decoded::RefusalReason;
use crate::kinds::each_item;
use crate::out::{Draft, Out, Words, snapshot};
use crate::{json, when};

pub(crate) fn document(value: &Value, out: &mut Out<'_>) {
    if let Some(items) = value.get("items").and_then(Value::as_array) {
        if items.is_empty() {
            out.ignore("empty_page");
        }
        return each_item(items, out, document);
    }
    if value.get("error").is_some() {
        return out.refuse(RefusalReason::ErrorAnswer);
    }
    if !value.is_object() {
        return out.refuse(RefusalReason::UnknownShape("needs an object"));
    }
    if let Some(top) = value.pointer("/snippet/topLevelComment") {
        let video = json::text_at(value, "/snippet/videoId");
        let replies = json::int_at(value, "/snippet/totalReplyCount");
        comment(top, video, replies, out);
        for reply in value.pointer("/replies/comments").and_then(Value::as_array).into_iter().flatten() {
            comment(reply, video, None, out);
        }
    } else if value.pointer("/snippet/textDisplay").is_some()
        || value.pointer("/snippet/textOriginal").is_some()
    {
        comment(value, None, None, out);
    } else {
        out.ignore("no_comment");
    }
}

fn comment(comment: &Value, video: Option<&str>, replies: Option<i64>, out: &mut Out<'_>) {
    let snippet = comment.get("snippet").unwrap_or(&Value::Null);
    let Some(id) = json::text(comment, "id") else { return out.refuse(RefusalReason::MissingField("id")) };
    let original = json::text(snippet, "textOriginal").map(Words::Plain);
    let words = original.or_else(|| snippet.get("textDisplay").and_then(Value::as_str).map(Words::Html));
    let Some(words) = words else { return out.refuse(RefusalReason::MissingField("snippet.textDisplay")) };
    let time = |name| json::text(snippet, name).and_then(when::parse);
    let (published, updated) = (time("publishedAt"), time("updatedAt"));
    let edited_at = updated.filter(|u| published.is_some_and(|p| *u > p));
    let op = if edited_at.is_some() { MentionOp::Edited } else { MentionOp::Created };
    let mut draft = Draft::new(op, id.to_owned(), words);
    draft.native_rev = updated.map(|at| at.to_string());
    draft.author = Author {
        native_id: json::text_at(snippet, "/authorChannelId/value").map(str::to_owned),
        display_name: json::text(snippet, "authorDisplayName").map(str::to_owned),
        handle: json::text(snippet, "authorDisplayName").and_then(|n| n.strip_prefix('@')).map(str::to_owned),
        profile_url: json::text(snippet, "authorChannelUrl").map(str::to_owned),
        ..Author::default()
    };
    draft.created = published.map(|at| (at, TimeQuality::Platform));
    draft.edited_at = edited_at;
    // A reply's id begins with that of the comment which it answers.
    let parent = json::text(snippet, "parentId").or_else(|| id.split_once('.').map(|(parent, _)| parent));
    draft.refs.reply_to = parent.map(|p| out.mention_id(p));
    draft.refs.root = draft.refs.reply_to;
    draft.refs.conversation = parent.map(str::to_owned);
    let video = json::text(snippet, "videoId").or(video);
    draft.refs.place = video.or(json::text(snippet, "channelId")).map(str::to_owned);
    draft.permalink = video.map(|v| format!("https://www.youtube.com/watch?v={v}&lc={id}"));
    draft.engagement =
        Some(Engagement { likes: json::int(snippet, "likeCount"), replies, ..snapshot(out.ctx.received_at) });
    out.publish(draft);
}
