//! The log on Kafka, through librdkafka.
//!
//! Each member of a group polls on a thread of its own; transactions run one after the other on blocking
//! threads. Places in a group are static (`group.instance.id` is the member's name): a member that dies
//! and comes back within the session timeout takes its place again at once, one that closes gives it up.
//! Times are kept to the millisecond.

mod consumer;
pub(crate) mod errors;
mod member;
mod metrics;
pub(crate) mod names;
mod publisher;
mod reader;
mod settings;
mod statistics;
mod step;
mod topics;
pub(crate) mod transaction;

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rdkafka::consumer::Consumer as _;

use self::consumer::KafkaConsumer;
use self::errors::{bus_error, failed};
pub(crate) use self::metrics::recorded;
use self::names::Names;
use self::publisher::KafkaPublisher;
use self::reader::KafkaReader;
pub use self::settings::{KafkaSecurity, KafkaSettings, KafkaTls, StatisticsSink};
pub use self::statistics::KafkaStatistics;
use self::step::KafkaStep;
use self::topics::{ASK_WITHIN, Counts, apply_plan};
use crate::{
    BusError, Consumer, ConsumerSettings, Log, Publisher, Reader, Step, StepSettings, TopicPlan, TopicReport,
};

/// The log on Kafka.
#[derive(Clone)]
pub struct KafkaLog {
    settings: KafkaSettings,
    names: Names,
    counts: Counts,
    /// One producer serves all publishers.
    publisher: Arc<Mutex<Option<Arc<KafkaPublisher>>>>,
}

impl KafkaLog {
    /// Makes the clients; they connect when first used, so brokers may come later.
    ///
    /// # Errors
    /// When settings are refused, for example TLS without the crate feature `tls`.
    pub fn connect(settings: KafkaSettings) -> Result<Self, BusError> {
        if !cfg!(feature = "tls") && !matches!(settings.security, KafkaSecurity::Plain) {
            return Err(failed(
                format!("connecting to {}", settings.brokers),
                "this program was built without TLS for Kafka (crate feature 'tls')",
            ));
        }
        let counts = Counts::new(&settings)?;
        let names = Names::new(&settings.prefix);
        Ok(Self { settings, names, counts, publisher: Arc::default() })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(Self) -> Result<T, BusError> + Send + 'static,
    ) -> Result<T, BusError> {
        let log = self.clone();
        let done = tokio::task::spawn_blocking(move || work(log));
        done.await.map_err(|e| failed(doing, e.to_string()))?
    }
}

#[async_trait]
impl Log for KafkaLog {
    async fn topics(&self, plan: &[TopicPlan], apply: bool) -> Result<Vec<TopicReport>, BusError> {
        apply_plan(&self.settings, &self.names, &self.counts, plan, apply).await
    }

    fn publisher(&self) -> Result<Arc<dyn Publisher>, BusError> {
        let mut shared = self.publisher.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(publisher) = &*shared {
            return Ok(publisher.clone());
        }
        let publisher = Arc::new(KafkaPublisher::new(self)?);
        *shared = Some(publisher.clone());
        Ok(publisher)
    }

    async fn step(&self, settings: StepSettings) -> Result<Arc<dyn Step>, BusError> {
        let step = self.blocking("joining a group", move |log| KafkaStep::start(&log, &settings)).await?;
        Ok(Arc::new(step))
    }

    async fn consumer(&self, settings: ConsumerSettings) -> Result<Arc<dyn Consumer>, BusError> {
        let consumer =
            self.blocking("joining a group", move |log| KafkaConsumer::start(&log, &settings)).await?;
        Ok(Arc::new(consumer))
    }

    fn reader(&self) -> Result<Arc<dyn Reader>, BusError> {
        Ok(Arc::new(KafkaReader::new(self)))
    }

    async fn ping(&self) -> Result<(), BusError> {
        let ask = |log: Self| {
            let client = log.counts.client();
            let doing = || format!("asking {}", log.settings.brokers);
            client
                .fetch_metadata(Some(log.names.name(crate::Topic::Mentions)), ASK_WITHIN)
                .map_err(|e| bus_error(doing(), &e))?;
            Ok(())
        };
        self.blocking("asking the brokers", ask).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_broker_that_is_away_may_come_back() {
        // Nothing listens on port 1.
        let log = KafkaLog::connect(KafkaSettings::new("127.0.0.1:1", "")).unwrap();
        let error = log.ping().await.unwrap_err();
        assert!(matches!(error, BusError::Unavailable { .. }), "{error}");
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn encryption_that_was_not_built_in_is_refused() {
        let mut settings = KafkaSettings::new("127.0.0.1:1", "");
        settings.security = KafkaSecurity::Tls(KafkaTls::default());
        let error = KafkaLog::connect(settings).err().unwrap();
        assert!(error.to_string().contains("built without TLS"), "{error}");
    }
}
