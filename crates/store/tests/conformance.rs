//! What services rely on, on SQLite always and on Postgres where one can be had.

// Helpers of tests may panic like tests; clippy exempts only functions marked as tests.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use model::Timestamp;
use sqlx::AnyPool;
use store::offsets::{AdvanceError, OffsetKey};
use store::outbox::{End, Message, Recorded};
use store::{Migration, Store, StoreError, StoreOptions, due, offsets, outbox, sqlx};

const SERVICE: &str = "probe";
const LEASE: Duration = Duration::from_secs(30);

const EFFECTS: Migration = Migration {
    version: 1,
    name: "effects",
    sql: "CREATE TABLE {service}_effects (\n  id BIGINT NOT NULL PRIMARY KEY,\n  weight DOUBLE PRECISION NOT \
          NULL,\n  body BYTEA,\n  note TEXT\n);\n",
};

/// Each of these runs on both databases.
macro_rules! conformance {
    ($($name:ident)*) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let folder = tempfile::tempdir().unwrap();
                let url = format!("sqlite://{}", folder.path().join("a folder/the #1?.db").display());
                super::$name(&super::World::new(url).await).await;
            })*
        }
        mod on_postgres {
            $(#[test]
            fn $name() {
                super::runtime().block_on(async {
                    let Some(server) = testkit::postgres::shared().await else { return };
                    super::$name(&super::World::new(server.database().await).await).await;
                });
            })*
        }
    };
}

conformance! {
    migrations_are_applied_once_and_in_order
    a_changed_migration_is_refused
    two_first_runs_at_once_apply_once
    a_service_waits_for_its_tables
    values_come_back_as_written
    offset_begins_at_zero_and_moves_with_the_effects
    a_crash_between_effects_and_commit_leaves_nothing
    a_zombies_advance_matches_no_row
    of_racing_members_one_advances
    a_repeated_message_is_written_once
    a_message_of_a_rolled_back_transaction_is_never_seen
    order_is_kept_per_key_and_destination
    a_retry_holds_back_what_follows_it
    a_resting_destination_holds_back_only_its_own
    a_dead_workers_claim_passes_on_and_its_completion_is_refused
    two_workers_never_both_complete_a_message
    finished_messages_are_forgotten_and_pending_ones_kept
    claims_are_bounded
    work_is_claimed_when_due_and_finished_once
    moved_work_cannot_be_finished_by_who_claimed_it_before
    cancelled_work_is_gone
    racing_workers_share_due_work_without_overlap
}

/// The shared server's waiting belongs to no single test, so all tests on it use one runtime.
fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap())
}

/// A database with the tables of one service.
struct World {
    url: String,
    store: Store,
}

impl World {
    async fn new(url: String) -> Self {
        let store = Store::open(&url, StoreOptions::default()).await.unwrap();
        store::migrate(&store, SERVICE, &[EFFECTS], at(0)).await.unwrap();
        Self { url, store }
    }

    /// What a second process would hold.
    async fn another(&self) -> Store {
        Store::open(&self.url, StoreOptions::default()).await.unwrap()
    }

    async fn effect(&self, tx: &mut store::Tx, id: i64) {
        sqlx::query("INSERT INTO probe_effects (id, weight) VALUES ($1, $2)")
            .bind(id)
            .bind(0.5)
            .execute(&mut **tx)
            .await
            .unwrap();
    }

    async fn effects(&self) -> i64 {
        sqlx::query_scalar("SELECT COUNT(*) FROM probe_effects").fetch_one(self.store.pool()).await.unwrap()
    }

    async fn enqueue(&self, id: &str, key: &str, destination: &str) -> bool {
        let mut tx = self.store.begin().await.unwrap();
        let written = outbox::enqueue(&mut tx, SERVICE, &message(id, key, destination), at(0)).await.unwrap();
        tx.commit().await.unwrap();
        written
    }

    async fn claim(&self, worker: &str, now: i64) -> Vec<outbox::Claimed> {
        outbox::claim(&self.store, SERVICE, worker, at(now), LEASE, 10).await.unwrap()
    }

