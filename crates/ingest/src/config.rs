use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use model::{BrandId, SourceKind, TenantId};
use runtime::Secret;
use runtime::brands::{self, Brand};
use serde::{Deserialize, Serialize};
use sources::CsvMap;
use sources::signature::{self, SECRETS_MAX, Scheme};
use url::Url;

/// The connector that counts what names none.
pub const DEFAULT_CONNECTOR: &str = "default";

/// The settings of ingest, under `[ingest]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where gRPC is served.
    pub listen: SocketAddr,
    /// Where webhooks, CloudEvents and NDJSON are taken; absent: nowhere.
    pub listen_http: Option<SocketAddr>,
    /// Where people and machines are heard.
    pub connectors: Vec<ConnectorConfig>,
    /// Event ids and mentions remembered to recognise repeats and what belongs to a known thread.
    pub remembered_max: usize,
    /// Bytes of bodies that may be on their way to the log at once; beyond it senders wait or are told to.
    pub in_flight_bytes_max: usize,
    /// The largest body taken over HTTP, in bytes.
    pub http_body_bytes_max: usize,
    /// Deliveries of webhooks are remembered this long, in hours: a repeat within it is recognised.
    pub deliveries_kept_h: u64,
    /// Seconds between coverage reports of a connector that is live.
    pub coverage_every_s: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 7701)),
            listen_http: Some(SocketAddr::from(([0, 0, 0, 0], 7702))),
            connectors: Vec::new(),
            remembered_max: 200_000,
            in_flight_bytes_max: 64 * 1024 * 1024,
            http_body_bytes_max: 8 * 1024 * 1024,
            deliveries_kept_h: 24 * 7,
            coverage_every_s: 30,
        }
    }
}

/// One place where people are heard. Which of `stream`, `poll`, `webhook` and `files` is given says how;
/// none of them: others publish to it over gRPC.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectorConfig {
    /// Its name in accounts, coverage and addresses: a slug.
    pub id: String,
    /// The wire format, for example `bluesky-jetstream`; may be empty for publishers over gRPC, who say it.
    pub kind: String,
    /// Host, page, app or mailbox; empty where the network is one or the body tells.
    pub instance: String,
    /// Everything heard here concerns this brand, whether it is named or not.
    pub brand: Option<String>,
    /// Keep no exact bytes of what is heard here.
    pub forget_raw: bool,
    /// For `csv`: column to field.
    pub csv_map: BTreeMap<String, String>,
    /// A connection we keep open.
    pub stream: Option<StreamConfig>,
    /// Pages we fetch.
    pub poll: Option<PollConfig>,
    /// Deliveries pushed to `/v1/webhooks/ID`.
    pub webhook: Option<WebhookConfig>,
    /// History in files.
    pub files: Option<FilesConfig>,
}

/// A connection we keep open (`bluesky-jetstream`).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StreamConfig {
    /// Hosts to try, in order; the next one when one fails.
    pub urls: Vec<String>,
    /// What to hear; empty: everything.
    pub collections: Vec<String>,
    /// Seconds to go back when reconnecting; repeats are recognised.
    pub rewind_s: u64,
    /// Seconds without a frame after which the connection counts as dead.
    pub silence_s: u64,
    /// First and longest pause between attempts, in milliseconds.
    pub pause_ms: [u64; 2],
    /// Most frames taken in at once.
    pub batch_max: usize,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self {
            urls: vec![
                "wss://jetstream1.us-east.bsky.network/subscribe".into(),
                "wss://jetstream2.us-west.bsky.network/subscribe".into(),
            ],
            collections: vec![
                "app.bsky.feed.post".into(),
                "app.bsky.feed.repost".into(),
                "app.bsky.feed.like".into(),
            ],
            rewind_s: 5,
            silence_s: 30,
            pause_ms: [250, 30_000],
            batch_max: 500,
        }
    }
}

/// Pages we fetch.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PollConfig {
    /// What to fetch.
    pub urls: Vec<String>,
    /// Seconds between two looks at one page, unless its server asks for more.
    pub every_s: u64,
    /// The largest page, in bytes.
    pub body_bytes_max: usize,
    /// Seconds a fetch may take.
    pub timeout_s: u64,
}

impl Default for PollConfig {
    fn default() -> Self {
        Self { urls: Vec::new(), every_s: 300, body_bytes_max: 8 * 1024 * 1024, timeout_s: 20 }
    }
}

/// Deliveries pushed to us.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookConfig {
    /// How deliveries are signed: `standard-webhooks`, `slack`, `github`, `meta`, `x`, `discourse`,
    /// `zendesk`, `chatwoot`, `intercom`, `websub`; empty: as the kind's own source signs; `none` trusts
    /// whoever knows the address.
    pub scheme: String,
    /// The secrets in force: one, or two while they are changed.
    pub secrets: Vec<Secret<String>>,
    /// What Meta's subscription challenge must show.
    pub verify_token: Option<Secret<String>>,
}

/// History in files.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FilesConfig {
    /// Read once, in this order; where reading stopped it goes on.
    pub paths: Vec<PathBuf>,
}

/// A connector, checked.
#[derive(Debug, Clone)]
pub(crate) struct Connector {
    pub id: String,
    pub kind: Option<SourceKind>,
    pub instance: String,
    pub brand: Option<BrandId>,
    pub keep_raw: bool,
    pub csv_map: Option<CsvMap>,
    pub webhook: Option<Webhook>,
}

/// How deliveries to a connector are believed.
#[derive(Debug, Clone)]
pub(crate) struct Webhook {
    /// None: whoever knows the address.
    pub scheme: Option<Scheme>,
    pub secrets: Vec<signature::Secret>,
    pub verify_token: Option<Secret<String>>,
}

