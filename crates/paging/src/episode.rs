use std::collections::{BTreeMap, BTreeSet};

use model::{BrandId, EpisodeId, MentionId, Severity, Subject, Timestamp, Topic};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Reason;
use crate::adapt;

/// Most mentions kept as evidence; the weightiest stay.
pub(crate) const EVIDENCE_MAX: usize = 8;
/// Longest title kept, in characters.
const TITLE_CHARS_MAX: usize = 300;

/// What decided that people should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// One severe complaint.
    SevereComplaint,
    /// A subject is rising.
    RisingSubject,
    /// A thread is forecast to spread.
    SpreadingThread,
    /// A source fell silent: nobody can say whether it is calm.
    SilentSource,
}

impl Trigger {
    /// The label used for routing and on wires.
    pub const fn label(self) -> &'static str {
        match self {
            Self::SevereComplaint => "severe_complaint",
            Self::RisingSubject => "rising_subject",
            Self::SpreadingThread => "spreading_thread",
            Self::SilentSource => "silent_source",
        }
    }
}

/// How loudly people are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Urgency {
    /// In lists and digests only; nobody is called.
    Digest,
    /// In working hours.
    Ticket,
    /// Now.
    Page,
}

impl Urgency {
    /// The label used for routing and on wires.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Digest => "digest",
            Self::Ticket => "ticket",
            Self::Page => "page",
        }
    }
}

/// Who has taken an episode, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The person.
    pub owner: String,
    /// Since when.
    #[serde(with = "adapt::text")]
    pub at: Timestamp,
    /// The episode's version that this acknowledgement made.
    pub version: u64,
    /// When it counts as untaken again.
    #[serde(with = "adapt::text")]
    pub expires_at: Timestamp,
}

/// Where an episode stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Phase {
    /// Nobody has taken it.
    Firing,
    /// Somebody has.
    Acknowledged(Ack),
    /// Its source went silent: nobody can say.
    NoData {
        /// Since when.
        #[serde(with = "adapt::text")]
        since: Timestamp,
        /// Who had taken it before; theirs again when data is back.
        ack: Option<Ack>,
    },
    /// It is over.
    Resolved {
        /// Since when.
        #[serde(with = "adapt::text")]
        at: Timestamp,
        /// Who ended it; empty for the system.
        by: String,
    },
}

/// How far a thread will go; mirrors the forecast of detection in plain numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// Reactions so far, without the original.
    pub seen: u64,
    /// Expected in the end.
    pub expected_final: f64,
    /// Lower end of the central 90 %.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
    /// Probability (0..1) to pass `viral_size`.
    pub p_viral: f64,
    /// The size that counts as spread.
    pub viral_size: u64,
    /// Seconds until it doubles, if it will.
    pub doubling_s: Option<f64>,
    /// Expected reactions at the next staffed hour.
    pub expected_next_staffed: f64,
    /// Seconds left to answer before it is expected to pass `viral_size`; 0 when it has, absent when it will not.
    pub answer_within_s: Option<f64>,
}

/// One mention shown as evidence. Its text is customer text: data, never markup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Which.
    #[serde(with = "adapt::text")]
    pub mention: MentionId,
    /// At most [`Evidence::EXCERPT_CHARS_MAX`] characters.
    pub excerpt: String,
    /// Who wrote it; may be empty.
    pub author_handle: String,
    /// Where to read it; may be empty.
    pub permalink: String,
    /// When it was witnessed.
    #[serde(with = "adapt::text")]
    pub at: Timestamp,
    /// How hard it accuses.
    #[serde(with = "adapt::level")]
    pub severity: Severity,
    /// Probability (0..1) that it is a complaint.
    pub complaint: f32,
    /// Its author's key, by which it is found when they are to be forgotten; empty when nobody is named.
    #[serde(default)]
    pub author_key: String,
}

/// What is to be forgotten.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Forgotten {
    /// A mention that was taken back.
    Mention(MentionId),
    /// Everything of an author, by their key.
    Author(String),
}

impl Forgotten {
    /// This piece is to go.
    pub fn concerns(&self, piece: &Evidence) -> bool {
        match self {
            Self::Mention(id) => piece.mention == *id,
            Self::Author(key) => !key.is_empty() && piece.author_key == *key,
        }
    }
}

impl Evidence {
    /// Longest excerpt kept of a mention, in characters.
    pub const EXCERPT_CHARS_MAX: usize = 280;

