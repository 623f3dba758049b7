use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bus::{Partition, Topic};
use contracts::response::v1::{CaseChange, CaseEvent, ListCasesRequest};
use prost::Message as _;
use runtime::Clock as _;
use store::sqlx::{self, Row as _};
use store::{Backend, offsets};

use super::{MONDAY, Post, World, at, on_both, until};
use crate::config::Policies;
use crate::desk::Desk;
use crate::step::{Batch, StepError, take};
use crate::{Config, HOP, SERVICE};

on_both! {
    a_failure_between_effects_and_commit_leaves_nothing
    a_zombies_batch_is_refused_whole
    killed_again_and_again_the_cases_are_the_same
    what_is_on_the_log_already_prevents_a_breach
    two_posts_at_once_through_two_members_open_one_case
}

async fn count(world: &World, table: &str) -> i64 {
    let sql = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) AS n FROM response_{table}"));
    sqlx::query(sql).fetch_one(world.store.pool()).await.unwrap().get("n")
}

async fn run(world: &World, sql: &str) {
    let mut tx = world.store.begin().await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
}

fn desk(world: &World) -> Desk {
    let policies = Policies::new(&Config::default(), &[]).unwrap();
    Desk::new(world.store.clone(), policies, world.clock.clone())
}

async fn batch(world: &World) -> Batch {
    let records = world.read(Topic::Verdicts).await;
    let mut moves = BTreeMap::new();
    for record in &records {
        moves.insert(record.position.partition, (0, record.position.offset + 1));
    }
    Batch { records, moves }
}

async fn a_failure_between_effects_and_commit_leaves_nothing(world: &World) {
    world.posts(&[Post::complaint("a", "dave", MONDAY), Post::complaint("b", "erin", MONDAY)]).await;
    let desk = desk(world);
    let batch = batch(world).await;
    // The last thing written is the history: let that fail.
    let (make, drop) = match world.store.backend() {
        Backend::Sqlite => (
            "CREATE TRIGGER fault BEFORE INSERT ON response_history BEGIN SELECT RAISE(ABORT, 'fault'); END",
            "DROP TRIGGER fault",
        ),
        Backend::Postgres => (
            "CREATE FUNCTION fault() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'fault'; END $$ \
             LANGUAGE plpgsql; CREATE TRIGGER fault BEFORE INSERT ON response_history \
             FOR EACH ROW EXECUTE FUNCTION fault()",
            "DROP TRIGGER fault ON response_history",
        ),
    };
    run(world, make).await;
    assert!(take(&desk, &batch).await.is_err());
    for table in ["cases", "history", "mentions", "due", "offsets"] {
        assert_eq!(count(world, table).await, 0, "{table}");
    }
    run(world, drop).await;
    take(&desk, &batch).await.unwrap();
    for (table, rows) in [("cases", 2), ("history", 2), ("mentions", 2), ("due", 2)] {
        assert_eq!(count(world, table).await, rows, "{table}");
    }
}

async fn a_zombies_batch_is_refused_whole(world: &World) {
    world.posts(&[Post::complaint("a", "dave", MONDAY)]).await;
    let desk = desk(world);
    let first = batch(world).await;
    take(&desk, &first).await.unwrap();
    // The same records again, from the same offset, as a member that lost its place would.
    assert!(matches!(take(&desk, &first).await, Err(StepError::Offset(_))));
    assert_eq!((count(world, "cases").await, count(world, "history").await), (1, 1));
}

/// A story of many customers, in a fixed order of arrival.
fn story() -> Vec<Post> {
    let mut posts = Vec::new();
    for minute in 0..50_i64 {
        let when = |s: i64| at(MONDAY).plus_millis((minute * 60 + s) * 1_000).to_string();
        let name = |kind: &str| format!("{kind}{minute}");
        let author = format!("author{}", minute % 17);
        posts.push(Post::complaint(&name("q"), &author, &when(0)));
        posts.push(Post::new(&name("n"), &format!("other{minute}"), &when(10)));
        if minute % 2 == 0 {
            posts.push(Post::answer(&name("a"), &name("q"), &when(20)));
        }
        if minute % 6 == 0 {
            posts.push(Post::thanks(&name("t"), &author, &when(40)).answering(&name("q")));
        }
    }
    posts
}

/// What became of each case, but for what depends on when it was heard.
type Ending = (String, String, i32, Option<i64>, u32, usize, usize);

async fn outcome(running: &super::Running) -> Vec<Ending> {
    let request = ListCasesRequest { states: vec![1, 2, 3, 4], limit: 500, ..Default::default() };
    let cases = running.client.clone().list_cases(request).await.unwrap().into_inner().cases;
    let mut all: Vec<_> = cases
        .into_iter()
        .map(|c| {
            let id = format!("{:02x?}", c.case_id);
            let clocks = c.clocks.len();
            (id, c.customer_key, c.state, c.waiting_since_us, c.reopened, c.messages.len(), clocks)
        })
        .collect();
    all.sort();
    all
}

