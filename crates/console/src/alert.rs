//! The page of one alert: what was said, why people were told, who has it, what was done.

use contracts::alert::v1::{
    Delivery, Episode, EpisodeEvent, EpisodeState, ExplainResponse, GetEpisodeResponse, Reason, Timeline,
};
use maud::{Markup, html};
use model::Timestamp;

use crate::backend::{Answer, Backend};
use crate::now::hex_id;
use crate::page::Section;
use crate::parts;
use crate::silences;
use crate::timeline;
use crate::when::{Moment, span};
use crate::words;

/// How long somebody can take an alert for: seconds and words.
const TERMS: [(u32, &str); 4] =
    [(1_800, "half an hour"), (3_600, "an hour"), (14_400, "four hours"), (43_200, "until the next shift")];

/// All that the page shows.
pub(crate) struct AlertView {
    answer: GetEpisodeResponse,
    explained: Answer<ExplainResponse>,
}

impl AlertView {
    pub(crate) async fn take(backend: &Backend, id: [u8; 16]) -> Answer<Self> {
        let (answer, explained) = tokio::join!(backend.episode(id), backend.explain(id));
        Ok(Self { answer: answer?, explained })
    }

    fn episode(&self) -> Episode {
        self.answer.episode.clone().unwrap_or_default()
    }

    fn timeline(&self) -> Option<&Timeline> {
        self.explained.as_ref().ok()?.timeline.as_ref().filter(|timeline| !timeline.steps.is_empty())
    }

    pub(crate) fn title(&self) -> String {
        self.episode().title
    }

    /// What is redrawn when it changes; forms are no part of it, so that nobody's typing is lost.
    pub(crate) fn sections(&self, moment: &Moment) -> Vec<Section> {
        let episode = self.episode();
        vec![
            Section { id: "head", markup: head(&episode, moment) },
            Section { id: "facts", markup: facts(&episode, moment) },
            Section { id: "evidence", markup: evidence(&episode, moment) },
            Section { id: "course", markup: course(self.timeline(), moment) },
            Section { id: "why", markup: why(&self.explained, moment) },
            Section { id: "history", markup: history(&self.answer.history, moment) },
            Section { id: "deliveries", markup: deliveries(&self.answer.deliveries, moment) },
        ]
    }

    pub(crate) fn draw(&self, moment: &Moment, who: &str) -> Markup {
        let episode = self.episode();
        let [head, facts, evidence, course, why, history, deliveries] = {
            let mut sections = self.sections(moment).into_iter().map(|s| s.markup);
            std::array::from_fn(|_| sections.next().unwrap_or_default())
        };
        html! {
            (head)
            div.columns {
                div {
                    (evidence) (course)
                    @if let Some(timeline) = self.timeline() { (timeline::numbers(timeline, moment)) }
                    (why) (history)
                }
                aside { (facts) (forms(&episode, who)) (deliveries) }
            }
        }
    }
}

fn head(episode: &Episode, moment: &Moment) -> Markup {
    let tone = match episode.state() {
        EpisodeState::Firing if episode.silenced_by.is_empty() => "loud",
        EpisodeState::Resolved => "calm",
        EpisodeState::NoData | EpisodeState::Unspecified => "blind",
        _ => "busy",
    };
    html! {
        section.summary id="head" data-tone=(tone) aria-live="polite" {
            p.kicker {
                span.tag { (words::trigger(episode.trigger())) }
                span { (episode.brand) @if !episode.topic.is_empty() { " · " (episode.topic) } }
                (parts::severity(episode.severity))
            }
            h1 { span dir="auto" { (episode.title) } }
            p.sub {
                span { (words::episode_state(episode.state())) }
                @match episode.resolved_at_us {
                    Some(at) => span { "ended " (parts::time(moment, at)) },
                    None => span { (parts::since(moment, episode.since_us)) },
                }
                @if !episode.owner.is_empty() {
                    span { "in hand: " strong { (episode.owner) }
                        @if let Some(until) = episode.ack_expires_at_us {
                            " until " (moment.clock(Timestamp::from_micros(until)))
                        }
                    }
                } @else if episode.state() == EpisodeState::Firing {
                    span.missing { "nobody has it" }
                }
                @if !episode.silenced_by.is_empty() { span { "silenced" } }
                @if episode.is_flapping { span { "comes and goes" } }
            }
            @if episode.state() == EpisodeState::Firing { a.jump href="#act" { "Take it" } }
        }
    }
}

