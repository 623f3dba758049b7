//! Ingest as a process of its own.

use bus::LogConfig;
use ingest::{Config, Deps};
use runtime::brands::Brand;
use runtime::process::{DatabaseConfig, ProcessConfig, Settings};
use serde::{Deserialize, Serialize};
use store::{Store, StoreOptions};

/// The settings file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    /// Whose data everything taken in is: a slug.
    tenant: String,
    brands: Vec<Brand>,
    process: ProcessConfig,
    bus: LogConfig,
    store: DatabaseConfig,
    ingest: Config,
}

impl Default for File {
    fn default() -> Self {
        Self {
            tenant: "main".into(),
            brands: Vec::new(),
            process: ProcessConfig::default(),
            bus: LogConfig::default(),
            store: DatabaseConfig::default(),
            ingest: Config::default(),
        }
    }
}

impl Settings for File {
    fn process(&self) -> &ProcessConfig {
        &self.process
    }

    fn check(&self) -> anyhow::Result<()> {
        self.bus.check()?;
        self.ingest.check(&self.tenant, &self.brands)
    }
}

fn main() -> std::process::ExitCode {
    runtime::process::main("ingest", env!("CARGO_PKG_VERSION"), |file: File, parts| async move {
        let options = StoreOptions { connections_max: file.store.connections_max, ..StoreOptions::default() };
        let store = Store::open(file.store.url.expose(), options).await?;
        let log = file.bus.open("ingest")?;
        let deps = Deps { log, store, tenant: file.tenant, brands: file.brands, parts };
        ingest::run(file.ingest, deps).await
    })
}