    /// Cuts text to what is kept, on a character.
    pub fn excerpt_of(text: &str) -> String {
        match text.char_indices().nth(Self::EXCERPT_CHARS_MAX) {
            Some((end, _)) => text[..end].to_owned(),
            None => text.to_owned(),
        }
    }

    fn weight(&self) -> f32 {
        f32::from(self.severity.level()) * self.complaint
    }
}

/// How the counts of a signal relate to what an episode has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    /// The whole so far.
    Total {
        /// Posts.
        posts: u64,
        /// Distinct people.
        people: u64,
    },
    /// On top of what was counted.
    More {
        /// Posts.
        posts: u64,
        /// Distinct people.
        people: u64,
    },
}

/// What is known about a rise at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// One line.
    pub title: String,
    /// -log10 of the calibrated tail probability; 0 where there is none.
    pub surprise: f64,
    /// How much was counted.
    pub counts: Counts,
    /// The worst severity heard.
    pub severity: Severity,
    /// For threads.
    pub forecast: Option<Forecast>,
    /// New evidence; merged with what is kept.
    pub evidence: Vec<Evidence>,
    /// The thread to answer, where there is one.
    pub thread_root: Option<MentionId>,
    /// When the rise began, by event time.
    pub since: Timestamp,
}

/// What people were told about an episode last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// When a page went out last.
    #[serde(with = "adapt::text")]
    pub paged_at: Timestamp,
    /// Since when nobody has answered; escalation counts from here.
    #[serde(with = "adapt::text")]
    pub unanswered_since: Timestamp,
    /// The severity they know of.
    #[serde(with = "adapt::level")]
    pub severity: Severity,
    /// The size they know of (posts, or expected reactions of a thread).
    pub size: u64,
    /// The destinations that know.
    pub to: BTreeSet<String>,
    /// Escalation steps taken since `unanswered_since`.
    pub steps: u32,
}

/// What happened to an episode; the wire has one value for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It opened.
    Opened,
    /// It became bigger or worse.
    Grew,
    /// People were called.
    Paged,
    /// Somebody took it.
    Acknowledged,
    /// The acknowledgement ended unanswered.
    AckExpired,
    /// A silence or an inhibition began to hold its pages back.
    Silenced,
    /// It is over.
    Resolved,
    /// It became part of another.
    Merged,
    /// Its source went silent.
    NoData,
    /// A notice arrived.
    Delivered,
    /// A notice could not be delivered.
    DeliveryFailed,
    /// Evidence was taken out.
    Erased,
}

/// A span from opened to resolved of one rule on one subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Episode {
    /// Its id: derived from rule, subject and opening time.
    #[serde(with = "adapt::text")]
    pub id: EpisodeId,
    /// Counts up with each change people decide on; deliveries do not count.
    pub version: u64,
    /// The number of the last published change; counts from 1 without a gap.
    pub sequence: u64,
    /// The rule's name, never derived from its settings.
    pub rule: String,
    /// What is rising.
    #[serde(with = "adapt::text")]
    pub subject: Subject,
    /// What it is about, also where the subject is a thread.
    #[serde(with = "adapt::text_option")]
    pub topic: Option<Topic>,
    /// What decided.
    pub trigger: Trigger,
    /// Where it stands.
    pub phase: Phase,
    /// How loudly people are told.
    pub urgency: Urgency,
    /// One line.
    pub title: String,
    /// When it opened.
    #[serde(with = "adapt::text")]
    pub opened_at: Timestamp,
    /// When it last changed.
    #[serde(with = "adapt::text")]
    pub changed_at: Timestamp,
    /// When the rise began, by event time.
    #[serde(with = "adapt::text")]
    pub since: Timestamp,
    /// When it was last heard of, by event time.
    #[serde(with = "adapt::text")]
    pub heard_at: Timestamp,
    /// Latest surprise.
    pub surprise: f64,
    /// Highest surprise.
    pub surprise_max: f64,
    /// Posts.
    pub posts: u64,
    /// People.
    pub people: u64,
    /// The worst severity heard.
    #[serde(with = "adapt::level")]
    pub severity: Severity,
    /// For threads.
    pub forecast: Option<Forecast>,
    /// The weightiest mentions, weightiest first.
    pub evidence: Vec<Evidence>,
    /// The thread to answer.
    #[serde(with = "adapt::text_option")]
    pub thread_root: Option<MentionId>,
    /// What people were told; absent before the first page.
    pub told: Option<Told>,
    /// What they were told of the spans it joins and whose counts it goes on from; absent when it stands alone.
    #[serde(default)]
    pub joins: Option<Told>,
    /// Silences that hold back its pages.
    pub silenced_by: Vec<String>,
    /// Episodes whose pages already say it.
    #[serde(with = "adapt::texts")]
    pub inhibited_by: Vec<EpisodeId>,
    /// How often it came back within the flapping window before this span.
    pub reopenings: u32,
    /// When the span before this one ended, if there was one.
    #[serde(default, with = "adapt::text_option")]
    pub last_ended_at: Option<Timestamp>,
    /// It keeps coming back; said once.
    pub is_flapping: bool,
    /// People know that it is flapping.
    pub flapping_told: bool,
    /// Why the last notice was held back, so that it is said once.
    pub held_back: Option<String>,
    /// The last decision's reason.
    pub reason: Reason,
    /// Last results by destination: true for arrived. For people who look.
    #[serde(default)]
    pub delivered: BTreeMap<String, bool>,
}

