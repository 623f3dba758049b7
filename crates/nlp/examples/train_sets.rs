//! What `redress train` makes of public sets with its default settings: one line of scores for each.
//!
//! `cargo run --release -p nlp --example train_sets -- ../shared/data/text [--only NAME,NAME] [--write DIR]`
//!
//! Sets of up to 8000 texts are cut into five folds (train and dev together, by a hash of the text, so that a repeated
//! text lies in one fold); larger ones keep their own halves. Settings are chosen inside the training side, as the
//! command does without `--dev`, so the test side is never looked at. `--write` leaves the same cut as lines (`text`,
//! `label`, `fold`; the fold -1 is never a test), so that another learner can be measured on it.
// A program, not the crate: it reads files and the clock.
#![allow(missing_docs, clippy::disallowed_types, clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use nlp::metrics::{Confusion, area_under_curve};
use nlp::train::user::{self, Labelled};
use nlp::{Hint, Model, Scratch, Task};
use serde_json::Value;

/// Sets with more texts than this keep their own halves.
const FOLDED_MAX: usize = 8000;
const FOLDS: u64 = 5;

/// A set, and which of its rows and fields make the task.
struct Set {
    name: &'static str,
    folder: &'static str,
    task: Task,
    label: fn(&Value) -> Option<String>,
    /// The score the reference tells of it.
    metric: Metric,
    /// The shipped model has learned from it, so leaning on that would be no test.
    known: bool,
}

#[derive(Clone, Copy)]
enum Metric {
    Accuracy,
    MacroF1,
    MacroRecall,
    WeightedF1,
}

