//! What people do on the pages: a form, one call, and back to the page.

use std::sync::Arc;

use axum::extract::{Form, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use contracts::alert::v1::{AcknowledgeRequest, SilenceMatcher, SilenceRequest, UnsilenceRequest};
use contracts::response::v1::{
    AssignRequest, KeepRequest, PromiseRequest, RecordReplyRequest, ReopenRequest,
};
use contracts::{alert, response};
use serde::Deserialize;
use url::form_urlencoded;

use crate::backend::Answer;
use crate::page::Notice;
use crate::routes::{self, Desk, id_bytes};
use crate::silences;

/// The cookie that remembers a name, so that nobody types it at night.
const WHO: &str = "redress_who";
/// The longest name, in characters.
const NAME_CHARS_MAX: usize = 100;
/// How long the name is remembered, in seconds.
const WHO_S: u32 = 180 * 86_400;

type Deskref = State<Arc<Desk>>;

#[derive(Debug, Deserialize)]
pub(crate) struct AcknowledgeForm {
    owner: String,
    expires_in_s: u32,
    #[serde(default)]
    note: String,
    once: String,
}

pub(crate) async fn acknowledge(
    State(desk): Deskref,
    Path(id): Path<String>,
    headers: HeaderMap,
    Form(form): Form<AcknowledgeForm>,
) -> Response {
    let Some(key) = id_bytes(&id) else { return StatusCode::NOT_FOUND.into_response() };
    let owner = name(&form.owner);
    // A rise goes on while somebody reads, so whatever is current is what they take.
    let request = AcknowledgeRequest {
        episode_id: contracts::id(&key),
        owner: owner.clone(),
        expires_in_s: form.expires_in_s,
        expected_version: 0,
        idempotency_key: form.once,
        note: form.note,
    };
    let answer = desk.backend.acknowledge(request).await;
    after(&desk, Page::Alert(&id), &headers, "acknowledged", &owner, answer).await
}

#[derive(Debug, Deserialize)]
pub(crate) struct ResolveAlertForm {
    by: String,
    #[serde(default)]
    note: String,
    #[serde(default)]
    useful: String,
    once: String,
}

pub(crate) async fn resolve_alert(
    State(desk): Deskref,
    Path(id): Path<String>,
    headers: HeaderMap,
    Form(form): Form<ResolveAlertForm>,
) -> Response {
    let Some(key) = id_bytes(&id) else { return StatusCode::NOT_FOUND.into_response() };
    let by = name(&form.by);
    let request = alert::v1::ResolveRequest {
        episode_id: contracts::id(&key),
        by: by.clone(),
        expected_version: 0,
        idempotency_key: form.once,
        note: form.note,
        useful: match form.useful.as_str() {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        },
    };
    let answer = desk.backend.resolve_episode(request).await;
    after(&desk, Page::Alert(&id), &headers, "ended", &by, answer).await
}

#[derive(Debug, Deserialize)]
pub(crate) struct AssignForm {
    by: String,
    #[serde(default)]
    assignee: String,
    expected_version: u64,
    once: String,
}

pub(crate) async fn assign(
    State(desk): Deskref,
    Path(id): Path<String>,
    headers: HeaderMap,
    Form(form): Form<AssignForm>,
) -> Response {
    let Some(key) = id_bytes(&id) else { return StatusCode::NOT_FOUND.into_response() };
    let by = name(&form.by);
    // Two people who take the same case should find out now, not at the customer's.
    let request = AssignRequest {
        case_id: contracts::id(&key),
        assignee: name(&form.assignee),
        by: by.clone(),
        expected_version: form.expected_version,
        idempotency_key: form.once,
    };
    let answer = desk.backend.assign(request).await;
    after(&desk, Page::Case(&id), &headers, "assigned", &by, answer).await
}

#[derive(Debug, Deserialize)]
pub(crate) struct ReplyForm {
    by: String,
    text: String,
    #[serde(default)]
    permalink: String,
    #[serde(default)]
    is_public: Option<String>,
    #[serde(default)]
    waits_for_customer: Option<String>,
    once: String,
}

pub(crate) async fn reply(
    State(desk): Deskref,
    Path(id): Path<String>,
    headers: HeaderMap,
    Form(form): Form<ReplyForm>,
) -> Response {
    let Some(key) = id_bytes(&id) else { return StatusCode::NOT_FOUND.into_response() };
    let by = name(&form.by);
    let request = RecordReplyRequest {
        case_id: contracts::id(&key),
        by: by.clone(),
        text: form.text.trim().to_owned(),
        is_public: form.is_public.is_some(),
        permalink: form.permalink.trim().to_owned(),
        expected_version: 0,
        idempotency_key: form.once,
        waits_for_customer: form.waits_for_customer.is_some(),
    };
    let answer = desk.backend.reply(request).await;
    after(&desk, Page::Case(&id), &headers, "replied", &by, answer).await
}

#[derive(Debug, Deserialize)]
pub(crate) struct PromiseForm {
    by: String,
    what: String,
    due_in_s: u32,
    once: String,
}

pub(crate) async fn promise(
    State(desk): Deskref,
    Path(id): Path<String>,
    headers: HeaderMap,
    Form(form): Form<PromiseForm>,
) -> Response {
    let Some(key) = id_bytes(&id) else { return StatusCode::NOT_FOUND.into_response() };
    let by = name(&form.by);
    let request = PromiseRequest {
        case_id: contracts::id(&key),
        by: by.clone(),
        what: form.what.trim().to_owned(),
        due_at_us: desk.clock.now().plus_millis(i64::from(form.due_in_s) * 1_000).as_micros(),
        idempotency_key: form.once,
        ..PromiseRequest::default()
    };
    let answer = desk.backend.promise(request).await;
    after(&desk, Page::Case(&id), &headers, "promised", &by, answer).await
}

#[derive(Debug, Deserialize)]
pub(crate) struct KeepForm {
    promise: String,
    once: String,
}

pub(crate) async fn keep(
    State(desk): Deskref,
    Path(id): Path<String>,
    headers: HeaderMap,
    Form(form): Form<KeepForm>,
) -> Response {
    let (Some(key), Some(promise)) = (id_bytes(&id), id_bytes(&form.promise)) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let who = who(&headers);
    let request = KeepRequest {
        case_id: contracts::id(&key),
        promise_id: contracts::id(&promise),
        by: if who.is_empty() { "console".into() } else { who.clone() },
        idempotency_key: form.once,
        ..KeepRequest::default()
    };
    let answer = desk.backend.keep(request).await;
    after(&desk, Page::Case(&id), &headers, "kept", &who, answer).await
}

#[derive(Debug, Deserialize)]
pub(crate) struct ResolveCaseForm {
    by: String,
    #[serde(default)]
    note: String,
    #[serde(default)]
    root_cause: String,
    once: String,
}

pub(crate) async fn resolve_case(
    State(desk): Deskref,
    Path(id): Path<String>,
    headers: HeaderMap,
    Form(form): Form<ResolveCaseForm>,
) -> Response {
    let Some(key) = id_bytes(&id) else { return StatusCode::NOT_FOUND.into_response() };
    let by = name(&form.by);
    let request = response::v1::ResolveRequest {
        case_id: contracts::id(&key),
        by: by.clone(),
        note: form.note,
        root_cause: form.root_cause,
        expected_version: 0,
        idempotency_key: form.once,
    };
    let answer = desk.backend.resolve_case(request).await;
    after(&desk, Page::Case(&id), &headers, "settled", &by, answer).await
}

#[derive(Debug, Deserialize)]
pub(crate) struct ReopenForm {
    by: String,
    #[serde(default)]
    note: String,
    once: String,
}

pub(crate) async fn reopen(
    State(desk): Deskref,
    Path(id): Path<String>,
    headers: HeaderMap,
    Form(form): Form<ReopenForm>,
) -> Response {
    let Some(key) = id_bytes(&id) else { return StatusCode::NOT_FOUND.into_response() };
    let by = name(&form.by);
    let request = ReopenRequest {
        case_id: contracts::id(&key),
        by: by.clone(),
        note: form.note,
        expected_version: 0,
        idempotency_key: form.once,
    };
    let answer = desk.backend.reopen(request).await;
    after(&desk, Page::Case(&id), &headers, "reopened", &by, answer).await
}

#[derive(Debug, Deserialize)]
pub(crate) struct SilenceForm {
    #[serde(default)]
    brand: String,
    #[serde(default)]
    topic: String,
    #[serde(default)]
    rule: String,
    #[serde(default)]
    subject: String,
    duration_s: u32,
    #[serde(default)]
    expires_on_resolve: Option<String>,
    by: String,
    #[serde(default)]
    comment: String,
    once: String,
}

pub(crate) async fn silence(
    State(desk): Deskref,
    headers: HeaderMap,
    Form(form): Form<SilenceForm>,
) -> Response {
    let by = name(&form.by);
    let words = |text: &str| text.trim().to_owned();
    let request = SilenceRequest {
        matcher: Some(SilenceMatcher {
            brand: words(&form.brand),
            topic: words(&form.topic),
            rule: words(&form.rule),
            subject: words(&form.subject),
        }),
        duration_s: form.duration_s,
        by: by.clone(),
        comment: words(&form.comment),
        expires_on_resolve: form.expires_on_resolve.is_some(),
        idempotency_key: form.once,
    };
    let answer = desk.backend.silence(request).await;
    after(&desk, Page::Silences, &headers, "silenced", &by, answer).await
}

pub(crate) async fn unsilence(
    State(desk): Deskref,
    Path(silence_id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let who = who(&headers);
    let by = if who.is_empty() { "console".to_owned() } else { who.clone() };
    let answer = desk.backend.unsilence(UnsilenceRequest { silence_id, by }).await;
    after(&desk, Page::Silences, &headers, "unsilenced", &who, answer).await
}

/// What the page says after a form; an unknown word says nothing.
pub(crate) fn done_words(done: &str) -> Option<Notice> {
    let sentence = match done {
        "acknowledged" => "You have it. Nobody else is called until your time is up.",
        "ended" => "It is over.",
        "assigned" => "Done.",
        "replied" => "The answer is recorded.",
        "promised" => "The promise is recorded, and its clock runs.",
        "kept" => "Kept. Well done.",
        "settled" => "It is settled.",
        "reopened" => "It is open again.",
        "silenced" => "New pages are held back. What was paged before is still ended as usual.",
        "unsilenced" => "The silence is over. What it held back is looked at again.",
        _ => return None,
    };
    Some(Notice { is_trouble: false, sentence: sentence.to_owned() })
}

/// Who sits here, as they said last.
pub(crate) fn who(headers: &HeaderMap) -> String {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    cookies
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == WHO)
        .and_then(|(_, value)| {
            form_urlencoded::parse(format!("v={value}").as_bytes()).next().map(|p| name(&p.1))
        })
        .unwrap_or_default()
}

/// A name without what names do not have.
fn name(text: &str) -> String {
    text.trim().chars().filter(|c| !c.is_control()).take(NAME_CHARS_MAX).collect()
}

/// The page a form stood on.
enum Page<'a> {
    Alert(&'a str),
    Case(&'a str),
    Silences,
}

impl Page<'_> {
    fn path(&self) -> String {
        match self {
            Self::Alert(id) => format!("/alerts/{id}"),
            Self::Case(id) => format!("/cases/{id}"),
            Self::Silences => "/silences".to_owned(),
        }
    }

    async fn draw(&self, desk: &Desk, headers: &HeaderMap, notice: Notice) -> Response {
        match self {
            Self::Alert(id) => routes::draw_alert(desk, id, headers, Some(notice)).await,
            Self::Case(id) => routes::draw_case(desk, id, headers, Some(notice)).await,
            Self::Silences => silences::draw(desk, &silences::Asked::default(), headers, Some(notice)).await,
        }
    }
}

/// Back to the page, or the page with what was refused.
async fn after(
    desk: &Desk,
    page: Page<'_>,
    headers: &HeaderMap,
    done: &str,
    who: &str,
    answer: Answer<()>,
) -> Response {
    match answer {
        Ok(()) => back(&format!("{}?done={done}", page.path()), who),
        Err(trouble) => {
            let notice = Notice { is_trouble: true, sentence: trouble.sentence.clone() };
            with_status(routes::status(&trouble), page.draw(desk, headers, notice).await)
        }
    }
}

/// The page again, told with the status of what was refused.
fn with_status(status: StatusCode, mut page: Response) -> Response {
    if page.status().is_success() {
        *page.status_mut() = status;
    }
    page
}

fn back(path: &str, who: &str) -> Response {
    let mut response = Redirect::to(path).into_response();
    if !who.is_empty() {
        let value: String = form_urlencoded::byte_serialize(who.as_bytes()).collect();
        let cookie = format!("{WHO}={value}; Path=/; Max-Age={WHO_S}; HttpOnly; SameSite=Strict");
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_remembered_as_typed_and_cannot_add_cookies() {
        for typed in ["Ana María", "x; Domain=evil", "日本 太郎", "a=b&c\r\nSet-Cookie: y"] {
            let response = back("/", &name(typed));
            let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
            let mut headers = HeaderMap::new();
            let first = format!("other=1; {}", cookie.split(';').next().unwrap());
            headers.insert(header::COOKIE, first.parse().unwrap());
            assert_eq!(who(&headers), name(typed));
            assert_eq!(cookie.matches(';').count(), 4, "{cookie}");
        }
        assert_eq!(name(&"x".repeat(500)).len(), NAME_CHARS_MAX);
    }
}
