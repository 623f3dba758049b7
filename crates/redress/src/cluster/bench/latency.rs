//! How long each record takes when so many come in a second: measured from the moment it was due, whether the
//! publisher kept up or not, so that a stall counts for every record it delayed.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bus::bench::{bare_copy, copy_step, tail};
use bus::{Log, Outgoing, Partition, Publisher, Topic};
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::load::Load;
use super::measure::Quantiles;
use super::pipeline::paced_copy_settings;
use super::rig::{Rig, Services};

/// Not counted: connections are made, groups joined, caches filled.
const WARM_UP: Duration = Duration::from_secs(2);
/// The publisher wakes this often.
const TICK: Duration = Duration::from_millis(1);
/// Batches on their way; more wait, which counts.
const UNDER_WAY_MAX: usize = 256;
/// After the last was due, the rest may take this long.
const REST_WITHIN: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);
/// A copying group may take this long to get its partitions.
const JOINED_WITHIN: Duration = Duration::from_secs(3);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    Copy,
    Classify,
}

/// How fast, for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paced {
    pub(super) rate: u32,
    pub(super) seconds: u32,
    pub(super) commit_every_ms: u64,
    /// Where copies go.
    pub(super) into: Topic,
}

/// When each record is due, and how late it was seen.
pub(super) struct Schedule {
    gap: Duration,
    begins: Mutex<Option<Instant>>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Places in the load, by key; a key may come again.
    places: BTreeMap<Bytes, VecDeque<u32>>,
    left: usize,
    latencies: Vec<Duration>,
}

impl Schedule {
    /// One after the other, so many a second.
    pub(super) fn new(keys: impl Iterator<Item = Bytes>, rate: u32) -> Arc<Self> {
        Self::every(keys, Duration::from_secs(1) / rate)
    }

    /// One after the other, with such a gap.
    pub(super) fn every(keys: impl Iterator<Item = Bytes>, gap: Duration) -> Arc<Self> {
        let mut seen = Seen::default();
        for (place, key) in keys.enumerate() {
            seen.places.entry(key).or_default().push_back(u32::try_from(place).unwrap_or(u32::MAX));
            seen.left += 1;
        }
        Arc::new(Self { gap, begins: Mutex::default(), seen: Mutex::new(seen) })
    }

    pub(super) fn begin(&self) -> Instant {
        *locked(&self.begins).get_or_insert_with(Instant::now)
    }

    /// How many are due by now.
    pub(super) fn due(&self) -> usize {
        let passed = self.begin().elapsed();
        usize::try_from(passed.as_nanos() / self.gap.as_nanos().max(1)).unwrap_or(usize::MAX)
    }

    /// The record with that key has arrived. Others than ours, and repeats, change nothing.
    pub(super) fn arrived(&self, key: &[u8]) {
        let now = Instant::now();
        let Some(begins) = *locked(&self.begins) else { return };
        let mut seen = locked(&self.seen);
        let Some(place) = seen.places.get_mut(key).and_then(VecDeque::pop_front) else { return };
        seen.left -= 1;
        let due = begins + self.gap * place;
        if due >= begins + WARM_UP {
            seen.latencies.push(now.saturating_duration_since(due));
        }
    }

    pub(super) fn left(&self) -> usize {
        locked(&self.seen).left
    }

    pub(super) fn quantiles(&self) -> Quantiles {
        Quantiles::of(std::mem::take(&mut locked(&self.seen).latencies))
    }

