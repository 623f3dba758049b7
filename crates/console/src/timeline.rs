//! How an episode went, drawn on the server: a picture for those who see it, the same numbers for everybody.

use contracts::alert::v1::{Branch, Contributor, ContributorKind, Timeline, TimelineStep};
use maud::{Markup, html};
use model::Timestamp;

use crate::parts;
use crate::when::{Moment, span};
use crate::words;

/// The size of the drawing, in its own units.
const WIDTH: i64 = 1_000;
const HEIGHT: i64 = 120;
/// Contributors shown of each kind.
const CONTRIBUTORS_MAX: usize = 5;

/// The picture, one sentence about it, and who drove it; redrawn while it goes on.
pub(crate) fn draw(timeline: &Timeline, moment: &Moment) -> Markup {
    let (Some(first), Some(last)) = (timeline.steps.first(), timeline.steps.last()) else {
        return html! {};
    };
    let (from_us, to_us) = (first.at_us, last.end_us().max(first.at_us + 1));
    let top = timeline.steps.iter().map(|step| level(step).max(f64::from(step.open_at))).fold(0.01, f64::max);
    let x = |us: i64| scaled(ratio(us.saturating_sub(from_us), to_us.saturating_sub(from_us)), WIDTH);
    let y = |value: f64| HEIGHT - scaled(value / top, HEIGHT);
    html! {
        figure.course {
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img"
                aria-label=(sentence(timeline, moment)) {
                @for step in &timeline.steps {
                    @let (left, right, up) = (x(step.at_us), x(step.end_us()), y(level(step)));
                    rect.level.over[is_over(step)] x=(left) y=(up) width=((right - left).max(1)) height=(HEIGHT - up) {}
                    rect.limit x=(left) y=(y(f64::from(step.open_at))) width=((right - left).max(1)) height="1" {}
                }
                @if timeline.opened_at_us > 0 {
                    rect.opened x=(x(timeline.opened_at_us)) y="0" width="2" height=(HEIGHT) {}
                }
            }
            figcaption { (sentence(timeline, moment)) }
        }
        (contributors(&timeline.contributors))
    }
}

/// The same as a table; kept out of what is redrawn, so that nobody's place in it is lost.
pub(crate) fn numbers(timeline: &Timeline, moment: &Moment) -> Markup {
    let is_thread = timeline.steps.iter().any(|step| step.thread.is_some());
    html! {
        @if !timeline.steps.is_empty() {
            details.course {
                summary { "How it went, in numbers" }
                div.scroll tabindex="0" role="region" aria-label="How it went, in numbers" {
                    table {
                        thead { tr {
                            th scope="col" { "From" }
                            th scope="col" { "Posts" }
                            @if is_thread {
                                th scope="col" { "So far" }
                                th scope="col" { "Expected" }
                                th scope="col" { "90 % between" }
                                th scope="col" { "Chance to spread" }
                            } @else {
                                th scope="col" { "Complaints" }
                                th scope="col" { "People" }
                                th scope="col" { "Usual" }
                                th scope="col" { "Surprise" }
                                th scope="col" { "Opens at" }
                                th scope="col" { "Pace" }
                            }
                        } }
                        tbody { @for step in &timeline.steps { (row(step, is_thread, moment)) } }
                    }
                }
            }
        }
    }
}

fn row(step: &TimelineStep, is_thread: bool, moment: &Moment) -> Markup {
    let at = Timestamp::from_micros(step.at_us);
    html! {
        tr.over[is_over(step)] {
            th scope="row" { time datetime=(at) title=(moment.full(at)) { (moment.clock(at)) }
                @if step.length_s > 60 { " " span.dim { "for " (span(i64::from(step.length_s) * 1_000)) } } }
            td { (words::number(step.posts)) }
            @match &step.thread {
                Some(thread) => {
                    td { (words::number(thread.seen)) }
                    td { (words::about(f64::from(thread.expected_final))) }
                    td { (words::about(f64::from(thread.low))) "–" (words::about(f64::from(thread.high))) }
                    td { (parts::percent(f64::from(thread.p_viral))) }
                }
                None if is_thread => { td {} td {} td {} td {} }
                None => {
                    td { (words::about(f64::from(step.window_complaints))) " in " (span(i64::from(step.window_s) * 1_000)) }
                    td { (words::about(f64::from(step.people))) }
                    td { (words::about(f64::from(step.usual_low))) "–" (words::about(f64::from(step.usual_high))) }
                    td { (format!("{:.1}", step.surprise)) }
                    td { (format!("{:.1}", step.open_at)) }
                    td { (pace(step)) }
                }
            }
        }
    }
}

