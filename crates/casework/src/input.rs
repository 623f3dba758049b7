use model::{AuthorKey, BrandId, MentionId, Probability, PromiseId, Severity, Timestamp, Topic};
use serde::{Deserialize, Serialize};

use crate::text::{as_micros, as_number, as_text};

/// A mention of a brand by somebody who is not the brand, with what understanding says of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// Which mention.
    pub mention: MentionId,
    /// The brand concerned.
    pub brand: BrandId,
    /// Who said it.
    pub author: AuthorKey,
    /// As shown, without `@`; may be empty.
    pub handle: String,
    /// When it was published, as far as that can be trusted.
    pub at: Timestamp,
    /// When we took it in, at or after `at`.
    pub seen_at: Timestamp,
    /// The words.
    pub text: String,
    /// Where people can read it; may be empty.
    pub permalink: String,
    /// Everybody may see it.
    pub is_public: bool,
    /// A machine wrote it.
    pub is_automatic: bool,
    /// An edit of something published before.
    pub is_edit: bool,
    /// The thread it belongs to.
    pub thread_root: MentionId,
    /// What it answers.
    pub reply_to: Option<MentionId>,
    /// The likeliest topic.
    pub topic: Option<Topic>,
    /// Is it a complaint?
    pub complaint: Probability,
    /// How hard it accuses.
    pub severity: Severity,
    /// Does it sound positive?
    pub positive: Probability,
    /// Advertising or noise.
    pub spam: Probability,
    /// Says thank you.
    pub thanks: Probability,
    /// Says to be back.
    pub won_back: Probability,
}

/// Something the brand's own account said on a case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// Which mention.
    #[serde(with = "as_text")]
    pub mention: MentionId,
    /// As shown; may be empty.
    pub author: String,
    /// When it was published.
    #[serde(with = "as_micros")]
    pub at: Timestamp,
    /// When we took it in, at or after `at`.
    #[serde(with = "as_micros")]
    pub seen_at: Timestamp,
    /// The words.
    pub text: String,
    /// Where people can read it; may be empty.
    pub permalink: String,
    /// Everybody may see it.
    pub is_public: bool,
    /// A machine wrote it; it stops no clock.
    pub is_automatic: bool,
    /// Asks to go on elsewhere: the customer's turn.
    #[serde(with = "as_number")]
    pub channel_move: Probability,
}

/// What somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Gives the case to somebody; empty: to nobody.
    Assign {
        /// Whom.
        assignee: String,
    },
    /// Records an answer given where we cannot see it.
    RecordReply {
        /// The words; may be empty.
        text: String,
        /// Everybody may see it.
        is_public: bool,
        /// Where people can read it; may be empty.
        permalink: String,
        /// It is the customer's turn now.
        waits_for_customer: bool,
    },
    /// Records a promise.
    Promise {
        /// In words.
        what: String,
        /// Who has to keep it.
        owner: String,
        /// Until when, exclusive.
        due_at: Timestamp,
        /// The open promise it replaces.
        replaces: Option<PromiseId>,
    },
    /// Records that a promise was kept.
    Keep {
        /// Which.
        promise: PromiseId,
        /// What shows it; may be empty.
        evidence: String,
    },
    /// Ends the matter.
    Resolve {
        /// For the record; may be empty.
        note: String,
        /// What caused it; may be empty.
        root_cause: String,
    },
    /// Takes it up again.
    Reopen {
        /// For the record; may be empty.
        note: String,
    },
}

/// Something that happens to a case, or may open one.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Somebody said something about the brand.
    Said(Said),
    /// The brand answered.
    Answered(Answered),
    /// Somebody asks for something.
    Asked {
        /// Who; never empty.
        by: String,
        /// What.
        what: Command,
    },
    /// A message was taken back, or is out of sight.
    Withdrawn {
        /// Which.
        mention: MentionId,
    },
    /// A message that was out of sight is back, with its words if they came along.
    Restored {
        /// Which.
        mention: MentionId,
        /// The words; may be empty.
        text: String,
    },
    /// The customer is to be forgotten.
    Erased,
    /// Time has passed.
    Due,
}
