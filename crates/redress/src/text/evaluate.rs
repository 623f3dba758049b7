//! `redress evaluate`: how good a model is on labelled lines.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use nlp::metrics::{Confusion, calibration_error};
use nlp::{Hint, Model, Scratch, Understanding};
use serde_json::{Value, json};

use super::classify;
use super::labels::{TextTask, read_lines};
use crate::lines::Refusals;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// One JSON object
    Json,
    /// One JSON object on one line
    Jsonl,
    /// A table for people
    Table,
}

/// Arguments of `redress evaluate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  redress evaluate --task sentiment test.jsonl.gz
  redress evaluate --model topics.rdm --task topic --format json test.jsonl

Lines have \"text\" and the label of the task; \"lang\" and \"source\", where given, split the scores.
For --task language, `hi` and `hi-Latn` count as the same language.")]
pub(crate) struct Args {
    /// A model made by `redress train`; without one the shipped model is scored
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// What the labels are
    #[arg(long)]
    task: TextTask,
    /// Labelled lines, plain or gzipped
    #[arg(value_name = "FILES", required = true, value_delimiter = ',')]
    files: Vec<PathBuf>,
    /// How to print the scores
    #[arg(long, default_value = "table")]
    format: Format,
}

/// Scores a model and prints.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let model = classify::load(args.model.as_deref())?;
    let mut refusals = Refusals::default();
    let lines = read_lines(&args.files, args.task, &mut refusals)?;
    ensure!(!lines.is_empty(), "no line has a label for task {}", args.task.name());
    let scores = Scores::of(&model, args.task, &lines);
    match args.format {
        Format::Json => println!("{}", serde_json::to_string_pretty(&scores.json())?),
        Format::Jsonl => println!("{}", scores.json()),
        Format::Table => scores.print(),
    }
    Ok(refusals.exit_code())
}

/// One labelled line with what splits the scores.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) label: String,
    pub(crate) language: String,
    pub(crate) source: String,
}

struct Scores {
    classes: Vec<String>,
    all: Group,
    by_language: BTreeMap<String, Group>,
    by_source: BTreeMap<String, Group>,
}

struct Group {
    table: Confusion,
    answers: Vec<(f32, bool)>,
}

impl Group {
    fn new(classes: usize) -> Self {
        Self { table: Confusion::new(classes), answers: Vec::new() }
    }

    fn add(&mut self, truth: usize, answer: usize, confidence: f32) {
        self.table.add(truth, answer);
        self.answers.push((confidence, truth == answer));
    }

    fn json(&self) -> Value {
        json!({
            "n": self.table.total(),
            "accuracy": round(self.table.accuracy()),
            "macro_f1": round(self.table.macro_f1()),
            "macro_recall": round(self.table.macro_recall()),
            "ece": round(calibration_error(&self.answers, 15)),
        })
    }
}

fn round(value: f64) -> f64 {
    (value * 1e5).round() / 1e5
}

impl Scores {
    fn of(model: &Model, task: TextTask, lines: &[Line]) -> Scores {
        let mut scratch = Scratch::default();
        let told: Vec<(String, f32)> = lines
            .iter()
            .map(|line| {
                let answer = model.understand(&mut scratch, &line.text, Hint::default());
                best(model, task, &answer)
            })
            .collect();
        let truth = |line: &Line| task.same_as(&line.label);
        let names: BTreeSet<String> =
            lines.iter().map(&truth).chain(told.iter().map(|(name, _)| task.same_as(name))).collect();
        let classes: Vec<String> = names.into_iter().collect();
        let at = |name: &str| classes.iter().position(|class| class == name).unwrap_or_default();
        let mut scores = Scores {
            all: Group::new(classes.len()),
            by_language: BTreeMap::new(),
            by_source: BTreeMap::new(),
            classes: classes.clone(),
        };
        for (line, (name, confidence)) in lines.iter().zip(&told) {
            let (truth, answer) = (at(&truth(line)), at(&task.same_as(name)));
            scores.all.add(truth, answer, *confidence);
            let group = || Group::new(classes.len());
            scores.by_language.entry(line.language.clone()).or_insert_with(group).add(
                truth,
                answer,
                *confidence,
            );
            scores.by_source.entry(line.source.clone()).or_insert_with(group).add(truth, answer, *confidence);
        }
        scores
    }

    fn json(&self) -> Value {
        let mut object = self.all.json();
        let groups = |groups: &BTreeMap<String, Group>| -> Value {
            groups.iter().map(|(name, group)| (name.clone(), group.json())).collect()
        };
        let rows: BTreeMap<&String, BTreeMap<&String, u64>> = self
            .classes
            .iter()
            .enumerate()
            .map(|(t, truth)| {
                let row = self
                    .classes
                    .iter()
                    .enumerate()
                    .map(|(a, answer)| (answer, self.all.table.counts[t * self.classes.len() + a]));
                (truth, row.collect())
            })
            .collect();
        object["confusion"] = json!(rows);
        object["by_language"] = groups(&self.by_language);
        object["by_source"] = groups(&self.by_source);
        object
    }

    fn print(&self) {
        println!(
            "{:<24} {:>7} {:>9} {:>9} {:>9} {:>7}",
            "", "lines", "accuracy", "macro F1", "recall", "ece"
        );
        let row = |name: &str, group: &Group| {
            let table = &group.table;
            let ece = calibration_error(&group.answers, 15);
            println!(
                "{name:<24} {:>7} {:>9.4} {:>9.4} {:>9.4} {ece:>7.4}",
                table.total(),
                table.accuracy(),
                table.macro_f1(),
                table.macro_recall()
            );
        };
        row("all", &self.all);
        for (name, groups) in [("language", &self.by_language), ("source", &self.by_source)] {
            for (value, group) in groups.iter().filter(|_| groups.len() > 1) {
                row(&format!("{name} {value}"), group);
            }
        }
    }
}

/// The answer of a task as a label, and how likely the model holds it to be.
fn best(model: &Model, task: TextTask, answer: &Understanding) -> (String, f32) {
    match task {
        TextTask::Sentiment => {
            let mut best = 0;
            for (i, p) in answer.sentiment.iter().enumerate() {
                if *p > answer.sentiment[best] {
                    best = i;
                }
            }
            (nlp::understanding::SENTIMENTS[best].to_owned(), answer.sentiment[best])
        }
        TextTask::Complaint => {
            let yes = answer.complaint >= 0.5;
            (u8::from(yes).to_string(), if yes { answer.complaint } else { 1.0 - answer.complaint })
        }
        TextTask::Severity => {
            let level = answer.severity.level;
            (level.to_string(), answer.severity.probabilities[usize::from(level)])
        }
        TextTask::Topic | TextTask::Emotion => match answer.topics.as_slice().first() {
            Some((topic, p)) => (model.topics().get(usize::from(*topic)).cloned().unwrap_or_default(), *p),
            None => (String::new(), 0.0),
        },
        TextTask::Language => (answer.language.as_str().to_owned(), 1.0),
    }
}
