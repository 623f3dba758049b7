use model::{BrandId, EpisodeId, Subject, Timestamp, Topic};
use serde::{Deserialize, Serialize};

use crate::adapt;
use crate::{Episode, Policy};

/// What may be held back: an episode, or what is about to open one.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The rule's name.
    pub rule: &'a str,
    /// What it is about.
    pub subject: &'a Subject,
    /// The topic, where known.
    pub topic: Option<&'a Topic>,
}

impl<'a> Target<'a> {
    /// The facts of an episode that matchers look at.
    pub fn of(episode: &'a Episode) -> Self {
        Self { rule: &episode.rule, subject: &episode.subject, topic: episode.topic.as_ref() }
    }
}

/// Which episodes: all that are set must agree.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Matcher {
    /// A brand.
    #[serde(with = "adapt::text_option")]
    pub brand: Option<BrandId>,
    /// A topic.
    #[serde(with = "adapt::text_option")]
    pub topic: Option<Topic>,
    /// A rule's name.
    pub rule: Option<String>,
    /// A subject.
    #[serde(with = "adapt::text_option")]
    pub subject: Option<Subject>,
}

/// Why a silence was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SilenceError {
    /// It would silence everything.
    #[error("a silence needs at least one of brand, topic, rule, subject")]
    MatchesEverything,
    /// It has no length or ends too far away.
    #[error("a silence lasts from 1 second to 30 days")]
    Length,
}

impl Matcher {
    /// Refuses a matcher that would silence everything.
    ///
    /// # Errors
    /// When nothing is set.
    pub fn validated(self) -> Result<Self, SilenceError> {
        if self == Self::default() { Err(SilenceError::MatchesEverything) } else { Ok(self) }
    }

    /// All that is set agrees.
    pub fn matches(&self, target: &Target<'_>) -> bool {
        self.brand.as_ref().is_none_or(|brand| brand == target.subject.brand())
            && self.topic.as_ref().is_none_or(|topic| Some(topic) == target.topic)
            && self.rule.as_ref().is_none_or(|rule| rule == target.rule)
            && self.subject.as_ref().is_none_or(|subject| subject == target.subject)
    }
}

/// Holds back new pages of what it matches, never the end of a page already sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Its id.
    pub id: String,
    /// Which episodes.
    pub matcher: Matcher,
    /// From when.
    #[serde(with = "adapt::text")]
    pub starts_at: Timestamp,
    /// Until when, exclusively.
    #[serde(with = "adapt::text")]
    pub ends_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// Why.
    pub comment: String,
    /// Ends when an episode it held back resolves.
    pub expires_on_resolve: bool,
}

impl Silence {
    /// The longest silence, in seconds.
    pub const LENGTH_MAX_S: u32 = 30 * 86_400;

    /// It holds at `now`.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.starts_at <= now && now < self.ends_at
    }
}

/// What holds an episode's pages back right now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mutes {
    /// Silences.
    pub silenced_by: Vec<String>,
    /// Larger episodes.
    pub inhibited_by: Vec<EpisodeId>,
    /// When the last of the silences ends; absent when none holds.
    pub silent_until: Option<Timestamp>,
}

/// What holds `target` back at `now`, of the silences and open episodes there are.
pub fn mutes_for<'a>(
    target: &Target<'_>,
    silences: impl IntoIterator<Item = &'a Silence>,
    open: impl IntoIterator<Item = &'a Episode>,
    now: Timestamp,
    policy: &Policy,
) -> Mutes {
    let holding: Vec<&Silence> =
        silences.into_iter().filter(|s| s.holds(now) && s.matcher.matches(target)).collect();
    let mut silenced_by: Vec<String> = holding.iter().map(|s| s.id.clone()).collect();
    silenced_by.sort();
    Mutes {
        silenced_by,
        silent_until: holding.iter().map(|s| s.ends_at).max(),
        inhibited_by: inhibitors_of(target, open, policy),
    }
}

/// The open episodes that already say what `target` would: same brand, same known topic, a rule that
/// inhibits its rule. People must know of them: a source that is held back hides nothing else.
pub fn inhibitors_of<'a>(
    target: &Target<'_>,
    open: impl IntoIterator<Item = &'a Episode>,
    policy: &Policy,
) -> Vec<EpisodeId> {
    let says_enough = |other: &&Episode| {
        let is_itself = other.rule == target.rule && other.subject == *target.subject;
        !is_itself
            && other.is_open()
            && other.told.is_some()
            && other.brand() == target.subject.brand()
            && other.topic.is_some()
            && other.topic.as_ref() == target.topic
            && policy.inhibitions.iter().any(|i| i.source == other.rule && i.target == target.rule)
    };
    let mut found: Vec<EpisodeId> = open.into_iter().filter(says_enough).map(|other| other.id).collect();
    found.sort();
    found
}
