use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::consumer::Consumer as _;

use super::KafkaLog;
use super::errors::{bus_error, failed, unavailable};
use super::member::{Client, Joined, Member, Progress};
use super::names::Names;
use super::step::LEAVE_WITHIN;
use crate::{BusError, Consumer, ConsumerSettings, Partition, Polled};

/// How long asking for watermarks may take.
const ASK_WITHIN: Duration = Duration::from_secs(10);

pub(super) struct KafkaConsumer {
    member: Arc<Member>,
    names: Names,
    polling: tokio::sync::Mutex<()>,
    client: Mutex<Option<Arc<Client>>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl KafkaConsumer {
    /// Joins the group. Blocks.
    pub(super) fn start(log: &KafkaLog, settings: &ConsumerSettings) -> Result<Self, BusError> {
        let described = format!("consumer '{}' of group '{}'", settings.member, settings.group);
        log.counts.require(&log.names, &settings.topics)?;
        let mut config = log.settings.member(&settings.group, &settings.member);
        config.set("partition.assignment.strategy", "cooperative-sticky");
        let Joined { member, client, thread } = Member::join(
            &log.settings,
            &log.names,
            &config,
            &settings.topics,
            Progress::Elsewhere,
            described,
        )?;
        Ok(Self {
            member,
            names: log.names.clone(),
            polling: tokio::sync::Mutex::default(),
            client: Mutex::new(Some(client)),
            thread: Mutex::new(Some(thread)),
        })
    }

    fn client(&self) -> Option<Arc<Client>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Consumer for KafkaConsumer {
    async fn poll(&self, records_max: usize, wait: Duration) -> Result<Polled, BusError> {
        let _turn = self.polling.lock().await;
        self.member.poll(records_max, wait).await
    }

    async fn seek(&self, partition: Partition, offset: i64) -> Result<(), BusError> {
        let doing = || format!("seeking in partition {} of {}", partition.number, partition.topic);
        let Some(client) = self.client().filter(|_| self.member.owns(partition)) else {
            return Err(failed(doing(), "it is not ours"));
        };
        let name = self.names.name(partition.topic).to_owned();
        let asked =
            tokio::task::spawn_blocking(move || client.fetch_watermarks(&name, partition.number, ASK_WITHIN));
        let marks = asked.await.map_err(|e| failed(doing(), e.to_string()))?;
        let (low, high) = marks.map_err(|e| bus_error(doing(), &e))?;
        // Beyond the end the client would begin anew at the beginning.
        self.member.seek(partition, offset.clamp(low, high.max(low)));
        Ok(())
    }

    async fn close(&self) -> Result<(), BusError> {
        self.member.close();
        let client = self.client.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let left = tokio::task::spawn_blocking(move || {
            drop(client);
            thread.is_none_or(|thread| thread.join().is_ok())
        });
        match tokio::time::timeout(LEAVE_WITHIN, left).await {
            Ok(Ok(true)) => Ok(()),
            Ok(_) => Err(failed("leaving the group", "its thread panicked")),
            Err(_) => Err(unavailable("leaving the group", format!("not done within {LEAVE_WITHIN:?}"))),
        }
    }
}

impl Drop for KafkaConsumer {
    fn drop(&mut self) {
        self.member.abandon();
        let client = self.client.lock().unwrap_or_else(PoisonError::into_inner).take();
        if client.is_some() {
            let ended = std::thread::Builder::new().name("kafka-end".to_owned()).spawn(move || drop(client));
            if let Err(error) = ended {
                tracing::warn!(%error, "the client of a consumer ends on the thread that dropped it");
            }
        }
    }
}
