//! The nouns every Redress crate shares: ids, times, sources, authors, mentions, verdicts.
//!
//! A value of these types is valid once built: whatever could be wrong is refused by the
//! constructor with an error that names the field. This crate knows no wire format (that is
//! `contracts`), no source (`sources`), and takes no decision.

mod author;
mod bounded;
mod brand;
mod id;
mod mention;
mod outcome;
mod source;
mod subject;
mod time;
mod verdict;

pub use author::{Author, AuthorKey};
pub use bounded::{Probability, Severity, TEXT_BYTES_MAX, Text};
pub use brand::{BrandId, SLUG_BYTES_MAX, TenantId, Topic};
pub use id::{CaseId, EpisodeId, EventId, MentionId, PromiseId};
pub use mention::{
    Dedup, Engagement, EngagementKind, Entities, Flag, Hashtag, Media, Mention, MentionEvent, MentionOp,
    Mentioned, Rating, RawRef, Refs, TimeQuality, UrlEntity, Visibility,
};
pub use outcome::Outcome;
pub use source::{Source, SourceFamily, SourceKind, Transport};
pub use subject::Subject;
pub use time::{Millis, Timestamp};
pub use verdict::{Language, ReplyActs, Sentiment, SeverityEstimate, Signals, TopicScore, Verdict, Why};

/// A value that a constructor refused: which field, and what was wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// The name of the field or type, as people write it.
    pub field: &'static str,
    /// What is wrong, in words, without the offending text itself when it may be personal.
    pub problem: String,
}

impl Invalid {
    /// Names the `field` and the `problem`.
    pub fn new(field: &'static str, problem: impl Into<String>) -> Self {
        Self { field, problem: problem.into() }
    }
}
