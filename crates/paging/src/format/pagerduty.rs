//! PagerDuty Events v2: success is status 202. Repeats on one `dedup_key` only add a log line there.

use model::{Severity, Timestamp};
use serde_json::json;

use super::webhook::link;
use super::{Answer, WHY_MAX, Wire, cut, judge_status, one_line};
use crate::{Attempt, FailureReason, Notice, NoticeKind};

/// Longest summary, in characters.
const SUMMARY_MAX: usize = 1_024;

/// The request for a notice. An end without a beginning is harmless there.
pub fn render(notice: &Notice, base_url: &str, routing_key: &str) -> Wire {
    let episode = &notice.episode;
    let action = match notice.kind {
        NoticeKind::Page | NoticeKind::Update => "trigger",
        NoticeKind::Acknowledged => "acknowledge",
        NoticeKind::Resolve => "resolve",
    };
    let mut body = json!({
        "routing_key": routing_key,
        "dedup_key": episode.dedup_key(),
        "event_action": action,
    });
    if action == "trigger" {
        let href = link(episode, base_url);
        body["client"] = json!("redress");
        body["payload"] = json!({
            "summary": cut(&one_line(&episode.title), SUMMARY_MAX),
            "source": episode.subject.key(),
            "severity": severity(notice),
            "timestamp": notice.at.to_string(),
            "component": episode.topic.as_ref().map_or("thread", |topic| topic.as_str()),
            "group": episode.brand().as_str(),
            "class": episode.trigger.label(),
            "custom_details": {
                "why": cut(&one_line(&episode.reason.text()), WHY_MAX),
                "reason": notice.reason.label(),
                "episode": episode.id.to_string(),
                "posts": episode.posts,
                "people": episode.people,
                "top_mentions": episode.evidence.iter().map(|e| e.mention.to_string()).collect::<Vec<_>>(),
            },
        });
        if let Some(href) = href {
            body["client_url"] = json!(href);
            body["links"] = json!([{"href": href, "text": "Episode"}]);
        }
    }
    Wire { headers: Vec::new(), body: body.to_string().into_bytes() }
}

/// 202 is success; another 2xx is an answer nobody promised.
pub fn judge_answer(answer: &Answer<'_>, now: Timestamp) -> Attempt {
    match judge_status(answer.status, answer.retry_after, now) {
        Attempt::Ok if answer.status != 202 => Attempt::Retry(FailureReason::Other),
        judged => judged,
    }
}

fn severity(notice: &Notice) -> &'static str {
    match notice.episode.severity {
        Severity::Blame => "critical",
        Severity::Accusation => "error",
        _ if notice.kind == NoticeKind::Update => "info",
        _ => "warning",
    }
}
