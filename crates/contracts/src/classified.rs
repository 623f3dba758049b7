use model::{Entities, Invalid, MentionEvent, MentionId, Text, Timestamp, Verdict};

use crate::classify::v1 as wire;
use crate::{id, ingest};

/// How much of a text travels on with its verdict, in characters.
pub const CLASSIFIED_TEXT_CHARS_MAX: usize = 2_000;

/// A mention event with what understanding says about it: the unit of the verdicts topic.
#[derive(Debug, Clone, PartialEq)]
pub struct Classified {
    /// What happened, reduced to what later steps need.
    pub event: MentionEvent,
    /// The thread it belongs to.
    pub thread_root: MentionId,
    /// Absent when there were no words to understand.
    pub verdict: Option<Verdict>,
    /// When it was classified.
    pub classified_at: Timestamp,
}

impl Classified {
    /// Takes from `event` what later steps need: no entities, no raw reference, at most
    /// [`CLASSIFIED_TEXT_CHARS_MAX`] characters of its text.
    pub fn new(mut event: MentionEvent, verdict: Option<Verdict>, classified_at: Timestamp) -> Self {
        let thread_root = event.thread_root();
        event.raw = None;
        if let Some(mention) = &mut event.mention {
            mention.entities = Entities::default();
            let text = mention.text.as_str();
            if let Some((end, _)) = text.char_indices().nth(CLASSIFIED_TEXT_CHARS_MAX) {
                mention.text = Text::truncated(text[..end].to_owned()).0;
            }
        }
        Self { event, thread_root, verdict, classified_at }
    }
}

impl From<&Classified> for wire::VerdictEvent {
    fn from(classified: &Classified) -> Self {
        classified.clone().into()
    }
}

impl From<Classified> for wire::VerdictEvent {
    fn from(classified: Classified) -> Self {
        Self {
            event_id: id(classified.event.event_id.as_bytes()),
            mention: Some(ingest::v1::MentionEvent::from(classified.event)),
            thread_root: id(classified.thread_root.as_bytes()),
            verdict: classified.verdict.map(wire::Verdict::from),
            classified_at_us: classified.classified_at.as_micros(),
        }
    }
}

impl TryFrom<wire::VerdictEvent> for Classified {
    type Error = Invalid;

    /// Refuses what [`MentionEvent`] and [`Verdict`] refuse, and a verdict that answers another event than
    /// the one it carries.
    fn try_from(event: wire::VerdictEvent) -> Result<Self, Invalid> {
        let mention = event.mention.ok_or_else(|| crate::mention::missing("mention"))?;
        if event.event_id != mention.event_id {
            return Err(Invalid::new("event id", "differs from that of the mention event inside"));
        }
        Ok(Self {
            event: mention.try_into()?,
            thread_root: MentionId::from_slice(&event.thread_root)
                .map_err(|e| Invalid::new("thread_root", e.problem))?,
            verdict: event.verdict.map(Verdict::try_from).transpose()?,
            classified_at: Timestamp::from_micros(event.classified_at_us),
        })
    }
}
