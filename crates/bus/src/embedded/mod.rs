//! The log in one SQLite file, for running everything in one process: no server, the same promises.
//!
//! One thread writes; a commit is one SQLite transaction, so outputs and progress become durable together.
//! Groups live in memory, because all their members live in this process: a lock file keeps a second
//! process out. Records survive the death of the process; the loss of power may take the last ones, as a
//! whole commit each (`synchronous=NORMAL`).

mod codec;
mod core;
mod draft;
mod groups;
mod maintain;
mod member;
mod reader;
mod state;
mod tables;
mod topics;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::Timestamp;
use tokio::sync::oneshot;

use self::core::{Core, locked};
pub use self::maintain::Maintained;
use self::member::{GroupMember, Progress};
use self::reader::LogReader;
use self::writer::{Command, Write};
use crate::{
    BusError, Consumer, ConsumerSettings, Log, Outgoing, Partition, Position, Publisher, Reader,
    RefusedRecord, Step, StepSettings, TopicPlan, TopicReport,
};

/// How an embedded log behaves.
#[derive(Debug, Clone, Copy)]
pub struct EmbeddedSettings {
    /// A partition of a compacted topic is compacted once it has that many new records.
    pub compact_after_records: i64,
}

impl Default for EmbeddedSettings {
    fn default() -> Self {
        Self { compact_after_records: 10_000 }
    }
}

/// How far a group has come in a partition it reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPosition {
    /// The group.
    pub group: String,
    /// What it reads.
    pub partition: Partition,
    /// The offset it reads on from, as the log knows it: for a group whose progress is kept elsewhere, the first
    /// that is still there.
    pub next: i64,
    /// One after the last record.
    pub end: i64,
}

/// The log in one SQLite file. It closes when the last of its handles is gone.
pub struct EmbeddedLog {
    core: Arc<Core>,
}

impl EmbeddedLog {
    /// Opens the log, or makes it.
    ///
    /// # Errors
    /// When the file cannot be used, is of another version, or is open in another process.
    pub fn open(path: &Path, settings: EmbeddedSettings) -> Result<Self, BusError> {
        Ok(Self { core: Arc::new(Core::open(Some(path), settings)?) })
    }

    /// Looks at the log in the file `path` as it is now, without a lock and without a change to it: it may
    /// be open in another process. What is written later is not seen.
    ///
    /// # Errors
    /// When the file is not there, cannot be read, or is of another version.
    pub fn look(path: &Path) -> Result<Arc<dyn Reader>, BusError> {
        Ok(Arc::new(LogReader { core: Arc::new(Core::open_for_reading(path)?) }))
    }

    /// A log that is gone when its last handle is.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn in_memory() -> Result<Self, BusError> {
        Self::in_memory_with(EmbeddedSettings::default())
    }

    /// As [`EmbeddedLog::in_memory`], with settings.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn in_memory_with(settings: EmbeddedSettings) -> Result<Self, BusError> {
        Ok(Self { core: Arc::new(Core::open(None, settings)?) })
    }

    /// Lets records go that are too old at `now`, and compacts what has grown. The log never does so by
    /// itself, because only its owner knows which clock its records follow; call it every minute or so.
    ///
    /// # Errors
    /// When SQLite fails; what was done until then stays.
    pub async fn maintain(&self, now: Timestamp) -> Result<Maintained, BusError> {
        self.core.ask(|reply| Command::Maintain { now, reply }).await
    }

    /// Where every group stands now in every partition that one of its members reads.
    pub fn positions(&self) -> Vec<GroupPosition> {
        let state = locked(&self.core.shared.state);
        let position = |(group, partition): (&str, Partition)| GroupPosition {
            group: group.to_owned(),
            partition,
            next: state.resume_at(group, partition),
            end: state.partition(partition).map_or(0, |p| p.high),
        };
        state.groups.read().map(position).collect()
    }

    async fn join(
        &self,
        group: String,
        member: String,
        topics: Vec<crate::Topic>,
    ) -> Result<groups::Seat, BusError> {
        self.core.ask(|reply| Command::Join { group, member, topics, reply }).await
    }
}

#[async_trait]
impl Log for EmbeddedLog {
    async fn topics(&self, plan: &[TopicPlan], apply: bool) -> Result<Vec<TopicReport>, BusError> {
        let plan = plan.to_vec();
        self.core.ask(|reply| Command::Topics { plan, apply, reply }).await
    }

    fn publisher(&self) -> Result<Arc<dyn Publisher>, BusError> {
        Ok(Arc::new(LogPublisher { core: self.core.clone() }))
    }

    async fn step(&self, settings: StepSettings) -> Result<Arc<dyn Step>, BusError> {
        let seat = self.join(settings.group, settings.member, settings.topics).await?;
        Ok(Arc::new(GroupMember::new(self.core.clone(), seat, Progress::InTheLog)))
    }

    async fn consumer(&self, settings: ConsumerSettings) -> Result<Arc<dyn Consumer>, BusError> {
        let seat = self.join(settings.group, settings.member, settings.topics).await?;
        Ok(Arc::new(GroupMember::new(self.core.clone(), seat, Progress::Elsewhere)))
    }

    fn reader(&self) -> Result<Arc<dyn Reader>, BusError> {
        Ok(Arc::new(LogReader { core: self.core.clone() }))
    }

    async fn ping(&self) -> Result<(), BusError> {
        self.core.ask(|reply| Command::Barrier { reply }).await
    }
}

struct LogPublisher {
    core: Arc<Core>,
}

#[async_trait]
impl Publisher for LogPublisher {
    async fn publish(&self, batch: Vec<Outgoing>) -> Result<Vec<Result<Position, RefusedRecord>>, BusError> {
        let permit = self.core.room().await?;
        let (reply, answer) = oneshot::channel();
        self.core.send(Command::Write(Write::Publish { batch, reply, _permit: permit }))?;
        answer.await.unwrap_or_else(|_| {
            Err(BusError::Failed { doing: "publishing".to_owned(), cause: "the log is closed".to_owned() })
        })
    }

    async fn flush(&self, within: Duration) -> Result<(), BusError> {
        let done = self.core.ask(|reply| Command::Barrier { reply });
        tokio::time::timeout(within, done).await.unwrap_or_else(|_| {
            Err(BusError::Unavailable {
                doing: "waiting for records on their way".to_owned(),
                cause: format!("not done within {within:?}"),
            })
        })
    }
}