fn facts(episode: &Episode, moment: &Moment) -> Markup {
    html! {
        section id="facts" {
            h2 { "How big" }
            @if let Some(forecast) = &episode.forecast { (parts::forecast(forecast)) }
            dl.facts {
                dt { "Said" } dd { (words::count(episode.posts, "post", "posts")) " by "
                    (words::count(episode.people, "person", "people")) }
                dt { "Began" } dd { (parts::time(moment, episode.since_us)) }
                dt { "Told" } dd { (words::urgency(episode.urgency())) }
                dt { "Surprise" } dd { (format!("{:.1}", episode.surprise)) " now, "
                    (format!("{:.1}", episode.surprise_max)) " at most" }
                dt { "Rule" } dd { (episode.rule) }
                dt { "Subject" } dd.break { (episode.subject) }
            }
        }
    }
}

fn evidence(episode: &Episode, moment: &Moment) -> Markup {
    html! {
        section id="evidence" {
            h2 { "What is said" }
            @if episode.evidence.is_empty() { p.none { "No examples were kept." } }
            ul.quotes { @for evidence in &episode.evidence { (parts::evidence(moment, evidence)) } }
        }
    }
}

fn course(of: Option<&Timeline>, moment: &Moment) -> Markup {
    html! {
        section id="course" {
            @if let Some(of) = of { h2 { "How it went" } (timeline::draw(of, moment)) }
        }
    }
}

fn why(explained: &Answer<ExplainResponse>, moment: &Moment) -> Markup {
    html! {
        section id="why" {
            h2 { "Why" }
            @match explained {
                Err(trouble) => (parts::no_answer(trouble)),
                Ok(told) if told.decisions.is_empty() => p.none { "No decision was recorded." },
                Ok(told) => ol.timeline {
                    @for decision in &told.decisions {
                        li {
                            p { strong { (decision.action.replace('_', " ")) }
                                @if let Some(reason) = &decision.reason { ": " span dir="auto" { (reason.text) } } }
                            @if let Some(reason) = &decision.reason { (numbers(reason)) }
                            p.meta { (parts::time(moment, decision.at_us)) }
                        }
                    }
                },
            }
        }
    }
}

fn numbers(reason: &Reason) -> Markup {
    html! {
        @if !reason.numbers.is_empty() {
            p.numbers {
                @for (name, value) in &reason.numbers {
                    @let (name, value) = figure(name, *value);
                    span { (name) " " strong { (value) } }
                }
            }
        }
    }
}

/// A named number as people read it: the unit at the end of the name, or the `p_` before it, goes into the
/// value.
fn figure(name: &str, value: f64) -> (String, String) {
    let plain = |name: &str| name.replace('_', " ");
    if !value.is_finite() {
        return (plain(name), "–".into());
    }
    if let Some(name) = name.strip_prefix("p_").filter(|_| (0.0..=1.0).contains(&value)) {
        return (format!("chance of {}", plain(name)), parts::percent(value));
    }
    if let Some(name) = name.strip_suffix("_s").filter(|_| value >= 0.0) {
        return (plain(name), span(parts::to_millis(value)));
    }
    (plain(name), short(value))
}

