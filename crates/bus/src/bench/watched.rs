use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::{
    BatchToken, BusError, CommitError, Consumer, ConsumerSettings, Log, Outgoing, Polled, Publisher, Reader,
    Step, StepSettings, Topic, TopicPlan, TopicReport,
};

/// One look for records of a copy.
const LOOK: Duration = Duration::from_millis(20);

/// A log that notes when its steps read and commit, and otherwise is the one it stands before.
pub struct Watched {
    log: Arc<dyn Log>,
    tape: Tape,
}

/// What the steps of a [`Watched`] log did. Cheap to clone; clones share.
#[derive(Debug, Clone, Default)]
pub struct Tape(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    first_read: Option<Instant>,
    last_commit: Option<Instant>,
    commits: Vec<Duration>,
}

impl Tape {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From the first record read to the last commit; zero before.
    pub fn took(&self) -> Duration {
        let noted = self.noted();
        match (noted.first_read, noted.last_commit) {
            (Some(first), Some(last)) => last.saturating_duration_since(first),
            _ => Duration::ZERO,
        }
    }

    /// How long each commit took, in order.
    pub fn commits(&self) -> Vec<Duration> {
        self.noted().commits.clone()
    }
}

impl Watched {
    /// Stands before `log`.
    pub fn new(log: Arc<dyn Log>) -> (Arc<Self>, Tape) {
        let tape = Tape::default();
        (Arc::new(Self { log, tape: tape.clone() }), tape)
    }
}

struct WatchedStep {
    step: Arc<dyn Step>,
    tape: Tape,
}

#[async_trait]
impl Step for WatchedStep {
    async fn poll(&self, records_max: usize, wait: Duration) -> Result<Polled, BusError> {
        let polled = self.step.poll(records_max, wait).await?;
        if !polled.records.is_empty() {
            self.tape.noted().first_read.get_or_insert_with(Instant::now);
        }
        Ok(polled)
    }

    async fn commit(&self, token: BatchToken, outputs: Vec<Outgoing>) -> Result<(), CommitError> {
        let began = Instant::now();
        self.step.commit(token, outputs).await?;
        let mut noted = self.tape.noted();
        noted.commits.push(began.elapsed());
        noted.last_commit = Some(Instant::now());
        Ok(())
    }

    async fn close(&self) -> Result<(), BusError> {
        self.step.close().await
    }
}

#[async_trait]
impl Log for Watched {
    async fn topics(&self, plan: &[TopicPlan], apply: bool) -> Result<Vec<TopicReport>, BusError> {
        self.log.topics(plan, apply).await
    }

    fn publisher(&self) -> Result<Arc<dyn Publisher>, BusError> {
        self.log.publisher()
    }

    async fn step(&self, settings: StepSettings) -> Result<Arc<dyn Step>, BusError> {
        let step = self.log.step(settings).await?;
        Ok(Arc::new(WatchedStep { step, tape: self.tape.clone() }))
    }

    async fn consumer(&self, settings: ConsumerSettings) -> Result<Arc<dyn Consumer>, BusError> {
        self.log.consumer(settings).await
    }

    fn reader(&self) -> Result<Arc<dyn Reader>, BusError> {
        self.log.reader()
    }

    async fn ping(&self) -> Result<(), BusError> {
        self.log.ping().await
    }
}

/// Copies whole records from the topic of `settings` to the same partitions of `to`, through the interface
/// that the services use, until `records` of them are committed; commits every `commit_every`.
///
/// # Errors
/// When the log fails, or a commit is refused.
pub async fn copy_step(
    log: &dyn Log,
    settings: StepSettings,
    to: Topic,
    records: u64,
    (batch_max, commit_every): (usize, Duration),
) -> Result<(), CommitError> {
    let step = log.step(settings).await?;
    let mut copied = 0;
    while copied < records {
        let mut token = BatchToken::default();
        let mut outputs = Vec::new();
        let mut deadline = None;
        while outputs.len() < batch_max
            && copied + (outputs.len() as u64) < records
            && deadline.is_none_or(|deadline| Instant::now() < deadline)
        {
            let polled = step.poll(batch_max - outputs.len(), LOOK).await?;
            token.epoch = polled.token.epoch;
            token.next.extend(polled.token.next);
            if !polled.records.is_empty() {
                deadline.get_or_insert_with(|| Instant::now() + commit_every);
            }
            outputs.extend(polled.records.into_iter().map(|received| Outgoing {
                topic: to,
                partition: Some(received.position.partition.number),
                record: received.record,
            }));
        }
        copied += outputs.len() as u64;
        step.commit(token, outputs).await?;
    }
    step.close().await?;
    Ok(())
}
