use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use casework::{Input, decide};
use model::{CaseId, Timestamp};
use runtime::{Phase, Shutdown};
use store::{Doing, due};
use tracing::{debug, warn};

use crate::consumer::Horizon;
use crate::desk::{Desk, Open, keep};
use crate::store::{self as tables, SERVICE, TableError};

/// How long claimed work is ours, by the service's clock.
const LEASE: Duration = Duration::from_secs(30);
/// Cases asked at once.
const CLAIM_MAX: u32 = 500;
/// How often a case is asked when others change it.
const TRIES_MAX: u32 = 8;
/// The longest real time between looks: others may have planned something earlier.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Real time between two rounds of forgetting.
const FORGET_EVERY: Duration = Duration::from_secs(600);
/// Sent messages forgotten in one go.
const FORGET_MAX: u32 = 10_000;

/// What asks cases again when something falls due.
pub(crate) struct Timers {
    pub(crate) desk: Arc<Desk>,
    pub(crate) horizon: Arc<Horizon>,
    pub(crate) shutdown: Shutdown,
    pub(crate) member: String,
    pub(crate) remember: Duration,
    pub(crate) early_for: Duration,
}

impl Timers {
    /// Works until polling is to stop.
    ///
    /// # Errors
    /// When the database fails for good.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let _guard = self.shutdown.guard(Phase::StopPolling);
        tokio::select! {
            worked = self.work() => worked,
            () = self.shutdown.reached(Phase::StopPolling) => Ok(()),
        }
    }

    async fn work(&self) -> anyhow::Result<()> {
        let mut forgot: Option<tokio::time::Instant> = None;
        loop {
            let now = self.horizon.until(self.desk.clock.now());
            match self.round(now).await {
                Ok(0) => self.rest(now).await?,
                Ok(_) => {}
                Err(error) if error.may_pass() => {
                    debug!(%error, "asking due cases again soon");
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                Err(error) => return Err(error).context("cannot tell what fell due"),
            }
            if forgot.is_none_or(|at| at.elapsed() >= FORGET_EVERY) {
                forgot = Some(tokio::time::Instant::now());
                if let Err(error) = self.forget().await {
                    warn!(%error, "old rows stay for now");
                }
            }
        }
    }

    /// Asks what is due at `now`; how many were asked.
    pub(crate) async fn round(&self, now: Timestamp) -> Result<usize, TableError> {
        let claimed = due::claim(&self.desk.store, SERVICE, &self.member, now, LEASE, CLAIM_MAX).await?;
        match self.try_ask(&claimed, now).await {
            Ok(true) => return Ok(claimed.len()),
            Ok(false) => {}
            Err(error) if error.may_pass() => debug!(%error, "asking case by case"),
            Err(error) => return Err(error),
        }
        for work in &claimed {
            match self.ask(work, now).await {
                Ok(()) => {}
                // Comes again when the lease is over, at the latest.
                Err(error) if error.may_pass() => debug!(%error, "case not asked"),
                Err(error) => return Err(error),
            }
        }
        Ok(claimed.len())
    }

    async fn ask(&self, work: &due::Claimed, now: Timestamp) -> Result<(), TableError> {
        let mut tries = 1;
        loop {
            match self.try_ask(std::slice::from_ref(work), now).await {
                // Somebody else was at the same case: waiting for the lease would make a breach late.
                Err(error) if error.may_pass() && tries < TRIES_MAX => {
                    debug!(%error, tries, "asking the case again");
                    tries += 1;
                }
                // Moved or called off meanwhile, when it was not ours any more.
                ended => return ended.map(drop),
            }
        }
    }

    /// Asks all these cases in one transaction. False: not all of the work is ours any more, and nothing was
    /// done.
    async fn try_ask(&self, claimed: &[due::Claimed], now: Timestamp) -> Result<bool, TableError> {
        if claimed.is_empty() {
            return Ok(true);
        }
        let id = |work: &due::Claimed| {
            let bad = |e: model::Invalid| TableError::Damaged {
                what: "due work",
                id: work.due.key.clone(),
                problem: e.to_string(),
            };
            work.due.key.parse().map_err(bad)
        };
        let ids = claimed.iter().map(id).collect::<Result<BTreeSet<CaseId>, _>>()?;
        let mut tx = self.desk.store.begin().await?;
        if due::finish_all(&mut tx, SERVICE, claimed).await? < claimed.len() as u64 {
            return Ok(false);
        }
        let cases = tables::cases(&mut tx, &ids).await?;
        let asked = cases.into_iter().map(|case| {
            let mut open = Open::read(case);
            let policy = self.desk.policies.of(&open.case.brand);
            open.absorb(decide(Some(&open.case), &Input::Due, now, policy));
            open
        });
        let asked: Vec<Open> = asked.collect();
        keep(&self.desk, &mut tx, &asked.iter().collect::<Vec<_>>(), now).await?;
        tx.commit().await.doing(|| "telling what fell due".into())?;
        self.desk.committed();
        Ok(true)
    }

    async fn rest(&self, now: Timestamp) -> anyhow::Result<()> {
        let next = match due::next_due(&self.desk.store, SERVICE).await {
            Ok(next) => next,
            Err(error) if error.may_pass() => None,
            Err(error) => return Err(error).context("cannot see what is due next"),
        };
        let due = async {
            match next {
                // What the horizon holds back is looked at again soon.
                Some(at) if at > now => self.desk.clock.sleep_until(at).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => {}
            () = self.desk.planned.notified() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
        Ok(())
    }

    async fn forget(&self) -> Result<(), TableError> {
        let now = self.desk.clock.now();
        let before = |ago: Duration| now.plus_millis(-i64::try_from(ago.as_millis()).unwrap_or(i64::MAX));
        tables::purge(&self.desk.store, before(self.remember), before(self.early_for)).await?;
        while store::outbox::purge(&self.desk.store, SERVICE, before(self.remember), FORGET_MAX).await?
            == u64::from(FORGET_MAX)
        {}
        Ok(())
    }
}
