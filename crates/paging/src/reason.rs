use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Why something was decided, with the numbers that decided. [`Reason::text`] is for a person at three in
/// the morning, [`Reason::code`] for counting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Reason {
    /// What the detector saw, in its own words.
    Observed {
        /// Stable label, for example `rising`.
        code: String,
        /// One sentence.
        words: String,
        /// The numbers, by name.
        numbers: BTreeMap<String, f64>,
    },
    /// First time that people are told.
    FirstNotice,
    /// It was over, and is back: people are told anew.
    BackAgain {
        /// Seconds since it was over.
        after_s: i64,
    },
    /// It became worse than people know.
    SeverityRose {
        /// What they knew, 0..4.
        from: u8,
        /// What it is, 0..4.
        to: u8,
    },
    /// It became bigger than people know.
    Grew {
        /// What they knew.
        from: u64,
        /// What it is.
        to: u64,
    },
    /// It is back soon after people were called about it: they know, unless it is a step bigger or worse.
    Joined {
        /// Seconds since they were called.
        called_s: i64,
        /// What they know.
        known: u64,
        /// The size at which they are called again.
        next: u64,
    },
    /// Nothing that people do not know.
    NothingNew,
    /// Nobody took it for the repeat interval.
    RepeatDue {
        /// Seconds since the last page.
        after_s: i64,
    },
    /// People know; the next repeat comes later.
    RepeatNotDue {
        /// Seconds left.
        left_s: i64,
    },
    /// Nobody took it in time, so the next ones are told.
    Escalated {
        /// The step, from 1.
        step: u32,
        /// Seconds since the first page.
        after_s: i64,
    },
    /// Somebody took it.
    Acknowledged {
        /// The person.
        owner: String,
        /// Seconds it holds.
        for_s: i64,
    },
    /// Somebody has it: no repeats, no escalation.
    Taken {
        /// The person.
        owner: String,
        /// Seconds left.
        left_s: i64,
    },
    /// It was taken, but not ended in time.
    AckExpired {
        /// The person.
        owner: String,
    },
    /// A silence holds its pages back.
    Silenced {
        /// Which.
        by: Vec<String>,
    },
    /// A larger episode already says it.
    Inhibited {
        /// Which.
        by: Vec<String>,
    },
    /// Its urgency calls nobody.
    DigestOnly,
    /// No route leads anywhere.
    NoRoute,
    /// It keeps coming back; one notice, then quiet.
    Flapping {
        /// How often within the window.
        times: u32,
        /// The window, in seconds.
        within_s: i64,
    },
    /// People know that it is flapping.
    FlappingKnown,
    /// Quiet for long enough.
    Quiet {
        /// Seconds without anything.
        for_s: i64,
    },
    /// The detector calls it calm.
    Calm {
        /// Its words.
        words: String,
    },
    /// Quiet, but the source has not been heard up to that time.
    NotYetHeard {
        /// Seconds that hearing is behind.
        behind_s: i64,
    },
    /// The source is silent: nobody can say whether it is over.
    NoData {
        /// Seconds since it was heard.
        behind_s: i64,
    },
    /// The source is heard again.
    DataBack,
    /// A person ended it.
    ResolvedBy {
        /// The person.
        by: String,
        /// What they said.
        note: String,
    },
    /// It is over already; nothing changes that.
    AlreadyResolved,
    /// It became part of another episode.
    MergedInto {
        /// Which.
        episode: String,
    },
    /// There is no such episode.
    NothingOpen,
    /// The caller had seen an older version.
    VersionMoved {
        /// What the caller had seen.
        expected: u64,
        /// What is current.
        current: u64,
    },
    /// Too old to call anybody: counted only.
    TooOld {
        /// Its age in seconds.
        age_s: i64,
    },
    /// A notice arrived.
    Delivered {
        /// Where.
        destination: String,
    },
    /// A notice could not be delivered.
    NotDelivered {
        /// Where.
        destination: String,
        /// Why.
        why: String,
    },
    /// Nothing holds its pages back any more.
    Unmuted,
    /// Evidence was taken out: it was taken back, or its author is to be forgotten.
    Erased {
        /// How many mentions.
        pieces: u64,
    },
    /// No such rule is configured.
    UnknownRule,
}

