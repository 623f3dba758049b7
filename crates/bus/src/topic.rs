use std::fmt;
use std::str::FromStr;

/// The topics of Redress. A topic that is not here does not exist; the configuration only adds a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// What happened to mentions, and how complete each source is.
    Mentions,
    /// What understanding says about each.
    Verdicts,
    /// Per-second partial sums per subject.
    Tallies,
    /// What happened to episodes.
    Alerts,
    /// What happened to cases.
    Cases,
    /// People's corrections.
    Feedback,
    /// What every store must drop.
    Erasures,
    /// Exact bytes received.
    Raw,
    /// What was refused.
    DeadLetter,
}

/// How old records of a topic go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleanup {
    /// By age.
    Delete,
    /// The newest per key stays.
    Compact,
    /// Both: the newest per key stays until it is too old.
    CompactDelete,
}

/// How a topic is to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPlan {
    /// Which topic.
    pub topic: Topic,
    /// Chosen once: another number would move keys.
    pub partitions: i32,
    /// Copies kept by the brokers.
    pub replication: i32,
    /// How old records go.
    pub cleanup: Cleanup,
    /// How long records stay, in milliseconds.
    pub retention_ms: i64,
}

impl TopicPlan {
    /// One copy of the topic, kept as the topic says.
    pub const fn of(topic: Topic, partitions: i32) -> Self {
        Self {
            topic,
            partitions,
            replication: 1,
            cleanup: topic.cleanup(),
            retention_ms: topic.retention_ms(),
        }
    }
}

const DAY_MS: i64 = 86_400_000;

impl Topic {
    /// Every topic.
    pub const ALL: [Self; 9] = [
        Self::Mentions,
        Self::Verdicts,
        Self::Tallies,
        Self::Alerts,
        Self::Cases,
        Self::Feedback,
        Self::Erasures,
        Self::Raw,
        Self::DeadLetter,
    ];

    /// The name without a prefix.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mentions => "redress.mentions.v1",
            Self::Verdicts => "redress.verdicts.v1",
            Self::Tallies => "redress.tallies.v1",
            Self::Alerts => "redress.alerts.v1",
            Self::Cases => "redress.cases.v1",
            Self::Feedback => "redress.feedback.v1",
            Self::Erasures => "redress.erasures.v1",
            Self::Raw => "redress.raw.v1",
            Self::DeadLetter => "redress.deadletter.v1",
        }
    }

    /// How old records go.
    pub const fn cleanup(self) -> Cleanup {
        match self {
            Self::Alerts | Self::Cases => Cleanup::CompactDelete,
            Self::Feedback | Self::Erasures => Cleanup::Compact,
            _ => Cleanup::Delete,
        }
    }

    /// How long records stay, in milliseconds.
    pub const fn retention_ms(self) -> i64 {
        match self {
            Self::Mentions | Self::Verdicts => 14 * DAY_MS,
            Self::Tallies => DAY_MS,
            Self::Raw => 3 * DAY_MS,
            Self::DeadLetter => 30 * DAY_MS,
            Self::Alerts | Self::Cases | Self::Feedback | Self::Erasures => 400 * DAY_MS,
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Topic {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|t| t.name() == name).ok_or_else(|| format!("unknown topic '{name}'"))
    }
}
