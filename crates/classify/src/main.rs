//! Classify as a process of its own.

use bus::LogConfig;
use classify::{Config, Deps};
use runtime::process::{ProcessConfig, Settings};
use serde::{Deserialize, Serialize};

/// The settings file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    process: ProcessConfig,
    bus: LogConfig,
    classify: Config,
}

impl Settings for File {
    fn process(&self) -> &ProcessConfig {
        &self.process
    }

    fn check(&self) -> anyhow::Result<()> {
        self.bus.check()?;
        self.classify.check()
    }
}

fn main() -> std::process::ExitCode {
    runtime::process::main("classify", env!("CARGO_PKG_VERSION"), |file: File, parts| async move {
        let log = file.bus.open("classify")?;
        classify::run(file.classify, Deps { log, parts }).await
    })
}