impl Reason {
    /// Stable label.
    pub fn code(&self) -> &str {
        match self {
            Self::Observed { code, .. } => code,
            Self::FirstNotice => "first_notification",
            Self::BackAgain { .. } => "back_again",
            Self::SeverityRose { .. } => "severity_rose",
            Self::Grew { .. } => "grew",
            Self::Joined { .. } => "joined",
            Self::NothingNew => "nothing_new",
            Self::RepeatDue { .. } => "repeat_interval_elapsed",
            Self::RepeatNotDue { .. } => "repeat_window",
            Self::Escalated { .. } => "escalated",
            Self::Acknowledged { .. } => "acknowledged",
            Self::Taken { .. } => "taken",
            Self::AckExpired { .. } => "ack_expired",
            Self::Silenced { .. } => "silenced",
            Self::Inhibited { .. } => "inhibited",
            Self::DigestOnly => "digest_only",
            Self::NoRoute => "no_route",
            Self::Flapping { .. } => "flapping",
            Self::FlappingKnown => "flapping_known",
            Self::Quiet { .. } => "quiet",
            Self::Calm { .. } => "calm",
            Self::NotYetHeard { .. } => "not_yet_heard",
            Self::NoData { .. } => "no_data",
            Self::DataBack => "data_back",
            Self::ResolvedBy { .. } => "resolved_by_person",
            Self::AlreadyResolved => "already_resolved",
            Self::MergedInto { .. } => "merged",
            Self::NothingOpen => "nothing_open",
            Self::VersionMoved { .. } => "version_moved",
            Self::TooOld { .. } => "too_old",
            Self::Delivered { .. } => "delivered",
            Self::NotDelivered { .. } => "not_delivered",
            Self::Unmuted => "unmuted",
            Self::Erased { .. } => "erased",
            Self::UnknownRule => "unknown_rule",
        }
    }

    /// One sentence.
    pub fn text(&self) -> String {
        match self {
            Self::Observed { words, .. } => words.clone(),
            Self::FirstNotice => "people are told for the first time".into(),
            Self::BackAgain { after_s } => {
                format!("it was over for {} and is back: people are told again", span(*after_s))
            }
            Self::SeverityRose { from, to } => format!("severity rose from {from} to {to} of 4"),
            Self::Grew { from, to } => format!("it grew from {from} to {to}"),
            Self::Joined { called_s, known, next } => format!(
                "people were called about {known} of it {} ago, and this joins that: called again at {next}, or when \
                 it is worse",
                span(*called_s)
            ),
            Self::NothingNew => "nothing that people do not know already".into(),
            Self::RepeatDue { after_s } => format!("nobody has taken it for {}", span(*after_s)),
            Self::RepeatNotDue { left_s } => format!("people know; next reminder in {}", span(*left_s)),
            Self::Escalated { step, after_s } => {
                format!("nobody has taken it for {}: escalation step {step}", span(*after_s))
            }
            Self::Acknowledged { owner, for_s } => format!("{owner} has taken it for {}", span(*for_s)),
            Self::Taken { owner, left_s } => {
                format!("{owner} has it for {} more: no reminders", span(*left_s))
            }
            Self::AckExpired { owner } => format!("{owner} had taken it, and it is still going on"),
            Self::Silenced { by } => format!("held back by silence {}", by.join(", ")),
            Self::Inhibited { by } => format!("episode {} already says it", by.join(", ")),
            Self::DigestOnly => "its urgency calls nobody; it is in the list".into(),
            Self::NoRoute => "no route leads to a destination".into(),
            Self::Flapping { times, within_s } if *times <= 1 => {
                format!("it was over for less than {} and is back: told once, then quiet", span(*within_s))
            }
            Self::Flapping { times, within_s } => {
                format!("it came back {times} times, each within {}: told once, then quiet", span(*within_s))
            }
            Self::FlappingKnown => "it keeps coming back, and people know".into(),
            Self::Quiet { for_s } => format!("quiet for {}", span(*for_s)),
            Self::Calm { words } => words.clone(),
            Self::NotYetHeard { behind_s } => {
                format!("quiet, but sources are {} behind, so it stays open", span(*behind_s))
            }
            Self::NoData { behind_s } => {
                format!("nothing was heard from its sources for {}: nobody can say", span(*behind_s))
            }
            Self::DataBack => "its sources are heard again".into(),
            Self::ResolvedBy { by, note } if note.is_empty() => format!("{by} ended it"),
            Self::ResolvedBy { by, note } => format!("{by} ended it: {note}"),
            Self::AlreadyResolved => "it is over already".into(),
            Self::MergedInto { episode } => format!("it became part of episode {episode}"),
            Self::NothingOpen => "there is no open episode".into(),
            Self::VersionMoved { expected, current } => {
                format!("it has changed since version {expected}; it is at {current} now")
            }
            Self::TooOld { age_s } => format!("it is {} old: counted, nobody is called", span(*age_s)),
            Self::Delivered { destination } => format!("{destination} has it"),
            Self::NotDelivered { destination, why } => format!("{destination} did not take it: {why}"),
            Self::Unmuted => "nothing holds it back any more".into(),
            Self::Erased { pieces: 1 } => "a mention it showed was taken back".into(),
            Self::Erased { pieces } => format!("{pieces} mentions it showed were taken back"),
            Self::UnknownRule => "its rule is not configured".into(),
        }
    }

