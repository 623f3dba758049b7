//! The cases. Each takes a world of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bus::{
    Cleanup, CommitError, Consumer, ConsumerSettings, Log, Outgoing, Partition, Step, Topic, partition_of,
};
use bytes::Bytes;
use model::Timestamp;

use crate::world::*;

const MENTIONS: Topic = Topic::Mentions;
const VERDICTS: Topic = Topic::Verdicts;
const DEAD: Topic = Topic::DeadLetter;

fn mentions(number: i32) -> Partition {
    Partition { topic: MENTIONS, number }
}

pub(crate) async fn topics_are_made_once_and_differences_are_told(world: &mut dyn World) {
    let log = world.log().await;
    let told = |reports: Vec<bus::TopicReport>| -> Vec<usize> {
        reports.iter().map(|r| r.differences.len()).collect()
    };
    let planned = plan(&[MENTIONS, VERDICTS], 3);
    assert_eq!(told(log.topics(&planned, false).await.unwrap()), [1, 1], "both are missing");
    assert_eq!(told(log.topics(&planned, false).await.unwrap()), [1, 1], "a look changes nothing");
    log.topics(&planned, true).await.unwrap();
    assert_eq!(told(log.topics(&planned, true).await.unwrap()), [0, 0], "a second time changes nothing");
    let fewer = log.topics(&plan(&[MENTIONS], 2), true).await.unwrap();
    assert!(fewer[0].differences[0].contains("3 partitions"), "{fewer:?}");
    assert_eq!(log.reader().unwrap().partitions(MENTIONS).await.unwrap(), 3);
    log.ping().await.unwrap();
}

pub(crate) async fn records_of_one_key_keep_their_order(world: &mut dyn World) {
    let log = log_with(world, &[MENTIONS], 4).await;
    for round in 0..10 {
        let batch =
            (0..100).map(|i| outgoing(MENTIONS, &format!("k{}", i % 17), &format!("{}", round * 100 + i)));
        publish(&*log, batch.collect()).await;
    }
    let all = everything(&*log, MENTIONS).await;
    assert_eq!(all.len(), 1000);
    let mut by_key: BTreeMap<Bytes, Vec<u32>> = BTreeMap::new();
    for received in &all {
        assert_eq!(received.position.partition.number, partition_of(&received.record.key, 4));
        by_key.entry(received.record.key.clone()).or_default().push(value(received).parse().unwrap());
    }
    assert_eq!(by_key.len(), 17);
    assert!(by_key.values().all(|values| values.is_sorted()));
}

pub(crate) async fn everything_of_a_record_survives(world: &mut dyn World) {
    let log = log_with(world, &[MENTIONS], 1).await;
    let mut full = outgoing(MENTIONS, "", "\u{1F3B8} value");
    full.record.headers.push("ce_id", "one");
    full.record.headers.push("own name", &b"\xff\x00"[..]);
    full.record.headers.push("ce_id", "two");
    let mut tombstone = outgoing(MENTIONS, "gone", "");
    tombstone.record.value = None;
    let empty = outgoing(MENTIONS, "empty", "");
    let sent = [full, tombstone, empty];
    publish(&*log, sent.to_vec()).await;
    let read = log.reader().unwrap().read(mentions(0), 0, 10, PATIENCE).await.unwrap();
    let expected: Vec<_> = sent.into_iter().map(|o| o.record).collect();
    assert_eq!(read.iter().map(|r| r.record.clone()).collect::<Vec<_>>(), expected);
    assert_eq!(read[0].record.headers.text("ce_id"), Some("two"));
}

