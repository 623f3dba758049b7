//! What a record of the log means for cases.

use bus::{Received, Topic};
use casework::{Answered, Said};
use contracts::classify::v1::VerdictEvent;
use contracts::ingest::v1::{Coverage, Erasure, erasure};
use contracts::{Classified, envelope};
use model::{
    AuthorKey, BrandId, Flag, Mention, MentionEvent, MentionId, MentionOp, Probability, TimeQuality,
    Timestamp, Verdict, Visibility,
};

/// What a record means for cases.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Heard {
    /// A customer said something, once for each brand concerned.
    Said(Vec<Said>),
    /// A brand said something that answers `target`; `in_thread`: all that is known is the thread.
    Answered { brand: BrandId, target: MentionId, in_thread: bool, answered: Answered },
    /// Words were taken back.
    Withdrawn(MentionId),
    /// Words are back.
    Restored(MentionId, String),
    /// Somebody is to be forgotten.
    Forgotten(AuthorKey),
    /// Nothing; why.
    Nothing(&'static str),
}

/// A record that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Stable label.
    pub(crate) reason: &'static str,
    /// One sentence, without personal text.
    pub(crate) detail: String,
}

/// What the record means, and when it was taken in.
pub(crate) fn hear(record: &Received) -> Result<(Heard, Timestamp), Refused> {
    let ce_type = record.record.headers.text(envelope::CE_TYPE);
    let value = record.record.value.as_ref();
    match record.position.partition.topic {
        Topic::Erasures => {
            let Some(_) = value else { return Ok((Heard::Nothing("tombstone"), record.record.at)) };
            let erasure = envelope::open::<Erasure>(ce_type, value).map_err(unreadable)?;
            Ok((forget(erasure)?, record.record.at))
        }
        // What sources say about themselves rides along with the verdicts; it starts no clock.
        _ if envelope::is::<Coverage>(ce_type) => Ok((Heard::Nothing("coverage"), record.record.at)),
        _ => {
            let event = envelope::open::<VerdictEvent>(ce_type, value).map_err(unreadable)?;
            let classified = Classified::try_from(event).map_err(invalid)?;
            let at = classified.event.ingested_at;
            Ok((understood(classified), at))
        }
    }
}

fn unreadable(error: envelope::DecodeError) -> Refused {
    Refused { reason: error.label(), detail: error.to_string() }
}

fn invalid(error: model::Invalid) -> Refused {
    Refused { reason: "invalid_field", detail: error.to_string() }
}

fn forget(erasure: Erasure) -> Result<Heard, Refused> {
    match erasure.what {
        Some(erasure::What::MentionId(id)) => {
            MentionId::from_slice(&id).map(Heard::Withdrawn).map_err(invalid)
        }
        Some(erasure::What::AuthorKey(key)) => AuthorKey::parse(&key).map(Heard::Forgotten).map_err(invalid),
        None => Err(Refused { reason: "invalid_field", detail: "erasure: names nothing".into() }),
    }
}

fn understood(classified: Classified) -> Heard {
    let Classified { mut event, thread_root, verdict, .. } = classified;
    match event.op {
        MentionOp::Deleted | MentionOp::Hidden => return Heard::Withdrawn(event.mention_id),
        MentionOp::AuthorDeleted => {
            return event.author_key().map_or(Heard::Nothing("no_author"), Heard::Forgotten);
        }
        MentionOp::Restored => {
            let text = event.mention.take().map(|m| m.text.into_string()).unwrap_or_default();
            return Heard::Restored(event.mention_id, text);
        }
        MentionOp::Engagement => return Heard::Nothing("engagement"),
        MentionOp::AuthorUpdated => return Heard::Nothing("author_updated"),
        MentionOp::Created | MentionOp::Edited => {}
    }
    let Some(mention) = event.mention.take() else { return Heard::Nothing("no_words") };
    if mention.visibility == Visibility::Internal {
        return Heard::Nothing("internal");
    }
    // Passing on what somebody else wrote says nothing of one's own: neither complaint nor answer.
    if mention.refs.repost_of.is_some() {
        return Heard::Nothing("repost");
    }
    match event.by_brand.clone() {
        Some(brand) => answer(event, mention, thread_root, verdict, brand),
        None => words(event, mention, thread_root, verdict),
    }
}

