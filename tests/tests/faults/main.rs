//! Nothing lost, nothing twice: 20,000 mentions go through real processes, a real Kafka and a real Postgres
//! while each service is killed at least three times at moments drawn from a printed seed
//! (`REDRESS_TEST_SEED` repeats one). At the end the accounts balance to the unit.

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

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::cluster::Cluster;
use crate::receiver::Receiver;

/// Mentions sent.
const MENTIONS: usize = 20_000;
/// Kills of each service.
const KILLS: usize = 3;
const SERVICES: [&str; 4] = ["ingest", "classify", "alert", "response"];
/// The time over which the kills are spread; sending takes at least as long.
const TROUBLE: Duration = Duration::from_secs(45);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mention_has_one_verdict_and_every_page_arrives_while_services_are_killed() {
    let Some(kafka) = testkit::kafka::shared().await else { return };
    let Some(postgres) = testkit::postgres::shared().await else { return };
    let seed =
        std::env::var("REDRESS_TEST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random);
    println!("seed {seed} (REDRESS_TEST_SEED={seed} repeats the kills)");
    let mut rng = StdRng::seed_from_u64(seed);

    let receiver = Receiver::start().await;
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

    account::settled(&cluster, &receiver, MENTIONS as u64).await;
    account::one_verdict_each(&cluster, &accepted).await;
    account::tallies_add_up(&cluster, MENTIONS as u64).await;
    account::cases_exist_once(&cluster).await;
    account::pages_arrived(&cluster, &receiver).await;
}