    async fn complete(&self, claimed: &outbox::Claimed, end: End, now: i64) -> Recorded {
        let mut tx = self.store.begin().await.unwrap();
        let recorded = outbox::complete(&mut tx, SERVICE, claimed, &end, at(now)).await.unwrap();
        tx.commit().await.unwrap();
        recorded
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_000_000 + seconds)
}

fn message(id: &str, key: &str, destination: &str) -> Message {
    Message {
        delivery_id: id.into(),
        ordering_key: key.into(),
        destination: destination.into(),
        kind: "page".into(),
        body: vec![0, 159, 146, 150],
        headers: "ce_id=1".into(),
        due_at: at(0),
    }
}

fn ids(claimed: &[outbox::Claimed]) -> Vec<&str> {
    claimed.iter().map(|c| c.entry.message.delivery_id.as_str()).collect()
}

const fn key(partition: i32) -> OffsetKey<'static> {
    OffsetKey { service: SERVICE, consumer: "response", topic: "verdicts", partition }
}

fn work(name: &str, due: i64) -> due::Due {
    due::Due { key: name.into(), due_at: at(due), kind: "remind".into(), body: b"x".to_vec() }
}

async fn put(store: &Store, work: &due::Due) {
    let mut tx = store.begin().await.unwrap();
    due::put(&mut tx, SERVICE, work).await.unwrap();
    tx.commit().await.unwrap();
}

async fn migrations_are_applied_once_and_in_order(world: &World) {
    let second =
        Migration { version: 2, name: "more", sql: "ALTER TABLE {service}_effects ADD COLUMN x TEXT;" };
    let list = [EFFECTS, second];
    let open = store::pending(&world.store, SERVICE, &list).await.unwrap();
    assert_eq!(open.iter().map(|m| (m.service.as_str(), m.version)).collect::<Vec<_>>(), [("probe", 2)]);
    assert_eq!(store::migrate(&world.store, SERVICE, &list, at(1)).await.unwrap(), open);
    assert_eq!(store::migrate(&world.store, SERVICE, &list, at(2)).await.unwrap(), []);
    // The old program still finds all that it needs.
    assert_eq!(store::pending(&world.store, SERVICE, &[EFFECTS]).await.unwrap(), []);
    // Another service's tables are its own.
    let other = store::migrate(&world.store, "other", &[], at(3)).await.unwrap();
    assert_eq!(other.iter().map(|m| m.service.as_str()).collect::<Vec<_>>(), ["other/store"]);
}

async fn a_changed_migration_is_refused(world: &World) {
    let changed = Migration { sql: "CREATE TABLE {service}_effects (id BIGINT);", ..EFFECTS };
    let error = store::migrate(&world.store, SERVICE, &[changed], at(1)).await.unwrap_err();
    assert!(error.to_string().contains("migration 1 effects was changed"), "{error}");
    let broken = Migration { version: 2, name: "broken", sql: "CREATE TABLE probe_b (id BIGINT);\nNO SQL;" };
    let error = store::migrate(&world.store, SERVICE, &[EFFECTS, broken], at(1)).await.unwrap_err();
    assert!(error.to_string().contains("applying migration 2 broken of probe, statement 2"), "{error}");
    // Nothing of the broken one stayed.
    let table = sqlx::query("SELECT COUNT(*) FROM probe_b").execute(world.store.pool()).await;
    assert!(table.is_err());
}

async fn two_first_runs_at_once_apply_once(world: &World) {
    let other = world.another().await;
    let (a, b) = tokio::join!(
        store::migrate(&world.store, "fresh", &[], at(1)),
        store::migrate(&other, "fresh", &[], at(1)),
    );
    assert_eq!(a.unwrap().len() + b.unwrap().len(), 1);
}

