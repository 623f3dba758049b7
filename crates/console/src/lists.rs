//! All alerts and all cases, a page at a time.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use contracts::alert::v1::{EpisodeState, ListEpisodesRequest};
use contracts::response::v1::{CaseState, ListCasesRequest};
use maud::{Markup, html};
use model::BrandId;
use serde::Deserialize;
use url::form_urlencoded::Serializer;

use crate::now::{alert_card, case_row};
use crate::page::{Place, Shell};
use crate::routes::{Desk, trouble_page};
use crate::words;

/// Entries of one page.
const PAGE: u32 = 50;
/// The longest place in a list that a browser may ask for, in bytes.
const TOKEN_BYTES_MAX: usize = 512;

/// What a list can be asked for by its address.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    show: String,
    brand: String,
    assignee: String,
    page: String,
}

impl Asked {
    fn brand(&self) -> String {
        BrandId::parse(&self.brand).map_or_else(|_| String::new(), |brand| brand.to_string())
    }

    fn assignee(&self) -> String {
        self.assignee.trim().chars().filter(|c| !c.is_control()).take(100).collect()
    }

    /// Where the page begins, as the service wrote it.
    fn token(&self) -> String {
        if self.page.len() > TOKEN_BYTES_MAX { String::new() } else { self.page.clone() }
    }
}

/// A choice of what a list shows: the word in the address, and the one people read.
struct Tab {
    word: &'static str,
    name: &'static str,
}

const fn tab(word: &'static str, name: &'static str) -> Tab {
    Tab { word, name }
}

/// The first is shown when nothing is asked.
const ALERT_TABS: [Tab; 3] = [tab("open", "Open"), tab("over", "Over"), tab("all", "All")];
const CASE_TABS: [Tab; 4] =
    [tab("open", "Open"), tab("overdue", "Too late"), tab("resolved", "Resolved"), tab("all", "All")];

fn chosen<'a>(tabs: &'a [Tab], word: &str) -> &'a Tab {
    tabs.iter().find(|tab| tab.word == word).unwrap_or(&tabs[0])
}

/// A list's address: its path and what is not empty of `parts`.
fn address(path: &str, parts: &[(&str, &str)]) -> String {
    let mut query = Serializer::new(String::new());
    query.extend_pairs(parts.iter().filter(|(_, value)| !value.is_empty()));
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// One list as it is drawn.
struct List<'a> {
    path: &'a str,
    title: &'a str,
    tabs: &'a [Tab],
    show: &'a str,
    brand: &'a str,
    assignee: &'a str,
    count: String,
    /// Of the next page; empty: there is none.
    next: String,
    is_first: bool,
}

impl List<'_> {
    fn address(&self, show: &str, brand: &str, page: &str) -> String {
        let parts = [("show", show), ("assignee", self.assignee), ("brand", brand), ("page", page)];
        address(self.path, &parts)
    }

    fn draw(&self, filter: &Markup, entries: &Markup) -> Markup {
        html! {
            div.listhead {
                h1 { (self.title) }
                nav.tabs aria-label="Which" {
                    @for tab in self.tabs {
                        a href=(self.address(tab.word, self.brand, ""))
                            aria-current=[(tab.word == self.show).then_some("true")] { (tab.name) }
                    }
                }
                @if !self.count.is_empty() { span.dim { (self.count) } }
                (filter)
            }
            div.list { (entries) }
            @if !self.is_first || !self.next.is_empty() {
                nav.pages aria-label="Pages of the list" {
                    @if !self.is_first { a href=(self.address(self.show, self.brand, "")) { "To the beginning" } }
                    @if !self.next.is_empty() {
                        a rel="next" href=(self.address(self.show, self.brand, &self.next)) { "Further on" }
                    }
                }
            }
        }
    }
}

/// The brands that occur, and the one chosen.
fn brands<'a>(found: impl Iterator<Item = &'a String>, chosen: &str) -> Vec<String> {
    let mut brands: Vec<String> = found.filter(|brand| !brand.is_empty()).cloned().collect();
    if !chosen.is_empty() {
        brands.push(chosen.to_owned());
    }
    brands.sort();
    brands.dedup();
    brands
}

