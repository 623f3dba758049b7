//! The first page: what is said now, what rises, which alerts are open, who waits and since when.

use std::collections::BTreeSet;

use contracts::alert::v1::{Episode, EpisodeState, NowResponse, Rising};
use contracts::ingest::v1::{Coverage, CoverageState};
use contracts::response::v1::{Case, CaseState, ClockState, ListCasesResponse};
use maud::{Markup, html};
use model::Timestamp;

use crate::backend::{Answer, Backend, Trouble};
use crate::page::Section;
use crate::parts;
use crate::when::{Moment, span};
use crate::words;

/// Entries shown of each kind; the rest is counted.
const RISING_SHOWN: usize = 8;
const SAID_SHOWN: usize = 12;
const WAITING_SHOWN: usize = 20;
const SETTLED_SHOWN: usize = 5;
/// The surprise that fills a bar: once in ten million.
const SURPRISE_FULL: f64 = 7.0;

/// All that the page shows, as the services told it.
#[derive(Debug)]
pub(crate) struct Picture {
    now: Answer<NowResponse>,
    episodes: Answer<Vec<Episode>>,
    cases: Answer<ListCasesResponse>,
    settled: Answer<ListCasesResponse>,
    coverage: Answer<Vec<Coverage>>,
}

impl Picture {
    /// Asks all services at once; each may fail by itself.
    pub(crate) async fn take(backend: &Backend, brand: &str) -> Self {
        let (now, episodes, cases, settled, coverage) = tokio::join!(
            backend.now(brand),
            backend.episodes(brand),
            backend.cases(brand),
            backend.settled(brand),
            backend.coverage(),
        );
        Self { now, episodes, cases, settled, coverage }
    }

    /// The brands that occur, to choose from.
    pub(crate) fn brands(&self) -> Vec<String> {
        let mut brands = BTreeSet::new();
        brands.extend(self.now.iter().flat_map(|n| &n.rising).map(|r| r.brand.clone()));
        brands.extend(self.episodes.iter().flatten().map(|e| e.brand.clone()));
        brands.extend(self.cases.iter().flat_map(|c| &c.cases).map(|c| c.brand.clone()));
        brands.into_iter().filter(|b| !b.is_empty()).collect()
    }

    /// Every part of the page, in order.
    pub(crate) fn sections(&self, moment: &Moment) -> Vec<Section> {
        vec![
            Section { id: "summary", markup: self.summary(moment) },
            Section { id: "alerts", markup: alerts(&self.episodes, moment) },
            Section { id: "waiting", markup: waiting(&self.cases, moment) },
            Section { id: "rising", markup: rising(&self.now) },
            Section { id: "said", markup: said(&self.now, moment) },
            Section { id: "settled", markup: settled(&self.settled, moment) },
            Section { id: "coverage", markup: coverage(&self.coverage, &self.now, moment) },
        ]
    }

    fn summary(&self, moment: &Moment) -> Markup {
        let Headline { tone, words } = self.headline(moment);
        html! {
            section.summary id="summary" data-tone=(tone) aria-live="polite" {
                h1 { (words) }
                p.sub {
                    @if let Ok(cases) = &self.cases {
                        @let waiting = waiting_cases(cases);
                        @if let Some(since) = waiting.first().and_then(|c| c.waiting_since_us) {
                            span {
                                @if unasked(cases) > 0 { "more than " }
                                (words::count(waiting.len() as u64, "customer waits", "customers wait"))
                                ", the longest for "
                                strong { (span(moment.now.millis_since(Timestamp::from_micros(since)).max(0))) }
                            }
                        }
                    }
                    @if let Ok(now) = &self.now {
                        span {
                            (words::count(now.complaints_last_hour, "complaint", "complaints")) " in "
                            (words::count(now.posts_last_hour, "post", "posts")) " of the last hour"
                        }
                        span.dim { (words::number(now.posts_total)) " heard in all" }
                    }
                }
            }
        }
    }

