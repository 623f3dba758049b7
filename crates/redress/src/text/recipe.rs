//! The recipe of the shipped model: which sets teach which heads, and with what settings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nlp::features::{Features, Spec, collect};
use nlp::language::{Language, Script, by_script};
use nlp::part::{Part, Task};
use nlp::prepare::Prepared;
use nlp::train::joint::{self, Plan, Sample, Settings};
use serde::Deserialize;
use serde_json::Value;

use super::corpus;

/// A whole recipe, as the file says it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    pub seed: u64,
    pub settings: TableSettings,
    pub heads: Vec<HeadRecipe>,
    pub sets: Vec<SetRecipe>,
    pub language: LanguageRecipe,
}

/// Settings of one table.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSettings {
    pub bits: u32,
    pub hidden: usize,
    pub epochs: usize,
    pub rate: f32,
    pub rate_hidden: f32,
    pub decay: f32,
    pub dropout: f32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadRecipe {
    pub name: String,
    pub weight: f32,
    pub balance: f32,
    #[serde(default)]
    pub reference: Option<String>,
    #[serde(default)]
    pub classes: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetRecipe {
    /// Name of the set: a folder of the data, or a file of the project's own text.
    pub set: String,
    #[serde(default)]
    pub own: bool,
    #[serde(default = "one")]
    pub weight: f32,
    pub rules: Vec<Rule>,
}

fn one() -> f32 {
    1.0
}

/// How a field of a row becomes a label of a head.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub head: String,
    pub field: String,
    /// Value to class; rows whose values map to two classes get no label. Absent: the value is the class.
    #[serde(default)]
    pub map: Option<BTreeMap<String, String>>,
    /// Values that mean yes, all others (and none) no.
    #[serde(default)]
    pub yes: Option<Vec<String>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanguageRecipe {
    pub settings: TableSettings,
    pub chars_min: u8,
    pub chars_max: u8,
    /// Sets whose `lang` is trusted.
    pub sets: Vec<String>,
    pub per_language_max: usize,
    /// Short random crops made of every text.
    pub crops: usize,
}

/// A text with labels, before features.
#[derive(Debug, Clone)]
pub struct Row {
    pub text: String,
    pub language: Language,
    pub source: usize,
    pub weight: f32,
    pub labels: Vec<(usize, usize)>,
}

/// What the recipe's sets contain, ready to be learned.
pub struct Corpus {
    pub plans: Vec<Plan>,
    pub rows: Vec<Row>,
    pub sources: Vec<String>,
    /// Rows left out because a held-out row or an earlier row says the same.
    pub duplicates: usize,
}

/// A text as folding sees it: equal keys are duplicates.
pub fn key(prepared: &mut Prepared, text: &str) -> Vec<u32> {
    prepared.read(text);
    prepared
        .tokens
        .iter()
        .filter(|t| matches!(t.kind, nlp::prepare::Kind::Word | nlp::prepare::Kind::Dense | nlp::prepare::Kind::Emoji))
        .map(|t| prepared.hash(t.start as usize, t.end as usize))
        .collect()
}

impl Recipe {
    /// Parses a recipe file.
    pub fn parse(bytes: &[u8]) -> Result<Recipe> {
        serde_json::from_slice(bytes).context("cannot read the recipe")
    }

    /// Reads every set; `data` holds the public sets, `own` the project's text. Any `dev` half is held out.
    pub fn corpus(&self, data: &Path, own: &Path) -> Result<Corpus> {
        let mut classes: Vec<BTreeSet<String>> = vec![BTreeSet::new(); self.heads.len()];
        let mut tables: Vec<(usize, &SetRecipe, Vec<Value>)> = Vec::new();
        let mut sources: Vec<String> = Vec::new();
        let mut held_out: BTreeSet<Vec<u32>> = BTreeSet::new();
        let mut prepared = Prepared::default();
        for set in &self.sets {
            let source = if set.own { "own".to_owned() } else { set.set.clone() };
            let source_at = sources.iter().position(|s| *s == source).unwrap_or_else(|| {
                sources.push(source);
                sources.len() - 1
            });
            let path = if set.own { corpus::find(own, &set.set)? } else { corpus::find(&data.join(&set.set), "train")? };
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
                match (&rule.yes, &rule.map) {
                    (Some(_), _) => {
                        classes[head].insert("yes".to_owned());
                    }
                    (None, Some(map)) => classes[head].extend(map.values().cloned()),
                    (None, None) => classes[head].extend(rows.iter().filter_map(|row| corpus::list(row, &rule.field).into_iter().next())),
                }
            }
            tables.push((source_at, set, rows));
        }
        let plans = self.plans(&classes, &sources)?;

        let mut rows = Vec::new();
        let mut seen: BTreeSet<(usize, Vec<u32>)> = BTreeSet::new();
        let mut duplicates = 0;
        for (source, set, table) in tables {
            for row in table {
                let Some(text) = corpus::field(&row, "text") else { continue };
                let key = key(&mut prepared, &text);
                if held_out.contains(&key) || (key.len() > 3 && !seen.insert((source, key))) {
                    duplicates += 1;
                    continue;
                }
                let labels = self.labels(set, &row, &plans)?;
                if labels.is_empty() {
                    continue;
                }
                rows.push(Row { language: language_of(&row, &prepared), text, source, weight: set.weight, labels });
            }
        }
        Ok(Corpus { plans, rows, sources, duplicates })
    }

    fn head(&self, name: &str) -> Result<usize> {
        self.heads.iter().position(|head| head.name == name).with_context(|| format!("the recipe has no head \"{name}\""))
    }

    fn plans(&self, classes: &[BTreeSet<String>], sources: &[String]) -> Result<Vec<Plan>> {
        let mut plans = Vec::new();
        for (head, found) in self.heads.iter().zip(classes) {
            let names: Vec<String> = if head.classes.is_empty() { found.iter().cloned().collect() } else { head.classes.clone() };
            ensure!(!names.is_empty(), "head \"{}\" has no labels in any set", head.name);
            let reference = match &head.reference {
                None => None,
                Some(name) => sources.iter().position(|source| source == name),
            };
            let task = Task::ALL.into_iter().find(|task| task.name() == head.name);
            plans.push(Plan { task, classes: names, weight: head.weight, balance: head.balance, reference });
        }
        Ok(plans)
    }

    fn labels(&self, set: &SetRecipe, row: &Value, plans: &[Plan]) -> Result<Vec<(usize, usize)>> {
        let mut labels = Vec::new();
        for rule in &set.rules {
            let head = self.head(&rule.head)?;
            let values = corpus::list(row, &rule.field);
            if let Some(yes) = &rule.yes {
                labels.push((head, usize::from(values.iter().any(|v| yes.contains(v)))));
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
                found = rule.map.as_ref().and_then(|map| map.get("")).and_then(|class| plans[head].classes.iter().position(|have| have == class));
            }
            if let Some(class) = found.filter(|_| !clash) {
                labels.push((head, class));
            }
        }
        labels.sort_by_key(|(head, _)| (plans[*head].task.is_none(), *head));
        Ok(labels)
    }

    /// Learns the table of all heads but language.
    pub fn learn(&self, corpus: &Corpus, progress: &mut dyn FnMut(usize, usize)) -> Part {
        let samples = samples(&corpus.rows, Spec::SHIPPED);
        joint::learn(Spec::SHIPPED, &corpus.plans, &samples, corpus.sources.len(), self.settings.with(self.seed), progress)
    }

    /// Learns the language table: texts and random crops of them, Latin script only.
    pub fn learn_language(&self, corpus: &Corpus, progress: &mut dyn FnMut(usize, usize)) -> Part {
        let recipe = &self.language;
        let spec = Spec { chars_min: recipe.chars_min, chars_max: recipe.chars_max, dense_max: 1, reach: 1, once: false };
        let classes: Vec<String> = ["de", "en", "es", "fr", "hi-Latn", "it", "pt", "other"].map(str::to_owned).to_vec();
        let trusted: Vec<usize> = recipe.sets.iter().filter_map(|set| corpus.sources.iter().position(|s| s == set)).collect();
        let mut random = nlp::arith::Random::new(self.seed ^ 0x1a16);
        let mut order: Vec<usize> = (0..corpus.rows.len()).collect();
        random.shuffle(&mut order);
        let mut counts = vec![0; classes.len()];
        let mut prepared = Prepared::default();
        let mut samples = Vec::new();
        for at in order {
            let row = &corpus.rows[at];
            let class = classes.iter().position(|c| c == row.language.as_str()).unwrap_or(classes.len() - 1);
            if !trusted.contains(&row.source) || counts[class] >= recipe.per_language_max {
                continue;
            }
            prepared.read(&row.text);
            if by_script(&prepared.counts) != Script::Latin {
                continue;
            }
            counts[class] += 1;
            let mut add = |text: &str, weight: f32| {
                prepared.read(text);
                let mut features = Features::default();
                collect(&prepared, spec, &mut features);
                samples.push(Sample { features, language: 0, source: 0, weight, labels: vec![(0, class)] });
            };
            add(&row.text, 1.0);
            let words: Vec<&str> = row.text.split_whitespace().filter(|w| !w.starts_with(['@', '#']) && !w.starts_with("http")).collect();
            for _ in 0..recipe.crops {
                let length = 1 + random.below(5);
                if words.len() > length {
                    let from = random.below(words.len() - length);
                    add(&words[from..from + length].join(" "), 0.5);
                }
            }
        }
        let plan = Plan { task: Some(Task::Language), classes, weight: 1.0, balance: 0.5, reference: None };
        joint::learn(spec, &[plan], &samples, 1, recipe.settings.with(self.seed), progress)
    }
}

