//! App Store reviews: the public feed (JSON or XML), and App Store Connect.

use model::{Author, Engagement, MentionOp, Rating, TimeQuality};
use serde_json::Value;

use crate::decoded::RefusalReason;
use crate::kinds::{each_item, each_value, feed};
use crate::out::{Draft, Out, Words, snapshot};
use crate::{json, when};

/// The public feed exists as JSON and as XML.
pub(crate) fn document_of(bytes: &[u8], out: &mut Out<'_>) {
    if bytes.first() == Some(&b'<') {
        return feed::document(bytes, out);
    }
    each_value(bytes, out, document);
}

fn document(value: &Value, out: &mut Out<'_>) {
    match value.pointer("/feed/entry") {
        Some(Value::Array(list)) => each_item(list, out, entry),
        // A single review is no list.
        Some(one) => entry(one, out),
        None if value.get("feed").is_some() => out.ignore("empty_feed"),
        None => match value.get("data") {
            Some(Value::Array(list)) => each_item(list, out, review),
            Some(one) => review(one, out),
            None if value.get("errors").is_some() => out.refuse(RefusalReason::ErrorAnswer),
            None if value.get("im:rating").is_some() => entry(value, out),
            None => review(value, out),
        },
    }
}

fn entry(entry: &Value, out: &mut Out<'_>) {
    let label = |name: &str| json::text_at(entry, &format!("/{name}/label"));
    let Some(stars) = label("im:rating") else {
        // The first entry of some pages is the app itself.
        return out.ignore("app");
    };
    let Some(id) = label("id") else { return out.refuse(RefusalReason::MissingField("id")) };
    let words = entry.pointer("/content/label").and_then(Value::as_str).unwrap_or_default();
    let mut draft = Draft::new(MentionOp::Created, id.to_owned(), Words::Plain(words));
    draft.title = label("title");
    draft.rating = stars.parse().ok().and_then(|stars| Rating::new(stars, 5.0).ok());
    let page = json::text_at(entry, "/author/uri/label");
    draft.author = Author {
        native_id: page.and_then(|p| p.rsplit_once("/id")).map(|(_, id)| id.to_owned()),
        display_name: json::text_at(entry, "/author/name/label").map(str::to_owned),
        profile_url: page.map(str::to_owned),
        ..Author::default()
    };
    // Older feeds have no date at all.
    draft.created = label("updated").and_then(when::parse).map(|at| (at, TimeQuality::Platform));
    let link = json::text_at(entry, "/link/attributes/href");
    draft.permalink = link.map(str::to_owned);
    // The link names the app: `.../review?id=APP&type=...`.
    let app =
        link.and_then(|l| l.split_once("id=")).map(|(_, id)| id.split('&').next().unwrap_or(id).to_owned());
    draft.refs.place = app.or_else(|| (!out.ctx.instance.is_empty()).then(|| out.ctx.instance.to_owned()));
    let votes = label("im:voteSum").and_then(|v| v.parse().ok());
    draft.engagement = Some(Engagement { score: votes, ..snapshot(out.ctx.received_at) });
    out.publish(draft);
}

fn review(review: &Value, out: &mut Out<'_>) {
    let Some(attributes) =
        review.get("attributes").filter(|_| json::text(review, "type") == Some("customerReviews"))
    else {
        return match json::text(review, "type") {
            Some(_) => out.ignore("no_review"),
            None => out.refuse(RefusalReason::UnknownShape("no feed and no customerReviews")),
        };
    };
    let Some(id) = json::id(review, "id") else { return out.refuse(RefusalReason::MissingField("id")) };
    let words = attributes.get("body").and_then(Value::as_str).unwrap_or_default();
    let mut draft = Draft::new(MentionOp::Created, id, Words::Plain(words));
    draft.title = json::text(attributes, "title");
    draft.rating = json::float(attributes, "rating").and_then(|r| Rating::new(r as f32, 5.0).ok());
    draft.author.display_name = json::text(attributes, "reviewerNickname").map(str::to_owned);
    draft.created =
        json::text(attributes, "createdDate").and_then(when::parse).map(|at| (at, TimeQuality::Platform));
    draft.refs.place = json::text(attributes, "territory").map(str::to_owned);
    out.publish(draft);
}
