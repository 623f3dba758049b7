//! A log to measure on, made for the measurement and removed after it, and services that run on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use bus::{EmbeddedLog, EmbeddedSettings, KafkaLog, KafkaSettings, Log, Topic, TopicPlan};
use runtime::RealClock;
use runtime::process::Parts;
use tokio::task::JoinHandle;

use super::super::scratch::Scratch;

/// The longest a service may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
static RIGS: AtomicU32 = AtomicU32::new(0);

/// A fresh log.
pub(super) struct Rig {
    pub(super) log: Arc<dyn Log>,
    /// The settings, where it is Kafka.
    pub(super) kafka: Option<KafkaSettings>,
    pub(super) scratch: Scratch,
    pub(super) partitions: i32,
}

impl Rig {
    /// On `brokers`, or embedded; every topic with so many partitions.
    ///
    /// # Errors
    /// When the log cannot be used.
    pub(super) async fn open(brokers: Option<&str>, partitions: i32) -> anyhow::Result<Self> {
        let number = RIGS.fetch_add(1, Ordering::Relaxed);
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
        let scratch = Scratch::new("bench")?;
        let (log, kafka): (Arc<dyn Log>, _) = match brokers {
            Some(brokers) => {
                let prefix = format!("bench-{}-{started}-{number}.", std::process::id());
                let settings = KafkaSettings::new(brokers, prefix);
                (Arc::new(KafkaLog::connect(settings.clone())?), Some(settings))
            }
            None => {
                let path = scratch.path().join("log.db");
                (Arc::new(EmbeddedLog::open(&path, EmbeddedSettings::default())?), None)
            }
        };
        let plan = Topic::ALL.map(|topic| TopicPlan::of(topic, partitions));
        log.topics(&plan, true).await.context("cannot make topics to measure on")?;
        Ok(Self { log, kafka, scratch, partitions })
    }

    /// What is measured on, for people.
    pub(super) fn name(&self) -> &'static str {
        if self.kafka.is_some() { "Kafka" } else { "the embedded log" }
    }

    /// Removes what was made.
    ///
    /// # Errors
    /// When brokers do not remove their topics.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        drop(self.log);
        if let Some(settings) = &self.kafka {
            bus::bench::remove_topics(settings).await.context("topics are left behind")?;
        }
        Ok(())
    }
}

/// Services of one process, with what they share.
pub(super) struct Services {
    pub(super) parts: Parts,
    running: Vec<JoinHandle<anyhow::Result<()>>>,
}

impl Services {
    pub(super) fn new() -> Self {
        let parts = Parts::alone(Arc::new(RealClock));
        let driver = parts.shutdown.clone();
        tokio::spawn(async move { driver.drive().await });
        Self { parts, running: Vec::new() }
    }

    pub(super) fn start(&mut self, service: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.running.push(tokio::spawn(service));
    }

    /// Waits until everything started is ready.
    ///
    /// # Errors
    /// When it is not in time, or a service ended.
    pub(super) async fn ready(&self) -> anyhow::Result<()> {
        self.check()?;
        tokio::time::timeout(READY_WITHIN, self.parts.health.ready()).await.ok().with_context(|| {
            format!("not ready within {READY_WITHIN:?}: {:?}", self.parts.health.report())
        })?;
        Ok(())
    }

    /// # Errors
    /// When a service has ended already.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.running.iter().any(JoinHandle::is_finished), "a service has ended by itself");
        Ok(())
    }

    /// Ends all, in order.
    ///
    /// # Errors
    /// What a service says that did not end well.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.parts.shutdown.begin("measured");
        for service in self.running {
            service.await.context("a service broke")??;
        }
        Ok(())
    }
}
