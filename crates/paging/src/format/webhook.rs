//! Standard Webhooks: signed JSON, any 2xx is success.

use model::Timestamp;
use serde_json::json;

use super::{Answer, WHY_MAX, Wire, cut, judge};
use crate::{Attempt, Episode, Notice, NoticeKind, Phase, Secret, signature_header};

/// The largest body, in bytes; evidence goes first when it does not fit.
pub const BODY_BYTES_MAX: usize = 20_000;

/// The request for a notice at attempt time `now`. `base_url` is the console's address, for links; empty:
/// no link. The body is the same on every attempt, the timestamp and signature are new.
pub fn render(notice: &Notice, base_url: &str, secrets: &[Secret], now: Timestamp) -> Wire {
    let mut body = body(notice, base_url, notice.episode.evidence.len());
    let mut evidence = notice.episode.evidence.len();
    while body.len() > BODY_BYTES_MAX && evidence > 0 {
        evidence -= 1;
        body = self::body(notice, base_url, evidence);
    }
    let timestamp_s = now.as_seconds();
    let mut headers =
        vec![("webhook-id", notice.delivery_id.clone()), ("webhook-timestamp", timestamp_s.to_string())];
    if !secrets.is_empty() {
        headers
            .push(("webhook-signature", signature_header(secrets, &notice.delivery_id, timestamp_s, &body)));
    }
    Wire { headers, body }
}

/// Any 2xx is success; the body says nothing.
pub fn judge_answer(answer: &Answer<'_>, now: Timestamp) -> Attempt {
    judge(answer, now, |_| true)
}

/// The event type of a notice.
pub const fn event_type(kind: NoticeKind) -> &'static str {
    match kind {
        NoticeKind::Page => "alert.episode.paged",
        NoticeKind::Update => "alert.episode.updated",
        NoticeKind::Acknowledged => "alert.episode.acknowledged",
        NoticeKind::Resolve => "alert.episode.resolved",
    }
}

fn body(notice: &Notice, base_url: &str, evidence_max: usize) -> Vec<u8> {
    let episode = &notice.episode;
    let evidence: Vec<_> = episode
        .evidence
        .iter()
        .take(evidence_max)
        .map(|piece| {
            json!({
                "mention_id": piece.mention.to_string(),
                "excerpt": piece.excerpt,
                "author": piece.author_handle,
                "permalink": piece.permalink,
                "at": piece.at.to_string(),
                "severity": piece.severity.level(),
                "complaint": piece.complaint,
            })
        })
        .collect();
    let body = json!({
        "type": event_type(notice.kind),
        "timestamp": notice.at.to_string(),
        "data": {
            "delivery_id": notice.delivery_id,
            "dedup_key": episode.dedup_key(),
            "reason": notice.reason.label(),
            "episode_id": episode.id.to_string(),
            "sequence": episode.sequence,
            "version": episode.version,
            "rule": episode.rule,
            "trigger": episode.trigger.label(),
            "subject": episode.subject.key(),
            "brand": episode.brand().as_str(),
            "topic": episode.topic.as_ref().map(|topic| topic.as_str()),
            "state": state(episode),
            "owner": episode.ack().map(|ack| ack.owner.as_str()),
            "urgency": episode.urgency.label(),
            "severity": episode.severity.level(),
            "title": episode.title,
            "why": cut(&episode.reason.text(), WHY_MAX),
            "opened_at": episode.opened_at.to_string(),
            "since": episode.since.to_string(),
            "resolved_at": episode.resolved_at().map(|at| at.to_string()),
            "surprise": finite(episode.surprise),
            "posts": episode.posts,
            "people": episode.people,
            "forecast": episode.forecast.map(|forecast| json!({
                "seen": forecast.seen,
                "expected_final": finite(forecast.expected_final),
                "low": finite(forecast.low),
                "high": finite(forecast.high),
                "p_viral": finite(forecast.p_viral),
                "viral_size": forecast.viral_size,
                "answer_within_s": forecast.answer_within_s.map(finite),
            })),
            "evidence": evidence,
            "link": link(episode, base_url),
        },
    });
    body.to_string().into_bytes()
}

/// JSON has no infinity.
fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { 0.0 }
}

/// The word for where an episode stands.
pub const fn state(episode: &Episode) -> &'static str {
    match episode.phase {
        Phase::Firing => "firing",
        Phase::Acknowledged(_) => "acknowledged",
        Phase::NoData { .. } => "no_data",
        Phase::Resolved { .. } => "resolved",
    }
}

/// The episode's page on the console.
pub fn link(episode: &Episode, base_url: &str) -> Option<String> {
    let base = base_url.trim_end_matches('/');
    (!base.is_empty()).then(|| format!("{base}/alerts/{}", episode.id))
}