async fn a_service_waits_for_its_tables(world: &World) {
    let error = store::wait_for_version(&world.store, "late", &[], Duration::ZERO).await.unwrap_err();
    assert!(matches!(&error, StoreError::Schema { .. }), "{error}");
    assert!(error.to_string().contains("run 'redress migrate'"), "{error}");
    let (waited, applied) = tokio::join!(
        store::wait_for_version(&world.store, "late", &[], Duration::from_secs(60)),
        store::migrate(&world.store, "late", &[], at(1)),
    );
    waited.unwrap();
    assert_eq!(applied.unwrap().len(), 1);
}

async fn values_come_back_as_written(world: &World) {
    let mut tx = world.store.begin().await.unwrap();
    let bytes: Vec<u8> = (0..=255).collect();
    sqlx::query("INSERT INTO probe_effects (id, weight, body, note) VALUES ($1, $2, $3, $4)")
        .bind(i64::MIN)
        .bind(0.1 + 0.2)
        .bind(bytes.clone())
        .bind("naïve 日本 '; DROP")
        .execute(&mut *tx)
        .await
        .unwrap();
    sqlx::query("INSERT INTO probe_effects (id, weight, body, note) VALUES ($1, $2, $3, $4)")
        .bind(i64::MAX)
        .bind(-0.0)
        .bind(None::<Vec<u8>>)
        .bind(None::<String>)
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    type EffectRow = (i64, f64, Option<Vec<u8>>, Option<String>);
    let rows: Vec<EffectRow> = sqlx::query_as("SELECT id, weight, body, note FROM probe_effects ORDER BY id")
        .fetch_all(world.store.pool())
        .await
        .unwrap();
    assert_eq!(rows[0], (i64::MIN, 0.1 + 0.2, Some(bytes), Some("naïve 日本 '; DROP".into())));
    assert_eq!(rows[1], (i64::MAX, -0.0, None, None));
}

async fn offset_begins_at_zero_and_moves_with_the_effects(world: &World) {
    assert_eq!(offsets::load(world.store.pool(), key(0)).await.unwrap(), 0);
    for (from, to) in [(0, 0), (0, 7), (7, 7), (7, 12)] {
        let mut tx = world.store.begin().await.unwrap();
        offsets::advance(&mut tx, key(0), from, to).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(offsets::load(world.store.pool(), key(0)).await.unwrap(), to);
        let all = offsets::all(world.store.pool(), key(0).service).await.unwrap();
        let found: Vec<_> =
            all.iter().map(|o| (o.consumer.as_str(), o.topic.as_str(), o.partition, o.next)).collect();
        assert_eq!(found, [(key(0).consumer, key(0).topic, 0, to)]);
    }
    assert_eq!(offsets::load(world.store.pool(), key(1)).await.unwrap(), 0, "partitions are apart");
    let mut tx = world.store.begin().await.unwrap();
    let backwards = offsets::advance(&mut tx, key(0), 12, 3).await;
    assert!(matches!(backwards, Err(AdvanceError::Conflict { .. })));
}

async fn a_crash_between_effects_and_commit_leaves_nothing(world: &World) {
    let mut tx = world.store.begin().await.unwrap();
    world.effect(&mut tx, 1).await;
    outbox::enqueue(&mut tx, SERVICE, &message("d1", "e", "pager"), at(0)).await.unwrap();
    due::put(&mut tx, SERVICE, &work("w", 0)).await.unwrap();
    offsets::advance(&mut tx, key(0), 0, 5).await.unwrap();
    drop(tx);
    assert_eq!(world.effects().await, 0);
    assert_eq!(offsets::load(world.store.pool(), key(0)).await.unwrap(), 0);
    assert_eq!(world.claim("w1", 1).await, []);
    assert_eq!(due::claim(&world.store, SERVICE, "w1", at(1), LEASE, 10).await.unwrap(), []);
}

