use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Statistics};
use tokio::sync::oneshot;

use super::KafkaLog;
use super::errors::{bus_error, refusal, unavailable};
use super::names::Names;
use super::statistics::KafkaStatistics;
use super::topics::Counts;
use crate::{BusError, Outgoing, Partition, Position, Publisher, RefusedRecord};

/// Between two tries where the client's queue is full, and two looks at whether it is empty.
const QUEUE_WAIT: Duration = Duration::from_millis(2);

pub(super) struct KafkaPublisher {
    producer: ThreadedProducer<Context>,
    names: Names,
    counts: Counts,
}

struct Context {
    names: Names,
    statistics: Option<super::StatisticsSink>,
}

/// A batch on its way.
struct Batch {
    results: Mutex<Vec<Outcome>>,
    /// Records without an outcome, and one more while the batch is being sent.
    left: AtomicUsize,
    done: Mutex<Option<oneshot::Sender<()>>>,
}

#[derive(Debug, Clone)]
enum Outcome {
    Unknown,
    Written(Position),
    Refused(&'static str),
    Failed(KafkaError),
}

/// Which record of which batch a delivery report is about.
struct Place {
    batch: Arc<Batch>,
    index: usize,
    outgoing: crate::Topic,
}

impl KafkaPublisher {
    pub(super) fn new(log: &KafkaLog) -> Result<Self, BusError> {
        let mut config = log.settings.producer();
        config.set("delivery.timeout.ms", log.settings.delivery_timeout.as_millis().to_string());
        let context = Context { names: log.names.clone(), statistics: log.settings.statistics.clone() };
        let producer = config.create_with_context(context).map_err(|e| bus_error("making a producer", &e))?;
        Ok(Self { producer, names: log.names.clone(), counts: log.counts.clone() })
    }

    async fn send(&self, batch: &Arc<Batch>, index: usize, outgoing: &Outgoing) {
        if let Some(reason) = self.counts.refusal(outgoing) {
            batch.settle(index, Outcome::Refused(reason));
            return;
        }
        let place = Place { batch: batch.clone(), index, outgoing: outgoing.topic };
        let mut place = Box::new(place);
        loop {
            match self.try_send(outgoing, place) {
                Ok(()) => return,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    place = back;
                    tokio::time::sleep(QUEUE_WAIT).await;
                }
                Err((error, place)) => return place.batch.settle(index, Outcome::of(error)),
            }
        }
    }

    fn try_send(&self, outgoing: &Outgoing, place: Box<Place>) -> Result<(), (KafkaError, Box<Place>)> {
        let sent = self.producer.send(self.names.outgoing(outgoing, place));
        sent.map_err(|(error, record)| (error, record.delivery_opaque))
    }
}

#[async_trait]
impl Publisher for KafkaPublisher {
    async fn publish(
        &self,
        records: Vec<Outgoing>,
    ) -> Result<Vec<Result<Position, RefusedRecord>>, BusError> {
        self.counts.learn(&self.names, &records).await?;
        let (done, finished) = oneshot::channel();
        let batch = Arc::new(Batch {
            results: Mutex::new(vec![Outcome::Unknown; records.len()]),
            left: AtomicUsize::new(records.len() + 1),
            done: Mutex::new(Some(done)),
        });
        for (index, outgoing) in records.iter().enumerate() {
            self.send(&batch, index, outgoing).await;
        }
        batch.count_down();
        // Bounded by the delivery timeout: the client settles every record by then.
        let doing = || format!("publishing {} records", records.len());
        finished.await.map_err(|_| unavailable(doing(), "the producer is closed"))?;
        let results = std::mem::take(&mut *batch.results.lock().unwrap_or_else(PoisonError::into_inner));
        results
            .into_iter()
            .enumerate()
            .map(|(index, outcome)| match outcome {
                Outcome::Written(position) => Ok(Ok(position)),
                Outcome::Refused(reason) => Ok(Err(RefusedRecord { index, reason })),
                Outcome::Failed(error) => Err(bus_error(doing(), &error)),
                Outcome::Unknown => Err(unavailable(doing(), "a record was not confirmed")),
            })
            .collect()
    }

    async fn flush(&self, within: Duration) -> Result<(), BusError> {
        let empty = async {
            while self.producer.in_flight_count() > 0 {
                tokio::time::sleep(QUEUE_WAIT).await;
            }
        };
        tokio::time::timeout(within, empty).await.map_err(|_| {
            unavailable("waiting for records on their way", format!("not done within {within:?}"))
        })
    }
}

impl Outcome {
    fn of(error: KafkaError) -> Self {
        refusal(&error).map_or_else(|| Self::Failed(error), Self::Refused)
    }
}

impl Batch {
    fn settle(&self, index: usize, outcome: Outcome) {
        if let Some(place) = self.results.lock().unwrap_or_else(PoisonError::into_inner).get_mut(index) {
            *place = outcome;
        }
        self.count_down();
    }

    fn count_down(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(done) = self.done.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            // The caller may have stopped waiting.
            let _ = done.send(());
        }
    }
}

impl ClientContext for Context {
    fn stats(&self, statistics: Statistics) {
        if let Some(sink) = &self.statistics {
            sink(KafkaStatistics::of(&statistics, &self.names));
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Place>;

    fn delivery(&self, result: &DeliveryResult<'_>, place: Box<Place>) {
        let outcome = match result {
            Ok(message) => {
                let partition = Partition { topic: place.outgoing, number: message.partition() };
                Outcome::Written(Position::new(partition, message.offset()))
            }
            Err((error, _)) => Outcome::of(error.clone()),
        };
        place.batch.settle(place.index, outcome);
    }
}
