//! What rules made, in numbers.

use std::collections::BTreeMap;

use model::Timestamp;
use serde::Serialize;

use super::entry::{Entry, Paged};
use super::judged::{Judged, Known};

const DAY_S: i64 = 86_400;
/// Missed episodes that are named.
const MISSED_MAX: usize = 50;

/// What one set of rules made of the time asked about.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Summary {
    /// Pages that are news.
    pages: u64,
    /// Over whole days, from the first record to the last.
    pages_per_day: f64,
    /// The day (UTC) with the most, and how many.
    #[serde(skip_serializing_if = "Option::is_none")]
    worst_day: Option<(String, u64)>,
    pages_by_rule: BTreeMap<String, u64>,
    /// Repeats and escalations; many, because nobody acknowledges in a back-test.
    pub(super) reminders: u64,
    /// Spans from opened to resolved, paged or not.
    episodes: u64,
    episodes_paged: u64,
    episodes_by_rule: BTreeMap<String, u64>,
    breaches: u64,
    /// By clock and side.
    breaches_by_clock: BTreeMap<String, u64>,
    pub(super) cases: u64,
    pub(super) cases_resolved: u64,
    pub(super) won_back: u64,
    /// Against what people said of the pages that really went out.
    judged: Judgement,
    #[serde(skip)]
    by_day: BTreeMap<i64, u64>,
}

/// Episodes with a page, by what people said of the real one.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Judgement {
    useful: u64,
    not_useful: u64,
    /// Nobody said, but somebody took or ended the real one.
    only_taken: u64,
    /// Nobody said or did anything, or there was no such episode.
    unknown: u64,
    /// Useful among those that somebody judged; absent where nobody did.
    #[serde(skip_serializing_if = "Option::is_none")]
    precision: Option<f64>,
    /// Real episodes that people called useful, and that these rules would not have paged.
    missed_useful: u64,
    /// The first of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missed: Vec<Missed>,
}

/// A page that people wanted.
#[derive(Debug, Clone, Serialize)]
struct Missed {
    at: String,
    rule: String,
    title: String,
}

impl Summary {
    /// An episode began.
    pub(super) fn opened(&mut self, rule: &str) {
        self.episodes += 1;
        *self.episodes_by_rule.entry(rule.to_owned()).or_default() += 1;
    }

    /// A page went out; `is_first`: the first of its episode, `known`: the real one.
    pub(super) fn page(&mut self, page: &Entry, is_first: bool, known: Option<&Known>) {
        self.pages += 1;
        *self.pages_by_rule.entry(page.rule.clone()).or_default() += 1;
        *self.by_day.entry(page.at.as_seconds().div_euclid(DAY_S)).or_default() += 1;
        if !is_first {
            return;
        }
        self.episodes_paged += 1;
        let count = match known {
            Some(Known { useful: Some(true), .. }) => &mut self.judged.useful,
            Some(Known { useful: Some(false), .. }) => &mut self.judged.not_useful,
            Some(Known { was_taken: true, .. }) => &mut self.judged.only_taken,
            _ => &mut self.judged.unknown,
        };
        *count += 1;
    }

    /// A clock ran out.
    pub(super) fn breach(&mut self, clock: &str) {
        self.breaches += 1;
        *self.breaches_by_clock.entry(clock.to_owned()).or_default() += 1;
    }

    /// Everything between `from` and `to` has been heard.
    pub(super) fn finish(&mut self, from: Timestamp, to: Timestamp, judged: &Judged, paged: &Paged) {
        let days = (to.millis_since(from) as f64 / (DAY_S * 1_000) as f64).max(1.0);
        self.pages_per_day = round(self.pages as f64 / days);
        let worst = self.by_day.iter().max_by_key(|(day, pages)| (**pages, std::cmp::Reverse(**day)));
        self.worst_day = worst.map(|(day, pages)| {
            let day = Timestamp::from_seconds(day * DAY_S).to_string();
            (day.chars().take(10).collect(), *pages)
        });
        let said = self.judged.useful + self.judged.not_useful;
        self.judged.precision = (said > 0).then(|| round(self.judged.useful as f64 / said as f64));
        for known in judged.within(from, to) {
            if known.useful != Some(true) || paged.knows(&known.rule, &known.span) {
                continue;
            }
            self.judged.missed_useful += 1;
            if self.judged.missed.len() < MISSED_MAX {
                let at = known.span.from.to_string();
                self.judged.missed.push(Missed { at, rule: known.rule.clone(), title: known.title.clone() });
            }
        }
    }

    /// For people.
    pub(super) fn lines(&self) -> Vec<String> {
        let by = |counts: &BTreeMap<String, u64>| {
            let parts: Vec<String> = counts.iter().map(|(name, n)| format!("{name} {n}")).collect();
            if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) }
        };
        let mut pages = format!("pages     {} ({} a day)", self.pages, self.pages_per_day);
        if let Some((day, most)) = &self.worst_day {
            pages.push_str(&format!(", most on {day}: {most}"));
        }
        let mut lines = vec![
            format!("{pages}{}", by(&self.pages_by_rule).replacen(": ", "; ", 1)),
            format!(
                "episodes  {}, {} of them paged; {} reminders because nobody acknowledges here{}",
                self.episodes,
                self.episodes_paged,
                self.reminders,
                by(&self.episodes_by_rule)
            ),
            format!("breaches  {}{}", self.breaches, by(&self.breaches_by_clock)),
            format!("cases     {}, {} resolved, {} won back", self.cases, self.cases_resolved, self.won_back),
        ];
        let judged = &self.judged;
        let precision = judged.precision.map_or_else(
            || "nobody judged any of them".to_owned(),
            |precision| format!("{:.0} % of those judged were useful", precision * 100.0),
        );
        lines.push(format!(
            "judged    {precision}: {} useful, {} not, {} only taken, {} unknown; {} useful ones missed",
            judged.useful, judged.not_useful, judged.only_taken, judged.unknown, judged.missed_useful
        ));
        for missed in &judged.missed {
            lines.push(format!("  missed  {} {}: {}", missed.at, missed.rule, missed.title));
        }
        lines
    }
}

/// To a thousandth, so that equal runs write equal bytes whatever is printed.
fn round(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}
