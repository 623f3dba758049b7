//! The sender: takes messages from the outbox, asks whether each is still wanted, sends, records.

use std::sync::Arc;
use std::time::Duration;

use bus::{Publisher, Topic};
use bytes::Bytes;
use contracts::envelope::{CE_ID, CE_SOURCE, CE_SPECVERSION, CE_TIME, CE_TYPE, CONTENT_TYPE};
use model::{EpisodeId, MentionId, Outcome, Timestamp};
use paging::{
    Action, Attempt, DeliveredBefore, Next, Notice, Reason, RetryPolicy, Wanted, What, next_attempt,
    still_wanted,
};
use runtime::Phase;
use store::outbox::{self, Claimed, End, Recorded, State};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{error, warn};

use crate::config::DeliveryConfig;
use crate::desk::{Desk, Passing, TO_ALERTS, TO_DEAD_LETTERS, TO_FEEDBACK, TO_TALLIES};
use crate::destinations::Destinations;
use crate::metrics::Metrics;
use crate::store::{self as tables, SERVICE, TableError};
use crate::{Deps, reading};

/// The hop's name in accounts.
pub(crate) const HOP: &str = "alert-deliver";
/// Real time between looks, for messages that other processes wrote.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A message for a topic that cannot be published is tried again after so long.
const TOPIC_PAUSE_MS: i64 = 1_000;

