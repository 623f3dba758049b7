//! Where notices go: one attempt, judged. No redirects, a time limit, and never into our own network unless
//! the destination says so.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use model::Timestamp;
use paging::format::{Answer, Wire, pagerduty, slack, webhook};
use paging::{Attempt, FailureReason, Notice, Secret};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use tracing::info;
use url::{Host, Url};

use crate::config::{Config, Destination, DestinationKind};

/// How much of an answer's body is read, in bytes.
const ANSWER_BYTES_MAX: usize = 4 * 1024;

/// One attempt's outcome, and what to write down about it: no address, no secret, no words of customers.
#[derive(Debug)]
pub(crate) struct Tried {
    pub(crate) attempt: Attempt,
    pub(crate) note: String,
}

/// All destinations, ready.
pub(crate) struct Destinations {
    base_url: String,
    by_name: BTreeMap<String, Ready>,
}

struct Ready {
    kind: DestinationKind,
    url: Option<Url>,
    secrets: Vec<Secret>,
    routing_key: String,
    allow_private: bool,
    client: reqwest::Client,
}

impl Destinations {
    /// Prepares clients and checks addresses and secrets.
    pub(crate) fn new(config: &Config) -> anyhow::Result<Self> {
        runtime::net::install_crypto();
        let timeout = Duration::from_secs(config.delivery.attempt_timeout_s);
        let ready = |(name, destination): (&String, &Destination)| {
            let ready =
                Ready::new(destination, timeout).with_context(|| format!("alert.destinations.{name}"))?;
            Ok((name.clone(), ready))
        };
        Ok(Self {
            base_url: config.base_url.clone(),
            by_name: config.destinations.iter().map(ready).collect::<anyhow::Result<_>>()?,
        })
    }

    /// Tries to deliver a notice once. `None`: no such destination is configured any more.
    pub(crate) async fn attempt(&self, notice: &Notice, now: Timestamp) -> Option<Tried> {
        let ready = self.by_name.get(&notice.destination)?;
        let Some(url) = &ready.url else {
            let episode = &notice.episode;
            info!(
                episode = %episode.id, rule = %episode.rule, subject = %episode.subject,
                kind = notice.kind.label(), reason = notice.reason.label(), "{}", episode.title
            );
            return Some(Tried { attempt: Attempt::Ok, note: String::new() });
        };
        if !ready.allow_private && is_forbidden_literal(url) {
            let attempt = Attempt::Permanent(FailureReason::Forbidden);
            return Some(Tried { attempt, note: "its address lies inside our own network".into() });
        }
        let wire = match ready.kind {
            DestinationKind::Webhook => webhook::render(notice, &self.base_url, &ready.secrets, now),
            DestinationKind::Slack => slack::render(notice, &self.base_url),
            DestinationKind::PagerDuty => pagerduty::render(notice, &self.base_url, &ready.routing_key),
            DestinationKind::Log => return None,
        };
        Some(ready.send(url, wire, now).await)
    }
}

impl Ready {
    fn new(destination: &Destination, timeout: Duration) -> anyhow::Result<Self> {
        let url = match destination.kind {
            DestinationKind::Log => None,
            _ => Some(destination.address()?),
        };
        let secrets = destination.secrets.iter().map(|secret| Secret::parse(secret.expose()));
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(timeout)
            .connect_timeout(timeout.min(Duration::from_secs(5)))
            .no_proxy()
            .dns_resolver(Arc::new(Guard { allow_private: destination.allow_private }))
            .user_agent(concat!("redress/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("cannot set up its HTTP client")?;
        Ok(Self {
            kind: destination.kind,
            url,
            secrets: secrets.collect::<Result<_, _>>().context("secrets")?,
            routing_key: destination.routing_key.expose().clone(),
            allow_private: destination.allow_private,
            client,
        })
    }

    async fn send(&self, url: &Url, wire: Wire, now: Timestamp) -> Tried {
        let mut request =
            self.client.post(url.clone()).header(CONTENT_TYPE, "application/json").body(wire.body);
        for (name, value) in wire.headers {
            request = request.header(name, value);
        }
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => return not_sent(&error),
        };
        let status = response.status().as_u16();
        let retry_after =
            response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut body = Vec::new();
        while body.len() < ANSWER_BYTES_MAX {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    body.extend_from_slice(&chunk[..chunk.len().min(ANSWER_BYTES_MAX - body.len())])
                }
                Ok(None) => break,
                // It answered, and perhaps has it: the same id goes again.
                Err(_) => {
                    let attempt = Attempt::Ambiguous(FailureReason::Other);
                    return Tried { attempt, note: format!("status {status}, then the answer broke off") };
                }
            }
        }
        let answer = Answer { status, retry_after: retry_after.as_deref(), body: &body };
        let attempt = match self.kind {
            DestinationKind::Slack => slack::judge_answer(&answer, now),
            DestinationKind::PagerDuty => pagerduty::judge_answer(&answer, now),
            DestinationKind::Webhook | DestinationKind::Log => webhook::judge_answer(&answer, now),
        };
        let note = if attempt == Attempt::Ok { String::new() } else { format!("status {status}") };
        Tried { attempt, note }
    }
}

