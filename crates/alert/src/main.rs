//! Alert as a process of its own.

use std::sync::Arc;

use alert::{Config, Deps};
use bus::LogConfig;
use runtime::brands::Brand;
use runtime::process::{DatabaseConfig, ProcessConfig, Settings};
use serde::{Deserialize, Serialize};
use store::{Store, StoreOptions};

/// The settings file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    brands: Vec<Brand>,
    process: ProcessConfig,
    bus: LogConfig,
    store: DatabaseConfig,
    alert: Config,
}

impl Settings for File {
    fn process(&self) -> &ProcessConfig {
        &self.process
    }

    fn check(&self) -> anyhow::Result<()> {
        self.bus.check()?;
        runtime::brands::check(&self.brands)?;
        self.alert.check()
    }
}

fn main() -> std::process::ExitCode {
    runtime::process::main("alert", env!("CARGO_PKG_VERSION"), |file: File, parts| async move {
        let options = StoreOptions { connections_max: file.store.connections_max, ..StoreOptions::default() };
        let store = Store::open(file.store.url.expose(), options).await?;
        let log = file.bus.open("alert")?;
        let deps = Deps { log, store, brands: Arc::new(file.brands), parts };
        alert::run(file.alert, deps).await
    })
}
