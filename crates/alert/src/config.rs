use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use detect::thread::CascadeModel;
use jiff::tz::TimeZone;
use model::{Severity, Topic};
use paging::{EscalationStep, Policy, Route, RulePolicy, Trigger, Urgency};
use runtime::Secret;
use runtime::brands::Brand;
use serde::{Deserialize, Serialize};

/// The settings of alert, under `[alert]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where gRPC is served.
    pub listen: SocketAddr,
    /// This member's stable name in its groups; a restarted member with the same name fences the one before.
    pub member: String,
    /// The console's address, for links in notices; empty: no links.
    pub base_url: String,
    /// When something is called a rise.
    pub detect: DetectConfig,
    /// When a thread is called spreading.
    pub threads: ThreadConfig,
    /// When one complaint calls somebody.
    pub severe: SevereConfig,
    /// When a source that is not heard calls somebody.
    pub sources: SourcesConfig,
    /// Who is told, how often, and when not.
    pub paging: PagingConfig,
    /// Where notices go, by name.
    pub destinations: BTreeMap<String, Destination>,
    /// How notices are sent.
    pub delivery: DeliveryConfig,
    /// How the log is read.
    pub reading: ReadingConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 7704)),
            member: "alert-0".into(),
            base_url: String::new(),
            detect: DetectConfig::default(),
            threads: ThreadConfig::default(),
            severe: SevereConfig::default(),
            sources: SourcesConfig::default(),
            paging: PagingConfig::default(),
            destinations: BTreeMap::new(),
            delivery: DeliveryConfig::default(),
            reading: ReadingConfig::default(),
        }
    }
}

/// When something is called a rise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DetectConfig {
    /// Wanted false alarms per subject and day.
    pub false_alarms_per_day: f32,
    /// Least complaints, copies folded, before an episode opens.
    pub min_count: f32,
    /// Least distinct people before an episode opens.
    pub min_people: f32,
    /// Seconds of event time without surprise after which it is calm.
    pub quiet_s: i64,
    /// A brand heard for less event time than this has no usual yet, and nothing of it is called rising.
    pub warmup_s: i64,
}

impl Default for DetectConfig {
    fn default() -> Self {
        let policy = detect::DetectPolicy::default();
        Self {
            false_alarms_per_day: policy.false_alarms_per_day,
            min_count: policy.min_count,
            min_people: policy.min_people,
            quiet_s: policy.quiet_s,
            warmup_s: 3_600,
        }
    }
}

impl DetectConfig {
    /// As the detectors take it.
    pub(crate) fn policy(&self) -> detect::DetectPolicy {
        detect::DetectPolicy {
            false_alarms_per_day: self.false_alarms_per_day,
            min_count: self.min_count,
            min_people: self.min_people,
            quiet_s: self.quiet_s,
            ..detect::DetectPolicy::default()
        }
    }
}

/// When a thread is called spreading.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ThreadConfig {
    /// Reactions that count as spread.
    pub viral_size: u32,
    /// Probability (0..1) to pass it from which people are called.
    pub page_from: f32,
    /// Least reactions before a forecast is believed.
    pub seen_min: u32,
    /// Least share (0..1) of complaints among its posts: praise may spread.
    pub complaint_share_min: f32,
    /// Seconds of event time without a reaction after which it is over.
    pub quiet_s: i64,
    /// Most threads followed per partition; the longest quiet ones leave first.
    pub followed_max: usize,
    /// Local hours in which somebody answers, from (inclusive) and to (exclusive).
    pub staffed_hours: (i8, i8),
    /// A forecast made of own finished threads by `redress train --task cascade`; the shipped one if absent. It is
    /// read when the service starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<PathBuf>,
}

impl ThreadConfig {
    /// Reads the forecast that is set.
    pub(crate) fn cascade(&self) -> anyhow::Result<CascadeModel> {
        let Some(path) = &self.model else { return Ok(CascadeModel::shipped()) };
        let cannot = || format!("alert.threads.model: cannot use {}", path.display());
        let bytes = runtime::file::read(path, CascadeModel::BYTES_MAX).with_context(cannot)?;
        CascadeModel::from_bytes(&bytes).with_context(cannot)
    }
}

