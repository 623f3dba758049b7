//! `redress train`: a model from labelled lines, a forecast from finished threads, or the shipped model from its recipe.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use nlp::prepare::Prepared;
use nlp::train::user::{self, Labelled};

use super::evaluate::Line;
use super::labels::{TextTask, read_lines};
use super::recipe::{self, Recipe};
use crate::lines::Refusals;

/// Conflicting texts that are named one by one.
const CONFLICTS_NAMED_MAX: usize = 5;
/// Of ten train lines this many become dev when no dev lines are given.
const DEV_TENTHS: u32 = 1;

/// What can be trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum TrainTask {
    /// Label `sentiment`: negative, neutral, positive (or neg, neu, pos)
    Sentiment,
    /// Label `complaint`: 0 or 1
    Complaint,
    /// Label `severity_n`: 0 (none) to 4 (blame)
    Severity,
    /// Label `topic`: any names
    Topic,
    /// Label `lang`: BCP 47 tags
    Language,
    /// Label `emotion`: any names, told as topics
    Emotion,
    /// A forecast of how far threads of one kind spread, from a folder of finished threads
    Cascade,
}

/// Arguments of `redress train`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  redress train --task topic --train mine.jsonl --dev mine-dev.jsonl --out topics.rdm
  redress train --task sentiment --train a.jsonl.gz,b.jsonl.gz --out sentiment.rdm
  redress train --task cascade --train threads/ --out threads.model
  redress train --recipe crates/nlp/training/recipe.json --data ../shared/data/text --out shipped.rdm

Lines are objects with \"text\" and the label of the task; lines without the label are passed over.
Without --dev every tenth text is kept for it. Settings are chosen on dev, or, where train and dev
are 8000 lines or fewer, by folds over both. The model is then learned from train and dev together; the
dev scores shown are those of models that had not seen the dev line they answer.")]
pub(crate) struct Args {
    /// What to learn
    #[arg(long, required_unless_present = "recipe")]
    task: Option<TrainTask>,
    /// Labelled lines (for cascade: a folder of finished threads), repeated or comma-separated
    #[arg(long, value_name = "FILES", value_delimiter = ',', required_unless_present = "recipe")]
    train: Vec<PathBuf>,
    /// Lines to choose settings and measure with
    #[arg(long, value_name = "FILES", value_delimiter = ',')]
    dev: Vec<PathBuf>,
    /// Where the model goes; without it only the scores are shown
    #[arg(long, value_name = "MODEL")]
    out: Option<PathBuf>,
    /// Same seed, same bytes
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Rebuild the shipped model from this recipe; the project's own text lies beside it
    #[arg(long, value_name = "FILE", requires = "out", conflicts_with_all = ["task", "train"])]
    recipe: Option<PathBuf>,
    /// Where the recipe's public sets are
    #[arg(long, value_name = "DIR", default_value = "../shared/data/text")]
    data: PathBuf,
}

/// Learns, shows dev scores, writes the model.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    if let (Some(recipe), Some(out)) = (&args.recipe, &args.out) {
        return rebuild(recipe, &args.data, out);
    }
    let task = match args.task {
        Some(TrainTask::Cascade) => {
            return crate::detection::cascade::train(&args.train, args.out.as_deref());
        }
        Some(TrainTask::Sentiment) => TextTask::Sentiment,
        Some(TrainTask::Complaint) => TextTask::Complaint,
        Some(TrainTask::Severity) => TextTask::Severity,
        Some(TrainTask::Topic) => TextTask::Topic,
        Some(TrainTask::Language) => TextTask::Language,
        Some(TrainTask::Emotion) => TextTask::Emotion,
        None => bail!("name a --task or a --recipe"),
    };
    let mut refusals = Refusals::default();
    let mut train = read_lines(&args.train, task, &mut refusals)?;
    let mut dev = read_lines(&args.dev, task, &mut refusals)?;
    if args.dev.is_empty() {
        (train, dev) = split(train);
    }
    let mut notes = Vec::new();
    let classes = classes(task, &train, &mut notes)?;
    let checked = check(&classes, train, dev, &mut notes);
    for note in notes {
        eprintln!("redress: {note}");
    }
    let (train, dev) = checked?;
    let bar = progress();
    let trained = user::learn(
        task.head(),
        &classes,
        &train,
        &dev,
        Some(nlp::Model::shipped()),
        args.seed,
        &mut |done, total| {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
        },
    );
    bar.finish_and_clear();
    println!("task           {}", task.name());
    println!("lines          {} train, {} dev, {} classes", train.len(), dev.len(), classes.len());
    println!("chosen         {}", trained.chosen);
    println!("dev accuracy   {:.4}", trained.dev.accuracy());
    println!("dev macro F1   {:.4}", trained.dev.macro_f1());
    println!("dev recall     {:.4}", trained.dev.macro_recall());
    println!("dev ece        {:.4}", trained.dev_ece);
    if let Some(out) = &args.out {
        std::fs::write(out, trained.model.to_bytes())
            .with_context(|| format!("cannot write {}", out.display()))?;
        println!("model          {} ({})", out.display(), trained.model.version());
    }
    Ok(refusals.exit_code())
}

