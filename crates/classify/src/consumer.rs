use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bus::{
    BatchToken, BusError, CommitError, Outgoing, Partition, Polled, Reader as LogReader, Received, Step,
    Topic,
};
use model::Outcome;
use runtime::admin::Health;
use runtime::{Account, Clock, Phase, Shutdown, telemetry};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{Instrument as _, Span, debug, info, info_span, warn};

use crate::Config;
use crate::engine::Engine;
use crate::metrics::Metrics;
use crate::step::{Answer, verdict_id};
use crate::window::Window;

/// The hop's name in the accounts.
pub const HOP: &str = "classify";
/// How the consumer calls itself towards readiness.
pub const COMPONENT: &str = "classify consumer";
/// Records read at once when a window is rebuilt.
const REBUILD_RECORDS: usize = 10_000;
/// The longest a poll waits when nothing is pending.
const IDLE_WAIT: Duration = Duration::from_millis(250);
/// The longest a poll waits when a batch is due and the one before is not yet committed.
const COMMIT_LOOK: Duration = Duration::from_millis(5);
/// First and longest pause after the log was unavailable.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The span of one batch, linked to what caused its first traced records.
fn batch_span(records: &[Received]) -> Span {
    let span = info_span!(
        "process redress.mentions.v1",
        otel.kind = "consumer",
        messaging.system = "kafka",
        messaging.consumer.group.name = HOP,
        messaging.batch.message_count = records.len(),
    );
    telemetry::link_causes(&span, records.iter().map(|r| |name: &str| r.record.headers.text(name)));
    span
}

/// What the loop works with.
pub(crate) struct Loop {
    pub step: Arc<dyn Step>,
    pub log: Arc<dyn LogReader>,
    pub engine: Engine,
    pub clock: Arc<dyn Clock>,
    pub account: Account,
    pub health: Health,
    pub shutdown: Shutdown,
    pub metrics: Metrics,
    pub config: Config,
}

/// Records answered and not yet committed.
#[derive(Default)]
struct Pending {
    token: BatchToken,
    outputs: Vec<Outgoing>,
    counts: Counts,
    since: Option<Instant>,
}

/// What a batch will add to the accounts once it is committed.
#[derive(Default, Debug)]
struct Counts {
    accepted: u64,
    ended: BTreeMap<(Outcome, &'static str), u64>,
}

impl Counts {
    fn end(&mut self, outcome: Outcome, reason: &'static str, count: u64) {
        if count > 0 {
            *self.ended.entry((outcome, reason)).or_default() += count;
        }
    }
}

type Committing = JoinHandle<(Result<(), CommitError>, Counts, Duration)>;

/// The state between polls.
struct State {
    windows: BTreeMap<i32, Window>,
    pending: Pending,
    committing: Option<Committing>,
    lagging: bool,
}

impl State {
    fn is_committing(&self) -> bool {
        self.committing.as_ref().is_some_and(|committing| !committing.is_finished())
    }
}

impl Loop {
    /// Reads, answers and commits until polling is to stop; the next batch is computed while the last is
    /// committed.
    ///
    /// # Errors
    /// When another member took this one's place, or the log fails for good: the process must end.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let _guard = self.shutdown.guard(Phase::StopPolling);
        self.health.set_ready(COMPONENT, false, "joining the group");
        let mut state =
            State { windows: BTreeMap::new(), pending: Pending::default(), committing: None, lagging: false };
        let worked = self.work(&mut state).await;
        self.health.set_ready(COMPONENT, false, "stopped");
        let ended = match worked {
            Ok(()) => self.finish(&mut state).await,
            Err(error) => Err(error),
        };
        if let Err(error) = self.step.close().await {
            warn!(%error, "left the group without a word");
        }
        ended
    }