impl Default for ThreadConfig {
    fn default() -> Self {
        Self {
            viral_size: 300,
            page_from: 0.5,
            seen_min: 8,
            complaint_share_min: 0.3,
            quiet_s: 2 * 3_600,
            followed_max: 10_000,
            staffed_hours: (9, 17),
            model: None,
        }
    }
}

/// When one complaint calls somebody.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SevereConfig {
    /// Severity level, 0..4, from which on.
    pub level: u32,
    /// How sure (0..1) understanding must be of at least that level.
    pub probability: f32,
    /// How sure (0..1) it must be that it is a complaint at all.
    pub complaint: f32,
    /// What is enough where it is about harm.
    pub harm: HarmConfig,
    /// Seconds after a page in which further ones about the same brand and topic join it, also when it was over in
    /// between: they are on the list and with the care team, and call nobody until there are clearly more. 0: each
    /// return calls.
    pub joins_for_s: u32,
    /// Clearly more is `paging.growth` times what people know, and at least so many more.
    pub step_min: u32,
}

impl Default for SevereConfig {
    fn default() -> Self {
        Self {
            level: 3,
            probability: 0.85,
            complaint: 0.8,
            harm: HarmConfig::default(),
            joins_for_s: 24 * 3_600,
            step_min: 4,
        }
    }
}

impl SevereConfig {
    /// How sure (0..1) it is that words with these probabilities of the five levels accuse at [`Self::level`] or
    /// above, if that calls somebody. `topics` are names with how likely the words are about them.
    pub fn calls<'a>(
        &self,
        levels: &[f32],
        complaint: f32,
        topics: impl IntoIterator<Item = (&'a str, f32)>,
    ) -> Option<f32> {
        let harm = &self.harm;
        let sure: f32 = levels.iter().skip(self.level as usize).sum();
        let is_loud = sure >= self.probability && complaint >= self.complaint;
        let may_be_harm = sure >= harm.probability && complaint >= harm.complaint;
        let mut topics = topics.into_iter();
        let mut is_harm = || topics.any(|(name, p)| p >= harm.topic && harm.topics.iter().any(|t| t == name));
        (is_loud || may_be_harm && is_harm()).then_some(sure)
    }
}

/// A complaint about harm calls somebody sooner: a burn is often told more calmly than a delay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HarmConfig {
    /// Topics that mean harm; none: no complaint calls sooner than others.
    pub topics: Vec<String>,
    /// How sure (0..1) understanding must be of one of them.
    pub topic: f32,
    /// How sure (0..1) it must be of at least the level of all severe complaints.
    pub probability: f32,
    /// How sure (0..1) it must be that it is a complaint at all.
    pub complaint: f32,
}

impl Default for HarmConfig {
    fn default() -> Self {
        Self { topics: vec!["safety".to_owned()], topic: 0.5, probability: 0.5, complaint: 0.6 }
    }
}

/// When a source that is not heard calls somebody.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourcesConfig {
    /// Seconds without hearing anything after which it is told.
    pub silent_after_s: u32,
    /// Least share (0..1) of a brand's posts that must usually come through it.
    pub share_min: f32,
}

impl Default for SourcesConfig {
    fn default() -> Self {
        Self { silent_after_s: 300, share_min: 0.1 }
    }
}

/// Who is told, how often, and when not.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PagingConfig {
    /// The routing table: first that agrees, see `paging::Route`. Empty: everything to every destination.
    pub routes: Vec<RouteConfig>,
    /// Who is told next when nobody takes an episode.
    pub escalation: Vec<EscalationConfig>,
    /// A page that nobody takes is repeated after so many seconds.
    pub repeat_after_s: u32,
    /// Seconds an acknowledgement holds when nobody says.
    pub ack_for_s: u32,
    /// An episode that opens again within so many seconds is flapping.
    pub flap_within_s: u32,
    /// People hear of growth when the size is so many times what they know.
    pub growth: f64,
    /// Signals older than so many seconds open nothing.
    pub age_max_s: u32,
    /// Sources not heard for so many seconds are silent.
    pub stale_after_s: u32,
    /// How loudly each rule speaks: `page`, `ticket` or `digest`, by rule name.
    pub urgency: BTreeMap<String, Urgency>,
}