pub(crate) async fn refused_records_do_not_hold_up_the_others(world: &mut dyn World) {
    let log = log_with(world, &[MENTIONS], 2).await;
    let large = "x".repeat(bus::RECORD_BYTES_MAX);
    let mut long_headers = outgoing(MENTIONS, "k", "v");
    long_headers.record.headers.push("h", vec![0; bus::HEADER_BYTES_MAX]);
    let largest = "y".repeat(bus::RECORD_BYTES_MAX - 1);
    let batch = vec![
        outgoing(MENTIONS, "k", "first"),
        outgoing(MENTIONS, "k", &large),
        on(2, outgoing(MENTIONS, "k", "v")),
        outgoing(Topic::Raw, "k", "v"),
        long_headers,
        outgoing(MENTIONS, "k", &largest),
        on(0, outgoing(MENTIONS, "k", "named")),
        on(1, outgoing(MENTIONS, "k", "named")),
    ];
    let results = log.publisher().unwrap().publish(batch).await.unwrap();
    let reasons: Vec<_> = results.iter().map(|r| r.as_ref().err().map(|e| (e.index, e.reason))).collect();
    let expected = [
        None,
        Some((1, "too_large")),
        Some((2, "unknown_partition")),
        Some((3, "unknown_topic")),
        Some((4, "too_large")),
        None,
        None,
        None,
    ];
    assert_eq!(reasons, expected);
    let places: BTreeSet<_> =
        everything(&*log, MENTIONS).await.into_iter().map(|r| (r.position, r.record.bytes())).collect();
    let confirmed: BTreeSet<_> = results.into_iter().flatten().collect();
    assert_eq!(places.iter().map(|(position, _)| *position).collect::<BTreeSet<_>>(), confirmed);
    assert!(places.iter().any(|(_, bytes)| *bytes == bus::RECORD_BYTES_MAX));
}