    fn headline(&self, moment: &Moment) -> Headline {
        let silent: Vec<&Trouble> =
            [self.now.as_ref().err(), self.episodes.as_ref().err(), self.cases.as_ref().err()]
                .into_iter()
                .flatten()
                .collect();
        if let Some(trouble) = silent.first() {
            return Headline::new("blind", format!("We cannot see everything. {}", trouble.sentence));
        }
        let episodes = self.episodes.as_deref().unwrap_or_default();
        let untaken =
            episodes.iter().filter(|e| e.state() == EpisodeState::Firing && e.silenced_by.is_empty()).count();
        if untaken > 0 {
            let words = match untaken {
                1 => "One alert needs somebody.".to_owned(),
                n => format!("{n} alerts need somebody."),
            };
            return Headline::new("loud", words);
        }
        let gaps = self.coverage.iter().flatten().filter(|c| c.state() == CoverageState::Gap).count();
        if gaps > 0 || self.coverage.is_err() {
            let words = match gaps {
                0 => "Quiet, as far as we hear. Nobody can say how complete the sources are.".to_owned(),
                1 => "Quiet, as far as we hear. One source is silent.".to_owned(),
                n => format!("Quiet, as far as we hear. {n} sources are silent."),
            };
            return Headline::new("blind", words);
        }
        let cases = self.cases.as_ref().map(waiting_cases).unwrap_or_default();
        let late = cases.iter().filter(|c| lateness(c, moment).is_some()).count();
        let taken = episodes.iter().filter(|e| e.state() == EpisodeState::Acknowledged).count();
        match (taken, late, cases.len()) {
            (0, 0, 0) => Headline::new("calm", "All quiet. Nothing is rising and nobody waits."),
            (0, 0, 1) => Headline::new("calm", "Nothing is rising. One customer waits for an answer."),
            (0, 0, n) => {
                Headline::new("calm", format!("Nothing is rising. {n} customers wait for an answer."))
            }
            (0, 1, _) => Headline::new("busy", "Nothing is rising. One customer has waited too long."),
            (0, n, _) => {
                Headline::new("busy", format!("Nothing is rising. {n} customers have waited too long."))
            }
            (1, _, _) => Headline::new("busy", "One alert, and it is in hand."),
            (n, _, _) => Headline::new("busy", format!("{n} alerts, all in hand.")),
        }
    }
}

/// The page in one sentence.
struct Headline {
    tone: &'static str,
    words: String,
}

impl Headline {
    fn new(tone: &'static str, words: impl Into<String>) -> Self {
        Self { tone, words: words.into() }
    }
}

fn alerts(episodes: &Answer<Vec<Episode>>, moment: &Moment) -> Markup {
    html! {
        section id="alerts" {
            h2 { "Open alerts" @if let Ok(list) = episodes { " " span.count { (list.len()) } } }
            @match episodes {
                Err(trouble) => (parts::no_answer(trouble)),
                Ok(list) if list.is_empty() => p.none { "None." },
                Ok(list) => ul.cards { @for episode in list { (alert_card(episode, moment)) } },
            }
        }
    }
}

/// One alert in a list.
pub(crate) fn alert_card(episode: &Episode, moment: &Moment) -> Markup {
    let link = format!("/alerts/{}", hex_id(&episode.episode_id));
    html! {
        li.card.alert data-state=(words::episode_state(episode.state())) data-urgency=(words::urgency(episode.urgency())) {
            p.kicker {
                span.tag { (words::trigger(episode.trigger())) }
                span { (episode.brand) @if !episode.topic.is_empty() { " · " (episode.topic) } }
                (parts::severity(episode.severity))
            }
            h3 { a href=(link) { span dir="auto" { (episode.title) } } }
            @if let Some(forecast) = &episode.forecast { (parts::forecast(forecast)) }
            p.meta {
                @match episode.resolved_at_us {
                    Some(at) => span { "over " (parts::time(moment, at)) },
                    None => (parts::since(moment, episode.since_us)),
                }
                span { (words::count(episode.posts, "post", "posts")) " by "
                    (words::count(episode.people, "person", "people")) }
                @if episode.state() == EpisodeState::Resolved {
                    span.owner { "lasted " (span(lasted_ms(episode))) }
                } @else if !episode.owner.is_empty() {
                    span.owner { "in hand: " strong { (episode.owner) } }
                } @else if !episode.silenced_by.is_empty() {
                    span.owner { "silenced" }
                } @else if episode.state() == EpisodeState::NoData {
                    span.owner.missing { "its source is silent" }
                } @else {
                    span.owner.missing { "nobody has it" }
                }
            }
        }
    }
}

fn lasted_ms(episode: &Episode) -> i64 {
    episode.resolved_at_us.map_or(0, |end| (end - episode.since_us).max(0) / 1_000)
}

