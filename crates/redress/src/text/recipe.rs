//! The recipe of the shipped model: which sets teach which heads, and with what settings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nlp::features::{Features, Spec, collect};
use nlp::language::{Language, Script, by_script};
use nlp::part::{Part, Task};
use nlp::prepare::Prepared;
use nlp::train::calibrate::{self, Fit, Seen};
use nlp::train::heads::{self, Plan, Sample};
use nlp::train::phrases::{Phrases, Written};
use serde::Deserialize;
use serde_json::Value;

use super::corpus;

/// A whole recipe, as the file says it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recipe {
    pub(crate) seed: u64,
    /// Powers of two of the rows of each table.
    pub(crate) tables: Vec<u32>,
    /// What the names of mentioned accounts weigh in each table, in tenths; none where the list ends.
    #[serde(default)]
    pub(crate) names: Vec<u8>,
    /// A feature counts from so many texts of a head on.
    pub(crate) least: u32,
    pub(crate) by_language: bool,
    pub(crate) heads: Vec<HeadRecipe>,
    pub(crate) sets: Vec<SetRecipe>,
    pub(crate) phrases: PhraseRecipe,
    pub(crate) calibration: Vec<CalibrationRecipe>,
    /// Share of held-out texts whose sentiment is called sure.
    pub(crate) sure_share: f64,
    pub(crate) language: LanguageRecipe,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeadRecipe {
    pub(crate) name: String,
    /// Which table holds it.
    pub(crate) table: usize,
    pub(crate) cost: f32,
    pub(crate) balance: f32,
    /// Features count by how much they tell of a class, not by how rare they are.
    #[serde(default)]
    pub(crate) telling: bool,
    #[serde(default)]
    pub(crate) classes: Vec<String>,
    /// What the texts of a set count for this head, where that differs from the set's weight; `own` is our text.
    #[serde(default)]
    pub(crate) source_weights: BTreeMap<String, f32>,
    /// Languages that people labelled, learned from their own texts alone; none: all languages together.
    #[serde(default)]
    pub(crate) apart: Vec<String>,
    /// Heads named before it in the same table, whose scores it is told.
    #[serde(default)]
    pub(crate) leans: Vec<String>,
    /// It is learned for others to lean on, and does not ship.
    #[serde(default)]
    pub(crate) aid: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetRecipe {
    /// Name of the set: a folder of the data, or a file of the project's own text.
    pub(crate) set: String,
    #[serde(default)]
    pub(crate) own: bool,
    /// Languages whose rows are left out: those that share texts with a held-out test of another set.
    #[serde(default)]
    pub(crate) skip_languages: Vec<String>,
    #[serde(default = "one")]
    pub(crate) weight: f32,
    pub(crate) rules: Vec<Rule>,
}

fn one() -> f32 {
    1.0
}

/// How a field of a row becomes a label of a head.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) head: String,
    pub(crate) field: String,
    /// Value to class; rows whose values map to two classes get no label. Absent: the value is the class.
    #[serde(default)]
    pub(crate) map: Option<BTreeMap<String, String>>,
    /// Values that mean yes, all others (and none) no.
    #[serde(default)]
    pub(crate) yes: Option<Vec<String>>,
    /// Values that mean no, all others nothing.
    #[serde(default)]
    pub(crate) no: Option<Vec<String>>,
    /// Class to words that stand for it in the field, as [`said`] writes them (`*` ends one that may go on): a text that
    /// speaks of one class alone is labelled so.
    #[serde(default)]
    pub(crate) words: Option<BTreeMap<String, Vec<String>>>,
    /// Only rows whose fields have these values.
    #[serde(default)]
    pub(crate) only: BTreeMap<String, String>,
}

/// A text in small letters, its words between single spaces; names, tags and links are left out.
fn said(text: &str) -> String {
    let mut said = String::from(" ");
    let plain =
        text.split_whitespace().filter(|word| !word.starts_with(['@', '#']) && !word.starts_with("http"));
    for word in plain.flat_map(|word| word.split(|letter: char| !letter.is_alphanumeric())) {
        if !word.is_empty() {
            said.push_str(&word.to_lowercase());
            said.push(' ');
        }
    }
    said
}

/// The one class some of whose words a text has.
fn spoken_of(text: &str, words: &BTreeMap<String, Vec<String>>) -> Option<String> {
    let said = said(text);
    let has = |word: &String| match word.strip_suffix('*') {
        Some(start) => said.contains(&format!(" {start}")),
        None => said.contains(&format!(" {word} ")),
    };
    let mut found = words.iter().filter(|(_, words)| words.iter().any(has)).map(|(class, _)| class);
    match (found.next(), found.next()) {
        (Some(class), None) => Some(class.clone()),
        _ => None,
    }
}

