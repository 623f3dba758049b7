//! Response as a process of its own.

use bus::LogConfig;
use response::{Config, Deps};
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
    response: Config,
}

impl Settings for File {
    fn process(&self) -> &ProcessConfig {
        &self.process
    }

    fn check(&self) -> anyhow::Result<()> {
        self.bus.check()?;
        runtime::brands::check(&self.brands)?;
        self.response.check()
    }
}

fn main() -> std::process::ExitCode {
    runtime::process::main("response", env!("CARGO_PKG_VERSION"), |file: File, parts| async move {
        let options = StoreOptions { connections_max: file.store.connections_max, ..StoreOptions::default() };
        let store = Store::open(file.store.url.expose(), options).await?;
        let log = file.bus.open("response")?;
        response::run(file.response, Deps { log, store, parts, brands: file.brands }).await
    })
}