async fn a_zombies_advance_matches_no_row(world: &World) {
    let zombie = world.another().await;
    let loaded = offsets::load(zombie.pool(), key(0)).await.unwrap();
    // The new owner reads on from the same place.
    let mut tx = world.store.begin().await.unwrap();
    world.effect(&mut tx, 1).await;
    offsets::advance(&mut tx, key(0), loaded, loaded + 3).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = zombie.begin().await.unwrap();
    world.effect(&mut tx, 2).await;
    let refused = offsets::advance(&mut tx, key(0), loaded, loaded + 3).await;
    assert!(matches!(refused, Err(AdvanceError::Conflict { from: 0, .. })), "{refused:?}");
    tx.rollback().await.unwrap();
    assert_eq!(world.effects().await, 1);
}

async fn of_racing_members_one_advances(world: &World) {
    for from in [0_i64, 10, 20] {
        let mut racers = Vec::new();
        for racer in 0..4 {
            let store = world.another().await;
            racers.push(tokio::spawn(async move {
                let mut tx = store.begin().await.unwrap();
                let id = from * 100 + racer;
                sqlx::query("INSERT INTO probe_effects (id, weight) VALUES ($1, 0)")
                    .bind(id)
                    .execute(&mut *tx)
                    .await
                    .unwrap();
                if offsets::advance(&mut tx, key(0), from, from + 10).await.is_ok() {
                    tx.commit().await.unwrap();
                    1
                } else {
                    tx.rollback().await.unwrap();
                    0
                }
            }));
        }
        let mut advanced = 0;
        for racer in racers {
            advanced += racer.await.unwrap();
        }
        assert_eq!(advanced, 1);
    }
    assert_eq!(world.effects().await, 3);
    assert_eq!(offsets::load(world.store.pool(), key(0)).await.unwrap(), 30);
}

async fn a_repeated_message_is_written_once(world: &World) {
    assert!(world.enqueue("d1", "e", "pager").await);
    assert!(!world.enqueue("d1", "e", "pager").await);
    let claimed = world.claim("w1", 1).await;
    assert_eq!(ids(&claimed), ["d1"]);
    assert_eq!(claimed[0].entry.message, message("d1", "e", "pager"));
    assert_eq!(world.complete(&claimed[0], End::Sent, 2).await, Recorded::Yes);
    assert!(!world.enqueue("d1", "e", "pager").await, "also when it was sent long ago");
    assert_eq!(world.claim("w1", 100).await, []);
}

async fn a_message_of_a_rolled_back_transaction_is_never_seen(world: &World) {
    let mut tx = world.store.begin().await.unwrap();
    outbox::enqueue(&mut tx, SERVICE, &message("d1", "e", "pager"), at(0)).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(world.claim("w1", 1).await, []);
    assert!(world.enqueue("d1", "e", "pager").await);
}

async fn order_is_kept_per_key_and_destination(world: &World) {
    for (id, key, destination) in [
        ("d1", "e1", "pager"),
        ("d2", "e1", "pager"),
        ("d3", "e1", "chat"),
        ("d4", "e2", "pager"),
        ("d5", "e1", "pager"),
    ] {
        world.enqueue(id, key, destination).await;
    }
    let first = world.claim("w1", 1).await;
    assert_eq!(ids(&first), ["d1", "d3", "d4"]);
    assert_eq!(world.claim("w2", 1).await, [], "what is claimed holds back what follows");
    assert_eq!(outbox::next_due(&world.store, SERVICE).await.unwrap(), Some(first[0].until));
    assert_eq!(world.complete(&first[0], End::Drop { reason: "resolved".into() }, 2).await, Recorded::Yes);
    let second = world.claim("w2", 2).await;
    assert_eq!(ids(&second), ["d2"]);
    assert_eq!(world.complete(&second[0], End::Fail { reason: "gone".into() }, 2).await, Recorded::Yes);
    assert_eq!(ids(&world.claim("w2", 3).await), ["d5"]);
    let listed = outbox::list(&world.store, SERVICE, "e1").await.unwrap();
    let states: Vec<_> = listed.iter().map(|e| (e.message.delivery_id.as_str(), e.state.name())).collect();
    assert_eq!(states, [("d3", "pending"), ("d1", "dropped"), ("d2", "failed"), ("d5", "pending")]);
}

