use std::collections::BTreeSet;

use crate::{Author, AuthorKey, BrandId, EventId, Invalid, MentionId, Source, TenantId, Text, Timestamp};

/// What happened to a mention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MentionOp {
    /// It was published.
    Created,
    /// Its words changed.
    Edited,
    /// Its author or the platform took it away; carries no text.
    Deleted,
    /// It is out of sight for now; carries no text.
    Hidden,
    /// It is back in sight.
    Restored,
    /// Somebody liked, repeated or answered it, or its counters were read again.
    Engagement,
    /// The account is gone: everything of it must go; carries no text.
    AuthorDeleted,
    /// The account changed its handle or name.
    AuthorUpdated,
}

impl MentionOp {
    /// All operations in order.
    pub const ALL: [Self; 8] = [
        Self::Created,
        Self::Edited,
        Self::Deleted,
        Self::Hidden,
        Self::Restored,
        Self::Engagement,
        Self::AuthorDeleted,
        Self::AuthorUpdated,
    ];

    /// The name used on every wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Edited => "edited",
            Self::Deleted => "deleted",
            Self::Hidden => "hidden",
            Self::Restored => "restored",
            Self::Engagement => "engagement",
            Self::AuthorDeleted => "author_deleted",
            Self::AuthorUpdated => "author_updated",
        }
    }

    /// True for those that take words away and therefore never carry any.
    pub const fn withdraws(self) -> bool {
        matches!(self, Self::Deleted | Self::Hidden | Self::AuthorDeleted)
    }
}

/// Where a claimed time comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimeQuality {
    /// The source's own clock.
    Source,
    /// The platform's clock, trustworthy.
    Platform,
    /// The author's device, not to be trusted.
    Claimed,
    /// There was none.
    Missing,
}

/// Who may see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Visibility {
    /// Everybody.
    Public,
    /// Everybody who has the link.
    Unlisted,
    /// The people addressed.
    Private,
    /// Our own people.
    Internal,
}

/// What was odd about the input; kept so that nobody wonders later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flag {
    /// The text was cut at its limit.
    Truncated,
    /// Bytes that were no text became U+FFFD.
    DecodeReplaced,
    /// The claimed time was impossible and was moved.
    TimeClamped,
    /// Carries direction marks.
    Bidi,
    /// Carries zero-width characters.
    ZeroWidth,
    /// Begins like a spreadsheet formula.
    FormulaPrefix,
    /// The source marks it as sensitive.
    Sensitive,
    /// Sent by a machine (out of office, bounce).
    AutoSubmitted,
    /// The source left parts of the author out.
    PartialAuthor,
}

impl Flag {
    /// All flags in order.
    pub const ALL: [Self; 9] = [
        Self::Truncated,
        Self::DecodeReplaced,
        Self::TimeClamped,
        Self::Bidi,
        Self::ZeroWidth,
        Self::FormulaPrefix,
        Self::Sensitive,
        Self::AutoSubmitted,
        Self::PartialAuthor,
    ];

    /// The name used on every wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::DecodeReplaced => "decode_replaced",
            Self::TimeClamped => "time_clamped",
            Self::Bidi => "bidi",
            Self::ZeroWidth => "zero_width",
            Self::FormulaPrefix => "formula_prefix",
            Self::Sensitive => "sensitive",
            Self::AutoSubmitted => "auto_submitted",
            Self::PartialAuthor => "partial_author",
        }
    }
}

/// A rating, for example 2 of 5 stars.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rating {
    value: f32,
    max: f32,
}

impl Rating {
    /// Accepts 0 <= value <= max with a positive max.
    ///
    /// # Errors
    /// On anything else, NaN included.
    pub fn new(value: f32, max: f32) -> Result<Self, Invalid> {
        if max.is_finite() && max > 0.0 && (0.0..=max).contains(&value) {
            Ok(Self { value, max })
        } else {
            Err(Invalid::new("rating", format!("needs 0 <= value <= max, is {value} of {max}")))
        }
    }

    /// The rating given.
    pub const fn value(self) -> f32 {
        self.value
    }

    /// The best possible.
    pub const fn max(self) -> f32 {
        self.max
    }
}

/// How the counters of [`Engagement`] are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EngagementKind {
    /// The totals at that time.
    Snapshot,
    /// What came on top.
    Delta,
}

/// Reactions; absent is not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Engagement {
    /// Likes, favourites, hearts.
    pub likes: Option<i64>,
    /// Reposts, boosts, shares.
    pub reposts: Option<i64>,
    /// Answers.
    pub replies: Option<i64>,
    /// Reposts with words.
    pub quotes: Option<i64>,
    /// Views.
    pub views: Option<i64>,
    /// The source's own score; may be negative.
    pub score: Option<i64>,
    /// When counted.
    pub as_of: Timestamp,
    /// Totals or difference.
    pub kind: EngagementKind,
}

/// What a mention points at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refs {
    /// The post that started the thread.
    pub root: Option<MentionId>,
    /// The post it answers.
    pub reply_to: Option<MentionId>,
    /// The post it quotes.
    pub quote_of: Option<MentionId>,
    /// The post it repeats or reacts to.
    pub repost_of: Option<MentionId>,
    /// The source's own id of the conversation, where it has one.
    pub conversation: Option<String>,
    /// The video, topic, app or page it stands under.
    pub place: Option<String>,
}

