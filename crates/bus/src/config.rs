use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use crate::{
    BusError, EmbeddedLog, EmbeddedSettings, KafkaLog, KafkaSecurity, KafkaSettings, KafkaTls, Log, Topic,
    TopicPlan, kafka,
};

/// How a user may show a password to the brokers.
const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

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
    /// Encryption and identity towards the brokers; absent: plain text. Needs the crate feature `tls`.
    pub security: Option<SecurityConfig>,
}

/// Encryption and identity towards the brokers, under `[bus.security]`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SecurityConfig {
    /// Who signs the brokers' certificates (PEM); absent: whom the system trusts.
    pub ca: Option<PathBuf>,
    /// Our certificate (PEM), where the brokers ask for one.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// How the user shows the password: `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: String,
    /// The user; empty: certificates are enough.
    pub user: String,
    /// The user's password.
    pub password: Password,
}

/// A password that is never printed.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// Hides a password.
    pub fn new(password: impl Into<String>) -> Self {
        Self(password.into())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Password {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

impl SecurityConfig {
    /// What is wrong with it, if anything.
    fn problem(&self) -> Option<String> {
        let needs_password = !self.user.is_empty();
        match () {
            () if self.cert.is_some() != self.key.is_some() => {
                Some("'security.cert' and 'security.key' go together".to_owned())
            }
            () if needs_password == self.password.0.is_empty() => {
                Some("'security.user' and 'security.password' go together".to_owned())
            }
            () if needs_password && !MECHANISMS.contains(&self.mechanism.as_str()) => {
                Some(format!("'security.mechanism' needs one of {}", MECHANISMS.join(", ")))
            }
            () if !needs_password && !self.mechanism.is_empty() => {
                Some("'security.mechanism' needs a user".to_owned())
            }
            () => None,
        }
    }

    fn security(&self) -> KafkaSecurity {
        let tls =
            KafkaTls { authorities: self.ca.clone(), certificate: self.cert.clone(), key: self.key.clone() };
        if self.user.is_empty() {
            return KafkaSecurity::Tls(tls);
        }
        KafkaSecurity::TlsPassword {
            tls,
            mechanism: self.mechanism.clone(),
            user: self.user.clone(),
            password: self.password.0.clone(),
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            kafka: None,
            embedded: None,
            prefix: String::new(),
            partitions: 12,
            replication: 1,
            security: None,
        }
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
        if let Some(security) = &self.security {
            if self.kafka.is_none() {
                return wrong("'security' is for Kafka alone");
            }
            if let Some(problem) = security.problem() {
                return wrong(&problem);
            }
        }
        if !(1..=1_000).contains(&self.partitions) {
            return wrong("'partitions' needs 1 to 1000");
        }
        if !(1..=10).contains(&self.replication) {
            return wrong("'replication' needs 1 to 10");
        }
        Ok(())
    }

    /// Opens the log for the process `client_id`; what Kafka's clients tell of themselves is recorded as metrics
    /// (`redress_kafka_*`).
    ///
    /// # Errors
    /// When the settings are no good or the embedded file cannot be used. Brokers that are away are no error
    /// here: they show in [`Log::ping`].
    pub fn open(&self, client_id: &str) -> Result<Arc<dyn Log>, BusError> {
        self.check()?;
        if let Some(path) = &self.embedded {
            return Ok(Arc::new(EmbeddedLog::open(path, EmbeddedSettings::default())?));
        }
        let statistics = Some(kafka::recorded());
        let settings = KafkaSettings { statistics, ..self.kafka_settings(client_id) };
        Ok(Arc::new(KafkaLog::connect(settings)?))
    }

    /// What Kafka's clients are told.
    pub(crate) fn kafka_settings(&self, client_id: &str) -> KafkaSettings {
        let brokers = self.kafka.clone().unwrap_or_default();
        KafkaSettings {
            client_id: client_id.to_owned(),
            security: self.security.as_ref().map(SecurityConfig::security).unwrap_or_default(),
            ..KafkaSettings::new(brokers, &*self.prefix)
        }
    }

    /// How every topic is to be created.
    pub fn plan(&self) -> Vec<TopicPlan> {
        Topic::ALL
            .into_iter()
            .map(|topic| TopicPlan { replication: self.replication, ..TopicPlan::of(topic, self.partitions) })
            .collect()
    }
}