fn answer(
    event: MentionEvent,
    mention: Mention,
    thread_root: MentionId,
    verdict: Option<Verdict>,
    brand: BrandId,
) -> Heard {
    // An answer to somebody else in the customer's thread is no answer to the customer, so the thread
    // counts only where nothing better is known.
    let exact = mention.refs.reply_to.or(mention.refs.quote_of);
    let target = exact.unwrap_or(thread_root);
    if target == event.mention_id {
        return Heard::Nothing("brand_post");
    }
    let at = published(&event, &mention);
    let is_automatic = is_automatic(&event, &mention);
    let answered = Answered {
        mention: event.mention_id,
        author: shown(&mention),
        at,
        seen_at: event.ingested_at.max(at),
        is_public: is_public(&mention),
        is_automatic,
        channel_move: verdict.map_or(Probability::ZERO, |v| v.reply.channel_move),
        permalink: mention.permalink.unwrap_or_default(),
        text: mention.text.into_string(),
    };
    Heard::Answered { brand, target, in_thread: exact.is_none(), answered }
}

fn words(event: MentionEvent, mention: Mention, thread_root: MentionId, verdict: Option<Verdict>) -> Heard {
    if event.brands.is_empty() {
        return Heard::Nothing("no_brand");
    }
    let Some(author) = author_key(&event, &mention) else { return Heard::Nothing("no_author") };
    let at = published(&event, &mention);
    let said = Said {
        mention: event.mention_id,
        brand: event.brands[0].clone(),
        author,
        handle: shown(&mention),
        at,
        seen_at: event.ingested_at.max(at),
        is_public: is_public(&mention),
        is_automatic: is_automatic(&event, &mention),
        is_edit: event.op == MentionOp::Edited,
        thread_root,
        reply_to: mention.refs.reply_to,
        topic: verdict.as_ref().and_then(|v| v.topic().cloned()),
        complaint: verdict.as_ref().map(|v| v.complaint).unwrap_or_default(),
        severity: verdict.as_ref().map(|v| v.severity.level).unwrap_or_default(),
        positive: verdict.as_ref().map(|v| v.sentiment.positive).unwrap_or_default(),
        spam: verdict.as_ref().map(|v| v.signals.spam).unwrap_or_default(),
        thanks: verdict.as_ref().map(|v| v.signals.thanks).unwrap_or_default(),
        won_back: verdict.as_ref().map(|v| v.signals.won_back).unwrap_or_default(),
        permalink: mention.permalink.unwrap_or_default(),
        text: mention.text.into_string(),
    };
    let rest = event.brands[1..].iter().map(|brand| Said { brand: brand.clone(), ..said.clone() });
    let rest: Vec<Said> = rest.collect();
    Heard::Said([vec![said], rest].concat())
}

/// When it was published, if somebody trustworthy says so and it is not after we saw it.
fn published(event: &MentionEvent, mention: &Mention) -> Timestamp {
    let trusted = matches!(mention.created_at_quality, TimeQuality::Source | TimeQuality::Platform);
    // Editing says nothing about when the customer began to wait.
    mention.created_at.filter(|at| trusted && *at <= event.observed_at).unwrap_or(event.observed_at)
}

/// The author; of a nameless post the post itself, so that its complaint is not lost.
fn author_key(event: &MentionEvent, mention: &Mention) -> Option<AuthorKey> {
    let named = || AuthorKey::of(event.source.kind, &event.source.instance, &mention.author);
    let readable = |key: &AuthorKey| AuthorKey::parse(key.as_str()).is_ok();
    let nameless = || AuthorKey::parse(&format!("{}:post:{}", event.source.kind, event.mention_id)).ok();
    event.author.clone().or_else(named).filter(readable).or_else(nameless)
}

fn shown(mention: &Mention) -> String {
    let author = &mention.author;
    author.handle.clone().or_else(|| author.display_name.clone()).unwrap_or_default()
}

const fn is_public(mention: &Mention) -> bool {
    matches!(mention.visibility, Visibility::Public | Visibility::Unlisted)
}

fn is_automatic(event: &MentionEvent, mention: &Mention) -> bool {
    mention.author.is_bot == Some(true) || event.flags.contains(&Flag::AutoSubmitted)
}
