use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use jiff::tz::TimeZone;
use maud::{Markup, html};
use model::BrandId;
use runtime::process::Parts;
use runtime::{Clock, Shutdown};
use serde::Deserialize;
use tokio::sync::Semaphore;
use tonic::Code;
use uuid::Uuid;

use crate::alert::AlertView;
use crate::backend::{Answer, Backend, Trouble};
use crate::case::CaseView;
use crate::now::Picture;
use crate::page::{Notice, Place, Section, Shell};
use crate::when::Moment;
use crate::{ConsoleConfig, actions, guard, lists, live, silences};

/// The largest form, in bytes.
const FORM_BYTES_MAX: usize = 64 * 1024;
/// Pages watched at the same time.
const WATCHED_MAX: usize = 256;

/// What every handler has at hand.
pub(crate) struct Desk {
    pub(crate) backend: Backend,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) shutdown: Shutdown,
    pub(crate) refresh: Duration,
    pub(crate) watchers: Arc<Semaphore>,
    zone: TimeZone,
}

impl Desk {
    pub(crate) fn new(config: &ConsoleConfig, parts: &Parts) -> anyhow::Result<Self> {
        Ok(Self {
            backend: Backend::new(config, &parts.net)?,
            clock: parts.clock.clone(),
            shutdown: parts.shutdown.clone(),
            refresh: Duration::from_millis(config.refresh_ms),
            watchers: Arc::new(Semaphore::new(WATCHED_MAX)),
            zone: config.zone()?,
        })
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment { now: self.clock.now(), zone: self.zone.clone() }
    }
}

/// A page that can be watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Watched {
    /// The first page, of one brand or (empty) of all.
    Now(String),
    /// One alert.
    Alert([u8; 16]),
    /// One case.
    Case([u8; 16]),
}

impl Watched {
    /// What the page shows now.
    pub(crate) async fn sections(&self, desk: &Desk) -> Answer<Vec<Section>> {
        let backend = &desk.backend;
        match self {
            Self::Now(brand) => Ok(Picture::take(backend, brand).await.sections(&desk.moment())),
            Self::Alert(id) => Ok(AlertView::take(backend, *id).await?.sections(&desk.moment())),
            Self::Case(id) => Ok(CaseView::take(backend, *id).await?.sections(&desk.moment())),
        }
    }
}

pub(crate) fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/", get(now_page))
        .route("/live", get(live::now))
        .route("/alerts", get(lists::alerts))
        .route("/cases", get(lists::cases))
        .route("/silences", get(silences::page).post(actions::silence))
        .route("/silences/{id}/end", post(actions::unsilence))
        .route("/alerts/{id}", get(alert_page))
        .route("/alerts/{id}/live", get(live::alert))
        .route("/alerts/{id}/acknowledge", post(actions::acknowledge))
        .route("/alerts/{id}/resolve", post(actions::resolve_alert))
        .route("/cases/{id}", get(case_page))
        .route("/cases/{id}/live", get(live::case))
        .route("/cases/{id}/assign", post(actions::assign))
        .route("/cases/{id}/reply", post(actions::reply))
        .route("/cases/{id}/promise", post(actions::promise))
        .route("/cases/{id}/keep", post(actions::keep))
        .route("/cases/{id}/resolve", post(actions::resolve_case))
        .route("/cases/{id}/reopen", post(actions::reopen))
        .route("/static/{version}/{name}", get(guard::asset))
        .fallback(nowhere)
        .layer(axum::middleware::from_fn(guard::guard))
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .with_state(desk)
}

/// What can be asked of the first page.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Chosen {
    brand: String,
}

impl Chosen {
    /// The brand, or none when it is no brand's name.
    pub(crate) fn brand(&self) -> String {
        BrandId::parse(&self.brand).map_or_else(|_| String::new(), |b| b.to_string())
    }
}

/// What was done just now, told by the address after a form.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Done {
    pub(crate) done: String,
}

