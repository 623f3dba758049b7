use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;

use super::KafkaLog;
use super::KafkaSettings;
use super::errors::{bus_error, failed, unavailable};
use super::names::Names;
use super::topics::{ASK_WITHIN, Counts};
use crate::{BusError, Partition, Reader, Received, Scanned, Topic, Watermarks};

/// Clients kept for the next call that reads on where one stopped.
const IDLE_MAX: usize = 4;
/// A scan that sees nothing for so long gives up: the broker is away.
const SCAN_SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long a scan waits for transactions in progress: they time out at last.
const UNDECIDED_MAX: Duration = Duration::from_secs(60);
const UNDECIDED_LOOK: Duration = Duration::from_millis(5);
/// How long one look takes.
const LOOK: Duration = Duration::from_millis(100);

pub(super) struct KafkaReader {
    inner: Arc<Inner>,
}

struct Inner {
    settings: KafkaSettings,
    names: Names,
    counts: Counts,
    idle: Mutex<Vec<Place>>,
}

/// A client that reads one partition.
struct Place {
    client: BaseConsumer,
    partition: Partition,
    /// The offset it goes on from.
    next: i64,
    /// It has told that the partition ends here, and will not tell again.
    told_end: bool,
    /// Placed during this call: what it tells of the end is new.
    fresh: bool,
}

impl KafkaReader {
    pub(super) fn new(log: &KafkaLog) -> Self {
        let inner = Inner {
            settings: log.settings.clone(),
            names: log.names.clone(),
            counts: log.counts.clone(),
            idle: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, BusError> + Send + 'static,
    ) -> Result<T, BusError> {
        let inner = self.inner.clone();
        let done = tokio::task::spawn_blocking(move || work(&inner));
        done.await.map_err(|e| failed("reading", e.to_string()))?
    }
}

impl Inner {
    fn watermarks(&self, partition: Partition) -> Result<Watermarks, BusError> {
        self.ask(self.counts.client(), partition)
    }

    fn end(&self, partition: Partition) -> Result<i64, BusError> {
        self.ask(self.counts.sees_all(), partition).map(|marks| marks.high)
    }

    fn ask(&self, client: &BaseConsumer, partition: Partition) -> Result<Watermarks, BusError> {
        let doing = || self.doing(partition);
        let count = self.counts.count(&self.names, partition.topic)?;
        if !count.is_some_and(|count| (0..count).contains(&partition.number)) {
            return Err(failed(doing(), "there is no such partition"));
        }
        let name = self.names.name(partition.topic);
        let (low, high) = client
            .fetch_watermarks(name, partition.number, ASK_WITHIN)
            .map_err(|e| bus_error(doing(), &e))?;
        Ok(Watermarks { low, high: high.max(low) })
    }

    /// Waits until everything before `to` is decided.
    fn decided(&self, partition: Partition, to: i64) -> Result<Watermarks, BusError> {
        let deadline = Instant::now() + UNDECIDED_MAX;
        loop {
            let marks = self.watermarks(partition)?;
            if marks.high >= to {
                return Ok(marks);
            }
            if Instant::now() >= deadline {
                return Err(unavailable(
                    self.doing(partition),
                    format!("offset {} is still undecided after {UNDECIDED_MAX:?}", marks.high),
                ));
            }
            std::thread::sleep(UNDECIDED_LOOK);
        }
    }

    fn doing(&self, partition: Partition) -> String {
        format!("reading partition {} of {}", partition.number, self.names.name(partition.topic))
    }

    /// A client that is about to read `from`. `end_untold`: it must still tell when the partition ends.
    fn place(&self, partition: Partition, from: i64, end_untold: bool) -> Result<Place, BusError> {
        let fits = |p: &Place| p.partition == partition && p.next == from && !(end_untold && p.told_end);
        let client = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            match idle.iter().position(fits) {
                Some(found) => return Ok(idle.swap_remove(found)),
                None if idle.len() >= IDLE_MAX => Some(idle.remove(0).client),
                None => None,
            }
        };
        let doing = || self.doing(partition);
        let client = match client {
            Some(client) => client,
            None => self.client().map_err(|e| bus_error(doing(), &e))?,
        };
        let list =
            self.names.list([(partition, Offset::Offset(from))]).map_err(|e| bus_error(doing(), &e))?;
        client.assign(&list).map_err(|e| bus_error(doing(), &e))?;
        Ok(Place { client, partition, next: from, told_end: false, fresh: true })
    }

    fn assign(&self, client: &BaseConsumer, partition: Partition, from: i64) -> Result<(), BusError> {
        let list = self.names.list([(partition, Offset::Offset(from))]);
        list.and_then(|list| client.assign(&list)).map_err(|e| bus_error(self.doing(partition), &e))
    }

    /// Being told of a partition to read needs a group's name, though it never joins.
    fn client(&self) -> Result<BaseConsumer, KafkaError> {
        self.settings
            .consumer()
            .set("group.id", format!("{}reader", self.settings.prefix))
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", "100")
            .create()
    }

