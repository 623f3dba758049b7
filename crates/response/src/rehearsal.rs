//! What would have become of cases under given settings: the step and the timers of the service itself, moved
//! on by whoever reads a log instead of by a clock. Nothing leaves it. The same records and settings always
//! give the same changes.
//!
//! It knows nothing of what people did inside Redress: nobody assigns, promises or resolves anything here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::store::{Store, due};
use anyhow::Context as _;
use bus::Received;
use contracts::response::v1::CaseEvent;
use model::Timestamp;
use prost::Message as _;
use runtime::brands::Brand;
use runtime::{EventClock, Shutdown};

use crate::config::{Config, Policies};
use crate::consumer::Horizon;
use crate::desk::Desk;
use crate::step::{Batch, take};
use crate::store::{self as tables, SERVICE};
use crate::timers::Timers;

/// Changes read at once.
const CHANGES_MAX: i64 = 1_000;

/// The response service without a log and an outside.
pub struct Rehearsal {
    desk: Arc<Desk>,
    timers: Timers,
    clock: Arc<EventClock>,
    next_due: Option<Timestamp>,
    /// The newest change handed out.
    told: i64,
}

impl Rehearsal {
    /// On an empty database with the tables of [`crate::MIGRATIONS`], which is the caller's to throw away.
    ///
    /// # Errors
    /// When a setting is wrong.
    pub fn new(config: &Config, brands: &[Brand], store: Store) -> anyhow::Result<Self> {
        config.check()?;
        let clock = Arc::new(EventClock::starting_at(Timestamp::MIN));
        let desk = Arc::new(Desk::new(store, Policies::new(config, brands)?, clock.clone()));
        let timers = Timers {
            desk: desk.clone(),
            horizon: Arc::new(Horizon::new()),
            shutdown: Shutdown::immediate(),
            member: "rehearsal".to_owned(),
            remember: Duration::from_secs(u64::from(config.remember_s)),
            early_for: Duration::from_secs(u64::from(config.early_answers_days) * 86_400),
        };
        Ok(Self { desk, timers, clock, next_due: None, told: 0 })
    }

    /// Time goes on to `at` (an earlier one changes nothing), then these records of the verdicts and erasures
    /// topics are heard. What cannot be read is left out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn hear(&mut self, records: Vec<Received>, at: Timestamp) -> anyhow::Result<Vec<CaseEvent>> {
        let mut changes = self.pass(at).await?;
        take(&self.desk, &Batch { records, moves: BTreeMap::new() }).await.context("keeping cases")?;
        self.after_change(&mut changes).await?;
        Ok(changes)
    }

    /// Time goes on to `to` without a record: what falls due until then does, each at its time.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn pass(&mut self, to: Timestamp) -> anyhow::Result<Vec<CaseEvent>> {
        let mut changes = Vec::new();
        while let Some(at) = self.next_due.filter(|at| *at <= to) {
            self.clock.advance(at);
            self.timers.round(at).await.context("telling what fell due")?;
            self.after_change(&mut changes).await?;
        }
        self.clock.advance(to);
        Ok(changes)
    }

    async fn after_change(&mut self, changes: &mut Vec<CaseEvent>) -> anyhow::Result<()> {
        loop {
            let past = tables::history_after(self.desk.store.pool(), self.told, "", CHANGES_MAX).await?;
            for change in &past {
                self.told = change.id;
                changes.push(CaseEvent::decode(change.body.as_slice()).context("reading a change")?);
            }
            if past.len() < usize::try_from(CHANGES_MAX).unwrap_or(usize::MAX) {
                break;
            }
        }
        self.next_due = due::next_due(&self.desk.store, SERVICE).await?;
        Ok(())
    }
}
