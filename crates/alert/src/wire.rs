//! Episodes, silences and reasons as messages. One way only: what comes in is checked in `grpc`.

use contracts::alert::v1 as wire;
use contracts::id;
use contracts::ingest::v1::{Erasure, erasure};
use model::{MentionId, Severity, Subject, Timestamp};
use paging::{Change, Episode, Evidence, Forecast, Forgotten, Phase, Reason, Silence, Trigger, Urgency};

pub(crate) fn reason(reason: &Reason) -> wire::Reason {
    wire::Reason { code: reason.code().to_owned(), text: reason.text(), numbers: reason.numbers() }
}

pub(crate) fn forecast(forecast: &Forecast) -> wire::Forecast {
    wire::Forecast {
        seen: forecast.seen,
        expected_final: forecast.expected_final,
        low: forecast.low,
        high: forecast.high,
        p_viral: forecast.p_viral,
        viral_size: forecast.viral_size,
        doubling_s: forecast.doubling_s,
        expected_next_staffed: forecast.expected_next_staffed,
        answer_within_s: forecast.answer_within_s,
    }
}

fn evidence(evidence: &Evidence) -> wire::Evidence {
    wire::Evidence {
        mention_id: id(evidence.mention.as_bytes()),
        excerpt: evidence.excerpt.clone(),
        author_handle: evidence.author_handle.clone(),
        permalink: evidence.permalink.clone(),
        at_us: evidence.at.as_micros(),
        severity: u32::from(evidence.severity.level()),
        complaint: evidence.complaint,
        author_key: evidence.author_key.clone(),
    }
}

/// What an erasure names; `None` when it names nothing that can be read.
pub(crate) fn forgotten(erasure: &Erasure) -> Option<Forgotten> {
    match erasure.what.as_ref()? {
        erasure::What::MentionId(id) => MentionId::from_slice(id).ok().map(Forgotten::Mention),
        erasure::What::AuthorKey(key) if key.is_empty() => None,
        erasure::What::AuthorKey(key) => Some(Forgotten::Author(key.clone())),
    }
}

/// Evidence as it came with a tally; `None` when its id is none.
pub(crate) fn evidence_from(evidence: &wire::Evidence) -> Option<Evidence> {
    Some(Evidence {
        mention: MentionId::from_slice(&evidence.mention_id).ok()?,
        excerpt: Evidence::excerpt_of(&evidence.excerpt),
        author_handle: evidence.author_handle.clone(),
        permalink: evidence.permalink.clone(),
        at: Timestamp::from_micros(evidence.at_us),
        severity: Severity::from_level(evidence.severity.min(4)).unwrap_or_default(),
        complaint: if evidence.complaint.is_finite() { evidence.complaint } else { 0.0 },
        author_key: evidence.author_key.clone(),
    })
}

const fn trigger(trigger: Trigger) -> wire::Trigger {
    match trigger {
        Trigger::SevereComplaint => wire::Trigger::SevereComplaint,
        Trigger::RisingSubject => wire::Trigger::RisingSubject,
        Trigger::SpreadingThread => wire::Trigger::SpreadingThread,
        Trigger::SilentSource => wire::Trigger::SilentSource,
    }
}

const fn urgency(urgency: Urgency) -> wire::Urgency {
    match urgency {
        Urgency::Digest => wire::Urgency::Digest,
        Urgency::Ticket => wire::Urgency::Ticket,
        Urgency::Page => wire::Urgency::Page,
    }
}

const fn state(phase: &Phase) -> wire::EpisodeState {
    match phase {
        Phase::Firing => wire::EpisodeState::Firing,
        Phase::Acknowledged(_) => wire::EpisodeState::Acknowledged,
        Phase::Resolved { .. } => wire::EpisodeState::Resolved,
        Phase::NoData { .. } => wire::EpisodeState::NoData,
    }
}

