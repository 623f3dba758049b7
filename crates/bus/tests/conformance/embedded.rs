//! The cases on the embedded log.

use std::sync::Arc;

use async_trait::async_trait;
use bus::{EmbeddedLog, EmbeddedSettings, Log, Topic};
use model::Timestamp;
use tempfile::TempDir;

use crate::cases;
use crate::world::{World, numbered, plan, poll_records, publish, step_settings};

struct Embedded {
    folder: TempDir,
    log: Option<Arc<EmbeddedLog>>,
}

const SETTINGS: EmbeddedSettings = EmbeddedSettings { compact_after_records: 1 };

impl Embedded {
    fn new() -> Self {
        let mut world = Self { folder: tempfile::tempdir().unwrap(), log: None };
        world.open();
        world
    }

    fn open(&mut self) -> Arc<EmbeddedLog> {
        let log = Arc::new(EmbeddedLog::open(&self.folder.path().join("log.db"), SETTINGS).unwrap());
        self.log = Some(log.clone());
        log
    }
}

#[async_trait]
impl World for Embedded {
    async fn log(&self) -> Arc<dyn Log> {
        self.log.clone().unwrap()
    }

    async fn restart(&mut self) -> Arc<dyn Log> {
        self.log = None;
        self.open()
    }

    async fn settle(&self, now: Timestamp) {
        self.log.as_ref().unwrap().maintain(now).await.unwrap();
    }
}

macro_rules! cases {
    ($($name:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            cases::$name(&mut Embedded::new()).await;
        }
    )*};
}

crate::world::for_each_case!(cases);

#[tokio::test]
async fn a_second_opening_of_the_file_is_refused_until_the_first_is_gone() {
    let world = Embedded::new();
    let path = world.folder.path().join("log.db");
    let error = EmbeddedLog::open(&path, SETTINGS).err().unwrap().to_string();
    assert!(error.contains("another process has it open"), "{error}");
    let folder = {
        let Embedded { folder, log } = world;
        drop(log);
        folder
    };
    assert!(EmbeddedLog::open(&path, SETTINGS).is_ok());
    drop(folder);
}

#[tokio::test]
async fn a_log_in_memory_keeps_the_same_promises() {
    struct InMemory(Arc<EmbeddedLog>);
    #[async_trait]
    impl World for InMemory {
        async fn log(&self) -> Arc<dyn Log> {
            self.0.clone()
        }
        async fn restart(&mut self) -> Arc<dyn Log> {
            self.0.clone()
        }
        async fn settle(&self, now: Timestamp) {
            self.0.maintain(now).await.unwrap();
        }
    }
    let world = || InMemory(Arc::new(EmbeddedLog::in_memory_with(SETTINGS).unwrap()));
    cases::records_of_one_key_keep_their_order(&mut world()).await;
    cases::outputs_of_two_members_come_exactly_once_through_rebalances(&mut world()).await;
    cases::compaction_keeps_the_newest_of_each_key(&mut world()).await;
}

#[tokio::test]
async fn positions_say_how_far_each_group_has_come_in_what_it_reads() {
    let log = EmbeddedLog::in_memory_with(SETTINGS).unwrap();
    log.topics(&plan(&[Topic::Mentions, Topic::Verdicts], 2), true).await.unwrap();
    publish(&log, numbered(Topic::Mentions, 50)).await;
    let read_and_there = || {
        log.positions().into_iter().fold((0, 0), |(next, end), position| {
            assert_eq!((position.group.as_str(), position.partition.topic), ("group", Topic::Mentions));
            (next + position.next, end + position.end)
        })
    };
    assert_eq!(log.positions(), [], "nobody reads yet");
    let step = log.step(step_settings("m", &[Topic::Mentions])).await.unwrap();
    assert_eq!(read_and_there(), (0, 50));
    let polled = poll_records(&*step, 50).await;
    assert_eq!(read_and_there(), (0, 50), "read, and not committed");
    step.commit(polled.token, Vec::new()).await.unwrap();
    assert_eq!(read_and_there(), (50, 50));
}
