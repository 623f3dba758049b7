//! All services in one process: the embedded log, one SQLite file each, ports of their own on this machine.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bus::{EmbeddedLog, EmbeddedSettings, GroupPosition, Log, Topic, TopicPlan};
use ingest::{ConnectorConfig, StreamConfig};
use model::SourceKind;
use runtime::brands::Brand;
use runtime::net::Link;
use runtime::process::Parts;
use runtime::{Clock, RealClock};
use store::{Migration, Store, offsets, outbox};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::super::local::port;
use super::super::scratch::Scratch;

/// Partitions of every topic: enough to show that nothing depends on there being one.
const PARTITIONS: i32 = 4;
/// The embedded log lets old records go this often.
const MAINTAIN_EVERY: Duration = Duration::from_secs(20);
/// One process holds all services here: smaller batches and windows than in a cluster keep it small.
const BATCH_RECORDS_MAX: usize = 1_000;
/// Response is the slowest and keeps little of most records: a larger batch pays there.
const RESPONSE_BATCH_RECORDS_MAX: usize = 4_000;
const REPEATS_WINDOW: usize = 20_000;
/// Just below where its table would have to double.
const REMEMBERED_MAX: usize = 57_000;
/// Records of the log are kept this long in event time, unless a folder was named to keep everything in.
const KEPT_MS: i64 = 2 * 86_400_000;
/// The longest the services may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Everything counts as worked through when nothing is left and no account has moved for this long.
const STILL: Duration = Duration::from_millis(1_500);
/// How often that is looked at.
const STILL_LOOK: Duration = Duration::from_millis(250);
/// In a replay at full speed a signal counts as news for so many seconds of event time.
const REPLAY_AGE_MAX_S: u32 = 30 * 86_400;
/// And what is detected so far is kept so often, in event time: an hour passes in a moment.
const REPLAY_SNAPSHOT_EVERY_S: u64 = 3 * 3_600;
/// Whom everything is about when nobody says whom to listen for.
const EVERYBODY: &str = "everybody";

/// What to start.
pub(super) struct Setup {
    pub(super) data: Option<PathBuf>,
    pub(super) listen: SocketAddr,
    pub(super) brands: Vec<Brand>,
    pub(super) alert: alert::Config,
    pub(super) response: response::Config,
    /// False: everything heard is about one brand.
    pub(super) names_brands: bool,
    pub(super) clock: Arc<dyn Clock>,
    /// The clock shows the newest event instead of going by itself.
    pub(super) is_driven_by_events: bool,
    pub(super) live: Option<(SourceKind, Option<String>)>,
}

/// The running whole.
pub(super) struct System {
    pub(super) console: SocketAddr,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) parts: Parts,
    ingest: SocketAddr,
    alert: SocketAddr,
    response: SocketAddr,
    broken: watch::Receiver<Option<String>>,
    services: Vec<JoinHandle<()>>,
    log: Arc<EmbeddedLog>,
    /// By service.
    stores: BTreeMap<&'static str, Store>,
    /// Removed at the end, when nobody named a folder.
    _scratch: Option<Scratch>,
}