/// Another worker has the message by now; what it does counts.
#[derive(Debug, thiserror::Error)]
enum DeliverError {
    #[error("the lease was lost")]
    LostClaim,
    #[error(transparent)]
    Table(#[from] TableError),
}

impl From<store::StoreError> for DeliverError {
    fn from(error: store::StoreError) -> Self {
        Self::Table(error.into())
    }
}

impl Passing for DeliverError {
    fn may_pass(&self) -> bool {
        matches!(self, Self::Table(error) if error.may_pass())
    }
}

/// What sending one message needs.
#[derive(Clone)]
pub(crate) struct Sender {
    pub(crate) deps: Deps,
    pub(crate) desk: Desk,
    pub(crate) destinations: Arc<Destinations>,
    pub(crate) publisher: Arc<dyn Publisher>,
    pub(crate) config: DeliveryConfig,
    pub(crate) worker: String,
    pub(crate) metrics: Metrics,
}

/// How an attempt ended, and what that means for others.
struct Ended {
    end: End,
    pause_until: Option<Timestamp>,
    /// What the episode is to be told.
    what: Option<What>,
    /// What is to be explained about the episode.
    why: Option<Action>,
}

impl Ended {
    const fn of(end: End) -> Self {
        Self { end, pause_until: None, what: None, why: None }
    }
}

/// Sends until everything is flushed.
pub(crate) async fn run(sender: Sender) -> anyhow::Result<()> {
    let shutdown = sender.deps.parts.shutdown.clone();
    let _guard = shutdown.guard(Phase::Flush);
    let mut under_way = JoinSet::new();
    let mut pace = Pace::new(sender.deps.parts.clock.now());
    loop {
        if shutdown.phase() >= Phase::Flush {
            break;
        }
        while under_way.try_join_next().is_some() {}
        let room =
            sender.config.at_once_max.saturating_sub(u32::try_from(under_way.len()).unwrap_or(u32::MAX));
        if room == 0 {
            under_way.join_next().await;
            continue;
        }
        let now = sender.deps.parts.clock.now();
        let lease = pace.lease(now, sender.config.lease_s);
        match outbox::claim(&sender.desk.store, SERVICE, &sender.worker, now, lease, room).await {
            Ok(claimed) if claimed.is_empty() => wait(&sender, &mut under_way).await,
            Ok(claimed) => {
                for message in claimed {
                    let sender = sender.clone();
                    under_way.spawn(async move { sender.deliver(message).await });
                }
            }
            Err(error) if error.may_pass() => {
                warn!(%error, "the outbox cannot be read, will try again");
                tokio::time::sleep(reading::PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    // What is on its way is let finish; what is not gets another worker when the lease ends.
    while under_way.join_next().await.is_some() {}
    Ok(())
}

/// How fast the service's clock runs. An attempt takes real time, so that a lease counted in the time of a
/// replay must be longer by as much, or it would be over before the attempt is.
struct Pace {
    clock: Timestamp,
    real: Instant,
    rate: u64,
}

impl Pace {
    /// Real time between two measurements.
    const EVERY: Duration = Duration::from_millis(100);
    /// A clock is not believed to run faster than this.
    const RATE_MAX: u64 = 1_000_000;

    fn new(clock: Timestamp) -> Self {
        Self { clock, real: Instant::now(), rate: 1 }
    }

    fn lease(&mut self, now: Timestamp, lease_s: u64) -> Duration {
        let real = self.real.elapsed();
        let passed_ms = u64::try_from(now.millis_since(self.clock)).unwrap_or(0);
        let real_ms = u64::try_from(real.as_millis()).unwrap_or(u64::MAX).max(1);
        // A jump counts at once; calm is believed only after a while.
        let rate = (passed_ms / real_ms).clamp(1, Self::RATE_MAX);
        if real >= Self::EVERY || rate > 2 * self.rate {
            self.rate = rate.max(self.rate / 2).max(1);
            (self.clock, self.real) = (now, Instant::now());
        }
        Duration::from_secs(lease_s.saturating_mul(self.rate))
    }
}

async fn wait(sender: &Sender, under_way: &mut JoinSet<()>) {
    let clock = &sender.deps.parts.clock;
    let planned = async {
        match outbox::next_due(&sender.desk.store, SERVICE).await {
            Ok(Some(at)) if at > clock.now() => clock.sleep_until(at).await,
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        () = planned => {}
        () = sender.desk.outbox.notified() => {}
        // The next of the same order may have waited for this one.
        Some(_) = under_way.join_next() => {}
        () = tokio::time::sleep(LOOK_EVERY) => {}
        () = sender.deps.parts.shutdown.reached(Phase::Flush) => {}
    }
}

impl Sender {
    async fn deliver(&self, message: Claimed) {
        let ended = match message.entry.message.destination.as_str() {
            TO_ALERTS => self.publish(Topic::Alerts, "redress.alert.v1.EpisodeEvent", &message).await,
            TO_FEEDBACK => self.publish(Topic::Feedback, "redress.classify.v1.Feedback", &message).await,
            TO_TALLIES => self.publish(Topic::Tallies, "redress.alert.v1.ThreadOutlook", &message).await,
            TO_DEAD_LETTERS => {
                self.publish(Topic::DeadLetter, "redress.ingest.v1.DeadLetter", &message).await
            }
            _ => match self.notify(&message).await {
                Ok(ended) => ended,
                // Nothing was sent; the lease ends, and it is tried again.
                Err(error) => {
                    warn!(%error, delivery_id = %message.entry.message.delivery_id, "notice not looked at");
                    return;
                }
            },
        };
        match self.record(&message, &ended).await {
            Ok(()) => self.count(&ended.end),
            Err(DeliverError::LostClaim) => {
                warn!(delivery_id = %message.entry.message.delivery_id, "another worker took this message over");
            }
            Err(error) => {
                warn!(%error, delivery_id = %message.entry.message.delivery_id, "attempt not recorded");
            }
        }
    }

    async fn publish(&self, topic: Topic, ce_type: &'static str, claimed: &Claimed) -> Ended {
        let message = &claimed.entry.message;
        let at = claimed.entry.created_at;
        let time = at.to_string();
        let headers = bus::Headers::from_iter([
            (CE_SPECVERSION, "1.0"),
            (CE_ID, &message.delivery_id),
            (CE_SOURCE, "redress/alert"),
            (CE_TYPE, ce_type),
            (CE_TIME, &time),
            (CONTENT_TYPE, "application/protobuf"),
        ]);
        let key = match message.ordering_key.parse::<MentionId>() {
            // Episode ids and mention ids alike travel as their 16 bytes.
            Ok(id) => Bytes::copy_from_slice(id.as_bytes()),
            Err(_) => Bytes::copy_from_slice(message.ordering_key.as_bytes()),
        };
        let record = bus::Record { key, value: Some(message.body.clone().into()), headers, at };
        let outgoing = bus::Outgoing { topic, partition: None, record };
        let now = self.deps.parts.clock.now();
        let end = match self.publisher.publish(vec![outgoing]).await {
            Ok(results) => match results.into_iter().next() {
                Some(Ok(_)) => End::Sent,
                Some(Err(refused)) => End::Fail { reason: refused.reason.to_owned() },
                None => End::Retry { at: now.plus_millis(TOPIC_PAUSE_MS), error: "no answer".into() },
            },
            Err(error @ bus::BusError::Unavailable { .. }) => {
                End::Retry { at: now.plus_millis(TOPIC_PAUSE_MS), error: error.to_string() }
            }
            // A topic may be made later; the message is not lost meanwhile.
            Err(error) => End::Retry { at: now.plus_millis(30 * TOPIC_PAUSE_MS), error: error.to_string() },
        };
        Ended::of(end)
    }

    async fn notify(&self, claimed: &Claimed) -> Result<Ended, TableError> {
        let message = &claimed.entry.message;
        let Ok(mut notice) = serde_json::from_slice::<Notice>(&message.body) else {
            return Ok(Ended::of(End::Fail { reason: "the notice is damaged".into() }));
        };
        let Some(kept) = tables::episode(self.desk.store.pool(), notice.episode.id).await? else {
            return Ok(Ended::of(End::Drop { reason: "its episode is gone".into() }));
        };
        let before = self.delivered_before(&notice, message).await?;
        match still_wanted(&notice, &kept.episode, before) {
            Wanted::Send => {}
            Wanted::SendAs(reason) => notice.reason = reason,
            Wanted::Drop(why) => {
                let reason =
                    Reason::NotDelivered { destination: notice.destination.clone(), why: why.to_owned() };
                let why = Some(Action { action: "not_sent", reason: reason.clone() });
                let dropped = reason_of(&reason);
                return Ok(Ended { why, ..Ended::of(End::Drop { reason: dropped }) });
            }
        }
        let now = self.deps.parts.clock.now();
        let Some(tried) = self.destinations.attempt(&notice, now).await else {
            return Ok(Ended::of(End::Fail { reason: "no such destination is configured".into() }));
        };
        self.metrics.attempt(&notice.destination, tried.attempt);
        let now = self.deps.parts.clock.now();
        let policy = RetryPolicy {
            attempts_max: self.config.attempts_max,
            age_max_ms: i64::from(self.config.give_up_after_s) * 1_000,
        };
        let (attempts, first_at) = (claimed.entry.attempts, claimed.entry.created_at);
        let next = next_attempt(tried.attempt, attempts, first_at, now, rand::random(), &policy);
        Ok(match next {
            Next::Done => {
                let destination = notice.destination;
                let what = What::Delivery { destination, arrived: true, why: String::new() };
                Ended { what: Some(what), ..Ended::of(End::Sent) }
            }
            Next::RetryAt { at, pause_until, reason } => {
                let error = note(reason.label(), &tried.note);
                Ended { pause_until, ..Ended::of(End::Retry { at, error }) }
            }
            Next::GiveUp(reason) => {
                let why = note(reason.label(), &tried.note);
                error!(destination = %notice.destination, episode = %notice.episode.id, attempts, %why, "notice given up");
                let what =
                    What::Delivery { destination: notice.destination, arrived: false, why: why.clone() };
                Ended { what: Some(what), ..Ended::of(End::Fail { reason: why }) }
            }
        })
    }

    /// What became of earlier pages of the same episode to the same destination.
    async fn delivered_before(
        &self,
        notice: &Notice,
        message: &outbox::Message,
    ) -> Result<DeliveredBefore, TableError> {
        if notice.kind != paging::NoticeKind::Resolve {
            return Ok(DeliveredBefore::Nothing);
        }
        let all = outbox::list(&self.desk.store, SERVICE, &message.ordering_key).await?;
        let pages = all.iter().filter(|entry| {
            entry.message.destination == message.destination
                && entry.message.kind == paging::NoticeKind::Page.label()
        });
        let told = pages.map(|entry| match entry.state {
            State::Sent => DeliveredBefore::Arrived,
            State::Dropped if entry.last_error == "resolved" => DeliveredBefore::Overtaken,
            State::Failed => DeliveredBefore::Overtaken,
            _ => DeliveredBefore::Nothing,
        });
        Ok(told.min().unwrap_or(DeliveredBefore::Nothing))
    }

    async fn record(&self, message: &Claimed, ended: &Ended) -> Result<(), DeliverError> {
        let now = self.deps.parts.clock.now();
        self.desk
            .transact(|mut tx| async move {
                if outbox::complete(&mut tx, SERVICE, message, &ended.end, now).await? == Recorded::LostClaim
                {
                    return Err(DeliverError::LostClaim);
                }
                if let Some(until) = ended.pause_until {
                    outbox::pause_destination(&mut tx, SERVICE, &message.entry.message.destination, until)
                        .await?;
                }
                let Ok(id) = message.entry.message.ordering_key.parse::<EpisodeId>() else {
                    return Ok((tx, ()));
                };
                if let Some(what) = &ended.what {
                    self.desk.happens(&mut tx, id, what.clone(), now).await?;
                }
                if let Some(why) = &ended.why {
                    tables::explain(&mut tx, id, std::slice::from_ref(why), now).await?;
                }
                Ok((tx, ()))
            })
            .await
    }

    fn count(&self, end: &End) {
        let (outcome, reason) = match end {
            End::Sent => (Outcome::Stored, "sent"),
            End::Drop { .. } => (Outcome::Suppressed, "no_longer_wanted"),
            End::Fail { .. } => (Outcome::Rejected, "given_up"),
            End::Retry { .. } => return,
        };
        self.deps.parts.account.accepted(HOP, 1);
        self.deps.parts.account.ended(HOP, outcome, reason, 1);
    }
}

fn reason_of(reason: &Reason) -> String {
    match reason {
        Reason::NotDelivered { why, .. } => why.clone(),
        other => other.code().to_owned(),
    }
}

fn note(label: &str, note: &str) -> String {
    if note.is_empty() { label.to_owned() } else { format!("{label}: {note}") }
}

/// The label of an attempt, for counting.
pub(crate) const fn label_of(attempt: Attempt) -> &'static str {
    match attempt {
        Attempt::Ok => "ok",
        Attempt::RetryAfter(_, reason)
        | Attempt::Retry(reason)
        | Attempt::Permanent(reason)
        | Attempt::Ambiguous(reason) => reason.label(),
    }
}
