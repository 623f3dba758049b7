use bus::LogConfig;
use runtime::brands::Brand;
use runtime::process::{DatabaseConfig, ProcessConfig, Settings};
use serde::{Deserialize, Serialize};

use crate::Config;

/// The settings file, as far as this process reads it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// Whom we listen for.
    pub brands: Vec<Brand>,
    /// What every process has.
    pub process: ProcessConfig,
    /// Which log.
    pub bus: LogConfig,
    /// Where our rows are.
    pub store: DatabaseConfig,
    /// Our own part.
    pub alert: Config,
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