    fn put_back(&self, mut place: Place) {
        place.fresh = false;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(place);
        }
    }

    fn read(
        &self,
        partition: Partition,
        offset: i64,
        records_max: usize,
        wait: Duration,
    ) -> Result<Vec<Received>, BusError> {
        let deadline = Instant::now() + wait;
        let marks = self.watermarks(partition)?;
        let mut place = self.place(partition, offset.clamp(marks.low, marks.high), false)?;
        let mut records: Vec<Received> = Vec::new();
        while records.len() < records_max {
            // Only the first is waited for.
            let left = deadline.saturating_duration_since(Instant::now());
            let look = if records.is_empty() { left.min(LOOK) } else { Duration::ZERO };
            match self.look(&mut place, look)? {
                Look::Record(received) if received.position.offset >= offset => records.push(received),
                Look::Record(_) | Look::End => {}
                Look::Nothing if records.is_empty() && !left.is_zero() => {}
                Look::Nothing => break,
            }
        }
        self.put_back(place);
        Ok(records)
    }

    fn scan(
        &self,
        partition: Partition,
        from: i64,
        to: i64,
        records_max: usize,
    ) -> Result<Scanned, BusError> {
        let from = from.max(self.decided(partition, to)?.low);
        if from >= to {
            return Ok(Scanned { records: Vec::new(), next: from });
        }
        let mut place = self.place(partition, from, true)?;
        let mut records: Vec<Received> = Vec::new();
        let mut heard_at = Instant::now();
        while records.len() < records_max {
            match self.look(&mut place, LOOK)? {
                Look::Record(received) if received.position.offset >= to => {
                    // Of no use for the next call: it has been taken out of the client.
                    return Ok(Scanned { records, next: to });
                }
                Look::Record(received) => {
                    heard_at = Instant::now();
                    records.push(received);
                }
                Look::End if place.fresh => {
                    self.put_back(place);
                    return Ok(Scanned { records, next: to });
                }
                Look::End => {
                    // Perhaps told before what we look for was written.
                    self.assign(&place.client, partition, place.next)?;
                    place.fresh = true;
                }
                Look::Nothing if heard_at.elapsed() > SCAN_SILENCE_MAX => {
                    return Err(unavailable(
                        self.doing(partition),
                        format!("nothing came within {SCAN_SILENCE_MAX:?}"),
                    ));
                }
                Look::Nothing => {}
            }
        }
        let next = records.last().map_or(from, |last| last.position.offset + 1);
        self.put_back(place);
        Ok(Scanned { records, next })
    }

    fn look(&self, place: &mut Place, wait: Duration) -> Result<Look, BusError> {
        match place.client.poll(wait) {
            None => Ok(Look::Nothing),
            Some(Ok(message)) => {
                let Some(received) = self.names.received(&message) else { return Ok(Look::Nothing) };
                place.next = received.position.offset + 1;
                place.told_end = false;
                Ok(Look::Record(received))
            }
            Some(Err(KafkaError::PartitionEOF(_))) => {
                place.told_end = true;
                Ok(Look::End)
            }
            Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => {
                Err(bus_error(self.doing(place.partition), &error))
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "kafka client reports");
                Ok(Look::Nothing)
            }
        }
    }
}

enum Look {
    Record(Received),
    End,
    Nothing,
}

#[async_trait]
impl Reader for KafkaReader {
    async fn partitions(&self, topic: Topic) -> Result<i32, BusError> {
        self.blocking(move |inner| {
            let missing = || failed("counting partitions", format!("topic {topic} is missing"));
            inner.counts.count(&inner.names, topic)?.ok_or_else(missing)
        })
        .await
    }

    async fn watermarks(&self, partition: Partition) -> Result<Watermarks, BusError> {
        self.blocking(move |inner| inner.watermarks(partition)).await
    }

    async fn end(&self, partition: Partition) -> Result<i64, BusError> {
        self.blocking(move |inner| inner.end(partition)).await
    }

    async fn read(
        &self,
        partition: Partition,
        offset: i64,
        records_max: usize,
        wait: Duration,
    ) -> Result<Vec<Received>, BusError> {
        self.blocking(move |inner| inner.read(partition, offset, records_max, wait)).await
    }

    async fn scan(
        &self,
        partition: Partition,
        from: i64,
        to: i64,
        records_max: usize,
    ) -> Result<Scanned, BusError> {
        self.blocking(move |inner| inner.scan(partition, from, to, records_max.max(1))).await
    }
}

impl Drop for KafkaReader {
    /// A client's end may block.
    fn drop(&mut self) {
        let idle = std::mem::take(&mut *self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner));
        if !idle.is_empty()
            && let Err(error) =
                std::thread::Builder::new().name("kafka-end".to_owned()).spawn(move || drop(idle))
        {
            tracing::warn!(%error, "cannot end the clients of a reader");
        }
    }
}