/// Whole where it is or where it is large, else with as many digits as matter.
fn short(value: f64) -> String {
    if value.fract() == 0.0 || value.abs() >= 100.0 {
        format!("{value:.0}")
    } else {
        let digits = format!("{value:.3}");
        digits.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

fn history(history: &[EpisodeEvent], moment: &Moment) -> Markup {
    html! {
        section id="history" {
            h2 { "What happened" }
            ol.timeline {
                @for event in history {
                    li {
                        p { strong { (words::episode_change(event.change())) }
                            @if !event.by.is_empty() { " by " (event.by) }
                            @if let Some(reason) = &event.reason { ": " span dir="auto" { (reason.text) } } }
                        p.meta { (parts::time(moment, event.at_us)) }
                    }
                }
            }
        }
    }
}

fn deliveries(deliveries: &[Delivery], moment: &Moment) -> Markup {
    html! {
        section id="deliveries" {
            @if !deliveries.is_empty() {
                h2 { "Who was told" }
                ul.rows {
                    @for delivery in deliveries {
                        li.row {
                            p.lead {
                                strong { (delivery.destination) }
                                span.tag.good[delivery.state == "sent"].warn[delivery.state == "failed"] { (delivery.state) }
                                span.dim { (delivery.reason.replace('_', " ")) }
                            }
                            p.meta {
                                (parts::time(moment, delivery.sent_at_us.unwrap_or(delivery.created_at_us)))
                                @if delivery.attempts > 1 { span { (delivery.attempts) " attempts" } }
                                @if !delivery.last_error.is_empty() { span.late { (delivery.last_error) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn forms(episode: &Episode, who: &str) -> Markup {
    let path = format!("/alerts/{}", hex_id(&episode.episode_id));
    let is_over = episode.state() == EpisodeState::Resolved;
    html! {
        @if !is_over {
            section id="act" {
                h2 { "Take it" }
                form method="post" action={ (path) "/acknowledge" } {
                    (parts::once())
                    label { "Your name" input name="owner" value=(who) required maxlength="100" autocomplete="name"; }
                    label { "For"
                        select name="expires_in_s" {
                            @for (seconds, words) in TERMS {
                                option value=(seconds) selected[seconds == 3_600] { (words) }
                            }
                        }
                    }
                    label { "Note" input name="note" maxlength="500" placeholder="optional"; }
                    button.primary { "I have it" }
                }
                details {
                    summary { "Hold back its pages" }
                    form method="post" action="/silences" {
                        (parts::once())
                        input type="hidden" name="subject" value=(episode.subject);
                        input type="hidden" name="rule" value=(episode.rule);
                        (silences::terms())
                        label.check { input type="checkbox" name="expires_on_resolve" value="1" checked; "ends when this alert ends" }
                        label { "Your name" input name="by" value=(who) required maxlength="100" autocomplete="name"; }
                        label { "Why" input name="comment" maxlength="500" placeholder="for the others on call"; }
                        button { "Silence it" }
                    }
                }
                details {
                    summary { "It is over" }
                    form method="post" action={ (path) "/resolve" } {
                        (parts::once())
                        label { "Your name" input name="by" value=(who) required maxlength="100" autocomplete="name"; }
                        fieldset {
                            legend { "Was the page of use?" }
                            label.radio { input type="radio" name="useful" value="yes"; "useful" }
                            label.radio { input type="radio" name="useful" value="no"; "noise" }
                            label.radio { input type="radio" name="useful" value="" checked; "cannot say" }
                        }
                        label { "Note" input name="note" maxlength="500" placeholder="optional"; }
                        button { "Resolve" }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_with_their_unit() {
        for (name, value, words) in [
            ("p_viral", 0.714, "chance of viral 71 %"),
            ("doubling_s", 840.0, "doubling 14 min"),
            ("surprise", 5.25, "surprise 5.25"),
            ("threshold", 0.5, "threshold 0.5"),
            ("expected", 2_400.4, "expected 2400"),
            ("tiny", 0.000_01, "tiny 0"),
            ("x", f64::NAN, "x –"),
        ] {
            let (name, value) = figure(name, value);
            assert_eq!(format!("{name} {value}"), words);
        }
    }
}
