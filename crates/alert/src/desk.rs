//! The desk where every input to an episode is handled: load, decide, save, in the caller's transaction.

use std::sync::Arc;

use contracts::envelope;
use model::{EpisodeId, Subject, Timestamp, Topic};
use paging::{
    Decision, Effect, Episode, Forgotten, Input, Mutes, Notice, Policy, Reason, Signal, Target, What, decide,
    mutes_for,
};
use prost::Message as _;
use store::due::{self, Due};
use store::outbox::{self, Message};
use store::{Store, Tx};
use tokio::sync::Notify;
use tokio::sync::watch;

use crate::detection::Telling;
use crate::store::{self as tables, Kept, SERVICE, TableError};
use crate::wire;

/// The outbox's destination for changes published on the alerts topic.
pub(crate) const TO_ALERTS: &str = "topic/alerts";
/// The outbox's destination for people's feedback.
pub(crate) const TO_FEEDBACK: &str = "topic/feedback";
/// The outbox's destination for what was refused.
pub(crate) const TO_DEAD_LETTERS: &str = "topic/deadletter";
/// The outbox's destination for what live threads say to their subjects.
pub(crate) const TO_TALLIES: &str = "topic/tallies";
/// Due work: look at an episode.
pub(crate) const DUE_EPISODE: &str = "episode";
/// How often a transaction is begun again when it met another.
const TRIES: u32 = 8;

/// What everything that touches episodes shares.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) store: Store,
    pub(crate) policy: Arc<Policy>,
    /// Wakes the sender.
    pub(crate) outbox: Arc<Notify>,
    /// Wakes the timers.
    pub(crate) timers: Arc<Notify>,
    /// Wakes those who watch.
    pub(crate) changes: watch::Sender<u64>,
}

impl Desk {
    pub(crate) fn new(store: Store, policy: Policy) -> Self {
        Self {
            store,
            policy: Arc::new(policy),
            outbox: Arc::default(),
            timers: Arc::default(),
            changes: watch::Sender::new(0),
        }
    }

