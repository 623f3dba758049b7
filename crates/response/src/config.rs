use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use casework::{Allowed, Calendar, CalendarSpec, Policy, Targets};
use model::{BrandId, Probability, Severity};
use runtime::brands::Brand;
use serde::{Deserialize, Serialize};

/// The settings of response, under `[response]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where gRPC is served.
    pub listen: SocketAddr,
    /// This member's stable name in its group, and the name under which it claims work.
    pub member: String,
    /// Which posts open a case and which case they belong to.
    pub cases: CasesConfig,
    /// What is promised to customers of brands without settings of their own.
    pub service: ServiceConfig,
    /// What is promised to customers of one brand, by brand id; replaces `service` as a whole.
    pub brands: BTreeMap<String, ServiceConfig>,
    /// Most records in one batch.
    pub batch_records_max: usize,
    /// Seconds to wait at the start for the tables to have the right version.
    pub tables_wait_s: u64,
    /// Seconds (of the service's clock) that sent messages and answered requests are remembered.
    pub remember_s: u32,
    /// Days (of the service's clock) that an answer waits for the post it answers.
    pub early_answers_days: u32,
    /// Streams of changes served at once.
    pub watchers_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 7705)),
            member: "response-0".into(),
            cases: CasesConfig::default(),
            service: ServiceConfig::default(),
            brands: BTreeMap::new(),
            batch_records_max: 2_000,
            tables_wait_s: 120,
            remember_s: 86_400,
            early_answers_days: 14,
            watchers_max: 256,
        }
    }
}

/// Which posts open a case and which case they belong to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CasesConfig {
    /// Probability (0..1) of a complaint from which a post opens a case.
    pub complaint_from: f32,
    /// Severity level, 0..4, it needs at least.
    pub severity_from: u32,
    /// Probability (0..1) of spam from which a post opens nothing.
    pub spam_from: f32,
    /// A private message to the brand opens a case whatever it says.
    pub private_opens: bool,
    /// Probability (0..1) of being back from which a customer counts as won back.
    pub won_back_from: f32,
    /// Probability (0..1) of thanks from which a customer who was answered counts as won back.
    pub thanks_from: f32,
    /// Probability (0..1) from which an answer that moves elsewhere makes it the customer's turn.
    pub channel_move_from: f32,
    /// Posts of one customer on one topic within so many hours are one matter.
    pub matter_hours: u32,
    /// Posts of one customer within so many minutes are one matter whatever the topic.
    pub same_breath_minutes: u32,
    /// A complaint within so many hours after resolution reopens the case.
    pub reopen_hours: u32,
    /// Answered and silent for so many hours: resolved; 0: never.
    pub close_when_silent_hours: u32,
}

impl Default for CasesConfig {
    fn default() -> Self {
        Self {
            complaint_from: 0.6,
            severity_from: 0,
            spam_from: 0.8,
            private_opens: true,
            won_back_from: 0.6,
            thanks_from: 0.6,
            channel_move_from: 0.6,
            matter_hours: 14 * 24,
            same_breath_minutes: 60,
            reopen_hours: 14 * 24,
            close_when_silent_hours: 7 * 24,
        }
    }
}

/// What is promised to customers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceConfig {
    /// Names these promises; clocks keep the name they were started under.
    pub version: String,
    /// IANA zone of the business hours; empty: the brand's own, else UTC.
    pub time_zone: String,
    /// Business hours per weekday (`mon`..`sun`): windows such as `09:00-12:30`, `13:30-24:00`.
    pub hours: BTreeMap<String, Vec<String>>,
    /// Closed days: `2026-04-06`, or `12-25` for every year.
    pub holidays: BTreeSet<String>,
    /// Targets; a case takes those of the highest severity not above its own. One must be for 0.
    pub targets: Vec<TargetConfig>,
    /// Warn after this share of a target, in percent; 0: never.
    pub warn_after_percent: u8,
    /// Warn so many minutes before a promise is due; 0: never.
    pub promise_warn_minutes: u32,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        let day = || vec!["09:00-18:00".to_owned()];
        Self {
            version: "standard".into(),
            time_zone: String::new(),
            hours: ["mon", "tue", "wed", "thu", "fri"].map(|d| (d.to_owned(), day())).into(),
            holidays: BTreeSet::new(),
            targets: vec![TargetConfig::new(0, 60, 120, 3), TargetConfig::new(3, 30, 60, 2)],
            warn_after_percent: 75,
            promise_warn_minutes: 60,
        }
    }
}