/// What the picture shows, for whoever does not see it.
fn sentence(timeline: &Timeline, moment: &Moment) -> String {
    let loudest = timeline.steps.iter().max_by(|a, b| level(a).total_cmp(&level(b)));
    let Some(step) = loudest else { return String::new() };
    let at = |us: i64| moment.clock(Timestamp::from_micros(us));
    let opened = match timeline.opened_at_us {
        0 => String::new(),
        us => format!(" It opened at {}.", at(us)),
    };
    match &step.thread {
        Some(thread) => format!(
            "The chance to spread was highest at {}: {}, about {} reactions expected.{opened}",
            at(step.at_us),
            parts::percent(f64::from(thread.p_viral)),
            words::about(f64::from(thread.expected_final)),
        ),
        None => format!(
            "Surprise was highest at {}: {:.1}, where {:.1} opens; {} complaints by {} people, usual are {} to {}, {}.{opened}",
            at(step.at_us),
            level(step),
            step.open_at,
            words::about(f64::from(step.window_complaints)),
            words::about(f64::from(step.people)),
            words::about(f64::from(step.usual_low)),
            words::about(f64::from(step.usual_high)),
            pace(step),
        ),
    }
}

fn contributors(all: &[Contributor]) -> Markup {
    const KINDS: [(ContributorKind, &str); 4] = [
        (ContributorKind::Author, "Who wrote most"),
        (ContributorKind::Thread, "Threads about it"),
        (ContributorKind::Source, "Heard through"),
        (ContributorKind::Topic, "About"),
    ];
    html! {
        @if !all.is_empty() {
            dl.facts {
                @for (kind, label) in KINDS {
                    @let of_kind: Vec<_> =
                        all.iter().filter(|one| one.kind() == kind && is_told(one)).take(CONTRIBUTORS_MAX).collect();
                    @if !of_kind.is_empty() {
                        dt { (label) }
                        dd { ul { @for one in of_kind { li.break { (contributor(one)) } } } }
                    }
                }
            }
        }
    }
}

/// Of a crowd in which nobody wrote twice, nobody is named.
fn is_told(one: &Contributor) -> bool {
    one.kind() != ContributorKind::Author || one.posts > 1
}

fn contributor(one: &Contributor) -> Markup {
    html! {
        @if one.kind() == ContributorKind::Author && !one.handle.is_empty() { (parts::handle(&one.handle)) }
        @else { span dir="auto" { (one.name) } }
        " "
        span.dim {
            @if one.kind() == ContributorKind::Thread { (parts::percent(f64::from(one.p_spread))) " to spread" }
            @else { (words::count(one.posts, "post", "posts")) }
        }
    }
}

fn pace(step: &TimelineStep) -> &'static str {
    match step.branch() {
        Branch::Unspecified => "",
        Branch::Sudden => "sudden",
        Branch::Building => "building for about an hour",
        Branch::Slow => "rising slowly for hours",
    }
}

fn level(step: &TimelineStep) -> f64 {
    let level = f64::from(step.level());
    if level.is_finite() { level } else { 0.0 }
}

fn is_over(step: &TimelineStep) -> bool {
    step.open_at > 0.0 && level(step) >= f64::from(step.open_at)
}

#[allow(clippy::cast_precision_loss)]
fn ratio(part: i64, whole: i64) -> f64 {
    part as f64 / whole.max(1) as f64
}

#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
fn scaled(share: f64, size: i64) -> i64 {
    // NaN becomes 0.
    (share.clamp(0.0, 1.0) * size as f64).round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::alert::v1::ThreadStep;
    use jiff::tz::TimeZone;

    #[test]
    fn odd_timelines_draw_without_nonsense() {
        let moment = Moment { now: Timestamp::EPOCH, zone: TimeZone::UTC };
        assert_eq!(draw(&Timeline::default(), &moment).into_string(), "");
        for odd in [f32::NAN, f32::INFINITY, -1.0, 1e30] {
            let step = TimelineStep {
                at_us: i64::MAX - 5,
                length_s: u32::MAX,
                surprise: odd,
                open_at: odd,
                window_complaints: odd,
                ..TimelineStep::default()
            };
            let thread = ThreadStep { p_viral: odd, expected_final: odd, ..ThreadStep::default() };
            let steps =
                vec![TimelineStep { at_us: 0, ..step }, TimelineStep { thread: Some(thread), ..step }];
            let timeline = Timeline { steps, opened_at_us: i64::MIN, ..Timeline::default() };
            let drawn = draw(&timeline, &moment).into_string();
            let shapes: Vec<_> = drawn.split("<rect").skip(1).map(|s| s.split('>').next().unwrap()).collect();
            assert_eq!(shapes.len(), 4);
            let is_odd = |shape: &&str| ["NaN", "inf", "=\"-"].iter().any(|odd| shape.contains(odd));
            assert_eq!(shapes.iter().find(|shape| is_odd(shape)), None, "{drawn}");
            assert!(numbers(&timeline, &moment).into_string().contains("<table>"));
        }
    }
}
