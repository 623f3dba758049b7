//! Where the cases run, and the few helpers they share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bus::{
    BatchToken, Cleanup, CommitError, Headers, Log, Outgoing, Partition, Polled, Reader, Received, Record,
    Step, StepSettings, Topic, TopicPlan,
};
use bytes::Bytes;
use model::Timestamp;

/// How long a case waits for something that must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How long a case waits to be told that nothing comes.
pub(crate) const SILENCE: Duration = Duration::from_millis(300);

/// One log of its own.
#[async_trait]
pub(crate) trait World: Send + Sync {
    /// The log.
    async fn log(&self) -> Arc<dyn Log>;
    /// The log after the process has died and come back.
    async fn restart(&mut self) -> Arc<dyn Log>;
    /// Lets retention and compaction happen as of `now`, or waits a moment for them.
    async fn settle(&self, now: Timestamp);
    /// Makes a compacted topic ready for compaction soon; topics are otherwise made by the cases.
    async fn prepare_compacted(&self, _plan: &TopicPlan) {}
}

/// Calls `$with` with the names of all cases.
macro_rules! for_each_case {
    ($with:ident) => {
        $with! {
            topics_are_made_once_and_differences_are_told
            records_of_one_key_keep_their_order
            everything_of_a_record_survives
            refused_records_do_not_hold_up_the_others
            many_publishers_at_once_lose_nothing
            a_waiting_reader_hears_of_a_new_record
            a_scan_is_complete_though_offsets_have_gaps
            a_step_resumes_exactly_after_a_restart
            an_aborted_commit_leaves_nothing_and_its_records_come_again
            a_poison_record_goes_to_the_dead_letters_with_the_batch
            a_zombie_is_refused
            a_batch_committed_twice_counts_once
            a_batch_from_before_a_rebalance_is_refused
            outputs_of_two_members_come_exactly_once_through_rebalances
            the_next_batch_may_be_polled_while_one_is_committed
            a_consumer_reads_from_where_it_sought
            a_consumer_keeps_its_place_in_what_it_retains
            compaction_keeps_the_newest_of_each_key
            old_records_go_and_readers_begin_at_what_is_left
        }
    };
}
pub(crate) use for_each_case;

/// The topics of most cases, with so many partitions each.
pub(crate) fn plan(topics: &[Topic], partitions: i32) -> Vec<TopicPlan> {
    let planned = |topic: &Topic| TopicPlan {
        cleanup: Cleanup::Delete,
        retention_ms: 400 * 86_400_000,
        ..TopicPlan::of(*topic, partitions)
    };
    topics.iter().map(planned).collect()
}

pub(crate) async fn log_with(world: &dyn World, topics: &[Topic], partitions: i32) -> Arc<dyn Log> {
    let log = world.log().await;
    log.topics(&plan(topics, partitions), true).await.unwrap();
    log
}

/// A time that retention leaves alone and that Kafka can tell (milliseconds).
pub(crate) fn recent() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_millis(since_epoch.as_millis() as i64)
}

pub(crate) fn outgoing(topic: Topic, key: &str, value: &str) -> Outgoing {
    let value = Some(Bytes::from(value.to_owned()));
    let record = Record { key: Bytes::from(key.to_owned()), value, headers: Headers::new(), at: recent() };
    Outgoing { topic, partition: None, record }
}

pub(crate) fn on(partition: i32, mut outgoing: Outgoing) -> Outgoing {
    outgoing.partition = Some(partition);
    outgoing
}

/// `count` records with different keys and the values `0`, `1`, ...
pub(crate) fn numbered(topic: Topic, count: usize) -> Vec<Outgoing> {
    (0..count).map(|i| outgoing(topic, &format!("key-{i}"), &i.to_string())).collect()
}

/// Publishes and expects every record to be taken.
pub(crate) async fn publish(log: &dyn Log, batch: Vec<Outgoing>) {
    for result in log.publisher().unwrap().publish(batch).await.unwrap() {
        result.unwrap();
    }
}

pub(crate) fn value(received: &Received) -> String {
    String::from_utf8(received.record.value.clone().unwrap().to_vec()).unwrap()
}

pub(crate) fn values(records: &[Received]) -> Vec<String> {
    records.iter().map(value).collect()
}

/// All committed records of a topic, partition after partition.
pub(crate) async fn everything(log: &dyn Log, topic: Topic) -> Vec<Received> {
    let reader = log.reader().unwrap();
    let mut all = Vec::new();
    for number in 0..reader.partitions(topic).await.unwrap() {
        all.extend(everything_of(&*reader, Partition { topic, number }).await);
    }
    all
}

pub(crate) async fn everything_of(reader: &dyn Reader, partition: Partition) -> Vec<Received> {
    let end = reader.end(partition).await.unwrap();
    let (mut next, mut all) = (0, Vec::new());
    while next < end {
        let part = reader.scan(partition, next, end, 700).await.unwrap();
        assert!(part.next > next, "a scan makes progress");
        next = part.next;
        all.extend(part.records);
    }
    all
}

pub(crate) fn step_settings(member: &str, topics: &[Topic]) -> StepSettings {
    StepSettings {
        group: "group".to_owned(),
        member: member.to_owned(),
        topics: topics.to_vec(),
        transaction_timeout: Duration::from_secs(10),
    }
}

/// Polls until `enough`, and joins what came. An epoch that begins meanwhile voids what came before.
pub(crate) async fn poll_until(step: &dyn Step, enough: impl Fn(&Polled) -> bool) -> Polled {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut all = Polled::default();
    while !enough(&all) {
        assert!(tokio::time::Instant::now() < deadline, "not enough came: {all:?}");
        let polled = step.poll(40, SILENCE).await.unwrap();
        if polled.token.epoch != all.token.epoch {
            all.records.clear();
            all.token = BatchToken { epoch: polled.token.epoch, next: BTreeMap::new() };
        }
        all.records.extend(polled.records);
        all.token.next.extend(polled.token.next);
        all.assigned.extend(polled.assigned);
        all.revoked.extend(polled.revoked);
    }
    all
}

pub(crate) async fn poll_records(step: &dyn Step, count: usize) -> Polled {
    let polled = poll_until(step, |all| all.records.len() >= count).await;
    assert_eq!(polled.records.len(), count, "more came than expected");
    polled
}

/// Copies to verdicts, same key and value.
pub(crate) fn copies(records: &[Received]) -> Vec<Outgoing> {
    let copy = |r: &Received| Outgoing {
        topic: Topic::Verdicts,
        partition: Some(r.position.partition.number),
        record: r.record.clone(),
    };
    records.iter().map(copy).collect()
}

/// Whether the commit was refused because its member or its epoch is of the past.
pub(crate) fn is_refused(result: &Result<(), CommitError>) -> bool {
    matches!(result, Err(CommitError::Stale | CommitError::Fenced(_) | CommitError::Aborted(_)))
}
