use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    BusError, EmbeddedLog, EmbeddedSettings, KafkaLog, KafkaSettings, Log, StatisticsSink, Topic, TopicPlan,
};

/// Which log a process uses, and how its topics are made: the section `[bus]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Kafka's addresses to begin with, `host:port`, separated by commas.
    pub kafka: Option<String>,
    /// The file of the embedded log, instead of Kafka; one process at a time can use it.
    pub embedded: Option<PathBuf>,
    /// Put before the names of topics, groups and transactions, so that installations can share brokers.
    pub prefix: String,
    /// Partitions of every topic, chosen once: another number would move keys.
    pub partitions: i32,
    /// Copies the brokers keep.
    pub replication: i32,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { kafka: None, embedded: None, prefix: String::new(), partitions: 12, replication: 1 }
    }
}

impl LogConfig {
    /// Checks what no single setting can check alone.
    ///
    /// # Errors
    /// What is wrong, with the setting's name.
    pub fn check(&self) -> Result<(), BusError> {
        let wrong = |cause: &str| {
            Err(BusError::Failed { doing: "cannot use the settings under [bus]".into(), cause: cause.into() })
        };
        match (&self.kafka, &self.embedded) {
            (None, None) => return wrong("one of 'kafka' and 'embedded' is needed"),
            (Some(_), Some(_)) => return wrong("'kafka' and 'embedded' exclude each other"),
            _ => {}
        }
        if !(1..=1_000).contains(&self.partitions) {
            return wrong("'partitions' needs 1 to 1000");
        }
        if !(1..=10).contains(&self.replication) {
            return wrong("'replication' needs 1 to 10");
        }
        Ok(())
    }

    /// Opens the log for the process `client_id`.
    ///
    /// # Errors
    /// When the settings are no good or the embedded file cannot be used. Brokers that are away are no error
    /// here: they show in [`Log::ping`].
    pub fn open(&self, client_id: &str) -> Result<Arc<dyn Log>, BusError> {
        self.open_measured(client_id, None)
    }

    /// As [`LogConfig::open`]; Kafka's clients tell `statistics` of themselves now and then.
    ///
    /// # Errors
    /// As [`LogConfig::open`].
    pub fn open_measured(
        &self,
        client_id: &str,
        statistics: Option<StatisticsSink>,
    ) -> Result<Arc<dyn Log>, BusError> {
        self.check()?;
        if let Some(path) = &self.embedded {
            return Ok(Arc::new(EmbeddedLog::open(path, EmbeddedSettings::default())?));
        }
        let brokers = self.kafka.clone().unwrap_or_default();
        let settings = KafkaSettings {
            client_id: client_id.to_owned(),
            statistics,
            ..KafkaSettings::new(brokers, &*self.prefix)
        };
        Ok(Arc::new(KafkaLog::connect(settings)?))
    }

    /// How every topic is to be created.
    pub fn plan(&self) -> Vec<TopicPlan> {
        Topic::ALL
            .into_iter()
            .map(|topic| TopicPlan {
                topic,
                partitions: self.partitions,
                replication: self.replication,
                cleanup: topic.cleanup(),
                retention_ms: topic.retention_ms(),
            })
            .collect()
    }
}