/// The features of rows.
pub fn samples(rows: &[Row], spec: Spec) -> Vec<Sample> {
    let mut prepared = Prepared::default();
    rows.iter()
        .map(|row| {
            prepared.read(&row.text);
            let mut features = Features::default();
            collect(&prepared, spec, &mut features);
            Sample { features, language: row.language.row(), source: row.source, weight: row.weight, labels: row.labels.clone() }
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

impl TableSettings {
    fn with(self, seed: u64) -> Settings {
        Settings {
            bits: self.bits,
            hidden: self.hidden,
            epochs: self.epochs,
            rate: self.rate,
            rate_hidden: self.rate_hidden,
            decay: self.decay,
            dropout: self.dropout,
            seed,
        }
    }
}

/// A model with what went into it.
pub struct Built {
    pub model: nlp::Model,
    pub rows: usize,
    pub duplicates: usize,
}

impl Recipe {
    /// Everything: read, learn, calibrate on the dev halves, put together.
    pub fn build(&self, data: &Path, own: &Path, progress: &mut dyn FnMut(usize, usize)) -> Result<Built> {
        let corpus = self.corpus(data, own)?;
        let main = self.learn(&corpus, progress);
        let language = self.learn_language(&corpus, progress);
        let model = nlp::Model::from_parts(vec![main, language]);
        Ok(Built { model, rows: corpus.rows.len(), duplicates: corpus.duplicates })
    }
}
