//! The cases on a real Kafka, where there is one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bus::{CommitError, KafkaLog, KafkaSettings, Log, Partition, Topic, TopicPlan};
use model::Timestamp;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use testkit::kafka::Kafka;

use crate::cases;
use crate::world::*;

struct OnKafka {
    broker: &'static Kafka,
    prefix: String,
    log: Mutex<Option<Arc<KafkaLog>>>,
}

impl OnKafka {
    async fn new() -> Option<Self> {
        let broker = testkit::kafka::shared().await?;
        Some(Self { broker, prefix: broker.prefix(), log: Mutex::default() })
    }

    fn open(&self) -> Arc<KafkaLog> {
        let mut settings = KafkaSettings::new(self.broker.brokers(), &self.prefix);
        settings.session_timeout = Duration::from_secs(6);
        let log = Arc::new(KafkaLog::connect(settings).unwrap());
        *self.log.lock().unwrap() = Some(log.clone());
        log
    }
}

#[async_trait]
impl World for OnKafka {
    async fn log(&self) -> Arc<dyn Log> {
        let open = self.log.lock().unwrap().clone();
        open.unwrap_or_else(|| self.open())
    }

    async fn restart(&mut self) -> Arc<dyn Log> {
        *self.log.lock().unwrap() = None;
        self.open()
    }

    /// The broker looks by itself, our own about twice a second.
    async fn settle(&self, _now: Timestamp) {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    /// Only closed segments are compacted: they close soon here, when the next record comes.
    async fn prepare_compacted(&self, plan: &TopicPlan) {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", self.broker.brokers()).create().unwrap();
        let name = format!("{}{}", self.prefix, plan.topic);
        let topic = NewTopic::new(&name, plan.partitions, TopicReplication::Fixed(1))
            .set("cleanup.policy", "compact")
            .set("segment.ms", "100")
            .set("min.cleanable.dirty.ratio", "0.0");
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        admin.create_topics([&topic], &options).await.unwrap()[0].clone().unwrap();
    }
}

macro_rules! cases {
    ($($name:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            if let Some(mut world) = OnKafka::new().await {
                cases::$name(&mut world).await;
            }
        }
    )*};
}

crate::world::for_each_case!(cases);

/// A commit that finds records on their way costs 100 ms in the client library.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bare_copy_is_exact_and_no_commit_finds_records_on_their_way() {
    let Some(world) = OnKafka::new().await else { return };
    let log = log_with(&world, &[Topic::Mentions, Topic::Verdicts], 3).await;
    let mut batch = numbered(Topic::Mentions, 5_000);
    batch.iter_mut().for_each(|out| out.record.headers.push("ce_type", "number"));
    publish(&*log, batch).await;
    let settings = KafkaSettings::new(world.broker.brokers(), &world.prefix);
    let topics = (Topic::Mentions, Topic::Verdicts);
    let copy = move || bus::bench::bare_copy(&settings, "bare", topics, 5_000, Duration::from_millis(2));
    let copy = tokio::task::spawn_blocking(copy).await.unwrap().unwrap();
    println!("{} commits, median {:?}", copy.commits.len(), copy.commit_median());
    assert_eq!((copy.records, copy.undrained), (5_000, 0));
    let records = async |topic| {
        let mut found = everything(&*log, topic).await;
        found.sort_by_key(|r| value(r).parse::<usize>().unwrap());
        found.into_iter().map(|r| r.record).collect::<Vec<_>>()
    };
    let copied = records(Topic::Verdicts).await;
    assert_eq!(copied.len(), 5_000);
    assert_eq!(copied, records(Topic::Mentions).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_transaction_has_not_committed_is_not_seen() {
    let Some(world) = OnKafka::new().await else { return };
    let log = log_with(&world, &[Topic::Mentions], 1).await;
    let partition = Partition { topic: Topic::Mentions, number: 0 };
    let name = format!("{}{}", world.prefix, Topic::Mentions);
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", world.broker.brokers())
        .set("transactional.id", &world.prefix)
        .create()
        .unwrap();
    let producer = tokio::task::spawn_blocking(move || {
        producer.init_transactions(PATIENCE).unwrap();
        let write = |value: &str| {
            producer.begin_transaction().unwrap();
            producer.send(BaseRecord::to(&name).key("k").payload(value)).unwrap();
            producer.flush(PATIENCE).unwrap();
        };
        write("aborted");
        producer.abort_transaction(PATIENCE).unwrap();
        write("late");
        producer
    })
    .await
    .unwrap();
    let reader = log.reader().unwrap();
    assert!(reader.read(partition, 0, 10, SILENCE).await.unwrap().is_empty());
    let end = reader.end(partition).await.unwrap();
    assert!(reader.watermarks(partition).await.unwrap().high < end, "one is still open");
    // A scan to the end waits until it is decided.
    let scanning = {
        let reader = reader.clone();
        tokio::spawn(async move { reader.scan(partition, 0, end, 10).await.unwrap() })
    };
    tokio::task::spawn_blocking(move || producer.commit_transaction(PATIENCE).unwrap()).await.unwrap();
    let scanned = scanning.await.unwrap();
    assert_eq!((values(&scanned.records), scanned.next), (vec!["late".to_owned()], end));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_the_broker_refuses_is_aborted_and_its_records_come_again() {
    let Some(world) = OnKafka::new().await else { return };
    let log = log_with(&world, &[Topic::Mentions, Topic::Verdicts], 2).await;
    publish(&*log, numbered(Topic::Mentions, 30)).await;
    let step = log.step(step_settings("m", &[Topic::Mentions])).await.unwrap();
    let first = poll_records(&*step, 30).await;
    let mut outputs = copies(&first.records);
    // Brokers take no record from the future, which shows only once it is on its way.
    outputs[29].record.at = Timestamp::from_millis(recent().as_millis() + 10 * 86_400_000);
    let refused = step.commit(first.token.clone(), outputs).await;
    assert!(matches!(refused, Err(CommitError::Aborted(_))), "{refused:?}");
    let mut tries = 0;
    loop {
        let again = poll_records(&*step, 30).await;
        assert_eq!(again.token.next, first.token.next);
        match step.commit(again.token, copies(&again.records)).await {
            Ok(()) => break,
            // The gap the refused record left in the producer's numbers may cost one more.
            Err(CommitError::Aborted(_)) if tries < 3 => tries += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(everything(&*log, Topic::Verdicts).await.len(), 30);
    let mut from_the_future = outgoing(Topic::Mentions, "k", "v");
    from_the_future.record.at = Timestamp::from_millis(recent().as_millis() + 10 * 86_400_000);
    let results = log.publisher().unwrap().publish(vec![from_the_future]).await.unwrap();
    assert_eq!(results[0].as_ref().unwrap_err().reason, "time_out_of_range");
    step.close().await.unwrap();
}