async fn a_retry_holds_back_what_follows_it(world: &World) {
    world.enqueue("d1", "e", "pager").await;
    world.enqueue("d2", "e", "pager").await;
    let claimed = world.claim("w1", 1).await;
    let retry = End::Retry { at: at(60), error: "status 503".into() };
    assert_eq!(world.complete(&claimed[0], retry, 2).await, Recorded::Yes);
    assert_eq!(world.claim("w1", 59).await, []);
    assert_eq!(outbox::next_due(&world.store, SERVICE).await.unwrap(), Some(at(60)));
    let again = world.claim("w1", 60).await;
    assert_eq!(ids(&again), ["d1"]);
    assert_eq!((again[0].entry.attempts, again[0].entry.last_error.as_str()), (2, "status 503"));
}

async fn a_resting_destination_holds_back_only_its_own(world: &World) {
    world.enqueue("d1", "e1", "pager").await;
    world.enqueue("d2", "e2", "pager").await;
    world.enqueue("d3", "e1", "chat").await;
    for until in [60, 30] {
        let mut tx = world.store.begin().await.unwrap();
        outbox::pause_destination(&mut tx, SERVICE, "pager", at(until)).await.unwrap();
        tx.commit().await.unwrap();
    }
    let chat = world.claim("w1", 1).await;
    assert_eq!(ids(&chat), ["d3"]);
    assert_eq!(world.complete(&chat[0], End::Sent, 1).await, Recorded::Yes);
    assert_eq!(world.claim("w1", 59).await, [], "a shorter rest shortens nothing");
    assert_eq!(outbox::next_due(&world.store, SERVICE).await.unwrap(), Some(at(60)));
    assert_eq!(ids(&world.claim("w1", 60).await), ["d1", "d2"]);
}

async fn a_dead_workers_claim_passes_on_and_its_completion_is_refused(world: &World) {
    world.enqueue("d1", "e", "pager").await;
    let dead = world.claim("w1", 0).await;
    assert_eq!(world.claim("w2", 29).await, []);
    let heir = world.claim("w2", 30).await;
    assert_eq!(ids(&heir), ["d1"]);
    assert_eq!(world.complete(&dead[0], End::Sent, 31).await, Recorded::LostClaim);
    assert_eq!(world.complete(&heir[0], End::Sent, 31).await, Recorded::Yes);
    assert_eq!(world.complete(&heir[0], End::Sent, 31).await, Recorded::LostClaim, "once");
}

async fn two_workers_never_both_complete_a_message(world: &World) {
    const MESSAGES: usize = 60;
    for i in 0..MESSAGES {
        world.enqueue(&format!("d{i:03}"), &format!("e{}", i % 7), "pager").await;
    }
    // Leases shorter than the work, so that claims are lost all the time; the clock is a shared counter.
    let clock = Arc::new(std::sync::atomic::AtomicI64::new(1));
    let mut workers = Vec::new();
    for worker in 0..3 {
        let store = world.another().await;
        let clock = clock.clone();
        workers.push(tokio::spawn(async move {
            let name = format!("w{worker}");
            let mut done = Vec::new();
            let tick = || at(clock.fetch_add(1, std::sync::atomic::Ordering::SeqCst));
            loop {
                let lease = Duration::from_secs(3);
                let claimed = outbox::claim(&store, SERVICE, &name, tick(), lease, 4).await.unwrap();
                for claim in &claimed {
                    let mut tx = store.begin().await.unwrap();
                    let recorded =
                        outbox::complete(&mut tx, SERVICE, claim, &End::Sent, tick()).await.unwrap();
                    if recorded == Recorded::Yes {
                        tx.commit().await.unwrap();
                        done.push(claim.entry.message.delivery_id.clone());
                    } else {
                        tx.rollback().await.unwrap();
                    }
                }
                if outbox::backlog(&store, SERVICE).await.unwrap().pending == 0 {
                    return done;
                }
                tokio::task::yield_now().await;
            }
        }));
    }
    let mut all = Vec::new();
    for worker in workers {
        all.extend(tokio::time::timeout(Duration::from_secs(120), worker).await.unwrap().unwrap());
    }
    all.sort();
    assert_eq!(all, (0..MESSAGES).map(|i| format!("d{i:03}")).collect::<Vec<_>>());
    let mut last_per_key = std::collections::BTreeMap::new();
    for key in 0..7 {
        let mut entries = outbox::list(&world.store, SERVICE, &format!("e{key}")).await.unwrap();
        entries.sort_by_key(|e| e.ended_at);
        for entry in entries {
            let before = last_per_key.insert(key, entry.message.delivery_id.clone());
            assert!(before.is_none_or(|b| b < entry.message.delivery_id), "sent in the order written");
        }
    }
}

