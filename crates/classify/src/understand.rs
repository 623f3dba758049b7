use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use contracts::Words;
use model::{
    Language, Probability, ReplyActs, Sentiment, Severity, SeverityEstimate, Signals, SourceKind,
    TEXT_BYTES_MAX, Topic, TopicScore, Verdict, Why,
};
use nlp::{Hint, Model, Scratch, SourceFamily, Understanding};

/// A model ready for use: its topics' names are checked once.
#[derive(Clone)]
pub(crate) struct Reader {
    model: Held,
    topics: Arc<[Topic]>,
    version: Arc<str>,
}

/// The built-in model is borrowed for ever, a loaded one shared.
#[derive(Clone)]
enum Held {
    BuiltIn(&'static Model),
    Loaded(Arc<Model>),
}

impl Deref for Held {
    type Target = Model;
    fn deref(&self) -> &Model {
        match self {
            Self::BuiltIn(model) => model,
            Self::Loaded(model) => model,
        }
    }
}

/// What was found in a text, and the stretches that weighed most.
#[derive(Debug)]
pub(crate) struct Understood {
    pub found: Understanding,
    pub why: Vec<Why>,
}

/// How many reasons to give, and from which complaint probability on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WhyPolicy {
    pub from: f32,
    pub max: usize,
}

impl Reader {
    pub(crate) fn built_in() -> Self {
        Self::new(Held::BuiltIn(Model::shipped()))
    }

    pub(crate) fn loaded(model: Model) -> Self {
        Self::new(Held::Loaded(Arc::new(model)))
    }

    fn new(model: Held) -> Self {
        let topics = model.topics().iter().map(|name| Topic::slugify(name)).collect();
        let version = model.version().into();
        Self { model, topics, version }
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// What the model finds in `text`, and why. Any text is valid; one that is too long is cut.
    pub(crate) fn look(
        &self,
        scratch: &mut Scratch,
        text: &str,
        hint: Hint<'_>,
        why: WhyPolicy,
    ) -> Understood {
        let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
        let found = self.model.understand(scratch, text, hint);
        let mut reasons = Vec::new();
        if why.max > 0 && found.complaint >= why.from {
            reasons = self
                .model
                .explain(scratch, text, hint, &found, why.max)
                .into_iter()
                .filter_map(|w| Some(Why { text: text.get(w.start..w.end)?.to_owned(), weight: w.weight }))
                .collect();
        }
        Understood { found, why: reasons }
    }

    /// Puts what was found into the words every crate shares.
    pub(crate) fn verdict(&self, Understood { found, why }: Understood) -> Verdict {
        let p = Probability::clamped;
        let topic = |(number, probability): &(u16, f32)| {
            let topic = self.topics.get(usize::from(*number))?.clone();
            Some(TopicScore { topic, probability: p(*probability) })
        };
        Verdict {
            language: Language::parse(found.language.as_str()).unwrap_or_else(|_| Language::unknown()),
            sentiment: Sentiment {
                negative: p(found.sentiment[0]),
                neutral: p(found.sentiment[1]),
                positive: p(found.sentiment[2]),
            },
            complaint: p(found.complaint),
            severity: SeverityEstimate {
                level: Severity::from_level(u32::from(found.severity.level)).unwrap_or_default(),
                probabilities: found.severity.probabilities.map(p),
            },
            arousal: p(found.arousal),
            topics: found.topics.as_slice().iter().filter_map(topic).collect(),
            signals: Signals {
                spam: p(found.spam),
                thanks: p(found.thanks),
                won_back: p(found.won_back),
                threat_leave: p(found.threat_leave),
                threat_sue: p(found.threat_sue),
                threat_publish: p(found.threat_publish),
                unanswered: p(found.unanswered),
            },
            reply: ReplyActs {
                apology: p(found.reply.apology),
                explanation: p(found.reply.explanation),
                offer: p(found.reply.offer),
                channel_move: p(found.reply.channel_move),
            },
            sure: found.sure,
            why,
            model_version: self.version.clone(),
        }
    }
}

/// The title of a mention, if it has one, then its text. None when there are no words.
pub(crate) fn title_and_text<'a>(words: &'a Words<'_>) -> Option<Cow<'a, str>> {
    let text = &*words.text;
    match words.title.as_deref().filter(|title| !title.trim().is_empty()) {
        None if text.trim().is_empty() => None,
        None => Some(Cow::Borrowed(text)),
        Some(title) if text.is_empty() => Some(Cow::Borrowed(title)),
        Some(title) => Some(Cow::Owned(format!("{title}\n{text}"))),
    }
}

/// The register to expect from a source.
pub(crate) const fn family(kind: SourceKind) -> SourceFamily {
    match kind.family() {
        model::SourceFamily::Social => SourceFamily::Social,
        model::SourceFamily::Review => SourceFamily::Review,
        model::SourceFamily::Mail => SourceFamily::Mail,
        model::SourceFamily::Support => SourceFamily::Support,
        model::SourceFamily::Unknown => SourceFamily::Unknown,
    }
}
