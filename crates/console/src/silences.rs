//! What is held back, by whom, until when: to look at, to add to, to end.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use contracts::alert::v1::Silence;
use maud::{Markup, html};
use model::Timestamp;
use serde::Deserialize;

use crate::actions;
use crate::page::{Notice, Place, Shell};
use crate::parts;
use crate::routes::{Desk, trouble_page};
use crate::when::Moment;

/// How long pages can be held back for: seconds and words.
const TERMS: [(u32, &str); 5] = [
    (1_800, "half an hour"),
    (7_200, "two hours"),
    (28_800, "a shift"),
    (86_400, "a day"),
    (604_800, "a week"),
];
/// The rules there are; see `paging::Policy`.
const RULES: [(&str, &str); 4] = [
    ("", "whatever the rule"),
    ("severe-complaint", "severe complaint"),
    ("rising-subject", "rising subject"),
    ("spreading-thread", "spreading thread"),
];

/// What the page can be asked for by its address.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    past: String,
    done: String,
}

/// The page.
pub(crate) async fn page(
    State(desk): State<Arc<Desk>>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Response {
    draw(&desk, &asked, &headers, actions::done_words(&asked.done)).await
}

/// The page, with a word on what was just done.
pub(crate) async fn draw(
    desk: &Desk,
    asked: &Asked,
    headers: &HeaderMap,
    notice: Option<Notice>,
) -> Response {
    let shows_past = !asked.past.is_empty();
    let silences = match desk.backend.silences(shows_past).await {
        Ok(silences) => silences,
        Err(trouble) => return trouble_page(desk, &trouble),
    };
    let moment = desk.moment();
    let shell =
        Shell { place: Some(Place::Silences), notice: notice.as_ref(), ..Shell::plain("Silences", &moment) };
    let content = html! {
        div.listhead {
            h1 { "Silences" }
            nav.tabs aria-label="Which" {
                a href="/silences" aria-current=[(!shows_past).then_some("true")] { "In force" }
                a href="/silences?past=1" aria-current=[shows_past.then_some("true")] { "Ended ones too" }
            }
        }
        div.columns {
            div.list {
                @if silences.is_empty() { p.none { "None. Every page reaches somebody." } }
                @else { ul.rows { @for silence in &silences { (row(silence, &moment)) } } }
            }
            aside { (form(&actions::who(headers))) }
        }
    };
    shell.draw(&content).into_response()
}

fn row(silence: &Silence, moment: &Moment) -> Markup {
    let is_over = Timestamp::from_micros(silence.ends_at_us) <= moment.now;
    let matcher = silence.matcher.clone().unwrap_or_default();
    let parts_of = [
        ("brand", matcher.brand),
        ("topic", matcher.topic),
        ("rule", matcher.rule),
        ("subject", matcher.subject),
    ];
    html! {
        li.row {
            p.lead {
                @for (name, value) in parts_of.iter().filter(|(_, value)| !value.is_empty()) {
                    span { span.dim { (name) " " } strong { (value) } }
                }
                @if is_over { span.tag { "over" } } @else { span.tag.warn { "holds back pages" } }
            }
            @if !silence.comment.is_empty() { p.excerpt dir="auto" { (silence.comment) } }
            p.meta {
                span { "by " strong { (silence.created_by) } }
                span { (parts::time(moment, silence.starts_at_us)) }
                span { @if is_over { "ended " } @else { "ends " } (parts::time(moment, silence.ends_at_us)) }
                @if silence.expires_on_resolve && !is_over { span { "or when its alert ends" } }
            }
            @if !is_over {
                form.inline method="post" action={ "/silences/" (silence.silence_id) "/end" } {
                    button { "End it now" }
                }
            }
        }
    }
}

/// How long: a part of a form.
pub(crate) fn terms() -> Markup {
    html! {
        label { "For"
            select name="duration_s" {
                @for (seconds, words) in TERMS { option value=(seconds) selected[seconds == 7_200] { (words) } }
            }
        }
    }
}

fn form(who: &str) -> Markup {
    html! {
        section id="act" {
            h2 { "Hold back pages" }
            form method="post" action="/silences" {
                (parts::once())
                div.pair {
                    label { "Brand" input name="brand" maxlength="100" placeholder="any"; }
                    label { "Topic" input name="topic" maxlength="100" placeholder="any"; }
                }
                label { "Rule"
                    select name="rule" { @for (name, words) in RULES { option value=(name) { (words) } } }
                }
                (terms())
                label { "Your name" input name="by" value=(who) required maxlength="100" autocomplete="name"; }
                label { "Why" input name="comment" maxlength="500" placeholder="for the others on call"; }
                button.primary { "Silence" }
            }
            p.more { "At least one of brand, topic and rule is needed. Alerts still open and are listed; only their pages are held back." }
        }
    }
}
