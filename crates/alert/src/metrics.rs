use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};
use paging::Attempt;

use crate::deliver::label_of;

/// What alert counts beside its accounts.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    attempts: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let meter = global::meter("redress");
        Self {
            attempts: meter
                .u64_counter("redress_alert_attempts")
                .with_description("Attempts to deliver a notice, by destination and how they ended")
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
}
