//! Pages that keep themselves fresh: server-sent events with the parts that changed.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use runtime::Phase;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use crate::routes::{Chosen, Desk, Watched, id_bytes};

/// Events on their way to one browser; a browser that reads slower is drawn less often.
const QUEUE: usize = 16;
/// How long a browser waits before it connects again.
const RECONNECT: Duration = Duration::from_secs(2);

pub(crate) async fn now(State(desk): State<Arc<Desk>>, Query(chosen): Query<Chosen>) -> Response {
    watch(desk, Watched::Now(chosen.brand()))
}

pub(crate) async fn alert(State(desk): State<Arc<Desk>>, Path(id): Path<String>) -> Response {
    match id_bytes(&id) {
        Some(id) => watch(desk, Watched::Alert(id)),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

pub(crate) async fn case(State(desk): State<Arc<Desk>>, Path(id): Path<String>) -> Response {
    match id_bytes(&id) {
        Some(id) => watch(desk, Watched::Case(id)),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn watch(desk: Arc<Desk>, page: Watched) -> Response {
    let Ok(permit) = desk.watchers.clone().try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many pages are watched\n").into_response();
    };
    let (events, queue) = mpsc::channel(QUEUE);
    tokio::spawn(draw_changes(desk, page, events, permit));
    Sse::new(ReceiverStream::new(queue)).keep_alive(KeepAlive::default()).into_response()
}

async fn draw_changes(
    desk: Arc<Desk>,
    page: Watched,
    events: mpsc::Sender<Result<Event, Infallible>>,
    _permit: OwnedSemaphorePermit,
) {
    let mut drawn = BTreeMap::new();
    let mut leaving = std::pin::pin!(desk.shutdown.on(Phase::Leaving));
    loop {
        for event in changes(&desk, &page, &mut drawn).await {
            if events.send(Ok(event.retry(RECONNECT))).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = &mut leaving => return,
            () = events.closed() => return,
            () = tokio::time::sleep(desk.refresh) => {}
        }
    }
}

/// One event for each part that is not as it was drawn last, and one with the time.
async fn changes(desk: &Desk, page: &Watched, drawn: &mut BTreeMap<&'static str, String>) -> Vec<Event> {
    let sections = match page.sections(desk).await {
        Ok(sections) => sections,
        Err(trouble) => return vec![Event::default().event("trouble").data(trouble.sentence)],
    };
    let mut events = Vec::new();
    for section in sections {
        let markup = section.markup.into_string();
        if drawn.get(section.id) != Some(&markup) {
            let data = serde_json::json!({ "id": section.id, "html": markup });
            events.push(Event::default().event("section").data(data.to_string()));
            drawn.insert(section.id, markup);
        }
    }
    let moment = desk.moment();
    let clock = serde_json::json!({ "at": moment.now.to_string(), "words": moment.clock(moment.now) });
    events.push(Event::default().event("clock").data(clock.to_string()));
    events
}