impl Default for PagingConfig {
    fn default() -> Self {
        let policy = Policy::default();
        let seconds = |millis: i64| u32::try_from(millis / 1_000).unwrap_or(u32::MAX);
        Self {
            routes: Vec::new(),
            escalation: Vec::new(),
            repeat_after_s: seconds(policy.repeat_after_ms),
            ack_for_s: seconds(policy.ack_for_ms),
            flap_within_s: seconds(policy.flap_within_ms),
            growth: policy.growth,
            age_max_s: seconds(policy.age_max_ms),
            stale_after_s: seconds(policy.stale_after_ms),
            urgency: BTreeMap::new(),
        }
    }
}

/// One line of the routing table.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouteConfig {
    /// Label to pattern; all must agree.
    pub when: BTreeMap<String, String>,
    /// Destinations.
    pub to: Vec<String>,
    /// Later routes are looked at as well.
    pub goes_on: bool,
}

/// Who is told next.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EscalationConfig {
    /// Seconds after the first page.
    pub after_s: u32,
    /// Destinations.
    pub to: Vec<String>,
}

/// What a destination understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DestinationKind {
    /// Signed Standard Webhooks.
    Webhook,
    /// A Slack incoming webhook.
    Slack,
    /// PagerDuty Events v2.
    PagerDuty,
    /// A line in this process's log, without customers' words.
    Log,
}

/// Where notices go.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// What it understands.
    pub kind: DestinationKind,
    /// Its address; may hold a secret. PagerDuty: its public one when empty. Log: none.
    #[serde(default)]
    pub url: Secret<String>,
    /// Webhook: signing secrets (`whsec_...`), newest first; two while they are exchanged.
    #[serde(default)]
    pub secrets: Vec<Secret<String>>,
    /// PagerDuty: the integration's key.
    #[serde(default)]
    pub routing_key: Secret<String>,
    /// Addresses inside our own network may be called.
    #[serde(default)]
    pub allow_private: bool,
}

/// How notices are sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeliveryConfig {
    /// Real seconds one attempt may take.
    pub attempt_timeout_s: u64,
    /// Seconds (of the service's clock) a worker may hold a message before another takes it.
    pub lease_s: u64,
    /// Messages sent at once.
    pub at_once_max: u32,
    /// After so many attempts a message is given up.
    pub attempts_max: u32,
    /// And after so many seconds.
    pub give_up_after_s: u32,
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        Self {
            attempt_timeout_s: 10,
            lease_s: 60,
            at_once_max: 32,
            attempts_max: 40,
            give_up_after_s: 86_400,
        }
    }
}

/// How the log is read.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReadingConfig {
    /// Most records in one batch.
    pub batch_records_max: usize,
    /// Milliseconds between commits of tallies while there is little to read.
    pub commit_every_ms: u64,
    /// Seconds (of the service's clock) between snapshots of detector states.
    pub snapshot_every_s: u64,
    /// Milliseconds after which the log ends a dead member's open transaction.
    pub transaction_timeout_ms: u64,
    /// Seconds to wait at the start for the tables to have the right version.
    pub tables_wait_s: u64,
}

impl Default for ReadingConfig {
    fn default() -> Self {
        Self {
            batch_records_max: 5_000,
            commit_every_ms: 50,
            snapshot_every_s: 60,
            transaction_timeout_ms: 15_000,
            tables_wait_s: 120,
        }
    }
}

