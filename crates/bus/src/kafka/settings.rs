use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;

use super::statistics::KafkaStatistics;

/// Called with a client's figures now and then; must return quickly.
pub type StatisticsSink = Arc<dyn Fn(KafkaStatistics) + Send + Sync>;

/// Where the brokers are, and how to speak with them.
#[derive(Clone)]
pub struct KafkaSettings {
    /// Addresses to begin with, `host:port`, separated by commas.
    pub brokers: String,
    /// Put before the names of topics, groups and transactions, so that several installations can share
    /// brokers, for example `prod.`; may be empty.
    pub prefix: String,
    /// Names this process to the brokers.
    pub client_id: String,
    /// Encryption and identity.
    pub security: KafkaSecurity,
    /// How long a member's place is kept while nothing is heard of it. A member that comes back within
    /// this time causes no rebalance; one that never comes back delays its partitions by it.
    pub session_timeout: Duration,
    /// How long a publish may take before it counts as failed.
    pub delivery_timeout: Duration,
    /// Where clients' figures go.
    pub statistics: Option<StatisticsSink>,
}

/// Encryption and identity towards the brokers. Needs the crate feature `tls`.
#[derive(Clone, Default)]
pub enum KafkaSecurity {
    /// None.
    #[default]
    Plain,
    /// TLS.
    Tls(KafkaTls),
    /// TLS, and a user with a password.
    TlsPassword {
        /// The TLS part.
        tls: KafkaTls,
        /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
        mechanism: String,
        /// The user.
        user: String,
        /// Its password; never printed.
        password: String,
    },
}

/// Files with PEM texts.
#[derive(Debug, Clone, Default)]
pub struct KafkaTls {
    /// Whom to trust; `None`: whom the system trusts.
    pub authorities: Option<PathBuf>,
    /// Our certificate, for mutual TLS.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

/// Statistics arrive that often, in milliseconds.
const STATISTICS_INTERVAL_MS: &str = "10000";

impl KafkaSettings {
    /// Settings for brokers without encryption, everything else as usual.
    pub fn new(brokers: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            prefix: prefix.into(),
            client_id: "redress".to_owned(),
            security: KafkaSecurity::Plain,
            session_timeout: Duration::from_secs(15),
            delivery_timeout: Duration::from_secs(30),
            statistics: None,
        }
    }

    /// What every client has in common.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", &self.client_id)
            .set("socket.keepalive.enable", "true")
            .set("enable.metrics.push", "false");
        if self.statistics.is_some() {
            config.set("statistics.interval.ms", STATISTICS_INTERVAL_MS);
        }
        match &self.security {
            KafkaSecurity::Plain => {}
            KafkaSecurity::Tls(tls) => {
                config.set("security.protocol", "ssl");
                tls.apply(&mut config);
            }
            KafkaSecurity::TlsPassword { tls, mechanism, user, password } => {
                config
                    .set("security.protocol", "sasl_ssl")
                    .set("sasl.mechanism", mechanism)
                    .set("sasl.username", user)
                    .set("sasl.password", password);
                tls.apply(&mut config);
            }
        }
        config
    }

    /// A consumer that reads committed records only and is told where to begin.
    pub(crate) fn consumer(&self) -> ClientConfig {
        let mut config = self.client();
        config
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("allow.auto.create.topics", "false")
            .set("queued.min.messages", "20000")
            .set("queued.max.messages.kbytes", "16384")
            .set("fetch.queue.backoff.ms", "5");
        config
    }

    /// A member of a group.
    pub(crate) fn member(&self, group: &str, member: &str) -> ClientConfig {
        let mut config = self.consumer();
        let session_ms = self.session_timeout.as_millis();
        config
            .set("group.id", format!("{}{group}", self.prefix))
            .set("group.instance.id", member)
            .set("session.timeout.ms", session_ms.to_string())
            .set("heartbeat.interval.ms", (session_ms / 5).clamp(100, 3_000).to_string())
            .set("max.poll.interval.ms", self.session_timeout.as_millis().max(300_000).to_string())
            // Fewer, fuller fetches cost a third of the work at moderate rates, for up to 25 ms of delay.
            .set("fetch.min.bytes", "65536")
            .set("fetch.wait.max.ms", "25");
        config
    }

    /// A producer whose records arrive once and in order.
    pub(crate) fn producer(&self) -> ClientConfig {
        let mut config = self.client();
        config
            .set("enable.idempotence", "true")
            .set("compression.type", "lz4")
            // Java's default partitioner for keys; ours are never null.
            .set("partitioner", "murmur2")
            .set("message.max.bytes", MESSAGE_BYTES_MAX)
            .set("queue.buffering.max.messages", "100000")
            .set("queue.buffering.max.kbytes", "65536")
            .set("linger.ms", "5");
        config
    }

    /// A producer whose records become visible together, under a name that only one may have at a time.
    pub(crate) fn transactional(&self, name: &str) -> ClientConfig {
        let mut config = self.producer();
        config
            .set("transactional.id", format!("{}{name}", self.prefix))
            // Fuller requests: with five on their way to a partition the client's thread spins until one is
            // answered.
            .set("linger.ms", TRANSACTION_LINGER_MS);
        config
    }
}

