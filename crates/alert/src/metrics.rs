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
