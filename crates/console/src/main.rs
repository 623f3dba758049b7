//! The console as a process of its own.

use console::ConsoleConfig;
use runtime::process::{ProcessConfig, Settings};
use serde::{Deserialize, Serialize};

/// The settings file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    process: ProcessConfig,
    console: ConsoleConfig,
}

impl Settings for File {
    fn process(&self) -> &ProcessConfig {
        &self.process
    }

    fn check(&self) -> anyhow::Result<()> {
        self.console.check()
    }
}

fn main() -> std::process::ExitCode {
    runtime::process::main("console", env!("CARGO_PKG_VERSION"), |file: File, parts| {
        console::run(file.console, parts)
    })
}
