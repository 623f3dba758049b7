use std::collections::BTreeSet;
use std::ops::Range;

use model::{
    Author, AuthorKey, BrandId, Engagement, EngagementKind, Entities, EventId, Flag, Mention, MentionEvent,
    MentionId, MentionOp, Rating, Refs, Source, SourceKind, TimeQuality, Timestamp, Visibility,
};
use xxhash_rust::xxh3::xxh3_64;

use crate::decoded::{DecodeContext, Decoded, Ignored, Location, Refusal, RefusalReason};
use crate::memory::Memory;
use crate::{dedup, entities, html, text};

/// Nobody wrote on these networks before; earlier claims are wrong.
const EARLIEST: Timestamp = Timestamp::from_seconds(1_104_537_600);
/// A clock may run ahead by this much before its time is moved.
const AHEAD_MS_MAX: i64 = 5 * 60 * 1_000;

/// The words of a mention and the form in which the source sent them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Words<'a> {
    /// As people read them.
    Plain(&'a str),
    /// With character references such as `&amp;`.
    Escaped(&'a str),
    /// A fragment of HTML.
    Html(&'a str),
}

/// A publication as a source describes it, before any rule of ours is applied.
#[derive(Debug, Clone)]
pub(crate) struct Draft<'a> {
    pub(crate) op: MentionOp,
    pub(crate) native_id: String,
    /// The source's revision; the hash of the content when absent.
    pub(crate) native_rev: Option<String>,
    pub(crate) author: Author,
    pub(crate) words: Words<'a>,
    pub(crate) title: Option<&'a str>,
    pub(crate) rating: Option<Rating>,
    pub(crate) languages: Vec<String>,
    pub(crate) created: Option<(Timestamp, TimeQuality)>,
    pub(crate) edited_at: Option<Timestamp>,
    /// When the platform says that it saw this happen.
    pub(crate) witnessed_at: Option<Timestamp>,
    pub(crate) refs: Refs,
    pub(crate) engagement: Option<Engagement>,
    pub(crate) permalink: Option<String>,
    pub(crate) entities: Entities,
    pub(crate) visibility: Visibility,
    pub(crate) flags: BTreeSet<Flag>,
    pub(crate) brands: Vec<BrandId>,
}

impl<'a> Draft<'a> {
    /// A publication of `words` under the source's own id.
    pub(crate) fn new(op: MentionOp, native_id: String, words: Words<'a>) -> Self {
        Self {
            op,
            native_id,
            native_rev: None,
            author: Author::default(),
            words,
            title: None,
            rating: None,
            languages: Vec::new(),
            created: None,
            edited_at: None,
            witnessed_at: None,
            refs: Refs::default(),
            engagement: None,
            permalink: None,
            entities: Entities::default(),
            visibility: Visibility::Public,
            flags: BTreeSet::new(),
            brands: Vec::new(),
        }
    }
}

/// A withdrawal or a change of an account: nothing in it was said.
#[derive(Debug, Clone)]
pub(crate) struct Notice {
    pub(crate) op: MentionOp,
    pub(crate) native_id: String,
    pub(crate) native_rev: String,
    pub(crate) witnessed_at: Option<Timestamp>,
    pub(crate) author: Option<Author>,
}

impl Notice {
    /// A withdrawal of the post with this id; `rev` tells repeated withdrawals apart.
    pub(crate) fn new(op: MentionOp, native_id: String, rev: &str) -> Self {
        Self { op, native_id, native_rev: rev.to_owned(), witnessed_at: None, author: None }
    }
}

/// Where the decoder of one record puts what it finds.
pub(crate) struct Out<'a> {
    pub(crate) kind: SourceKind,
    pub(crate) ctx: &'a DecodeContext<'a>,
    pub(crate) memory: &'a mut Memory,
    decoded: &'a mut Decoded,
    line: u64,
    bytes: Range<u64>,
    item: Option<usize>,
    /// True when bytes of this record had to be replaced before it could be read.
    pub(crate) repaired: bool,
}

impl<'a> Out<'a> {
    pub(crate) fn new(
        kind: SourceKind,
        ctx: &'a DecodeContext<'a>,
        memory: &'a mut Memory,
        decoded: &'a mut Decoded,
        line: u64,
        bytes: Range<u64>,
    ) -> Self {
        Self { kind, ctx, memory, decoded, line, bytes, item: None, repaired: false }
    }

    /// From now on refusals name this item of the record, counted from 0.
    pub(crate) fn at_item(&mut self, item: usize) {
        self.item = Some(item + 1);
    }

    /// Records that this record or item cannot be used.
    pub(crate) fn refuse(&mut self, reason: RefusalReason) {
        let location = match self.item {
            Some(item) => Location::Item { line: self.line, item },
            None => Location::Line(self.line),
        };
        self.refuse_at(location, reason);
    }

    /// The same for a place that is no whole record.
    pub(crate) fn refuse_at(&mut self, location: Location, reason: RefusalReason) {
        self.decoded.refusals.push(Refusal { location, reason, bytes: self.bytes.clone() });
    }

