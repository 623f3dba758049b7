//! Posts with their verdicts, as they lie on the log. The bench builds its input here, too.

use std::collections::BTreeSet;

use bus::{Outgoing, Record, Topic};
use contracts::{Classified, envelope};
use model::{
    Author, BrandId, Dedup, Entities, EventId, Language, Mention, MentionEvent, MentionId, MentionOp,
    Probability, Refs, ReplyActs, Sentiment, Severity, SeverityEstimate, Signals, Source, SourceKind,
    TenantId, Text, TimeQuality, Timestamp, TopicScore, Transport, Verdict, Visibility,
};
use prost::Message;

/// Partitions of every topic here.
pub(crate) const PARTITIONS: i32 = 3;

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn mention_id(name: &str) -> MentionId {
    MentionId::of(SourceKind::Mastodon, "a.example", name)
}

/// A post with its verdict.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    event: MentionEvent,
    verdict: Option<Verdict>,
}

impl Post {
    /// Somebody mentions acme, neither glad nor angry.
    pub(crate) fn new(name: &str, author: &str, when: &str) -> Self {
        let at = at(when);
        let mention = Mention {
            author: Author {
                native_id: Some(author.to_owned()),
                handle: Some(author.to_owned()),
                ..Author::default()
            },
            text: Text::truncated(format!("words of {author} in {name}")).0,
            title: None,
            rating: None,
            languages_claimed: Vec::new(),
            created_at: Some(at),
            created_at_quality: TimeQuality::Platform,
            edited_at: None,
            refs: Refs::default(),
            engagement: None,
            permalink: Some(format!("https://a.example/{name}")),
            entities: Entities::default(),
            visibility: Visibility::Public,
            dedup: Dedup::default(),
        };
        let event = MentionEvent {
            event_id: EventId::derive(&[name, "created"]),
            mention_id: mention_id(name),
            op: MentionOp::Created,
            native_id: name.into(),
            native_rev: String::new(),
            source: Source {
                kind: SourceKind::Mastodon,
                instance: "a.example".into(),
                connector: "test".into(),
                transport: Transport::Stream,
            },
            tenant: TenantId::slugify("main"),
            brands: vec![BrandId::slugify("acme")],
            by_brand: None,
            observed_at: at,
            ingested_at: at,
            flags: BTreeSet::new(),
            mention: Some(mention),
            author: None,
            raw: None,
        };
        Self { event, verdict: Some(verdict(0.1, 0.0, 0.2)) }
    }

    pub(crate) fn complaint(name: &str, author: &str, when: &str) -> Self {
        Self { verdict: Some(verdict(0.9, 0.0, 0.1)), ..Self::new(name, author, when) }
    }

    pub(crate) fn thanks(name: &str, author: &str, when: &str) -> Self {
        Self { verdict: Some(verdict(0.05, 0.9, 0.9)), ..Self::new(name, author, when) }
    }

    /// The brand's own account answers.
    pub(crate) fn answer(name: &str, to: &str, when: &str) -> Self {
        let mut post = Self::new(name, "acmecare", when);
        post.event.by_brand = Some(BrandId::slugify("acme"));
        post.answering(to)
    }

    pub(crate) fn answering(mut self, to: &str) -> Self {
        if let Some(mention) = &mut self.event.mention {
            mention.refs.reply_to = Some(mention_id(to));
            mention.refs.root = Some(mention_id(to));
        }
        self
    }

    /// It only repeats another post, words and all.
    pub(crate) fn passing_on(mut self, other: &str) -> Self {
        if let Some(mention) = &mut self.event.mention {
            mention.refs.repost_of = Some(mention_id(other));
        }
        self
    }

    pub(crate) fn by_machine(mut self) -> Self {
        if let Some(mention) = &mut self.event.mention {
            mention.author.is_bot = Some(true);
        }
        self
    }

    /// Something without words that happens to the post, or to its author's account.
    pub(crate) fn without_words(mut self, op: MentionOp) -> Self {
        self.event.author = self.event.author_key();
        self.event.op = op;
        self.event.mention = None;
        self.event.event_id = EventId::derive(&[&self.event.native_id, op.name()]);
        self.verdict = None;
        self
    }

    /// The record of its verdict, on its mention's partition.
    pub(crate) fn outgoing(&self) -> Outgoing {
        let classified = Classified::new(self.event.clone(), self.verdict.clone(), self.event.ingested_at);
        let message = contracts::classify::v1::VerdictEvent::from(&classified);
        let id = self.event.event_id.to_string();
        let partition = i32::from(self.event.mention_id.as_bytes()[0]) % PARTITIONS;
        let key = contracts::id(self.event.mention_id.as_bytes());
        outgoing(Topic::Verdicts, Some(partition), key, &id, self.event.ingested_at, &message)
    }
}

pub(crate) fn outgoing<M: Message + prost::Name>(
    topic: Topic,
    partition: Option<i32>,
    key: bytes::Bytes,
    id: &str,
    at: Timestamp,
    message: &M,
) -> Outgoing {
    let sealed = envelope::seal(id, "redress/test", at, message);
    let headers = sealed.headers.into_iter().collect();
    Outgoing { topic, partition, record: Record { key, value: Some(sealed.value), headers, at } }
}

fn verdict(complaint: f32, thanks: f32, positive: f32) -> Verdict {
    let p = Probability::clamped;
    let level = if complaint > 0.5 { Severity::Disapproval } else { Severity::None };
    let mut probabilities = [Probability::ZERO; 5];
    probabilities[usize::from(level.level())] = Probability::ONE;
    Verdict {
        language: Language::parse("en").unwrap(),
        sentiment: Sentiment { negative: p(1.0 - positive), neutral: p(0.0), positive: p(positive) },
        complaint: p(complaint),
        severity: SeverityEstimate { level, probabilities },
        arousal: p(0.5),
        topics: vec![TopicScore { topic: model::Topic::slugify("baggage"), probability: p(0.9) }],
        signals: Signals { thanks: p(thanks), ..Signals::default() },
        reply: ReplyActs::default(),
        sure: true,
        why: Vec::new(),
        model_version: "test".into(),
    }
}
