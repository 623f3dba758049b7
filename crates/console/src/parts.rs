//! The small pieces pages are made of.

use contracts::alert::v1::{Evidence, Forecast};
use maud::{Markup, html};
use model::Timestamp;

use crate::backend::Trouble;
use crate::when::{Moment, span};
use crate::words;

/// The most characters of a customer's words shown in a list.
const EXCERPT_CHARS: usize = 280;

/// A time, both ways: how long ago, and when.
pub(crate) fn time(moment: &Moment, at_us: i64) -> Markup {
    let at = Timestamp::from_micros(at_us);
    html! {
        time datetime=(at) title=(moment.full(at)) {
            span.rel { (moment.relative(at)) } " " span.abs { (moment.clock(at)) }
        }
    }
}

/// How long something lasts already, and since when.
pub(crate) fn since(moment: &Moment, at_us: i64) -> Markup {
    let at = Timestamp::from_micros(at_us);
    html! {
        time datetime=(at) title=(moment.full(at)) {
            span.rel { (span(moment.now.millis_since(at).max(0))) } " " span.abs { "since " (moment.clock(at)) }
        }
    }
}

/// Four pips, as many filled as the severity has levels.
pub(crate) fn severity(level: u32) -> Markup {
    let word = words::severity(level);
    html! {
        span class={ "sev sev-" (level.min(4)) } role="img" aria-label={ "severity " (level.min(4)) " of 4, " (word) }
            title=(word) {
            @for pip in 1..=4_u32 { i.on[pip <= level] {} }
        }
    }
}

/// Customer's words: data, isolated from the direction of the text around them, cut.
pub(crate) fn words_of(text: &str) -> Markup {
    let cut: String = text.chars().take(EXCERPT_CHARS).collect();
    let is_cut = cut.len() < text.len();
    html! { q.said dir="auto" { (cut) @if is_cut { "…" } } }
}

