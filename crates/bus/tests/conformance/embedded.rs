//! The cases on the embedded log.

use std::sync::Arc;

use async_trait::async_trait;
use bus::{EmbeddedLog, EmbeddedSettings, Log};
use model::Timestamp;
use tempfile::TempDir;

use crate::cases;
use crate::world::World;

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