impl Config {
    /// Checks what no type can check.
    ///
    /// # Errors
    /// With the name of the setting and what it needs.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.member.is_empty(), "alert.member: needs a name");
        let unit = |name: &str, value: f32| {
            ensure!((0.0..=1.0).contains(&value), "alert.{name}: needs 0 to 1");
            Ok(())
        };
        ensure!(
            self.detect.false_alarms_per_day > 0.0,
            "alert.detect.false_alarms_per_day: needs more than 0"
        );
        ensure!(self.detect.quiet_s >= 60, "alert.detect.quiet_s: needs at least 60");
        ensure!(self.threads.viral_size >= 2, "alert.threads.viral_size: needs at least 2");
        unit("threads.page_from", self.threads.page_from)?;
        unit("threads.complaint_share_min", self.threads.complaint_share_min)?;
        ensure!(self.threads.followed_max >= 100, "alert.threads.followed_max: needs at least 100");
        let (from, to) = self.threads.staffed_hours;
        ensure!(
            0 <= from && from < to && to <= 24,
            "alert.threads.staffed_hours: needs 0 <= from < to <= 24"
        );
        Severity::from_level(self.severe.level).context("alert.severe.level")?;
        unit("severe.probability", self.severe.probability)?;
        unit("severe.complaint", self.severe.complaint)?;
        unit("severe.harm.topic", self.severe.harm.topic)?;
        unit("severe.harm.probability", self.severe.harm.probability)?;
        unit("severe.harm.complaint", self.severe.harm.complaint)?;
        for topic in &self.severe.harm.topics {
            Topic::parse(topic).context("alert.severe.harm.topics")?;
        }
        unit("sources.share_min", self.sources.share_min)?;
        ensure!(self.sources.silent_after_s >= 1, "alert.sources.silent_after_s: needs at least 1");
        ensure!(
            (1..=100_000).contains(&self.reading.batch_records_max),
            "alert.reading.batch_records_max: needs 1 to 100000"
        );
        ensure!(
            (1..=5_000).contains(&self.reading.commit_every_ms),
            "alert.reading.commit_every_ms: needs 1 to 5000"
        );
        ensure!((1..=500).contains(&self.delivery.at_once_max), "alert.delivery.at_once_max: needs 1 to 500");
        ensure!(
            (1..=60).contains(&self.delivery.attempt_timeout_s),
            "alert.delivery.attempt_timeout_s: needs 1 to 60"
        );
        for (name, destination) in &self.destinations {
            let fine = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            ensure!(
                (1..=64).contains(&name.len()) && name.bytes().all(fine),
                "alert.destinations: '{name}' needs 1 to 64 letters, digits, '-' or '_'"
            );
            destination.check().with_context(|| format!("alert.destinations.{name}"))?;
        }
        self.check_names()
    }

    fn check_names(&self) -> anyhow::Result<()> {
        let known: BTreeSet<&String> = self.destinations.keys().collect();
        let routes = self.paging.routes.iter().flat_map(|route| &route.to).map(|to| ("routes", to));
        let steps = self.paging.escalation.iter().flat_map(|step| &step.to).map(|to| ("escalation", to));
        for (place, name) in routes.chain(steps) {
            ensure!(known.contains(name), "alert.paging.{place}: no destination is called '{name}'");
        }
        let rules = Policy::default().rules;
        for rule in self.paging.urgency.keys() {
            let known: Vec<&str> = rules.keys().map(String::as_str).collect();
            ensure!(
                rules.contains_key(rule),
                "alert.paging.urgency: no rule is called '{rule}'; known are {}",
                known.join(", ")
            );
        }
        Ok(())
    }

    /// The paging policy these settings make.
    pub fn policy(&self) -> Policy {
        let paging = &self.paging;
        let millis = |seconds: u32| i64::from(seconds) * 1_000;
        let mut policy = Policy {
            routes: self.routes(),
            repeat_after_ms: millis(paging.repeat_after_s),
            ack_for_ms: millis(paging.ack_for_s),
            escalation: paging
                .escalation
                .iter()
                .map(|step| EscalationStep { after_ms: millis(step.after_s), to: step.to.clone() })
                .collect(),
            flap_within_ms: millis(paging.flap_within_s),
            growth: paging.growth,
            age_max_ms: millis(paging.age_max_s),
            stale_after_ms: millis(paging.stale_after_s),
            ..Policy::default()
        };
        policy.escalation.sort_by_key(|step| step.after_ms);
        for (rule, urgency) in &paging.urgency {
            if let Some(rule) = policy.rules.get_mut(rule) {
                // Who asks for silence gets it, whatever the severity.
                *rule = RulePolicy { urgency: *urgency, page_from: rule.page_from, ..*rule };
            }
        }
        for rule in policy.rules.values_mut() {
            match rule.trigger {
                Trigger::SpreadingThread => {
                    rule.quiet_for_ms = rule.quiet_for_ms.map(|ms| ms.max(self.threads.quiet_s * 1_000));
                }
                Trigger::SevereComplaint => {
                    rule.joins_for_ms = millis(self.severe.joins_for_s);
                    rule.step_min = self.severe.step_min.into();
                }
                Trigger::RisingSubject | Trigger::SilentSource => {}
            }
        }
        policy
    }

    /// Where a notice with these labels goes, each written `name=value`; see `paging::Labels`.
    ///
    /// # Errors
    /// When a label cannot be read.
    pub fn destinations_for<'a>(
        &self,
        labels: impl IntoIterator<Item = &'a str>,
    ) -> anyhow::Result<Vec<String>> {
        let labels = paging::Labels::parse(labels).map_err(|problem| anyhow::anyhow!(problem))?;
        Ok(self.policy().route(&labels))
    }

    fn routes(&self) -> Vec<Route> {
        if self.paging.routes.is_empty() {
            let to = self.destinations.keys().cloned().collect();
            return vec![Route { to, ..Route::default() }];
        }
        let route = |route: &RouteConfig| Route {
            when: route.when.clone(),
            to: route.to.clone(),
            goes_on: route.goes_on,
        };
        self.paging.routes.iter().map(route).collect()
    }
}

