//! Our topics and records in Kafka's terms.

use bytes::Bytes;
use model::Timestamp;
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Header, Headers as _, Message, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use rdkafka::{IntoOpaque, Offset, TopicPartitionList};

use crate::headers::{LIKELY_BYTES, put};
use crate::{Headers, Outgoing, Partition, Position, Received, Record, Topic};

/// The topics' names with their prefix.
#[derive(Debug, Clone)]
pub(crate) struct Names(Vec<(Topic, String)>);

impl Names {
    pub(crate) fn new(prefix: &str) -> Self {
        Self(Topic::ALL.into_iter().map(|topic| (topic, format!("{prefix}{topic}"))).collect())
    }

    pub(crate) fn name(&self, topic: Topic) -> &str {
        self.0.iter().find(|(known, _)| *known == topic).map_or("", |(_, name)| name.as_str())
    }

    pub(crate) fn topic(&self, name: &str) -> Option<Topic> {
        self.0.iter().find(|(_, known)| known == name).map(|(topic, _)| *topic)
    }

    /// The partitions of a list that are of our topics.
    pub(crate) fn partitions(&self, list: &TopicPartitionList) -> Vec<Partition> {
        let known = |topic: &str, number| Some(Partition { topic: self.topic(topic)?, number });
        list.elements().iter().filter_map(|e| known(e.topic(), e.partition())).collect()
    }

    /// A list for the client. Lists are made anew for each call: kept ones hold on to the client.
    pub(crate) fn list(
        &self,
        places: impl IntoIterator<Item = (Partition, Offset)>,
    ) -> Result<TopicPartitionList, rdkafka::error::KafkaError> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in places {
            list.add_partition_offset(self.name(partition.topic), partition.number, offset)?;
        }
        Ok(list)
    }

    /// What the producer takes.
    pub(crate) fn outgoing<'a, D: IntoOpaque>(
        &'a self,
        outgoing: &'a Outgoing,
        opaque: D,
    ) -> BaseRecord<'a, [u8], [u8], D> {
        let record = &outgoing.record;
        let mut out = BaseRecord::with_opaque_to(self.name(outgoing.topic), opaque)
            .key(&record.key[..])
            // Kafka knows no time before 1970, and takes 0 for "now".
            .timestamp(record.at.as_millis().max(1));
        out.payload = record.value.as_deref();
        out.partition = outgoing.partition;
        if record.headers.iter().next().is_some() {
            let mut headers = OwnedHeaders::new_with_capacity(record.headers.iter().count());
            for (key, value) in record.headers.iter() {
                headers = headers.insert(Header { key, value: Some(value) });
            }
            out.headers = Some(headers);
        }
        out
    }

    /// What we read; `None` when it is of no topic of ours.
    pub(crate) fn received(&self, message: &BorrowedMessage<'_>) -> Option<Received> {
        let partition = Partition { topic: self.topic(message.topic())?, number: message.partition() };
        let headers = message.headers();
        let header_room = headers.map_or(0, |headers| headers.count() * LIKELY_BYTES);
        // One allocation for the whole record.
        let mut bytes = Vec::with_capacity(message.key_len() + message.payload_len() + header_room);
        bytes.extend_from_slice(message.key().unwrap_or_default());
        bytes.extend_from_slice(message.payload().unwrap_or_default());
        let header_bytes = headers.map_or(0, |headers| read_headers(headers, &mut bytes));
        let mut rest = Bytes::from(bytes);
        let key = rest.split_to(message.key_len());
        let value = message.payload().map(|payload| rest.split_to(payload.len()));
        let headers = Headers::lying_in(rest, header_bytes);
        let at = Timestamp::from_millis(message.timestamp().to_millis().unwrap_or(0));
        let record = Record { key, value, headers, at };
        Some(Received { position: Position::new(partition, message.offset()), record })
    }
}

/// Appends the headers; the bytes of their names and values. The client panics over a name that is no UTF-8; such a
/// record has no headers for us.
fn read_headers(headers: &BorrowedHeaders, bytes: &mut Vec<u8>) -> usize {
    let before = bytes.len();
    let read = || headers.iter().map(|h| put(bytes, h.key, h.value.unwrap_or_default())).sum();
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(read)).unwrap_or_else(|_| {
        bytes.truncate(before);
        0
    })
}
