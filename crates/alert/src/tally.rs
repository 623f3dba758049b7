//! Folding verdicts into per-second tallies: what the first stage publishes for each batch.

use std::collections::BTreeMap;

use bus::{Outgoing, Received, Record, Topic};
use contracts::alert::v1::{Evidence, Reaction, TallyEvent};
use contracts::classify::v1::{Verdict, VerdictEvent};
use contracts::envelope::{self, CE_TYPE, DecodeError};
use contracts::ingest::v1::{Coverage, DeadLetter, MentionEvent, MentionOp, Visibility};
use detect::{DistinctSketch, Post, Tally};
use model::{BrandId, MentionId, Outcome, Subject, Timestamp};
use xxhash_rust::xxh3::xxh3_64;

/// A mention is shown as evidence when it is at least this probable to be a complaint.
const EVIDENCE_FROM: f32 = 0.5;
/// A post starts a thread worth following when it is at least this probable to be a complaint; other
/// threads are followed from their first reaction on.
const ROOT_FROM: f32 = 0.5;
/// Most reactions taken from one record of counted engagement.
const REACTIONS_MAX: u64 = 100;
/// Most reactions in one tally; more of one second go into further tallies of that second, so that no
/// record outgrows the log.
const TALLY_REACTIONS_MAX: usize = 20_000;
/// Longest handle and address shown, in characters.
const HANDLE_CHARS_MAX: usize = 200;
const PERMALINK_CHARS_MAX: usize = 2_000;
/// Largest dead-letter body, in bytes.
const DEAD_BODY_BYTES_MAX: usize = 256 * 1024;
/// How much of a text is shown, in characters.
const EXCERPT_CHARS_MAX: usize = paging::Evidence::EXCERPT_CHARS_MAX;

/// What a batch becomes.
#[derive(Debug, Default)]
pub(crate) struct Folded {
    /// Tallies and dead letters, ready for the log.
    pub(crate) outputs: Vec<Outgoing>,
    /// How each record ended, with its reason.
    pub(crate) endings: BTreeMap<(Outcome, &'static str), u64>,
}

/// Folds a batch of the verdicts topic. Pure: the same records always give the same outputs.
pub(crate) fn fold(records: &[Received], now: Timestamp) -> Folded {
    let mut sums: BTreeMap<Key, Sum> = BTreeMap::new();
    let mut folded = Folded::default();
    for record in records {
        let ending = match read(record) {
            Ok(None) => (Outcome::Suppressed, "not_a_verdict"),
            Ok(Some(event)) => match add(&mut sums, record, &event) {
                Added::Counted => (Outcome::Stored, ""),
                Added::Nothing(why) => (Outcome::Suppressed, why),
            },
            Err(error) => {
                folded.outputs.push(dead_letter(record, error.label(), &error.to_string(), now));
                (Outcome::DeadLettered, error.label())
            }
        };
        *folded.endings.entry(ending).or_default() += 1;
    }
    folded.outputs.extend(sums.into_iter().flat_map(|(key, sum)| sum.outgoing(key)));
    folded
}

/// Opens a record of the verdicts topic; `None` for what rides along there (coverage).
pub(crate) fn read(record: &Received) -> Result<Option<VerdictEvent>, DecodeError> {
    let ce_type = record.record.headers.text(CE_TYPE);
    if envelope::is::<Coverage>(ce_type) {
        return Ok(None);
    }
    let event: VerdictEvent = envelope::open(ce_type, record.record.value.as_ref())?;
    let expected = "redress.classify.v1.VerdictEvent".to_owned();
    let malformed =
        |problem: &str| DecodeError::Malformed { expected: expected.clone(), problem: problem.into() };
    let mention = event.mention.as_ref().ok_or_else(|| malformed("mention is missing"))?;
    MentionId::from_slice(&mention.mention_id).map_err(|e| malformed(&e.to_string()))?;
    MentionId::from_slice(&event.thread_root).map_err(|e| malformed(&e.to_string()))?;
    Ok(Some(event))
}

/// The topic a complaint is counted under: the likeliest, `other` when there is none.
pub(crate) fn topic_of(verdict: &Verdict) -> model::Topic {
    match verdict.topics.first() {
        Some(score) => {
            model::Topic::parse(&score.name).unwrap_or_else(|_| model::Topic::slugify(&score.name))
        }
        None => model::Topic::slugify("other"),
    }
}

/// How probable a complaint is, spam taken off.
pub(crate) fn complaint_of(verdict: &Verdict) -> f32 {
    let spam = verdict.signals.as_ref().map_or(0.0, |signals| signals.spam);
    let complaint = verdict.complaint * (1.0 - spam.clamp(0.0, 1.0));
    if complaint.is_finite() { complaint.clamp(0.0, 1.0) } else { 0.0 }
}

/// What to show of a mention. Words that were not said in public are not shown in notices.
pub(crate) fn evidence_of(mention: &MentionEvent, verdict: Option<&Verdict>) -> Evidence {
    let words = mention.mention.as_ref();
    let author = words.and_then(|words| words.author.as_ref());
    let is_private =
        words.is_some_and(|words| matches!(words.visibility(), Visibility::Private | Visibility::Internal));
    let shown = words.filter(|_| !is_private);
    Evidence {
        mention_id: mention.mention_id.clone(),
        excerpt: shown.map_or_else(String::new, |words| words.text.chars().take(EXCERPT_CHARS_MAX).collect()),
        author_handle: author
            .and_then(|a| a.handle.as_ref())
            .map_or_else(String::new, |handle| handle.chars().take(HANDLE_CHARS_MAX).collect()),
        // A shortened address would lead elsewhere.
        permalink: words
            .and_then(|words| words.permalink.clone())
            .filter(|link| link.len() <= PERMALINK_CHARS_MAX)
            .unwrap_or_default(),
        at_us: mention.observed_at_us,
        severity: verdict.and_then(|v| v.severity.as_ref()).map_or(0, |s| s.level.min(4)),
        complaint: verdict.map_or(0.0, complaint_of),
    }
}

/// Subject, source partition and second: what is summed together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    subject: String,
    partition: i32,
    at_s: i64,
}