impl Destination {
    /// A line in the process's log.
    pub fn log() -> Self {
        Self {
            kind: DestinationKind::Log,
            url: Secret::default(),
            secrets: Vec::new(),
            routing_key: Secret::default(),
            allow_private: false,
        }
    }

    fn check(&self) -> anyhow::Result<()> {
        if self.kind == DestinationKind::Log {
            return Ok(());
        }
        if self.kind == DestinationKind::PagerDuty {
            ensure!(!self.routing_key.expose().is_empty(), "routing_key: needed by pagerduty");
        }
        let url = self.address()?;
        ensure!(matches!(url.scheme(), "https" | "http"), "url: needs https or http");
        ensure!(url.host().is_some(), "url: needs a host");
        for secret in &self.secrets {
            paging::Secret::parse(secret.expose()).context("secrets")?;
        }
        Ok(())
    }

    /// Where to call.
    ///
    /// # Errors
    /// When it is no URL; the address itself is not shown, for it may hold a secret.
    pub(crate) fn address(&self) -> anyhow::Result<url::Url> {
        let text = self.url.expose();
        if text.is_empty() && self.kind == DestinationKind::PagerDuty {
            return Ok("https://events.pagerduty.com/v2/enqueue".parse()?);
        }
        text.parse().ok().context("url: not an address")
    }
}

/// Local time per brand, by the zones of its settings.
#[derive(Debug, Clone, Default)]
pub(crate) struct Zones(BTreeMap<String, TimeZone>);

impl Zones {
    pub(crate) fn of(brands: &[Brand]) -> anyhow::Result<Self> {
        let zone = |brand: &Brand| {
            let zone =
                TimeZone::get(brand.zone()).with_context(|| format!("brands.{}: time_zone", brand.id))?;
            Ok((brand.id.clone(), zone))
        };
        brands.iter().map(zone).collect::<anyhow::Result<_>>().map(Self)
    }