impl System {
    /// Starts everything and waits until all of it is ready.
    pub(super) async fn start(setup: Setup) -> anyhow::Result<Self> {
        let (dir, scratch) = folder(setup.data.as_deref())?;
        let log = EmbeddedLog::open(&dir.join("log.db"), EmbeddedSettings::default())
            .context("cannot open the log")?;
        let log = Arc::new(log);
        log.topics(&plan(scratch.is_some()), true).await.context("cannot make the topics")?;
        let parts = Parts::alone(setup.clock.clone());
        // The first to be ready must not be taken for all of them.
        parts.health.announce(&[
            ingest::COMPONENT,
            classify::COMPONENT,
            alert::COMPONENT,
            response::COMPONENT,
            console::COMPONENT,
        ]);
        let (break_it, broken) = watch::channel(None);
        let mut system = Self {
            console: setup.listen,
            clock: setup.clock.clone(),
            parts: parts.clone(),
            ingest: port(7701)?,
            alert: port(7704)?,
            response: port(7705)?,
            broken,
            services: Vec::new(),
            log: log.clone(),
            stores: BTreeMap::new(),
            _scratch: scratch,
        };
        let start = |name: &'static str, service: futures::future::BoxFuture<'static, anyhow::Result<()>>| {
            let (break_it, shutdown) = (break_it.clone(), parts.shutdown.clone());
            tokio::spawn(async move {
                let ended = service.await;
                if shutdown.has_begun() {
                    return;
                }
                let why = ended.err().map_or_else(|| "ended by itself".to_owned(), |e| format!("{e:#}"));
                break_it.send_replace(Some(format!("{name}: {why}")));
            })
        };
        let shared: Arc<dyn Log> = log.clone();

        let classify = classify::Config {
            listen: port(7703)?,
            batch_records_max: BATCH_RECORDS_MAX,
            repeats_window: REPEATS_WINDOW,
            ..classify::Config::default()
        };
        let deps = classify::Deps { log: shared.clone(), parts: parts.clone() };
        system.services.push(start("classify", Box::pin(classify::run(classify, deps))));

        let store = open_store(&dir, alert::SERVICE, alert::MIGRATIONS).await?;
        system.stores.insert(alert::SERVICE, store.clone());
        let mut config = alert::Config {
            listen: system.alert,
            base_url: format!("http://{}", setup.listen),
            ..setup.alert.clone()
        };
        config.reading.batch_records_max = BATCH_RECORDS_MAX;
        if setup.is_driven_by_events {
            // Event time runs hours ahead of the pipeline in a moment; nothing heard in a replay is too old.
            config.paging.age_max_s = REPLAY_AGE_MAX_S;
            config.reading.snapshot_every_s = REPLAY_SNAPSHOT_EVERY_S;
        }
        let brands = Arc::new(setup.brands.clone());
        let deps = alert::Deps { log: shared.clone(), store, brands: brands.clone(), parts: parts.clone() };
        system.services.push(start("alert", Box::pin(alert::run(config, deps))));

        let store = open_store(&dir, response::SERVICE, response::MIGRATIONS).await?;
        system.stores.insert(response::SERVICE, store.clone());
        let mut config = response::Config { listen: system.response, ..setup.response.clone() };
        config.batch_records_max = RESPONSE_BATCH_RECORDS_MAX;
        let deps =
            response::Deps { log: shared.clone(), store, brands: brands.to_vec(), parts: parts.clone() };
        system.services.push(start("response", Box::pin(response::run(config, deps))));

        let store = open_store(&dir, "ingest", ingest::MIGRATIONS).await?;
        let config = ingest_config(&setup, system.ingest);
        let deps = ingest::Deps {
            log: shared,
            store,
            tenant: "dev".to_owned(),
            brands: setup.brands,
            parts: parts.clone(),
        };
        system.services.push(start("ingest", Box::pin(ingest::run(config, deps))));

        let console = console::ConsoleConfig {
            listen: setup.listen,
            ingest: Some(format!("http://{}", system.ingest)),
            alert: format!("http://{}", system.alert),
            response: format!("http://{}", system.response),
            ..console::ConsoleConfig::default()
        };
        system.services.push(start("console", Box::pin(console::run(console, parts.clone()))));
        system.services.push(tokio::spawn(maintain(log, parts.clone())));
        let driver = parts.shutdown.clone();
        tokio::spawn(async move { driver.drive().await });

        tokio::select! {
            () = parts.health.ready() => Ok(system),
            error = system.broken() => Err(error),
            () = tokio::time::sleep(READY_WITHIN) => {
                let waiting: Vec<_> = parts.health.report().into_iter().filter(|(_, c)| !c.ready).collect();
                anyhow::bail!("not everything became ready within {READY_WITHIN:?}: {waiting:?}")
            }
        }
    }

    /// Returns when a service broke, with what it said.
    pub(super) async fn broken(&self) -> anyhow::Error {
        let mut broken = self.broken.clone();
        let why = broken.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        anyhow::anyhow!("{}", why.unwrap_or_else(|| "a service is gone".to_owned()))
    }

    /// Where the services answer over gRPC, for people who want to ask them.
    pub(super) fn addresses(&self) -> String {
        format!(
            "ingest http://{}, alert http://{}, response http://{}",
            self.ingest, self.alert, self.response
        )
    }

    pub(super) fn ingest_link(&self) -> anyhow::Result<Link> {
        self.parts.net.channel(&format!("http://{}", self.ingest))
    }

    pub(super) fn alert_link(&self) -> anyhow::Result<Link> {
        self.parts.net.channel(&format!("http://{}", self.alert))
    }

