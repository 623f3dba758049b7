//! A member of a group: its client lives on a thread of its own, which polls, follows rebalances and puts
//! records into an inbox of bounded size.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientConfig, Offset, Statistics, TopicPartitionList};
use tokio::sync::Notify;
use tracing::{debug, info, warn};

use super::KafkaSettings;
use super::errors::failed;
use super::names::Names;
use super::statistics::KafkaStatistics;
use crate::{BatchToken, BusError, Partition, Polled, Received, Topic};

/// Records and bytes read ahead: so few that they are still in a processor's cache when they are worked on.
const INBOX_RECORDS_MAX: usize = 4_000;
const INBOX_BYTES_MAX: usize = 16 << 20;
/// How long one look for records takes, which bounds how late a rewind or the end is noticed.
const LOOK: Duration = Duration::from_millis(20);
/// Records moved into the inbox at a time.
const MOVED_AT_ONCE_MAX: usize = 500;
/// A full inbox this long pauses fetching, so that the group does not give the member up.
const PAUSE_AFTER: Duration = Duration::from_secs(5);

/// How long a leaving member waits for its partitions to be taken back, and then for the request to go.
const GOODBYE_WITHIN: Duration = Duration::from_secs(5);
const GOODBYE_SENT_AFTER: Duration = Duration::from_millis(100);

/// Where the member's progress is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// In Kafka. Every rebalance takes all partitions back and gives them anew, so that reading always
    /// resumes at what is committed.
    InTheLog,
    /// Elsewhere: partitions wait for a seek, and retained ones go on undisturbed.
    Elsewhere,
}

/// The client of a member.
pub(super) type Client = BaseConsumer<Context>;

/// What the polling thread and the member's handle share.
pub(super) struct Member {
    inbox: Mutex<Inbox>,
    /// Told when the inbox has something to say.
    news: Notify,
    /// Told when there is room again.
    room: Condvar,
    /// Held while a transaction runs: a rebalance waits for its end.
    pub(super) gate: Mutex<()>,
    names: Names,
    progress: Progress,
    described: String,
}

#[derive(Debug, Default)]
struct Inbox {
    epoch: u64,
    records: VecDeque<Received>,
    bytes: usize,
    owned: BTreeSet<Partition>,
    assigned: Vec<Partition>,
    revoked: Vec<Partition>,
    /// The assignment is to be read again from what is committed.
    rewind: bool,
    seeks: BTreeMap<Partition, i64>,
    /// Partitions the client fetches; those without a seek are not among them.
    started: BTreeSet<Partition>,
    /// What ended the member.
    ended: Option<String>,
    closing: Option<Goodbye>,
}

/// How a member ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goodbye {
    /// It tells the group, which shares its partitions out at once.
    Said,
    /// As if the process had died: its place is kept until the session times out.
    Unsaid,
}

/// A member that has begun to join.
pub(super) struct Joined {
    pub(super) member: Arc<Member>,
    pub(super) client: Arc<Client>,
    pub(super) thread: std::thread::JoinHandle<()>,
}

/// Follows rebalances on the polling thread.
pub(super) struct Context {
    member: Arc<Member>,
    settings: KafkaSettings,
}

