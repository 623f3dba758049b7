//! Google Play: pages of `reviews.list`, and single reviews.

use model::{Author, Engagement, MentionOp, Rating, TimeQuality, Timestamp};
use serde_json::Value;

use crate::decoded::RefusalReason;
use crate::json;
use crate::kinds::each_item;
use crate::out::{Draft, Out, Words, snapshot};

pub(crate) fn document(value: &Value, out: &mut Out<'_>) {
    match value.get("reviews") {
        Some(Value::Array(list)) if list.is_empty() => out.ignore("empty_page"),
        Some(Value::Array(list)) => each_item(list, out, review),
        _ if value.get("reviewId").is_some() => review(value, out),
        _ if value.get("error").is_some() => out.refuse(RefusalReason::ErrorAnswer),
        _ if value.get("tokenPagination").is_some()
            || value.as_object().is_some_and(serde_json::Map::is_empty) =>
        {
            out.ignore("empty_page");
        }
        _ => out.refuse(RefusalReason::UnknownShape("no reviews")),
    }
}

fn review(review: &Value, out: &mut Out<'_>) {
    let Some(id) = json::text(review, "reviewId") else {
        return out.refuse(RefusalReason::MissingField("reviewId"));
    };
    let mut said_something = false;
    for comment in json::items(review, "comments") {
        if let Some(words) = comment.get("userComment") {
            said_something = true;
            out.publish(user_comment(review, id, words, out));
        } else if let Some(words) = comment.get("developerComment") {
            said_something = true;
            out.publish(reply(id, words, out));
        }
    }
    if !said_something {
        out.refuse(RefusalReason::MissingField("comments"));
    }
}

fn user_comment<'v>(review: &'v Value, id: &str, comment: &'v Value, out: &Out<'_>) -> Draft<'v> {
    let all = comment.get("text").and_then(Value::as_str).unwrap_or_default();
    // Old reviews have a title, divided from the text by a tab.
    let (title, words) = all.split_once('\t').map_or((None, all), |(title, words)| (Some(title), words));
    let at = modified(comment);
    let mut draft = Draft::new(MentionOp::Created, id.to_owned(), Words::Plain(words));
    draft.native_rev = at.map(|at| at.to_string());
    draft.title = title.filter(|t| !t.trim().is_empty());
    draft.rating = json::float(comment, "starRating").and_then(|r| Rating::new(r as f32, 5.0).ok());
    draft.author =
        Author { display_name: json::text(review, "authorName").map(str::to_owned), ..Author::default() };
    draft.languages =
        json::text(comment, "reviewerLanguage").map(|l| l.replace('_', "-")).into_iter().collect();
    draft.created = at.map(|at| (at, TimeQuality::Platform));
    draft.refs.place = (!out.ctx.instance.is_empty()).then(|| out.ctx.instance.to_owned());
    draft.engagement = Some(Engagement {
        likes: json::int(comment, "thumbsUpCount"),
        score: json::int(comment, "thumbsDownCount").map(|down| -down),
        ..snapshot(out.ctx.received_at)
    });
    draft
}

/// The developer's answer: a review has at most one.
fn reply<'v>(id: &str, comment: &'v Value, out: &Out<'_>) -> Draft<'v> {
    let words = comment.get("text").and_then(Value::as_str).unwrap_or_default();
    let at = modified(comment);
    let mut draft = Draft::new(MentionOp::Created, format!("{id}/reply"), Words::Plain(words));
    draft.native_rev = at.map(|at| at.to_string());
    draft.author.is_staff = Some(true);
    draft.created = at.map(|at| (at, TimeQuality::Platform));
    draft.refs.root = Some(out.mention_id(id));
    draft.refs.reply_to = draft.refs.root;
    draft
}

/// Seconds come as text, because they are 64 bits long.
fn modified(comment: &Value) -> Option<Timestamp> {
    let seconds = json::int_at(comment, "/lastModified/seconds")?;
    let nanos = json::int_at(comment, "/lastModified/nanos").unwrap_or(0);
    Some(Timestamp::from_micros(seconds.checked_mul(1_000_000)?.checked_add(nanos / 1_000)?))
}
