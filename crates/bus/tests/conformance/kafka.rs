//! The cases on a real Kafka, where there is one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bus::{KafkaLog, KafkaSettings, Log, Topic, TopicPlan};
use model::Timestamp;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
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

/// The client library waits in steps of 100 ms where a commit finds records on their way; ours are sent
/// and confirmed before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_do_not_wait_in_the_clients_steps_of_100_ms() {
    let Some(world) = OnKafka::new().await else { return };
    let log = log_with(&world, &[Topic::Mentions, Topic::Verdicts], 3).await;
    publish(&*log, numbered(Topic::Mentions, 5_000)).await;
    let step = log.step(step_settings("m", &[Topic::Mentions])).await.unwrap();
    let (mut done, mut commits, mut slow) = (0, 0, 0);
    while done < 5_000 {
        let polled = step.poll(100, PATIENCE).await.unwrap();
        done += polled.records.len();
        let began = std::time::Instant::now();
        step.commit(polled.token, copies(&polled.records)).await.unwrap();
        commits += 1;
        slow += u32::from(began.elapsed() >= Duration::from_millis(100));
    }
    assert!(commits >= 50 && slow < commits / 2, "{slow} of {commits} commits were slow");
    step.close().await.unwrap();

    let mut settings = KafkaSettings::new(world.broker.brokers(), &world.prefix);
    settings.session_timeout = Duration::from_secs(6);
    let topics = (Topic::Mentions, Topic::Verdicts);
    let copy = move || bus::bench::bare_copy(&settings, "bare", topics, 5_000, Duration::from_millis(2));
    let copy = tokio::task::spawn_blocking(copy).await.unwrap().unwrap();
    assert_eq!(copy.records, 5_000);
    assert_eq!(everything(&*log, Topic::Verdicts).await.len(), 10_000);
}