/// Somebody addressed in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mentioned {
    /// The handle without `@`.
    pub handle: String,
    /// The source's id, where known.
    pub native_id: Option<String>,
}

/// A hashtag without `#`.
pub type Hashtag = String;

/// A link in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlEntity {
    /// As written.
    pub url: String,
    /// As expanded by the source.
    pub expanded: Option<String>,
}

/// A picture, film or sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// `image`, `video`, `audio` or what the source says.
    pub kind: String,
    /// Where it is.
    pub url: Option<String>,
    /// What it shows, in words.
    pub alt: Option<String>,
}

/// What the text contains beside words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entities {
    /// People addressed.
    pub mentions: Vec<Mentioned>,
    /// Hashtags.
    pub hashtags: Vec<Hashtag>,
    /// Links.
    pub urls: Vec<UrlEntity>,
    /// Pictures and the like.
    pub media: Vec<Media>,
}

/// Keys for recognising repeats; nothing is dropped by `simhash` alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dedup {
    /// Hash of the normalised text; 0 when nothing is left after normalisation.
    pub text_hash: u64,
    /// 64-bit similarity hash for grouping copies, where the text is long enough.
    pub simhash: Option<u64>,
}

/// Where the exact bytes lie, for as long as they are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRef {
    /// Partition of the raw topic.
    pub partition: i32,
    /// Offset in it.
    pub offset: i64,
    /// BLAKE3-128 of the bytes.
    pub digest: [u8; 16],
}

/// The words and circumstances of a mention; absent for a withdrawal.
#[derive(Debug, Clone, PartialEq)]
pub struct Mention {
    /// Who wrote it.
    pub author: Author,
    /// Plain text: entities decoded, NFC, controls removed.
    pub text: Text,
    /// Title of a review, subject of a mail.
    pub title: Option<String>,
    /// Stars.
    pub rating: Option<Rating>,
    /// Languages as claimed by the sender, BCP 47.
    pub languages_claimed: Vec<String>,
    /// When it says it was written; clamped to 2005..observed + 5 min.
    pub created_at: Option<Timestamp>,
    /// What that time is worth.
    pub created_at_quality: TimeQuality,
    /// When it was last edited, if ever.
    pub edited_at: Option<Timestamp>,
    /// What it points at.
    pub refs: Refs,
    /// Counters that came with it.
    pub engagement: Option<Engagement>,
    /// Where people can read it; http or https only.
    pub permalink: Option<String>,
    /// Handles, hashtags, links, media.
    pub entities: Entities,
    /// Who may see it.
    pub visibility: Visibility,
    /// Repeat keys.
    pub dedup: Dedup,
}

/// One thing that happened to one mention: the unit of the mentions topic.
#[derive(Debug, Clone, PartialEq)]
pub struct MentionEvent {
    /// Deterministic: hash of mention, operation and revision.
    pub event_id: EventId,
    /// Which mention.
    pub mention_id: MentionId,
    /// What happened.
    pub op: MentionOp,
    /// The source's own id of the post.
    pub native_id: String,
    /// The source's own revision (cid, edit time, content hash).
    pub native_rev: String,
    /// Where it came from.
    pub source: Source,
    /// Whose data it is.
    pub tenant: TenantId,
    /// Which of our brands it concerns; set when matching, empty before.
    pub brands: Vec<BrandId>,
    /// The brand whose own account wrote it, if one did.
    pub by_brand: Option<BrandId>,
    /// When a source witnessed it. Windows and bursts use this, never a claimed time.
    pub observed_at: Timestamp,
    /// When we took it in.
    pub ingested_at: Timestamp,
    /// What was odd.
    pub flags: BTreeSet<Flag>,
    /// The words; absent when they were withdrawn.
    pub mention: Option<Mention>,
    /// Whose account, for `author_deleted` and `author_updated` (and wherever a withdrawal names one).
    pub author: Option<AuthorKey>,
    /// Exact bytes.
    pub raw: Option<RawRef>,
}

impl MentionEvent {
    /// Checks what no field can check alone.
    ///
    /// # Errors
    /// When a withdrawal carries words, or a publication carries none.
    pub fn validated(self) -> Result<Self, Invalid> {
        if self.op.withdraws() && self.mention.is_some() {
            return Err(Invalid::new("mention", format!("a {} event carries no text", self.op.name())));
        }
        if matches!(self.op, MentionOp::Created | MentionOp::Edited) && self.mention.is_none() {
            return Err(Invalid::new("mention", format!("a {} event needs its text", self.op.name())));
        }
        Ok(self)
    }

    /// The thread this belongs to: the root, else what it answers, repeats or quotes, else itself.
    pub fn thread_root(&self) -> MentionId {
        let refs = self.mention.as_ref().map(|m| &m.refs);
        refs.and_then(|r| r.root.or(r.reply_to).or(r.repost_of).or(r.quote_of)).unwrap_or(self.mention_id)
    }

    /// The author's key, where the source names one.
    pub fn author_key(&self) -> Option<AuthorKey> {
        self.author.clone().or_else(|| {
            let author = &self.mention.as_ref()?.author;
            AuthorKey::of(self.source.kind, &self.source.instance, author)
        })
    }
}
