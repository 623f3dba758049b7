//! What is understood of one text, and how scores become it.

use crate::arith::{sigmoid, softmax};
use crate::language::Language;
use crate::model::Model;
use crate::part::{Head, Task};

/// What kind of place a text comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum SourceFamily {
    Social,
    Review,
    Mail,
    Support,
    #[default]
    Unknown,
}

/// What is known of a text before reading it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hint<'a> {
    /// The kind of place.
    pub source_family: SourceFamily,
    /// The language its source claims, as a BCP 47 tag; breaks ties only.
    pub claimed_language: Option<&'a str>,
}

/// How severe a complaint is: 0 none, 1 no explicit reproach, 2 disapproval, 3 accusation, 4 blame.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SeverityEstimate {
    /// The likeliest of 1 to 4 where a complaint is likely enough (`LEVEL_FROM`), else 0.
    pub level: u8,
    /// The probability of each level; they sum to one.
    pub probabilities: [f32; 5],
}

/// What a brand's reply does, each in 0..1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[allow(missing_docs)]
pub struct ReplyActs {
    pub apology: f32,
    pub explanation: f32,
    pub offer: f32,
    pub channel_move: f32,
}

/// Most topics told of one text.
pub const TOPICS_MAX: usize = 3;
/// Topics after the likeliest are told from this probability on.
pub const TOPIC_FROM: f32 = 0.15;

/// The likeliest topics, in descending order; at least one when the model has topics.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Topics {
    items: [(u16, f32); TOPICS_MAX],
    len: u8,
}

impl Topics {
    /// Pairs of number (into `Model::topics`) and probability.
    pub fn as_slice(&self) -> &[(u16, f32)] {
        &self.items[..usize::from(self.len)]
    }

    fn from_probabilities(all: &[f32]) -> Self {
        let mut topics = Topics::default();
        for (number, &p) in all.iter().enumerate() {
            let at = topics.as_slice().iter().position(|(_, q)| p > *q).unwrap_or(usize::from(topics.len));
            if at < TOPICS_MAX {
                topics.items.copy_within(at..TOPICS_MAX - 1, at + 1);
                topics.items[at] = (number as u16, p);
                topics.len = (topics.len + 1).min(TOPICS_MAX as u8);
            }
        }
        while topics.len > 1 && topics.items[usize::from(topics.len) - 1].1 < TOPIC_FROM {
            topics.len -= 1;
        }
        topics
    }
}

/// What is understood of a text; all numbers but `level` are probabilities in 0..1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Understanding {
    /// The language.
    pub language: Language,
    /// Negative, neutral, positive.
    pub sentiment: [f32; 3],
    /// Someone's expectation of a company was disappointed.
    pub complaint: f32,
    /// How severe.
    pub severity: SeverityEstimate,
    /// Anger, sarcasm, urgency: what makes a text spread.
    pub arousal: f32,
    /// What it is about.
    pub topics: Topics,
    /// Advertising or fraud.
    pub spam: f32,
    /// Gratitude.
    pub thanks: f32,
    /// A customer who had left or complained is content again.
    pub won_back: f32,
    /// Says they will leave.
    pub threat_leave: f32,
    /// Says they will go to a lawyer, a court or an authority.
    pub threat_sue: f32,
    /// Says they will make it public.
    pub threat_publish: f32,
    /// "Nobody answers me."
    pub unanswered: f32,
    /// What it does, if it is a brand's reply.
    pub reply: ReplyActs,
    /// The sentiment is likely enough to be acted on without a second look.
    pub sure: bool,
}

/// The sentiments in output order, as classes are named in model files.
pub const SENTIMENTS: [&str; 3] = ["negative", "neutral", "positive"];

/// Turns the scores of all parts into answers.
pub(crate) fn assemble(model: &Model, scores: &[Vec<f32>], language: Language) -> Understanding {
    let reader = Reader { model, scores, row: language.row() };
    let complaint = reader.yes(Task::Complaint);
    let (sentiment, sure) = reader.sentiment();
    Understanding {
        language,
        sentiment,
        complaint,
        severity: reader.severity(complaint),
        arousal: reader.yes(Task::Arousal),
        topics: reader.topics(),
        spam: reader.yes(Task::Spam),
        thanks: reader.yes(Task::Thanks),
        won_back: reader.yes(Task::WonBack),
        threat_leave: reader.yes(Task::ThreatLeave),
        threat_sue: reader.yes(Task::ThreatSue),
        threat_publish: reader.yes(Task::ThreatPublish),
        unanswered: reader.yes(Task::Unanswered),
        reply: ReplyActs {
            apology: reader.yes(Task::Apology),
            explanation: reader.yes(Task::Explanation),
            offer: reader.yes(Task::Offer),
            channel_move: reader.yes(Task::ChannelMove),
        },
        sure,
    }
}

