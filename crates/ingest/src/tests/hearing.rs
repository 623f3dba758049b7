//! Connectors that hear by themselves: files, the live stream, polled pages.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use contracts::envelope;
use contracts::ingest::v1::{Coverage, CoverageState};
use futures::SinkExt as _;
use model::Outcome;
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response as Handshake};

use super::{World, config, line};
use crate::{Config, ConnectorConfig, FilesConfig, HOP, PollConfig, StreamConfig};
use bus::Topic;

fn with(connector: ConnectorConfig) -> Config {
    Config { connectors: vec![connector], ..config() }
}

fn files(kind: &str, paths: &[&Path]) -> Config {
    with(ConnectorConfig {
        id: "history".into(),
        kind: kind.into(),
        csv_map: if kind == "csv" {
            [("id".into(), "id".into()), ("words".into(), "text".into())].into()
        } else {
            [].into()
        },
        files: Some(FilesConfig { paths: paths.iter().map(PathBuf::from).collect() }),
        ..ConnectorConfig::default()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn file_is_read_once_and_on_from_where_reading_stopped() {
    let world = World::new().await;
    let path = world.folder.path().join("history.csv");
    std::fs::write(&path, "id,words\n1,acme one\n2,\"acme\ntwo\"\n3,other\n").unwrap();
    let running = world.start(files("csv", &[&path])).await;
    running.covered("history", CoverageState::Ended).await;
    assert_eq!(running.stop().await.hop(HOP).accepted, 3);
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"4,acme four\n5\n").unwrap();
    let running = world.start(files("csv", &[&path])).await;
    running.covered("history", CoverageState::Ended).await;
    let account = running.stop().await;
    assert_eq!(account.hop(HOP).with(Outcome::Stored), 1, "{:?}", account.snapshot());
    assert_eq!(account.hop(HOP).accepted, 2, "what was read before is not read again");
    let texts: Vec<_> = world.events().await.into_iter().map(|e| e.mention.unwrap().text).collect();
    assert!(texts.len() == 3 && texts.contains(&"acme four".to_owned()), "{texts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_and_cut_files_are_read_as_far_as_they_go_and_missing_ones_are_named() {
    let world = World::new().await;
    let folder = world.folder.path();
    let (whole, missing) = (folder.join("a.jsonl.gz"), folder.join("missing.jsonl"));
    let mut packed =
        flate2::write::GzEncoder::new(std::fs::File::create(&whole).unwrap(), flate2::Compression::fast());
    for n in 0..5_000 {
        writeln!(packed, "{}", line(&n.to_string(), "acme again and again and again")).unwrap();
    }
    packed.write_all(b"{\"id\":\"cut\",\"te").unwrap();
    packed.finish().unwrap();
    let running = world.start(files("ndjson", &[&missing, &whole])).await;
    let said = running.covered("history", CoverageState::Ended).await;
    assert!(said.detail.contains("missing.jsonl"), "{said:?}");
    let account = running.stop().await;
    assert_eq!(account.hop(HOP).with(Outcome::Stored), 5_000);
    assert_eq!(account.hop(HOP).with(Outcome::DeadLettered), 1);
}

const FIRST_US: i64 = 1_767_322_800_000_000;

fn post(n: i64, time_us: i64) -> String {
    format!(
        r#"{{"did":"did:plc:a{n}","time_us":{time_us},"kind":"commit","commit":{{"rev":"r{n}","operation":"create","collection":"app.bsky.feed.post","rkey":"k{n}","cid":"c{n}","record":{{"$type":"app.bsky.feed.post","text":"acme lost bag {n}","createdAt":"2026-01-02T03:00:00Z","langs":["en"]}}}}}}"#
    )
}

/// What the stream's server says on its n-th connection (then it cuts it), and what was asked of it.
// The callback's error type is the library's.
#[allow(clippy::result_large_err)]
async fn stream_server(sessions: Vec<Vec<String>>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/subscribe", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    tokio::spawn(async move {
        for frames in sessions {
            let (tcp, _) = listener.accept().await.unwrap();
            let note = |request: &Request, answer: Handshake| {
                seen.lock().unwrap().push(request.uri().to_string());
                Ok(answer)
            };
            let mut socket = tokio_tungstenite::accept_hdr_async(tcp, note).await.unwrap();
            for frame in frames {
                socket.send(Message::text(frame)).await.unwrap();
            }
            socket.flush().await.unwrap();
            // Dropped without a farewell: the connection is cut.
        }
        // Nobody answers from here on, though the port is open.
        std::future::pending::<()>().await;
        drop(listener);
    });
    (url, asked)
}

fn stream(url: String) -> Config {
    with(ConnectorConfig {
        id: "bluesky".into(),
        kind: "bluesky-jetstream".into(),
        stream: Some(StreamConfig {
            urls: vec![url],
            collections: vec!["app.bsky.feed.post".into()],
            pause_ms: [10, 50],
            ..StreamConfig::default()
        }),
        ..ConnectorConfig::default()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_stream_is_resumed_repeats_fold_away_and_gaps_are_told() {
    let world = World::new().await;
    let second = |n: i64| FIRST_US + n * 1_000_000;
    let posts = |range: std::ops::Range<i64>| range.map(|n| post(n, second(n))).collect::<Vec<_>>();
    let later = vec![post(900, second(900))];
    let (url, asked) = stream_server(vec![posts(0..20), posts(15..40), later]).await;
    let running = world.start(stream(url.clone())).await;
    running.stored(41).await;
    let account = running.stop().await;
    assert_eq!(account.hop(HOP).with(Outcome::Merged), 5, "{:?}", account.snapshot());
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked[0], "/subscribe?wantedCollections=app.bsky.feed.post");
    assert_eq!(asked[1], format!("{}&cursor={}", asked[0], second(19) - 5_000_000));
    let told: Vec<Coverage> = world
        .all(Topic::Mentions)
        .await
        .iter()
        .filter_map(|r| envelope::open(r.record.headers.text("ce_type"), r.record.value.as_ref()).ok())
        .collect();
    let has = |state, words: &str| told.iter().any(|c| c.state() == state && c.detail.contains(words));
    assert!(has(CoverageState::Gap, "connection lost"), "{told:?}");
    assert!(has(CoverageState::Gap, "nothing heard from"), "{told:?}");

    // A new process goes on where the old one was.
    let (url, asked) = stream_server(vec![vec![post(901, second(901))]]).await;
    let running = world.start(stream(url)).await;
    running.stored(1).await;
    running.stop().await;
    let cursor = format!("cursor={}", second(900) - 5_000_000);
    assert!(asked.lock().unwrap()[0].ends_with(&cursor), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_stream_is_heard_without_loss() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data/sources/bluesky/jetstream_v1_152_events.jsonl");
    let Ok(recording) = std::fs::read_to_string(&path) else {
        println!("skipped: recordings are not here");
        return;
    };
    let world = World::new().await;
    let lines: Vec<String> = recording.lines().map(str::to_owned).collect();
    let half = lines.len() / 2;
    // The second connection repeats the last ten events of the first.
    let sessions = vec![lines[..half].to_vec(), lines[half - 10..].to_vec()];
    let (url, _) = stream_server(sessions).await;
    let mut config = stream(url);
    config.connectors[0].brand = Some("acme".into());
    let running = world.start(config).await;
    let all = async {
        while running.parts.account.hop(HOP).accepted < (lines.len() + 10) as u64 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let heard = tokio::time::timeout(super::PATIENCE, all).await;
    let account = running.stop().await;
    assert!(heard.is_ok(), "{:?}", account.snapshot());
    let hop = account.hop(HOP);
    assert_eq!(hop.with(Outcome::DeadLettered), 0, "{hop:?}");
    let ids: std::collections::BTreeSet<_> = world.events().await.into_iter().map(|e| e.event_id).collect();
    assert_eq!(ids.len() as u64, hop.with(Outcome::Stored), "{hop:?}");
}

const PAGE: &str = r#"<?xml version="1.0"?><rss version="2.0"><channel><title>t</title>
<item><guid>1</guid><title>acme again</title><description>lost my bag</description><pubDate>Fri, 02 Jan 2026 02:00:00 GMT</pubDate></item>
<item><guid>2</guid><title>weather</title><description>nice</description><pubDate>Fri, 02 Jan 2026 02:00:00 GMT</pubDate></item>
</channel></rss>"#;

async fn page(State(asked): State<Arc<AtomicUsize>>, headers: HeaderMap) -> Response {
    match asked.fetch_add(1, Ordering::SeqCst) {
        0 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")]).into_response(),
        1 => (StatusCode::FOUND, [("location", "/moved")]).into_response(),
        2 => ([("etag", "\"one\"")], PAGE).into_response(),
        3 if headers.get("if-none-match").is_some_and(|tag| tag == "\"one\"") => {
            StatusCode::NOT_MODIFIED.into_response()
        }
        _ => StatusCode::GONE.into_response(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn page_is_fetched_politely_until_it_is_gone() {
    let asked = Arc::new(AtomicUsize::new(0));
    let app = axum::Router::new().fallback(page).with_state(asked.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/feed", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, app).into_future());
    let world = World::new().await;
    let config = with(ConnectorConfig {
        id: "news".into(),
        kind: "feed".into(),
        poll: Some(PollConfig { urls: vec![url], every_s: 1, ..PollConfig::default() }),
        ..ConnectorConfig::default()
    });
    let running = world.start(config.clone()).await;
    let said = running.covered("news", CoverageState::Ended).await;
    assert_eq!(said.detail, "the page is gone");
    let account = running.stop().await;
    let hop = account.hop(HOP);
    assert_eq!((hop.with(Outcome::Stored), hop.with(Outcome::Suppressed)), (1, 1), "{hop:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 5);
    // Gone for ever: a new process does not ask again.
    let running = world.start(config).await;
    running.covered("news", CoverageState::Ended).await;
    running.stop().await;
    assert_eq!(asked.load(Ordering::SeqCst), 5);
}
