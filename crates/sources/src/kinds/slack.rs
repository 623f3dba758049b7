//! Slack: the Events API.

use model::{Author, MentionOp, TimeQuality, Timestamp, Visibility};
use serde_json::Value;

use crate::decoded::RefusalReason;
use crate::json;
use crate::out::{Draft, Notice, Out, Words};

pub(crate) fn document(value: &Value, out: &mut Out<'_>) {
    match json::text(value, "type") {
        Some("url_verification") => return out.ignore("url_verification"),
        Some("app_rate_limited") => return out.ignore("app_rate_limited"),
        _ => {}
    }
    let Some(event) = value.get("event").filter(|e| e.is_object()) else {
        return out.refuse(RefusalReason::MissingField("event"));
    };
    if !matches!(json::text(event, "type"), Some("message" | "app_mention")) {
        return out.ignore("other_event");
    }
    let known =
        ["thread_broadcast", "me_message", "file_share", "bot_message", "message_changed", "message_deleted"];
    if json::text(event, "subtype").is_some_and(|s| !known.contains(&s)) {
        return out.ignore("other_subtype");
    }
    let team = json::text(value, "team_id").or(json::text(event, "team")).unwrap_or_default();
    let Some(channel) = json::text(event, "channel") else {
        return out.refuse(RefusalReason::MissingField("event.channel"));
    };
    let key = |ts: &str| format!("{team}/{channel}/{ts}");
    match json::text(event, "subtype") {
        Some("message_changed") => match event.get("message").filter(|m| m.is_object()) {
            Some(inner) => message(MentionOp::Edited, inner, event, &key, out),
            None => out.refuse(RefusalReason::MissingField("event.message")),
        },
        Some("message_deleted") => match json::text(event, "deleted_ts") {
            Some(ts) => out.notice(Notice {
                witnessed_at: json::text(event, "event_ts").or(json::text(event, "ts")).and_then(time),
                ..Notice::new(MentionOp::Deleted, key(ts), "deleted")
            }),
            None => out.refuse(RefusalReason::MissingField("event.deleted_ts")),
        },
        _ => message(MentionOp::Created, event, event, &key, out),
    }
}

/// `1712345678.000200`: the text is the key; only its value as a time is a number.
fn time(ts: &str) -> Option<Timestamp> {
    let (seconds, micros) = ts.split_once('.').unwrap_or((ts, "0"));
    let seconds: i64 = seconds.parse().ok().filter(|s| *s > 0)?;
    let micros: i64 = format!("{micros:0<6}").get(..6)?.parse().ok()?;
    Some(Timestamp::from_micros(seconds.checked_mul(1_000_000)?.checked_add(micros)?))
}

fn message(op: MentionOp, message: &Value, event: &Value, key: &dyn Fn(&str) -> String, out: &mut Out<'_>) {
    let Some(ts) = json::text(message, "ts") else {
        return out.refuse(RefusalReason::MissingField("event.ts"));
    };
    let Some(at) = time(ts) else {
        let problem = "is no Slack timestamp".to_owned();
        return out.refuse(RefusalReason::BadField { field: "event.ts", problem });
    };
    let words = plain(message.get("text").and_then(Value::as_str).unwrap_or_default());
    let mut draft = Draft::new(op, key(ts), Words::Escaped(&words));
    let edited = json::text_at(message, "/edited/ts");
    draft.native_rev = Some(edited.unwrap_or(ts).to_owned());
    draft.author = Author {
        native_id: json::text(message, "user").or(json::text(message, "bot_id")).map(str::to_owned),
        display_name: json::text(message, "username").map(str::to_owned),
        is_bot: Some(json::text(message, "bot_id").is_some()),
        ..Author::default()
    };
    draft.created = Some((at, TimeQuality::Platform));
    draft.edited_at = edited.and_then(time);
    let thread = json::text(message, "thread_ts").filter(|t| *t != ts);
    draft.refs.root = thread.map(|t| out.mention_id(&key(t)));
    draft.refs.reply_to = draft.refs.root;
    draft.refs.conversation = thread.map(str::to_owned);
    draft.refs.place = json::text(event, "channel").map(str::to_owned);
    draft.visibility = Visibility::Internal;
    out.publish(draft);
}

/// Slack's markup without its brackets: `<@U1>` is `@U1`, `<https://x|words>` is `words (https://x)`.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        out.push_str(before);
        let Some((inside, after)) = after.split_once('>') else {
            out.push('<');
            rest = after;
            continue;
        };
        rest = after;
        let (target, label) = inside.split_once('|').map_or((inside, None), |(t, l)| (t, Some(l)));
        match target.chars().next() {
            Some('@' | '#') => {
                out.push_str(&target[..1]);
                out.push_str(label.unwrap_or(&target[1..]).trim_start_matches(['@', '#']));
            }
            Some('!') => {
                out.push('@');
                out.push_str(label.unwrap_or(&target[1..]).trim_start_matches('@'));
            }
            _ => match label {
                Some(label) if label != target => {
                    out.push_str(label);
                    out.push_str(&format!(" ({target})"));
                }
                _ => out.push_str(target),
            },
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_read_as_people_see_it() {
        for (slack, text) in [
            ("hi <@U1> in <#C1|help>", "hi @U1 in #help"),
            (
                "<https://a.example|docs> and <https://b.example>",
                "docs (https://a.example) and https://b.example",
            ),
            ("<!here> a < b", "@here a < b"),
            ("", ""),
        ] {
            assert_eq!(plain(slack), text);
        }
    }

    #[test]
    fn timestamp_is_text_first() {
        assert_eq!(time("1712345678.000200").unwrap().as_micros(), 1_712_345_678_000_200);
        assert_eq!(time(""), None);
        assert_eq!(time("0000000000.000000"), None);
        assert_eq!(time("x.1"), None);
    }
}
