//! Whom we have not answered yet, since when, and what was promised.
//!
//! Reads verdicts and erasures from the log, keeps cases, their history and due times in SQL together with
//! the offsets, sends every change from the history, and answers over gRPC. Each record is decided once:
//! offset, cases, history and due times are kept in one transaction or not at all.
//!
//! What happens to a case is decided by crate `casework`; this crate stays ignorant of sources, of
//! understanding, of alerts, and of who is on call.

mod config;
mod consumer;
mod desk;
mod file;
mod grpc;
mod hear;
mod list;
mod outbox;
mod rehearsal;
mod report;
mod step;
mod store;
mod table;
mod teller;
#[cfg(test)]
mod tests;
mod timers;
mod waiting;
mod watch;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bus::{ConsumerSettings, Log, Topic};
use casework::{Calendar, CalendarSpec};
use contracts::response::v1::response_service_server::ResponseServiceServer;
use runtime::brands::Brand;
use runtime::net;
use runtime::process::Parts;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub use config::{CasesConfig, Config, ServiceConfig, SidesConfig, TargetConfig};
pub use consumer::{COMPONENT, HOP};
pub use file::File;
pub use rehearsal::Rehearsal;
pub use store::{MIGRATIONS, SERVICE};

use crate::config::Policies;
use crate::desk::Desk;

/// The largest request, in bytes.
const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// What response needs from its process.
#[derive(Clone)]
pub struct Deps {
    /// The log.
    pub log: Arc<dyn Log>,
    /// The database; its tables are made by `redress migrate`.
    pub store: ::store::Store,
    /// Clock, shutdown, health, account, listeners.
    pub parts: Parts,
    /// The brands and their time zones.
    pub brands: Vec<Brand>,
}

/// How many changes of cases lie in `store` that are not on the log yet.
///
/// # Errors
/// When the database fails.
pub async fn untold(store: &::store::Store) -> anyhow::Result<i64> {
    Ok(store::untold(store).await?)
}

/// Serves until told to stop: cases from verdicts, due times, messages and gRPC.
///
/// # Errors
/// When the settings are no good, the tables stay old, or the log or the database fails for good.
pub async fn run(config: Config, deps: Deps) -> anyhow::Result<()> {
    let listener = deps.parts.net.bind(config.listen).await.context("response")?;
    serve(config, deps, listener).await
}

/// As [`run`], on a listener that is open already.
///
/// # Errors
/// As [`run`].
pub async fn serve(config: Config, deps: Deps, listener: TcpListener) -> anyhow::Result<()> {
    config.check()?;
    let Deps { log, store, parts, brands } = deps;
    let policies = Policies::new(&config, &brands)?;
    let within = Duration::from_secs(config.tables_wait_s);
    ::store::wait_for_version(&store, SERVICE, MIGRATIONS, within).await?;
    let policies = with_old_calendars(policies, &store).await?;
    store::release(&store, &config.member).await?;
    let desk = Arc::new(Desk::new(store, policies, parts.clock.clone()));
    let horizon = Arc::new(consumer::Horizon::new());

    let settings = ConsumerSettings {
        group: HOP.into(),
        member: config.member.clone(),
        topics: vec![Topic::Verdicts, Topic::Erasures],
    };
    let reading = consumer::Loop {
        consumer: log.consumer(settings).await.context("cannot join group 'response'")?,
        desk: desk.clone(),
        horizon: horizon.clone(),
        account: parts.account.clone(),
        health: parts.health.clone(),
        shutdown: parts.shutdown.clone(),
        batch_records_max: config.batch_records_max,
        started: tokio::time::Instant::now(),
    };
    let timing = timers::Timers {
        desk: desk.clone(),
        horizon,
        shutdown: parts.shutdown.clone(),
        member: config.member.clone(),
        remember: Duration::from_secs(u64::from(config.remember_s)),
        early_for: Duration::from_secs(u64::from(config.early_answers_days) * 86_400),
    };
    let telling = teller::Teller {
        desk: desk.clone(),
        publisher: log.publisher().context("cannot write cases")?,
        shutdown: parts.shutdown.clone(),
        member: config.member.clone(),
    };
    let sending = outbox::Sender {
        desk: desk.clone(),
        publisher: log.publisher().context("cannot write refusals")?,
        shutdown: parts.shutdown.clone(),
        member: config.member.clone(),
    };
    let service = grpc::Service {
        desk,
        shutdown: parts.shutdown.clone(),
        watchers: Arc::new(Semaphore::new(config.watchers_max)),
    };
    let mut routes = net::routes();
    routes.add_service(ResponseServiceServer::new(service).max_decoding_message_size(REQUEST_BYTES_MAX));
    let answering = parts.net.serve_grpc(listener, routes, contracts::DESCRIPTOR_SET, &parts.shutdown);
    // Tasks of their own: long answers to callers must not delay what falls due.
    let reading = apart("reading verdicts", reading.run());
    let timing = apart("telling what falls due", timing.run());
    let telling = apart("sending changes", telling.run());
    let sending = apart("sending refusals", sending.run());
    tokio::try_join!(reading, timing, telling, sending, answering)?;
    Ok(())
}

/// Runs `work` in a task of its own that ends with this future, whatever happens.
async fn apart(
    doing: &'static str,
    work: impl Future<Output = anyhow::Result<()>> + Send + 'static,
) -> anyhow::Result<()> {
    let mut task = JoinSet::new();
    task.spawn(work);
    match task.join_next().await {
        Some(ended) => ended.with_context(|| format!("{doing} broke off"))?,
        None => Ok(()),
    }
}

/// Clocks are pinned to calendars that may have left the settings long ago.
async fn with_old_calendars(mut policies: Policies, store: &::store::Store) -> anyhow::Result<Policies> {
    for calendar in policies.calendars() {
        let body = serde_json::to_string(calendar.spec()).context("cannot write a calendar")?;
        store::keep_calendar(store, calendar.version(), &body).await?;
    }
    for body in store::calendars(store).await? {
        let spec: CalendarSpec = serde_json::from_str(&body).context("cannot read a calendar")?;
        policies.remember(&Calendar::new(&spec)?);
    }
    Ok(policies)
}
