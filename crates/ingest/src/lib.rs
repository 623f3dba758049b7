//! Takes in what was said: decodes the bytes of every source into mention events, decides which concern
//! our brands and which are repeats, and publishes them; keeps what it refuses, with the reason.
//!
//! An answer (of gRPC, of a webhook, of a saved cursor) means that the log has confirmed: nothing
//! acknowledged is ever lost. What bytes mean is decided by crate `sources`; what a text says is none of
//! this crate's business.

mod backoff;
mod config;
mod coverage;
mod feeds;
mod file;
mod files;
mod grpc;
mod http;
mod intake;
mod jetstream;
mod known;
mod matching;
mod source;
mod step;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bus::Log;
use contracts::ingest::v1::ingest_service_server::IngestServiceServer;
use runtime::brands::Brand;
use runtime::process::Parts;
use runtime::{Phase, net};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::source::{Source, Stopped};

pub use config::{
    Config, ConnectorConfig, DEFAULT_CONNECTOR, FilesConfig, PollConfig, StreamConfig, WebhookConfig,
};
pub use file::File;
pub use intake::{Ended, HOP, Intake, UnknownConnector};
pub use step::{Body, Feed};
pub use store::MIGRATIONS;

/// How the service calls itself towards readiness.
pub const COMPONENT: &str = "ingest";
/// How often the log is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(5);
/// How long to wait at start for somebody to run the migrations.
const MIGRATIONS_WITHIN: Duration = Duration::from_secs(120);
/// The largest request read over gRPC, in bytes: room enough to tell a sender that its body is too large.
const REQUEST_BYTES_MAX: usize = 2 * grpc::BODY_BYTES_MAX;

/// What ingest needs from its process.
#[derive(Clone)]
pub struct Deps {
    /// The log.
    pub log: Arc<dyn Log>,
    /// Cursors and deliveries.
    pub store: ::store::Store,
    /// Whose data everything taken in is: a slug.
    pub tenant: String,
    /// The brands we listen for; none: everything is of interest.
    pub brands: Vec<Brand>,
    /// Clock, shutdown, health, account, listeners.
    pub parts: Parts,
}

/// Serves until told to stop.
///
/// # Errors
/// When the settings are no good, or the log or the database fail for good.
pub async fn run(config: Config, deps: Deps) -> anyhow::Result<()> {
    config.check(&deps.tenant, &deps.brands)?;
    let grpc = deps.parts.net.bind(config.listen).await.context("ingest")?;
    let http = match config.listen_http {
        Some(address) => Some(deps.parts.net.bind(address).await.context("ingest")?),
        None => None,
    };
    serve(config, grpc, http, deps).await
}

async fn serve(
    config: Config,
    grpc: TcpListener,
    http: Option<TcpListener>,
    deps: Deps,
) -> anyhow::Result<()> {
    let Deps { log, store, tenant, brands, parts } = deps;
    parts.health.set_ready(COMPONENT, false, "waiting for tables and log");
    ::store::wait_for_version(&store, store::SERVICE, MIGRATIONS, MIGRATIONS_WITHIN).await?;
    let account = parts.account.clone();
    let intake = Intake::open(&config, &tenant, &brands, &*log, parts.clock.clone(), account).await?;
    let service = grpc::Service { intake: intake.clone() };
    let mut routes = net::routes();
    routes.add_service(IngestServiceServer::new(service).max_decoding_message_size(REQUEST_BYTES_MAX));
    let answering = parts.net.serve_grpc(grpc, routes, contracts::DESCRIPTOR_SET, &parts.shutdown);
    let watching = watch(&*log, &parts);
    let taking = async {
        let Some(listener) = http else { return Ok(()) };
        let app = http::app(intake.clone(), store.clone(), parts.net.clone(), &config);
        parts.net.serve_http(listener, app, &parts.shutdown).await
    };
    let hearing = hear(&config, &intake, &store, &parts);
    let reporting = report(&intake, Duration::from_secs(config.coverage_every_s.max(1)), &parts);
    tokio::try_join!(answering, taking, watching, hearing, reporting)?;
    let publisher = log.publisher().context("cannot flush")?;
    publisher.flush(Duration::from_secs(5)).await.context("what was taken in is not confirmed")?;
    Ok(())
}

/// Runs every connector that hears by itself, each in a task of its own; they end when intake stops.
async fn hear(config: &Config, intake: &Intake, store: &::store::Store, parts: &Parts) -> anyhow::Result<()> {
    let _guard = parts.shutdown.guard(Phase::StopIntake);
    let mut tasks = JoinSet::new();
    for connector in &config.connectors {
        let Ok(kind) = connector.kind.parse() else { continue };
        let source = Source {
            intake: intake.clone(),
            store: store.clone(),
            connector: connector.id.clone(),
            kind,
            shutdown: parts.shutdown.clone(),
        };
        if let Some(files) = &connector.files {
            tasks.spawn(files::read_all(source.clone(), files.paths.clone()));
        }
        if let Some(stream) = &connector.stream {
            tasks.spawn(jetstream::listen(source.clone(), stream.clone()));
        }
        if let Some(poll) = &connector.poll {
            let client = parts.net.http_client(Duration::from_secs(poll.timeout_s))?;
            for url in &poll.urls {
                tasks.spawn(feeds::poll(source.clone(), client.clone(), url.clone(), poll.clone()));
            }
        }
    }
    while let Some(ended) = tasks.join_next().await {
        // Told to stop, or done: either way it ended on purpose. A panic is a fault of ours.
        let _: Result<(), Stopped> = ended.context("a connector broke off")?;
    }
    Ok(())
}

/// Repeats the coverage of all connectors, so that whoever comes later knows how complete the world is.
async fn report(intake: &Intake, every: Duration, parts: &Parts) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = parts.shutdown.reached(Phase::StopIntake) => return Ok(()),
        }
        if let Err(error) = intake.publish_coverage(intake.coverage()).await {
            tracing::warn!(%error, "coverage not published");
        }
    }
}

/// Keeps readiness true to whether the log can be reached.
async fn watch(log: &dyn Log, parts: &Parts) -> anyhow::Result<()> {
    while parts.shutdown.phase() < Phase::StopIntake {
        match log.ping().await {
            Ok(()) => parts.health.set_ready(COMPONENT, true, ""),
            Err(error) => parts.health.set_ready(COMPONENT, false, error.to_string()),
        }
        tokio::select! {
            () = tokio::time::sleep(PING_EVERY) => {}
            () = parts.shutdown.reached(Phase::StopIntake) => {}
        }
    }
    parts.health.set_ready(COMPONENT, false, "stopped");
    Ok(())
}
