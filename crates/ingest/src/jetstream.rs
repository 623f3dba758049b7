//! Bluesky's Jetstream, live: one WebSocket, resumed from a cursor, with repeats recognised and gaps told.
//!
//! A server of the first version resumes by time and silently moves a cursor that is too old forward, so the
//! first event's time tells whether something is missing. A server of the second version numbers its events;
//! the number is the exact place to resume, on that host only.

use std::time::Duration;

use bytes::Bytes;
use contracts::ingest::v1::CoverageState;
use futures::{FutureExt as _, StreamExt as _};
use model::{Timestamp, Transport};
use runtime::Phase;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};
use tracing::{info, warn};
use url::Url;

use crate::backoff::Backoff;
use crate::config::StreamConfig;
use crate::source::{Source, Stopped};
use crate::step::{Body, Feed};

/// The name of the one cursor.
const CURSOR: &str = "jetstream";
/// How long connecting may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(15);
/// The largest frame, in bytes.
const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A first event later than the cursor by more than this leaves a gap.
const GAP_MS: i64 = 60_000;
/// Events younger than this are news.
const LIVE_MS: i64 = 10_000;
/// How often the cursor is saved while frames keep coming.
const SAVE_EVERY: Duration = Duration::from_secs(1);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How far the stream was heard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Cursor {
    /// The newest event's time as its host witnessed it, in microseconds.
    time_us: i64,
    /// The host's own number of that event, where it counts.
    seq: Option<i64>,
    /// Whose number that is.
    host: String,
}

/// What every event says about its place.
#[derive(Deserialize)]
struct Stamp {
    time_us: Option<i64>,
    cursor: Option<i64>,
}

/// Why a connection ended.
struct Lost {
    why: String,
    heard_anything: bool,
}

/// Listens until told to stop.
pub(crate) async fn listen(source: Source, config: StreamConfig) -> Result<(), Stopped> {
    let mut at: Option<Cursor> = source.cursor(CURSOR).await;
    let mut feed = Feed::new(source.kind);
    let pause = |ms: u64| Duration::from_millis(ms);
    let mut backoff = Backoff::new(pause(config.pause_ms[0]), pause(config.pause_ms[1]));
    let mut host = 0;
    loop {
        let url = &config.urls[host % config.urls.len()];
        let lost = session(&source, &config, url, &mut feed, &mut at).await?;
        if let Some(at) = &at {
            source.save(CURSOR, at).await;
        }
        warn!(connector = source.connector, why = lost.why, "connection lost");
        source.cover(CoverageState::Gap, None, "connection lost").await;
        if lost.heard_anything {
            backoff.reset();
        } else {
            host += 1;
        }
        source.pause(backoff.pause()).await?;
    }
}

async fn session(
    source: &Source,
    config: &StreamConfig,
    url: &str,
    feed: &mut Feed,
    at: &mut Option<Cursor>,
) -> Result<Lost, Stopped> {
    let lost = |why: String, heard_anything| Ok(Lost { why, heard_anything });
    let (address, asked_us) = match address(url, config, at.as_ref()) {
        Ok(address) => address,
        Err(error) => return lost(error, false),
    };
    let limits = WebSocketConfig::default()
        .max_message_size(Some(FRAME_BYTES_MAX))
        .max_frame_size(Some(FRAME_BYTES_MAX));
    let connecting = connect_async_with_config(address.as_str(), Some(limits), true);
    let connected = tokio::select! {
        connected = tokio::time::timeout(CONNECT_WITHIN, connecting) => connected,
        () = source.shutdown.reached(Phase::StopIntake) => return Err(Stopped),
    };
    let mut socket = match connected {
        Ok(Ok((socket, _))) => socket,
        Ok(Err(error)) => return lost(format!("cannot connect to {url}: {error}"), false),
        Err(_) => return lost(format!("cannot connect to {url} in time"), false),
    };
    info!(connector = source.connector, url, resumed = at.is_some(), "listening");
    source.cover(CoverageState::CatchingUp, None, "connected").await;
    let mut heard = false;
    let mut saved = Instant::now();
    loop {
        let silence = Duration::from_secs(config.silence_s);
        let first = tokio::select! {
            frame = tokio::time::timeout(silence, socket.next()) => frame,
            () = source.shutdown.reached(Phase::StopIntake) => {
                save(source, at.as_ref()).await;
                return Err(Stopped);
            }
        };
        let (frames, ended) = match first {
            Err(_) => return lost(format!("nothing came for {} s", config.silence_s), heard),
            Ok(first) => gather(first, &mut socket, config.batch_max),
        };
        if !frames.is_empty() {
            let newest = newest(&frames, url);
            if !heard {
                tell_gap(source, asked_us, &frames).await;
            }
            heard = true;
            take(source, feed, frames).await?;
            // Only now is it confirmed.
            if let Some(newest) = newest {
                let is_news = source.intake.now().as_micros() - newest.time_us < LIVE_MS * 1_000;
                let state = if is_news { CoverageState::Live } else { CoverageState::CatchingUp };
                source.cover(state, Some(Timestamp::from_micros(newest.time_us)), "").await;
                *at = Some(newest);
            }
            if saved.elapsed() >= SAVE_EVERY {
                saved = Instant::now();
                save(source, at.as_ref()).await;
            }
        }
        if let Some(why) = ended {
            return lost(why, heard);
        }
    }
}