/// How long a transaction's records wait for more. At its end nothing waits.
const TRANSACTION_LINGER_MS: &str = "20";

/// A record of `RECORD_BYTES_MAX` with its frame, and still below what brokers take by default (1,048,588).
const MESSAGE_BYTES_MAX: &str = "1040000";

impl KafkaTls {
    fn apply(&self, config: &mut ClientConfig) {
        let files = [
            ("ssl.ca.location", &self.authorities),
            ("ssl.certificate.location", &self.certificate),
            ("ssl.key.location", &self.key),
        ];
        for (name, path) in files {
            if let Some(path) = path {
                config.set(name, path.to_string_lossy());
            }
        }
    }
}

impl fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSettings")
            .field("brokers", &self.brokers)
            .field("prefix", &self.prefix)
            .field("client_id", &self.client_id)
            .field("security", &self.security)
            .field("session_timeout", &self.session_timeout)
            .field("delivery_timeout", &self.delivery_timeout)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for KafkaSecurity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("Plain"),
            Self::Tls(tls) => f.debug_tuple("Tls").field(tls).finish(),
            Self::TlsPassword { tls, mechanism, user, .. } => f
                .debug_struct("TlsPassword")
                .field("tls", tls)
                .field("mechanism", mechanism)
                .field("user", user)
                .field("password", &"***")
                .finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LogConfig, Password, SecurityConfig};

    fn config(security: SecurityConfig) -> LogConfig {
        let kafka = Some("broker:9093".to_owned());
        LogConfig { kafka, prefix: "prod.".to_owned(), security: Some(security), ..LogConfig::default() }
    }

    fn with_password() -> SecurityConfig {
        SecurityConfig {
            ca: Some("ca.pem".into()),
            mechanism: "SCRAM-SHA-512".to_owned(),
            user: "redress".to_owned(),
            password: Password::new("hunter2"),
            ..SecurityConfig::default()
        }
    }

    #[test]
    fn every_client_is_told_of_encryption_and_identity() {
        let config = config(with_password());
        config.check().unwrap();
        let settings = config.kafka_settings("redress-test");
        for client in [settings.client(), settings.consumer(), settings.member("g", "m"), settings.producer()]
        {
            for (name, value) in [
                ("bootstrap.servers", "broker:9093"),
                ("client.id", "redress-test"),
                ("security.protocol", "sasl_ssl"),
                ("ssl.ca.location", "ca.pem"),
                ("sasl.mechanism", "SCRAM-SHA-512"),
                ("sasl.username", "redress"),
                ("sasl.password", "hunter2"),
            ] {
                assert_eq!(client.get(name), Some(value), "{name}");
            }
        }
    }

    #[test]
    fn certificates_alone_are_an_identity_too() {
        let security = SecurityConfig {
            cert: Some("us.pem".into()),
            key: Some("us.key".into()),
            ..SecurityConfig::default()
        };
        let client = config(security).kafka_settings("redress-test").client();
        assert_eq!(client.get("security.protocol"), Some("ssl"));
        assert_eq!(client.get("ssl.certificate.location"), Some("us.pem"));
        assert_eq!(client.get("ssl.key.location"), Some("us.key"));
        assert_eq!(client.get("sasl.mechanism"), None);
    }

    #[test]
    fn half_an_identity_is_refused_and_a_password_is_never_printed() {
        let right = with_password();
        for (security, problem) in [
            (SecurityConfig { password: Password::default(), ..right.clone() }, "go together"),
            (SecurityConfig { user: String::new(), ..right.clone() }, "go together"),
            (SecurityConfig { mechanism: "GSSAPI".to_owned(), ..right.clone() }, "needs one of PLAIN"),
            (SecurityConfig { cert: Some("us.pem".into()), ..right.clone() }, "go together"),
        ] {
            let error = config(security).check().unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
        let embedded = LogConfig { kafka: None, embedded: Some("log.db".into()), ..config(right.clone()) };
        assert!(embedded.check().unwrap_err().to_string().contains("Kafka alone"));
        let printed = format!("{right:?}") + &serde_json::to_string(&right).unwrap();
        assert!(printed.contains("***") && !printed.contains("hunter2"), "{printed}");
    }

    #[test]
    fn the_password_is_never_printed() {
        let mut settings = KafkaSettings::new("broker:9092", "");
        settings.security = KafkaSecurity::TlsPassword {
            tls: KafkaTls::default(),
            mechanism: "PLAIN".to_owned(),
            user: "me".to_owned(),
            password: "hunter2".to_owned(),
        };
        let printed = format!("{settings:?}");
        assert!(printed.contains("***") && !printed.contains("hunter2"), "{printed}");
    }
}