    /// Waits until everything has arrived.
    ///
    /// # Errors
    /// When it does not.
    pub(super) async fn complete(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + REST_WITHIN;
        while self.left() > 0 {
            ensure!(
                Instant::now() < deadline,
                "{} records did not arrive within {REST_WITHIN:?}",
                self.left()
            );
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends the load at its pace through `subject` and says how late each record was seen.
///
/// # Errors
/// When something cannot be started, or a record does not arrive.
pub(super) async fn measure(
    rig: &Rig,
    mut load: Load,
    config: &classify::Config,
    subject: Subject,
    paced: Paced,
) -> anyhow::Result<Quantiles> {
    let wanted = paced.rate as usize * paced.seconds as usize;
    let records = tokio::task::spawn_blocking(move || load.take(wanted)).await??;
    ensure!(!records.is_empty(), "the load is empty");
    let schedule = Schedule::new(records.iter().map(|r| r.record.key.clone()), paced.rate);
    let count = records.len() as u64;
    let mut services = Services::new();
    let mut copying = None;
    let seen_on = match subject {
        Subject::Copy => {
            copying = Some(start_copy(rig, count, paced));
            tokio::time::sleep(JOINED_WITHIN).await;
            paced.into
        }
        Subject::Classify => {
            let deps = classify::Deps { log: rig.log.clone(), parts: services.parts.clone() };
            services.start(classify::run(config.clone(), deps));
            services.ready().await?;
            Topic::Verdicts
        }
    };
    let watching = watch(rig, seen_on, schedule.clone());
    publish(rig.log.publisher()?, records, &schedule).await?;
    schedule.complete().await?;
    for watcher in watching {
        watcher.await.context("the reader broke")??;
    }
    if let Some(copying) = copying {
        copying.await.context("the copy broke")??;
    }
    services.stop().await?;
    Ok(schedule.quantiles())
}

fn start_copy(rig: &Rig, records: u64, paced: Paced) -> JoinHandle<anyhow::Result<()>> {
    let commit_every = Duration::from_millis(paced.commit_every_ms);
    let topics = (Topic::Mentions, paced.into);
    match rig.kafka.clone() {
        Some(settings) => tokio::task::spawn_blocking(move || {
            bare_copy(&settings, "bench-copy", topics, records, commit_every)?;
            Ok(())
        }),
        None => {
            let log = rig.log.clone();
            let batch = (20_000, commit_every);
            tokio::spawn(async move {
                copy_step(&*log, paced_copy_settings(), topics.1, records, batch).await?;
                Ok(())
            })
        }
    }
}

/// Looks at every committed record of a topic as soon as it can be seen.
fn watch(rig: &Rig, topic: Topic, schedule: Arc<Schedule>) -> Vec<JoinHandle<anyhow::Result<()>>> {
    if let Some(settings) = rig.kafka.clone() {
        let partitions = rig.partitions;
        return vec![tokio::task::spawn_blocking(move || {
            tail(&settings, topic, partitions, |received| {
                if let Some(received) = received {
                    schedule.arrived(&received.record.key);
                }
                if schedule.left() == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            Ok(())
        })];
    }
    let one = |number| {
        let (log, schedule) = (rig.log.clone(), schedule.clone());
        tokio::spawn(watch_partition(log, Partition { topic, number }, schedule))
    };
    (0..rig.partitions).map(one).collect()
}

async fn watch_partition(
    log: Arc<dyn Log>,
    partition: Partition,
    schedule: Arc<Schedule>,
) -> anyhow::Result<()> {
    let reader = log.reader()?;
    let mut next = 0;
    while schedule.left() > 0 {
        for received in reader.read(partition, next, 10_000, LOOK).await? {
            schedule.arrived(&received.record.key);
            next = received.position.offset + 1;
        }
    }
    Ok(())
}

/// Publishes each record when it is due, without waiting for the ones before it.
async fn publish(
    publisher: Arc<dyn Publisher>,
    records: Vec<Outgoing>,
    schedule: &Schedule,
) -> anyhow::Result<()> {
    let room = Arc::new(Semaphore::new(UNDER_WAY_MAX));
    let mut under_way: VecDeque<JoinHandle<anyhow::Result<()>>> = VecDeque::new();
    let (total, mut sent) = (records.len(), 0);
    let mut records = records.into_iter();
    let mut ticks = tokio::time::interval(TICK);
    schedule.begin();
    while sent < total {
        ticks.tick().await;
        let due = schedule.due().min(total);
        if due == sent {
            continue;
        }
        let batch: Vec<Outgoing> = records.by_ref().take(due - sent).collect();
        sent = due;
        let permit = room.clone().acquire_owned().await?;
        let publisher = publisher.clone();
        under_way.push_back(tokio::spawn(async move {
            let published = publisher.publish(batch).await?;
            drop(permit);
            match published.iter().find_map(|result| result.as_ref().err()) {
                Some(refused) => bail!("the log does not take the load: {refused}"),
                None => Ok(()),
            }
        }));
        while under_way.front().is_some_and(JoinHandle::is_finished)
            && let Some(ended) = under_way.pop_front()
        {
            ended.await??;
        }
    }
    for ended in under_way {
        ended.await??;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(names: &[&'static str]) -> impl Iterator<Item = Bytes> {
        names.iter().copied().map(|name| Bytes::from_static(name.as_bytes()))
    }

    #[test]
    fn each_record_arrives_once_and_strangers_do_not_count() {
        let schedule = Schedule::new(keys(&["a", "b", "a"]), 1_000);
        schedule.begin();
        for (key, left) in [("a", 2), ("x", 2), ("a", 1), ("a", 1), ("b", 0)] {
            schedule.arrived(key.as_bytes());
            assert_eq!(schedule.left(), left, "after {key}");
        }
        assert_eq!(schedule.quantiles().count, 0, "all were due while it warmed up");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn paced_records_all_arrive_through_copy_and_service() {
        for subject in [Subject::Copy, Subject::Classify] {
            let rig = Rig::open(None, 2).await.unwrap();
            let load = Load::open(&super::super::load::LoadArgs::default()).unwrap();
            let paced = Paced { rate: 100, seconds: 3, commit_every_ms: 25, into: Topic::Tallies };
            let config = super::super::pipeline::classify_config();
            let found = measure(&rig, load, &config, subject, paced).await.unwrap();
            assert_eq!(found.count, 100, "those due in the first two seconds are left out");
            rig.close().await.unwrap();
        }
    }
}