    /// Local time minus UTC, in seconds; 0 for brands without a zone.
    pub(crate) fn offset_s(&self, brand: &str, at_s: i64) -> i32 {
        let Some(zone) = self.0.get(brand) else { return 0 };
        jiff::Timestamp::from_second(at_s).map_or(0, |at| zone.to_offset(at).seconds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(kind: DestinationKind, url: &str) -> Destination {
        Destination {
            kind,
            url: Secret::new(url.to_owned()),
            secrets: Vec::new(),
            routing_key: Secret::default(),
            allow_private: false,
        }
    }

    #[test]
    fn defaults_are_fine_and_send_nothing_anywhere() {
        let config = Config::default();
        config.check().unwrap();
        assert!(config.policy().route(&paging::Labels::default()).is_empty());
    }

    #[test]
    fn threads_are_forecast_by_the_model_that_is_set_and_what_is_none_is_named() {
        // Threads of which nothing comes after ten minutes: no forecast but their own is as low.
        let died = |n: u64| detect::thread::Thread {
            root_followers: 1_000 + n,
            reactions: (1..=20 + n as u32 % 7).map(|k| (k * 20, 100)).collect(),
            weight: 1.0,
        };
        let own = CascadeModel::fit(&(0..40).map(died).collect::<Vec<_>>()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (model, other) = (folder.path().join("own.model"), folder.path().join("other"));
        std::fs::write(&model, own.to_bytes()).unwrap();
        std::fs::write(&other, "what is no model").unwrap();
        let cascade = |model: Option<PathBuf>| ThreadConfig { model, ..ThreadConfig::default() }.cascade();
        assert_eq!(cascade(None).unwrap(), CascadeModel::shipped());
        assert_eq!(cascade(Some(model)).unwrap(), own);
        let refusal = format!("{:#}", cascade(Some(other.clone())).unwrap_err());
        assert!(refusal.starts_with("alert.threads.model: cannot use ") && refusal.contains("not a thread"));
        std::fs::remove_file(&other).unwrap();
        assert!(cascade(Some(other)).is_err());
    }

    #[test]
    fn a_setting_of_before_is_read_without_a_model_and_one_with_it_names_the_file() {
        let before = serde_json::to_string(&ThreadConfig::default()).unwrap();
        assert!(!before.contains("model"), "{before}");
        assert_eq!(serde_json::from_str::<ThreadConfig>(&before).unwrap(), ThreadConfig::default());
        let set = ThreadConfig { model: Some("own.model".into()), ..ThreadConfig::default() };
        assert_eq!(serde_json::from_str::<ThreadConfig>(&serde_json::to_string(&set).unwrap()).unwrap(), set);
    }

    #[test]
    fn names_that_lead_nowhere_are_refused() {
        let mut config = Config::default();
        config.paging.routes.push(RouteConfig { to: vec!["pager".into()], ..RouteConfig::default() });
        assert!(config.check().unwrap_err().to_string().contains("no destination is called 'pager'"));
        config
            .destinations
            .insert("pager".into(), destination(DestinationKind::Slack, "https://s.example/x"));
        config.check().unwrap();
        config.paging.urgency.insert("nosuch".into(), Urgency::Digest);
        assert!(config.check().unwrap_err().to_string().contains("severe-complaint"));
    }

    #[test]
    fn without_routes_every_destination_hears_everything() {
        let mut config = Config::default();
        for name in ["b", "a"] {
            config.destinations.insert(name.into(), destination(DestinationKind::Log, ""));
        }
        assert_eq!(config.policy().route(&paging::Labels::default()), ["a", "b"]);
    }

    #[test]
    fn addresses_are_checked_and_never_shown() {
        for (kind, url) in [
            (DestinationKind::Webhook, "not an address with s3cret"),
            (DestinationKind::Webhook, "ftp://s3cret.example"),
            (DestinationKind::PagerDuty, ""),
        ] {
            let error = format!("{:#}", destination(kind, url).check().unwrap_err());
            assert!(!error.contains("s3cret"), "{error}");
        }
        let config = Config {
            destinations: [("x".into(), destination(DestinationKind::Slack, "https://s.example/s3cret"))]
                .into(),
            ..Config::default()
        };
        assert!(!format!("{config:?}").contains("s3cret"));
    }
}