    /// How many things were recorded so far, of whatever sort.
    pub(crate) fn told(&self) -> usize {
        self.decoded.events.len() + self.decoded.refusals.len() + self.decoded.ignored.len()
    }

    /// Records a valid delivery without a mention.
    pub(crate) fn ignore(&mut self, label: &'static str) {
        self.decoded.ignored.push(Ignored { label });
    }

    /// The id that a post of this source has, by the source's own id.
    pub(crate) fn mention_id(&self, native_id: &str) -> MentionId {
        MentionId::of(self.kind, id_scope(self.kind, self.ctx), native_id)
    }

    /// Applies the rules that all sources share and records the publication.
    pub(crate) fn publish(&mut self, draft: Draft<'_>) {
        let mut flags = draft.flags;
        let mut entities = draft.entities;
        if self.repaired {
            flags.insert(Flag::DecodeReplaced);
        }
        let text = match draft.words {
            Words::Plain(words) => text::clean(words, &mut flags),
            Words::Escaped(words) => text::clean(&html::decode_entities(words), &mut flags),
            Words::Html(markup) => {
                for link in html::links(markup) {
                    entities::add_url(&link, None, &mut entities);
                }
                text::clean(&html::to_text(markup), &mut flags)
            }
        };
        entities::extract(text.as_str(), &mut entities);
        let title = draft.title.and_then(text::short);
        let times = settle_times(draft.created, draft.edited_at, draft.witnessed_at, self.ctx);
        if times.clamped {
            flags.insert(Flag::TimeClamped);
        }
        let native_rev = draft.native_rev.unwrap_or_else(|| {
            let rating = draft.rating.map_or(0.0, Rating::value);
            content_rev(text.as_str(), title.as_deref(), rating)
        });
        let mut author = draft.author;
        author.observed_at.get_or_insert(times.observed_at);
        author.profile_url = author.profile_url.filter(|u| entities::http_url(u).is_some());
        author.display_name = author.display_name.as_deref().and_then(text::short);
        let dedup = dedup::keys(text.as_str());
        let mention = Mention {
            author,
            text,
            title,
            rating: draft.rating,
            languages_claimed: draft.languages,
            created_at: times.created_at,
            created_at_quality: times.quality,
            edited_at: times.edited_at,
            refs: draft.refs,
            engagement: draft.engagement,
            permalink: draft.permalink.filter(|u| entities::http_url(u).is_some()),
            entities,
            visibility: draft.visibility,
            dedup,
        };
        self.push(
            draft.op,
            draft.native_id,
            native_rev,
            times.observed_at,
            flags,
            draft.brands,
            Some(mention),
            None,
        );
    }

    /// Records a withdrawal or a change of an account.
    pub(crate) fn notice(&mut self, notice: Notice) {
        let observed_at = notice.witnessed_at.unwrap_or(self.ctx.received_at);
        let observed_at = clamp(observed_at, EARLIEST, self.ctx.received_at.plus_millis(AHEAD_MS_MAX));
        let author = notice.author.unwrap_or_default();
        let key = AuthorKey::of(self.kind, source_instance(self.kind, self.ctx), &author);
        let mention = (notice.op == MentionOp::AuthorUpdated)
            .then(|| bare_mention(Author { observed_at: Some(observed_at), ..author }));
        self.push(
            notice.op,
            notice.native_id,
            notice.native_rev,
            observed_at,
            BTreeSet::new(),
            Vec::new(),
            mention,
            key,
        );
    }

    /// Records that `actor` reacted to somebody else's post.
    pub(crate) fn reaction(
        &mut self,
        subject: String,
        rev: String,
        actor: Author,
        delta: Engagement,
        witnessed_at: Option<Timestamp>,
    ) {
        let observed_at = witnessed_at.unwrap_or(self.ctx.received_at);
        let observed_at = clamp(observed_at, EARLIEST, self.ctx.received_at.plus_millis(AHEAD_MS_MAX));
        let subject_id = self.mention_id(&subject);
        let mut mention = bare_mention(Author { observed_at: Some(observed_at), ..actor });
        mention.engagement = Some(Engagement { as_of: observed_at, ..delta });
        mention.refs.repost_of = Some(subject_id);
        self.push(
            MentionOp::Engagement,
            subject,
            rev,
            observed_at,
            BTreeSet::new(),
            Vec::new(),
            Some(mention),
            None,
        );
    }