fn waiting(cases: &Answer<ListCasesResponse>, moment: &Moment) -> Markup {
    html! {
        section id="waiting" {
            @match cases {
                Err(trouble) => { h2 { "Customers waiting" } (parts::no_answer(trouble)) }
                Ok(answer) => {
                    @let waiting = waiting_cases(answer);
                    h2 { "Customers waiting " span.count { (waiting.len()) @if unasked(answer) > 0 { "+" } } }
                    @if waiting.is_empty() { p.none { "Nobody." } }
                    @else { ol.rows { @for case in waiting.iter().take(WAITING_SHOWN) { (case_row(case, moment)) } } }
                    @let hidden = waiting.len().saturating_sub(WAITING_SHOWN);
                    @let unasked = unasked(answer);
                    @let others = answer.cases.len() - waiting.len();
                    p.more {
                        @if hidden > 0 { span { "and " (words::count(hidden as u64, "more", "more")) } }
                        @if unasked > 0 { span { (words::count(unasked, "case", "cases")) " beyond this page" } }
                        @if others > 0 {
                            span { (words::count(others as u64, "open case", "open cases")) " in which nobody waits for us" }
                        }
                        a href="/cases" { "all cases" }
                    }
                }
            }
        }
    }
}

/// One case in a list.
pub(crate) fn case_row(case: &Case, moment: &Moment) -> Markup {
    let link = format!("/cases/{}", hex_id(&case.case_id));
    let said = case.messages.iter().rev().find(|m| m.side == "customer");
    html! {
        li.row.late[lateness(case, moment).is_some()] {
            a.cover href=(link) aria-label={ "Case of " (case.customer_handle) } {}
            p.lead {
                (parts::handle(&case.customer_handle))
                (parts::severity(case.severity))
                span.dim { (case.brand) " · " (case.topic) }
                @if case.reopened > 0 { span.tag.warn { "reopened" } }
                @if case.won_back_at_us.is_some() { span.tag.good { "won back" } }
                @else if case.state() == CaseState::Resolved { span.tag { "resolved" } }
            }
            @if let Some(said) = said { p.excerpt { (parts::words_of(&said.text)) } }
            p.meta {
                @match case.waiting_since_us {
                    Some(since) => span { "waits " (parts::since(moment, since)) },
                    None => span { (words::case_state(case.state())) " " (parts::time(moment, case.changed_at_us)) },
                }
                @match (lateness(case, moment), next_due(case)) {
                    (Some(late), _) => span.late { "too late by " (span(late)) },
                    (None, Some(due)) => span { "due " (moment.relative(Timestamp::from_micros(due))) },
                    (None, None) => {}
                }
                @if case.assignee.is_empty() {
                    @if case.state() != CaseState::Resolved { span.owner.missing { "nobody has it" } }
                } @else { span.owner { "with " strong { (case.assignee) } } }
            }
        }
    }
}

fn rising(now: &Answer<NowResponse>) -> Markup {
    html! {
        section id="rising" {
            h2 { "Rising" }
            @match now {
                Err(trouble) => (parts::no_answer(trouble)),
                Ok(now) if now.rising.is_empty() => p.none { "Nothing out of the ordinary." },
                Ok(now) => ul.rows { @for subject in now.rising.iter().take(RISING_SHOWN) { (rising_row(subject)) } },
            }
        }
    }
}

fn rising_row(subject: &Rising) -> Markup {
    let is_alert = !subject.episode_id.is_empty();
    html! {
        li.row.rising.hot[is_alert] {
            @if is_alert {
                a.cover href={ "/alerts/" (hex_id(&subject.episode_id)) } aria-label="Open its alert" {}
            }
            p.lead {
                @if subject.topic.is_empty() { strong { "thread" } } @else { strong { (subject.topic) } }
                span.dim { (subject.brand) }
                @if is_alert { span.tag { "alert" } }
            }
            @if !subject.excerpt.is_empty() { p.excerpt { (parts::words_of(&subject.excerpt)) } }
            @if !subject.words.is_empty() { p.why dir="auto" { (subject.words) } }
            (parts::bar("surprise", subject.surprise / SURPRISE_FULL))
            p.meta {
                span { (rarity(subject.surprise)) }
                span { (words::count(subject.posts, "post", "posts")) " by " (words::count(subject.people, "person", "people")) }
                @if let Some(forecast) = &subject.forecast {
                    span { "→ " strong { (words::about(forecast.expected_final)) } " expected" }
                }
            }
        }
    }
}

