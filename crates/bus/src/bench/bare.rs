use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedHeaders, DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::util::Timeout;
use rdkafka::{ClientContext, Offset};

use crate::kafka::transaction::drain;
use crate::{BusError, KafkaSettings, Partition, Topic};

/// Nothing read for so long means that there is nothing more, or no broker.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// One look for records.
const LOOK: Duration = Duration::from_millis(5);
/// Records in one transaction at most.
const BATCH_RECORDS_MAX: usize = 20_000;

/// What a bare copy took.
#[derive(Debug, Clone, Default)]
pub struct BareCopy {
    /// Records copied.
    pub records: u64,
    /// From the first record read to the last commit.
    pub took: Duration,
    /// How long each commit took, from the last record handed over, in order.
    pub commits: Vec<Duration>,
    /// Commits that found records still on their way, each of which costs 100 ms in the client: none.
    pub undrained: u32,
}

impl BareCopy {
    /// Records per second.
    pub fn records_per_second(&self) -> f64 {
        self.records as f64 / self.took.as_secs_f64().max(f64::EPSILON)
    }

    /// The middle one of the commits.
    pub fn commit_median(&self) -> Duration {
        let mut commits = self.commits.clone();
        commits.sort_unstable();
        commits.get(commits.len() / 2).copied().unwrap_or_default()
    }
}

struct Quiet;
impl ClientContext for Quiet {}
impl ProducerContext for Quiet {
    type DeliveryOpaque = ();
    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

/// The mark that pipelines are held against. Copies `records` records from one topic to the same partitions
/// of another as group `group`, exactly once, committing every `commit_every`; whole records, as every reader
/// needs them: key, value, headers and time. Both topics exist and have the same number of partitions; `from`
/// holds at least that many records. Blocks.
///
/// # Errors
/// When the log fails, or nothing comes for half a minute.
pub fn bare_copy(
    settings: &KafkaSettings,
    group: &str,
    (from, to): (Topic, Topic),
    records: u64,
    commit_every: Duration,
) -> Result<BareCopy, BusError> {
    let failed = |cause: String| BusError::Failed { doing: format!("copying {from} to {to}"), cause };
    let name = |topic: Topic| format!("{}{topic}", settings.prefix);
    let (source, target) = (name(from), name(to));
    let producer: ThreadedProducer<Quiet> =
        settings.transactional(group).create_with_context(Quiet).map_err(|e| failed(e.to_string()))?;
    producer.init_transactions(SILENCE_MAX).map_err(|e| failed(e.to_string()))?;
    let consumer: BaseConsumer = settings.member(group, group).create().map_err(|e| failed(e.to_string()))?;
    consumer.subscribe(&[&source]).map_err(|e| failed(e.to_string()))?;

    let mut copy = BareCopy::default();
    let (mut began, mut heard) = (None, Instant::now());
    while copy.records < records {
        let mut next = std::collections::BTreeMap::new();
        let mut batch = 0;
        let mut deadline = None;
        while batch < BATCH_RECORDS_MAX
            && copy.records + (batch as u64) < records
            && deadline.is_none_or(|deadline| Instant::now() < deadline)
        {
            let Some(polled) = consumer.poll(LOOK) else {
                continue_or_fail(heard).map_err(failed)?;
                continue;
            };
            let message = polled.map_err(|e| failed(e.to_string()))?;
            heard = Instant::now();
            if deadline.is_none() {
                began.get_or_insert(heard);
                deadline = Some(heard + commit_every);
                producer.begin_transaction().map_err(|e| failed(e.to_string()))?;
            }
            let mut record = BaseRecord::to(&target).partition(message.partition());
            record.key = message.key();
            record.payload = message.payload();
            record.timestamp = message.timestamp().to_millis();
            record.headers = message.headers().map(BorrowedHeaders::detach);
            while let Err((error, back)) = producer.send(record) {
                if error.rdkafka_error_code() != Some(rdkafka::error::RDKafkaErrorCode::QueueFull) {
                    return Err(failed(error.to_string()));
                }
                record = back;
                std::thread::sleep(Duration::from_micros(300));
            }
            next.insert(Partition { topic: from, number: message.partition() }, message.offset() + 1);
            batch += 1;
        }
        let ending = Instant::now();
        copy.undrained += u32::from(drain(&producer) > 0);
        let mut offsets = rdkafka::TopicPartitionList::new();
        for (partition, offset) in next {
            offsets
                .add_partition_offset(&source, partition.number, Offset::Offset(offset))
                .map_err(|e| failed(e.to_string()))?;
        }
        let member = consumer.group_metadata().ok_or_else(|| failed("the client has no group".to_owned()))?;
        producer
            .send_offsets_to_transaction(&offsets, &member, Timeout::Never)
            .and_then(|()| producer.commit_transaction(Timeout::Never))
            .map_err(|e| failed(e.to_string()))?;
        copy.commits.push(ending.elapsed());
        copy.records += batch as u64;
    }
    copy.took = began.map_or(Duration::ZERO, |began: Instant| began.elapsed());
    Ok(copy)
}

fn continue_or_fail(heard: Instant) -> Result<(), String> {
    if heard.elapsed() > SILENCE_MAX {
        return Err(format!("nothing came within {SILENCE_MAX:?}"));
    }
    Ok(())
}