    /// Records an event that was already complete, as in Redress's own lines.
    pub(crate) fn event(&mut self, event: MentionEvent) {
        match event.validated() {
            Ok(event) => self.decoded.events.push(event),
            Err(invalid) => {
                self.refuse(RefusalReason::BadField { field: invalid.field, problem: invalid.problem });
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the one place where an event is put together")]
    fn push(
        &mut self,
        op: MentionOp,
        native_id: String,
        native_rev: String,
        observed_at: Timestamp,
        flags: BTreeSet<Flag>,
        brands: Vec<BrandId>,
        mention: Option<Mention>,
        author: Option<AuthorKey>,
    ) {
        let mention_id = self.mention_id(&native_id);
        let event_id = event_id(mention_id, op, &native_rev);
        self.event(MentionEvent {
            event_id,
            mention_id,
            op,
            native_id,
            native_rev,
            source: Source {
                kind: self.kind,
                instance: source_instance(self.kind, self.ctx).to_owned(),
                connector: self.ctx.connector.to_owned(),
                transport: self.ctx.transport,
            },
            tenant: self.ctx.tenant.clone(),
            brands,
            by_brand: None,
            observed_at,
            ingested_at: self.ctx.received_at,
            flags,
            mention,
            author,
            raw: None,
        });
    }
}

/// The id of what happened: the same mention, operation and revision always give the same.
pub(crate) fn event_id(mention_id: MentionId, op: MentionOp, rev: &str) -> EventId {
    let mut buffer = [0; 36];
    let mention = mention_id.as_uuid().hyphenated().encode_lower(&mut buffer);
    EventId::derive(&[mention, op.name(), rev])
}

/// Hash of the content as a revision, for sources that name none.
pub(crate) fn content_rev(text: &str, title: Option<&str>, rating: f32) -> String {
    let mut hash = xxh3_64(text.as_bytes());
    if title.is_some() || rating != 0.0 {
        let more = format!("{hash:016x}\n{}\n{rating}", title.unwrap_or_default());
        hash = xxh3_64(more.as_bytes());
    }
    format!("h{hash:016x}")
}

/// The instance that events of this kind name: empty where the network is one.
pub(crate) fn source_instance<'a>(kind: SourceKind, ctx: &DecodeContext<'a>) -> &'a str {
    use SourceKind as K;
    match kind {
        K::BlueskyJetstream
        | K::XV1
        | K::XV2
        | K::Reddit
        | K::YoutubeComments
        | K::FacebookWebhook
        | K::InstagramWebhook
        | K::Trustpilot
        | K::Github
        | K::Slack
        | K::Hackernews => "",
        _ => ctx.instance,
    }
}

/// What makes the source's own id unique in the world, beside its kind.
pub(crate) fn id_scope<'a>(kind: SourceKind, ctx: &DecodeContext<'a>) -> &'a str {
    match kind {
        // A status has a global address and a mail a global Message-ID, whoever delivers them.
        SourceKind::Mastodon | SourceKind::Email | SourceKind::AppstoreRss | SourceKind::GooglePlay => "",
        _ => source_instance(kind, ctx),
    }
}

/// Totals without any counter yet.
pub(crate) const fn snapshot(as_of: Timestamp) -> Engagement {
    Engagement {
        likes: None,
        reposts: None,
        replies: None,
        quotes: None,
        views: None,
        score: None,
        as_of,
        kind: EngagementKind::Snapshot,
    }
}

/// One like more or less.
pub(crate) const fn like(by: i64, as_of: Timestamp) -> Engagement {
    Engagement { likes: Some(by), kind: EngagementKind::Delta, ..snapshot(as_of) }
}

fn bare_mention(author: Author) -> Mention {
    Mention {
        author,
        text: model::Text::default(),
        title: None,
        rating: None,
        languages_claimed: Vec::new(),
        created_at: None,
        created_at_quality: TimeQuality::Missing,
        edited_at: None,
        refs: Refs::default(),
        engagement: None,
        permalink: None,
        entities: Entities::default(),
        visibility: Visibility::Public,
        dedup: model::Dedup::default(),
    }
}

struct Times {
    created_at: Option<Timestamp>,
    quality: TimeQuality,
    edited_at: Option<Timestamp>,
    observed_at: Timestamp,
    clamped: bool,
}

/// The witness is the platform where it vouches for the time; a claimed time is only used for history,
/// where nothing better will ever come.
fn settle_times(
    created: Option<(Timestamp, TimeQuality)>,
    edited_at: Option<Timestamp>,
    witnessed_at: Option<Timestamp>,
    ctx: &DecodeContext<'_>,
) -> Times {
    let latest = ctx.received_at.plus_millis(AHEAD_MS_MAX);
    let trusted = created.and_then(|(at, quality)| match quality {
        TimeQuality::Source | TimeQuality::Platform => Some(edited_at.map_or(at, |e| e.max(at))),
        TimeQuality::Claimed if ctx.transport == model::Transport::Backfill => Some(at),
        TimeQuality::Claimed | TimeQuality::Missing => None,
    });
    let witness = witnessed_at.or(trusted).unwrap_or(ctx.received_at);
    let observed_at = clamp(witness, EARLIEST, latest);
    let bound = |at: Timestamp| clamp(at, EARLIEST, observed_at.plus_millis(AHEAD_MS_MAX));
    let created_at = created.map(|(at, _)| bound(at));
    let edited = edited_at.map(bound);
    Times {
        created_at,
        quality: created.map_or(TimeQuality::Missing, |(_, quality)| quality),
        edited_at: edited,
        observed_at,
        clamped: observed_at != witness || created_at != created.map(|(at, _)| at) || edited != edited_at,
    }
}

fn clamp(at: Timestamp, low: Timestamp, high: Timestamp) -> Timestamp {
    // Not Ord::clamp: it panics when a wrong clock puts `high` below `low`.
    at.max(low).min(high.max(low))
}
