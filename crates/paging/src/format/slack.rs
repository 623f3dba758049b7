//! Slack incoming webhook with Block Kit: success is status 200 and the body `ok`.

use model::Timestamp;
use serde_json::{Value, json};

use super::webhook::link;
use super::{Answer, WHY_MAX, Wire, cut, judge, one_line};
use crate::{Attempt, Notice, NoticeKind, NoticeReason};

/// Slack's limits, in characters.
const HEADER_MAX: usize = 150;
const FIELD_MAX: usize = 2_000;
const SECTION_MAX: usize = 3_000;
/// The whole message is cut earlier than Slack's roughly 13,000 characters.
const TEXT_MAX: usize = 3_000;
/// Mentions quoted; the rest is counted.
const QUOTES_MAX: usize = 3;

/// The request for a notice.
pub fn render(notice: &Notice, base_url: &str) -> Wire {
    let episode = &notice.episode;
    let headline = format!("{} {}", flag(notice), one_line(&episode.title));
    let mut blocks = vec![
        json!({"type": "header", "text": {"type": "plain_text", "text": cut(&headline, HEADER_MAX)}}),
        section(&escape(&cut(&one_line(&episode.reason.text()), WHY_MAX))),
        json!({"type": "section", "fields": fields(notice)}),
    ];
    let quotes = quotes(notice);
    if !quotes.is_empty() {
        blocks.push(section(&quotes));
    }
    if let Some(url) = link(episode, base_url) {
        blocks.push(json!({"type": "actions", "elements": [
            {"type": "button", "text": {"type": "plain_text", "text": "Open and take it"}, "url": url}]}));
    }
    let context = format!("episode {} · {} · {}", episode.id, notice.reason.label(), notice.delivery_id);
    blocks.push(json!({"type": "context", "elements": [{"type": "mrkdwn", "text": escape(&context)}]}));
    // `text` is what notifications and screen readers say.
    let body = json!({"text": cut(&escape(&headline), TEXT_MAX), "blocks": blocks});
    Wire { headers: Vec::new(), body: body.to_string().into_bytes() }
}

/// 200 with `ok`, and nothing else, is success.
pub fn judge_answer(answer: &Answer<'_>, now: Timestamp) -> Attempt {
    judge(answer, now, |body| body.trim_ascii() == b"ok")
}

/// Text that Slack shows as it is: no markup, no `<!channel>`.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn flag(notice: &Notice) -> &'static str {
    match (notice.kind, notice.reason) {
        (NoticeKind::Resolve, NoticeReason::FiredAndCleared) => "[FIRED AND CLEARED]",
        (NoticeKind::Resolve, _) => "[RESOLVED]",
        (NoticeKind::Acknowledged, _) => "[TAKEN]",
        (NoticeKind::Update, NoticeReason::NoData) => "[NO DATA]",
        (NoticeKind::Update, _) => "[UPDATE]",
        (NoticeKind::Page, NoticeReason::Flapping) => "[FLAPPING]",
        (NoticeKind::Page, _) => "[FIRING]",
    }
}

fn section(text: &str) -> Value {
    json!({"type": "section", "text": {"type": "mrkdwn", "text": cut(text, SECTION_MAX)}})
}

fn fields(notice: &Notice) -> Vec<Value> {
    let episode = &notice.episode;
    let mut pairs = vec![
        ("Posts", episode.posts.to_string()),
        ("People", episode.people.to_string()),
        ("Severity", episode.severity.word().to_owned()),
        ("Since", episode.since.to_string()),
    ];
    if let Some(forecast) = &episode.forecast {
        let expected =
            format!("{:.0} ({:.0} to {:.0})", forecast.expected_final, forecast.low, forecast.high);
        pairs.push(("Expected reactions", expected));
    }
    if let Some(ack) = episode.ack() {
        pairs.push(("Taken by", ack.owner.clone()));
    }
    let field = |(name, value): (&str, String)| json!({"type": "mrkdwn", "text": cut(&format!("*{name}*\n{}", escape(&one_line(&value))), FIELD_MAX)});
    pairs.into_iter().map(field).collect()
}

fn quotes(notice: &Notice) -> String {
    let evidence = &notice.episode.evidence;
    let mut lines: Vec<String> = evidence
        .iter()
        .take(QUOTES_MAX)
        .filter(|piece| !piece.excerpt.trim().is_empty())
        .map(|piece| format!("> {}", escape(&one_line(&piece.excerpt))))
        .collect();
    if evidence.len() > QUOTES_MAX {
        lines.push(format!("+{} more", evidence.len() - QUOTES_MAX));
    }
    lines.join("\n")
}
