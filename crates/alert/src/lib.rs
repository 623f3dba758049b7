//! The alert service: from verdicts to people who know.
//!
//! Stage one folds verdicts into per-second tallies keyed by subject ([`bus::Step`], exactly once). Stage
//! two owns whole subjects, runs the detectors of crate `detect` and hands their signals to the policy of
//! crate `paging`; a third reader takes the short way for single severe complaints. Effects (episodes,
//! history, notices to send) go to SQL in one transaction with the offset they follow from; a sender takes
//! notices from the outbox to webhooks, chat and pagers, and changes to the alerts topic; due rows wake
//! episodes when time alone changes them. gRPC answers who asks.
//!
//! It stays ignorant of how a text is understood, and of cases.

mod config;
mod consumer;
mod coverage;
mod deliver;
mod desk;
mod destinations;
mod detection;
mod file;
mod grpc;
mod metrics;
mod outlook;
mod picture;
mod reading;
mod rehearsal;
mod severe;
mod sources;
mod step;
mod store;
mod tally;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod timeline;
mod timers;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use ::store::Store;
use anyhow::Context as _;
use bus::Log;
use contracts::alert::v1::alert_service_server::AlertServiceServer;
use runtime::brands::Brand;
use runtime::process::Parts;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub use config::{
    Config, DeliveryConfig, Destination, DestinationKind, DetectConfig, EscalationConfig, HarmConfig,
    PagingConfig, ReadingConfig, RouteConfig, SevereConfig, SourcesConfig, ThreadConfig,
};
pub use file::File;
pub use rehearsal::{Rehearsal, Rehearsed};
pub use severe::HOP as SEVERE_HOP;
pub use step::HOP as TALLY_HOP;
pub use store::{MIGRATIONS, SERVICE};

/// How the service calls its listening part towards readiness; its readers announce themselves with it.
pub const COMPONENT: &str = "alert-grpc";

/// What the service stands on. Cheap to clone; clones share.
#[derive(Clone)]
pub struct Deps {
    /// The log between the services.
    pub log: Arc<dyn Log>,
    /// The database with this service's tables.
    pub store: Store,
    /// The brands, for their time zones.
    pub brands: Arc<Vec<Brand>>,
    /// Clock, end, health, accounts, listeners.
    pub parts: Parts,
}

/// Runs the service until it is told to stop. Its tables must be there ([`MIGRATIONS`]), or come soon.
///
/// # Errors
/// When a setting is wrong, the tables do not come, or one of its parts fails for good.
pub async fn run(config: Config, deps: Deps) -> anyhow::Result<()> {
    let listener = deps.parts.net.bind(config.listen).await.context("alert.listen")?;
    run_on(listener, config, deps).await
}

/// As [`run`], on a listener that is open already.
///
/// # Errors
/// As [`run`].
pub async fn run_on(listener: TcpListener, mut config: Config, deps: Deps) -> anyhow::Result<()> {
    config.check()?;
    if config.destinations.is_empty() {
        tracing::warn!("alert.destinations is empty: notices are only written to this log");
        config.destinations.insert("log".to_owned(), Destination::log());
    }
    deps.parts.health.announce(&[step::HOP, consumer::HOP, severe::HOP, COMPONENT]);
    let zones = config::Zones::of(&deps.brands)?;
    let destinations = Arc::new(destinations::Destinations::new(&config)?);
    let wait = Duration::from_secs(config.reading.tables_wait_s);
    ::store::wait_for_version(&deps.store, SERVICE, MIGRATIONS, wait).await?;

    let metrics = metrics::Metrics::new();
    let desk = desk::Desk::new(deps.store.clone(), config.policy());
    let picture = picture::Picture::default();
    let config = Arc::new(config);
    let sender = deliver::Sender {
        deps: deps.clone(),
        desk: desk.clone(),
        destinations,
        publisher: deps.log.publisher().context("publishing to the alerts topic")?,
        config: config.delivery.clone(),
        worker: worker_name(&config.member),
        metrics: metrics.clone(),
    };
    let answers = grpc::Answers {
        deps: deps.clone(),
        desk: desk.clone(),
        picture: picture.clone(),
        detect: config.detect.policy(),
    };

    let mut parts = JoinSet::new();
    parts.spawn(step::run(deps.clone(), config.member.clone(), config.reading.clone()));
    parts.spawn(consumer::run(deps.clone(), desk.clone(), picture.clone(), config.clone(), zones));
    parts.spawn(severe::run(deps.clone(), desk.clone(), picture.clone(), config.clone()));
    parts.spawn(timers::run(
        deps.clone(),
        desk,
        config.sources.clone(),
        metrics,
        worker_name(&config.member),
    ));
    parts.spawn(deliver::run(sender));
    parts.spawn(serve(listener, deps.clone(), answers));

    let mut result = Ok(());
    while let Some(ended) = parts.join_next().await {
        let ended = ended.context("a part of alert broke").and_then(|ended| ended);
        if let Err(error) = ended {
            // One part alone is no service: the others finish what they have in hand.
            deps.parts.shutdown.begin("a part of alert failed");
            if result.is_ok() {
                result = Err(error);
            }
        }
    }
    result
}

/// A worker's name is its process's: a restarted one must not pass for the one before it.
fn worker_name(member: &str) -> String {
    format!("{member}-{}", uuid::Uuid::new_v4().simple())
}

async fn serve(listener: TcpListener, deps: Deps, answers: grpc::Answers) -> anyhow::Result<()> {
    let mut routes = runtime::net::routes();
    routes.add_service(AlertServiceServer::new(answers));
    deps.parts.health.set_ready(COMPONENT, true, "listening");
    let shutdown = deps.parts.shutdown.clone();
    deps.parts
        .net
        .serve_grpc(listener, routes, contracts::DESCRIPTOR_SET, &shutdown)
        .await
        .context("alert gRPC")
}
