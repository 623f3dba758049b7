use runtime::process::{ProcessConfig, Settings};
use serde::{Deserialize, Serialize};

use crate::ConsoleConfig;

/// The settings file, as far as this process reads it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// What every process has.
    pub process: ProcessConfig,
    /// Our own part.
    pub console: ConsoleConfig,
}

impl Settings for File {
    fn process(&self) -> &ProcessConfig {
        &self.process
    }

    fn check(&self) -> anyhow::Result<()> {
        self.console.check()
    }
}
