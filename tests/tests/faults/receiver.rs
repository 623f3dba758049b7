//! A receiver of webhooks that checks signatures and recognises repeats.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use model::Timestamp;
use runtime::{Clock as _, RealClock};
use sources::signature::{Scheme, Secret, verify};

const SECRET: &str = "whsec_dGhlLXNlY3JldC1vZi10aGUtZmF1bHQtdGVzdHMtMzI=";

#[derive(Default)]
pub(crate) struct Seen {
    /// Body by webhook id.
    pub(crate) bodies: BTreeMap<String, Bytes>,
    pub(crate) repeats: usize,
    pub(crate) refused: usize,
}

#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) url: String,
    pub(crate) secret: &'static str,
    /// The sender's clock shows the time of a recording, so that times are only believed, not checked.
    is_replay: bool,
    seen: Arc<Mutex<Seen>>,
}

impl Receiver {
    pub(crate) async fn start(is_replay: bool) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let receiver = Self { url, secret: SECRET, is_replay, seen: Arc::default() };
        let app = axum::Router::new().route("/hook", post(take)).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        receiver
    }

    pub(crate) fn read<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock().unwrap())
    }
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let named = headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let scheme = Scheme::named("standard-webhooks").unwrap();
    let said = headers.get("webhook-timestamp").and_then(|v| v.to_str().ok()?.parse().ok());
    let now = said.filter(|_| receiver.is_replay).map_or(RealClock.now(), Timestamp::from_seconds);
    let verified = verify(&scheme, &[Secret::new(SECRET)], named, &body, now);
    let mut seen = receiver.seen.lock().unwrap();
    let Ok(verified) = verified else {
        seen.refused += 1;
        return StatusCode::UNAUTHORIZED;
    };
    let id = verified.delivery_id.unwrap();
    if let Some(before) = seen.bodies.insert(id.clone(), body.clone()) {
        assert_eq!(before, body, "the repeat of {id} says the same");
        seen.repeats += 1;
    }
    StatusCode::NO_CONTENT
}
