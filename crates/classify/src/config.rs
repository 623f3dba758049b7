use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

/// The settings of classify, under `[classify]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where gRPC is served.
    pub listen: SocketAddr,
    /// This member's stable name in the group; a restarted member with the same name fences the one before.
    pub member: String,
    /// A model file whose heads replace those of the built-in model; read again when it changes.
    pub model: Option<PathBuf>,
    /// Seconds between looks at the model file.
    pub model_check_s: u64,
    /// Threads that compute; 0: one per core.
    pub workers: usize,
    /// Milliseconds between commits.
    pub commit_every_ms: u64,
    /// Milliseconds between commits while there is more to read than one batch holds.
    pub commit_every_lagging_ms: u64,
    /// Most records in one commit.
    pub batch_records_max: usize,
    /// Event ids remembered per partition to recognise repeats.
    pub repeats_window: usize,
    /// A verdict at least this probable to be a complaint carries its reasons.
    pub why_from: f32,
    /// Most reasons a verdict carries, 0..=16.
    pub why_max: usize,
    /// Milliseconds after which the log ends a dead member's open transaction.
    pub transaction_timeout_ms: u64,
    /// Calls of the classify stream that may run at once on one connection.
    pub stream_ahead_max: usize,
    /// A slower, better model of the user's for the least sure texts, those asked about over gRPC among them;
    /// read once, at start.
    pub second_stage: transformer::Settings,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 7703)),
            member: "classify-0".into(),
            model: None,
            model_check_s: 5,
            workers: 0,
            commit_every_ms: 50,
            commit_every_lagging_ms: 100,
            batch_records_max: 20_000,
            repeats_window: 50_000,
            why_from: 0.5,
            why_max: 4,
            transaction_timeout_ms: 15_000,
            stream_ahead_max: 32,
            second_stage: transformer::Settings::default(),
        }
    }
}

impl Config {
    /// Checks what no type can check.
    ///
    /// # Errors
    /// With the name of the setting and what it needs.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.member.is_empty(), "classify.member: needs a name");
        ensure!((25..=5_000).contains(&self.commit_every_ms), "classify.commit_every_ms: needs 25 to 5000");
        ensure!(
            (self.commit_every_ms..=10_000).contains(&self.commit_every_lagging_ms),
            "classify.commit_every_lagging_ms: needs classify.commit_every_ms to 10000"
        );
        ensure!(
            (1..=200_000).contains(&self.batch_records_max),
            "classify.batch_records_max: needs 1 to 200000"
        );
        ensure!(
            (1_000..=5_000_000).contains(&self.repeats_window),
            "classify.repeats_window: needs 1000 to 5000000"
        );
        ensure!((0.0..=1.0).contains(&self.why_from), "classify.why_from: needs 0 to 1");
        ensure!(self.why_max <= 16, "classify.why_max: needs 0 to 16");
        ensure!(
            self.transaction_timeout_ms > 2 * self.commit_every_lagging_ms,
            "classify.transaction_timeout_ms: needs more than twice classify.commit_every_lagging_ms"
        );
        ensure!((1..=1_024).contains(&self.stream_ahead_max), "classify.stream_ahead_max: needs 1 to 1024");
        self.second_stage.check().context("classify.second_stage")?;
        ensure!(
            self.second_stage.directory.is_none() || transformer::IS_BUILT,
            "classify.second_stage.directory: {}",
            transformer::Error::NotBuilt
        );
        ensure!(
            self.second_stage.look_ms_max < self.transaction_timeout_ms / 2,
            "classify.second_stage.look_ms_max: needs less than half of classify.transaction_timeout_ms"
        );
        ensure!(self.workers <= 256, "classify.workers: needs at most 256");
        Ok(())
    }

    /// Threads that compute, resolved.
    pub fn worker_count(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            given => given,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(second_stage: transformer::Settings) -> String {
        format!("{:#}", Config { second_stage, ..Config::default() }.check().unwrap_err())
    }

    #[test]
    fn second_stage_settings_are_checked_and_named() {
        Config::default().check().unwrap();
        let good = transformer::Settings::default;
        let told = problem(transformer::Settings { share: 2.0, ..good() });
        assert!(told.contains("classify.second_stage") && told.contains("'share': needs 0 to 1"), "{told}");
        let told = problem(transformer::Settings { look_ms_max: 30_000, ..good() });
        assert!(told.contains("look_ms_max"), "{told}");
    }

    #[cfg(not(feature = "transformer"))]
    #[test]
    fn a_second_stage_this_program_does_not_have_is_refused_with_what_to_do() {
        let told = problem(transformer::Settings { directory: Some("model".into()), ..Default::default() });
        assert!(told.contains("classify.second_stage.directory") && told.contains("--features transformer"));
    }
}
