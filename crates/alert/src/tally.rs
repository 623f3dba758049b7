//! Folding verdicts into per-second tallies: what the first stage publishes for each batch. What concerns
//! every subject (how complete a source is, what is to be forgotten) goes on to all partitions of tallies.

use std::collections::BTreeMap;

use bus::{Outgoing, Partition, Received, Record, Topic};
use contracts::alert::v1::{Evidence, Reaction, TallyEvent};
use contracts::classify::v1::{Verdict, VerdictEvent};
use contracts::envelope::{self, CE_TYPE, DecodeError};
use contracts::ingest::v1::{
    Coverage, CoverageState, DeadLetter, Erasure, MentionEvent, MentionOp, Transport, Visibility, erasure,
};
use detect::{DistinctSketch, Post, Tally};
use model::{AuthorKey, BrandId, MentionId, Outcome, Subject, Timestamp};
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
/// The topic of what is about none that understanding knows.
pub(crate) const OTHER: &str = "other";
/// How much of a text is shown, in characters.
const EXCERPT_CHARS_MAX: usize = paging::Evidence::EXCERPT_CHARS_MAX;

/// What a batch becomes.
#[derive(Debug, Default)]
pub(crate) struct Folded {
    /// Tallies, what goes to all of them, and dead letters, ready for the log.
    pub(crate) outputs: Vec<Outgoing>,
    /// How each record ended, with its reason.
    pub(crate) endings: BTreeMap<(Outcome, &'static str), u64>,
}

/// Folds a batch of the verdicts topic; `partitions`: how many the topic of tallies has. Pure: the same
/// records always give the same outputs.
pub(crate) fn fold(records: &[Received], partitions: i32, now: Timestamp) -> Folded {
    let mut sums: BTreeMap<Key, Sum> = BTreeMap::new();
    let mut folded = Folded::default();
    let mut afterwards = Vec::new();
    for record in records {
        let ending = match read(record) {
            Ok(Told::Nothing) => (Outcome::Suppressed, "tombstone"),
            Ok(Told::Coverage(said)) => {
                // Whoever is to take a backlog for one must know before it comes.
                let is_first = said.state() == CoverageState::CatchingUp;
                let to = if is_first { &mut folded.outputs } else { &mut afterwards };
                to.extend(for_all(record.record.clone(), partitions));
                (Outcome::Stored, "coverage")
            }
            Ok(Told::Erasure(erasure)) => {
                afterwards.extend(forget_everywhere(record, &erasure, partitions));
                (Outcome::Stored, "erasure")
            }
            Ok(Told::Verdict(event)) => match (erased_by(&event), add(&mut sums, record, &event)) {
                (Some(erasure), _) => {
                    afterwards.extend(forget_everywhere(record, &erasure, partitions));
                    (Outcome::Stored, "erasure")
                }
                (None, Added::Counted) => (Outcome::Stored, ""),
                (None, Added::Nothing(why)) => (Outcome::Suppressed, why),
            },
            Err(error) => {
                folded.outputs.push(dead_letter(record, error.label(), &error.to_string(), now));
                (Outcome::DeadLettered, error.label())
            }
        };
        *folded.endings.entry(ending).or_default() += 1;
    }
    folded.outputs.extend(sums.into_iter().flat_map(|(key, sum)| sum.outgoing(key)));
    folded.outputs.append(&mut afterwards);
    folded
}

/// What a record says that alert listens to.
#[derive(Debug)]
pub(crate) enum Told {
    /// Somebody said something, and it was understood.
    Verdict(Box<VerdictEvent>),
    /// How complete a source is.
    Coverage(Coverage),
    /// Something is to be forgotten.
    Erasure(Erasure),
    /// Nothing: the end of an erasure.
    Nothing,
}

/// Opens a record of the topics of verdicts and erasures.
pub(crate) fn read(record: &Received) -> Result<Told, DecodeError> {
    let ce_type = record.record.headers.text(CE_TYPE);
    let value = record.record.value.as_ref();
    if record.position.partition.topic == Topic::Erasures {
        return match value {
            Some(_) => envelope::open(ce_type, value).map(Told::Erasure),
            None => Ok(Told::Nothing),
        };
    }
    if envelope::is::<Coverage>(ce_type) {
        return envelope::open(ce_type, value).map(Told::Coverage);
    }
    let event: VerdictEvent = envelope::open(ce_type, value)?;
    let expected = "redress.classify.v1.VerdictEvent".to_owned();
    let malformed =
        |problem: &str| DecodeError::Malformed { expected: expected.clone(), problem: problem.into() };
    let mention = event.mention.as_ref().ok_or_else(|| malformed("mention is missing"))?;
    MentionId::from_slice(&mention.mention_id).map_err(|e| malformed(&e.to_string()))?;
    MentionId::from_slice(&event.thread_root).map_err(|e| malformed(&e.to_string()))?;
    Ok(Told::Verdict(Box::new(event)))
}

/// What a withdrawal takes back, in the words of an erasure.
pub(crate) fn erased_by(event: &VerdictEvent) -> Option<Erasure> {
    let mention = event.mention.as_ref()?;
    let what = match MentionOp::try_from(mention.op).ok()? {
        MentionOp::Deleted | MentionOp::Hidden => erasure::What::MentionId(mention.mention_id.clone()),
        MentionOp::AuthorDeleted => erasure::What::AuthorKey(author_key(mention)?),
        _ => return None,
    };
    Some(Erasure { what: Some(what), ..Erasure::default() })
}

/// A record for the owner of every subject.
fn for_all(record: Record, partitions: i32) -> impl Iterator<Item = Outgoing> {
    let to =
        move |number| Outgoing { topic: Topic::Tallies, partition: Some(number), record: record.clone() };
    (0..partitions).map(to)
}

fn forget_everywhere(
    record: &Received,
    erasure: &Erasure,
    partitions: i32,
) -> impl Iterator<Item = Outgoing> {
    let Partition { topic, number } = record.position.partition;
    let id = format!("{}:{number}:{}", topic.name(), record.position.offset);
    let sealed = envelope::seal(&id, "redress/alert", record.record.at, erasure);
    let out = outgoing(Topic::Tallies, record.record.key.clone(), sealed, record.record.at);
    for_all(out.record, partitions)
}

/// The topic a complaint is counted under: the likeliest, `other` when there is none.
pub(crate) fn topic_of(verdict: &Verdict) -> model::Topic {
    match verdict.topics.first() {
        Some(score) => {
            model::Topic::parse(&score.name).unwrap_or_else(|_| model::Topic::slugify(&score.name))
        }
        None => model::Topic::slugify(OTHER),
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
        author_key: author_key(mention).unwrap_or_default(),
    }
}

/// The key by which everything of an author is found.
fn author_key(mention: &MentionEvent) -> Option<String> {
    let known = mention.author_key.clone().filter(|key| !key.is_empty());
    known.or_else(|| {
        let author = mention.mention.as_ref()?.author.as_ref()?;
        let (native_id, handle) = (author.native_id.as_deref(), author.handle.as_deref());
        let source = mention.source.as_ref()?;
        let key = AuthorKey::of_names(&source.kind, &source.instance, native_id, handle)?;
        Some(key.as_str().to_owned())
    })
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
    connectors: BTreeMap<String, u32>,
    /// Of a thread: what it is about.
    about: Option<model::Topic>,
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
        sum.heard_through(mention);
        sum.offer(weight, &mention.mention_id, shown.as_ref());
        if is_root && complaint < ROOT_FROM {
            continue;
        }
        let Ok(root) = MentionId::from_slice(&event.thread_root) else { continue };
        let sum = Sum::of(sums, &Subject::Thread { brand: brand.clone(), root }, record, at_s);
        sum.add(post, complaint);
        sum.reactions.push(Reaction { at_us: mention.observed_at_us, followers, is_root });
        if is_root || (sum.about.is_none() && complaint >= EVIDENCE_FROM) {
            sum.about = Some(topic.clone());
        }
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

    /// History says nothing about what usually comes.
    fn heard_through(&mut self, mention: &MentionEvent) {
        let Some(source) = &mention.source else { return };
        if !source.connector.is_empty() && source.transport() != Transport::Backfill {
            *self.connectors.entry(source.connector.clone()).or_default() += 1;
        }
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
            connectors: self.connectors,
            topic: self.about.map_or_else(String::new, |topic| topic.to_string()),
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
    let headers = sealed.headers.into_iter().collect();
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
