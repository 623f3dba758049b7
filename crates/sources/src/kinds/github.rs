//! GitHub: webhooks about issues, discussions and their comments, and pages of them.

use model::{Author, Engagement, MentionOp, TimeQuality, Visibility};
use serde_json::Value;

use crate::decoded::RefusalReason;
use crate::out::{Draft, Notice, Out, Words, snapshot};
use crate::{json, when};

pub(crate) fn document(value: &Value, out: &mut Out<'_>) {
    if !value.is_object() {
        return out.refuse(RefusalReason::UnknownShape("needs an object"));
    }
    let Some(action) = json::text(value, "action") else {
        return without_action(value, out);
    };
    let private = value.pointer("/repository/private").and_then(Value::as_bool) == Some(true);
    let root = ["issue", "discussion", "pull_request"].into_iter().find_map(|k| Some((k, value.get(k)?)));
    let (kind, subject) = match (value.get("comment"), value.get("review"), root) {
        (Some(comment), _, Some((root, _))) => {
            (if root == "discussion" { "discussion_comment" } else { "comment" }, comment)
        }
        (Some(comment), _, None) => ("comment", comment),
        (None, Some(review), _) => ("review", review),
        (None, None, Some((root, subject))) => (root, subject),
        (None, None, None) => return out.ignore("other_event"),
    };
    let op = match action {
        "opened" | "created" | "submitted" => MentionOp::Created,
        "edited" => MentionOp::Edited,
        "deleted" | "transferred" => MentionOp::Deleted,
        _ => return out.ignore("other_action"),
    };
    one(op, kind, subject, root, private, out);
}

fn without_action(value: &Value, out: &mut Out<'_>) {
    if value.get("zen").is_some() {
        out.ignore("ping");
    } else if value.get("message").is_some() && value.get("documentation_url").is_some() {
        out.refuse(RefusalReason::ErrorAnswer);
    } else if let Some(items) = value.get("items").and_then(Value::as_array) {
        items.iter().for_each(|item| without_action(item, out));
    } else if value.get("body").is_some() && value.get("user").is_some() {
        // One of a page: issues have a number, comments name their issue.
        let kind = if value.get("number").is_some() { "issue" } else { "comment" };
        one(MentionOp::Created, kind, value, None, false, out);
    } else {
        out.ignore("other_object");
    }
}

fn one(
    op: MentionOp,
    kind: &str,
    item: &Value,
    root: Option<(&str, &Value)>,
    private: bool,
    out: &mut Out<'_>,
) {
    let Some(number) = json::id(item, "id") else { return out.refuse(RefusalReason::MissingField("id")) };
    let id = format!("{kind}/{number}");
    let time = |name| json::text(item, name).and_then(when::parse);
    let updated = time("updated_at");
    let author = author(item);
    if op == MentionOp::Deleted {
        return out.notice(Notice { author: Some(author), ..Notice::new(op, id, "deleted") });
    }
    let body = item.get("body").and_then(Value::as_str).unwrap_or_default();
    let title = json::text(item, "title");
    // An issue may be nothing but its title.
    let words = if body.trim().is_empty() { title.unwrap_or_default() } else { body };
    let mut draft = Draft::new(op, id, Words::Plain(words));
    draft.title = title;
    draft.author = author;
    draft.created = time("created_at").or_else(|| time("submitted_at")).map(|at| (at, TimeQuality::Platform));
    draft.edited_at = updated.filter(|_| op == MentionOp::Edited);
    draft.native_rev = (op == MentionOp::Edited).then(|| updated.map(|at| at.to_string())).flatten();
    let root_id =
        root.and_then(|(k, r)| Some(format!("{k}/{}", json::id(r, "id")?))).filter(|r| *r != draft.native_id);
    draft.refs.root = root_id.as_deref().map(|r| out.mention_id(r));
    let parent = json::id(item, "parent_id").or_else(|| json::id(item, "in_reply_to_id"));
    draft.refs.reply_to = parent.map(|p| out.mention_id(&format!("{kind}/{p}"))).or(draft.refs.root);
    let html_url = json::text(item, "html_url");
    draft.refs.conversation = html_url.map(|u| u.split('#').next().unwrap_or(u).to_owned());
    draft.refs.place = html_url.and_then(|u| {
        let mut parts = u.strip_prefix("https://github.com/")?.split('/');
        Some(format!("{}/{}", parts.next()?, parts.next()?))
    });
    draft.permalink = html_url.map(str::to_owned);
    draft.engagement = item.get("reactions").filter(|r| r.is_object()).map(|reactions| Engagement {
        likes: json::int(reactions, "total_count"),
        replies: json::int(item, "comments").or_else(|| json::int(item, "child_comment_count")),
        ..snapshot(out.ctx.received_at)
    });
    if private {
        draft.visibility = Visibility::Internal;
    }
    out.publish(draft);
}

fn author(item: &Value) -> Author {
    let user = item.get("user").unwrap_or(&Value::Null);
    Author {
        native_id: json::id(user, "id"),
        handle: json::text(user, "login").map(str::to_owned),
        is_bot: json::text(user, "type").map(|t| t == "Bot"),
        is_staff: json::text(item, "author_association")
            .map(|a| matches!(a, "OWNER" | "MEMBER" | "COLLABORATOR")),
        profile_url: json::text(user, "html_url").map(str::to_owned),
        ..Author::default()
    }
}