async fn finished_messages_are_forgotten_and_pending_ones_kept(world: &World) {
    for (id, key) in [("d1", "e1"), ("d2", "e2"), ("d3", "e3")] {
        world.enqueue(id, key, "pager").await;
    }
    let claimed = world.claim("w1", 1).await;
    assert_eq!(world.complete(&claimed[0], End::Sent, 10).await, Recorded::Yes);
    assert_eq!(world.complete(&claimed[1], End::Sent, 20).await, Recorded::Yes);
    assert_eq!(outbox::purge(&world.store, SERVICE, at(15), 100).await.unwrap(), 1);
    assert_eq!(outbox::purge(&world.store, SERVICE, at(1_000), 100).await.unwrap(), 1);
    assert_eq!(outbox::purge(&world.store, SERVICE, at(1_000), 100).await.unwrap(), 0);
    let backlog = outbox::backlog(&world.store, SERVICE).await.unwrap();
    assert_eq!((backlog.pending, backlog.oldest), (1, Some(at(0))));
}

async fn claims_are_bounded(world: &World) {
    let mut tx = world.store.begin().await.unwrap();
    for i in 0..=outbox::CLAIM_MAX {
        let message = message(&format!("d{i}"), &format!("e{i}"), "pager");
        outbox::enqueue(&mut tx, SERVICE, &message, at(0)).await.unwrap();
    }
    tx.commit().await.unwrap();
    let claimed = outbox::claim(&world.store, SERVICE, "w", at(1), LEASE, u32::MAX).await.unwrap();
    assert_eq!(claimed.len(), outbox::CLAIM_MAX as usize);
    assert_eq!(outbox::claim(&world.store, SERVICE, "w", at(1), LEASE, u32::MAX).await.unwrap().len(), 1);
}