/// Splits by the text, so that the same text always lands on the same side.
fn split(lines: Vec<Line>) -> (Vec<Line>, Vec<Line>) {
    let mut prepared = Prepared::default();
    lines.into_iter().partition(|line| {
        let mixed = recipe::key(&mut prepared, &line.text)
            .iter()
            .fold(17u32, |hash, word| hash.wrapping_mul(0x9e37_79b1) ^ word);
        (mixed.wrapping_mul(0x85eb_ca6b) >> 8) % 10 >= DEV_TENTHS
    })
}

/// The classes that are learned: those that occur, in the task's order or by name. Those that do not are noted.
fn classes(task: TextTask, train: &[Line], notes: &mut Vec<String>) -> Result<Vec<String>> {
    let found: BTreeSet<&str> = train.iter().map(|line| line.label.as_str()).collect();
    let classes: Vec<String> = match task.fixed_classes() {
        Some(fixed) => {
            for class in fixed.iter().filter(|class| !found.contains(**class)) {
                notes.push(format!("no train line is labelled {class}: the model will never answer it"));
            }
            fixed.iter().filter(|class| found.contains(**class)).map(|class| (*class).to_owned()).collect()
        }
        None => found.into_iter().map(str::to_owned).collect(),
    };
    match classes.as_slice() {
        [] => bail!("no train line has a label for task {}", task.name()),
        [one] => bail!("every train line is labelled {one}: there is nothing to tell apart"),
        _ => Ok(classes),
    }
}

/// Notes what is odd about the lines and turns labels into numbers. Dev lines that repeat a train text are left out.
fn check(
    classes: &[String],
    train: Vec<Line>,
    dev: Vec<Line>,
    notes: &mut Vec<String>,
) -> Result<(Vec<Labelled>, Vec<Labelled>)> {
    let mut prepared = Prepared::default();
    let mut seen: BTreeMap<Vec<u32>, String> = BTreeMap::new();
    let (mut repeated, mut conflicting) = (0, 0);
    for line in &train {
        match seen.entry(recipe::key(&mut prepared, &line.text)) {
            std::collections::btree_map::Entry::Vacant(new) => {
                new.insert(line.label.clone());
            }
            std::collections::btree_map::Entry::Occupied(old) if *old.get() == line.label => repeated += 1,
            std::collections::btree_map::Entry::Occupied(old) => {
                conflicting += 1;
                if conflicting <= CONFLICTS_NAMED_MAX {
                    let start: String = line.text.chars().take(60).collect();
                    notes.push(format!("labelled both {} and {}: {start:?}", old.get(), line.label));
                }
            }
        }
    }
    if repeated > 0 {
        notes.push(format!(
            "{repeated} train lines repeat an earlier one; they count as often as they stand there"
        ));
    }
    if conflicting > 0 {
        notes.push(format!(
            "{conflicting} train lines repeat an earlier text with another label; all were kept"
        ));
    }
    let number = |line: Line| -> Option<Labelled> {
        let class = classes.iter().position(|class| *class == line.label)?;
        Some(Labelled { text: line.text, class })
    };
    let before = dev.len();
    let dev: Vec<Line> =
        dev.into_iter().filter(|line| !seen.contains_key(&recipe::key(&mut prepared, &line.text))).collect();
    if dev.len() < before {
        notes.push(format!("{} dev lines repeat a train text and were left out", before - dev.len()));
    }
    let unseen: BTreeSet<&str> = dev
        .iter()
        .map(|line| line.label.as_str())
        .filter(|label| !classes.iter().any(|class| class == label))
        .collect();
    for label in unseen {
        notes.push(format!("dev has the label {label}, train has not: those lines were left out"));
    }
    let train: Vec<Labelled> = train.into_iter().filter_map(number).collect();
    let dev: Vec<Labelled> = dev.into_iter().filter_map(number).collect();
    if dev.is_empty() {
        bail!("no dev line is left to choose settings with; give some with --dev");
    }
    Ok((train, dev))
}

