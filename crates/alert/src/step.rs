//! The first stage: verdicts in, tallies out, exactly once.

use std::time::Duration;

use anyhow::Context as _;
use bus::{CommitError, StepSettings, Topic};
use runtime::Phase;
use tracing::{debug, info, warn};

use crate::{Deps, ReadingConfig, tally};

/// The hop's name in accounts.
pub const HOP: &str = "alert-tally";
/// How long a poll waits for the first record.
const POLL_WAIT: Duration = Duration::from_millis(250);
/// Real time to wait after a failure of the log that may pass.
const PAUSE: Duration = Duration::from_millis(500);

/// Folds verdicts until polling stops.
pub(crate) async fn run(deps: Deps, member: String, reading: ReadingConfig) -> anyhow::Result<()> {
    let shutdown = &deps.parts.shutdown;
    let _guard = shutdown.guard(Phase::StopPolling);
    let settings = StepSettings {
        group: HOP.into(),
        member: format!("{member}-tally"),
        topics: vec![Topic::Verdicts, Topic::Erasures],
        transaction_timeout: Duration::from_millis(reading.transaction_timeout_ms),
    };
    let step = deps.log.step(settings).await.context("joining group alert-tally")?;
    let log = deps.log.reader().context("asking for the partitions of tallies")?;
    let partitions = log.partitions(Topic::Tallies).await.context("asking for the partitions of tallies")?;
    deps.parts.health.set_ready(HOP, true, "reading");
    loop {
        let polled = tokio::select! {
            polled = step.poll(reading.batch_records_max, POLL_WAIT) => polled,
            () = shutdown.reached(Phase::StopPolling) => break,
        };
        let polled = match polled {
            Ok(polled) => polled,
            Err(error @ bus::BusError::Unavailable { .. }) => {
                warn!(%error, "verdicts cannot be read, will try again");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Err(error) => return Err(error).context("reading verdicts"),
        };
        if polled.records.is_empty() {
            continue;
        }
        let count = polled.records.len();
        let folded = tally::fold(&polled.records, partitions, deps.parts.clock.now());
        match step.commit(polled.token, folded.outputs).await {
            Ok(()) => {
                deps.parts.account.accepted(HOP, count as u64);
                for ((outcome, reason), count) in folded.endings {
                    deps.parts.account.ended(HOP, outcome, reason, count);
                }
                debug!(records = count, "tallies committed");
            }
            Err(CommitError::Aborted(why)) => info!(%why, "tallies aborted, their verdicts come again"),
            Err(CommitError::Stale) => {}
            Err(CommitError::Fenced(why)) => anyhow::bail!("fenced by a newer member: {why}"),
            Err(CommitError::Bus(error @ bus::BusError::Unavailable { .. })) => {
                warn!(%error, "tallies not committed, will try again");
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error).context("committing tallies"),
        }
        // Few at a time: wait a little, so that a commit carries more.
        if count < reading.batch_records_max / 8 {
            tokio::time::sleep(Duration::from_millis(reading.commit_every_ms)).await;
        }
    }
    step.close().await.context("leaving group alert-tally")
}
