//! The model people hold: parts, and which part answers which question.

use std::borrow::Cow;
use std::sync::OnceLock;

use xxhash_rust::xxh3::xxh3_64;

use crate::features::{Features, Spec, collect};
use crate::file::{self, ModelError};
use crate::language::{KNOWN, Language, Script, by_script};
use crate::part::{Head, Part, Task};
use crate::prepare::Prepared;
use crate::understanding::{Hint, Places, Understanding, assemble, base_score};

/// Everything the crate knows; immutable, shared between threads.
#[derive(Debug, Clone)]
pub struct Model {
    pub(crate) parts: Vec<Part>,
    /// For every task the part and head that answer it: the last part that has one.
    pub(crate) answers: [Option<(u8, u8)>; Task::ALL.len()],
    /// Where the classes of the heads that answer for sentiment and severity go in the output.
    pub(crate) places: Places,
    topics: Vec<String>,
    version: String,
}

/// Reusable buffers; one per thread.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(crate) prepared: Prepared,
    pub(crate) features: Vec<(Spec, Features)>,
    pub(crate) used: usize,
    pub(crate) scores: Vec<Vec<f32>>,
    pub(crate) slopes: Vec<f32>,
}

static SHIPPED: &[u8] = include_bytes!("../model/shipped.rdm");

