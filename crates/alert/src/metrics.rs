use bus::KafkaStatistics;
use model::Timestamp;
use opentelemetry::metrics::{Counter, Gauge};
use opentelemetry::{KeyValue, global};
use paging::Attempt;
use store::outbox::Backlog;

use crate::deliver::label_of;
use crate::store::SERVICE;

/// What alert counts beside its accounts.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    attempts: Counter<u64>,
    outbox_pending: Gauge<u64>,
    outbox_oldest: Gauge<f64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let meter = global::meter("redress");
        Self {
            attempts: meter
                .u64_counter("redress_alert_attempts")
                .with_description("Attempts to deliver a notice, by destination and how they ended")
                .build(),
            outbox_pending: meter
                .u64_gauge("redress_outbox_pending")
                .with_description("Messages decided on and not yet sent")
                .build(),
            outbox_oldest: meter
                .f64_gauge("redress_outbox_oldest_seconds")
                .with_description("Age of the oldest of them by the service's clock; 0 when none waits")
                .build(),
        }
    }

    pub(crate) fn attempt(&self, destination: &str, attempt: Attempt) {
        let labels = [
            KeyValue::new("destination", destination.to_owned()),
            KeyValue::new("outcome", label_of(attempt)),
        ];
        self.attempts.add(1, &labels);
    }

    /// What waits to be sent.
    pub(crate) fn backlog(&self, backlog: &Backlog, now: Timestamp) {
        let labels = [KeyValue::new("service", SERVICE)];
        self.outbox_pending.record(backlog.pending, &labels);
        let age_ms = backlog.oldest.map_or(0, |oldest| now.millis_since(oldest).max(0));
        self.outbox_oldest.record(age_ms as f64 / 1_000.0, &labels);
    }
}

/// Makes metrics of what Kafka clients tell of themselves.
pub fn of_kafka() -> impl Fn(KafkaStatistics) + Send + Sync + 'static {
    let meter = global::meter("redress");
    let gauge = |name: &'static str, what: &'static str| meter.u64_gauge(name).with_description(what).build();
    let lag =
        meter.i64_gauge("redress_kafka_lag").with_description("Records not yet read, by partition").build();
    let sending = gauge("redress_kafka_sending_records", "Records waiting to be sent");
    let sending_bytes = gauge("redress_kafka_sending_bytes", "Bytes waiting to be sent");
    let rebalances = gauge("redress_kafka_rebalances", "Rebalances seen since the start");
    let answer = gauge("redress_kafka_answer_p99_us", "The slowest broker's answer time, 99th percentile");
    let errors = gauge("redress_kafka_request_errors", "Requests that failed since the start");
    let retries = gauge("redress_kafka_request_retries", "Requests sent again since the start");
    move |told| {
        let client = [KeyValue::new("client", told.client.clone())];
        sending.record(told.sending_records, &client);
        sending_bytes.record(told.sending_bytes, &client);
        rebalances.record(told.rebalances, &client);
        answer.record(told.answer_p99_us, &client);
        errors.record(told.request_errors, &client);
        retries.record(told.request_retries, &client);
        for (partition, records) in &told.lag {
            let place = [
                KeyValue::new("client", told.client.clone()),
                KeyValue::new("topic", partition.topic.name()),
                KeyValue::new("partition", i64::from(partition.number)),
            ];
            lag.record(*records, &place);
        }
    }
}
