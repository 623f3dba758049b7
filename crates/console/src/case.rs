//! The page of one case: what was said, the three clocks, promises, history, and what an agent can do.

use contracts::response::v1::{
    Case, CaseEvent, CaseMessage, CaseState, Clock, ClockKind, ClockSide, ClockState, GetCaseResponse,
    Promise, PromiseState,
};
use maud::{Markup, html};
use model::Timestamp;

use crate::backend::{Answer, Backend};
use crate::now::hex_id;
use crate::page::Section;
use crate::parts;
use crate::when::{Moment, span};
use crate::words;

const KINDS: [ClockKind; 3] = [ClockKind::FirstAnswer, ClockKind::NextAnswer, ClockKind::Resolution];
const SIDES: [ClockSide; 3] = [ClockSide::Customer, ClockSide::Contract, ClockSide::Team];

/// All that the page shows.
pub(crate) struct CaseView {
    answer: GetCaseResponse,
}

impl CaseView {
    pub(crate) async fn take(backend: &Backend, id: [u8; 16]) -> Answer<Self> {
        Ok(Self { answer: backend.case(id).await? })
    }

    fn case(&self) -> Case {
        self.answer.case.clone().unwrap_or_default()
    }

    pub(crate) fn title(&self) -> String {
        let case = self.case();
        let who = if case.customer_handle.is_empty() {
            "unnamed".to_owned()
        } else {
            format!("@{}", case.customer_handle)
        };
        format!("{who}, {}", case.topic)
    }

    /// What is redrawn when it changes; forms are no part of it, so that nobody's typing is lost.
    pub(crate) fn sections(&self, moment: &Moment) -> Vec<Section> {
        let case = self.case();
        vec![
            Section { id: "head", markup: head(&case, moment) },
            Section { id: "talk", markup: talk(&case.messages, moment) },
            Section { id: "clocks", markup: clocks(&case.clocks, moment) },
            Section { id: "promises", markup: promises(&case, moment) },
            Section { id: "history", markup: history(&self.answer.history, moment) },
        ]
    }

    pub(crate) fn draw(&self, moment: &Moment, who: &str) -> Markup {
        let case = self.case();
        let [head, talk, clocks, promises, history] = {
            let mut sections = self.sections(moment).into_iter().map(|s| s.markup);
            std::array::from_fn(|_| sections.next().unwrap_or_default())
        };
        html! {
            (head)
            div.columns {
                div { (talk) (reply_form(&case, who)) (history) }
                aside { (clocks) (promises) (desk_forms(&case, who)) }
            }
        }
    }
}

fn head(case: &Case, moment: &Moment) -> Markup {
    let is_late = case.clocks.iter().any(|c| over(c, moment).is_some());
    let tone = match (case.state(), is_late, case.waiting_since_us) {
        (CaseState::Resolved, ..) => "calm",
        (_, true, Some(_)) => "loud",
        (_, _, Some(_)) => "busy",
        _ => "calm",
    };
    html! {
        section.summary id="head" data-tone=(tone) aria-live="polite" {
            p.kicker {
                span.tag { (words::case_state(case.state())) }
                span { (case.brand) " · " (case.topic) }
                (parts::severity(case.severity))
                @if case.is_private { span.tag { "wrote in private" } }
                @if case.won_back_at_us.is_some() { span.tag.good { "won back" } }
            }
            h1 {
                (parts::handle(&case.customer_handle))
                @match case.waiting_since_us {
                    Some(since) => {
                        " has waited "
                        (span(moment.now.millis_since(Timestamp::from_micros(since)).max(0)))
                    }
                    None if case.state() == CaseState::Resolved => " is settled",
                    None => " waits for nothing from us",
                }
            }
            p.sub {
                @if let Some(since) = case.waiting_since_us { span { "since " (moment.clock(Timestamp::from_micros(since))) } }
                @if case.assignee.is_empty() { span.missing { "nobody has it" } }
                @else { span { "with " strong { (case.assignee) } } }
                @if case.reopened > 0 { span { "reopened " (words::count(case.reopened.into(), "time", "times")) } }
                @if let Some(at) = case.won_back_at_us { span { "won back " (parts::time(moment, at)) } }
                @if !case.resolution.is_empty() { span { (case.resolution.replace('_', " ")) } }
                @if !case.root_cause.is_empty() { span { "cause: " (case.root_cause) } }
            }
            @if case.waiting_since_us.is_some() { a.jump href="#reply" { "Record an answer" } }
        }
    }
}