fn field(row: &Value, name: &str) -> Option<String> {
    match row.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn sentiment(row: &Value) -> Option<String> {
    polarity(field(row, "sentiment")?)
}

fn polarity(written: String) -> Option<String> {
    let name = match written.as_str() {
        "neg" => "negative",
        "neu" => "neutral",
        "pos" => "positive",
        _ => return None,
    };
    Some(name.to_owned())
}

fn not_neutral(row: &Value) -> Option<String> {
    sentiment(row).filter(|name| name != "neutral")
}

macro_rules! in_language {
    ($tag:literal) => {
        |row| sentiment(row).filter(|_| row.get("lang").and_then(Value::as_str) == Some($tag))
    };
}

const fn set(
    name: &'static str,
    folder: &'static str,
    task: Task,
    metric: Metric,
    label: fn(&Value) -> Option<String>,
) -> Set {
    let known = matches!(folder.as_bytes(), b"tweeteval_sentiment" | b"complaints" | b"xfincorp" | b"umsab");
    Set { name, folder, task, label, metric, known }
}

const SETS: &[Set] = &[
    set("tweeteval-sentiment", "tweeteval_sentiment", Task::Sentiment, Metric::MacroRecall, sentiment),
    set("tweeteval-emotion", "tweeteval_emotion", Task::Topic, Metric::MacroF1, |row| field(row, "emotion")),
    set("tweeteval-offensive", "tweeteval_offensive", Task::Topic, Metric::MacroF1, |row| {
        field(row, "offensive")
    }),
    set("airline", "airline", Task::Sentiment, Metric::MacroF1, sentiment),
    set("airline-reason", "airline", Task::Topic, Metric::Accuracy, |row| field(row, "topic")),
    set("complaints", "complaints", Task::Complaint, Metric::MacroF1, |row| field(row, "complaint")),
    set("complaints-severity", "complaints", Task::Topic, Metric::MacroF1, |row| {
        field(row, "severity_n").filter(|level| level != "0")
    }),
    set("xfincorp", "xfincorp", Task::Complaint, Metric::MacroF1, |row| field(row, "complaint")),
    set("rusentiment-5", "rusentiment", Task::Topic, Metric::WeightedF1, |row| field(row, "label5")),
    set("rusentiment-3", "rusentiment", Task::Sentiment, Metric::MacroF1, sentiment),
    set("sentirueval-banks", "sentirueval_banks", Task::Sentiment, Metric::MacroF1, sentiment),
    set("sentirueval-telecom", "sentirueval_telecom", Task::Sentiment, Metric::MacroF1, sentiment),
    set("sentipolc-2", "sentipolc16", Task::Sentiment, Metric::MacroF1, not_neutral),
    set("absita-2", "absita18", Task::Sentiment, Metric::MacroF1, not_neutral),
    set("jrte", "jrte_pn", Task::Sentiment, Metric::MacroF1, sentiment),
    set("marc-ja", "marc_ja", Task::Sentiment, Metric::MacroF1, sentiment),
    set("wrime", "wrime_subset", Task::Sentiment, Metric::MacroF1, |row| {
        polarity(field(row, "sentiment_derived")?)
    }),
    set("marc-zh", "marc_zh", Task::Sentiment, Metric::MacroF1, sentiment),
    set("zh-reviews", "zh_reviews", Task::Sentiment, Metric::MacroF1, sentiment),
    set("germeval", "germeval17", Task::Sentiment, Metric::Accuracy, sentiment),
    set("banking77", "banking77", Task::Topic, Metric::Accuracy, |row| field(row, "topic")),
    set("umsab-all", "umsab", Task::Sentiment, Metric::MacroF1, sentiment),
    set("umsab-ar", "umsab", Task::Sentiment, Metric::MacroF1, in_language!("ar")),
    set("umsab-de", "umsab", Task::Sentiment, Metric::MacroF1, in_language!("de")),
    set("umsab-en", "umsab", Task::Sentiment, Metric::MacroF1, in_language!("en")),
    set("umsab-es", "umsab", Task::Sentiment, Metric::MacroF1, in_language!("es")),
    set("umsab-fr", "umsab", Task::Sentiment, Metric::MacroF1, in_language!("fr")),
    set("umsab-hi", "umsab", Task::Sentiment, Metric::MacroF1, in_language!("hi")),
    set("umsab-it", "umsab", Task::Sentiment, Metric::MacroF1, in_language!("it")),
    set("umsab-pt", "umsab", Task::Sentiment, Metric::MacroF1, in_language!("pt")),
];

/// A labelled text and the test it belongs to; none for texts that are only learned from.
struct Line {
    text: String,
    label: String,
    fold: Option<u64>,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (mut data, mut only, mut write) = (None, None, None);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--only" => only = arguments.next(),
            "--write" => write = arguments.next().map(PathBuf::from),
            _ => data = Some(PathBuf::from(argument)),
        }
    }
    let data = data.unwrap_or_else(|| PathBuf::from("../shared/data/text"));
    if !data.exists() {
        println!("skipped: no {}", data.display());
        return Ok(());
    }
    let wanted = |set: &Set| only.as_ref().is_none_or(|names| names.split(',').any(|name| name == set.name));
    println!("| set | texts, tests | score | accuracy | macro F1 | recall | AUC | seconds |");
    println!("|---|---|---|---|---|---|---|---|");
    for set in SETS.iter().filter(|set| wanted(set)) {
        let lines = read(&data, set)?;
        match &write {
            Some(folder) => leave(&folder.join(format!("{}.jsonl", set.name)), &lines)?,
            None => measure(set, &lines)?,
        }
    }
    Ok(())
}

fn read(data: &Path, set: &Set) -> Result<Vec<Line>> {
    let mut halves = Vec::new();
    for half in ["train", "dev"] {
        let path = data.join(set.folder).join(format!("{half}.jsonl.gz"));
        let file = std::fs::File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut lines = Vec::new();
        for line in BufReader::new(flate2::read::MultiGzDecoder::new(file)).lines() {
            let row: Value = serde_json::from_str(&line?)?;
            if let (Some(text), Some(label)) = (row.get("text").and_then(Value::as_str), (set.label)(&row)) {
                lines.push((text.to_owned(), label));
            }
        }
        halves.push(lines);
    }
    let (Some(dev), Some(train)) = (halves.pop(), halves.pop()) else { bail!("two halves were read") };
    if train.len() + dev.len() <= FOLDED_MAX {
        let line = |(text, label): (String, String)| {
            let fold = Some(user::key(&text) % FOLDS);
            Line { text, label, fold }
        };
        return Ok(train.into_iter().chain(dev).map(line).collect());
    }
    let known: std::collections::BTreeSet<u64> = train.iter().map(|(text, _)| user::key(text)).collect();
    let learned = train.into_iter().map(|(text, label)| Line { text, label, fold: None });
    let told = dev
        .into_iter()
        .filter(|(text, _)| !known.contains(&user::key(text)))
        .map(|(text, label)| Line { text, label, fold: Some(0) });
    Ok(learned.chain(told).collect())
}

