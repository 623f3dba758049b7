//! What a notice looks like on each wire, and how the receiver's answer is judged. Text of customers is
//! data: it is escaped for each wire and cut at its limits.

pub mod pagerduty;
pub mod slack;
pub mod webhook;

use model::Timestamp;

use crate::{Attempt, FailureReason, judge_status};

/// A request ready to send, without its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wire {
    /// Header names and values beside the content type, which is JSON for all.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// What a receiver answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The `retry-after` header.
    pub retry_after: Option<&'a str>,
    /// The beginning of the body.
    pub body: &'a [u8],
}

/// Status and body must both say that it arrived.
fn judge(answer: &Answer<'_>, now: Timestamp, body_agrees: impl Fn(&[u8]) -> bool) -> Attempt {
    match judge_status(answer.status, answer.retry_after, now) {
        Attempt::Ok if !body_agrees(answer.body) => Attempt::Retry(FailureReason::Other),
        judged => judged,
    }
}

/// Longest reason told, in characters.
const WHY_MAX: usize = 1_000;

/// Cuts at a character, at most `chars_max` of them, the last one an ellipsis when something was cut.
fn cut(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(chars_max.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// One line of plain text: control and direction marks that could rearrange it become spaces.
fn one_line(text: &str) -> String {
    let plain = |c: char| match c {
        c if c.is_control() => ' ',
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' => ' ',
        c => c,
    };
    text.chars().map(plain).collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}
