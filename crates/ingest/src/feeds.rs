//! Pages we fetch: asked for politely, and only when they changed.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use contracts::ingest::v1::CoverageState;
use futures::StreamExt as _;
use model::Transport;
use rand::Rng as _;
use reqwest::header::{
    ETAG, HeaderMap, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, LOCATION, RETRY_AFTER,
};
use reqwest::{Client, StatusCode};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};
use url::Url;

use crate::config::PollConfig;
use crate::source::{Source, Stopped};
use crate::step::{Body, Feed};

/// Redirects followed at most.
const REDIRECTS_MAX: usize = 5;
/// The longest a server may make us wait.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3_600);
/// A page that fails is asked for at most so much more rarely.
const SLOWDOWN_MAX: u32 = 32;

/// What is remembered of a page.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Cursor {
    etag: Option<String>,
    last_modified: Option<String>,
    /// BLAKE3 of the last body taken in: a server without tags sends the same page again and again.
    digest: Option<String>,
    /// Gone for ever (410).
    gone: bool,
}

/// What one look brought.
enum Look {
    /// A page.
    Page { body: Bytes, etag: Option<String>, last_modified: Option<String> },
    /// As before.
    Same,
    /// It will never come back.
    Gone,
    /// Not now; perhaps the server said when.
    Refused { why: String, wait: Option<Duration> },
}

/// Looks at one page again and again, until told to stop or it is gone.
pub(crate) async fn poll(
    source: Source,
    client: Client,
    url: String,
    config: PollConfig,
) -> Result<(), Stopped> {
    let mut cursor: Cursor = source.cursor(&url).await.unwrap_or_default();
    let mut failures = 0_u32;
    while !cursor.gone {
        let look = tokio::select! {
            look = look(&client, &url, &cursor, config.body_bytes_max) => look,
            () = source.shutdown.reached(runtime::Phase::StopIntake) => return Err(Stopped),
        };
        let mut wait = Duration::from_secs(config.every_s);
        match look {
            Look::Page { body, etag, last_modified } => {
                failures = 0;
                let digest = blake3::hash(&body).to_hex().to_string();
                if cursor.digest.as_ref() != Some(&digest) {
                    take(&source, body).await?;
                }
                cursor = Cursor { etag, last_modified, digest: Some(digest), gone: false };
                source.save(&url, &cursor).await;
                source.cover(CoverageState::Live, Some(source.intake.now()), "").await;
            }
            Look::Same => {
                failures = 0;
                source.cover(CoverageState::Live, Some(source.intake.now()), "").await;
            }
            Look::Gone => {
                cursor.gone = true;
                source.save(&url, &cursor).await;
            }
            Look::Refused { why, wait: asked } => {
                failures += 1;
                warn!(connector = source.connector, url, why, failures, "page not fetched");
                source.cover(CoverageState::Gap, None, "a page could not be fetched").await;
                let slower = wait.saturating_mul(1 << failures.min(SLOWDOWN_MAX.ilog2()));
                wait = asked.map_or(slower, |asked| asked.max(wait)).min(WAIT_MAX);
            }
        }
        if !cursor.gone {
            let jitter = rand::rng().random_range(0.9..=1.1);
            source.pause(wait.mul_f64(jitter)).await?;
        }
    }
    info!(connector = source.connector, url, "page is gone for ever");
    source.cover(CoverageState::Ended, None, "the page is gone").await;
    Ok(())
}

async fn take(source: &Source, body: Bytes) -> Result<(), Stopped> {
    let body = Body {
        kind: source.kind,
        instance: String::new(),
        transport: Transport::Poll,
        received_at: source.intake.now(),
        csv_map: None,
        bytes: body,
    };
    let mut feed = Feed::new(source.kind);
    // The connector was configured, so it is known.
    let Ok(prepared) = source.intake.prepare(&mut feed, &source.connector, body, true) else { return Ok(()) };
    source.deliver(vec![prepared]).await.map(|_| ())
}

async fn look(client: &Client, url: &str, cursor: &Cursor, bytes_max: usize) -> Look {
    let refused = |why: String| Look::Refused { why, wait: None };
    let mut at = url.to_owned();
    for _ in 0..=REDIRECTS_MAX {
        let mut request = client.get(&at);
        if let Some(etag) = &cursor.etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        if let Some(since) = &cursor.last_modified {
            request = request.header(IF_MODIFIED_SINCE, since);
        }
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return refused(error.without_url().to_string()),
        };
        let status = answer.status();
        let header = |name| answer.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        match status {
            StatusCode::NOT_MODIFIED => return Look::Same,
            StatusCode::GONE => return Look::Gone,
            status if status.is_redirection() => {
                let next = header(LOCATION).and_then(|to| Url::parse(&at).ok()?.join(&to).ok());
                match next.filter(|next| matches!(next.scheme(), "http" | "https")) {
                    Some(next) => at = next.into(),
                    None => return refused(format!("answered {status} to nowhere")),
                }
            }
            status if status.is_success() => {
                let (etag, last_modified) = (header(ETAG), header(LAST_MODIFIED));
                return match read(answer, bytes_max).await {
                    Ok(body) => Look::Page { body, etag, last_modified },
                    Err(why) => refused(why),
                };
            }
            status => {
                let wait = retry_after(answer.headers());
                return Look::Refused { why: format!("answered {status}"), wait };
            }
        }
    }
    refused(format!("more than {REDIRECTS_MAX} redirects"))
}

async fn read(answer: reqwest::Response, bytes_max: usize) -> Result<Bytes, String> {
    let mut body = BytesMut::new();
    let mut stream = answer.bytes_stream();
    while let Some(part) = stream.next().await {
        let part = part.map_err(|e| e.without_url().to_string())?;
        if body.len() + part.len() > bytes_max {
            return Err(format!("the page has more than {bytes_max} bytes"));
        }
        body.extend_from_slice(&part);
    }
    Ok(body.freeze())
}

/// Seconds; dates are rare enough to be treated as "not soon".
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    let seconds = text.trim().parse().unwrap_or(3_600);
    Some(Duration::from_secs(seconds).min(WAIT_MAX))
}