const fn change(change: Change) -> wire::EpisodeChange {
    match change {
        Change::Opened => wire::EpisodeChange::Opened,
        Change::Grew => wire::EpisodeChange::Grew,
        Change::Paged => wire::EpisodeChange::Paged,
        Change::Acknowledged => wire::EpisodeChange::Acknowledged,
        Change::AckExpired => wire::EpisodeChange::AckExpired,
        Change::Silenced => wire::EpisodeChange::Silenced,
        Change::Resolved => wire::EpisodeChange::Resolved,
        Change::Merged => wire::EpisodeChange::Merged,
        Change::NoData => wire::EpisodeChange::NoData,
        Change::Delivered => wire::EpisodeChange::Delivered,
        Change::DeliveryFailed => wire::EpisodeChange::DeliveryFailed,
        Change::Erased => wire::EpisodeChange::Erased,
    }
}

/// The word by which states are kept, for one a caller names.
pub(crate) const fn state_word(state: wire::EpisodeState) -> Option<&'static str> {
    match state {
        wire::EpisodeState::Unspecified => None,
        wire::EpisodeState::Firing => Some("firing"),
        wire::EpisodeState::Acknowledged => Some("acknowledged"),
        wire::EpisodeState::Resolved => Some("resolved"),
        wire::EpisodeState::NoData => Some("no_data"),
    }
}

pub(crate) fn episode(episode: &Episode) -> wire::Episode {
    let topic = match &episode.subject {
        Subject::Topic { topic, .. } => topic.to_string(),
        Subject::Thread { .. } | Subject::Source { .. } => String::new(),
    };
    wire::Episode {
        episode_id: id(episode.id.as_bytes()),
        version: episode.version,
        rule: episode.rule.clone(),
        subject: episode.subject.key(),
        brand: episode.brand().to_string(),
        topic,
        trigger: trigger(episode.trigger).into(),
        state: state(&episode.phase).into(),
        urgency: urgency(episode.urgency).into(),
        title: episode.title.clone(),
        opened_at_us: episode.opened_at.as_micros(),
        changed_at_us: episode.changed_at.as_micros(),
        since_us: episode.since.as_micros(),
        resolved_at_us: episode.resolved_at().map(Timestamp::as_micros),
        surprise: episode.surprise,
        surprise_max: episode.surprise_max,
        posts: episode.posts,
        people: episode.people,
        severity: u32::from(episode.severity.level()),
        forecast: episode.forecast.as_ref().map(forecast),
        evidence: episode.evidence.iter().map(evidence).collect(),
        owner: episode.ack().map(|ack| ack.owner.clone()).unwrap_or_default(),
        ack_expires_at_us: episode.ack().map(|ack| ack.expires_at.as_micros()),
        silenced_by: episode.silenced_by.clone(),
        is_flapping: episode.is_flapping,
        thread_root: episode.thread_root.map(|root| id(root.as_bytes())).unwrap_or_default(),
        reason: Some(reason(&episode.reason)),
        dedup_key: episode.dedup_key(),
    }
}

pub(crate) fn event(
    of: &Episode,
    sequence: u64,
    what: Change,
    by: &str,
    why: &Reason,
    at: Timestamp,
) -> wire::EpisodeEvent {
    wire::EpisodeEvent {
        sequence,
        change: change(what).into(),
        episode: Some(episode(of)),
        at_us: at.as_micros(),
        by: by.to_owned(),
        reason: Some(reason(why)),
    }
}

pub(crate) fn silence(silence: &Silence) -> wire::Silence {
    let matcher = &silence.matcher;
    let text = |value: Option<String>| value.unwrap_or_default();
    wire::Silence {
        silence_id: silence.id.clone(),
        matcher: Some(wire::SilenceMatcher {
            brand: text(matcher.brand.as_ref().map(ToString::to_string)),
            topic: text(matcher.topic.as_ref().map(ToString::to_string)),
            rule: text(matcher.rule.clone()),
            subject: text(matcher.subject.as_ref().map(Subject::key)),
        }),
        starts_at_us: silence.starts_at.as_micros(),
        ends_at_us: silence.ends_at.as_micros(),
        created_by: silence.created_by.clone(),
        comment: silence.comment.clone(),
        expires_on_resolve: silence.expires_on_resolve,
    }
}