async fn killed_again_and_again_the_cases_are_the_same(world: &World) {
    let posts = story();
    world.clock.set(at("2026-01-12T10:00:00Z"));
    let undisturbed = {
        let folder = tempfile::tempdir().unwrap();
        let calm = World::new(format!("sqlite://{}", folder.path().join("calm.db").display())).await;
        calm.clock.set(world.clock.now());
        let running = calm.start().await;
        for (i, post) in posts.iter().enumerate() {
            calm.posts(std::slice::from_ref(post)).await;
            running.heard(i as u64 + 1).await;
        }
        let all = outcome(&running).await;
        running.stop().await;
        all
    };

    let seed = std::env::var("REDRESS_TEST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(7_u64);
    println!("seed {seed}");
    let mut state = seed;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut sent = 0;
    while sent < posts.len() {
        let running = world.start().await;
        let more = (sent + 1 + random(30) as usize).min(posts.len());
        for (i, post) in posts[sent..more].iter().enumerate() {
            world.posts(std::slice::from_ref(post)).await;
            // One after the other, so that arrival has the order of the calm run; only the last one is under
            // way when the process is killed.
            let all_but_last = (sent + i + 1) as i64;
            if sent + i + 1 < more {
                until(async || kept(world).await >= all_but_last).await;
            }
        }
        sent = more;
        tokio::time::sleep(Duration::from_micros(random(20_000))).await;
        running.kill().await;
    }
    let running = world.start().await;
    until(async || kept(world).await == posts.len() as i64).await;
    until(async || count_pending(world).await == 0).await;
    let disturbed = outcome(&running).await;
    assert_eq!(disturbed.len(), undisturbed.len());
    let ids = |all: &[Ending]| all.iter().map(|c| c.0.clone()).collect::<BTreeSet<_>>();
    assert_eq!(ids(&disturbed), ids(&undisturbed));
    assert_eq!(disturbed, undisturbed);
    running.stop().await;
    the_log_says_what_the_history_says(world).await;
}

/// Records whose offsets were moved.
async fn kept(world: &World) -> i64 {
    let mut sum = 0;
    for number in 0..super::PARTITIONS {
        let topic = Topic::Verdicts.name();
        let partition = Partition { topic: Topic::Verdicts, number };
        let key = offsets::OffsetKey { service: SERVICE, consumer: HOP, topic, partition: partition.number };
        sum += offsets::load(world.store.pool(), key).await.unwrap();
    }
    sum
}

/// Changes that are not on the log yet.
async fn count_pending(world: &World) -> i64 {
    sqlx::query_scalar(
        "SELECT c.value + 1 - t.next_id FROM response_counters c, response_told t WHERE c.name = 'history'",
    )
    .fetch_one(world.store.pool())
    .await
    .unwrap()
}

async fn the_log_says_what_the_history_says(world: &World) {
    let rows = sqlx::query("SELECT case_id, sequence, body FROM response_history ORDER BY id")
        .fetch_all(world.store.pool())
        .await
        .unwrap();
    let mut history = BTreeMap::new();
    let mut last: BTreeMap<String, i64> = BTreeMap::new();
    for row in rows {
        let (case, sequence): (String, i64) = (row.get("case_id"), row.get("sequence"));
        assert_eq!(last.insert(case.clone(), sequence).unwrap_or(0) + 1, sequence, "no gap");
        let event = CaseEvent::decode(row.get::<Vec<u8>, _>("body").as_slice()).unwrap();
        history.insert(format!("{case}/{sequence}"), event);
    }
    let mut told = BTreeMap::new();
    let mut repeats = 0;
    for record in world.read(Topic::Cases).await {
        let id = record.record.headers.text("ce_id").unwrap().to_owned();
        let event = CaseEvent::decode(record.record.value.unwrap()).unwrap();
        // A message may be sent twice when its sender dies; then it is the same, under the same id.
        if let Some(before) = told.insert(id, event.clone()) {
            assert_eq!(before, event);
            repeats += 1;
        }
    }
    println!("{} changes, {repeats} told twice", told.len());
    assert_eq!(told, history);
}

async fn what_is_on_the_log_already_prevents_a_breach(world: &World) {
    // Everything happened while nobody listened: a question, much else, and the answer ten minutes later.
    let mut posts = vec![Post::complaint("q", "dave", MONDAY)];
    posts.extend((0..600).map(|i| Post::new(&format!("n{i}"), &format!("other{i}"), "2026-01-12T09:05:00Z")));
    posts.push(Post::answer("a", "q", "2026-01-12T09:10:00Z"));
    world.posts(&posts).await;
    world.clock.set(at("2026-01-12T10:30:00Z"));
    let running = world.start_with(Config { batch_records_max: 20, ..Config::default() }).await;
    running.heard(posts.len() as u64).await;
    let case = running.only_case().await;
    let told: Vec<_> = running.history(&case.case_id).await.iter().map(CaseEvent::change).collect();
    assert!(!told.contains(&CaseChange::Breached), "{told:?}");
    assert!(told.contains(&CaseChange::BrandAnswered), "{told:?}");
    running.stop().await;
}

async fn two_posts_at_once_through_two_members_open_one_case(world: &World) {
    let (first, second) = (world.start_as("response-0").await, world.start_as("response-1").await);
    let members = [Arc::new(first), Arc::new(second)];
    let heard = || members.iter().map(|m| m.parts.account.hop(HOP).accepted).sum::<u64>();
    let mut posts = Vec::new();
    for customer in 0..30 {
        for post in 0..4 {
            posts.push(Post::complaint(&format!("p{customer}-{post}"), &format!("c{customer}"), MONDAY));
        }
    }
    world.posts(&posts).await;
    until(async || heard() >= 120).await;
    assert_eq!(heard(), 120);
    let request = ListCasesRequest { limit: 500, ..Default::default() };
    let cases = members[0].client.clone().list_cases(request).await.unwrap().into_inner().cases;
    assert_eq!(cases.len(), 30);
    assert!(cases.iter().all(|c| c.messages.len() == 4));
    for member in members {
        Arc::into_inner(member).unwrap().stop().await;
    }
}