impl Member {
    /// Joins the group: makes the client, subscribes, starts the thread. The thread ends on `close`.
    pub(super) fn join(
        settings: &KafkaSettings,
        names: &Names,
        config: &ClientConfig,
        topics: &[Topic],
        progress: Progress,
        described: String,
    ) -> Result<Joined, BusError> {
        let doing = format!("joining as {described}");
        let member = Arc::new(Self {
            inbox: Mutex::default(),
            news: Notify::new(),
            room: Condvar::new(),
            gate: Mutex::default(),
            names: names.clone(),
            progress,
            described,
        });
        let context = Context { member: member.clone(), settings: settings.clone() };
        let client: Client =
            config.create_with_context(context).map_err(|e| failed(&*doing, e.to_string()))?;
        let wanted: Vec<&str> = topics.iter().map(|t| names.name(*t)).collect();
        client.subscribe(&wanted).map_err(|e| failed(&*doing, e.to_string()))?;
        let client = Arc::new(client);
        let (of_thread, its_client) = (member.clone(), client.clone());
        let thread = std::thread::Builder::new()
            .name("kafka-member".to_owned())
            .spawn(move || of_thread.run(&its_client))
            .map_err(|e| failed(&*doing, e.to_string()))?;
        Ok(Joined { member, client, thread })
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The epoch that is now.
    pub(super) fn epoch(&self) -> u64 {
        self.inbox().epoch
    }

    /// Everything handed out is void and comes again.
    pub(super) fn rewind(&self) {
        let mut inbox = self.inbox();
        inbox.void();
        inbox.rewind = true;
        self.room.notify_all();
    }

    /// The member must not go on.
    pub(super) fn end(&self, why: &str) {
        self.inbox().ended.get_or_insert_with(|| why.to_owned());
        self.news.notify_one();
    }

    /// Tells the thread to leave the group.
    pub(super) fn close(&self) {
        self.stop(Goodbye::Said);
    }

    /// Tells the thread to end and the group nothing.
    pub(super) fn abandon(&self) {
        self.stop(Goodbye::Unsaid);
    }

    fn stop(&self, goodbye: Goodbye) {
        self.inbox().closing.get_or_insert(goodbye);
        self.room.notify_all();
        self.news.notify_one();
    }

    pub(super) fn owns(&self, partition: Partition) -> bool {
        self.inbox().owned.contains(&partition)
    }

    /// Reads the partition on from there, dropping what was read ahead of it.
    pub(super) fn seek(&self, partition: Partition, offset: i64) {
        let mut inbox = self.inbox();
        inbox.drop_records(|p| p == partition);
        inbox.seeks.insert(partition, offset);
        self.room.notify_all();
    }

    /// As [`crate::Step::poll`]. One caller at a time.
    pub(super) async fn poll(&self, records_max: usize, wait: Duration) -> Result<Polled, BusError> {
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            {
                let mut inbox = self.inbox();
                let why = inbox.ended.clone().or_else(|| inbox.closing.map(|_| "it has left".to_owned()));
                if let Some(why) = why {
                    return Err(failed(format!("polling as {}", self.described), why));
                }
                if let Some(polled) = inbox.take(records_max) {
                    self.room.notify_all();
                    return Ok(polled);
                }
            }
            if tokio::time::timeout_at(deadline, self.news.notified()).await.is_err() {
                let epoch = self.epoch();
                return Ok(Polled {
                    token: BatchToken { epoch, next: BTreeMap::new() },
                    ..Polled::default()
                });
            }
        }
    }

    fn run(&self, client: &Client) {
        info!(member = %self.described, "joining");
        let mut paused = false;
        loop {
            let task = self.next_task(PAUSE_AFTER);
            let done = match task {
                Task::Leave => break,
                Task::Rewind(owned) => self.read_again(client, owned),
                Task::Seek(seeks) => self.start_at(client, seeks),
                Task::Look if paused => {
                    paused = false;
                    client.assignment().and_then(|all| client.resume(&all))
                }
                Task::Look => {
                    self.look(client);
                    Ok(())
                }
                Task::HoldBack => {
                    if !paused {
                        debug!(member = %self.described, "inbox is full, pausing");
                        paused = true;
                        hold_back(client)
                    } else {
                        self.look(client);
                        Ok(())
                    }
                }
            };
            if let Err(error) = done {
                // The group decides anew: leaving the old state behind would read from a wrong place.
                self.end(&format!("cannot follow the assignment: {error}"));
                break;
            }
        }
        if self.inbox().closing == Some(Goodbye::Said) {
            self.say_goodbye(client);
        }
        info!(member = %self.described, "left");
    }

    /// A static member tells the group only when it unsubscribes, and only if it is still polled until its
    /// partitions were taken back.
    fn say_goodbye(&self, client: &Client) {
        let deadline = Instant::now() + GOODBYE_WITHIN;
        client.unsubscribe();
        while !self.inbox().owned.is_empty() && Instant::now() < deadline {
            let _ = client.poll(LOOK);
        }
        // The request goes out once the last partition has stopped.
        let _ = client.poll(GOODBYE_SENT_AFTER);
    }

