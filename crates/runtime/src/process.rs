//! The life of a service's process: its command line, its settings, its parts, its end.
//!
//! A service's `main.rs` is one call of [`main`]. Every binary understands the same words:
//! `SERVICE --config FILE` runs it, `check-config` reads the settings and says what is wrong with them,
//! `healthcheck` asks the running one whether it is ready (for images without a shell).

use std::future::Future;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::admin::{self, Health};
use crate::telemetry::{self, Metrics, TelemetryConfig};
use crate::{Account, Clock, Net, NetConfig, RealClock, Secret, Shutdown, ShutdownConfig, allocator, config};

/// How long `healthcheck` waits for an answer.
const HEALTHCHECK: Duration = Duration::from_secs(3);

/// The settings every process has, under `[process]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProcessConfig {
    /// Where `/livez`, `/readyz`, `/metrics` and gRPC health are served, in plain text, for the platform.
    pub admin: SocketAddr,
    /// Logs, traces, metrics.
    pub telemetry: TelemetryConfig,
    /// Listeners and clients.
    pub net: NetConfig,
    /// How long the end may take.
    pub shutdown: ShutdownConfig,
}

impl Default for ProcessConfig {
    fn default() -> Self {
        Self {
            admin: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 9090),
            telemetry: TelemetryConfig::default(),
            net: NetConfig::default(),
            shutdown: ShutdownConfig::default(),
        }
    }
}

/// Where a service keeps its rows, under `[store]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseConfig {
    /// `postgres://user:password@host/database` or `sqlite://file`; hidden when printed.
    pub url: Secret<String>,
    /// Connections kept at most.
    pub connections_max: u32,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self { url: Secret::new(String::new()), connections_max: 8 }
    }
}

/// The settings of a whole service, as read from its file.
pub trait Settings: DeserializeOwned + Serialize + Send + 'static {
    /// The part every process has.
    fn process(&self) -> &ProcessConfig;

    /// Checks what no single setting can check alone.
    ///
    /// # Errors
    /// What is wrong, with the setting's name.
    fn check(&self) -> anyhow::Result<()>;
}

/// What the process gives its service. Cheap to clone; clones share.
#[derive(Clone)]
pub struct Parts {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The end.
    pub shutdown: Shutdown,
    /// What is ready.
    pub health: Health,
    /// What became of each item.
    pub account: Account,
    /// Listeners and clients.
    pub net: Net,
}

impl Parts {
    /// Parts without a process round them, for services that live together in one: nothing is ready yet, the
    /// end is at once when it is asked for, listeners and clients are plain.
    pub fn alone(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            shutdown: Shutdown::immediate(),
            health: Health::new(),
            account: Account::new(),
            net: Net::default(),
        }
    }
}

#[derive(Debug, Parser)]
#[command(
    after_help = "Settings come from the file, then from the environment: REDRESS__SECTION__KEY=value."
)]
struct Words {
    /// The settings file (TOML)
    #[arg(long, global = true, env = "REDRESS_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Word>,
}

#[derive(Debug, Subcommand)]
enum Word {
    /// Read the settings, print what is in force, and say what is wrong
    CheckConfig,
    /// Ask the running service on this machine whether it is ready; exit 0 when it is
    Healthcheck,
}

/// Runs the service `name` until it is told to stop: exit code 0 after a clean end, 1 otherwise.
pub fn main<C, F, R>(name: &'static str, version: &'static str, run: F) -> ExitCode
where
    C: Settings,
    F: FnOnce(C, Parts) -> R,
    R: Future<Output = anyhow::Result<()>>,
{
    use clap::{CommandFactory as _, FromArgMatches as _};
    let matches = Words::command().name(name).version(version).get_matches();
    let words = Words::from_arg_matches(&matches).unwrap_or_else(|e| e.exit());
    match obey(name, words, run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error:#}");
            ExitCode::from(1)
        }
    }
}

fn obey<C, F, R>(name: &'static str, words: Words, run: F) -> anyhow::Result<()>
where
    C: Settings,
    F: FnOnce(C, Parts) -> R,
    R: Future<Output = anyhow::Result<()>>,
{
    let settings: C = config::load(words.config.as_deref(), &[])?;
    match words.command {
        Some(Word::CheckConfig) => {
            settings.check()?;
            // A reader that has seen enough closes the pipe; that is no fault.
            let _ = writeln!(std::io::stdout(), "{}", config::render(&settings));
            Ok(())
        }
        Some(Word::Healthcheck) => healthcheck(settings.process().admin),
        None => {
            settings.check()?;
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .context("cannot start the runtime")?;
            let ended = runtime.block_on(live(name, settings, run));
            // A blocked thread of a client library must not hold the end up.
            runtime.shutdown_timeout(Duration::from_secs(2));
            ended
        }
    }
}

async fn live<C, F, R>(name: &'static str, settings: C, run: F) -> anyhow::Result<()>
where
    C: Settings,
    F: FnOnce(C, Parts) -> R,
    R: Future<Output = anyhow::Result<()>>,
{
    let process = settings.process().clone();
    let telemetry = telemetry::init(name, &process.telemetry)?;
    allocator::suit_a_service();
    tracing::info!(service = name, "settings in force:\n{}", config::render(&settings));
    let parts = Parts {
        clock: Arc::new(RealClock),
        shutdown: Shutdown::new(process.shutdown.clone()),
        health: Health::new(),
        account: Account::new(),
        net: Net::new(process.net.clone())?,
    };
    let admin = serve_admin(&parts, process.admin, telemetry.metrics()).await?;
    let driver = {
        let shutdown = parts.shutdown.clone();
        tokio::spawn(async move {
            let (clean, ()) = tokio::join!(shutdown.drive(), shutdown.on_signal());
            clean
        })
    };
    let result = run(settings, parts.clone()).await;
    if let Err(error) = &result {
        tracing::error!(service = name, "{error:#}");
    }
    parts.shutdown.begin("the service returned");
    let clean = driver.await.unwrap_or(false);
    let _ = admin.await;
    telemetry.close().await;
    result?;
    if !clean {
        bail!("the drain time was over before everything was done");
    }
    Ok(())
}

/// Serves the admin port in a task of its own until the very end.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve_admin(
    parts: &Parts,
    address: SocketAddr,
    metrics: Metrics,
) -> anyhow::Result<tokio::task::JoinHandle<()>> {
    let listener = parts.net.bind(address).await.context("admin port")?;
    let served = admin::serve(listener, parts.health.clone(), metrics, parts.shutdown.clone());
    let shutdown = parts.shutdown.clone();
    Ok(tokio::spawn(async move {
        if let Err(error) = served.await {
            tracing::error!("{error:#}");
            shutdown.begin("the admin port broke");
        }
    }))
}

fn healthcheck(admin: SocketAddr) -> anyhow::Result<()> {
    let local = if admin.ip().is_unspecified() {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), admin.port())
    } else {
        admin
    };
    let mut stream = TcpStream::connect_timeout(&local, HEALTHCHECK)
        .with_context(|| format!("nobody answers on {local}"))?;
    stream.set_read_timeout(Some(HEALTHCHECK))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(64 * 1024).read_to_string(&mut answer).context("no answer")?;
    if answer.starts_with("HTTP/1.1 200") {
        return Ok(());
    }
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body.trim());
    bail!("not ready: {body}")
}