impl WebhookConfig {
    fn checked(&self, kind: SourceKind) -> anyhow::Result<Webhook> {
        let scheme = match self.scheme.as_str() {
            "none" => None,
            "" => Some(Scheme::of(kind).with_context(|| {
                format!("webhook.scheme: '{kind}' signs nothing of its own; name a scheme, or 'none'")
            })?),
            name => Some(Scheme::named(name).with_context(|| {
                let known: Vec<_> = Scheme::ALL.iter().map(|s| s.name).collect();
                format!("webhook.scheme: unknown scheme '{name}'; known are none, {}", known.join(", "))
            })?),
        };
        let secrets: Vec<_> = self.secrets.iter().map(|s| signature::Secret::new(s.expose())).collect();
        ensure!(
            scheme.is_none() || !secrets.is_empty(),
            "webhook.secrets: needs one, or two while they change"
        );
        ensure!(secrets.len() <= SECRETS_MAX, "webhook.secrets: needs at most {SECRETS_MAX}");
        Ok(Webhook { scheme, secrets, verify_token: self.verify_token.clone() })
    }
}

/// Column to field, as the decoder of tables wants it.
///
/// # Errors
/// When a field is unknown or named twice.
pub(crate) fn csv_map(pairs: &BTreeMap<String, String>) -> anyhow::Result<Option<CsvMap>> {
    if pairs.is_empty() {
        return Ok(None);
    }
    let text = pairs.iter().map(|(column, field)| format!("{column}={field}")).collect::<Vec<_>>().join(",");
    CsvMap::parse(&text).map(Some).map_err(|e| anyhow::anyhow!("csv_map: {e}"))
}

impl ConnectorConfig {
    fn checked(&self) -> anyhow::Result<Connector> {
        TenantId::parse(&self.id).map_err(|_| anyhow::anyhow!("id: '{}' is no slug", self.id))?;
        let kind = match self.kind.as_str() {
            "" => None,
            name => Some(name.parse::<SourceKind>()?),
        };
        let ways = [self.stream.is_some(), self.poll.is_some(), self.webhook.is_some(), self.files.is_some()];
        ensure!(
            ways.iter().filter(|w| **w).count() <= 1,
            "needs at most one of stream, poll, webhook, files"
        );
        ensure!(kind.is_some() || !ways.contains(&true), "kind: is missing");
        if let Some(stream) = &self.stream {
            ensure!(
                kind == Some(SourceKind::BlueskyJetstream),
                "stream: only 'bluesky-jetstream' has one so far"
            );
            ensure!(!stream.urls.is_empty(), "stream.urls: needs at least one");
            ensure!((1..=10_000).contains(&stream.batch_max), "stream.batch_max: needs 1 to 10000");
            ensure!(
                stream.pause_ms[0] > 0 && stream.pause_ms[0] <= stream.pause_ms[1],
                "stream.pause_ms: needs first <= longest"
            );
            for url in &stream.urls {
                let url = Url::parse(url).with_context(|| format!("stream.urls: '{url}'"))?;
                ensure!(matches!(url.scheme(), "ws" | "wss"), "stream.urls: '{url}' needs ws or wss");
            }
        }
        if let Some(poll) = &self.poll {
            ensure!(!poll.urls.is_empty(), "poll.urls: needs at least one");
            ensure!(poll.every_s >= 1, "poll.every_s: needs at least 1");
            for url in &poll.urls {
                let url = Url::parse(url).with_context(|| format!("poll.urls: '{url}'"))?;
                ensure!(matches!(url.scheme(), "http" | "https"), "poll.urls: '{url}' needs http or https");
            }
        }
        Ok(Connector {
            id: self.id.clone(),
            kind,
            instance: self.instance.clone(),
            brand: self.brand.as_deref().map(BrandId::parse).transpose()?,
            keep_raw: !self.forget_raw,
            csv_map: csv_map(&self.csv_map)?,
            webhook: match (&self.webhook, kind) {
                (Some(webhook), Some(kind)) => Some(webhook.checked(kind)?),
                _ => None,
            },
        })
    }
}

impl Config {
    /// Checks what no type can check.
    ///
    /// # Errors
    /// With the name of the setting and what it needs.
    pub fn check(&self, tenant: &str, brands: &[Brand]) -> anyhow::Result<()> {
        TenantId::parse(tenant)?;
        brands::check(brands)?;
        ensure!(
            (1_000..=10_000_000).contains(&self.remembered_max),
            "ingest.remembered_max: needs 1000 to 10000000"
        );
        ensure!(
            self.in_flight_bytes_max >= 16 * 1024 * 1024,
            "ingest.in_flight_bytes_max: needs 16 MiB or more"
        );
        ensure!(
            (1_024..=8 * 1024 * 1024).contains(&self.http_body_bytes_max),
            "ingest.http_body_bytes_max: needs 1 KiB to 8 MiB"
        );
        self.checked_connectors().map(|_| ())
    }

    pub(crate) fn checked_connectors(&self) -> anyhow::Result<BTreeMap<String, Connector>> {
        let mut all = BTreeMap::new();
        let own = ConnectorConfig { id: DEFAULT_CONNECTOR.into(), ..ConnectorConfig::default() };
        for connector in std::iter::once(&own).chain(&self.connectors) {
            let checked =
                connector.checked().with_context(|| format!("ingest.connectors: '{}'", connector.id))?;
            let again = all.insert(checked.id.clone(), checked).is_some();
            ensure!(
                !again || connector.id == DEFAULT_CONNECTOR,
                "ingest.connectors: '{}' occurs twice",
                connector.id
            );
        }
        Ok(all)
    }
}
