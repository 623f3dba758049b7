use model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::adapt;
use crate::{Episode, Phase};

/// What a notice asks of the one who gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// Somebody must look now.
    Page,
    /// New facts about what they know.
    Update,
    /// Somebody has it.
    Acknowledged,
    /// It is over.
    Resolve,
}

impl NoticeKind {
    /// The label used in storage and on wires.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Update => "update",
            Self::Acknowledged => "acknowledged",
            Self::Resolve => "resolve",
        }
    }
}

/// Why a notice is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeReason {
    /// The first about this episode.
    FirstNotification,
    /// It is worse than they know.
    SeverityRose,
    /// It is bigger than they know.
    Grew,
    /// Nobody took it for the repeat interval.
    RepeatIntervalElapsed,
    /// It was taken and not ended in time.
    AckExpired,
    /// Those told before did not take it.
    Escalated,
    /// It keeps coming back; said once.
    Flapping,
    /// Its sources went silent.
    NoData,
    /// Somebody has it.
    Acknowledged,
    /// It is over.
    Resolved,
    /// It began and ended before anything could be sent: one line instead of two.
    FiredAndCleared,
}

impl NoticeReason {
    /// The label used in storage and on wires.
    pub const fn label(self) -> &'static str {
        match self {
            Self::FirstNotification => "first_notification",
            Self::SeverityRose => "severity_rose",
            Self::Grew => "grew",
            Self::RepeatIntervalElapsed => "repeat_interval_elapsed",
            Self::AckExpired => "ack_expired",
            Self::Escalated => "escalated",
            Self::Flapping => "flapping",
            Self::NoData => "no_data",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
            Self::FiredAndCleared => "fired_and_cleared",
        }
    }
}

/// One message to one destination, frozen when it was decided: a repeat carries the same bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// Stable over retries; receivers recognise repeats by it. Has no '.'.
    pub delivery_id: String,
    /// Where to.
    pub destination: String,
    /// What it asks.
    pub kind: NoticeKind,
    /// Why it is sent.
    pub reason: NoticeReason,
    /// When it was decided.
    #[serde(with = "adapt::text")]
    pub at: Timestamp,
    /// The episode then.
    pub episode: Episode,
}

impl Notice {
    /// The id of the notice that `sequence` of an episode owes `destination`: the same decision always
    /// has the same id.
    pub fn id(episode: &Episode, kind: NoticeKind, destination: &str) -> String {
        let name: String = destination
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' })
            .collect();
        format!("msg_{}_{}_{}_{name}", episode.id.as_uuid().simple(), episode.sequence, kind.label())
    }
}

/// What became of earlier notices of the same episode to the same destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeliveredBefore {
    /// A page arrived.
    Arrived,
    /// A page was given up or dropped, because the episode had already ended.
    Overtaken,
    /// There was none.
    Nothing,
}

/// Is a queued notice still wanted?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Send it.
    Send,
    /// Send it with another reason.
    SendAs(NoticeReason),
    /// Drop it, for this stable reason.
    Drop(&'static str),
}

/// Asked before every attempt, with the episode as it is now.
///
/// A page for what is over, taken or silenced since is dropped; the end of an episode goes to those who
/// know of it, or as one "fired and cleared" line where its page was overtaken.
pub fn still_wanted(notice: &Notice, current: &Episode, before: DeliveredBefore) -> Wanted {
    let is_over = matches!(current.phase, Phase::Resolved { .. });
    match notice.kind {
        NoticeKind::Page | NoticeKind::Update if is_over => Wanted::Drop("resolved"),
        NoticeKind::Page if current.ack().is_some() => Wanted::Drop("acknowledged"),
        NoticeKind::Page | NoticeKind::Update if !current.silenced_by.is_empty() => Wanted::Drop("silenced"),
        NoticeKind::Update | NoticeKind::Acknowledged
            if current.sequence > notice.episode.sequence && is_over =>
        {
            Wanted::Drop("resolved")
        }
        NoticeKind::Acknowledged if current.ack().is_none() => Wanted::Drop("ack_ended"),
        NoticeKind::Resolve => match before {
            DeliveredBefore::Arrived => Wanted::Send,
            DeliveredBefore::Overtaken => Wanted::SendAs(NoticeReason::FiredAndCleared),
            DeliveredBefore::Nothing => Wanted::Drop("never_told"),
        },
        _ => Wanted::Send,
    }
}