/// A link to the outside if it is one a browser may follow, else nothing.
pub(crate) fn outside(url: &str, label: &str) -> Markup {
    let is_web = url::Url::parse(url).is_ok_and(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
    html! {
        @if is_web { a.outside href=(url) target="_blank" rel="noopener noreferrer nofollow" { (label) } }
    }
}

/// `@handle`, or that nobody is named.
pub(crate) fn handle(handle: &str) -> Markup {
    html! {
        @if handle.is_empty() { span.who.unnamed { "unnamed" } }
        @else { span.who dir="auto" { "@" (handle) } }
    }
}

/// One thing somebody said.
pub(crate) fn evidence(moment: &Moment, evidence: &Evidence) -> Markup {
    html! {
        li.quote {
            p { (words_of(&evidence.excerpt)) }
            p.meta {
                (severity(evidence.severity))
                (handle(&evidence.author_handle))
                (time(moment, evidence.at_us))
                (outside(&evidence.permalink, "open"))
            }
        }
    }
}

/// What to say instead of an answer that did not come. Never looks like calm.
pub(crate) fn no_answer(trouble: &Trouble) -> Markup {
    html! { p.blind { (trouble.sentence) " What belongs here is not known." } }
}

/// Where a thread stands and how far it will go, on a logarithmic line.
pub(crate) fn forecast(forecast: &Forecast) -> Markup {
    let line = Line::around(forecast);
    html! {
        div.forecast {
            svg viewBox="0 0 1000 40" preserveAspectRatio="none" aria-hidden="true" focusable="false" {
                rect.track x="0" y="18" width="1000" height="4" rx="2" {}
                rect.band x=(line.at(forecast.low)) y="12" height="16" rx="6"
                    width=(line.at(forecast.high).saturating_sub(line.at(forecast.low)).max(6)) {}
                rect.expected x=(line.at(forecast.expected_final).saturating_sub(3)) y="6" width="6" height="28" rx="2" {}
                rect.limit x=(line.at(to_float(forecast.viral_size)).saturating_sub(1)) y="0" width="3" height="40" {}
                rect.seen x="0" y="18" height="4" rx="2" width=(line.at(to_float(forecast.seen)).max(4)) {}
            }
            p.figures {
                span {
                    strong { (words::number(forecast.seen)) } " so far → "
                    strong { (words::about(forecast.expected_final)) } " expected "
                    span.dim { "(" (words::about(forecast.low)) "–" (words::about(forecast.high)) ")" }
                }
                @if forecast.viral_size > 0 {
                    span { strong { (percent(forecast.p_viral)) } " to pass " (words::number(forecast.viral_size)) }
                }
                @match forecast.answer_within_s.filter(|s| s.is_finite()) {
                    Some(seconds) if seconds >= 1.0 => {
                        span.deadline { "answer within " strong { (span(to_millis(seconds))) } }
                    }
                    Some(_) => span.deadline { strong { "answer now" } ": it has passed that already" },
                    None => {}
                }
            }
        }
    }
}

/// A bar, `share` (0..1) of it filled.
pub(crate) fn bar(class: &str, share: f64) -> Markup {
    let width = permille(share);
    html! {
        svg class={ "bar " (class) } viewBox="0 0 1000 8" preserveAspectRatio="none" aria-hidden="true" focusable="false" {
            rect.track x="0" y="0" width="1000" height="8" rx="4" {}
            rect.fill x="0" y="0" width=(width) height="8" rx="4" {}
        }
    }
}

/// `71 %`; certainty is never claimed.
pub(crate) fn percent(p: f64) -> String {
    let permille = permille(p);
    match permille {
        0..=9 => "under 1 %".into(),
        991.. => "over 99 %".into(),
        n => format!("{} %", (n + 5) / 10),
    }
}

/// A fresh key for a form, so that sending it twice does it once.
pub(crate) fn once() -> Markup {
    html! { input type="hidden" name="once" value=(uuid::Uuid::new_v4()); }
}

/// A logarithmic line from 1 to a little beyond the largest number on it, 0..1000.
struct Line {
    log_max: f64,
}

impl Line {
    fn around(forecast: &Forecast) -> Self {
        let numbers =
            [forecast.high, forecast.expected_final, to_float(forecast.viral_size), to_float(forecast.seen)];
        let max = numbers.into_iter().filter(|n| n.is_finite()).fold(10.0, f64::max);
        Self { log_max: (max * 1.25).ln_1p() }
    }

    fn at(&self, number: f64) -> u32 {
        permille(number.max(0.0).ln_1p() / self.log_max)
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn permille(share: f64) -> u32 {
    // NaN becomes 0.
    (share.clamp(0.0, 1.0) * 1_000.0).round() as u32
}

#[allow(clippy::cast_precision_loss)]
const fn to_float(n: u64) -> f64 {
    n as f64
}

#[allow(clippy::cast_possible_truncation)]
pub(crate) fn to_millis(seconds: f64) -> i64 {
    (seconds.max(0.0) * 1_000.0) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn customers_words_are_never_markup() {
        let text = "<script>alert('x')</script><img src=x onerror=\"y\">&amp;";
        let drawn = words_of(text).into_string();
        assert!(!drawn.contains("<script") && !drawn.contains("<img"), "{drawn}");
        assert!(drawn.contains("&lt;script&gt;"), "{drawn}");
    }

    #[test]
    fn only_web_addresses_become_links() {
        for bad in
            ["javascript:alert(1)", "data:text/html,x", "", "/local", "//host/x", "https:", "JaVaScRiPt://x"]
        {
            assert_eq!(outside(bad, "open").into_string(), "", "{bad}");
        }
        let link = outside("https://a.example/\"onclick=x", "open").into_string();
        assert!(
            link.contains("href=\"https://a.example/&quot;onclick=x\"") && link.contains("noopener"),
            "{link}"
        );
    }

    #[test]
    fn odd_forecasts_draw_without_nonsense() {
        for odd in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
            let forecast_of = Forecast {
                seen: u64::MAX,
                expected_final: odd,
                low: odd,
                high: odd,
                p_viral: odd,
                answer_within_s: Some(odd),
                ..Forecast::default()
            };
            let drawn = forecast(&forecast_of).into_string();
            assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
        }
        let seen = Forecast { answer_within_s: Some(0.2), ..Forecast::default() };
        assert!(
            forecast(&seen).into_string().contains("answer now"),
            "nobody reads 0 s as a time to answer within"
        );
        assert_eq!(
            (percent(0.714).as_str(), percent(1.0).as_str(), percent(0.0).as_str()),
            ("71 %", "over 99 %", "under 1 %")
        );
    }
}
