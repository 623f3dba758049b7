use std::collections::BTreeMap;

use rdkafka::Statistics;

use super::names::Names;
use crate::Partition;

/// What one client tells of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KafkaStatistics {
    /// Which client: its name in the brokers' logs.
    pub client: String,
    /// Records not yet read, per partition of a group member; unknown ones are left out.
    pub lag: BTreeMap<Partition, i64>,
    /// Records waiting to be sent.
    pub sending_records: u64,
    /// Bytes waiting to be sent.
    pub sending_bytes: u64,
    /// Rebalances seen.
    pub rebalances: u64,
    /// The slowest broker's answer time at the 99th percentile, in microseconds.
    pub answer_p99_us: u64,
    /// Requests that failed, over all brokers.
    pub request_errors: u64,
    /// Requests sent again, over all brokers.
    pub request_retries: u64,
}

impl KafkaStatistics {
    pub(super) fn of(statistics: &Statistics, names: &Names) -> Self {
        let positive = |value: i64| u64::try_from(value).unwrap_or(0);
        // Brokers below 0 are addresses to begin with and coordinators by another name.
        let brokers = || statistics.brokers.values().filter(|b| b.nodeid >= 0);
        let mut lag = BTreeMap::new();
        for topic in statistics.topics.values() {
            let Some(known) = names.topic(&topic.topic) else { continue };
            for partition in topic.partitions.values() {
                if partition.partition >= 0 && partition.consumer_lag >= 0 {
                    let place = Partition { topic: known, number: partition.partition };
                    lag.insert(place, partition.consumer_lag);
                }
            }
        }
        Self {
            client: statistics.name.clone(),
            lag,
            sending_records: statistics.msg_cnt,
            sending_bytes: statistics.msg_size,
            rebalances: statistics.cgrp.as_ref().map_or(0, |group| positive(group.rebalance_cnt)),
            answer_p99_us: brokers()
                .filter_map(|b| b.rtt.as_ref())
                .map(|w| positive(w.p99))
                .max()
                .unwrap_or(0),
            request_errors: brokers().map(|b| b.txerrs).sum(),
            request_retries: brokers().map(|b| b.txretries).sum(),
        }
    }
}
