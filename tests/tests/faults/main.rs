//! Nothing lost, nothing twice: 20,000 mentions go through real processes, which are killed at moments drawn
//! from a printed seed (`REDRESS_TEST_SEED` repeats one); at the end the accounts balance to the unit. Once
//! with four services on a real Kafka and a real Postgres, once with everything in one process on the
//! embedded log and SQLite.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests may panic like tests"
)]

mod account;
mod cluster;
mod feeding;
mod receiver;
mod single;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::account::Cases;
use crate::cluster::Cluster;
use crate::receiver::Receiver;
use crate::single::Single;

/// Mentions sent.
const MENTIONS: usize = 20_000;
/// Kills of each service.
const KILLS: usize = 3;
/// Kills of the whole in one process.
const SINGLE_KILLS: usize = 4;
const SERVICES: [&str; 4] = ["ingest", "classify", "alert", "response"];
/// The time over which the kills are spread; sending takes at least as long.
const TROUBLE: Duration = Duration::from_secs(45);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mention_has_one_verdict_and_every_page_arrives_while_services_are_killed() {
    let Some(kafka) = testkit::kafka::shared().await else { return };
    let Some(postgres) = testkit::postgres::shared().await else { return };
    let seed = seed();
    let mut rng = StdRng::seed_from_u64(seed);

    let receiver = Receiver::start(false).await;
    let cluster =
        Cluster::start(kafka.brokers(), &kafka.prefix(), &postgres.database().await, &receiver).await;
    let mut kills: Vec<(Duration, &str)> = SERVICES
        .iter()
        .flat_map(|service| std::iter::repeat_n(*service, KILLS))
        .map(|service| (TROUBLE.mul_f64(rng.random()), service))
        .collect();
    kills.sort();

    let sending = feeding::send(cluster.ingest.clone(), MENTIONS, TROUBLE, seed);
    let killing = cluster.kill_at(kills);
    let (accepted, killed) = tokio::join!(sending, killing);
    println!("accepted {}, kills {killed}", accepted.len());
    assert_eq!(accepted.len(), MENTIONS, "every mention was acknowledged in the end");
    assert_eq!(killed, KILLS * SERVICES.len());

    let log = cluster.log.as_ref();
    account::settled(log, &receiver, MENTIONS as u64).await;
    account::one_verdict_each(log, &accepted).await;
    account::tallies_add_up(log, MENTIONS as u64).await;
    Cases::ask(cluster.link(&cluster.response)).await.exist_once(log).await;
    account::pages_arrived(cluster.link(&cluster.alert), &receiver).await;
}

/// The same in one process without any server: a recording is replayed into `redress dev`, which is killed
/// and started again on the same folder.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_that_is_killed_goes_on_and_loses_and_repeats_nothing() {
    let mut rng = StdRng::seed_from_u64(seed());
    let receiver = Receiver::start(true).await;
    let recording: Vec<String> = (0..MENTIONS).map(|n| feeding::line(&mut rng, n)).collect();
    let single = Single::new(&recording, &receiver);
    // Somewhere in each quarter of the recording, so that every kill meets work under way.
    for quarter in 0..SINGLE_KILLS {
        let confirmed = (quarter as f64 + rng.random_range(0.1..0.9)) / SINGLE_KILLS as f64 * 0.9;
        let moment = Duration::from_millis(rng.random_range(0..400));
        single.kill_after((MENTIONS as f64 * confirmed) as u64, moment).await;
    }
    let mut running = single.start().await;
    running.heard_everything().await;
    account::pages_arrived(running.link("alert"), &receiver).await;
    let cases = Cases::ask(running.link("response")).await;
    running.stop().await;

    let log = single.log();
    let accepted: BTreeSet<Bytes> =
        (0..MENTIONS).map(|n| contracts::id(feeding::mention_id(n).as_bytes())).collect();
    account::one_verdict_each(&log, &accepted).await;
    account::tallies_add_up(&log, MENTIONS as u64).await;
    cases.exist_once(&log).await;
}

fn seed() -> u64 {
    let given = std::env::var("REDRESS_TEST_SEED").ok().and_then(|s| s.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    println!("seed {seed} (REDRESS_TEST_SEED={seed} repeats the kills)");
    seed
}