fn talk(messages: &[CaseMessage], moment: &Moment) -> Markup {
    html! {
        section id="talk" {
            h2 { "What was said" }
            @if messages.is_empty() { p.none { "Nothing is kept." } }
            ol.talk {
                @for message in messages {
                    li data-side=(message.side) {
                        p.words dir="auto" { (message.text) }
                        p.meta {
                            (parts::handle(&message.author))
                            (parts::time(moment, message.at_us))
                            @if !message.is_public { span { "in private" } }
                            @if message.is_automatic { span { "automatic" } }
                            (parts::outside(&message.permalink, "open"))
                        }
                    }
                }
            }
        }
    }
}

fn clocks(clocks: &[Clock], moment: &Moment) -> Markup {
    html! {
        section id="clocks" {
            h2 { "Clocks" }
            @if clocks.is_empty() { p.none { "None runs." } }
            @for kind in KINDS {
                @if clocks.iter().any(|c| c.kind() == kind) {
                    div.clocks {
                        h3 { (words::clock_kind(kind)) }
                        @for side in SIDES {
                            @for clock in clocks.iter().filter(|c| c.kind() == kind && c.side() == side) {
                                (clock_row(clock, moment))
                            }
                        }
                    }
                }
            }
        }
    }
}

fn clock_row(clock: &Clock, moment: &Moment) -> Markup {
    let (mood, words) = clock_words(clock, moment);
    html! {
        div.clock data-mood=(mood) {
            span.side { (words::clock_side(clock.side())) }
            (parts::bar("used", share(clock, moment)))
            p.figures {
                span.state { (words) }
                @if let Some(due) = clock.due_at_us {
                    @let due = Timestamp::from_micros(due);
                    span.abs title=(moment.full(due)) { "due " (moment.clock(due)) }
                } @else {
                    span.abs { "of " (span(clock.target_ms)) }
                }
            }
        }
    }
}

fn clock_words(clock: &Clock, moment: &Moment) -> (&'static str, String) {
    if let Some(late) = over(clock, moment) {
        return ("late", format!("over by {}", span(late)));
    }
    match clock.state() {
        ClockState::Running => match clock.due_at_us {
            Some(due) => {
                let left = Timestamp::from_micros(due).millis_since(moment.now);
                let mood = if share(clock, moment) > 0.8 { "soon" } else { "running" };
                (mood, format!("{} left", span(left)))
            }
            None => ("running", "running".into()),
        },
        ClockState::Paused => ("paused", "paused".into()),
        ClockState::Fulfilled if clock.was_breached => {
            ("late", format!("late, after {}", span(clock.elapsed_ms)))
        }
        ClockState::Fulfilled => ("met", format!("met in {}", span(clock.elapsed_ms))),
        ClockState::Breached => ("late", "too late".into()),
        ClockState::Cancelled => ("paused", "called off".into()),
        ClockState::Unspecified => ("paused", "unknown".into()),
    }
}

/// Milliseconds past the due time, for clocks still open.
fn over(clock: &Clock, moment: &Moment) -> Option<i64> {
    if !matches!(clock.state(), ClockState::Running | ClockState::Breached) {
        return None;
    }
    let late = moment.now.millis_since(Timestamp::from_micros(clock.due_at_us?));
    (late > 0).then_some(late)
}

/// How much of the time allowed is used, 0..1.
#[allow(clippy::cast_precision_loss)]
fn share(clock: &Clock, moment: &Moment) -> f64 {
    if clock.target_ms <= 0 {
        return 1.0;
    }
    let used = match (clock.state(), clock.due_at_us) {
        (ClockState::Breached, _) => clock.target_ms,
        (ClockState::Running, Some(due)) => {
            clock.target_ms.saturating_sub(Timestamp::from_micros(due).millis_since(moment.now))
        }
        _ => clock.elapsed_ms,
    };
    used as f64 / clock.target_ms as f64
}

fn promises(case: &Case, moment: &Moment) -> Markup {
    html! {
        section id="promises" {
            @if !case.promises.is_empty() {
                h2 { "Promises" }
                ul.rows { @for promise in &case.promises { (promise_row(case, promise, moment)) } }
            }
        }
    }
}