pub(crate) async fn many_publishers_at_once_lose_nothing(world: &mut dyn World) {
    let log = log_with(world, &[MENTIONS], 3).await;
    let publisher = log.publisher().unwrap();
    let tasks: Vec<_> = (0..50)
        .map(|task| {
            let publisher = publisher.clone();
            tokio::spawn(async move {
                for i in 0..20 {
                    let record = outgoing(MENTIONS, &format!("task-{task}"), &i.to_string());
                    publisher.publish(vec![record]).await.unwrap()[0].clone().unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    publisher.flush(PATIENCE).await.unwrap();
    let mut by_key: BTreeMap<Bytes, Vec<String>> = BTreeMap::new();
    for received in everything(&*log, MENTIONS).await {
        by_key.entry(received.record.key.clone()).or_default().push(value(&received));
    }
    assert_eq!(by_key.len(), 50);
    let in_order: Vec<String> = (0..20).map(|i| i.to_string()).collect();
    assert!(by_key.values().all(|values| *values == in_order));
}

pub(crate) async fn a_waiting_reader_hears_of_a_new_record(world: &mut dyn World) {
    let log = log_with(world, &[MENTIONS], 1).await;
    let reader = log.reader().unwrap();
    let waiting = tokio::spawn(async move { reader.read(mentions(0), 0, 10, PATIENCE).await.unwrap() });
    publish(&*log, vec![outgoing(MENTIONS, "k", "here")]).await;
    assert_eq!(values(&waiting.await.unwrap()), ["here"]);
    let reader = log.reader().unwrap();
    assert!(reader.read(mentions(0), 1, 10, SILENCE).await.unwrap().is_empty(), "no more than that");
}

pub(crate) async fn a_scan_is_complete_though_offsets_have_gaps(world: &mut dyn World) {
    let log = log_with(world, &[MENTIONS, VERDICTS], 1).await;
    let step = log.step(step_settings("m", &[MENTIONS])).await.unwrap();
    // On Kafka each commit leaves a mark in the log, also behind the last record.
    for round in 0..5 {
        publish(&*log, vec![outgoing(MENTIONS, "k", &round.to_string())]).await;
        let polled = poll_records(&*step, 1).await;
        step.commit(polled.token, copies(&polled.records)).await.unwrap();
    }
    let reader = log.reader().unwrap();
    let partition = Partition { topic: VERDICTS, number: 0 };
    let end = reader.end(partition).await.unwrap();
    for records_max in [1, 2, 100] {
        let (mut next, mut seen) = (0, Vec::new());
        while next < end {
            let part = reader.scan(partition, next, end, records_max).await.unwrap();
            assert!(part.next > next && part.records.len() <= records_max);
            seen.extend(values(&part.records));
            next = part.next;
        }
        assert_eq!(seen, ["0", "1", "2", "3", "4"]);
    }
    let second = everything_of(&*reader, partition).await[1].position.offset;
    let part = reader.scan(partition, second, second + 1, 10).await.unwrap();
    assert_eq!((values(&part.records), part.next), (vec!["1".to_owned()], second + 1));
    assert!(reader.watermarks(partition).await.unwrap().high >= end, "everything is decided");
    step.close().await.unwrap();
}

pub(crate) async fn a_step_resumes_exactly_after_a_restart(world: &mut dyn World) {
    let log = log_with(world, &[MENTIONS, VERDICTS], 3).await;
    publish(&*log, numbered(MENTIONS, 300)).await;
    let step = log.step(step_settings("m", &[MENTIONS])).await.unwrap();
    let first = poll_until(&*step, |all| all.records.len() >= 40).await;
    let (done, token) = (copies(&first.records), first.token);
    step.commit(token, done.clone()).await.unwrap();
    // Polled, computed, never committed: the process dies here.
    let _lost = step.poll(50, SILENCE).await.unwrap();
    drop(step);
    drop(log);
    let log = world.restart().await;
    let step = log.step(step_settings("m", &[MENTIONS])).await.unwrap();
    let rest = poll_records(&*step, 300 - done.len()).await;
    step.commit(rest.token, copies(&rest.records)).await.unwrap();
    let mut copied: Vec<u32> =
        values(&everything(&*log, VERDICTS).await).iter().map(|v| v.parse().unwrap()).collect();
    copied.sort_unstable();
    assert_eq!(copied, (0..300).collect::<Vec<u32>>());
    assert!(step.poll(10, SILENCE).await.unwrap().records.is_empty());
    step.close().await.unwrap();
}

pub(crate) async fn an_aborted_commit_leaves_nothing_and_its_records_come_again(world: &mut dyn World) {
    let log = log_with(world, &[MENTIONS, VERDICTS], 2).await;
    publish(&*log, numbered(MENTIONS, 100)).await;
    let step = log.step(step_settings("m", &[MENTIONS])).await.unwrap();
    let first = poll_records(&*step, 100).await;
    let mut outputs = copies(&first.records);
    outputs.push(outgoing(VERDICTS, "k", &"x".repeat(bus::RECORD_BYTES_MAX)));
    let error = step.commit(first.token.clone(), outputs).await.unwrap_err();
    assert!(matches!(&error, CommitError::Aborted(why) if why.contains("too_large")), "{error}");
    assert!(everything(&*log, VERDICTS).await.is_empty());
    let again = poll_records(&*step, 100).await;
    assert!(again.token.epoch > first.token.epoch);
    assert_eq!(again.token.next, first.token.next);
    let late = step.commit(first.token, copies(&first.records)).await;
    assert!(matches!(late, Err(CommitError::Stale)), "{late:?}");
    assert!(everything(&*log, VERDICTS).await.is_empty());
    step.commit(again.token, copies(&again.records)).await.unwrap();
    assert_eq!(everything(&*log, VERDICTS).await.len(), 100);
    step.close().await.unwrap();
}

pub(crate) async fn a_poison_record_goes_to_the_dead_letters_with_the_batch(world: &mut dyn World) {
    let log = log_with(world, &[MENTIONS, VERDICTS, DEAD], 2).await;
    let mut batch = numbered(MENTIONS, 9);
    batch.push(outgoing(MENTIONS, "key-poison", "poison"));
    publish(&*log, batch).await;
    let step = log.step(step_settings("m", &[MENTIONS])).await.unwrap();
    let polled = poll_records(&*step, 10).await;
    let sorted = |records: &[bus::Received]| -> Vec<Outgoing> {
        let mut outputs = copies(records);
        for output in &mut outputs {
            if output.record.value.as_deref() == Some(b"poison") {
                output.topic = DEAD;
                output.record.headers.push("dlq.error.class", "poison");
            }
        }
        outputs
    };
    let mut failing = sorted(&polled.records);
    failing.push(outgoing(Topic::Raw, "k", "a topic that is not there"));
    let failed = step.commit(polled.token, failing).await;
    assert!(matches!(failed, Err(CommitError::Aborted(_))), "{failed:?}");
    assert!(everything(&*log, DEAD).await.is_empty(), "no dead letter without its batch");
    let again = poll_records(&*step, 10).await;
    step.commit(again.token, sorted(&again.records)).await.unwrap();
    let dead = everything(&*log, DEAD).await;
    assert_eq!(values(&dead), ["poison"]);
    assert_eq!(dead[0].record.headers.text("dlq.error.class"), Some("poison"));
    assert_eq!(everything(&*log, VERDICTS).await.len(), 9);
    step.close().await.unwrap();
}

pub(crate) async fn a_zombie_is_refused(world: &mut dyn World) {
    let log = log_with(world, &[MENTIONS, VERDICTS], 2).await;
    publish(&*log, numbered(MENTIONS, 20)).await;
    let zombie = log.step(step_settings("m", &[MENTIONS])).await.unwrap();
    let held = poll_records(&*zombie, 20).await;
    let heir = log.step(step_settings("m", &[MENTIONS])).await.unwrap();
    let refused = zombie.commit(held.token, copies(&held.records)).await;
    assert!(is_refused(&refused), "{refused:?}");
    assert!(everything(&*log, VERDICTS).await.is_empty());
    let polled = poll_records(&*heir, 20).await;
    heir.commit(polled.token, copies(&polled.records)).await.unwrap();
    assert_eq!(everything(&*log, VERDICTS).await.len(), 20);
    drop(zombie);
    publish(&*log, vec![outgoing(MENTIONS, "k", "still here")]).await;
    let polled = poll_records(&*heir, 1).await;
    heir.commit(polled.token, Vec::new()).await.unwrap();
    heir.close().await.unwrap();
}

pub(crate) async fn a_batch_committed_twice_counts_once(world: &mut dyn World) {
    let log = log_with(world, &[MENTIONS, VERDICTS], 2).await;
    publish(&*log, numbered(MENTIONS, 20)).await;
    let step = log.step(step_settings("m", &[MENTIONS])).await.unwrap();
    let polled = poll_records(&*step, 20).await;
    step.commit(polled.token.clone(), copies(&polled.records)).await.unwrap();
    let again = step.commit(polled.token, copies(&polled.records)).await;
    assert!(matches!(again, Err(CommitError::Stale)), "{again:?}");
    assert_eq!(everything(&*log, VERDICTS).await.len(), 20);
    step.close().await.unwrap();
}

pub(crate) async fn a_batch_from_before_a_rebalance_is_refused(world: &mut dyn World) {
    let log = log_with(world, &[MENTIONS, VERDICTS], 4).await;
    publish(&*log, (0..8).map(|i| on(i % 4, outgoing(MENTIONS, "k", &i.to_string()))).collect()).await;
    let one = log.step(step_settings("one", &[MENTIONS])).await.unwrap();
    let held = poll_records(&*one, 8).await;
    let two = log.step(step_settings("two", &[MENTIONS])).await.unwrap();
    let of_two = poll_until(&*two, |all| all.records.len() == 4).await;
    let refused = one.commit(held.token, copies(&held.records)).await;
    assert!(matches!(refused, Err(CommitError::Stale)), "{refused:?}");
    let of_one = poll_until(&*one, |all| all.records.len() == 4).await;
    assert!(!of_one.revoked.is_empty());
    one.commit(of_one.token, copies(&of_one.records)).await.unwrap();
    two.commit(of_two.token, copies(&of_two.records)).await.unwrap();
    let mut copied = values(&everything(&*log, VERDICTS).await);
    copied.sort();
    assert_eq!(copied, ["0", "1", "2", "3", "4", "5", "6", "7"]);
    one.close().await.unwrap();
    two.close().await.unwrap();
}

/// Copies what is polled until told to stop; counts what was committed.
async fn copy_until(step: Arc<dyn Step>, stop: Arc<AtomicBool>, committed: Arc<AtomicUsize>) {
    while !stop.load(Ordering::SeqCst) {
        let polled = step.poll(50, Duration::from_millis(50)).await.unwrap();
        if polled.records.is_empty() {
            continue;
        }
        match step.commit(polled.token, copies(&polled.records)).await {
            Ok(()) => _ = committed.fetch_add(polled.records.len(), Ordering::SeqCst),
            Err(CommitError::Stale | CommitError::Aborted(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    step.close().await.unwrap();
}

pub(crate) async fn outputs_of_two_members_come_exactly_once_through_rebalances(world: &mut dyn World) {
    const COUNT: usize = 3_000;
    let log = log_with(world, &[MENTIONS, VERDICTS], 6).await;
    let committed = Arc::new(AtomicUsize::new(0));
    let start = async |member: &str| {
        let stop = Arc::new(AtomicBool::new(false));
        let step = log.step(step_settings(member, &[MENTIONS])).await.unwrap();
        (stop.clone(), tokio::spawn(copy_until(step, stop, committed.clone())))
    };
    let reached = async |count: usize| {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while committed.load(Ordering::SeqCst) < count {
            assert!(tokio::time::Instant::now() < deadline, "only {committed:?} of {count} were copied");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let mut numbered = numbered(MENTIONS, COUNT);
    let mut send = async |count: usize| publish(&*log, numbered.drain(..count).collect()).await;
    let (stop_one, one) = start("one").await;
    send(1000).await;
    reached(200).await;
    let (stop_two, two) = start("two").await;
    send(1000).await;
    reached(1500).await;
    stop_one.store(true, Ordering::SeqCst);
    one.await.unwrap();
    send(1000).await;
    reached(COUNT).await;
    stop_two.store(true, Ordering::SeqCst);
    two.await.unwrap();
    let mut copied: Vec<usize> =
        values(&everything(&*log, VERDICTS).await).iter().map(|v| v.parse().unwrap()).collect();
    copied.sort_unstable();
    assert_eq!(copied, (0..COUNT).collect::<Vec<_>>());
}

pub(crate) async fn the_next_batch_may_be_polled_while_one_is_committed(world: &mut dyn World) {
    let log = log_with(world, &[MENTIONS, VERDICTS], 2).await;
    publish(&*log, numbered(MENTIONS, 500)).await;
    let step = log.step(step_settings("m", &[MENTIONS])).await.unwrap();
    let mut batch = poll_until(&*step, |all| !all.records.is_empty()).await;
    let mut seen = 0;
    while seen < 500 {
        seen += batch.records.len();
        let committing = step.commit(batch.token, copies(&batch.records));
        let (done, next) = tokio::join!(committing, step.poll(60, SILENCE));
        done.unwrap();
        batch = next.unwrap();
    }
    assert_eq!(everything(&*log, VERDICTS).await.len(), 500);
    step.close().await.unwrap();
}

async fn consumer(log: &dyn Log, member: &str) -> Arc<dyn Consumer> {
    let (group, member) = ("elsewhere".to_owned(), member.to_owned());
    log.consumer(ConsumerSettings { group, member, topics: vec![MENTIONS] }).await.unwrap()
}

/// Polls until `enough`; seeks each partition that is assigned to `from`.
async fn consume_until(
    consumer: &dyn Consumer,
    from: i64,
    enough: impl Fn(&bus::Polled) -> bool,
) -> bus::Polled {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut all = bus::Polled::default();
    while !enough(&all) {
        assert!(tokio::time::Instant::now() < deadline, "not enough came: {all:?}");
        let polled = consumer.poll(1000, SILENCE).await.unwrap();
        for partition in &polled.assigned {
            consumer.seek(*partition, from).await.unwrap();
        }
        all.records.extend(polled.records);
        all.assigned.extend(polled.assigned);
        all.revoked.extend(polled.revoked);
    }
    all
}

pub(crate) async fn a_consumer_reads_from_where_it_sought(world: &mut dyn World) {
    let log = log_with(world, &[MENTIONS], 1).await;
    publish(&*log, (0..10).map(|i| outgoing(MENTIONS, "k", &i.to_string())).collect()).await;
    let consumer = consumer(&*log, "m").await;
    let mut assigned = Vec::new();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while assigned.is_empty() {
        assert!(tokio::time::Instant::now() < deadline);
        let polled = consumer.poll(100, SILENCE).await.unwrap();
        assert!(polled.records.is_empty(), "nothing comes before it is sought");
        assigned.extend(polled.assigned);
    }
    assert_eq!(assigned, [mentions(0)]);
    assert!(consumer.poll(100, SILENCE).await.unwrap().records.is_empty());
    consumer.seek(mentions(0), 7).await.unwrap();
    let read = consume_until(&*consumer, 0, |all| all.records.len() >= 3).await;
    assert_eq!(values(&read.records), ["7", "8", "9"]);
    consumer.seek(mentions(0), 0).await.unwrap();
    let read = consume_until(&*consumer, 0, |all| all.records.len() >= 10).await;
    assert_eq!(read.records.len(), 10, "and back");
    consumer.seek(mentions(0), 5_000).await.unwrap();
    assert!(consumer.poll(100, SILENCE).await.unwrap().records.is_empty(), "beyond the end waits at the end");
    publish(&*log, vec![outgoing(MENTIONS, "k", "new")]).await;
    let read = consume_until(&*consumer, 0, |all| !all.records.is_empty()).await;
    assert_eq!(values(&read.records), ["new"]);
    assert!(consumer.seek(Partition { topic: VERDICTS, number: 0 }, 0).await.is_err(), "not ours");
    consumer.close().await.unwrap();
}

pub(crate) async fn a_consumer_keeps_its_place_in_what_it_retains(world: &mut dyn World) {
    let log = log_with(world, &[MENTIONS], 4).await;
    let round = |n: usize| (0..4).map(|p| on(p, outgoing(MENTIONS, "k", &format!("{n}-{p}")))).collect();
    publish(&*log, round(0)).await;
    let one = consumer(&*log, "one").await;
    consume_until(&*one, 0, |all| all.records.len() >= 4).await;
    let two = consumer(&*log, "two").await;
    let (of_two, of_one) = tokio::join!(
        consume_until(&*two, 0, |all| all.records.len() >= 2),
        consume_until(&*one, 0, |all| all.revoked.len() >= 2),
    );
    assert_eq!((of_two.assigned.len(), of_two.records.len()), (2, 2));
    assert_eq!((of_one.revoked.len(), of_one.assigned.len(), of_one.records.len()), (2, 0, 0));
    publish(&*log, round(1)).await;
    // Sought nowhere anew: what was retained goes on where it was.
    let of_one = consume_until(&*one, 0, |all| all.records.len() >= 2).await;
    let of_two = consume_until(&*two, 0, |all| all.records.len() >= 2).await;
    let mut read = values(&[of_one.records, of_two.records].concat());
    read.sort();
    assert_eq!(read, ["1-0", "1-1", "1-2", "1-3"]);
    one.close().await.unwrap();
    two.close().await.unwrap();
}

pub(crate) async fn compaction_keeps_the_newest_of_each_key(world: &mut dyn World) {
    let mut planned = plan(&[Topic::Feedback], 1);
    planned[0].cleanup = Cleanup::Compact;
    world.prepare_compacted(&planned[0]).await;
    let log = world.log().await;
    log.topics(&planned, true).await.unwrap();
    for round in 0..5 {
        let batch = (0..20).map(|k| outgoing(Topic::Feedback, &format!("k{k}"), &format!("{k}-{round}")));
        publish(&*log, batch.collect()).await;
    }
    let before = of_keys(&everything(&*log, Topic::Feedback).await);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let after = loop {
        // A log may compact only what lies behind newer records.
        publish(&*log, vec![outgoing(Topic::Feedback, "last", "last")]).await;
        world.settle(recent()).await;
        let after = of_keys(&everything(&*log, Topic::Feedback).await);
        if after.len() == 20 {
            break after;
        }
        assert!(tokio::time::Instant::now() < deadline, "{} records are left of 20 keys", after.len());
    };
    let newest = |all: &[(Bytes, String)]| all.iter().cloned().collect::<BTreeMap<_, _>>();
    assert_eq!(newest(&after), newest(&before), "what is newest stays");
    let step = log.step(step_settings("m", &[Topic::Feedback])).await.unwrap();
    let read = poll_until(&*step, |all| of_keys(&all.records).len() == 20).await;
    assert_eq!(of_keys(&read.records), after, "a step passes over the gaps");
    step.close().await.unwrap();
}

/// Keys and values of the numbered keys.
fn of_keys(records: &[bus::Received]) -> Vec<(Bytes, String)> {
    let numbered = records.iter().filter(|r| r.record.key.starts_with(b"k"));
    numbered.map(|r| (r.record.key.clone(), value(r))).collect()
}

pub(crate) async fn old_records_go_and_readers_begin_at_what_is_left(world: &mut dyn World) {
    let log = world.log().await;
    let mut planned = plan(&[MENTIONS], 1);
    planned[0].retention_ms = 86_400_000;
    log.topics(&planned, true).await.unwrap();
    let old = Timestamp::from_millis(recent().as_millis() - 10 * 86_400_000);
    let mut batch = numbered(MENTIONS, 10);
    for outgoing in &mut batch {
        outgoing.record.at = old;
    }
    publish(&*log, batch).await;
    let reader = log.reader().unwrap();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while reader.watermarks(mentions(0)).await.unwrap().low < 10 {
        assert!(tokio::time::Instant::now() < deadline, "old records stay");
        world.settle(recent()).await;
    }
    publish(&*log, vec![outgoing(MENTIONS, "k", "young")]).await;
    let marks = reader.watermarks(mentions(0)).await.unwrap();
    assert_eq!((marks.low, marks.high), (10, 11));
    assert_eq!(values(&reader.read(mentions(0), 0, 10, PATIENCE).await.unwrap()), ["young"]);
    let step = log.step(step_settings("m", &[MENTIONS])).await.unwrap();
    assert_eq!(values(&poll_records(&*step, 1).await.records), ["young"]);
    step.close().await.unwrap();
}