/// Nothing came back. The error may show the address, so only its kind is told.
fn not_sent(error: &reqwest::Error) -> Tried {
    let (attempt, note) = if is_guarded(error) {
        (Attempt::Permanent(FailureReason::Forbidden), "its address lies inside our own network")
    } else if error.is_timeout() && !error.is_connect() {
        (Attempt::Ambiguous(FailureReason::DeadlineExceeded), "no answer in time")
    } else if error.is_connect() || error.is_timeout() {
        (Attempt::Retry(FailureReason::Unreachable), "cannot be reached")
    } else {
        (Attempt::Ambiguous(FailureReason::Other), "the connection broke")
    };
    Tried { attempt, note: note.to_owned() }
}

fn is_guarded(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<Guarded>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// A name that leads only into our own network.
#[derive(Debug, thiserror::Error)]
#[error("the name leads into our own network")]
struct Guarded;

/// Resolves names and leaves out addresses that notices must not reach. The connection is made to exactly
/// what was checked, so a name that changes between check and use gains nothing.
struct Guard {
    allow_private: bool,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> =
                found.filter(|address| allow_private || !is_forbidden(address.ip())).collect();
            if allowed.is_empty() {
                return Err(Guarded.into());
            }
            let addresses: Addrs = Box::new(allowed.into_iter());
            Ok(addresses)
        })
    }
}

fn is_forbidden_literal(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => is_forbidden(ip.into()),
        Some(Host::Ipv6(ip)) => is_forbidden(ip.into()),
        Some(Host::Domain(_)) => false,
        None => true,
    }
}

/// Addresses that are no place on the public network.
fn is_forbidden(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_forbidden_v4(ip),
        IpAddr::V6(ip) => match embedded_v4(ip) {
            Some(ip) => is_forbidden_v4(ip),
            None => {
                let first = ip.segments()[0];
                ip.is_loopback()
                    || ip.is_unspecified()
                    || ip.is_multicast()
                    || first & 0xfe00 == 0xfc00
                    || first & 0xffc0 == 0xfe80
            }
        },
    }
}

fn is_forbidden_v4(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    ip.is_loopback()
        || ip.is_private()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_broadcast()
        || a == 0
        || a >= 240
        // Shared address space (RFC 6598), and benchmarking (RFC 2544).
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (18..20).contains(&b))
}

/// The IPv4 address inside a mapped (`::ffff:0:0/96`) or NAT64 (`64:ff9b::/96`) one.
fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let is_nat64 = (a, b, c, d, e, f) == (0x64, 0xff9b, 0, 0, 0, 0);
    let [g1, g2] = g.to_be_bytes();
    let [h1, h2] = h.to_be_bytes();
    ip.to_ipv4_mapped().or(is_nat64.then(|| Ipv4Addr::new(g1, g2, h1, h2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_network_is_forbidden_in_every_spelling() {
        for url in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://10.1.2.3/",
            "http://169.254.169.254/latest/meta-data",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://[fd00::1]/",
            "http://[fe80::1]/",
            "http://100.64.0.1/",
            "http://0.0.0.0/",
        ] {
            assert!(is_forbidden_literal(&url.parse().unwrap()), "{url}");
        }
        for url in ["http://93.184.216.34/", "http://[2606:2800:220:1::1]/", "http://example.com/"] {
            assert!(!is_forbidden_literal(&url.parse().unwrap()), "{url}");
        }
    }
}
