//! One transaction after the other, each made and ended here.

use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::TopicPartitionList;
use rdkafka::bindings::rd_kafka_flush;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{Producer, ProducerContext, ThreadedProducer};
use rdkafka::util::Timeout;

use super::KafkaSettings;
use super::names::Names;
use super::statistics::KafkaStatistics;
use crate::Outgoing;

/// Between two looks at a queue that is full, or not empty yet.
const DRAIN_STEP: Duration = Duration::from_micros(300);
/// The longest one flush takes before the next begins, in milliseconds.
const FLUSH_MS: i32 = 100;
/// Before a call is repeated that the client says may be repeated.
const RETRY_AFTER: Duration = Duration::from_millis(20);
/// Calls repeated at most that often.
const RETRIES_MAX: u32 = 500;
/// How long beginning may take: the transaction of a dead predecessor has to time out first.
const BEGIN_WITHIN: Duration = Duration::from_secs(60);

/// A producer whose records become visible together.
pub(super) struct Transactions {
    producer: ThreadedProducer<Context>,
    names: Names,
}

/// Why a transaction did not come to its end.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing of it is visible; the next may begin.
    Aborted(String),
    /// This producer is done for good: another took its name, or the client is broken.
    Fatal(String),
}

struct Context {
    settings: KafkaSettings,
    names: Names,
}

impl ClientContext for Context {
    fn stats(&self, statistics: rdkafka::Statistics) {
        if let Some(sink) = &self.settings.statistics {
            sink(KafkaStatistics::of(&statistics, &self.names));
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = ();
    /// A failed delivery fails the commit; a good one means nothing before it.
    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

impl Transactions {
    /// Takes the name, fencing whoever had it. Blocks.
    pub(super) fn begin_as(
        settings: &KafkaSettings,
        names: &Names,
        name: &str,
        transaction_timeout: Duration,
    ) -> KafkaResult<Self> {
        let mut config = settings.transactional(name);
        config.set("transaction.timeout.ms", transaction_timeout.as_millis().to_string());
        let context = Context { settings: settings.clone(), names: names.clone() };
        let producer: ThreadedProducer<Context> = config.create_with_context(context)?;
        let deadline = Instant::now() + BEGIN_WITHIN;
        loop {
            match producer.init_transactions(deadline.saturating_duration_since(Instant::now())) {
                Err(KafkaError::Transaction(e)) if e.is_retriable() && Instant::now() < deadline => {
                    std::thread::sleep(RETRY_AFTER);
                }
                done => return done.map(|()| Self { producer, names: names.clone() }),
            }
        }
    }

    /// Writes `outputs` and `offsets` in one transaction. Blocks until it is decided.
    pub(super) fn run(
        &self,
        outputs: &[Outgoing],
        offsets: &TopicPartitionList,
        member: &ConsumerGroupMetadata,
    ) -> Result<(), Failure> {
        self.repeated(|| self.producer.begin_transaction()).map_err(|e| self.give_up(&e))?;
        for outgoing in outputs {
            self.send(outgoing).map_err(|e| self.give_up(&e))?;
        }
        self.end(offsets, member)
    }

    /// Adds one record to the open transaction, waiting where the queue is full.
    fn send(&self, outgoing: &Outgoing) -> KafkaResult<()> {
        let mut record = self.names.outgoing(outgoing, ());
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    std::thread::sleep(DRAIN_STEP);
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    /// Empties the queue, adds the progress and commits.
    fn end(&self, offsets: &TopicPartitionList, member: &ConsumerGroupMetadata) -> Result<(), Failure> {
        let undrained = drain(&self.producer);
        debug_assert_eq!(undrained, 0, "nobody else sends");
        if offsets.count() > 0 {
            // The same arguments each time: only then may it be repeated.
            self.repeated(|| self.producer.send_offsets_to_transaction(offsets, member, Timeout::Never))
                .map_err(|e| self.give_up(&e))?;
        }
        self.repeated(|| self.producer.commit_transaction(Timeout::Never)).map_err(|e| self.give_up(&e))
    }

    /// Aborts what is open, if anything can still be done.
    fn give_up(&self, error: &KafkaError) -> Failure {
        if let KafkaError::Transaction(inner) = error
            && inner.is_fatal()
        {
            return Failure::Fatal(error.to_string());
        }
        match self.repeated(|| self.producer.abort_transaction(Timeout::Never)) {
            Ok(()) => Failure::Aborted(error.to_string()),
            Err(abort) => Failure::Fatal(format!("{error}; then, aborting: {abort}")),
        }
    }

    fn repeated(&self, call: impl Fn() -> KafkaResult<()>) -> KafkaResult<()> {
        for _ in 0..RETRIES_MAX {
            match call() {
                Err(KafkaError::Transaction(e)) if e.is_retriable() => std::thread::sleep(RETRY_AFTER),
                done => return done,
            }
        }
        call()
    }
}

/// Sends what lingers and waits until everything is delivered; gives what still is not, which is none.
/// `commit_transaction` would wait too, but looks only each 100 ms while something is on its way: every commit
/// would cost that.
pub(crate) fn drain<C: ProducerContext + 'static>(producer: &ThreadedProducer<C>) -> i32 {
    while producer.in_flight_count() > 0 {
        // The wrapper's `flush` gives the client no time, and its threads send at once only while a flush goes on.
        #[expect(unsafe_code, reason = "the wrapper does not pass a time on")]
        // SAFETY: the pointer is that of the living client that `producer` holds, and the call only uses it.
        let _ = unsafe { rd_kafka_flush(producer.client().native_ptr(), FLUSH_MS) };
        if producer.in_flight_count() > 0 {
            std::thread::sleep(DRAIN_STEP);
        }
    }
    producer.in_flight_count()
}
