//! One set of rules on its way through a log.

use alert::{Rehearsal as Alerts, Rehearsed};
use anyhow::Context as _;
use contracts::alert::v1::EpisodeChange;
use contracts::response::v1::{CaseChange, CaseEvent};
use model::Timestamp;
use response::Rehearsal as Cases;
use runtime::brands::Brand;
use serde::{Deserialize, Serialize};

use super::entry::{Entry, Kind, Paged, is_reminder};
use super::history::Step;
use super::judged::Judged;
use super::summary::Summary;
use crate::cluster::scratch::Scratch;

/// The parts of a settings file that decide what is told.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Rules {
    pub(super) brands: Vec<Brand>,
    pub(super) alert: alert::Config,
    pub(super) response: response::Config,
}

impl Rules {
    /// # Errors
    /// What is wrong, with the setting's name.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        runtime::brands::check(&self.brands)?;
        self.alert.check()?;
        self.response.check()
    }
}

/// One set of rules, and what it made so far.
pub(super) struct Run {
    alerts: Alerts,
    cases: Cases,
    /// What is before is only learned from.
    from: Timestamp,
    pub(super) paged: Paged,
    pub(super) summary: Summary,
}

impl Run {
    /// Its databases lie in `scratch` under `name`. `partitions`: of the tallies topic.
    ///
    /// # Errors
    /// When a setting is wrong or the databases cannot be made.
    pub(super) async fn new(
        name: &str,
        rules: Rules,
        from: Timestamp,
        partitions: i32,
        scratch: &Scratch,
    ) -> anyhow::Result<Self> {
        rules.check()?;
        let open = |service, migrations| {
            let path = scratch.path().join(format!("{name}-{service}.db"));
            async move { store::open_local(&path, service, migrations, Timestamp::EPOCH).await }
        };
        let alerts = open(alert::SERVICE, alert::MIGRATIONS).await?;
        let cases = open(response::SERVICE, response::MIGRATIONS).await?;
        Ok(Self {
            alerts: Alerts::new(rules.alert, &rules.brands, alerts, partitions)?,
            cases: Cases::new(&rules.response, &rules.brands, cases)?,
            from,
            paged: Paged::default(),
            summary: Summary::default(),
        })
    }

    /// Hears `step`; what the rules made of it, in order of time.
    ///
    /// # Errors
    /// When a database fails.
    pub(super) async fn hear(&mut self, step: &Step, judged: &Judged) -> anyhow::Result<Vec<Entry>> {
        let both = [step.verdicts.as_slice(), step.erasures.as_slice()].concat();
        let alerts = self.alerts.hear(&both, step.at).await.context("alert")?;
        let cases = self.cases.hear(both, step.at).await.context("response")?;
        Ok(self.take(alerts, cases, judged))
    }

    /// Time goes on to `to` without a record.
    ///
    /// # Errors
    /// When a database fails.
    pub(super) async fn pass(&mut self, to: Timestamp, judged: &Judged) -> anyhow::Result<Vec<Entry>> {
        let alerts = self.alerts.pass(to).await.context("alert")?;
        let cases = self.cases.pass(to).await.context("response")?;
        Ok(self.take(alerts, cases, judged))
    }

    fn take(&mut self, alerts: Vec<Rehearsed>, cases: Vec<CaseEvent>, judged: &Judged) -> Vec<Entry> {
        let mut entries = Vec::new();
        for rehearsed in &alerts {
            entries.extend(self.take_alert(rehearsed, judged));
        }
        for event in &cases {
            entries.extend(self.take_case(event));
        }
        entries.sort_by(|a, b| (a.at, a.kind, &a.id, &a.rule).cmp(&(b.at, b.kind, &b.id, &b.rule)));
        entries
    }

    fn take_alert(&mut self, rehearsed: &Rehearsed, judged: &Judged) -> Option<Entry> {
        let event = &rehearsed.event;
        let episode = event.episode.as_ref()?;
        let at = Timestamp::from_micros(event.at_us);
        let counts = at >= self.from;
        match event.change() {
            EpisodeChange::Opened if counts => self.summary.opened(&episode.rule),
            EpisodeChange::Resolved | EpisodeChange::Merged => {
                self.paged.end(&episode.rule, &episode.subject, at);
            }
            EpisodeChange::Paged if counts && event.reason.as_ref().is_some_and(|r| is_reminder(&r.code)) => {
                self.summary.reminders += 1;
            }
            _ => {}
        }
        let mut page = Entry::page(rehearsed)?;
        let is_first = self.paged.page(&page);
        if !counts {
            return None;
        }
        let known = judged.about(&page.rule, &page.subject, page.at);
        page.useful = known.and_then(|known| known.useful);
        self.summary.page(&page, is_first, known);
        Some(page)
    }

    fn take_case(&mut self, event: &CaseEvent) -> Option<Entry> {
        if Timestamp::from_micros(event.at_us) < self.from {
            return None;
        }
        match event.change() {
            CaseChange::Resolved => self.summary.cases_resolved += 1,
            CaseChange::WonBack => self.summary.won_back += 1,
            _ => {}
        }
        let entry = Entry::of_case(event)?;
        match entry.kind {
            Kind::Breach => self.summary.breach(&entry.rule),
            _ => self.summary.cases += 1,
        }
        Some(entry)
    }
}