/// Which output number each class of a head stands for, looked up once per model instead of by name per text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    sentiment: Vec<Option<usize>>,
    severity: Vec<Option<usize>>,
    /// The severity head speaks of levels given that there is a complaint.
    given: bool,
}

impl Places {
    pub(crate) fn of(sentiment: &[String], severity: &[String]) -> Self {
        let level = |class: &String| class.parse().ok().filter(|level: &usize| *level < LEVELS);
        Self {
            sentiment: sentiment
                .iter()
                .map(|class| SENTIMENTS.iter().position(|name| name == class))
                .collect(),
            severity: severity.iter().map(level).collect(),
            given: !severity.is_empty() && !severity.iter().any(|class| class == "0"),
        }
    }
}

/// A text that may be a complaint with this probability is told the likeliest of the four levels, else none: the four
/// share the complaint's probability, so that the likeliest of five would almost always be none. A model that learned
/// levels apart where people labelled them knows too little of a doubtful text in other languages: one half there.
pub const LEVEL_FROM: f32 = 0.25;
/// The highest level told of a text that is likelier no complaint than one: what is talk after all should alarm nobody.
const LEVEL_IN_DOUBT: usize = 2;
/// No complaint, and four levels of it.
const LEVELS: usize = 5;

struct Reader<'a> {
    model: &'a Model,
    scores: &'a [Vec<f32>],
    row: usize,
}

/// Probabilities on the stack up to this many classes; more (large topic packs) go to the heap.
const STACK_CLASSES: usize = 32;

impl Reader<'_> {
    /// Runs `f` with the probabilities of a choice, and the probability from which it is sure.
    fn choice<T>(&self, task: Task, f: impl FnOnce(&[f32], f32) -> T) -> Option<T> {
        let (part, head) = self.model.answers[task as usize]?;
        let part_at = usize::from(part);
        let part = &self.model.parts[part_at];
        let head = &part.heads[usize::from(head)];
        let sharpness = head.sharpness[self.row];
        let scores = &self.scores[part_at][head.offset..head.offset + head.classes.len()];
        let mut stack = [0.0; STACK_CLASSES];
        let mut heap = Vec::new();
        let buffer = match stack.get_mut(..scores.len()) {
            Some(slice) => slice,
            None => {
                heap.resize(scores.len(), 0.0);
                &mut heap[..]
            }
        };
        for (slot, score) in buffer.iter_mut().zip(scores) {
            *slot = score * sharpness;
        }
        if head.lean > 0.0 {
            for (class, slot) in buffer.iter_mut().enumerate() {
                *slot +=
                    sharpness * head.lean * base_score(self.model, self.scores, task, head, class, part_at);
            }
        }
        if let [one] = buffer {
            *one = sigmoid(*one);
        } else {
            softmax(buffer);
        }
        Some(f(buffer, part.sure_from))
    }

    fn yes(&self, task: Task) -> f32 {
        let Some((part, head_at)) = self.model.answers[task as usize] else { return 0.0 };
        let head = &self.model.parts[usize::from(part)].heads[usize::from(head_at)];
        if head.classes.len() == 1 && head.lean == 0.0 {
            return sigmoid(self.scores[usize::from(part)][head.offset] * head.sharpness[self.row]);
        }
        self.choice(task, |p, _| p[p.len() - 1]).unwrap_or(0.0)
    }

    fn sentiment(&self) -> ([f32; 3], bool) {
        let told = self.choice(Task::Sentiment, |p, sure_from| {
            let mut sentiment = [0.0; 3];
            for (place, p) in self.model.places.sentiment.iter().zip(p) {
                if let Some(at) = place {
                    sentiment[*at] = *p;
                }
            }
            (sentiment, p.iter().copied().fold(0.0, f32::max) >= sure_from)
        });
        told.unwrap_or(([0.0, 1.0, 0.0], false))
    }

    /// A head of five classes speaks of all levels, one of four of the levels given that it is a complaint.
    fn severity(&self, complaint: f32) -> SeverityEstimate {
        let mut probabilities = [0.0; LEVELS];
        self.choice(Task::Severity, |p, _| {
            let given = self.model.places.given;
            for (place, p) in self.model.places.severity.iter().zip(p) {
                if let Some(level) = place {
                    probabilities[*level] = if given { p * complaint } else { *p };
                }
            }
            if given {
                probabilities[0] = 1.0 - complaint;
            }
        });
        let likeliest = |from: usize, to: usize| {
            let mut best = from;
            for level in from + 1..=to {
                if probabilities[level] > probabilities[best] {
                    best = level;
                }
            }
            best
        };
        let top = LEVELS - 1;
        let level = match likeliest(0, top) {
            _ if self.model.places.given && complaint < self.level_from() => 0,
            _ if self.model.places.given && complaint < 0.5 => likeliest(1, LEVEL_IN_DOUBT),
            _ if self.model.places.given => likeliest(1, top),
            // A head of all levels says itself what is none, but not of what is held for a complaint.
            0 if complaint >= 0.5 => likeliest(1, top),
            level => level,
        };
        SeverityEstimate { level: level as u8, probabilities }
    }

    /// From which probability of a complaint on a level is told.
    fn level_from(&self) -> f32 {
        let part =
            self.model.answers[Task::Severity as usize].map(|(part, _)| &self.model.parts[usize::from(part)]);
        match part.and_then(|part| part.twin.as_ref()) {
            Some(twin) if !twin.languages.contains(&self.row) => 0.5,
            _ => LEVEL_FROM,
        }
    }

    fn topics(&self) -> Topics {
        self.choice(Task::Topic, |p, _| Topics::from_probabilities(p)).unwrap_or_default()
    }
}