fn rebuild(path: &Path, data: &Path, out: &Path) -> Result<ExitCode> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let recipe = Recipe::parse(&bytes)?;
    let own = path.parent().unwrap_or(Path::new("."));
    let bar = progress();
    let mut show = |done: usize, total: usize| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    };
    let built = recipe.build(data, own, &mut show)?;
    bar.finish_and_clear();
    println!("rows           {} ({} duplicates left out)", built.rows, built.duplicates);
    println!("model          {} ({})", out.display(), built.model.version());
    std::fs::write(out, built.model.to_bytes()).with_context(|| format!("cannot write {}", out.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn progress() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("learning {bar:30} {percent}% {eta}") {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, label: &str) -> Line {
        Line {
            text: text.to_owned(),
            label: label.to_owned(),
            language: String::new(),
            source: String::new(),
        }
    }

    #[test]
    fn labels_of_one_kind_are_refused_by_name() {
        let classes = |task, lines: &[Line]| classes(task, lines, &mut Vec::new());
        let error = classes(TextTask::Topic, &[line("a", "x"), line("b", "x")]).unwrap_err();
        assert_eq!(error.to_string(), "every train line is labelled x: there is nothing to tell apart");
        assert!(
            classes(TextTask::Complaint, &[]).unwrap_err().to_string().contains("no train line has a label")
        );
    }

    #[test]
    fn empty_classes_repeats_and_conflicting_labels_are_named() {
        let mut notes = Vec::new();
        let train = vec![
            line("the parcel never came", "negative"),
            line("The parcel never came!", "negative"),
            line("the PARCEL never came", "positive"),
            line("lovely shop", "positive"),
        ];
        let dev =
            vec![line("lovely shop", "positive"), line("opens at nine", "neutral"), line("bad", "negative")];
        let found = classes(TextTask::Sentiment, &train, &mut notes).unwrap();
        let (train, dev) = check(&found, train, dev, &mut notes).unwrap();
        assert_eq!((train.len(), dev.len()), (4, 1));
        assert_eq!(
            notes,
            [
                "no train line is labelled neutral: the model will never answer it",
                "labelled both negative and positive: \"the PARCEL never came\"",
                "1 train lines repeat an earlier one; they count as often as they stand there",
                "1 train lines repeat an earlier text with another label; all were kept",
                "1 dev lines repeat a train text and were left out",
                "dev has the label neutral, train has not: those lines were left out",
            ]
        );
    }

    #[test]
    fn classes_keep_the_order_of_the_task() {
        let lines = [line("a", "positive"), line("b", "negative")];
        let classes = |task, lines: &[Line]| classes(task, lines, &mut Vec::new()).unwrap();
        assert_eq!(classes(TextTask::Sentiment, &lines), ["negative", "positive"]);
        assert_eq!(classes(TextTask::Topic, &[line("a", "z"), line("b", "y")]), ["y", "z"]);
    }

    #[test]
    fn dev_lines_that_repeat_a_train_text_are_left_out() {
        let names = ["x".to_owned(), "y".to_owned()];
        let train = vec![line("the parcel never came", "x"), line("all fine here", "y")];
        let dev = vec![
            line("The parcel NEVER came!", "x"),
            line("something new entirely", "y"),
            line("unknown to train", "z"),
        ];
        let (train, dev) = check(&names, train, dev, &mut Vec::new()).unwrap();
        assert_eq!((train.len(), dev.len()), (2, 1));
        assert_eq!(dev[0], Labelled { text: "something new entirely".to_owned(), class: 1 });
    }

    #[test]
    fn without_dev_the_same_text_always_falls_on_the_same_side() {
        let lines: Vec<Line> =
            (0..400).map(|i| line(&format!("text number w{} v{}", i % 200, i % 7), "x")).collect();
        let (train, dev) = split(lines.clone());
        assert_eq!(train.len() + dev.len(), 400);
        assert!((10..100).contains(&dev.len()), "{}", dev.len());
        assert_eq!(split(lines).1.len(), dev.len());
    }

    #[test]
    fn a_trained_model_answers_its_task_and_the_same_seed_gives_the_same_bytes() {
        let texts = |kind: &str| -> Vec<Labelled> {
            let words = if kind == "a" {
                ["apples pears", "plums cherries", "fruit salad"]
            } else {
                ["nails bolts", "hammer screws", "tool box"]
            };
            (0..30)
                .map(|i| Labelled {
                    text: format!("{} {}", words[i % 3], i),
                    class: usize::from(kind != "a"),
                })
                .collect()
        };
        let names = ["fruit".to_owned(), "tools".to_owned()];
        let all: Vec<Labelled> = texts("a").into_iter().chain(texts("b")).collect();
        let learn =
            || user::learn(nlp::Task::Topic, &names, &all, &all[25..35], None, 7, &mut |_, _| {}).model;
        let model = nlp::Model::shipped().overlay(learn());
        let told = model.understand(&mut nlp::Scratch::default(), "screws and bolts", nlp::Hint::default());
        assert_eq!(model.topics()[usize::from(told.topics.as_slice()[0].0)], "tools");
        assert_eq!(learn().to_bytes(), learn().to_bytes());
    }
}