/// Texts built from the phrase files `phrases/LANGUAGE.txt`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PhraseRecipe {
    pub(crate) languages: Vec<String>,
    pub(crate) per_language: usize,
    pub(crate) weight: f32,
    /// Languages whose texts are sources of their own, `own.LANGUAGE` and `own.LANGUAGE.harm`: heads may weigh them
    /// apart, because people labelled real texts there (of harm only few).
    #[serde(default)]
    pub(crate) apart: Vec<String>,
}

/// Which held-out texts fit the probabilities of a head.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CalibrationRecipe {
    pub(crate) head: String,
    /// Public sets; their dev halves are used.
    pub(crate) sets: Vec<String>,
    /// How often each class is taken to occur; none: as often as it does.
    pub(crate) prior: Option<Vec<f32>>,
    /// Languages whose own fit takes every class to occur alike, as it does in their texts.
    #[serde(default)]
    pub(crate) balanced: Vec<String>,
    /// A language's own fit is pulled towards the common one with the weight of so many texts.
    pub(crate) strength: f32,
    /// The languages whose level these texts can tell. None: all.
    #[serde(default)]
    pub(crate) languages: Option<Vec<String>>,
    /// How the level of the other languages is found; without it they keep the one they learned.
    #[serde(default)]
    pub(crate) quiet: Option<QuietRecipe>,
}

/// Finds the level of a yes-or-no in a language that has only texts labelled no: it says yes to a given share of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct QuietRecipe {
    /// Public sets; the rows of their dev halves that are labelled no are used.
    pub(crate) sets: Vec<String>,
    /// The share of them that is called yes all the same.
    pub(crate) share: f64,
    /// Languages with fewer such texts keep the level they learned.
    pub(crate) least: usize,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LanguageRecipe {
    /// Power of two of the rows of its table.
    pub(crate) bits: u32,
    pub(crate) cost: f32,
    pub(crate) balance: f32,
    /// Sets whose `lang` is trusted.
    pub(crate) sets: Vec<String>,
    pub(crate) per_language_max: usize,
    /// Short random crops made of every text.
    pub(crate) crops: usize,
    /// Texts of other languages, and crops of them, are left out when English leads by this much (log odds).
    pub(crate) english_margin: f32,
    /// What is taken off a language's score (log odds) because it is rarer than its share of the texts.
    #[serde(default)]
    pub(crate) rarer: BTreeMap<String, f32>,
}

/// A text with labels, before features.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) text: String,
    pub(crate) language: Language,
    pub(crate) source: usize,
    pub(crate) weight: f32,
    pub(crate) labels: Vec<(usize, usize)>,
}

/// What the recipe's sets contain, ready to be learned.
pub(crate) struct Corpus {
    pub(crate) plans: Vec<Plan>,
    pub(crate) rows: Vec<Row>,
    pub(crate) sources: Vec<String>,
    /// Rows left out because a held-out row or an earlier row says the same.
    pub(crate) duplicates: usize,
}

/// A text as folding sees it: equal keys are duplicates.
pub(crate) fn key(prepared: &mut Prepared, text: &str) -> Vec<u32> {
    prepared.read(text);
    prepared.gist().collect()
}