async fn now_page(State(desk): State<Arc<Desk>>, Query(chosen): Query<Chosen>) -> Markup {
    let brand = chosen.brand();
    let picture = Picture::take(&desk.backend, &brand).await;
    let moment = desk.moment();
    let mut brands = picture.brands();
    if !brand.is_empty() && !brands.contains(&brand) {
        brands.push(brand.clone());
    }
    let live = if brand.is_empty() { "/live".to_owned() } else { format!("/live?brand={brand}") };
    let shell = Shell {
        place: Some(Place::Now),
        brands: &brands,
        brand: &brand,
        live: Some(&live),
        refresh_without_scripts: true,
        ..Shell::plain("Now", &moment)
    };
    let [summary, alerts, waiting, rising, said, settled, coverage] = {
        let mut sections = picture.sections(&moment).into_iter().map(|s| s.markup);
        std::array::from_fn(|_| sections.next().unwrap_or_default())
    };
    shell.draw(&html! {
        (summary)
        div.columns {
            div { (alerts) (waiting) (settled) }
            aside { (rising) (said) (coverage) }
        }
    })
}

async fn alert_page(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
    Query(done): Query<Done>,
    headers: HeaderMap,
) -> Response {
    draw_alert(&desk, &id, &headers, actions::done_words(&done.done)).await
}

async fn case_page(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
    Query(done): Query<Done>,
    headers: HeaderMap,
) -> Response {
    draw_case(&desk, &id, &headers, actions::done_words(&done.done)).await
}

/// The page of an alert, with a word on what was just done.
pub(crate) async fn draw_alert(
    desk: &Desk,
    id: &str,
    headers: &HeaderMap,
    notice: Option<Notice>,
) -> Response {
    let Some(key) = id_bytes(id) else { return nowhere().await };
    match AlertView::take(&desk.backend, key).await {
        Ok(view) => {
            let moment = desk.moment();
            let content = view.draw(&moment, &actions::who(headers));
            drawn(&moment, &view.title(), &format!("/alerts/{id}/live"), &content, notice)
        }
        Err(trouble) => trouble_page(desk, &trouble),
    }
}

/// The page of a case, with a word on what was just done.
pub(crate) async fn draw_case(
    desk: &Desk,
    id: &str,
    headers: &HeaderMap,
    notice: Option<Notice>,
) -> Response {
    let Some(key) = id_bytes(id) else { return nowhere().await };
    match CaseView::take(&desk.backend, key).await {
        Ok(view) => {
            let moment = desk.moment();
            let content = view.draw(&moment, &actions::who(headers));
            drawn(&moment, &view.title(), &format!("/cases/{id}/live"), &content, notice)
        }
        Err(trouble) => trouble_page(desk, &trouble),
    }
}

fn drawn(moment: &Moment, title: &str, live: &str, content: &Markup, notice: Option<Notice>) -> Response {
    let shell = Shell { live: Some(live), notice: notice.as_ref(), ..Shell::plain(title, moment) };
    shell.draw(content).into_response()
}

/// A page that says what is wrong and leads back.
pub(crate) fn trouble_page(desk: &Desk, trouble: &Trouble) -> Response {
    let moment = desk.moment();
    let page = Shell::plain("Trouble", &moment).draw(&html! {
        section.summary data-tone="blind" {
            h1 { (trouble.sentence) }
            p.sub { span { a href="/" { "Back to what is going on now" } } }
        }
    });
    (status(trouble), page).into_response()
}

/// What an answer to a browser is called.
pub(crate) const fn status(trouble: &Trouble) -> StatusCode {
    match trouble.code {
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::FailedPrecondition | Code::Aborted | Code::AlreadyExists => StatusCode::CONFLICT,
        Code::Unavailable | Code::DeadlineExceeded | Code::Unknown | Code::ResourceExhausted => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        _ => StatusCode::BAD_GATEWAY,
    }
}

pub(crate) fn id_bytes(text: &str) -> Option<[u8; 16]> {
    Uuid::parse_str(text).ok().map(Uuid::into_bytes)
}

async fn nowhere() -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (StatusCode::NOT_FOUND, headers, "There is no such page.\n").into_response()
}