#[derive(Debug, Default)]
struct Sum {
    tally: Tally,
    complaints: u32,
    reactions: Vec<Reaction>,
    offsets: Option<(i64, i64)>,
    top: Option<(u32, MentionId, Option<Evidence>)>,
}

enum Added {
    Counted,
    Nothing(&'static str),
}

fn add(sums: &mut BTreeMap<Key, Sum>, record: &Received, event: &VerdictEvent) -> Added {
    let Some(mention) = &event.mention else { return Added::Nothing("no_mention") };
    if mention.by_brand.as_ref().is_some_and(|brand| !brand.is_empty()) {
        return Added::Nothing("own_post");
    }
    let brands: Vec<BrandId> = mention.brands.iter().filter_map(|brand| BrandId::parse(brand).ok()).collect();
    if brands.is_empty() {
        return Added::Nothing("no_brand");
    }
    match MentionOp::try_from(mention.op) {
        Ok(MentionOp::Created) => add_post(sums, record, event, mention, &brands),
        Ok(MentionOp::Engagement) => add_engagement(sums, record, event, mention, &brands),
        _ => Added::Nothing("not_counted"),
    }
}

fn add_post(
    sums: &mut BTreeMap<Key, Sum>,
    record: &Received,
    event: &VerdictEvent,
    mention: &MentionEvent,
    brands: &[BrandId],
) -> Added {
    let (Some(verdict), Some(words)) = (&event.verdict, &mention.mention) else {
        return Added::Nothing("no_verdict");
    };
    let author = words.author.as_ref();
    let followers = author.and_then(|a| a.followers).unwrap_or(0);
    let complaint = complaint_of(verdict);
    let severity = verdict.severity.as_ref().map_or(0, |s| s.level.min(4));
    let post = Post {
        complaint,
        severity: severity as f32,
        arousal: verdict.arousal,
        followers,
        author: author_hash(mention),
        text: if words.text_hash == 0 { xxh3_64(&mention.mention_id) } else { words.text_hash },
    };
    let weight = (severity as f32 * complaint * 1_000.0) as u32;
    let is_root = event.thread_root == mention.mention_id;
    let shown = (complaint >= EVIDENCE_FROM).then(|| evidence_of(mention, Some(verdict)));
    let topic = topic_of(verdict);
    let at_s = mention.observed_at_us.div_euclid(1_000_000);
    for brand in brands {
        let subject = Subject::Topic { brand: brand.clone(), topic: topic.clone() };
        let sum = Sum::of(sums, &subject, record, at_s);
        sum.add(post, complaint);
        sum.offer(weight, &mention.mention_id, shown.as_ref());
        if is_root && complaint < ROOT_FROM {
            continue;
        }
        let Ok(root) = MentionId::from_slice(&event.thread_root) else { continue };
        let sum = Sum::of(sums, &Subject::Thread { brand: brand.clone(), root }, record, at_s);
        sum.add(post, complaint);
        sum.reactions.push(Reaction { at_us: mention.observed_at_us, followers, is_root });
        let shown = if is_root { Some(evidence_of(mention, Some(verdict))) } else { shown.clone() };
        // The original post stands for its thread.
        let weight = if is_root { u32::MAX } else { weight };
        sum.offer(weight, &mention.mention_id, shown.as_ref());
    }
    Added::Counted
}

fn add_engagement(
    sums: &mut BTreeMap<Key, Sum>,
    record: &Received,
    event: &VerdictEvent,
    mention: &MentionEvent,
    brands: &[BrandId],
) -> Added {
    let Some(words) = &mention.mention else { return Added::Nothing("not_counted") };
    let Some(counted) = words.engagement.as_ref().filter(|counted| counted.is_delta) else {
        return Added::Nothing("engagement_total");
    };
    let count = |n: Option<i64>| u64::try_from(n.unwrap_or(0)).unwrap_or(0);
    let reactions = count(counted.replies) + count(counted.reposts) + count(counted.quotes);
    if reactions == 0 {
        return Added::Nothing("likes_only");
    }
    let followers = words.author.as_ref().and_then(|a| a.followers).unwrap_or(0);
    let Ok(root) = MentionId::from_slice(&event.thread_root) else { return Added::Nothing("not_counted") };
    let at_s = mention.observed_at_us.div_euclid(1_000_000);
    for brand in brands {
        let sum = Sum::of(sums, &Subject::Thread { brand: brand.clone(), root }, record, at_s);
        sum.tally.reach = sum.tally.reach.saturating_add(followers);
        sum.tally.authors.add(author_hash(mention));
        for _ in 0..reactions.min(REACTIONS_MAX) {
            sum.reactions.push(Reaction { at_us: mention.observed_at_us, followers, is_root: false });
        }
    }
    Added::Counted
}

fn author_hash(mention: &MentionEvent) -> u64 {
    let author = mention.mention.as_ref().and_then(|words| words.author.as_ref());
    let name = mention
        .author_key
        .as_deref()
        .or_else(|| author.and_then(|a| a.native_id.as_deref().or(a.handle.as_deref())));
    match (name, &mention.source) {
        (Some(name), Some(source)) => {
            xxh3_64(format!("{}\0{}\0{name}", source.kind, source.instance).as_bytes())
        }
        (Some(name), None) => xxh3_64(name.as_bytes()),
        // Nobody is named: each counts as somebody else.
        (None, _) => xxh3_64(&mention.mention_id),
    }
}

impl Sum {
    fn of<'a>(
        sums: &'a mut BTreeMap<Key, Self>,
        subject: &Subject,
        record: &Received,
        at_s: i64,
    ) -> &'a mut Self {
        let key = Key { subject: subject.key(), partition: record.position.partition.number, at_s };
        let sum = sums.entry(key).or_default();
        let offset = record.position.offset;
        sum.tally.at_s = at_s;
        sum.offsets = Some(sum.offsets.map_or((offset, offset), |(first, last)| (first, last.max(offset))));
        sum
    }

    fn add(&mut self, post: Post, complaint: f32) {
        self.tally.add(post);
        self.complaints += u32::from(complaint >= 0.5);
    }

    fn offer(&mut self, weight: u32, mention_id: &[u8], shown: Option<&Evidence>) {
        let Ok(id) = MentionId::from_slice(mention_id) else { return };
        if self.top.as_ref().is_none_or(|(heaviest, _, _)| weight > *heaviest) {
            self.top = Some((weight, id, shown.cloned()));
        }
    }

    /// The tally, and further ones where its reactions do not fit into one record.
    fn outgoing(mut self, key: Key) -> Vec<Outgoing> {
        let mut parts = Vec::new();
        while self.reactions.len() > TALLY_REACTIONS_MAX {
            let reactions = self.reactions.split_off(self.reactions.len() - TALLY_REACTIONS_MAX);
            let mut part = Self { reactions, offsets: self.offsets, ..Self::default() };
            part.tally.at_s = key.at_s;
            parts.push(part);
        }
        parts.insert(0, self);
        parts.into_iter().enumerate().map(|(n, part)| part.record(key.clone(), n)).collect()
    }

    fn record(self, key: Key, part: usize) -> Outgoing {
        let (from_offset, to_offset) = self.offsets.unwrap_or_default();
        let (weight, top_mention, top) = match self.top {
            Some((weight, id, top)) => (weight, contracts::id(id.as_bytes()), top),
            None => (0, bytes::Bytes::new(), None),
        };
        let event = TallyEvent {
            subject: key.subject,
            at_s: key.at_s,
            posts: self.tally.posts,
            complaints_milli: self.tally.complaints_milli,
            severity_milli: self.tally.severity_milli,
            arousal_milli: self.tally.arousal_milli,
            reach: self.tally.reach,
            authors: sketch(self.tally.authors),
            texts: sketch(self.tally.texts),
            reactions: self.reactions,
            from_partition: key.partition,
            from_offset,
            to_offset,
            top_mention,
            top_weight_milli: weight,
            complaints: self.complaints,
            top,
        };
        let id = format!("{}:{from_offset}:{to_offset}:{}:{part}:{}", key.partition, key.at_s, event.subject);
        let at = Timestamp::from_seconds(key.at_s);
        let sealed = envelope::seal(&id, "redress/alert", at, &event);
        outgoing(Topic::Tallies, event.subject.into_bytes().into(), sealed, at)
    }
}

