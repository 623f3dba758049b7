use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use compact_str::CompactString;

use crate::{Invalid, Probability, Severity, Topic};

/// A BCP 47 language tag, for example `de`, `hi-Latn`, or `und` when unknown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Language(CompactString);

impl Language {
    /// Accepts 1 to 35 characters of letters, digits and '-'.
    ///
    /// # Errors
    /// On any other text.
    pub fn parse(tag: &str) -> Result<Self, Invalid> {
        let fine = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if tag.is_empty() || tag.len() > 35 || !tag.bytes().all(fine) {
            return Err(Invalid::new("language", "needs a BCP 47 tag such as 'de' or 'hi-Latn'"));
        }
        Ok(Self(tag.into()))
    }

    /// Nobody can tell.
    pub fn unknown() -> Self {
        Self(CompactString::const_new("und"))
    }

    /// The tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Language {
    type Err = Invalid;
    fn from_str(tag: &str) -> Result<Self, Invalid> {
        Self::parse(tag)
    }
}

/// Probabilities of the three sentiments; they add up to 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sentiment {
    /// Negative.
    pub negative: Probability,
    /// Neutral.
    pub neutral: Probability,
    /// Positive.
    pub positive: Probability,
}

/// The likeliest severity and the probability of each level, 0 (none) to 4 (blame).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SeverityEstimate {
    /// The level reported.
    pub level: Severity,
    /// One probability per level; they add up to 1.
    pub probabilities: [Probability; 5],
}

/// One topic and how likely the text is about it.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicScore {
    /// The topic.
    pub topic: Topic,
    /// How likely.
    pub probability: Probability,
}

/// What a customer signals beside the complaint itself.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Signals {
    /// Advertising or machine noise.
    pub spam: Probability,
    /// Says thank you.
    pub thanks: Probability,
    /// Says that the matter is settled and the customer is back.
    pub won_back: Probability,
    /// Will go to somebody else.
    pub threat_leave: Probability,
    /// Will go to court or to an authority.
    pub threat_sue: Probability,
    /// Will tell the world.
    pub threat_publish: Probability,
    /// Says that nobody answers: the strongest early sign there is.
    pub unanswered: Probability,
}

/// What a brand's reply does.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ReplyActs {
    /// Says sorry.
    pub apology: Probability,
    /// Explains.
    pub explanation: Probability,
    /// Offers something.
    pub offer: Probability,
    /// Asks to go on elsewhere.
    pub channel_move: Probability,
}

/// A stretch of the original text that weighed in, and how much (positive: towards a complaint).
#[derive(Debug, Clone, PartialEq)]
pub struct Why {
    /// The words as written.
    pub text: String,
    /// Contribution to the complaint score, in log-odds.
    pub weight: f32,
}

/// What understanding says about one mention.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The language found (not the one claimed).
    pub language: Language,
    /// How it sounds.
    pub sentiment: Sentiment,
    /// Is it a complaint?
    pub complaint: Probability,
    /// How hard it accuses.
    pub severity: SeverityEstimate,
    /// How agitated it is: anger, urgency, sarcasm drive spreading, not polarity.
    pub arousal: Probability,
    /// In descending order; at least the likeliest.
    pub topics: Vec<TopicScore>,
    /// Thanks, threats, nobody answers.
    pub signals: Signals,
    /// Meaningful for the brand's own posts.
    pub reply: ReplyActs,
    /// The model vouches for this verdict; false asks for a person or the second stage.
    pub sure: bool,
    /// Few, the weightiest first. Empty when nobody asked.
    pub why: Vec<Why>,
    /// Which model said so.
    pub model_version: Arc<str>,
}

impl Verdict {
    /// The likeliest topic, if there is any.
    pub fn topic(&self) -> Option<&Topic> {
        self.topics.first().map(|t| &t.topic)
    }
}