impl Episode {
    /// Whose.
    pub fn brand(&self) -> &BrandId {
        self.subject.brand()
    }

    /// What receivers recognise repeats by: one per (rule, subject), the same for every span.
    pub fn dedup_key(&self) -> String {
        dedup_key(&self.rule, &self.subject.key())
    }

    /// True until it is resolved.
    pub fn is_open(&self) -> bool {
        !matches!(self.phase, Phase::Resolved { .. })
    }

    /// Who has taken it, if anybody.
    pub fn ack(&self) -> Option<&Ack> {
        match &self.phase {
            Phase::Acknowledged(ack) => Some(ack),
            Phase::NoData { ack, .. } => ack.as_ref(),
            _ => None,
        }
    }

    /// When it ended, if it has.
    pub fn resolved_at(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Resolved { at, .. } => Some(at),
            _ => None,
        }
    }

    /// What growth is measured by: the expected reactions of a thread, else the posts.
    pub fn size(&self) -> u64 {
        match &self.forecast {
            Some(forecast) => forecast.expected_final.clamp(0.0, 1e15) as u64,
            None => self.posts,
        }
    }

    /// Something holds its pages back.
    pub fn is_muted(&self) -> bool {
        !self.silenced_by.is_empty() || !self.inhibited_by.is_empty()
    }

    /// Takes new facts in: latest numbers, worst severity, weightiest evidence.
    pub(crate) fn learn(&mut self, facts: &Facts, heard_at: Timestamp) {
        match facts.counts {
            Counts::Total { posts, people } => (self.posts, self.people) = (posts, people),
            Counts::More { posts, people } => {
                self.posts = self.posts.saturating_add(posts);
                self.people = self.people.saturating_add(people);
            }
        }
        self.surprise = if facts.surprise.is_finite() { facts.surprise } else { self.surprise };
        self.surprise_max = self.surprise_max.max(self.surprise);
        self.severity = self.severity.max(facts.severity);
        self.heard_at = self.heard_at.max(heard_at);
        self.since = self.since.min(facts.since);
        self.thread_root = self.thread_root.or(facts.thread_root);
        if facts.forecast.is_some() {
            self.forecast = facts.forecast;
        }
        if !facts.title.is_empty() {
            self.title = facts.title.chars().take(TITLE_CHARS_MAX).collect();
        }
        self.keep_evidence(&facts.evidence);
    }

    fn keep_evidence(&mut self, new: &[Evidence]) {
        for piece in new {
            self.evidence.retain(|kept| kept.mention != piece.mention);
            let mut piece = piece.clone();
            piece.excerpt = Evidence::excerpt_of(&piece.excerpt);
            self.evidence.push(piece);
        }
        self.evidence.sort_by(|a, b| {
            b.weight().total_cmp(&a.weight()).then(b.at.cmp(&a.at)).then(a.mention.cmp(&b.mention))
        });
        self.evidence.truncate(EVIDENCE_MAX);
    }
}

/// The key by which receivers recognise repeats: hex SHA-256 of `"v1\0" + rule + "\0" + subject`.
pub fn dedup_key(rule: &str, subject: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(b"v1\0");
    hash.update(rule.as_bytes());
    hash.update(b"\0");
    hash.update(subject.as_bytes());
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