fn sketch(sketch: DistinctSketch) -> bytes::Bytes {
    match sketch.to_bits() {
        0 => bytes::Bytes::new(),
        bits => bytes::Bytes::copy_from_slice(&bits.to_le_bytes()),
    }
}

/// A tally as detection takes it.
pub(crate) fn tally_of(event: &TallyEvent) -> Tally {
    Tally {
        at_s: event.at_s,
        posts: event.posts,
        complaints_milli: event.complaints_milli,
        severity_milli: event.severity_milli,
        arousal_milli: event.arousal_milli,
        reach: event.reach,
        authors: unsketch(&event.authors),
        texts: unsketch(&event.texts),
        max_complaint_milli: 0,
    }
}

fn unsketch(bytes: &[u8]) -> DistinctSketch {
    DistinctSketch::from_bits(bytes.try_into().map_or(0, u64::from_le_bytes))
}

/// A sealed message as a record.
pub(crate) fn outgoing(topic: Topic, key: bytes::Bytes, sealed: envelope::Sealed, at: Timestamp) -> Outgoing {
    let mut headers = bus::Headers::new();
    for (name, value) in sealed.headers {
        headers.push(name, value);
    }
    Outgoing { topic, partition: None, record: Record { key, value: Some(sealed.value), headers, at } }
}

/// What is refused is kept, with the reason.
pub(crate) fn dead_letter(record: &Received, reason: &str, detail: &str, now: Timestamp) -> Outgoing {
    let body = record.record.value.clone().unwrap_or_default();
    let is_cut = body.len() > DEAD_BODY_BYTES_MAX;
    let position = record.position;
    let letter = DeadLetter {
        service: "alert".into(),
        reason: reason.to_owned(),
        detail: detail.chars().take(500).collect(),
        location: String::new(),
        source_kind: String::new(),
        connector: String::new(),
        topic: position.partition.topic.name().to_owned(),
        partition: position.partition.number,
        offset: position.offset,
        body: body.slice(..body.len().min(DEAD_BODY_BYTES_MAX)),
        is_cut,
        refused_at_us: now.as_micros(),
        attempt: 1,
        key: record.record.key.clone(),
    };
    let id = format!("alert:{}:{}:{}", letter.topic, letter.partition, letter.offset);
    let sealed = envelope::seal(&id, "redress/alert", now, &letter);
    let key = format!("{}/{}", letter.topic, letter.partition);
    outgoing(Topic::DeadLetter, key.into_bytes().into(), sealed, now)
}
