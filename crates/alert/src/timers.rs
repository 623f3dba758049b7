//! Due rows: what time alone changes about an episode.

use std::time::Duration;

use model::{BrandId, EpisodeId, Timestamp};
use paging::{Decision, What};
use runtime::Phase;
use runtime::brands::Brand;
use store::due::{self, Claimed, Due};
use store::{Tx, outbox};
use tokio::time::Instant;
use tracing::warn;

use crate::config::SourcesConfig;
use crate::desk::{Desk, Passing};
use crate::metrics::Metrics;
use crate::sources::{self, DUE_SOURCE, Sources};
use crate::store::{self as tables, SERVICE, TableError};
use crate::{Deps, reading};

/// Rows taken at once.
const CLAIM: u32 = 50;
/// Clock time after which another worker takes up what this one did not finish.
const LEASE: Duration = Duration::from_secs(60);
/// Clock time between tidying up, in milliseconds, and most messages forgotten in one go.
const TIDY_EVERY_MS: i64 = 3_600_000;
const TIDY_MAX: u32 = 5_000;
/// Days that messages are kept after they ended.
const MESSAGE_DAYS: i64 = 30;
/// Real time between looks, for rows that other processes wrote.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Real time between two counts of what waits to be sent.
const MEASURE_EVERY: Duration = Duration::from_secs(15);

/// The row was moved while it was worked on; whoever moved it sees to it.
#[derive(Debug, thiserror::Error)]
enum DueError {
    #[error("moved meanwhile")]
    Moved,
    #[error(transparent)]
    Table(#[from] TableError),
}

impl From<store::StoreError> for DueError {
    fn from(error: store::StoreError) -> Self {
        Self::Table(error.into())
    }
}

impl Passing for DueError {
    fn may_pass(&self) -> bool {
        matches!(self, Self::Table(error) if error.may_pass())
    }
}

/// Does due work until everything is flushed.
pub(crate) async fn run(
    deps: Deps,
    desk: Desk,
    config: SourcesConfig,
    metrics: Metrics,
    worker: String,
) -> anyhow::Result<()> {
    let shutdown = deps.parts.shutdown.clone();
    let _guard = shutdown.guard(Phase::Flush);
    let brands = ids(&deps.brands);
    let mut tidied = deps.parts.clock.now();
    let mut measured: Option<Instant> = None;
    loop {
        if shutdown.phase() >= Phase::Flush {
            return Ok(());
        }
        let now = deps.parts.clock.now();
        if now.millis_since(tidied) >= TIDY_EVERY_MS {
            tidied = now;
            tidy(&desk, now).await;
        }
        if measured.is_none_or(|at| at.elapsed() >= MEASURE_EVERY) {
            measured = Some(Instant::now());
            measure(&desk, &metrics, now).await;
        }
        let claimed = match due::claim(&desk.store, SERVICE, &worker, now, LEASE, CLAIM).await {
            Ok(claimed) => claimed,
            Err(error) if error.may_pass() => {
                warn!(%error, "due work cannot be read, will try again");
                tokio::time::sleep(reading::PAUSE).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if claimed.is_empty() {
            wait(&deps, &desk).await;
            continue;
        }
        let sources = match Sources::load(&desk.store, now).await {
            Ok(sources) => sources,
            // The leases end, and the rows are taken up again.
            Err(error) => {
                warn!(%error, rows = claimed.len(), "due work not done");
                tokio::time::sleep(reading::PAUSE).await;
                continue;
            }
        };
        for work in claimed {
            match one(&deps, &desk, &sources, &brands, &config, &work).await {
                Ok(()) | Err(DueError::Moved) => {}
                // The lease ends, and the row is taken up again.
                Err(error) => warn!(%error, key = %work.due.key, "due work not done"),
            }
        }
    }
}

/// Tells how much waits to be sent. What cannot be counted now is counted at the next look.
async fn measure(desk: &Desk, metrics: &Metrics, now: Timestamp) {
    match outbox::backlog(&desk.store, SERVICE).await {
        Ok(backlog) => metrics.backlog(&backlog, now),
        Err(error) => warn!(%error, "messages that wait not counted"),
    }
}

/// Lets go of what nobody needs any more. What fails is done an hour later.
async fn tidy(desk: &Desk, now: Timestamp) {
    let ended_before = now.plus_millis(-MESSAGE_DAYS * 86_400_000);
    if let Err(error) = outbox::purge(&desk.store, SERVICE, ended_before, TIDY_MAX).await {
        warn!(%error, "old messages not forgotten");
    }
    let forgotten = desk
        .transact(|mut tx| async move {
            let gone = tables::forget_old(&mut tx, now).await?;
            Ok::<_, TableError>((tx, gone))
        })
        .await;
    if let Err(error) = forgotten {
        warn!(%error, "old episodes not forgotten");
    }
}

async fn one(
    deps: &Deps,
    desk: &Desk,
    sources: &Sources,
    brands: &[BrandId],
    config: &SourcesConfig,
    work: &Claimed,
) -> Result<(), DueError> {
    let now = deps.parts.clock.now();
    desk.transact(|mut tx| async move {
        // First: what is decided below may plan the next look under the same key.
        if !due::finish(&mut tx, SERVICE, work).await? {
            return Err(DueError::Moved);
        }
        look(desk, &mut tx, &work.due, sources, brands, config, now).await?;
        Ok((tx, ()))
    })
    .await
}

/// Does what was planned for now; `brands`: those that are listened for.
pub(crate) async fn look(
    desk: &Desk,
    tx: &mut Tx,
    due: &Due,
    sources: &Sources,
    brands: &[BrandId],
    config: &SourcesConfig,
    now: Timestamp,
) -> Result<Vec<Decision>, TableError> {
    let body = std::str::from_utf8(&due.body).unwrap_or_default();
    if due.kind == DUE_SOURCE {
        return sources::look(desk, tx, sources, body, brands, config, now).await;
    }
    let Ok(id) = body.parse::<EpisodeId>() else { return Ok(Vec::new()) };
    let Some(kept) = tables::episode(&mut **tx, id).await? else { return Ok(Vec::new()) };
    let heard_until = sources.heard_until(kept.episode.brand(), now);
    Ok(vec![desk.happens(tx, id, What::Tick { heard_until }, now).await?])
}

/// The ids of configured brands.
pub(crate) fn ids(brands: &[Brand]) -> Vec<BrandId> {
    brands.iter().filter_map(|brand| BrandId::parse(&brand.id).ok()).collect()
}

async fn wait(deps: &Deps, desk: &Desk) {
    let planned = async {
        match due::next_due(&desk.store, SERVICE).await {
            Ok(Some(at)) if at > deps.parts.clock.now() => deps.parts.clock.sleep_until(at).await,
            // Due already, but claimed by somebody: look again shortly.
            Ok(Some(_)) => tokio::time::sleep(Duration::from_millis(100)).await,
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        () = planned => {}
        () = desk.timers.notified() => {}
        () = tokio::time::sleep(LOOK_EVERY) => {}
        () = deps.parts.shutdown.reached(Phase::Flush) => {}
    }
}