fn leave(path: &Path, lines: &[Line]) -> Result<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    for line in lines {
        let fold = line.fold.map_or(-1, |fold| fold as i64);
        writeln!(file, "{}", serde_json::json!({"text": line.text, "label": line.label, "fold": fold}))?;
    }
    Ok(file.flush()?)
}

fn measure(set: &Set, lines: &[Line]) -> Result<()> {
    let names: BTreeMap<&str, usize> = {
        let found: std::collections::BTreeSet<&str> = lines.iter().map(|line| line.label.as_str()).collect();
        found.into_iter().enumerate().map(|(number, name)| (name, number)).collect()
    };
    let classes: Vec<String> = names.keys().map(|name| (*name).to_owned()).collect();
    let mut table = Confusion::new(classes.len());
    let mut yes = Vec::new();
    let folds: std::collections::BTreeSet<u64> = lines.iter().filter_map(|line| line.fold).collect();
    let base = (!set.known).then(Model::shipped);
    let began = Instant::now();
    for fold in &folds {
        let (test, learned): (Vec<&Line>, Vec<&Line>) =
            lines.iter().partition(|line| line.fold == Some(*fold));
        let labelled: Vec<Labelled> = learned
            .iter()
            .map(|line| Labelled { text: line.text.clone(), class: names[line.label.as_str()] })
            .collect();
        let (dev, train): (Vec<Labelled>, Vec<Labelled>) =
            labelled.into_iter().partition(|line| (user::key(&line.text) / FOLDS).is_multiple_of(10));
        let trained = user::learn(set.task, &classes, &train, &dev, base, 7, &mut |_, _| {});
        eprintln!("{} fold {fold}: {}", set.name, trained.chosen);
        let model = Model::shipped().overlay(trained.model);
        let mut scratch = Scratch::default();
        for line in test {
            let told = model.understand(&mut scratch, &line.text, Hint::default());
            let answer = match set.task {
                Task::Sentiment => best(&told.sentiment, &classes),
                Task::Complaint => usize::from(told.complaint >= 0.5),
                _ => told.topics.as_slice().first().map_or(0, |(topic, _)| usize::from(*topic)),
            };
            let truth = names[line.label.as_str()];
            table.add(truth, answer);
            yes.push((told.complaint, truth == 1));
        }
    }
    let seconds = began.elapsed().as_secs_f64() / folds.len() as f64;
    let auc = if matches!(set.task, Task::Complaint) {
        format!("{:.3}", area_under_curve(&yes))
    } else {
        String::new()
    };
    let score = match set.metric {
        Metric::Accuracy => ("accuracy", table.accuracy()),
        Metric::MacroF1 => ("macro F1", table.macro_f1()),
        Metric::MacroRecall => ("recall", table.macro_recall()),
        Metric::WeightedF1 => ("weighted F1", weighted_f1(&table)),
    };
    println!(
        "| {} | {}, {} | {} {:.1} | {:.1} | {:.1} | {:.1} | {auc} | {seconds:.0} |",
        set.name,
        lines.len(),
        table.total(),
        score.0,
        100.0 * score.1,
        100.0 * table.accuracy(),
        100.0 * table.macro_f1(),
        100.0 * table.macro_recall(),
    );
    Ok(())
}

/// The likeliest of the classes a set has.
fn best(sentiment: &[f32; 3], classes: &[String]) -> usize {
    let mut best = (0, f32::MIN);
    for (name, p) in nlp::understanding::SENTIMENTS.iter().zip(sentiment) {
        if let Some(at) = classes.iter().position(|class| class == name)
            && *p > best.1
        {
            best = (at, *p);
        }
    }
    best.0
}

/// F1 of each class, weighed by how often it is the truth.
fn weighted_f1(table: &Confusion) -> f64 {
    let n = table.classes;
    let total = table.total() as f64;
    (0..n)
        .map(|class| {
            let truths: u64 = table.counts[class * n..(class + 1) * n].iter().sum();
            let answers: u64 = table.counts.iter().skip(class).step_by(n).sum();
            let right = table.counts[class * n + class] as f64;
            truths as f64 / total * 2.0 * right / ((truths + answers) as f64).max(1.0)
        })
        .sum()
}
