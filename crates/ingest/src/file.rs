use bus::LogConfig;
use runtime::brands::Brand;
use runtime::process::{DatabaseConfig, ProcessConfig, Settings};
use serde::{Deserialize, Serialize};

use crate::Config;

/// The settings file, as far as this process reads it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// Whose data everything taken in is: a slug.
    pub tenant: String,
    /// Whom we listen for.
    pub brands: Vec<Brand>,
    /// What every process has.
    pub process: ProcessConfig,
    /// Which log.
    pub bus: LogConfig,
    /// Where our rows are.
    pub store: DatabaseConfig,
    /// Our own part.
    pub ingest: Config,
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