    pub(super) fn response_link(&self) -> anyhow::Result<Link> {
        self.parts.net.channel(&format!("http://{}", self.response))
    }

    /// Returns when everything heard has been worked through: every group is at the end of what it reads, every
    /// change of a case is on the log, and nothing has moved for a moment since: the beginning of that moment.
    ///
    /// # Errors
    /// When a database cannot be read.
    pub(super) async fn settled(&self) -> anyhow::Result<Instant> {
        let mut before = None;
        let mut since = Instant::now();
        loop {
            let now = (self.waiting().await?, self.parts.account.snapshot(), self.unsent().await?);
            if now.0 > 0 || before.as_ref() != Some(&now) {
                since = Instant::now();
            } else if since.elapsed() >= STILL {
                return Ok(since);
            }
            before = Some(now);
            tokio::time::sleep(STILL_LOOK).await;
        }
    }

    /// Records that some group has yet to work through, and changes of cases that are yet to be told.
    async fn waiting(&self) -> anyhow::Result<i64> {
        let mut elsewhere = BTreeMap::new();
        for (service, store) in &self.stores {
            for offset in offsets::all(store.pool(), service).await? {
                elsewhere.insert((offset.consumer, offset.topic, offset.partition), offset.next);
            }
        }
        let mut waiting = response::untold(&self.stores[response::SERVICE]).await?;
        for GroupPosition { group, partition, next, end } in self.log.positions() {
            let place = (group, partition.topic.name().to_owned(), partition.number);
            waiting += (end - elsewhere.get(&place).copied().unwrap_or(next).max(next)).max(0);
        }
        Ok(waiting)
    }

    /// Notices on their way. A destination that is away keeps them there for long, which nobody waits for.
    async fn unsent(&self) -> anyhow::Result<u64> {
        Ok(outbox::backlog(&self.stores[alert::SERVICE], alert::SERVICE).await?.pending)
    }

    /// Ends all services in order.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.parts.shutdown.begin("asked to stop");
        for service in self.services {
            service.await.context("a service broke while stopping")?;
        }
        Ok(())
    }
}

fn folder(asked: Option<&Path>) -> anyhow::Result<(PathBuf, Option<Scratch>)> {
    let Some(dir) = asked else {
        let scratch = Scratch::new("dev")?;
        return Ok((scratch.path().to_owned(), Some(scratch)));
    };
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    Ok((dir.to_owned(), None))
}

fn plan(scratch: bool) -> [TopicPlan; Topic::ALL.len()] {
    Topic::ALL.map(|topic| {
        let kept = TopicPlan::of(topic, PARTITIONS);
        let retention_ms = if scratch { kept.retention_ms.min(KEPT_MS) } else { kept.retention_ms };
        TopicPlan { retention_ms, ..kept }
    })
}

async fn open_store(dir: &Path, service: &str, migrations: &[Migration]) -> anyhow::Result<Store> {
    let path = dir.join(format!("{service}.db"));
    let store = store::open_local(&path, service, migrations, RealClock.now()).await?;
    // This folder has one process at a time: whoever had claimed anything is gone.
    store::release(&store, service, None).await?;
    Ok(store)
}

fn ingest_config(setup: &Setup, listen: SocketAddr) -> ingest::Config {
    let mut connectors = Vec::new();
    if !setup.names_brands {
        let brand = Some(EVERYBODY.to_owned());
        connectors.push(ConnectorConfig { id: "default".to_owned(), brand, ..ConnectorConfig::default() });
    }
    if let Some((kind, url)) = &setup.live {
        let usual = StreamConfig::default();
        let urls = url.clone().map_or(usual.urls.clone(), |url| vec![url]);
        connectors.push(ConnectorConfig {
            id: kind.name().to_owned(),
            kind: kind.name().to_owned(),
            stream: Some(StreamConfig { urls, ..usual }),
            ..ConnectorConfig::default()
        });
    }
    ingest::Config {
        listen,
        listen_http: None,
        connectors,
        remembered_max: REMEMBERED_MAX,
        ..ingest::Config::default()
    }
}

async fn maintain(log: Arc<EmbeddedLog>, parts: Parts) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(MAINTAIN_EVERY) => {}
            () = parts.shutdown.reached(runtime::Phase::StopPolling) => return,
        }
        if let Err(error) = log.maintain(parts.clock.now()).await {
            tracing::warn!("{error:#}");
        }
    }
}