async fn save(source: &Source, at: Option<&Cursor>) {
    if let Some(at) = at {
        source.save(CURSOR, at).await;
    }
}

/// The address to dial, and from which time on events were asked for.
fn address(url: &str, config: &StreamConfig, at: Option<&Cursor>) -> Result<(Url, Option<i64>), String> {
    let mut address = Url::parse(url).map_err(|e| format!("'{url}' is no address: {e}"))?;
    let mut asked = None;
    {
        let mut query = address.query_pairs_mut();
        for collection in &config.collections {
            query.append_pair("wantedCollections", collection);
        }
        if let Some(at) = at {
            let rewind = i64::try_from(config.rewind_s).unwrap_or(0).saturating_mul(1_000_000);
            let by_time = (at.time_us - rewind).max(0);
            // Numbers are the host's own; times are everybody's.
            let cursor = at.seq.filter(|_| at.host == url).unwrap_or(by_time);
            query.append_pair("cursor", &cursor.to_string());
            asked = Some(at.time_us);
        }
    }
    Ok((address, asked))
}

/// Whatever frames are there already; a reason when no more will come.
fn gather(
    first: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
    socket: &mut Socket,
    frames_max: usize,
) -> (Vec<Bytes>, Option<String>) {
    let mut frames = Vec::new();
    let mut next = first;
    loop {
        match next {
            Some(Ok(Message::Text(text))) => frames.push(Bytes::from(text)),
            Some(Ok(Message::Binary(bytes))) => frames.push(bytes),
            Some(Ok(Message::Close(_))) | None => return (frames, Some("the server closed".into())),
            // Pings are answered by the socket itself.
            Some(Ok(_)) => {}
            Some(Err(error)) => return (frames, Some(error.to_string())),
        }
        if frames.len() >= frames_max {
            return (frames, None);
        }
        next = match socket.next().now_or_never() {
            Some(more) => more,
            None => return (frames, None),
        };
    }
}

fn newest(frames: &[Bytes], url: &str) -> Option<Cursor> {
    frames.iter().rev().find_map(|frame| {
        let stamp: Stamp = serde_json::from_slice(frame).ok()?;
        Some(Cursor { time_us: stamp.time_us?, seq: stamp.cursor, host: url.to_owned() })
    })
}

/// Tells when the stream begins later than was asked for.
async fn tell_gap(source: &Source, asked_us: Option<i64>, frames: &[Bytes]) {
    let first = frames.iter().find_map(|f| serde_json::from_slice::<Stamp>(f).ok()?.time_us);
    let (Some(asked), Some(first)) = (asked_us, first) else { return };
    if first - asked > GAP_MS * 1_000 {
        let (from, to) = (Timestamp::from_micros(asked), Timestamp::from_micros(first));
        warn!(connector = source.connector, %from, %to, "the host no longer has all since the last connection");
        source.cover(CoverageState::Gap, Some(from), &format!("nothing heard from {from} to {to}")).await;
    }
}

async fn take(source: &Source, feed: &mut Feed, frames: Vec<Bytes>) -> Result<(), Stopped> {
    let received_at = source.intake.now();
    let prepared = frames.into_iter().filter_map(|frame| {
        // One body per frame, so that only frames that concern us are kept as received.
        let mut line = Vec::with_capacity(frame.len() + 1);
        line.extend(frame.iter().map(|b| if *b == b'\n' { b' ' } else { *b }));
        line.push(b'\n');
        let body = Body {
            kind: source.kind,
            instance: String::new(),
            transport: Transport::Stream,
            received_at,
            csv_map: None,
            bytes: line.into(),
        };
        source.intake.prepare(feed, &source.connector, body, false).ok()
    });
    let prepared: Vec<_> = prepared.collect();
    source.deliver(prepared).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_is_used_on_its_own_host_and_time_elsewhere() {
        let config = StreamConfig { collections: vec!["a".into()], ..StreamConfig::default() };
        let at = Cursor { time_us: 1_700_000_000_000_000, seq: Some(42), host: "ws://one/subscribe".into() };
        for (url, at, expected) in [
            ("ws://one/subscribe", None, "ws://one/subscribe?wantedCollections=a"),
            ("ws://one/subscribe", Some(&at), "ws://one/subscribe?wantedCollections=a&cursor=42"),
            (
                "ws://two/subscribe",
                Some(&at),
                "ws://two/subscribe?wantedCollections=a&cursor=1699999995000000",
            ),
        ] {
            assert_eq!(address(url, &config, at).unwrap().0.as_str(), expected);
        }
    }
}
