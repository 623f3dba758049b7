use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// The settings under `[console]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsoleConfig {
    /// Where the pages are served.
    pub listen: SocketAddr,
    /// The alert service, `http://host:port`.
    pub alert: String,
    /// The response service, `http://host:port`.
    pub response: String,
    /// The ingest service, for how complete each source is; absent: that is not shown.
    pub ingest: Option<String>,
    /// The zone of times of day, for example `Europe/Rome`.
    pub time_zone: String,
    /// Milliseconds between two looks at the services while somebody watches a page.
    pub refresh_ms: u64,
}

impl Default for ConsoleConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 7700),
            alert: "http://127.0.0.1:7704".into(),
            response: "http://127.0.0.1:7705".into(),
            ingest: Some("http://127.0.0.1:7701".into()),
            time_zone: "UTC".into(),
            refresh_ms: 2_000,
        }
    }
}

impl ConsoleConfig {
    /// Checks what the types do not.
    ///
    /// # Errors
    /// What is wrong, with the setting's name.
    pub fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            (100..=60_000).contains(&self.refresh_ms),
            "console.refresh_ms: needs 100 to 60000, is {}",
            self.refresh_ms
        );
        self.zone().map(|_| ())
    }

    pub(crate) fn zone(&self) -> anyhow::Result<TimeZone> {
        TimeZone::get(&self.time_zone)
            .with_context(|| format!("console.time_zone: no zone is called '{}'", self.time_zone))
    }
}