/// The surprise as people say it.
fn rarity(surprise: f64) -> String {
    if surprise >= 6.0 {
        "extremely unusual".into()
    } else if surprise >= 4.0 {
        "very unusual".into()
    } else if surprise >= 2.0 {
        "unusual".into()
    } else {
        "a little more than usual".into()
    }
}

fn said(now: &Answer<NowResponse>, moment: &Moment) -> Markup {
    html! {
        section id="said" {
            h2 { "Being said" }
            @match now {
                Err(trouble) => (parts::no_answer(trouble)),
                Ok(now) if now.said.is_empty() => p.none { "No complaint lately." },
                Ok(now) => ul.quotes {
                    @for evidence in now.said.iter().take(SAID_SHOWN) { (parts::evidence(moment, evidence)) }
                },
            }
        }
    }
}

fn settled(settled: &Answer<ListCasesResponse>, moment: &Moment) -> Markup {
    let mut cases: Vec<&Case> = settled.iter().flat_map(|s| &s.cases).collect();
    cases.sort_by_key(|c| std::cmp::Reverse(c.changed_at_us));
    html! {
        section id="settled" {
            @if !cases.is_empty() {
                h2 { "Settled lately" }
                ul.rows {
                    @for case in cases.into_iter().take(SETTLED_SHOWN) {
                        li.row {
                            a.cover href={ "/cases/" (hex_id(&case.case_id)) } aria-label={ "Case of " (case.customer_handle) } {}
                            p.lead {
                                (parts::handle(&case.customer_handle))
                                span.dim { (case.brand) " · " (case.topic) }
                                @if case.won_back_at_us.is_some() { span.tag.good { "won back" } }
                            }
                            p.meta { (parts::time(moment, case.changed_at_us)) }
                        }
                    }
                }
            }
        }
    }
}

fn coverage(coverage: &Answer<Vec<Coverage>>, now: &Answer<NowResponse>, moment: &Moment) -> Markup {
    let unheard = now.as_ref().map(|now| now.unheard.as_slice()).unwrap_or_default();
    html! {
        section id="coverage" {
            @match coverage {
                Err(trouble) => { h2 { "Sources" } (parts::no_answer(trouble)) }
                Ok(list) if list.is_empty() => {}
                Ok(list) => {
                    h2 { "Sources" }
                    @for brand in unheard {
                        p { strong { (brand.brand) } ": " (brand.words) }
                    }
                    ul.sources {
                        @for source in list {
                            li data-state=(words::coverage(source.state())) {
                                span.dot aria-hidden="true" {}
                                strong { (source.connector) } " "
                                span { (words::coverage(source.state())) }
                                @if source.state() != CoverageState::Live {
                                    " " (parts::since(moment, source.since_us))
                                }
                                @if !source.detail.is_empty() { span.dim { " · " (source.detail) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Open cases that the page did not ask for, for there are too many.
fn unasked(answer: &ListCasesResponse) -> u64 {
    answer.total.saturating_sub(answer.cases.len() as u64)
}

/// Longest waiting first.
fn waiting_cases(answer: &ListCasesResponse) -> Vec<&Case> {
    let mut waiting: Vec<_> = answer.cases.iter().filter(|c| c.waiting_since_us.is_some()).collect();
    waiting.sort_by_key(|c| c.waiting_since_us);
    waiting
}

/// By how many milliseconds the worst clock that still matters is over; absent when none is.
fn lateness(case: &Case, moment: &Moment) -> Option<i64> {
    if case.state() == CaseState::Resolved {
        return None;
    }
    let now = moment.now.as_micros();
    case.clocks
        .iter()
        .filter(|c| matches!(c.state(), ClockState::Running | ClockState::Breached))
        .filter_map(|c| Some(now - c.due_at_us?))
        .filter(|over| *over > 0)
        .max()
        .map(|micros| micros / 1_000)
}

fn next_due(case: &Case) -> Option<i64> {
    if case.state() == CaseState::Resolved {
        return None;
    }
    case.clocks.iter().filter(|c| c.state() == ClockState::Running).filter_map(|c| c.due_at_us).min()
}

/// An id as it stands in addresses.
pub(crate) fn hex_id(bytes: &[u8]) -> String {
    uuid::Uuid::from_slice(bytes).map_or_else(|_| "unknown".into(), |id| id.to_string())
}
