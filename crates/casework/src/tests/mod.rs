mod calendar;
mod cases;
mod clocks;
mod late;

use model::{AuthorKey, BrandId, MentionId, Probability, Severity, Timestamp, Topic};

use crate::{Answered, Calendar, CalendarSpec, Policy, Said};

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn calendar(zone: &str, hours: &[(&str, &[&str])], holidays: &[&str]) -> Calendar {
    let spec = CalendarSpec {
        time_zone: zone.into(),
        hours: hours
            .iter()
            .map(|(d, w)| ((*d).to_owned(), w.iter().map(|w| (*w).to_owned()).collect()))
            .collect(),
        holidays: holidays.iter().map(|h| (*h).to_owned()).collect(),
    };
    Calendar::new(&spec).unwrap()
}

/// Monday to Friday, nine to five with an hour of rest, in Rome, closed at Christmas.
pub(crate) fn office() -> Calendar {
    let day: &[&str] = &["09:00-13:00", "14:00-17:00"];
    calendar(
        "Europe/Rome",
        &[("mon", day), ("tue", day), ("wed", day), ("thu", day), ("fri", day)],
        &["12-25", "2026-04-06"],
    )
}

pub(crate) fn policy() -> Policy {
    Policy::standard("p1", office()).validated().unwrap()
}

fn p(value: f32) -> Probability {
    Probability::clamped(value)
}

pub(crate) fn mention(name: &str) -> MentionId {
    MentionId::derive(&[name])
}

pub(crate) fn said(name: &str, when: &str) -> Said {
    Said {
        mention: mention(name),
        brand: BrandId::slugify("acme"),
        author: AuthorKey::parse("mastodon:a.example:1").unwrap(),
        handle: "dave".into(),
        at: at(when),
        seen_at: at(when),
        text: format!("words of {name}"),
        permalink: String::new(),
        is_public: true,
        is_automatic: false,
        is_edit: false,
        thread_root: mention(name),
        reply_to: None,
        topic: Some(Topic::slugify("baggage")),
        complaint: p(0.1),
        severity: Severity::None,
        positive: p(0.2),
        spam: p(0.0),
        thanks: p(0.0),
        won_back: p(0.0),
    }
}

pub(crate) fn complaint(name: &str, when: &str) -> Said {
    Said { complaint: p(0.9), severity: Severity::Disapproval, ..said(name, when) }
}

pub(crate) fn thanks(name: &str, when: &str) -> Said {
    Said { thanks: p(0.9), positive: p(0.9), ..said(name, when) }
}

pub(crate) fn answer(name: &str, when: &str) -> Answered {
    Answered {
        mention: mention(name),
        author: "acmeair".into(),
        at: at(when),
        seen_at: at(when),
        text: "sorry!".into(),
        permalink: String::new(),
        is_public: true,
        is_automatic: false,
        channel_move: p(0.0),
    }
}

pub(crate) fn asks_for_private_message(name: &str, when: &str) -> Answered {
    Answered { channel_move: p(0.9), ..answer(name, when) }
}