/// What cases of at least one severity are promised, in minutes; left out: no such clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetConfig {
    /// Severity level, 0..4, from which on.
    pub severity: u32,
    /// To the first answer by a person.
    pub first_answer: SidesConfig,
    /// To each next answer.
    pub next_answer: SidesConfig,
    /// To resolution.
    pub resolution: SidesConfig,
}

impl TargetConfig {
    /// The same minutes for each side, and whole days to resolution, of eight hours in business time.
    fn new(severity: u32, first: u32, next: u32, days: u32) -> Self {
        let all = |minutes| SidesConfig {
            customer_minutes: Some(minutes),
            contract_minutes: Some(minutes),
            team_minutes: Some(minutes),
        };
        Self {
            severity,
            first_answer: all(first),
            next_answer: all(next),
            resolution: SidesConfig { customer_minutes: Some(days * 24 * 60), ..all(days * 8 * 60) },
        }
    }
}

/// Minutes allowed, in the time of each side.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SidesConfig {
    /// Wall clock.
    pub customer_minutes: Option<u32>,
    /// Business hours.
    pub contract_minutes: Option<u32>,
    /// Business hours less waiting for the customer.
    pub team_minutes: Option<u32>,
}

impl SidesConfig {
    fn allowed(&self) -> Allowed {
        let ms = |minutes: Option<u32>| minutes.map(|m| i64::from(m) * MINUTE_MS);
        Allowed {
            customer_ms: ms(self.customer_minutes),
            contract_ms: ms(self.contract_minutes),
            team_ms: ms(self.team_minutes),
        }
    }
}

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

impl Config {
    /// Checks what no type can check.
    ///
    /// # Errors
    /// With the name of the setting and what it needs.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.member.is_empty(), "response.member: needs a name");
        ensure!(
            (1..=20_000).contains(&self.batch_records_max),
            "response.batch_records_max: needs 1 to 20000"
        );
        ensure!((1..=100_000).contains(&self.watchers_max), "response.watchers_max: needs 1 to 100000");
        ensure!((1..=365).contains(&self.early_answers_days), "response.early_answers_days: needs 1 to 365");
        ensure!(self.remember_s >= 60, "response.remember_s: needs at least 60");
        Policies::new(self, &[]).map(|_| ())
    }
}

/// What was decided for each brand.
#[derive(Debug, Clone)]
pub(crate) struct Policies {
    standard: Policy,
    of: BTreeMap<BrandId, Policy>,
}

impl Policies {
    pub(crate) fn new(config: &Config, brands: &[Brand]) -> anyhow::Result<Self> {
        let standard = policy(&config.cases, &config.service, "UTC").context("response.service")?;
        let mut of = BTreeMap::new();
        for brand in brands {
            let own = config.brands.get(&brand.id).unwrap_or(&config.service);
            let made = policy(&config.cases, own, brand.zone())
                .with_context(|| format!("response.brands.{}", brand.id))?;
            of.insert(brand.brand_id()?, made);
        }
        for (name, own) in &config.brands {
            let id = BrandId::parse(name).with_context(|| format!("response.brands.{name}"))?;
            if let std::collections::btree_map::Entry::Vacant(free) = of.entry(id) {
                let made = policy(&config.cases, own, "UTC");
                free.insert(made.with_context(|| format!("response.brands.{name}"))?);
            }
        }
        let mut policies = Self { standard, of };
        for calendar in policies.calendars() {
            policies.remember(&calendar);
        }
        Ok(policies)
    }

    pub(crate) fn of(&self, brand: &BrandId) -> &Policy {
        self.of.get(brand).unwrap_or(&self.standard)
    }