    /// Something was committed: whoever waits for it looks.
    pub(crate) fn wake(&self) {
        self.outbox.notify_one();
        self.timers.notify_one();
        self.changes.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Runs `work` in a transaction of its own, again when it met another, and wakes whoever waits. `work`
    /// is lent the transaction and gives it back to be committed; when it fails, all is undone.
    pub(crate) async fn transact<T, E, F>(&self, mut work: impl FnMut(Tx) -> F) -> Result<T, E>
    where
        E: From<store::StoreError> + Passing,
        F: Future<Output = Result<(Tx, T), E>>,
    {
        let mut tries = 0;
        loop {
            tries += 1;
            let attempt = async {
                let tx = self.store.begin().await?;
                let (tx, done) = work(tx).await?;
                tx.commit()
                    .await
                    .map_err(|source| store::StoreError::Sql { doing: "committing".into(), source })?;
                Ok::<T, E>(done)
            };
            match attempt.await {
                Ok(done) => {
                    self.wake();
                    return Ok(done);
                }
                Err(error) if error.may_pass() && tries < TRIES => {
                    // Real time: two writers met, and one goes first.
                    tokio::time::sleep(std::time::Duration::from_millis(5 << tries)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A detector speaks, and shows how it came to it.
    pub(crate) async fn told(
        &self,
        tx: &mut Tx,
        telling: &Telling,
        now: Timestamp,
    ) -> Result<Decision, TableError> {
        let signal = telling.signal.clone();
        let kept = tables::newest(tx, &signal.rule, &signal.subject.key()).await?;
        let before = kept.as_ref().filter(|kept| kept.episode.is_open()).map(|kept| kept.episode.id);
        let decision = self.signal_on(tx, kept, signal, now).await?;
        // What a person has ended is told no further; what ends now is told to its end.
        let told = decision.next.as_ref().filter(|next| next.is_open() || before == Some(next.id));
        if let (Some(episode), Some(timeline)) = (told, &telling.timeline) {
            tables::timelines::save(tx, episode.id, timeline).await?;
        }
        Ok(decision)
    }

    /// A detector speaks.
    pub(crate) async fn signal(
        &self,
        tx: &mut Tx,
        signal: Signal,
        now: Timestamp,
    ) -> Result<Decision, TableError> {
        let kept = tables::newest(tx, &signal.rule, &signal.subject.key()).await?;
        self.signal_on(tx, kept, signal, now).await
    }

    async fn signal_on(
        &self,
        tx: &mut Tx,
        kept: Option<Kept>,
        signal: Signal,
        now: Timestamp,
    ) -> Result<Decision, TableError> {
        let (rule, subject, topic) = (signal.rule.clone(), signal.subject.clone(), signal.topic.clone());
        let target = Target { rule: &rule, subject: &subject, topic: topic.as_ref() };
        let mutes = self.mutes(tx, &target, now).await?;
        let input = Input { what: What::Signal(Box::new(signal)), mutes };
        self.settle(tx, kept, input, now).await
    }

    /// Anything else happens to a known episode.
    pub(crate) async fn happens(
        &self,
        tx: &mut Tx,
        id: EpisodeId,
        what: What,
        now: Timestamp,
    ) -> Result<Decision, TableError> {
        let kept = tables::episode(&mut **tx, id).await?;
        let mutes = match &kept {
            Some(kept) if kept.episode.is_open() => self.mutes(tx, &Target::of(&kept.episode), now).await?,
            _ => Mutes::default(),
        };
        self.settle(tx, kept, Input { what, mutes }, now).await
    }

    /// Takes out what is to be forgotten, wherever it was shown: episodes open or over, their history, and
    /// messages about them, sent or not. Tells how many episodes showed it.
    pub(crate) async fn forget(
        &self,
        tx: &mut Tx,
        forgotten: &Forgotten,
        now: Timestamp,
    ) -> Result<usize, TableError> {
        let showing = tables::erase::showing(tx, forgotten).await?;
        for id in &showing {
            self.happens(tx, *id, What::Forget(forgotten.clone()), now).await?;
            tables::erase::erase(tx, *id, forgotten).await?;
        }
        if !showing.is_empty() {
            tables::erase::erase_answers(tx, forgotten).await?;
        }
        Ok(showing.len())
    }

    async fn mutes(&self, tx: &mut Tx, target: &Target<'_>, now: Timestamp) -> Result<Mutes, TableError> {
        let silences = tables::silences(&mut **tx, now).await?;
        let inhibits = self.policy.inhibitions.iter().any(|i| i.target == target.rule);
        let open = match inhibits {
            true => tables::open_of(&mut **tx, Some(target.subject.brand())).await?,
            false => Vec::new(),
        };
        Ok(mutes_for(target, &silences, open.iter().map(|kept| &kept.episode), now, &self.policy))
    }

    async fn settle(
        &self,
        tx: &mut Tx,
        kept: Option<Kept>,
        input: Input,
        now: Timestamp,
    ) -> Result<Decision, TableError> {
        let decision = decide(kept.as_ref().map(|kept| &kept.episode), input, now, &self.policy);
        let Some(next) = &decision.next else { return Ok(decision) };
        let before = kept.filter(|kept| kept.episode.id == next.id);
        if before.as_ref().is_some_and(|kept| kept.episode == *next) && decision.effects.is_empty() {
            return Ok(decision);
        }
        tables::save(tx, next, before.as_ref().map(|kept| kept.revision)).await?;
        tables::erase::index(tx, before.as_ref().map(|kept| &kept.episode), next).await?;
        tables::explain(tx, next.id, &decision.trail, now).await?;
        for effect in &decision.effects {
            self.owe(tx, next, effect, now).await?;
        }
        let was_open = before.is_none_or(|kept| kept.episode.is_open());
        if was_open && !next.is_open() {
            self.after_end(tx, next, now).await?;
        }
        Ok(decision)
    }

    /// Turns an effect into rows; others send them.
    async fn owe(
        &self,
        tx: &mut Tx,
        episode: &Episode,
        effect: &Effect,
        now: Timestamp,
    ) -> Result<(), TableError> {
        match effect {
            Effect::Notify { kind, reason, to } => {
                for destination in to {
                    let notice = Notice {
                        delivery_id: Notice::id(episode, *kind, destination),
                        destination: destination.clone(),
                        kind: *kind,
                        reason: *reason,
                        at: now,
                        episode: episode.clone(),
                    };
                    let body = serde_json::to_vec(&notice).map_err(|e| TableError::Damaged {
                        what: "notice",
                        id: notice.delivery_id.clone(),
                        problem: e.to_string(),
                    })?;
                    let message = Message {
                        delivery_id: notice.delivery_id,
                        ordering_key: episode.id.to_string(),
                        destination: destination.clone(),
                        kind: kind.label().to_owned(),
                        body,
                        headers: reason.label().to_owned(),
                        due_at: now,
                    };
                    outbox::enqueue(tx, SERVICE, &message, now).await?;
                }
            }
            Effect::Publish { sequence, change, by, reason } => {
                self.publish(tx, episode, *sequence, *change, by, reason, now).await?;
            }
            Effect::WakeAt(at) => look_at(tx, episode.id, *at).await?,
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    async fn publish(
        &self,
        tx: &mut Tx,
        episode: &Episode,
        sequence: u64,
        change: paging::Change,
        by: &str,
        reason: &Reason,
        now: Timestamp,
    ) -> Result<(), TableError> {
        let event = wire::event(episode, sequence, change, by, reason, now);
        tables::record_change(tx, episode, sequence, now, event.encode_to_vec()).await?;
        let message = Message {
            delivery_id: format!("evt_{}_{sequence}", episode.id.as_uuid().simple()),
            ordering_key: episode.id.to_string(),
            destination: TO_ALERTS.to_owned(),
            kind: "event".to_owned(),
            body: event.encode_to_vec(),
            headers: String::new(),
            due_at: now,
        };
        outbox::enqueue(tx, SERVICE, &message, now).await?;
        Ok(())
    }

    /// What the end of one episode means for others: silences made for it end, and what it held back is
    /// looked at again.
    async fn after_end(&self, tx: &mut Tx, ended: &Episode, now: Timestamp) -> Result<(), TableError> {
        due::cancel(tx, SERVICE, &due_key(ended.id)).await?;
        for id in &ended.silenced_by {
            let Some(mut silence) = tables::silence_by_id(tx, id).await? else { continue };
            if silence.expires_on_resolve && silence.ends_at > now {
                silence.ends_at = now;
                tables::save_silence(tx, &silence).await?;
            }
        }
        for other in tables::open_of(&mut **tx, Some(ended.brand())).await? {
            if other.episode.inhibited_by.contains(&ended.id) {
                look_at(tx, other.episode.id, now).await?;
            }
        }
        Ok(())
    }

    /// A silence began or ended: what it matches is looked at again.
    pub(crate) async fn silence_changed(
        &self,
        tx: &mut Tx,
        silence: &paging::Silence,
        now: Timestamp,
    ) -> Result<(), TableError> {
        for open in tables::open_of(&mut **tx, silence.matcher.brand.as_ref()).await? {
            if silence.matcher.matches(&Target::of(&open.episode)) {
                look_at(tx, open.episode.id, now).await?;
            }
        }
        Ok(())
    }
}

/// Errors that tell whether beginning again may help.
pub(crate) trait Passing {
    fn may_pass(&self) -> bool;
}

impl Passing for TableError {
    fn may_pass(&self) -> bool {
        Self::may_pass(self)
    }
}

fn due_key(id: EpisodeId) -> String {
    format!("episode/{id}")
}

/// Plans a look at an episode.
pub(crate) async fn look_at(tx: &mut Tx, id: EpisodeId, at: Timestamp) -> Result<(), TableError> {
    let due =
        Due { key: due_key(id), due_at: at, kind: DUE_EPISODE.to_owned(), body: id.to_string().into_bytes() };
    due::put(tx, SERVICE, &due).await?;
    Ok(())
}

/// A sealed message for a topic, through the outbox.
pub(crate) async fn publish_later<M: prost::Message + prost::Name>(
    tx: &mut Tx,
    destination: &str,
    delivery_id: String,
    ordering_key: String,
    message: &M,
    now: Timestamp,
) -> Result<(), TableError> {
    let sealed = envelope::seal(&delivery_id, "redress/alert", now, message);
    let message = Message {
        delivery_id,
        ordering_key,
        destination: destination.to_owned(),
        kind: "message".to_owned(),
        body: sealed.value.to_vec(),
        headers: String::new(),
        due_at: now,
    };
    outbox::enqueue(tx, SERVICE, &message, now).await?;
    Ok(())
}

/// The topic of a subject, where it has one.
pub(crate) fn topic_of(subject: &Subject) -> Option<Topic> {
    match subject {
        Subject::Topic { topic, .. } => Some(topic.clone()),
        Subject::Thread { .. } | Subject::Source { .. } => None,
    }
}