    /// What to do next; waits for room, at most `patience`.
    fn next_task(&self, patience: Duration) -> Task {
        let deadline = Instant::now() + patience;
        let mut inbox = self.inbox();
        loop {
            if inbox.closing.is_some() || inbox.ended.is_some() {
                return Task::Leave;
            }
            if std::mem::take(&mut inbox.rewind) {
                return Task::Rewind(inbox.owned.clone());
            }
            if !inbox.seeks.is_empty() {
                return Task::Seek(inbox.seeks.clone());
            }
            if inbox.records.len() < INBOX_RECORDS_MAX && inbox.bytes < INBOX_BYTES_MAX {
                return Task::Look;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Task::HoldBack;
            }
            inbox = self.room.wait_timeout(inbox, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Moves records into the inbox, as they come.
    fn look(&self, client: &Client) {
        let mut moved = Vec::new();
        let mut wait = LOOK;
        while moved.len() < MOVED_AT_ONCE_MAX {
            match client.poll(wait) {
                None => break,
                Some(Ok(message)) => {
                    moved.extend(self.names.received(&message));
                    wait = Duration::ZERO;
                }
                Some(Err(error)) => {
                    self.heard(&error);
                    break;
                }
            }
        }
        if moved.is_empty() {
            return;
        }
        self.inbox().put(moved);
        self.news.notify_one();
    }

    fn heard(&self, error: &KafkaError) {
        match error {
            KafkaError::MessageConsumptionFatal(code) => self.end(&format!("fenced or refused: {code}")),
            // The client goes on by itself: brokers come back, leaders move.
            other => warn!(member = %self.described, error = %other, "kafka client reports"),
        }
    }

    /// Reads everything again from what is committed. The client asks the group for it.
    fn read_again(&self, client: &Client, owned: BTreeSet<Partition>) -> KafkaResult<()> {
        let list = self.names.list(owned.into_iter().map(|p| (p, Offset::Invalid)))?;
        client.assign(&list)
    }

    /// Taking a partition out and in again reads from anywhere, in every state of the client; its own seek
    /// works only once fetching has begun.
    fn start_at(&self, client: &Client, seeks: BTreeMap<Partition, i64>) -> KafkaResult<()> {
        let (owned, started) = {
            let inbox = self.inbox();
            (inbox.owned.clone(), inbox.started.clone())
        };
        let wanted = || seeks.iter().filter(|(partition, _)| owned.contains(partition));
        let running = wanted().filter(|(p, _)| started.contains(p)).map(|(p, _)| (*p, Offset::Invalid));
        let running = self.names.list(running)?;
        if running.count() > 0 {
            client.incremental_unassign(&running)?;
        }
        let from = self.names.list(wanted().map(|(p, offset)| (*p, Offset::Offset(*offset))))?;
        if from.count() > 0 {
            client.incremental_assign(&from)?;
        }
        let mut inbox = self.inbox();
        inbox.started.extend(wanted().map(|(p, _)| *p));
        // A seek that came meanwhile to another offset stays to be done.
        inbox.seeks.retain(|partition, offset| seeks.get(partition) != Some(offset));
        Ok(())
    }

    fn gained(&self, client: &Client, list: &TopicPartitionList) -> KafkaResult<()> {
        let gained = self.names.partitions(list);
        info!(member = %self.described, partitions = gained.len(), "assigned");
        match self.progress {
            Progress::InTheLog => client.assign(list)?,
            // Nothing is fetched before it is known from where.
            Progress::Elsewhere => client.incremental_assign(&TopicPartitionList::new())?,
        }
        let mut inbox = self.inbox();
        inbox.epoch += 1;
        inbox.owned.extend(&gained);
        inbox.assigned.extend(gained);
        self.news.notify_one();
        Ok(())
    }

    fn lost(&self, client: &Client, list: &TopicPartitionList) -> KafkaResult<()> {
        let lost: BTreeSet<Partition> = self.names.partitions(list).into_iter().collect();
        info!(member = %self.described, partitions = lost.len(), involuntary = client.assignment_lost(), "revoked");
        // A transaction that has begun comes to its end while the partitions are still ours.
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let stop = {
            let mut inbox = self.inbox();
            inbox.give_up(&lost);
            match self.progress {
                Progress::InTheLog => {
                    inbox.void();
                    inbox.rewind = false;
                }
                Progress::Elsewhere => inbox.epoch += 1,
            }
            let stop: Vec<Partition> = lost.iter().filter(|p| inbox.started.remove(p)).copied().collect();
            stop
        };
        drop(gate);
        self.news.notify_one();
        match self.progress {
            Progress::InTheLog => client.unassign(),
            Progress::Elsewhere => {
                let stop = self.names.list(stop.into_iter().map(|p| (p, Offset::Invalid)))?;
                client.incremental_unassign(&stop)
            }
        }
    }
}

enum Task {
    Look,
    HoldBack,
    Rewind(BTreeSet<Partition>),
    Seek(BTreeMap<Partition, i64>),
    Leave,
}

fn hold_back(client: &Client) -> KafkaResult<()> {
    client.assignment().and_then(|all| client.pause(&all))
}

impl Inbox {
    fn void(&mut self) {
        self.epoch += 1;
        self.records.clear();
        self.bytes = 0;
    }

    fn put(&mut self, records: Vec<Received>) {
        // Records from before a rewind or a seek come again.
        if self.rewind {
            return;
        }
        for received in records {
            if !self.seeks.contains_key(&received.position.partition) {
                self.bytes += received.record.bytes();
                self.records.push_back(received);
            }
        }
    }

    fn drop_records(&mut self, of: impl Fn(Partition) -> bool) {
        self.records.retain(|r| !of(r.position.partition));
        self.bytes = self.records.iter().map(|r| r.record.bytes()).sum();
    }

    fn give_up(&mut self, lost: &BTreeSet<Partition>) {
        self.drop_records(|p| lost.contains(&p));
        self.seeks.retain(|p, _| !lost.contains(p));
        self.owned.retain(|p| !lost.contains(p));
        // What nobody was told of needs not be taken back.
        let untold: BTreeSet<Partition> =
            self.assigned.iter().filter(|p| lost.contains(p)).copied().collect();
        self.assigned.retain(|p| !lost.contains(p));
        self.revoked.extend(lost.iter().filter(|p| !untold.contains(p)));
    }

    /// Changes of the assignment first, then records.
    fn take(&mut self, records_max: usize) -> Option<Polled> {
        let mut token = BatchToken { epoch: self.epoch, next: BTreeMap::new() };
        if !self.assigned.is_empty() || !self.revoked.is_empty() {
            return Some(Polled {
                records: Vec::new(),
                token,
                assigned: std::mem::take(&mut self.assigned),
                revoked: std::mem::take(&mut self.revoked),
            });
        }
        let count = records_max.min(self.records.len());
        if count == 0 {
            return None;
        }
        let records: Vec<Received> = self.records.drain(..count).collect();
        for received in &records {
            self.bytes = self.bytes.saturating_sub(received.record.bytes());
            token.next.insert(received.position.partition, received.position.offset + 1);
        }
        Some(Polled { records, token, assigned: Vec::new(), revoked: Vec::new() })
    }
}

impl ClientContext for Context {
    fn stats(&self, statistics: Statistics) {
        if let Some(sink) = &self.settings.statistics {
            sink(KafkaStatistics::of(&statistics, &self.member.names));
        }
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, client: &BaseConsumer<Self>, what: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let done = match what {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.member.gained(client, list),
            _ => self.member.lost(client, list),
        };
        if let Err(error) = done {
            self.member.end(&format!("cannot follow the rebalance: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use model::Timestamp;

    use super::*;
    use crate::{Headers, Position, Record};

    const fn partition(number: i32) -> Partition {
        Partition { topic: Topic::Mentions, number }
    }

    fn received(number: i32, offset: i64) -> Received {
        let key = Bytes::from_static(b"key");
        let record = Record { key, value: None, headers: Headers::new(), at: Timestamp::EPOCH };
        Received { position: Position::new(partition(number), offset), record }
    }

    fn places(polled: &Polled) -> Vec<(i32, i64)> {
        polled.records.iter().map(|r| (r.position.partition.number, r.position.offset)).collect()
    }

    #[test]
    fn changes_of_the_assignment_come_before_records() {
        let mut inbox = Inbox { assigned: vec![partition(1)], ..Inbox::default() };
        inbox.put(vec![received(1, 5), received(1, 6)]);
        let first = inbox.take(10).unwrap();
        assert_eq!((first.assigned, first.records.len()), (vec![partition(1)], 0));
        let second = inbox.take(1).unwrap();
        assert_eq!((places(&second), second.token.next[&partition(1)]), (vec![(1, 5)], 6));
        assert_eq!(places(&inbox.take(10).unwrap()), [(1, 6)]);
        assert!(inbox.take(10).is_none());
        assert_eq!(inbox.bytes, 0);
    }

    #[test]
    fn lost_partitions_take_their_records_with_them() {
        let mut inbox = Inbox {
            owned: [partition(1), partition(2)].into(),
            assigned: vec![partition(2)],
            ..Inbox::default()
        };
        inbox.put(vec![received(1, 5), received(2, 9), received(1, 6)]);
        inbox.give_up(&[partition(1), partition(2)].into());
        let told = inbox.take(10).unwrap();
        assert_eq!((told.assigned, told.revoked), (vec![], vec![partition(1)]), "nobody was told of 2");
        assert!(inbox.take(10).is_none());
        assert_eq!(inbox.bytes, 0);
    }

    #[test]
    fn records_from_before_a_seek_or_a_rewind_are_dropped() {
        let mut inbox = Inbox::default();
        inbox.seeks.insert(partition(1), 0);
        inbox.put(vec![received(1, 5), received(2, 9)]);
        assert_eq!(places(&inbox.take(10).unwrap()), [(2, 9)]);
        inbox.rewind = true;
        inbox.put(vec![received(2, 10)]);
        assert!(inbox.take(10).is_none());
    }

    #[test]
    fn what_is_void_is_of_an_older_epoch() {
        let mut inbox = Inbox::default();
        inbox.put(vec![received(1, 5)]);
        let before = inbox.take(1).unwrap().token.epoch;
        inbox.put(vec![received(1, 6)]);
        inbox.void();
        assert!(inbox.epoch > before && inbox.take(1).is_none());
    }
}