/// The score the last part before `before` gives to a class of the same task; 0 where none knows the class.
pub(crate) fn base_score(
    model: &Model,
    scores: &[Vec<f32>],
    task: Task,
    head: &Head,
    class: usize,
    before: usize,
) -> f32 {
    for (part, scores) in model.parts[..before].iter().zip(scores).rev() {
        if let Some(base) = part.head(task) {
            let at = base.classes.iter().position(|name| *name == head.classes[class]);
            return at.map_or(0.0, |at| scores[base.offset + at]);
        }
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scratch;
    use crate::features::Spec;
    use crate::language::ROWS;
    use crate::part::{Part, Twin};

    #[test]
    fn topics_come_in_descending_order_and_the_likeliest_always() {
        let topics = Topics::from_probabilities(&[0.1, 0.3, 0.05, 0.4, 0.15]);
        assert_eq!(topics.as_slice(), [(3, 0.4), (1, 0.3), (4, 0.15)]);
        assert_eq!(Topics::from_probabilities(&[0.05; 20]).as_slice(), [(0, 0.05)]);
        assert!(Topics::from_probabilities(&[]).as_slice().is_empty());
    }

    /// The level told of an English text by a model that gives every text this score for a complaint and calls the
    /// fourth level likeliest; levels were learned apart in the languages given.
    fn level(complaint: f32, apart: Option<&[&str]>) -> u8 {
        let levels = ["1", "2", "3", "4"].map(str::to_owned).to_vec();
        let heads =
            vec![Head::new(Task::Complaint, 0, vec!["yes".to_owned()]), Head::new(Task::Severity, 1, levels)];
        let bias = [complaint, 0.0, 1.0, 2.0, 3.0, 0.0, 0.0, 0.0].repeat(ROWS);
        let mut part = Part::quantise(Spec::SHIPPED, 4, 8, &[0.0; 8 << 4], bias, heads);
        part.twin = apart.map(|tags| Twin {
            column: 1,
            instead: 1,
            count: 4,
            languages: tags.iter().map(|tag| Language::new(tag).row()).collect(),
        });
        let hint = Hint { claimed_language: Some("en"), ..Hint::default() };
        Model::from_parts(vec![part]).understand(&mut Scratch::default(), "123", hint).severity.level
    }

    #[test]
    fn what_is_likelier_no_complaint_is_never_told_as_severe() {
        for (score, told) in [(-2.0, 0), (-0.5, 2), (0.5, 4)] {
            assert_eq!(level(score, None), told, "score {score}");
            assert_eq!(level(score, Some(&["en"])), told, "score {score}, levels of English apart");
        }
    }

    #[test]
    fn where_nobody_labelled_levels_a_doubtful_text_is_told_none() {
        assert_eq!(level(-0.5, Some(&["de"])), 0);
        assert_eq!(level(0.5, Some(&["de"])), 4);
    }
}