async fn work_is_claimed_when_due_and_finished_once(world: &World) {
    for (name, due) in [("b", 20), ("a", 10), ("c", 30)] {
        put(&world.store, &work(name, due)).await;
    }
    assert_eq!(due::next_due(&world.store, SERVICE).await.unwrap(), Some(at(10)));
    assert_eq!(due::claim(&world.store, SERVICE, "w1", at(9), LEASE, 10).await.unwrap(), []);
    let claimed = due::claim(&world.store, SERVICE, "w1", at(20), LEASE, 10).await.unwrap();
    assert_eq!(claimed.iter().map(|c| c.due.key.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(claimed[0].due, work("a", 10));
    assert_eq!(due::claim(&world.store, SERVICE, "w2", at(29), LEASE, 10).await.unwrap(), []);

    // The first worker dies after its effects, before the commit: the work comes again, the effects do not.
    let mut tx = world.store.begin().await.unwrap();
    world.effect(&mut tx, 1).await;
    assert!(due::finish(&mut tx, SERVICE, &claimed[0]).await.unwrap());
    // Said, not left to the drop: until the database hears of it, the row is locked and others pass it by.
    tx.rollback().await.unwrap();
    assert_eq!(world.effects().await, 0);
    let again = due::claim(&world.store, SERVICE, "w2", at(50), LEASE, 1).await.unwrap();
    assert_eq!((again[0].due.key.as_str(), again[0].claims), ("a", 2));
    let mut tx = world.store.begin().await.unwrap();
    assert!(!due::finish(&mut tx, SERVICE, &claimed[0]).await.unwrap(), "the dead worker's claim is void");
    world.effect(&mut tx, 1).await;
    assert!(due::finish(&mut tx, SERVICE, &again[0]).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(world.effects().await, 1);
}

async fn moved_work_cannot_be_finished_by_who_claimed_it_before(world: &World) {
    put(&world.store, &work("a", 10)).await;
    let claimed = due::claim(&world.store, SERVICE, "w1", at(10), LEASE, 10).await.unwrap();
    put(&world.store, &work("a", 99)).await;
    let mut tx = world.store.begin().await.unwrap();
    assert!(!due::finish(&mut tx, SERVICE, &claimed[0]).await.unwrap());
    tx.rollback().await.unwrap();
    assert_eq!(due::next_due(&world.store, SERVICE).await.unwrap(), Some(at(99)));
    // Also when it became due again at once and the same worker took it up within the same instant.
    put(&world.store, &work("a", 10)).await;
    let second = due::claim(&world.store, SERVICE, "w1", at(10), LEASE, 10).await.unwrap();
    let mut tx = world.store.begin().await.unwrap();
    assert!(!due::finish(&mut tx, SERVICE, &claimed[0]).await.unwrap());
    assert!(due::finish(&mut tx, SERVICE, &second[0]).await.unwrap());
    tx.commit().await.unwrap();
}

async fn cancelled_work_is_gone(world: &World) {
    put(&world.store, &work("a", 10)).await;
    let mut tx = world.store.begin().await.unwrap();
    assert!(due::cancel(&mut tx, SERVICE, "a").await.unwrap());
    assert!(!due::cancel(&mut tx, SERVICE, "a").await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(due::next_due(&world.store, SERVICE).await.unwrap(), None);
    assert_eq!(due::claim(&world.store, SERVICE, "w", at(99), LEASE, 10).await.unwrap(), []);
}

async fn racing_workers_share_due_work_without_overlap(world: &World) {
    for i in 0..40 {
        put(&world.store, &work(&format!("k{i:02}"), 0)).await;
    }
    let mut workers = Vec::new();
    for worker in 0..3 {
        let store = world.another().await;
        workers.push(tokio::spawn(async move {
            let mut mine = Vec::new();
            loop {
                let claimed =
                    due::claim(&store, SERVICE, &format!("w{worker}"), at(1), LEASE, 5).await.unwrap();
                if claimed.is_empty() && due::next_due(&store, SERVICE).await.unwrap().is_none() {
                    return mine;
                }
                for claim in claimed {
                    let mut tx = store.begin().await.unwrap();
                    assert!(due::finish(&mut tx, SERVICE, &claim).await.unwrap());
                    tx.commit().await.unwrap();
                    mine.push(claim.due.key);
                }
                tokio::task::yield_now().await;
            }
        }));
    }
    let mut all = Vec::new();
    for worker in workers {
        all.extend(tokio::time::timeout(Duration::from_secs(120), worker).await.unwrap().unwrap());
    }
    all.sort();
    assert_eq!(all, (0..40).map(|i| format!("k{i:02}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_without_showing_it() {
    for url in ["mysql://u:secret@h/d", "", "sqlite::memory:", "sqlite://"] {
        let error = Store::open(url, StoreOptions::default()).await.unwrap_err().to_string();
        assert!(error.starts_with("cannot open store") && !error.contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn a_name_that_is_no_word_never_reaches_sql() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("x.db").display());
    let store = Store::open(&url, StoreOptions::default()).await.unwrap();
    let pool: &AnyPool = store.pool();
    for service in ["", "a; DROP TABLE x", "A", &"a".repeat(33)] {
        let key = OffsetKey { service, consumer: "c", topic: "t", partition: 0 };
        assert!(matches!(offsets::load(pool, key).await, Err(StoreError::Name(_))), "{service}");
    }
}
