//! From mentions to verdicts, exactly once: each mention event gets one verdict event on the same
//! partition, repeats fold away, whatever cannot be read becomes a dead letter, and all of a batch
//! becomes visible in one transaction of the log. The same model answers other services over gRPC.
//!
//! What a text means is decided by crate `nlp`; this crate stays ignorant of sources, brands' rules,
//! alerts and cases, and keeps nothing but the log's own progress.

mod config;
mod consumer;
mod engine;
mod file;
mod grpc;
mod metrics;
mod second;
mod step;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod understand;
mod window;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bus::{Log, StepSettings, Topic};
use contracts::classify::v1::classify_service_server::ClassifyServiceServer;
use runtime::net;
use runtime::process::Parts;

pub use config::Config;
pub use consumer::{COMPONENT, HOP};
pub use file::File;

/// The largest request, in bytes: a text of 64 KiB in any encoding of it, with room for the rest.
const REQUEST_BYTES_MAX: usize = 1024 * 1024;

/// What classify needs from its process.
#[derive(Clone)]
pub struct Deps {
    /// The log.
    pub log: Arc<dyn Log>,
    /// Clock, shutdown, health, account, listeners.
    pub parts: Parts,
}

/// Serves until told to stop: the step from mentions to verdicts, and gRPC.
///
/// # Errors
/// When the settings are no good, the log fails for good, or another member took this one's place.
pub async fn run(config: Config, deps: Deps) -> anyhow::Result<()> {
    config.check()?;
    let Deps { log, parts } = deps;
    let engine = engine::Engine::new(&config)?;
    let listener = parts.net.bind(config.listen).await.context("classify")?;
    serve(config, listener, engine, log, parts).await
}

async fn serve(
    config: Config,
    listener: tokio::net::TcpListener,
    engine: engine::Engine,
    log: Arc<dyn Log>,
    parts: Parts,
) -> anyhow::Result<()> {
    let settings = StepSettings {
        group: HOP.into(),
        member: config.member.clone(),
        topics: vec![Topic::Mentions],
        transaction_timeout: Duration::from_millis(config.transaction_timeout_ms),
    };
    let service = grpc::Service {
        engine: engine.clone(),
        publisher: log.publisher().context("cannot write feedback")?,
        clock: parts.clock.clone(),
        stream_ahead_max: config.stream_ahead_max,
    };
    let mut routes = net::routes();
    routes.add_service(ClassifyServiceServer::new(service).max_decoding_message_size(REQUEST_BYTES_MAX));
    let following = {
        let (engine, shutdown) = (engine.clone(), parts.shutdown.clone());
        let every = Duration::from_secs(config.model_check_s.max(1));
        let path = config.model.clone();
        async move {
            if let Some(path) = path {
                engine.follow(path, every, shutdown).await;
            }
            anyhow::Ok(())
        }
    };
    let step = consumer::Loop {
        step: log.step(settings).await.context("cannot join group 'classify'")?,
        log: log.reader().context("cannot read verdicts")?,
        engine,
        clock: parts.clock.clone(),
        account: parts.account.clone(),
        health: parts.health.clone(),
        shutdown: parts.shutdown.clone(),
        metrics: metrics::Metrics::new(),
        config,
    };
    let answering = parts.net.serve_grpc(listener, routes, contracts::DESCRIPTOR_SET, &parts.shutdown);
    // The step runs in a task of its own: long answers to callers must not delay it.
    let stepping = tokio::spawn(step.run());
    let stepping = async { stepping.await.context("the classify step broke off")? };
    tokio::try_join!(stepping, answering, following)?;
    Ok(())
}
