//! Files made to break parsers, through every entrance: nothing panics, nothing stalls, the counts balance.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use model::{SourceKind, Transport};
use runtime::{Clock as _, Net};

use super::{World, config};
use crate::{Body, Config, HOP, Intake};

/// Bodies taken in together.
const TOGETHER: usize = 200;
/// One kind per decoder family; crate `sources` has tests of its own for the others.
const KINDS: [SourceKind; 8] = [
    SourceKind::Ndjson,
    SourceKind::XV2,
    SourceKind::BlueskyJetstream,
    SourceKind::Mastodon,
    SourceKind::Feed,
    SourceKind::Csv,
    SourceKind::Email,
    SourceKind::Cloudevents,
];

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut entries: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    entries.sort();
    for entry in entries {
        if entry.is_dir() { files(&entry, found) } else { found.push(entry) }
    }
}

fn hostile() -> Vec<Bytes> {
    let mut found = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/hostile"), &mut found);
    found.iter().filter_map(|path| Some(std::fs::read(path).ok()?.into())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_files_are_refused_by_name_and_everything_is_accounted_for() {
    let bodies = hostile();
    if bodies.is_empty() {
        println!("skipped: hostile files are not here");
        return;
    }
    let world = World::new().await;
    let account = runtime::Account::new();
    let intake =
        Intake::open(&Config::default(), "main", &[], &*world.log, world.clock.clone(), account.clone())
            .await
            .unwrap();
    let received_at = world.clock.now();
    let mut items = 0;
    // Each file as two of the kinds: crate `sources` tries every pair.
    let turns = KINDS.len() / 2;
    for (turn, kind) in KINDS.into_iter().enumerate() {
        let mine: Vec<&Bytes> = bodies.iter().skip(turn % turns).step_by(turns).collect();
        for group in mine.chunks(TOGETHER) {
            let body = |bytes: &Bytes| Body {
                kind,
                instance: String::new(),
                transport: Transport::Webhook,
                received_at,
                csv_map: None,
                bytes: bytes.clone(),
            };
            let ended = intake.take("", group.iter().map(|bytes| body(bytes)).collect()).await.unwrap();
            assert_eq!(ended.len(), group.len());
            for item in ended.iter().flatten() {
                items += 1;
                if let Some(refusal) = &item.refusal {
                    assert!(!refusal.reason.is_empty() && !refusal.detail.is_empty(), "{kind}: {item:?}");
                }
            }
        }
    }
    assert!(account.is_balanced(), "{:?}", account.snapshot());
    assert_eq!(account.hop(HOP).accepted, items);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_files_over_http_are_answered_and_the_service_goes_on() {
    let bodies = hostile();
    if bodies.is_empty() {
        println!("skipped: hostile files are not here");
        return;
    }
    let world = World::new().await;
    let running = world.start(config()).await;
    let client = Net::default().http_client(Duration::from_secs(30)).unwrap();
    for bytes in bodies.iter().step_by(9) {
        let events = client
            .post(format!("http://{}/v1/cloudevents", running.web))
            .header("content-type", "application/cloudevents+json");
        let status = events.body(bytes.clone()).send().await.unwrap().status().as_u16();
        assert!([200, 400].contains(&status), "{status}");
        let lines = client.post(format!("http://{}/v1/ndjson", running.web)).body(bytes.clone());
        let answer = lines.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.bytes().await.unwrap();
    }
    running.stop().await;
}