fn promise_row(case: &Case, promise: &Promise, moment: &Moment) -> Markup {
    let state = promise.state();
    html! {
        li.row.late[state == PromiseState::Broken] {
            p.lead {
                strong dir="auto" { (promise.what) }
                span.tag.good[state == PromiseState::Kept].warn[state == PromiseState::Broken] {
                    (words::promise_state(state))
                }
            }
            p.meta {
                span { "by " (promise.owner) }
                span { "due " (parts::time(moment, promise.due_at_us)) }
                @if !promise.evidence.is_empty() { span dir="auto" { (promise.evidence) } }
            }
            @if state == PromiseState::Open {
                form.inline method="post" action={ "/cases/" (hex_id(&case.case_id)) "/keep" } {
                    (parts::once())
                    input type="hidden" name="promise" value=(hex_id(&promise.promise_id));
                    button { "It was kept" }
                }
            }
        }
    }
}

fn history(history: &[CaseEvent], moment: &Moment) -> Markup {
    html! {
        section id="history" {
            h2 { "What happened" }
            ol.timeline {
                @for event in history {
                    li {
                        p { strong { (words::case_change(event.change())) }
                            @if !event.by.is_empty() { " by " (event.by) }
                            @if !event.reason.is_empty() { ": " span dir="auto" { (event.reason) } } }
                        p.meta { (parts::time(moment, event.at_us)) }
                    }
                }
            }
        }
    }
}

fn reply_form(case: &Case, who: &str) -> Markup {
    let path = format!("/cases/{}", hex_id(&case.case_id));
    html! {
        @if case.state() != CaseState::Resolved {
            section id="reply" {
                h2 { "Record an answer" }
                form method="post" action={ (path) "/reply" } {
                    (parts::once())
                    label { "What was answered"
                        textarea name="text" rows="4" required maxlength="10000" dir="auto" {} }
                    div.pair {
                        label { "Your name" input name="by" value=(who) required maxlength="100" autocomplete="name"; }
                        label { "Link to it" input name="permalink" type="url" maxlength="2000" placeholder="optional"; }
                    }
                    label.check { input type="checkbox" name="is_public" value="1" checked[!case.is_private]; "Everybody can read it" }
                    label.check { input type="checkbox" name="waits_for_customer" value="1"; "Now it is the customer's turn" }
                    button.primary { "Record it" }
                }
            }
        }
    }
}

fn desk_forms(case: &Case, who: &str) -> Markup {
    let path = format!("/cases/{}", hex_id(&case.case_id));
    let name = html! {
        label { "Your name" input name="by" value=(who) required maxlength="100" autocomplete="name"; }
    };
    html! {
        section id="act" {
            @if case.state() == CaseState::Resolved {
                h2 { "Take it up again" }
                form method="post" action={ (path) "/reopen" } {
                    (parts::once()) (name)
                    label { "Why" input name="note" maxlength="500" placeholder="optional"; }
                    button { "Reopen" }
                }
            } @else {
                h2 { "Give it to somebody" }
                form method="post" action={ (path) "/assign" } {
                    (parts::once())
                    input type="hidden" name="expected_version" value=(case.version);
                    label { "Who works on it" input name="assignee" value=(case.assignee) maxlength="100" placeholder="nobody"; }
                    (name)
                    button { "Assign" }
                }
                details {
                    summary { "Promise something" }
                    form method="post" action={ (path) "/promise" } {
                        (parts::once())
                        label { "What" input name="what" required maxlength="500" placeholder="refund of 42 EUR"; }
                        label { "By when, from now"
                            select name="due_in_s" {
                                option value="3600" { "an hour" }
                                option value="86400" selected { "a day" }
                                option value="259200" { "three days" }
                                option value="604800" { "a week" }
                                option value="1209600" { "two weeks" }
                            }
                        }
                        (name)
                        button { "Promise" }
                    }
                }
                details {
                    summary { "It is settled" }
                    form method="post" action={ (path) "/resolve" } {
                        (parts::once()) (name)
                        label { "What was behind it" input name="root_cause" maxlength="200" placeholder="optional"; }
                        label { "Note" input name="note" maxlength="500" placeholder="optional"; }
                        button { "Resolve" }
                    }
                }
            }
        }
    }
}
