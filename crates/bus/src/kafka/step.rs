use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::Offset;
use rdkafka::consumer::Consumer as _;

use super::KafkaLog;
use super::errors::{bus_error, failed, unavailable};
use super::member::{Client, Joined, Member, Progress};
use super::names::Names;
use super::topics::Counts;
use super::transaction::{Failure, Transactions};
use crate::{
    BatchToken, BusError, CommitError, Outgoing, Partition, Polled, RefusedRecord, Step, StepSettings,
};

/// How long leaving may take before it is left to itself.
pub(super) const LEAVE_WITHIN: Duration = Duration::from_secs(15);

pub(super) struct KafkaStep {
    inner: Arc<Inner>,
    /// Polls one after the other, and commits one after the other, in the order of their calls.
    polling: tokio::sync::Mutex<()>,
    committing: tokio::sync::Mutex<()>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

struct Inner {
    member: Arc<Member>,
    names: Names,
    counts: Counts,
    work: Mutex<Work>,
}

/// What a commit needs; gone after closing.
struct Work {
    tools: Option<(Arc<Client>, Transactions)>,
    /// Where each partition's next batch begins, of the epoch it is true for.
    epoch: u64,
    committed: BTreeMap<Partition, i64>,
    fenced: Option<String>,
}

impl KafkaStep {
    /// Takes the member's name first, so that whoever had it cannot commit any more, then joins. Blocks.
    pub(super) fn start(log: &KafkaLog, settings: &StepSettings) -> Result<Self, BusError> {
        let described = format!("step '{}' of group '{}'", settings.member, settings.group);
        log.counts.require(&log.names, &settings.topics)?;
        let name = format!("{}-{}", settings.group, settings.member);
        let transactions =
            Transactions::begin_as(&log.settings, &log.names, &name, settings.transaction_timeout)
                .map_err(|e| bus_error(format!("beginning transactions as {described}"), &e))?;
        let mut config = log.settings.member(&settings.group, &settings.member);
        config.set("partition.assignment.strategy", "range");
        let Joined { member, client, thread } = Member::join(
            &log.settings,
            &log.names,
            &config,
            &settings.topics,
            Progress::InTheLog,
            described,
        )?;
        let work =
            Work { tools: Some((client, transactions)), epoch: 0, committed: BTreeMap::new(), fenced: None };
        Ok(Self {
            inner: Arc::new(Inner {
                member,
                names: log.names.clone(),
                counts: log.counts.clone(),
                work: Mutex::new(work),
            }),
            polling: tokio::sync::Mutex::default(),
            committing: tokio::sync::Mutex::default(),
            thread: Mutex::new(Some(thread)),
        })
    }
}

impl Inner {
    /// Blocks until the transaction is decided.
    fn commit(&self, token: &BatchToken, outputs: &[Outgoing]) -> Result<(), CommitError> {
        // A rebalance waits at this gate: what is committed is still ours until it opens.
        let _gate = self.member.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        let work = &mut *work;
        if let Some(why) = &work.fenced {
            return Err(CommitError::Fenced(why.clone()));
        }
        let Some((client, transactions)) = &work.tools else {
            return Err(CommitError::Fenced("it has left the group".to_owned()));
        };
        if self.member.epoch() != token.epoch {
            return Err(CommitError::Stale);
        }
        if work.epoch != token.epoch {
            work.epoch = token.epoch;
            work.committed.clear();
        }
        if token.next.iter().any(|(p, next)| work.committed.get(p).is_some_and(|done| done >= next)) {
            return Err(CommitError::Stale);
        }
        if let Some(partition) = token.next.keys().find(|p| !self.member.owns(**p)) {
            self.member.rewind();
            return Err(CommitError::Aborted(format!(
                "partition {} of {} is not ours",
                partition.number, partition.topic
            )));
        }
        if let Some(refused) = self.refused(outputs) {
            self.member.rewind();
            return Err(CommitError::Aborted(refused.to_string()));
        }
        let offsets = self
            .names
            .list(token.next.iter().map(|(p, next)| (*p, Offset::Offset(*next))))
            .map_err(|e| bus_error("listing offsets", &e))?;
        let Some(metadata) = client.group_metadata() else {
            return Err(failed("committing", "the client has no group").into());
        };
        match transactions.run(outputs, &offsets, &metadata) {
            Ok(()) => {
                work.committed.extend(&token.next);
                Ok(())
            }
            Err(Failure::Aborted(why)) => {
                self.member.rewind();
                Err(CommitError::Aborted(why))
            }
            Err(Failure::Fatal(why)) => {
                self.member.end(&why);
                work.fenced = Some(why.clone());
                Err(CommitError::Fenced(why))
            }
        }
    }

    fn refused(&self, outputs: &[Outgoing]) -> Option<RefusedRecord> {
        outputs.iter().enumerate().find_map(|(index, outgoing)| {
            let reason = self.counts.refusal(outgoing)?;
            Some(RefusedRecord { index, reason })
        })
    }
}

#[async_trait]
impl Step for KafkaStep {
    async fn poll(&self, records_max: usize, wait: Duration) -> Result<Polled, BusError> {
        let _turn = self.polling.lock().await;
        self.inner.member.poll(records_max, wait).await
    }

    async fn commit(&self, token: BatchToken, outputs: Vec<Outgoing>) -> Result<(), CommitError> {
        let _turn = self.committing.lock().await;
        self.inner.counts.learn(&self.inner.names, &outputs).await?;
        let inner = self.inner.clone();
        let done = tokio::task::spawn_blocking(move || inner.commit(&token, &outputs));
        done.await.map_err(|e| CommitError::Bus(failed("committing", e.to_string())))?
    }

    async fn close(&self) -> Result<(), BusError> {
        self.inner.member.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let inner = self.inner.clone();
        let left = tokio::task::spawn_blocking(move || {
            // Waits for a commit in progress; then the client closes with the thread's hold on it.
            let tools = inner.work.lock().unwrap_or_else(PoisonError::into_inner).tools.take();
            drop(tools);
            thread.is_none_or(|thread| thread.join().is_ok())
        });
        match tokio::time::timeout(LEAVE_WITHIN, left).await {
            Ok(Ok(true)) => Ok(()),
            Ok(_) => Err(failed("leaving the group", "its thread panicked")),
            Err(_) => Err(unavailable("leaving the group", format!("not done within {LEAVE_WITHIN:?}"))),
        }
    }
}

impl Drop for KafkaStep {
    /// Without `close` nothing is waited for, and the place in the group stays taken until the session
    /// times out or the member comes back. The clients, whose end may block, end on a thread of their own.
    fn drop(&mut self) {
        self.inner.member.abandon();
        let inner = self.inner.clone();
        let end = move || drop(inner.work.lock().unwrap_or_else(PoisonError::into_inner).tools.take());
        if let Err(error) = std::thread::Builder::new().name("kafka-end".to_owned()).spawn(end) {
            tracing::warn!(%error, "cannot end the clients of a step");
        }
    }
}