impl Model {
    /// The model inside the program, parsed once.
    ///
    /// # Panics
    /// Never in a released build: a test reads the same bytes.
    pub fn shipped() -> &'static Model {
        static MODEL: OnceLock<Model> = OnceLock::new();
        MODEL.get_or_init(|| match Model::read(Cow::Borrowed(SHIPPED)) {
            Ok(model) => model,
            Err(error) => panic!("the shipped model is broken: {error}"),
        })
    }

    /// Reads a model file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Model, ModelError> {
        Model::read(Cow::Owned(bytes.to_vec()))
    }

    fn read(bytes: Cow<'static, [u8]>) -> Result<Model, ModelError> {
        let parts = file::read(&bytes)?;
        let version = format!("{:016x}", xxh3_64(&bytes));
        Ok(Model::new(parts, version))
    }

    /// Puts parts together; later parts answer before earlier ones.
    pub fn from_parts(parts: Vec<Part>) -> Model {
        let version = format!("{:016x}", xxh3_64(&file::write(&parts)));
        Model::new(parts, version)
    }

    fn new(parts: Vec<Part>, version: String) -> Model {
        let mut answers = [None; Task::ALL.len()];
        let mut topics = Vec::new();
        for (p, part) in parts.iter().enumerate() {
            for (h, head) in part.heads.iter().enumerate() {
                answers[head.task as usize] = Some((p as u8, h as u8));
                if head.task == Task::Topic {
                    topics.clone_from(&head.classes);
                }
            }
        }
        let classes = |task: Task| -> &[String] {
            answers[task as usize].map_or(&[], |(p, h)| &parts[usize::from(p)].heads[usize::from(h)].classes)
        };
        let places = Places::of(classes(Task::Sentiment), classes(Task::Severity));
        Model { parts, answers, places, topics, version }
    }

    /// The parts, in order.
    pub fn to_parts(self) -> Vec<Part> {
        self.parts
    }

    /// The bytes `from_bytes` reads.
    pub fn to_bytes(&self) -> Vec<u8> {
        file::write(&self.parts)
    }

    /// This model with the heads `other` contains replaced by them.
    pub fn overlay(&self, other: Model) -> Model {
        let version = format!("{}+{}", self.version, other.version);
        let parts = self.parts.iter().cloned().chain(other.parts).collect();
        Model::new(parts, version)
    }

    /// A short hash of the content; of both contents after an overlay.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The names topic numbers stand for.
    pub fn topics(&self) -> &[String] {
        &self.topics
    }

    /// Whether some part answers this task.
    pub fn answers(&self, task: Task) -> bool {
        self.answers[task as usize].is_some()
    }

    /// The classes of a task, in order; empty if the model does not answer it.
    pub fn classes(&self, task: Task) -> &[String] {
        match self.answers[task as usize] {
            Some((part, head)) => &self.parts[usize::from(part)].heads[usize::from(head)].classes,
            None => &[],
        }
    }

    /// Everything the model can say about a text. Any text, in linear time.
    pub fn understand(&self, scratch: &mut Scratch, text: &str, hint: Hint<'_>) -> Understanding {
        scratch.prepared.read(text);
        scratch.used = 0;
        scratch.scores.resize_with(self.parts.len(), Vec::new);
        let language = self.language(scratch, hint);
        let row = language.row();
        scratch.prepared.salt = language.salt();
        for (number, part) in self.parts.iter().enumerate() {
            if part.heads.iter().any(|head| head.task != Task::Language) {
                let at = scratch.features_for(part.spec);
                part.scores(&scratch.features[at].1, row, &mut scratch.scores[number]);
            }
        }
        assemble(self, &scratch.scores, language)
    }

    /// The raw scores of a task's head for a text, before they are sharpened, and the language found.
    pub fn scores(&self, scratch: &mut Scratch, text: &str, task: Task) -> Option<(Language, Vec<f32>)> {
        let language = self.understand(scratch, text, Hint::default()).language;
        let (part, head) = self.answers[task as usize]?;
        let head = &self.parts[usize::from(part)].heads[usize::from(head)];
        Some((
            language,
            scratch.scores[usize::from(part)][head.offset..head.offset + head.classes.len()].to_vec(),
        ))
    }

    /// The scores parts before `before` give to the classes of a task, for the text understood last.
    pub(crate) fn base_scores(
        &self,
        scratch: &Scratch,
        task: Task,
        classes: &[String],
        before: usize,
    ) -> Vec<f32> {
        if task == Task::Complaint {
            let yes = base_score(
                self,
                &scratch.scores,
                task,
                &Head::new(task, 0, vec!["yes".to_owned()]),
                0,
                before,
            );
            return vec![0.0, yes];
        }
        let head = Head::new(task, 0, classes.to_vec());
        (0..classes.len())
            .map(|class| base_score(self, &scratch.scores, task, &head, class, before))
            .collect()
    }

    /// The spec of the part that reads the same features, and names too: so that they are collected once.
    fn with_names(&self, spec: Spec) -> Spec {
        let alike = |part: &&Part| (Spec { names: spec.names, ..part.spec }) == spec;
        self.parts.iter().filter(alike).map(|part| part.spec).max_by_key(|spec| spec.names).unwrap_or(spec)
    }

    fn language(&self, scratch: &mut Scratch, hint: Hint<'_>) -> Language {
        // A head that knows `other` is ours and reads Latin letters only; a user's own reads everything.
        let own = self.answers(Task::Language)
            && !self.classes(Task::Language).iter().any(|class| class == "other");
        match by_script(&scratch.prepared.counts) {
            Script::Settled(language) if !own => {
                if language == Language::UNKNOWN {
                    return hint.claimed_language.map_or(language, claimed);
                }
                language
            }
            _ => {
                let Some((part, head)) = self.answers[Task::Language as usize] else {
                    return Language::UNKNOWN;
                };
                let part_at = usize::from(part);
                let part = &self.parts[part_at];
                let at = scratch.features_for(self.with_names(part.spec));
                part.scores(&scratch.features[at].1, 0, &mut scratch.scores[part_at]);
                let head = &part.heads[usize::from(head)];
                let scores = &scratch.scores[part_at][head.offset..head.offset + head.classes.len()];
                let (mut best, mut second) = ((0, f32::MIN), f32::MIN);
                for (i, &score) in scores.iter().enumerate() {
                    if score > best.1 {
                        second = best.1;
                        best = (i, score);
                    } else if score > second {
                        second = score;
                    }
                }
                let found = Language::new(&head.classes[best.0]);
                // A close race is settled by what the source claims, if the claim was in the race.
                match hint.claimed_language.map(claimed) {
                    Some(claim) if best.1 - second < 0.7 && claim != found => {
                        let at = head.classes.iter().position(|class| class == claim.as_str());
                        if at.is_some_and(|at| best.1 - scores[at] < 0.7) { claim } else { found }
                    }
                    _ => found,
                }
            }
        }
    }
}

/// A claimed tag in our terms: the primary language, romanised Hindi kept apart, `other` for those not read.
fn claimed(tag: &str) -> Language {
    let tag = tag.trim();
    if tag.eq_ignore_ascii_case("hi-Latn") {
        return Language::new("hi-Latn");
    }
    let primary = tag.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
    match primary.as_str() {
        "" | "und" => Language::UNKNOWN,
        known if KNOWN.contains(&known) => Language::new(known),
        _ => Language::OTHER,
    }
}

impl Scratch {
    /// The features under a spec, collected once per text. A table that reads no names takes those of one that does.
    pub(crate) fn features_for(&mut self, spec: Spec) -> usize {
        let fits = |have: &Spec| *have == spec || (Spec { names: 0, ..*have }) == spec;
        if let Some(at) = self.features[..self.used].iter().position(|(have, _)| fits(have)) {
            return at;
        }
        if self.used == self.features.len() {
            self.features.push((spec, Features::default()));
        }
        let slot = &mut self.features[self.used];
        slot.0 = spec;
        collect(&self.prepared, spec, &mut slot.1);
        self.used += 1;
        self.used - 1
    }
}