/// All alerts, newest first.
pub(crate) async fn alerts(State(desk): State<Arc<Desk>>, Query(asked): Query<Asked>) -> Response {
    let show = chosen(&ALERT_TABS, &asked.show).word;
    let states: &[EpisodeState] = match show {
        "over" => &[EpisodeState::Resolved],
        "all" => {
            &[EpisodeState::Firing, EpisodeState::Acknowledged, EpisodeState::NoData, EpisodeState::Resolved]
        }
        _ => &[],
    };
    let request = ListEpisodesRequest {
        brand: asked.brand(),
        states: states.iter().map(|state| i32::from(*state)).collect(),
        limit: PAGE,
        page_token: asked.token(),
    };
    let answer = match desk.backend.list_episodes(request).await {
        Ok(answer) => answer,
        Err(trouble) => return trouble_page(&desk, &trouble),
    };
    let (moment, brand) = (desk.moment(), asked.brand());
    let list = List {
        path: "/alerts",
        title: "Alerts",
        tabs: &ALERT_TABS,
        show,
        brand: &brand,
        assignee: "",
        count: String::new(),
        next: answer.next_page_token,
        is_first: asked.page.is_empty(),
    };
    let entries = html! {
        @if answer.episodes.is_empty() { p.none { "None." } }
        ul.cards { @for episode in &answer.episodes { (alert_card(episode, &moment)) } }
    };
    let shell = Shell {
        place: Some(Place::Alerts),
        brands: &brands(answer.episodes.iter().map(|episode| &episode.brand), &brand),
        brand: &brand,
        all_brands: &list.address(show, "", ""),
        ..Shell::plain("Alerts", &moment)
    };
    shell.draw(&list.draw(&html! {}, &entries)).into_response()
}

/// All cases, longest waiting first.
pub(crate) async fn cases(State(desk): State<Arc<Desk>>, Query(asked): Query<Asked>) -> Response {
    let show = chosen(&CASE_TABS, &asked.show).word;
    let states: &[CaseState] = match show {
        "resolved" => &[CaseState::Resolved],
        "all" => &[CaseState::New, CaseState::Open, CaseState::Waiting, CaseState::Resolved],
        _ => &[],
    };
    let assignee = asked.assignee();
    let request = ListCasesRequest {
        brand: asked.brand(),
        states: states.iter().map(|state| i32::from(*state)).collect(),
        assignee: assignee.clone(),
        overdue_only: show == "overdue",
        limit: PAGE,
        page_token: asked.token(),
    };
    let answer = match desk.backend.list_cases(request).await {
        Ok(answer) => answer,
        Err(trouble) => return trouble_page(&desk, &trouble),
    };
    let (moment, brand) = (desk.moment(), asked.brand());
    let list = List {
        path: "/cases",
        title: "Cases",
        tabs: &CASE_TABS,
        show,
        brand: &brand,
        assignee: &assignee,
        count: words::count(answer.total, "case", "cases"),
        next: answer.next_page_token,
        is_first: asked.page.is_empty(),
    };
    let filter = html! {
        form.filter method="get" action="/cases" {
            input type="hidden" name="show" value=(show);
            input type="hidden" name="brand" value=(brand);
            label { "With whom" input name="assignee" value=(assignee) maxlength="100" placeholder="anybody"; }
            button { "Show" }
        }
    };
    let entries = html! {
        @if answer.cases.is_empty() { p.none { "None." } }
        @else { ol.rows { @for case in &answer.cases { (case_row(case, &moment)) } } }
    };
    let shell = Shell {
        place: Some(Place::Cases),
        brands: &brands(answer.cases.iter().map(|case| &case.brand), &brand),
        brand: &brand,
        all_brands: &list.address(show, "", ""),
        ..Shell::plain("Cases", &moment)
    };
    shell.draw(&list.draw(&filter, &entries)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_an_address_cannot_leave_its_place() {
        let parts = [("show", "all"), ("brand", ""), ("page", "a&b=c\"><script>")];
        assert_eq!(address("/alerts", &parts), "/alerts?show=all&page=a%26b%3Dc%22%3E%3Cscript%3E");
        assert_eq!(address("/alerts", &[("brand", "")]), "/alerts");
        let asked =
            Asked { page: "x".repeat(TOKEN_BYTES_MAX + 1), brand: "No Brand!".into(), ..Asked::default() };
        assert_eq!((asked.token(), asked.brand()), (String::new(), String::new()));
        assert_eq!(chosen(&CASE_TABS, "nonsense").word, "open");
    }
}
