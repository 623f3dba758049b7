//! The admin port: `/livez`, `/readyz`, `/metrics` and gRPC health, in plain text, for the platform only.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::Context as _;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::service::Routes;
use tonic_health::ServingStatus;

use crate::telemetry::Metrics;
use crate::{Phase, Shutdown};

/// What each part of the process says about itself. Cheap to clone; clones share.
#[derive(Debug, Clone)]
pub struct Health(Arc<watch::Sender<BTreeMap<String, Component>>>);

/// One part's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// Can it do its work?
    pub ready: bool,
    /// Why (not), for a person.
    pub why: String,
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// Nobody has spoken yet: not ready.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(BTreeMap::new())))
    }

    /// Says whether `component` can do its work. Announce every component as not ready before the first
    /// becomes ready.
    pub fn set_ready(&self, component: &str, ready: bool, why: impl Into<String>) {
        let word = Component { ready, why: why.into() };
        self.0.send_if_modified(|all| {
            let changed = all.get(component) != Some(&word);
            if changed {
                if all.get(component).is_none_or(|before| before.ready != ready) {
                    tracing::info!(component, ready, why = %word.why, "readiness changed");
                }
                all.insert(component.to_owned(), word);
            }
            changed
        });
    }

    /// Names components that will speak, so that nothing counts as ready before each of them has.
    pub fn announce(&self, components: &[&str]) {
        components.iter().for_each(|component| self.set_ready(component, false, "starting"));
    }

    /// True when at least one component spoke and all are ready.
    pub fn is_ready(&self) -> bool {
        let all = self.0.borrow();
        !all.is_empty() && all.values().all(|c| c.ready)
    }

    /// What each said last.
    pub fn report(&self) -> BTreeMap<String, Component> {
        self.0.borrow().clone()
    }

    /// Returns once all are ready.
    pub async fn ready(&self) {
        let mut seen = self.0.subscribe();
        let _ = seen.wait_for(|all| !all.is_empty() && all.values().all(|c| c.ready)).await;
    }
}

#[derive(Clone)]
struct Admin {
    health: Health,
    metrics: Metrics,
    shutdown: Shutdown,
}

/// Serves the admin port until the very end ([`Phase::Gone`]), so that the last scrape still sees it.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(
    listener: TcpListener,
    health: Health,
    metrics: Metrics,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let (reporter, service) = tonic_health::server::health_reporter();
    reporter.set_service_status("liveness", ServingStatus::Serving).await;
    let app = axum::Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_page))
        .with_state(Admin { health: health.clone(), metrics, shutdown: shutdown.clone() })
        .merge(Routes::new(service).prepare().into_axum_router());
    let served = axum::serve(listener, app).into_future();
    let mut changes = health.0.subscribe();
    let telling = async {
        loop {
            let ready = health.is_ready() && shutdown.phase() == Phase::Running;
            let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
            for name in ["", "readiness"] {
                reporter.set_service_status(name, status).await;
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = shutdown.reached(Phase::Leaving), if shutdown.phase() == Phase::Running => {}
            }
        }
    };
    tokio::select! {
        served = served => served.context("admin listener failed"),
        () = telling => Ok(()),
        () = shutdown.reached(Phase::Gone) => Ok(()),
    }
}

async fn readyz(State(admin): State<Admin>) -> impl IntoResponse {
    let mut text = String::new();
    let leaving = admin.shutdown.phase() != Phase::Running;
    if leaving {
        text.push_str("leaving\n");
    }
    for (name, component) in admin.health.report() {
        let word = if component.ready { "ready" } else { "not ready" };
        let _ = writeln!(
            text,
            "{name}: {word}{}{}",
            if component.why.is_empty() { "" } else { ": " },
            component.why
        );
    }
    let ready = admin.health.is_ready() && !leaving;
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
}

async fn metrics_page(State(admin): State<Admin>) -> impl IntoResponse {
    match admin.metrics.render() {
        Ok(text) => (StatusCode::OK, [("content-type", "text/plain; version=0.0.4")], text),
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, [("content-type", "text/plain")], format!("{error:#}\n"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Net;
    use std::net::SocketAddr;
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;

    async fn get(address: SocketAddr, path: &str) -> (u16, String) {
        let client = Net::default().http_client(std::time::Duration::from_secs(5)).unwrap();
        let answer = client.get(format!("http://{address}{path}")).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    #[test]
    fn what_is_announced_is_waited_for_though_others_are_ready() {
        let health = Health::new();
        health.announce(&["first", "second"]);
        health.set_ready("first", true, "");
        assert!(!health.is_ready());
        health.set_ready("second", true, "");
        assert!(health.is_ready());
    }

    #[tokio::test]
    async fn readiness_follows_the_components_and_the_shutdown() {
        let net = Net::default();
        let listener = net.bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (health, shutdown) = (Health::new(), Shutdown::immediate());
        let serving = tokio::spawn(serve(listener, health.clone(), Metrics::default(), shutdown.clone()));
        assert_eq!(get(address, "/livez").await.0, 200);
        assert_eq!(get(address, "/readyz").await.0, 503, "nobody has spoken");
        health.set_ready("log", false, "broker is away");
        health.set_ready("store", true, "");
        let (code, text) = get(address, "/readyz").await;
        assert_eq!((code, text.contains("log: not ready: broker is away")), (503, true), "{text}");
        health.set_ready("log", true, "");
        assert_eq!(get(address, "/readyz").await.0, 200);
        assert_eq!(get(address, "/metrics").await.0, 200);
        let mut client = HealthClient::new(net.channel(&format!("http://{address}")).unwrap());
        let ask = HealthCheckRequest { service: "liveness".into() };
        assert_eq!(client.check(ask).await.unwrap().into_inner().status, 1);
        let _held = shutdown.guard(Phase::StopIntake);
        shutdown.begin("test");
        let driving = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.drive().await }
        });
        shutdown.reached(Phase::StopIntake).await;
        let (code, text) = get(address, "/readyz").await;
        assert_eq!((code, text.starts_with("leaving")), (503, true));
        drop(_held);
        assert!(driving.await.unwrap());
        serving.await.unwrap().unwrap();
    }
}
