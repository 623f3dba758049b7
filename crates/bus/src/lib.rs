//! The log between the services: typed topics, records, and the few ways in which steps use them.
//!
//! Two adapters keep the same promises and pass the same conformance suite: Kafka, and one SQLite file
//! for running everything in one process. This is no message bus for every taste; it has what the
//! steps need:
//!
//! - [`Publisher`]: records in, confirmed or refused one by one;
//! - [`Step`]: consume, transform, produce: outputs and progress become visible together or not at all;
//! - [`Consumer`]: a group member whose progress is kept elsewhere (a row moved in the same SQL
//!   transaction as the effects);
//! - [`Reader`]: look at any partition from any offset, belonging to no group.

pub mod bench;
mod config;
mod embedded;
mod headers;
mod interface;
mod kafka;
mod partitioner;
mod record;
mod topic;
mod varint;

pub use config::{LogConfig, Password, SecurityConfig};
pub use embedded::{EmbeddedLog, EmbeddedSettings, GroupPosition, Maintained};
pub use headers::Headers;
pub use interface::{
    BatchToken, BusError, CommitError, Consumer, ConsumerSettings, Log, Partition, Polled, Publisher, Reader,
    RefusedRecord, Scanned, Step, StepSettings, TopicReport, Watermarks,
};
pub use kafka::{KafkaLog, KafkaSecurity, KafkaSettings, KafkaStatistics, KafkaTls, StatisticsSink};
pub use partitioner::partition_of;
pub use record::{HEADER_BYTES_MAX, Outgoing, Position, RECORD_BYTES_MAX, Received, Record};
pub use topic::{Cleanup, Topic, TopicPlan};