impl Recipe {
    /// Parses a recipe file.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Recipe> {
        serde_json::from_slice(bytes).context("cannot read the recipe")
    }

    /// Reads every set; `data` holds the public sets, `own` the project's text. Any `dev` half is held out.
    pub(crate) fn corpus(&self, data: &Path, own: &Path) -> Result<Corpus> {
        let mut classes: Vec<BTreeSet<String>> = vec![BTreeSet::new(); self.heads.len()];
        let mut tables: Vec<(usize, &SetRecipe, Vec<Value>)> = Vec::new();
        let mut sources: Vec<String> = Vec::new();
        let mut held_out: BTreeSet<Vec<u32>> = BTreeSet::new();
        let mut prepared = Prepared::default();
        for set in &self.sets {
            let source = if set.own { OWN.to_owned() } else { set.set.clone() };
            let source_at = sources.iter().position(|s| *s == source).unwrap_or_else(|| {
                sources.push(source);
                sources.len() - 1
            });
            let path = if set.own {
                corpus::find(own, &set.set)?
            } else {
                corpus::find(&data.join(&set.set), "train")?
            };
            let rows = corpus::read(&path)?;
            if !set.own {
                for row in corpus::read(&corpus::find(&data.join(&set.set), "dev")?)? {
                    if let Some(text) = corpus::field(&row, "text") {
                        let key = key(&mut prepared, &text);
                        if key.len() > 2 {
                            held_out.insert(key);
                        }
                    }
                }
            }
            for rule in &set.rules {
                let head = self.head(&rule.head)?;
                if let Some(words) = &rule.words {
                    classes[head].extend(words.keys().cloned());
                    continue;
                }
                match (&rule.yes.as_ref().or(rule.no.as_ref()), &rule.map) {
                    (Some(_), _) => {
                        classes[head].insert("yes".to_owned());
                    }
                    (None, Some(map)) => classes[head].extend(map.values().cloned()),
                    (None, None) => classes[head].extend(
                        rows.iter().filter_map(|row| corpus::list(row, &rule.field).into_iter().next()),
                    ),
                }
            }
            tables.push((source_at, set, rows));
        }
        for (number, head) in self.heads.iter().enumerate() {
            if head.classes.is_empty() && classes[number].is_empty() {
                classes[number].insert("yes".to_owned());
            }
        }
        let apart = self.phrases.apart.iter().flat_map(|language| own_sources(language));
        for source in apart.chain([OWN.to_owned()]) {
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
        let plans = self.plans(&classes, &sources)?;

        let mut rows = Vec::new();
        let mut seen: BTreeSet<(usize, Vec<u32>)> = BTreeSet::new();
        let mut duplicates = 0;
        for (source, set, table) in tables {
            for row in table {
                let Some(text) = corpus::field(&row, "text") else { continue };
                if corpus::field(&row, "lang").is_some_and(|lang| set.skip_languages.contains(&lang)) {
                    continue;
                }
                let key = key(&mut prepared, &text);
                if held_out.contains(&key) || (key.len() > 3 && !seen.insert((source, key))) {
                    duplicates += 1;
                    continue;
                }
                let labels = self.labels(set, &row, &plans)?;
                if labels.is_empty() {
                    continue;
                }
                rows.push(Row {
                    language: language_of(&row, &prepared),
                    text,
                    source,
                    weight: set.weight,
                    labels,
                });
            }
        }
        for (number, language) in self.phrases.languages.iter().enumerate() {
            let path = own.join("phrases").join(format!("{language}.txt"));
            let file =
                std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let phrases = Phrases::parse(&file, matches!(language.as_str(), "ja" | "zh"));
            let phrases = phrases.with_context(|| format!("cannot use {}", path.display()))?;
            let named = |name: &str| sources.iter().position(|s| s == name);
            let own_source = named(OWN).unwrap_or_default();
            let [apart, harm] = own_sources(language).map(|name| named(&name).unwrap_or(own_source));
            for written in phrases.write(self.phrases.per_language, self.seed.wrapping_add(number as u64)) {
                let labels = own_labels(&plans, &written);
                rows.push(Row {
                    source: if written.harm { harm } else { apart },
                    text: written.text,
                    language: Language::new(language),
                    weight: self.phrases.weight,
                    labels,
                });
            }
        }
        Ok(Corpus { plans, rows, sources, duplicates })
    }

    fn head(&self, name: &str) -> Result<usize> {
        self.heads
            .iter()
            .position(|head| head.name == name)
            .with_context(|| format!("the recipe has no head \"{name}\""))
    }

    fn plans(&self, classes: &[BTreeSet<String>], sources: &[String]) -> Result<Vec<Plan>> {
        let mut plans = Vec::new();
        for (number, (head, found)) in self.heads.iter().zip(classes).enumerate() {
            let names: Vec<String> =
                if head.classes.is_empty() { found.iter().cloned().collect() } else { head.classes.clone() };
            ensure!(!names.is_empty(), "head \"{}\" has no labels in any set", head.name);
            let twins = self.heads.iter().filter(|h| h.table == head.table && !h.apart.is_empty()).count();
            ensure!(
                head.apart.is_empty() || twins == 1,
                "head \"{}\" cannot have languages apart: one head of a table can",
                head.name
            );
            let task = Task::ALL.into_iter().find(|task| task.name() == head.name);
            ensure!(task.is_some() || head.aid, "no task is called \"{}\"", head.name);
            let mut leans = Vec::new();
            for name in &head.leans {
                let at = self.heads[..number].iter().position(|h| h.name == *name && h.table == head.table);
                leans.push(at.with_context(|| {
                    format!(
                        "head \"{}\" leans on \"{name}\", which no head before it in its table is",
                        head.name
                    )
                })?);
            }
            let mut source_weights = Vec::new();
            for (source, weight) in &head.source_weights {
                let at = sources.iter().position(|name| name == source);
                let at = at.with_context(|| {
                    format!("head \"{}\" weighs no set of the recipe: {source}", head.name)
                })?;
                source_weights.push((at, *weight));
            }
            plans.push(Plan {
                task: task.filter(|_| !head.aid),
                classes: names,
                cost: head.cost,
                balance: head.balance,
                telling: head.telling,
                source_weights,
                apart: head.apart.iter().map(|tag| Language::new(tag).row()).collect(),
                leans,
            });
        }
        Ok(plans)
    }

    fn labels(&self, set: &SetRecipe, row: &Value, plans: &[Plan]) -> Result<Vec<(usize, usize)>> {
        let mut labels = Vec::new();
        for rule in &set.rules {
            let head = self.head(&rule.head)?;
            let values = corpus::list(row, &rule.field);
            if rule.only.iter().any(|(field, value)| corpus::field(row, field).as_ref() != Some(value)) {
                continue;
            }
            if let Some(words) = &rule.words {
                let text = corpus::field(row, &rule.field).unwrap_or_default();
                let class = spoken_of(&text, words);
                let at = class.and_then(|class| plans[head].classes.iter().position(|have| *have == class));
                labels.extend(at.map(|class| (head, class)));
                continue;
            }
            if let Some(yes) = &rule.yes {
                labels.push((head, usize::from(values.iter().any(|v| yes.contains(v)))));
                continue;
            }
            if let Some(no) = &rule.no {
                if values.iter().any(|v| no.contains(v)) || (values.is_empty() && no.contains(&String::new()))
                {
                    labels.push((head, 0));
                }
                continue;
            }
            let mut found: Option<usize> = None;
            let mut clash = false;
            for value in &values {
                let class = match &rule.map {
                    Some(map) => map.get(value),
                    None => Some(value),
                };
                let at = class.and_then(|class| plans[head].classes.iter().position(|have| have == class));
                clash |= found.is_some() && at.is_some() && found != at;
                found = found.or(at);
            }
            if values.is_empty() {
                found = rule
                    .map
                    .as_ref()
                    .and_then(|map| map.get(""))
                    .and_then(|class| plans[head].classes.iter().position(|have| have == class));
            }
            if let Some(class) = found.filter(|_| !clash) {
                labels.push((head, class));
            }
        }
        Ok(labels)
    }

    /// Learns the tables of all heads but language.
    pub(crate) fn learn(&self, corpus: &Corpus, progress: &mut dyn FnMut(usize, usize)) -> Vec<Part> {
        let spec = Spec { by_language: self.by_language, ..Spec::SHIPPED };
        let all = Spec { names: self.names.iter().copied().max().unwrap_or_default(), ..spec };
        let samples = samples(&corpus.rows, all);
        let part = |(table, bits): (usize, &u32)| {
            let plans: Vec<(usize, Plan)> = corpus
                .plans
                .iter()
                .cloned()
                .enumerate()
                .filter(|(head, _)| self.heads[*head].table == table)
                .collect();
            let spec = Spec { names: self.names.get(table).copied().unwrap_or_default(), ..spec };
            heads::learn(spec, *bits, self.least, &plans, &samples, corpus.sources.len(), progress)
        };
        self.tables.iter().enumerate().map(part).collect()
    }

    /// Learns the language table: texts and random crops of them, Latin script only, over the features all heads share.
    ///
    /// Sets of tweets hold texts that are not in the language they state (English above all). Each half of the texts
    /// is judged by a table learned from the other half; texts that it firmly calls English, and crops that it does,
    /// are left out.
    pub(crate) fn learn_language(
        &self,
        corpus: &Corpus,
        own: &Path,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Part> {
        let recipe = &self.language;
        let plan = Plan {
            task: Some(Task::Language),
            classes: LATIN.map(str::to_owned).to_vec(),
            cost: recipe.cost,
            balance: recipe.balance,
            telling: false,
            source_weights: Vec::new(),
            apart: Vec::new(),
            leans: Vec::new(),
        };
        let mut learn = |samples: &[Sample]| {
            heads::learn(Spec::SHIPPED, recipe.bits, 1, &[(0, plan.clone())], samples, 1, progress)
        };
        let texts = self.language_texts(corpus, own)?;
        let halves: Vec<Part> = (0..2)
            .map(|half| {
                let texts: Vec<_> = texts.iter().skip(half).step_by(2).cloned().collect();
                learn(&self.crops(&texts, 0, &mut |_, _| true))
            })
            .collect();
        let mut scores = Vec::new();
        let samples = self.crops(&texts, recipe.crops, &mut |at, features| {
            let (class, part) = (texts[at].1, &halves[(at + 1) % 2]);
            part.scores(features, 0, &mut scores);
            class == ENGLISH || scores[ENGLISH] - scores[class] < recipe.english_margin
        });
        let mut part = learn(&samples);
        for (class, tag) in LATIN.iter().enumerate() {
            for row in part.bias.chunks_mut(part.width) {
                row[class] -= recipe.rarer.get(*tag).copied().unwrap_or_default();
            }
        }
        Ok(part)
    }

    /// Texts in Latin letters with their class, from trusted sets and the file of other languages.
    fn language_texts(&self, corpus: &Corpus, own: &Path) -> Result<Vec<(String, usize)>> {
        let recipe = &self.language;
        let trusted: Vec<usize> =
            recipe.sets.iter().filter_map(|set| corpus.sources.iter().position(|s| s == set)).collect();
        let mut random = nlp::arith::Random::new(self.seed ^ 0x1a16);
        let mut order: Vec<usize> = (0..corpus.rows.len()).collect();
        random.shuffle(&mut order);
        // Ours first: where public texts are many they would leave no room for plain short ones.
        order.sort_by_key(|at| !corpus.sources[corpus.rows[*at].source].starts_with(OWN));
        let mut counts = [0; LATIN.len()];
        let mut prepared = Prepared::default();
        let mut texts = Vec::new();
        for row in order.into_iter().map(|at| &corpus.rows[at]).filter(|row| trusted.contains(&row.source)) {
            let Some(class) = LATIN.iter().position(|c| *c == row.language.as_str()) else { continue };
            prepared.read(&row.text);
            if counts[class] < recipe.per_language_max && by_script(&prepared.counts) == Script::Latin {
                counts[class] += 1;
                texts.push((row.text.clone(), class));
            }
        }
        let path = own.join("phrases/other.txt");
        let file =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for line in file.lines().filter_map(|line| line.split_once('\t')) {
            let class = LATIN.iter().position(|tag| *tag == line.0).unwrap_or(LATIN.len() - 1);
            texts.extend(line.1.split('|').map(|text| (text.to_owned(), class)));
        }
        Ok(texts)
    }

    /// Whole texts and random crops of one to five words, as far as `keep` agrees (it is told which text a piece is of);
    /// without the whole there are no crops.
    fn crops(
        &self,
        texts: &[(String, usize)],
        crops: usize,
        keep: &mut dyn FnMut(usize, &Features) -> bool,
    ) -> Vec<Sample> {
        let mut random = nlp::arith::Random::new(self.seed ^ 0xc70b);
        let mut prepared = Prepared::default();
        let mut samples = Vec::new();
        for (at, (text, class)) in texts.iter().enumerate() {
            let mut add = |text: &str, weight: f32| {
                prepared.read(text);
                let mut features = Features::default();
                collect(&prepared, Spec::SHIPPED, &mut features);
                let kept = keep(at, &features);
                if kept {
                    let labels = vec![(0, *class)];
                    samples.push(Sample { features, language: 0, source: 0, weight, labels });
                }
                kept
            };
            if !add(text, 1.0) {
                continue;
            }
            let words: Vec<&str> = text
                .split_whitespace()
                .filter(|w| !w.starts_with(['@', '#']) && !w.starts_with("http"))
                .collect();
            let times = if *class == LATIN.len() - 1 { 4 * crops } else { crops };
            for _ in 0..times {
                let length = 1 + random.below(5);
                if words.len() > length {
                    let from = random.below(words.len() - length);
                    add(&words[from..from + length].join(" "), 0.5);
                }
            }
        }
        samples
    }
}

impl CalibrationRecipe {
    /// How often each class is taken to occur in the texts of a language, or in all; none: as often as it does.
    fn prior(&self, language: Option<usize>) -> Option<Vec<f32>> {
        let prior = self.prior.clone()?;
        let tag = language.and_then(|row| nlp::language::KNOWN.get(row));
        let balanced = tag.is_some_and(|tag| self.balanced.iter().any(|known| known == tag));
        Some(if balanced { vec![1.0 / prior.len() as f32; prior.len()] } else { prior })
    }
}

impl QuietRecipe {
    /// The score above which only the wanted share of a language's texts lies.
    fn level(&self, seen: &[(usize, Seen)], language: usize) -> Option<f32> {
        let mut scores: Vec<f32> = seen
            .iter()
            .filter(|(l, one)| *l == language && one.class == 0)
            .map(|(_, one)| one.scores[1])
            .collect();
        scores.sort_by(f32::total_cmp);
        let at = (scores.len() as f64 * (1.0 - self.share)) as usize;
        scores.get(at).copied().filter(|_| scores.len() >= self.least)
    }
}

/// The source of the project's own text.
const OWN: &str = "own";
/// Ends the source of texts about harm, in languages whose texts are a source of their own.
const HARM: &str = "harm";

/// Of a language whose texts are sources of their own: the source of its plain texts and of those about harm.
fn own_sources(language: &str) -> [String; 2] {
    [format!("{OWN}.{language}"), format!("{OWN}.{language}.{HARM}")]
}

/// The classes of the language table.
const LATIN: [&str; 8] = ["de", "en", "es", "fr", "hi-Latn", "it", "pt", "other"];
const ENGLISH: usize = 1;

/// The labels of a built text: every yes-or-no is known, choices where the text says.
fn own_labels(plans: &[Plan], written: &Written) -> Vec<(usize, usize)> {
    let mut labels = Vec::new();
    for (head, plan) in plans.iter().enumerate() {
        let named = |name: &str| plan.classes.iter().position(|class| class == name);
        let Some(task) = plan.task else { continue };
        let class = match task {
            Task::Sentiment => written.sentiment.and_then(|s| named(nlp::understanding::SENTIMENTS[s])),
            Task::Complaint => written.complaint.map(usize::from),
            Task::Severity => written.severity.and_then(|s| named(&s.to_string())),
            Task::Topic => written.topic.and_then(named),
            Task::Language => None,
            act => Some(usize::from(written.acts.contains(&act))),
        };
        labels.extend(class.map(|class| (head, class)));
    }
    labels
}

/// The features of rows.
pub(crate) fn samples(rows: &[Row], spec: Spec) -> Vec<Sample> {
    let mut prepared = Prepared::default();
    rows.iter()
        .map(|row| {
            prepared.read(&row.text);
            prepared.salt = row.language.salt();
            let mut features = Features::default();
            collect(&prepared, spec, &mut features);
            Sample {
                features,
                language: row.language.row(),
                source: row.source,
                weight: row.weight,
                labels: row.labels.clone(),
            }
        })
        .collect()
}

/// The language a row states, with romanised Hindi told from Hindi by its script.
fn language_of(row: &Value, prepared: &Prepared) -> Language {
    let stated = corpus::field(row, "lang").unwrap_or_default();
    match (stated.as_str(), by_script(&prepared.counts)) {
        ("hi", Script::Latin) => Language::new("hi-Latn"),
        ("", Script::Settled(language)) => language,
        (tag, _) => Language::new(tag),
    }
}

/// A model with what went into it.
pub(crate) struct Built {
    pub(crate) model: nlp::Model,
    pub(crate) rows: usize,
    pub(crate) duplicates: usize,
}

impl Recipe {
    /// Everything: read, learn, calibrate on the dev halves, put together.
    pub(crate) fn build(
        &self,
        data: &Path,
        own: &Path,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Built> {
        let corpus = self.corpus(data, own)?;
        let mut parts = self.learn(&corpus, progress);
        parts.push(self.learn_language(&corpus, own, progress)?);
        let model = self.calibrate(parts, &corpus, data)?;
        Ok(Built { model, rows: corpus.rows.len(), duplicates: corpus.duplicates })
    }

    /// The scores of the dev rows of some sets that have a label of a head, with their language.
    fn held_out(
        &self,
        raw: &nlp::Model,
        scratch: &mut nlp::Scratch,
        sets: &[String],
        plan_at: usize,
        corpus: &Corpus,
        data: &Path,
    ) -> Result<Vec<(usize, Seen)>> {
        let plan = &corpus.plans[plan_at];
        let mut seen = Vec::new();
        let Some(task) = plan.task else { return Ok(seen) };
        for set in self.sets.iter().filter(|set| sets.contains(&set.set)) {
            for row in corpus::read(&corpus::find(&data.join(&set.set), "dev")?)? {
                let labels = self.labels(set, &row, &corpus.plans)?;
                let label = labels.iter().find(|(head, _)| *head == plan_at);
                let (Some(text), Some((_, class))) = (corpus::field(&row, "text"), label) else {
                    continue;
                };
                let Some((language, mut scores)) = raw.scores(scratch, &text, task) else {
                    continue;
                };
                if plan.classes.len() == 1 {
                    scores.insert(0, 0.0);
                }
                seen.push((language.row(), Seen { scores, class: *class, weight: 1.0 }));
            }
        }
        Ok(seen)
    }

    /// Fits the probabilities of heads to the dev halves, and says from where on one is sure.
    pub(crate) fn calibrate(&self, mut parts: Vec<Part>, corpus: &Corpus, data: &Path) -> Result<nlp::Model> {
        let mut scratch = nlp::Scratch::default();
        for recipe in &self.calibration {
            let raw = nlp::Model::from_parts(parts.clone());
            let plan_at = self.head(&recipe.head)?;
            let plan = &corpus.plans[plan_at];
            let classes = plan.classes.len().max(2);
            let seen = self.held_out(&raw, &mut scratch, &recipe.sets, plan_at, corpus, data)?;
            let quiet = match &recipe.quiet {
                Some(quiet) => self.held_out(&raw, &mut scratch, &quiet.sets, plan_at, corpus, data)?,
                None => Vec::new(),
            };
            let weighed = |language: Option<usize>| -> Vec<Seen> {
                let mut chosen: Vec<Seen> = seen
                    .iter()
                    .filter(|(l, _)| language.is_none_or(|language| *l == language))
                    .map(|(_, s)| s.clone())
                    .collect();
                if let Some(prior) = recipe.prior(language) {
                    calibrate::reweigh(&mut chosen, &prior);
                }
                chosen
            };
            let common = calibrate::fit(&weighed(None), &Fit::none(classes), 1.0);
            let Some(task) = plan.task else { continue };
            let Some(part) = parts.iter_mut().find(|part| part.head(task).is_some()) else { continue };
            let Some(head_at) = part.heads.iter().position(|head| head.task == task) else { continue };
            let offset = part.heads[head_at].offset;
            for language in 0..nlp::language::ROWS {
                let fitted = calibrate::fit(&weighed(Some(language)), &common, recipe.strength);
                part.heads[head_at].sharpness[language] = fitted.sharpness;
                let name = nlp::language::KNOWN.get(language);
                let bias = &mut part.bias[language * part.width + offset..][..plan.classes.len()];
                if recipe
                    .languages
                    .as_ref()
                    .is_some_and(|all| name.is_none_or(|l| !all.iter().any(|a| a == l)))
                {
                    if let Some(level) = recipe.quiet.as_ref().and_then(|rule| rule.level(&quiet, language)) {
                        bias[0] -= level;
                    }
                    continue;
                }
                match plan.classes.len() {
                    1 => bias[0] += fitted.shift[1] - fitted.shift[0],
                    _ => bias.iter_mut().zip(&fitted.shift).for_each(|(b, s)| *b += s),
                }
            }
        }
        let fitted = nlp::Model::from_parts(parts.clone());
        let mut tops = Vec::new();
        for set in self
            .sets
            .iter()
            .filter(|set| self.calibration.iter().any(|c| c.head == "sentiment" && c.sets.contains(&set.set)))
        {
            for row in corpus::read(&corpus::find(&data.join(&set.set), "dev")?)? {
                let text = corpus::field(&row, "text").unwrap_or_default();
                let answer = fitted.understand(&mut scratch, &text, nlp::Hint::default());
                tops.push(answer.sentiment.iter().copied().fold(0.0, f32::max));
            }
        }
        tops.sort_by(f32::total_cmp);
        let at = (tops.len() as f64 * (1.0 - self.sure_share)) as usize;
        for part in &mut parts {
            part.sure_from = tops.get(at).copied().unwrap_or(0.5);
        }
        Ok(nlp::Model::from_parts(parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(language: usize, scores: &[f32]) -> Vec<(usize, Seen)> {
        scores.iter().map(|s| (language, Seen { scores: vec![0.0, *s], class: 0, weight: 1.0 })).collect()
    }

    #[test]
    fn the_level_lets_only_the_wanted_share_through() {
        let rule = QuietRecipe { sets: Vec::new(), share: 0.1, least: 10 };
        let seen = scores(3, &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
        assert_eq!(rule.level(&seen, 3), Some(9.0));
        assert_eq!(rule.level(&seen, 4), None, "a language without texts keeps its level");
        assert_eq!(rule.level(&seen[1..], 3), None, "so does one with too few");
    }

    #[test]
    fn a_balanced_language_is_fitted_to_classes_that_occur_alike() {
        let recipe: CalibrationRecipe = serde_json::from_value(serde_json::json!({
            "head": "sentiment", "sets": [], "prior": [0.5, 0.25, 0.25], "balanced": ["de"], "strength": 1
        }))
        .unwrap();
        let row = |tag: &str| Some(Language::new(tag).row());
        let third = vec![1.0 / 3.0; 3];
        assert_eq!(recipe.prior(row("de")), Some(third));
        for common in [row("en"), None] {
            assert_eq!(recipe.prior(common), recipe.prior, "{common:?}");
        }
        let free = CalibrationRecipe { prior: None, ..recipe };
        assert_eq!(free.prior(row("de")), None);
    }

    #[test]
    fn a_rule_of_noes_labels_those_and_nothing_else() {
        let recipe: Recipe = serde_json::from_value(serde_json::json!({
            "seed": 1, "tables": [10], "least": 1, "by_language": false,
            "heads": [{"name": "complaint", "table": 0, "cost": 1.0, "balance": 0.7}],
            "sets": [{"set": "s", "rules": [{"head": "complaint", "field": "mood", "no": ["fine", ""]}]}],
            "phrases": {"languages": [], "per_language": 0, "weight": 1.0},
            "calibration": [], "sure_share": 0.7,
            "language": {"bits": 10, "cost": 1.0, "balance": 0.7, "sets": [], "per_language_max": 1, "crops": 0, "english_margin": 3.0}
        }))
        .unwrap();
        let plans = recipe.plans(&[BTreeSet::from(["yes".to_owned()])], &[]).unwrap();
        let labels = |row: Value| recipe.labels(&recipe.sets[0], &row, &plans).unwrap();
        assert_eq!(labels(serde_json::json!({"mood": "fine"})), [(0, 0)]);
        assert_eq!(labels(serde_json::json!({})), [(0, 0)]);
        assert_eq!(labels(serde_json::json!({"mood": "cross"})), []);
    }

    #[test]
    fn words_label_a_text_that_speaks_of_one_class_alone() {
        let words: BTreeMap<String, Vec<String>> = serde_json::from_value(serde_json::json!({
            "delay": ["late", "delay*", "isn t here"], "money": ["refund*"]
        }))
        .unwrap();
        let spoken = |text: &str| spoken_of(text, &words);
        assert_eq!(spoken("@Late train DELAYED again!").as_deref(), Some("delay"));
        assert_eq!(spoken("it isn't here").as_deref(), Some("delay"));
        assert_eq!(spoken("Refunds?").as_deref(), Some("money"));
        assert_eq!(spoken("late refund"), None, "two classes are none");
        assert_eq!(spoken("@late translated http://late #late"), None);
    }

    #[test]
    fn no_text_of_a_dev_half_is_learned_from() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let (data, own) = (root.join("../shared/data/text"), root.join("crates/nlp/training"));
        if !data.exists() {
            println!("skipped: no ../shared/data/text");
            return;
        }
        let recipe = Recipe::parse(include_bytes!("../../../nlp/training/recipe.json")).unwrap();
        let corpus = recipe.corpus(&data, &own).unwrap();
        let mut prepared = Prepared::default();
        // Ours may say "thank you so much" as others do: it was written without looking.
        let public = corpus.rows.iter().filter(|row| !corpus.sources[row.source].starts_with(OWN));
        let learned: BTreeSet<Vec<u32>> =
            public.map(|row| key(&mut prepared, &row.text)).filter(|key| key.len() > 2).collect();
        let mut held_out = 0;
        for set in recipe.sets.iter().filter(|set| !set.own) {
            for row in corpus::read(&corpus::find(&data.join(&set.set), "dev").unwrap()).unwrap() {
                let text = corpus::field(&row, "text").unwrap_or_default();
                assert!(!learned.contains(&key(&mut prepared, &text)), "{}: {text}", set.set);
                held_out += 1;
            }
        }
        assert!(
            learned.len() > 50_000 && held_out > 10_000,
            "{} learned, {held_out} held out",
            learned.len()
        );
    }

    #[test]
    fn a_head_that_weighs_an_unknown_set_is_refused_by_name() {
        let head = HeadRecipe {
            name: "complaint".to_owned(),
            table: 0,
            cost: 1.0,
            balance: 0.7,
            telling: false,
            classes: Vec::new(),
            source_weights: BTreeMap::from([("nowhere".to_owned(), 1.0)]),
            apart: Vec::new(),
            leans: Vec::new(),
            aid: false,
        };
        let recipe: Recipe = serde_json::from_str(include_str!("../../../nlp/training/recipe.json")).unwrap();
        let recipe = Recipe { heads: vec![head], ..recipe };
        let error = recipe.plans(&[BTreeSet::from(["yes".to_owned()])], &["own".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("nowhere"), "{error}");
    }
}
