//! What a platform engineer types: topics, migrations, settings, routes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use bus::LogConfig;
use clap::{Args, Subcommand};
use runtime::process::{DatabaseConfig, ProcessConfig};
use runtime::{Clock as _, RealClock, config};
use serde::{Deserialize, Serialize};
use store::{Migration, Store, StoreOptions};

use super::wire::line;

/// The settings of the commands below: the sections they need of a services' file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    process: ProcessConfig,
    bus: LogConfig,
    store: DatabaseConfig,
}

#[derive(Debug, Args)]
pub(crate) struct WithConfig {
    /// The settings file (TOML); the environment goes over it (REDRESS__BUS__KAFKA=...)
    #[arg(long, env = "REDRESS_CONFIG", global = true)]
    config: Option<PathBuf>,
}

impl WithConfig {
    fn load(&self) -> anyhow::Result<File> {
        Ok(config::load(self.config.as_deref(), &[])?)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  redress topics apply --config redress.toml
  REDRESS__BUS__KAFKA=broker:9092 redress topics check")]
pub(crate) struct TopicsArgs {
    #[command(flatten)]
    with: WithConfig,
    #[command(subcommand)]
    command: Topics,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Topics {
    /// Create what is missing; nothing is ever removed or shrunk
    Apply,
    /// Only say what differs; exit 1 when something does
    Check,
}

/// Runs `redress topics`.
///
/// # Errors
/// When the log cannot be reached.
pub(crate) async fn topics(args: TopicsArgs) -> anyhow::Result<ExitCode> {
    let settings = args.with.load()?.bus;
    let log = settings.open("redress-topics")?;
    let apply = matches!(args.command, Topics::Apply);
    let reports = log.topics(&settings.plan(), apply).await?;
    let mut differs = false;
    for report in &reports {
        if report.differences.is_empty() {
            line(&format!("{}{}: as planned", settings.prefix, report.topic))?;
        }
        for difference in &report.differences {
            differs = true;
            line(&format!("{}{}: {difference}", settings.prefix, report.topic))?;
        }
    }
    Ok(ExitCode::from(u8::from(differs && !apply)))
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  redress migrate --config redress.toml
  REDRESS__STORE__URL=postgres://redress@localhost/redress redress migrate --check")]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    with: WithConfig,
    /// Only say what is missing; exit 1 when something is
    #[arg(long)]
    check: bool,
}

/// Runs `redress migrate`: every service's tables, in one database or several.
///
/// # Errors
/// When the database cannot be reached or a migration that was applied has changed.
pub(crate) async fn migrate(args: MigrateArgs) -> anyhow::Result<ExitCode> {
    let settings = args.with.load()?.store;
    if settings.url.expose().is_empty() {
        bail!("store.url is needed: in the settings file, or as REDRESS__STORE__URL");
    }
    let store = Store::open(settings.url.expose(), StoreOptions::default()).await?;
    let mut missing = false;
    for (service, migrations) in services() {
        if args.check {
            let pending = store::pending(&store, service, migrations).await?;
            missing |= !pending.is_empty();
            if pending.is_empty() {
                line(&format!("{service}: up to date"))?;
            }
            for migration in pending {
                line(&format!("{service}: {} {} is missing", migration.version, migration.name))?;
            }
            continue;
        }
        let applied = store::migrate(&store, service, migrations, RealClock.now()).await?;
        if applied.is_empty() {
            line(&format!("{service}: up to date"))?;
        }
        for migration in applied {
            line(&format!("{service}: applied {} {}", migration.version, migration.name))?;
        }
    }
    Ok(ExitCode::from(u8::from(missing)))
}

fn services() -> [(&'static str, &'static [Migration]); 3] {
    [("ingest", ingest::MIGRATIONS), ("alert", alert::MIGRATIONS), ("response", response::MIGRATIONS)]
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  redress check-config deploy/config/redress.toml
  redress check-config deploy/config/redress.toml --service alert    (prints all that is in force)")]
pub(crate) struct CheckConfigArgs {
    /// The settings file
    file: PathBuf,
    /// Only this process's part, and print what is in force: ingest, classify, alert, response, console
    #[arg(long, value_parser = ["ingest", "classify", "alert", "response", "console"])]
    service: Option<String>,
}

/// Runs `redress check-config`: the loader that the services themselves use, without starting them.
///
/// # Errors
/// What is wrong with the settings.
pub(crate) fn check_config(args: CheckConfigArgs) -> anyhow::Result<ExitCode> {
    let all = ["ingest", "classify", "alert", "response", "console"];
    // What is wrong in a shared section is wrong for all: it is named once, with those it concerns.
    let mut wrong: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for service in all.into_iter().filter(|s| args.service.as_deref().is_none_or(|only| only == *s)) {
        let in_force = match service {
            "ingest" => check::<ingest::File>(&args.file),
            "classify" => check::<classify::File>(&args.file),
            "alert" => check::<alert::File>(&args.file),
            "response" => check::<response::File>(&args.file),
            _ => check::<console::File>(&args.file),
        };
        match in_force {
            Ok(in_force) => {
                if args.service.is_some() {
                    line(&in_force)?;
                }
                eprintln!("{}: fine for {service}", args.file.display());
            }
            Err(error) => wrong.entry(named(&args.file, &error)).or_default().push(service),
        }
    }
    for (problem, services) in &wrong {
        eprintln!("{problem} (would not start: {})", services.join(", "));
    }
    Ok(ExitCode::from(u8::from(!wrong.is_empty())))
}

/// The problem, beginning with its file, and its line where one is known.
fn named(file: &Path, error: &anyhow::Error) -> String {
    let (file, problem) = (file.display().to_string(), format!("{error:#}"));
    if problem.starts_with(&file) { problem } else { format!("{file}: {problem}") }
}

fn check<C: runtime::process::Settings>(file: &Path) -> anyhow::Result<String> {
    let settings: C = config::load(Some(file), &[])?;
    settings.check()?;
    Ok(config::render(&settings))
}

#[derive(Debug, Args)]
pub(crate) struct RoutesArgs {
    #[command(subcommand)]
    command: Routes,
}

#[derive(Debug, Subcommand)]
enum Routes {
    /// Say where an alert with these labels would go
    #[command(after_help = "Examples:
  redress routes test --config alert.toml brand=acme topic=refund urgency=page
  redress routes test --config alert.toml brand=acme --expect slack,pager    (exit 1 when it differs)")]
    Test {
        /// The alert service's settings file
        #[arg(long, env = "REDRESS_CONFIG")]
        config: PathBuf,
        /// Labels: brand, topic, rule, trigger, urgency, severity
        #[arg(value_name = "LABEL=VALUE", required = true, value_parser = label)]
        labels: Vec<String>,
        /// The destinations expected
        #[arg(long, value_delimiter = ',')]
        expect: Option<Vec<String>>,
    },
}

/// The labels that routes can ask for.
const LABELS: [&str; 6] = ["brand", "topic", "rule", "trigger", "urgency", "severity"];

fn label(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((name, _)) if LABELS.contains(&name) => Ok(text.to_owned()),
        Some((name, _)) => Err(format!("no route asks for '{name}'; known are {}", LABELS.join(", "))),
        None => Err("labels look like brand=acme".to_owned()),
    }
}

/// Runs `redress routes`.
///
/// # Errors
/// When the settings or labels are no good.
pub(crate) fn routes(args: RoutesArgs) -> anyhow::Result<ExitCode> {
    let Routes::Test { config, labels, expect } = args.command;
    let file: alert::File = config::load(Some(&config), &[])?;
    let destinations = file.alert.destinations_for(labels.iter().map(String::as_str))?;
    for destination in &destinations {
        line(destination)?;
    }
    if destinations.is_empty() {
        eprintln!("nobody");
    }
    let as_expected = expect.is_none_or(|mut expected| {
        expected.sort();
        let mut found = destinations;
        found.sort();
        expected == found
    });
    if !as_expected {
        eprintln!("not as expected");
    }
    Ok(ExitCode::from(u8::from(!as_expected)))
}