    /// The calendars in use, and those that were.
    pub(crate) fn calendars(&self) -> Vec<Calendar> {
        let all = self.of.values().chain([&self.standard]).flat_map(|p| p.calendars.values());
        all.map(|c| (c.version().to_owned(), c.clone())).collect::<BTreeMap<_, _>>().into_values().collect()
    }

    /// Adds a calendar that clocks may be pinned to.
    pub(crate) fn remember(&mut self, calendar: &Calendar) {
        for policy in self.of.values_mut().chain([&mut self.standard]) {
            policy.remember(calendar.clone());
        }
    }
}

fn policy(cases: &CasesConfig, service: &ServiceConfig, zone: &str) -> anyhow::Result<Policy> {
    let chance =
        |name: &str, value: f32| Probability::new(value).with_context(|| format!("response.cases.{name}"));
    let zone = if service.time_zone.is_empty() { zone } else { &service.time_zone };
    let calendar = Calendar::new(&CalendarSpec {
        time_zone: zone.to_owned(),
        hours: service.hours.clone(),
        holidays: service.holidays.clone(),
    })?;
    let mut targets = BTreeMap::new();
    for target in &service.targets {
        let severity = Severity::from_level(target.severity).context("targets")?;
        let made = Targets {
            first_answer: target.first_answer.allowed(),
            next_answer: target.next_answer.allowed(),
            resolution: target.resolution.allowed(),
        };
        let before = targets.insert(severity.level(), made);
        ensure!(before.is_none(), "targets: severity {} occurs twice", target.severity);
    }
    let policy = Policy {
        complaint_at: chance("complaint_from", cases.complaint_from)?,
        severity_at: Severity::from_level(cases.severity_from).context("response.cases.severity_from")?,
        spam_at: chance("spam_from", cases.spam_from)?,
        private_opens: cases.private_opens,
        won_back_at: chance("won_back_from", cases.won_back_from)?,
        thanks_at: chance("thanks_from", cases.thanks_from)?,
        channel_move_at: chance("channel_move_from", cases.channel_move_from)?,
        matter_window_ms: i64::from(cases.matter_hours) * HOUR_MS,
        same_breath_ms: i64::from(cases.same_breath_minutes) * MINUTE_MS,
        reopen_window_ms: i64::from(cases.reopen_hours) * HOUR_MS,
        close_when_silent_ms: i64::from(cases.close_when_silent_hours) * HOUR_MS,
        warn_after_percent: service.warn_after_percent,
        promise_warn_before_ms: i64::from(service.promise_warn_minutes) * MINUTE_MS,
        targets,
        ..Policy::standard(service.version.clone(), calendar)
    };
    Ok(policy.validated()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_fine() {
        Config::default().check().unwrap();
    }

    #[test]
    fn settings_that_cannot_be_meant_are_refused_by_name() {
        let mut config = Config::default();
        config.cases.complaint_from = 2.0;
        assert!(format!("{:#}", config.check().unwrap_err()).contains("complaint_from"));
        let mut config = Config::default();
        config.service.targets.remove(0);
        assert!(format!("{:#}", config.check().unwrap_err()).contains("severity 0"));
        let mut config = Config::default();
        let broken = ServiceConfig { time_zone: "Moon".into(), ..ServiceConfig::default() };
        config.brands.insert("acme".into(), broken);
        assert!(format!("{:#}", config.check().unwrap_err()).contains("Moon"));
    }

    #[test]
    fn a_brand_keeps_its_own_time_zone_and_every_policy_knows_every_calendar() {
        let brand = |id: &str, zone: &str| Brand {
            id: id.into(),
            words: vec![id.into()],
            time_zone: zone.into(),
            ..Brand::default()
        };
        let brands = [brand("acme", "Europe/Rome"), brand("globex", "Asia/Tokyo")];
        let policies = Policies::new(&Config::default(), &brands).unwrap();
        let zone = |id: &str| {
            let policy = policies.of(&BrandId::parse(id).unwrap());
            assert_eq!(policy.calendars.len(), 3);
            policy.calendars[&policy.calendar].spec().time_zone.clone()
        };
        assert_eq!([zone("acme"), zone("globex"), zone("other")], ["Europe/Rome", "Asia/Tokyo", "UTC"]);
    }
}
