//! Complaints per second through the whole service, beside plain inserts of the very rows it wrote, in the
//! same run: `cargo bench -p response`. The log and the database are files, as in `redress dev`.
//!
//! "kept" ends when every case is in the database; "told" when every change of it is on the log as well.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[path = "../src/tests/post.rs"]
#[allow(dead_code, reason = "the tests use the rest of it")]
mod post;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::{EmbeddedLog, EmbeddedSettings, Log, Outgoing, Topic, TopicPlan};
use response::{Config, Deps, HOP, MIGRATIONS, SERVICE, serve};
use runtime::process::Parts;
use runtime::{Clock as _, RealClock};
use store::Store;
use store::sqlx::any::{AnyArguments, AnyRow, AnyTypeInfoKind};
use store::sqlx::{Arguments as _, AssertSqlSafe, Column as _, Row as _, ValueRef as _};
use store::sqlx::{query, query_scalar, query_with};

use crate::post::{PARTITIONS, Post};

/// Complaints in one run, unless `REDRESS_BENCH_COMPLAINTS` says otherwise; one in five is by a customer who has
/// complained before.
const COMPLAINTS: usize = 50_000;
/// Rows in one plain insert, and complaints in one transaction of them.
const ROWS: usize = 100;
const PER_COMMIT: usize = 2_000;
/// The tables written for a complaint.
const TABLES: [&str; 4] = ["response_cases", "response_mentions", "response_history", "response_due"];

fn main() {
    // Cargo asks benches whether they have tests, too.
    if std::env::args().any(|arg| arg == "--list" || arg == "--test") {
        return;
    }
    let asked = std::env::var("REDRESS_BENCH_COMPLAINTS").ok().and_then(|count| count.parse().ok());
    let count: usize = asked.unwrap_or(COMPLAINTS);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let store = database(folder.path(), "response").await;
        let (kept, told) = through_the_service(folder.path(), &store, count).await;
        let plain = plain_inserts(folder.path(), &store, count).await;
        let rate = |took: Duration| count as f64 / took.as_secs_f64();
        println!("{count} complaints on SQLite");
        println!("kept          {:>9.0} /s", rate(kept));
        println!("kept and told {:>9.0} /s", rate(told));
        println!("plain inserts {:>9.0} /s", rate(plain));
        println!(
            "ratio         {:>9.2}  (kept and told to plain inserts of the same rows)",
            rate(told) / rate(plain)
        );
    });
}

async fn database(folder: &Path, name: &str) -> Store {
    let path = folder.join(format!("{name}.db"));
    store::open_local(&path, SERVICE, MIGRATIONS, RealClock.now()).await.unwrap()
}

/// The time until all is kept, and until all is told.
async fn through_the_service(folder: &Path, store: &Store, count: usize) -> (Duration, Duration) {
    let log = EmbeddedLog::open(&folder.join("log.db"), EmbeddedSettings::default()).unwrap();
    log.topics(&Topic::ALL.map(|topic| TopicPlan::of(topic, PARTITIONS)), true).await.unwrap();
    let log: Arc<dyn Log> = Arc::new(log);
    let publisher = log.publisher().unwrap();
    for batch in complaints(count).chunks(5_000) {
        publisher.publish(batch.to_vec()).await.unwrap();
    }
    let parts = Parts::alone(Arc::new(RealClock));
    let listener = parts.net.bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let deps = Deps { log, store: store.clone(), parts: parts.clone(), brands: Vec::new() };
    let begun = Instant::now();
    let service = tokio::spawn(serve(Config::default(), deps, listener));
    while parts.account.hop(HOP).accepted < count as u64 {
        assert!(!service.is_finished(), "the service broke");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let kept = begun.elapsed();
    while untold(store).await > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let told = begun.elapsed();
    parts.shutdown.begin("done");
    parts.shutdown.drive().await;
    service.await.unwrap().unwrap();
    (kept, told)
}

/// Changes that are not on the log yet.
async fn untold(store: &Store) -> i64 {
    let sql =
        "SELECT c.value + 1 - t.next_id FROM response_counters c, response_told t WHERE c.name = 'history'";
    query_scalar(sql).fetch_one(store.pool()).await.unwrap()
}

fn complaints(count: usize) -> Vec<Outgoing> {
    let words = "I have waited for my suitcase since Monday and nobody at acme answers the phone, ";
    let begin = RealClock.now().plus_millis(-(count as i64));
    let post = |n: usize| {
        let customer = if n % 5 == 4 { n - 4 } else { n };
        let when = begin.plus_millis(n as i64).to_string();
        Post::complaint(&format!("post-{n}"), &format!("{words}customer-{customer}"), &when).outgoing()
    };
    (0..count).map(post).collect()
}

/// The time of writing the same rows into empty tables of the same shape.
async fn plain_inserts(folder: &Path, from: &Store, count: usize) -> Duration {
    let into = database(folder, "plain").await;
    let mut tables = Vec::new();
    for table in TABLES {
        let sql = format!("SELECT * FROM {table} ORDER BY rowid");
        tables.push((table, query(AssertSqlSafe(sql)).fetch_all(from.pool()).await.unwrap()));
    }
    let commits = count.div_ceil(PER_COMMIT);
    let begun = Instant::now();
    for commit in 0..commits {
        let mut tx = into.begin().await.unwrap();
        for (table, rows) in &tables {
            let part = rows.len() * commit / commits..rows.len() * (commit + 1) / commits;
            for rows in rows[part].chunks(ROWS) {
                let (sql, args) = insert(table, rows);
                query_with(AssertSqlSafe(sql), args).execute(&mut *tx).await.unwrap();
            }
        }
        tx.commit().await.unwrap();
    }
    begun.elapsed()
}

fn insert(table: &str, rows: &[AnyRow]) -> (String, AnyArguments) {
    let names: Vec<_> = rows[0].columns().iter().map(|c| c.name()).collect();
    let mut sql = format!("INSERT INTO {table} ({}) VALUES ", names.join(", "));
    let mut args = AnyArguments::default();
    let mut count = 0;
    for (i, row) in rows.iter().enumerate() {
        for column in 0..names.len() {
            count += 1;
            let before = match (i, column) {
                (0, 0) => "(",
                (_, 0) => "), (",
                _ => ", ",
            };
            sql.push_str(&format!("{before}${count}"));
            let value = row.try_get_raw(column).unwrap();
            let added = match (value.is_null(), value.type_info().kind()) {
                (true, _) => args.add(None::<i64>),
                (_, AnyTypeInfoKind::Text) => args.add(row.get::<String, _>(column)),
                (_, AnyTypeInfoKind::Blob) => args.add(row.get::<Vec<u8>, _>(column)),
                _ => args.add(row.get::<i64, _>(column)),
            };
            added.unwrap();
        }
    }
    sql.push(')');
    (sql, args)
}
