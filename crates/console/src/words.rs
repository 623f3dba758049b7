use contracts::alert::v1::{EpisodeChange, EpisodeState, Trigger, Urgency};
use contracts::ingest::v1::CoverageState;
use contracts::response::v1::{CaseChange, CaseState, ClockKind, ClockSide, PromiseState};

pub(crate) const fn severity(level: u32) -> &'static str {
    match level {
        0 => "no complaint",
        1 => "complaint",
        2 => "disapproval",
        3 => "accusation",
        _ => "blame",
    }
}

pub(crate) const fn trigger(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Unspecified => "alert",
        Trigger::SevereComplaint => "severe complaint",
        Trigger::RisingSubject => "rising subject",
        Trigger::SpreadingThread => "spreading thread",
        Trigger::SilentSource => "silent source",
    }
}

pub(crate) const fn urgency(urgency: Urgency) -> &'static str {
    match urgency {
        Urgency::Unspecified => "unrated",
        Urgency::Digest => "in the next digest",
        Urgency::Ticket => "in working hours",
        Urgency::Page => "at once",
    }
}

pub(crate) const fn episode_state(state: EpisodeState) -> &'static str {
    match state {
        EpisodeState::Unspecified => "unknown",
        EpisodeState::Firing => "open",
        EpisodeState::Acknowledged => "in hand",
        EpisodeState::Resolved => "over",
        EpisodeState::NoData => "no data",
    }
}

pub(crate) const fn episode_change(change: EpisodeChange) -> &'static str {
    match change {
        EpisodeChange::Unspecified => "changed",
        EpisodeChange::Opened => "opened",
        EpisodeChange::Grew => "grew",
        EpisodeChange::Paged => "paged",
        EpisodeChange::Acknowledged => "taken",
        EpisodeChange::AckExpired => "nobody's again",
        EpisodeChange::Silenced => "silenced",
        EpisodeChange::Resolved => "over",
        EpisodeChange::Merged => "merged",
        EpisodeChange::NoData => "source went silent",
        EpisodeChange::Delivered => "delivered",
        EpisodeChange::DeliveryFailed => "delivery failed",
        EpisodeChange::Erased => "evidence taken back",
    }
}

pub(crate) const fn case_state(state: CaseState) -> &'static str {
    match state {
        CaseState::Unspecified => "unknown",
        CaseState::New => "not answered yet",
        CaseState::Open => "being worked on",
        CaseState::Waiting => "waiting for the customer",
        CaseState::Resolved => "resolved",
    }
}

pub(crate) const fn case_change(change: CaseChange) -> &'static str {
    match change {
        CaseChange::Unspecified => "changed",
        CaseChange::Opened => "opened",
        CaseChange::CustomerSpoke => "the customer spoke",
        CaseChange::BrandAnswered => "answered",
        CaseChange::Assigned => "assigned",
        CaseChange::Promised => "promised",
        CaseChange::PromiseKept => "promise kept",
        CaseChange::PromiseBroken => "promise broken",
        CaseChange::Breached => "too late",
        CaseChange::Warned => "soon too late",
        CaseChange::Resolved => "resolved",
        CaseChange::Reopened => "reopened",
        CaseChange::WonBack => "won back",
        CaseChange::Withdrawn => "withdrawn",
        CaseChange::Paused => "clocks paused",
        CaseChange::Resumed => "clocks resumed",
        CaseChange::PromiseRenegotiated => "promise renegotiated",
    }
}

pub(crate) const fn clock_kind(kind: ClockKind) -> &'static str {
    match kind {
        ClockKind::Unspecified => "clock",
        ClockKind::FirstAnswer => "First answer",
        ClockKind::NextAnswer => "Next answer",
        ClockKind::Resolution => "Resolution",
    }
}

pub(crate) const fn clock_side(side: ClockSide) -> &'static str {
    match side {
        ClockSide::Unspecified => "",
        ClockSide::Customer => "customer",
        ClockSide::Contract => "contract",
        ClockSide::Team => "team",
    }
}

pub(crate) const fn promise_state(state: PromiseState) -> &'static str {
    match state {
        PromiseState::Unspecified => "unknown",
        PromiseState::Open => "open",
        PromiseState::Kept => "kept",
        PromiseState::Broken => "broken",
        PromiseState::Renegotiated => "renegotiated",
    }
}

pub(crate) const fn coverage(state: CoverageState) -> &'static str {
    match state {
        CoverageState::Unspecified => "unknown",
        CoverageState::Live => "live",
        CoverageState::CatchingUp => "catching up",
        CoverageState::Gap => "silent",
        CoverageState::Ended => "ended",
    }
}

/// `1 alert`, `2 alerts`.
pub(crate) fn count(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(n), if n == 1 { one } else { many })
}

/// `950`, `12,345`, `1.2 M`.
pub(crate) fn number(n: u64) -> String {
    if n >= 1_000_000 {
        #[allow(clippy::cast_precision_loss)]
        let millions = n as f64 / 1e6;
        return format!("{millions:.1} M");
    }
    let digits = n.to_string();
    let (head, tail) = digits.split_at(digits.len().saturating_sub(3));
    if head.is_empty() { digits } else { format!("{head},{tail}") }
}

/// A number that may be anything, rounded to what people read.
pub(crate) fn about(n: f64) -> String {
    if !n.is_finite() || n < 0.0 {
        return "–".into();
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let whole = n.round().min(1e15) as u64;
    number(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (n, text) in
            [(0, "0"), (999, "999"), (1_000, "1,000"), (123_456, "123,456"), (7_650_000, "7.7 M")]
        {
            assert_eq!(number(n), text);
        }
        assert_eq!(
            (about(f64::NAN).as_str(), about(1e300).as_str(), about(2.6).as_str()),
            ("–", "1000000000.0 M", "3")
        );
        assert_eq!(
            (count(1, "alert", "alerts").as_str(), count(0, "alert", "alerts").as_str()),
            ("1 alert", "0 alerts")
        );
    }
}