    async fn work(&self, state: &mut State) -> anyhow::Result<()> {
        let mut pause = PAUSES.0;
        loop {
            let (room, wait) = self.appetite(state);
            let polled = tokio::select! {
                polled = self.step.poll(room, wait) => polled,
                () = self.shutdown.reached(Phase::StopPolling) => return Ok(()),
            };
            match polled {
                Ok(polled) => {
                    pause = PAUSES.0;
                    self.health.set_ready(COMPONENT, true, "");
                    self.take(state, polled, room).await?;
                }
                Err(error @ BusError::Unavailable { .. }) => {
                    warn!(%error, "polling again soon");
                    self.health.set_ready(COMPONENT, false, error.to_string());
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
                Err(error) => return Err(error).context("cannot read mentions"),
            }
            if state.committing.as_ref().is_some_and(JoinHandle::is_finished) && self.settle(state).await? {
                self.forget(state).await?;
            }
            if self.is_due(state) {
                self.commit(state).await?;
            }
        }
    }

    /// How many more records the pending batch may take, and how long it may wait for them.
    fn appetite(&self, state: &State) -> (usize, Duration) {
        let pending = usize::try_from(state.pending.counts.accepted).unwrap_or(usize::MAX);
        let room = self.config.batch_records_max.saturating_sub(pending).max(1);
        let wait = match state.pending.since {
            // A commit under way is to be counted soon after it is through.
            None if state.committing.is_some() => self.interval(state),
            None => IDLE_WAIT,
            Some(since) => {
                let wait = self.interval(state).saturating_sub(since.elapsed());
                wait.max(if state.is_committing() { COMMIT_LOOK } else { Duration::ZERO })
            }
        };
        (room, wait)
    }

    fn interval(&self, state: &State) -> Duration {
        let ms =
            if state.lagging { self.config.commit_every_lagging_ms } else { self.config.commit_every_ms };
        Duration::from_millis(ms)
    }

    /// Whether the pending batch is to be committed now. While the one before is not through it grows instead, as
    /// far as it may: waiting would leave the processors idle.
    fn is_due(&self, state: &State) -> bool {
        let is_full = state.pending.counts.accepted as usize >= self.config.batch_records_max;
        let is_old = state.pending.since.is_some_and(|since| since.elapsed() >= self.interval(state));
        is_full || is_old && !state.is_committing()
    }

    async fn take(&self, state: &mut State, polled: Polled, room: usize) -> anyhow::Result<()> {
        if polled.token.epoch != state.pending.token.epoch {
            // Batches of the epoch before are void, and so is what they left in the windows. The commit
            // under way may still have succeeded: what it wrote must be readable before we rebuild.
            self.forget(state).await?;
            state.pending.token.epoch = polled.token.epoch;
        }
        for gone in &polled.revoked {
            state.windows.remove(&gone.number);
        }
        if !polled.assigned.is_empty() || !polled.revoked.is_empty() {
            info!(
                assigned = polled.assigned.len(),
                revoked = polled.revoked.len(),
                "partitions changed hands"
            );
        }
        state.pending.token.next.extend(polled.token.next);
        if polled.records.is_empty() {
            return Ok(());
        }
        debug!(records = polled.records.len(), epoch = polled.token.epoch, "polled");
        state.lagging = polled.records.len() >= room;
        state.pending.since.get_or_insert_with(Instant::now);
        state.pending.counts.accepted += polled.records.len() as u64;
        let partitions: Vec<i32> = polled.records.iter().map(|r| r.position.partition.number).collect();
        for number in &partitions {
            if !state.windows.contains_key(number) {
                let window = self.rebuild(*number).await?;
                state.windows.insert(*number, window);
            }
        }
        let span = batch_span(&polled.records);
        let answering = self.engine.answer_all(polled.records, self.clock.now());
        let answers = answering.instrument(span).await?;
        let counts = &mut state.pending.counts;
        state.pending.outputs.reserve(answers.len());
        let mut stored = 0;
        for (number, answer) in partitions.into_iter().zip(answers) {
            match answer {
                Answer::Verdict { id, verdict } => {
                    if state.windows.get_mut(&number).is_none_or(|window| window.insert(id)) {
                        state.pending.outputs.push(verdict);
                        stored += 1;
                    } else {
                        counts.end(Outcome::Merged, "repeat", 1);
                    }
                }
                Answer::Coverage(onwards) => {
                    state.pending.outputs.push(onwards);
                    counts.end(Outcome::Stored, "coverage", 1);
                }
                Answer::Refused { reason, letter } => {
                    state.pending.outputs.push(letter);
                    counts.end(Outcome::DeadLettered, reason, 1);
                }
            }
        }
        counts.end(Outcome::Stored, "", stored);
        Ok(())
    }

    /// Hands the pending batch to a task of its own, once the one before is through.
    async fn commit(&self, state: &mut State) -> anyhow::Result<()> {
        if self.settle(state).await? {
            // The one before was aborted: this batch is of the same epoch, and void with it.
            return self.forget(state).await;
        }
        let epoch = state.pending.token.epoch;
        let mut pending = std::mem::take(&mut state.pending);
        state.pending.token.epoch = epoch;
        pending.token.epoch = epoch;
        let step = self.step.clone();
        state.committing = Some(tokio::spawn(async move {
            let began = Instant::now();
            let committed = step.commit(pending.token, pending.outputs).await;
            (committed, pending.counts, began.elapsed())
        }));
        Ok(())
    }

    /// Waits for the commit under way; true when it was refused and its records come again.
    async fn settle(&self, state: &mut State) -> anyhow::Result<bool> {
        let Some(committing) = state.committing.take() else { return Ok(false) };
        let (committed, counts, took) = committing.await.context("a commit broke off")?;
        debug!(records = counts.accepted, ?took, is_committed = committed.is_ok(), "settled");
        match committed {
            Ok(()) => {
                self.metrics.committed(counts.accepted, took);
                self.account.accepted(HOP, counts.accepted);
                for ((outcome, reason), count) in counts.ended {
                    self.account.ended(HOP, outcome, reason, count);
                }
                Ok(false)
            }
            Err(error @ (CommitError::Aborted(_) | CommitError::Stale)) => {
                warn!(%error, records = counts.accepted, "batch not committed");
                Ok(true)
            }
            Err(CommitError::Fenced(by)) => {
                bail!("another member took the place of '{}': {by}", self.config.member)
            }
            Err(CommitError::Bus(error)) => Err(error).context("cannot commit verdicts"),
        }
    }

    /// Drops what is not committed; the windows are read again from what is.
    async fn forget(&self, state: &mut State) -> anyhow::Result<()> {
        self.settle(state).await?;
        let epoch = state.pending.token.epoch;
        state.pending = Pending::default();
        state.pending.token.epoch = epoch;
        state.windows.clear();
        Ok(())
    }

    /// Commits what is pending, for a clean end.
    async fn finish(&self, state: &mut State) -> anyhow::Result<()> {
        if state.pending.counts.accepted > 0 {
            self.commit(state).await?;
        }
        self.settle(state).await?;
        Ok(())
    }

    /// Reads the ids of the newest verdicts of a partition.
    async fn rebuild(&self, number: i32) -> anyhow::Result<Window> {
        let verdicts = Partition { topic: Topic::Verdicts, number };
        let mut window = Window::new(self.config.repeats_window);
        let doing = || format!("cannot read the newest verdicts of partition {number}");
        let marks = self.log.watermarks(verdicts).await.with_context(doing)?;
        let reach = i64::try_from(self.config.repeats_window).unwrap_or(i64::MAX);
        let mut from = marks.low.max(marks.high.saturating_sub(reach));
        while from < marks.high {
            let part =
                self.log.scan(verdicts, from, marks.high, REBUILD_RECORDS).await.with_context(doing)?;
            part.records.iter().filter_map(verdict_id).for_each(|id| {
                window.insert(id);
            });
            if part.next <= from {
                bail!("{}: no progress at offset {from}", doing());
            }
            from = part.next;
        }
        debug!(partition = number, "window of repeats rebuilt");
        Ok(window)
    }
}
