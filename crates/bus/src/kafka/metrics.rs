//! What Kafka's clients tell of themselves, as metrics of the process.

use std::sync::Arc;

use opentelemetry::{KeyValue, global};

use super::settings::StatisticsSink;

/// Records it with the meter that is installed now.
pub(crate) fn recorded() -> StatisticsSink {
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
    Arc::new(move |told| {
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
    })
}