    /// The numbers, by name.
    pub fn numbers(&self) -> BTreeMap<String, f64> {
        let pairs: Vec<(&str, f64)> = match self {
            Self::Observed { numbers, .. } => return numbers.clone(),
            Self::SeverityRose { from, to } => vec![("from", f64::from(*from)), ("to", f64::from(*to))],
            Self::Grew { from, to } => vec![("from", *from as f64), ("to", *to as f64)],
            Self::Joined { called_s, known, next } => {
                vec![("called_s", *called_s as f64), ("known", *known as f64), ("next", *next as f64)]
            }
            Self::BackAgain { after_s } | Self::RepeatDue { after_s } => vec![("after_s", *after_s as f64)],
            Self::RepeatNotDue { left_s } | Self::Taken { left_s, .. } => vec![("left_s", *left_s as f64)],
            Self::Escalated { step, after_s } => {
                vec![("step", f64::from(*step)), ("after_s", *after_s as f64)]
            }
            Self::Acknowledged { for_s, .. } | Self::Quiet { for_s } => vec![("for_s", *for_s as f64)],
            Self::Flapping { times, within_s } => {
                vec![("times", f64::from(*times)), ("within_s", *within_s as f64)]
            }
            Self::NotYetHeard { behind_s } | Self::NoData { behind_s } => {
                vec![("behind_s", *behind_s as f64)]
            }
            Self::Erased { pieces } => vec![("pieces", *pieces as f64)],
            Self::TooOld { age_s } => vec![("age_s", *age_s as f64)],
            Self::VersionMoved { expected, current } => {
                vec![("expected", *expected as f64), ("current", *current as f64)]
            }
            _ => Vec::new(),
        };
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// A person's wish that could not be followed.
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::AlreadyResolved | Self::NothingOpen | Self::VersionMoved { .. })
    }
}

/// Seconds as people say them: `a second`, `40 s`, `5 min`, `3 h`, `2 d`.
fn span(seconds: i64) -> String {
    match seconds {
        s if s < 2 => "a second".into(),
        s if s < 120 => format!("{s} s"),
        s if s < 2 * 3600 => format!("{} min", s / 60),
        s if s < 2 * 86_400 => format!("{} h", s / 3600),
        s => format!("{} d", s / 86_400),
    }
}
