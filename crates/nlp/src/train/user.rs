//! One task learned from a user's own labelled lines.
//!
//! A few settings of the exact linear model are tried and judged on the dev lines; so is a shared-embedding table
//! added to it, and how far to lean on the shipped model where it answers the same question. What dev picked is
//! then learned again from train and dev together.

use crate::arith::{exp, ln};
use crate::features::{Features, Spec, collect};
use crate::language::ROWS;
use crate::metrics::{Confusion, calibration_error};
use crate::model::{Model, Scratch};
use crate::part::{Head, Part, Task};
use crate::train::joint::{self, Plan, Sample, Settings};
use crate::train::linear::{Matrix, Objective, Vocabulary, Weights, solve};
use crate::understanding::Hint;

const BITS: u32 = 18;
const STEPS: usize = 60;
const COSTS: [f32; 4] = [0.5, 2.0, 6.0, 20.0];
const BALANCES: [f32; 2] = [0.0, 0.7];
const LEANS: [f32; 4] = [0.0, 0.3, 0.6, 1.0];
const MIXES: [f32; 3] = [0.0, 0.4, 0.8];
/// Above this many classes a feature must occur twice to count, and one setting is tried instead of all.
const MANY_CLASSES: usize = 25;
/// Above this many documents the embedding is not tried: it only helps small sets.
const EMBED_DOCUMENTS_MAX: usize = 20_000;

/// A text and the number of its class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    /// The text.
    pub text: String,
    /// Index into the classes.
    pub class: usize,
}

/// What was learned, and how good it was on dev before dev was learned too.
#[derive(Debug)]
pub struct Trained {
    /// A model with one head.
    pub model: Model,
    /// Truth against answer on dev.
    pub dev: Confusion,
    /// Expected calibration error on dev, 15 bins.
    pub dev_ece: f64,
    /// What dev picked, for people.
    pub chosen: String,
}

/// Learns `task`. `classes` has at least two names, each with a train line. `progress` hears of done and total steps.
pub fn learn(
    task: Task,
    classes: &[String],
    train: &[Labelled],
    dev: &[Labelled],
    seed: u64,
    progress: &mut dyn FnMut(usize, usize),
) -> Trained {
    let spec = Spec::USER;
    let train_features = features(train, spec);
    let dev_features = features(dev, spec);
    let labels = |lines: &[Labelled]| -> Vec<u32> { lines.iter().map(|l| l.class as u32).collect() };
    let (train_labels, dev_labels) = (labels(train), labels(dev));
    let many = classes.len() > MANY_CLASSES;
    let least = if many { 2 } else { 1 };
    let embed = train.len() <= EMBED_DOCUMENTS_MAX && !many;
    let balances: &[f32] = if many { &BALANCES[..1] } else { &BALANCES };
    let costs: &[f32] = if many { &COSTS[2..] } else { &COSTS };
    let fits = balances.len() * costs.len() + 2 * usize::from(embed) + 1;
    let mut fit = 0;

    let train_refs: Vec<&Features> = train_features.iter().collect();
    let dev_refs: Vec<&Features> = dev_features.iter().collect();
    let vocabulary = Vocabulary::learn(&train_refs, BITS, least);
    let (matrix, dev_matrix) = (vocabulary.matrix(&train_refs), vocabulary.matrix(&dev_refs));
    let mut best: Option<(f64, f32, f32, Vec<f32>)> = None;
    for &balance in balances {
        let class_weights = class_weights(&train_labels, classes.len(), balance);
        let mut start: Option<Weights> = None;
        for &cost in costs {
            let objective = Objective {
                matrix: &matrix,
                labels: &train_labels,
                weights: &[],
                class_weights: &class_weights,
                cost,
            };
            let weights = solve(objective, vocabulary.row_of.len(), start.as_ref(), STEPS, &mut |s| {
                progress(fit * STEPS + s, fits * STEPS)
            });
            fit += 1;
            let scores = dev_matrix.scores(&weights);
            let good = judge(&scores, &dev_labels, classes.len());
            if best.as_ref().is_none_or(|b| good > b.0) {
                best = Some((good, balance, cost, scores));
            }
            start = Some(weights);
        }
    }
    let Some((mut good, balance, cost, mut scores)) = best else {
        unreachable!("the lists of settings are not empty")
    };

    let mut mix = 0.0;
    if embed {
        let table = embedding(task, classes, &train_features, &train_labels, balance, seed, spec);
        fit += 1;
        progress(fit * STEPS, fits * STEPS);
        let added = table_scores(&table, &dev_features, classes.len());
        (good, mix, scores) = best_blend(good, &MIXES, &scores, &added, &dev_labels, classes.len());
    }
    let mut lean = 0.0;
    if let Some(base) = shipped_scores(task, classes, dev) {
        (good, lean, scores) = best_blend(good, &LEANS, &scores, &base, &dev_labels, classes.len());
    }
    let sharpness = sharpen(&scores, &dev_labels, classes.len());
    let (dev_table, dev_ece) = tell(&scores, &dev_labels, classes.len(), sharpness);

    let all_refs: Vec<&Features> = train_features.iter().chain(&dev_features).collect();
    let all_labels: Vec<u32> = train_labels.iter().chain(&dev_labels).copied().collect();
    let vocabulary = Vocabulary::learn(&all_refs, BITS, least);
    let matrix: Matrix = vocabulary.matrix(&all_refs);
    let class_weights = class_weights(&all_labels, classes.len(), balance);
    let objective =
        Objective { matrix: &matrix, labels: &all_labels, weights: &[], class_weights: &class_weights, cost };
    let weights = solve(objective, vocabulary.row_of.len(), None, STEPS, &mut |s| {
        progress(fit * STEPS + s, fits * STEPS)
    });
    let mut table = vec![0.0f32; classes.len() << BITS];
    for (column, row) in vocabulary.row_of.iter().enumerate() {
        for class in 0..classes.len() {
            table[*row as usize * classes.len() + class] =
                weights.table[column * classes.len() + class] * vocabulary.gain[column];
        }
    }
    let mut bias = weights.bias;
    if mix > 0.0 {
        let all: Vec<Features> = train_features.into_iter().chain(dev_features).collect();
        let embedded = embedding(task, classes, &all, &all_labels, balance, seed, spec);
        for row in 0..1usize << BITS {
            for class in 0..classes.len() {
                table[row * classes.len() + class] += mix * weight(&embedded, row, class);
            }
        }
        for (class, bias) in bias.iter_mut().enumerate() {
            *bias += mix * embedded.bias[class];
        }
    }
    let part = part(task, classes, &table, &bias, spec, sharpness, lean);
    let chosen = format!(
        "cost {cost}, class balance {balance}, embedding {mix}, lean on the shipped model {lean}, dev {:.4}",
        good
    );
    Trained { model: Model::from_parts(vec![part]), dev: dev_table, dev_ece, chosen }
}

fn features(lines: &[Labelled], spec: Spec) -> Vec<Features> {
    let mut prepared = crate::prepare::Prepared::default();
    lines
        .iter()
        .map(|line| {
            prepared.read(&line.text);
            let mut features = Features::default();
            collect(&prepared, spec, &mut features);
            features
        })
        .collect()
}

/// (mean count / count)^balance per class.
pub fn class_weights(labels: &[u32], classes: usize, balance: f32) -> Vec<f32> {
    let mut counts = vec![0.0f64; classes];
    for label in labels {
        counts[*label as usize] += 1.0;
    }
    let mean = labels.len() as f64 / classes as f64;
    counts.iter().map(|count| exp(balance * ln(mean / count.max(1.0)) as f32)).collect()
}

fn top(scores: &[f32]) -> usize {
    let mut best = 0;
    for (i, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = i;
        }
    }
    best
}

/// Settings are judged by accuracy, F1 and recall together: each alone can be bought at the cost of the others.
fn judge(scores: &[f32], labels: &[u32], classes: usize) -> f64 {
    let mut table = Confusion::new(classes);
    for (scores, label) in scores.chunks(classes).zip(labels) {
        table.add(*label as usize, top(scores));
    }
    (table.accuracy() + table.macro_f1() + table.macro_recall()) / 3.0
}

/// The share of `added` that is best on top of `scores`; a share must win by a little to be taken.
fn best_blend(
    good: f64,
    shares: &[f32],
    scores: &[f32],
    added: &[f32],
    labels: &[u32],
    classes: usize,
) -> (f64, f32, Vec<f32>) {
    let mut best = (good, 0.0, scores.to_vec());
    for &share in shares.iter().filter(|share| **share > 0.0) {
        let blended: Vec<f32> = scores.iter().zip(added).map(|(s, a)| s + share * a).collect();
        let judged = judge(&blended, labels, classes);
        if judged > best.0 + 0.001 {
            best = (judged, share, blended);
        }
    }
    best
}

fn embedding(
    task: Task,
    classes: &[String],
    features: &[Features],
    labels: &[u32],
    balance: f32,
    seed: u64,
    spec: Spec,
) -> Part {
    let plan = Plan { task: Some(task), classes: classes.to_vec(), weight: 1.0, balance, reference: None };
    let samples: Vec<Sample> = features
        .iter()
        .zip(labels)
        .map(|(f, l)| Sample {
            features: f.clone(),
            language: 0,
            source: 0,
            weight: 1.0,
            labels: vec![(0, *l as usize)],
        })
        .collect();
    let settings = Settings {
        bits: BITS,
        hidden: 16,
        epochs: 10,
        rate: 0.1,
        rate_hidden: 0.1,
        decay: 0.0,
        dropout: 0.1,
        seed,
    };
    joint::learn(spec, &[plan], &samples, 1, settings, &mut |_, _| {})
}

fn weight(part: &Part, row: usize, class: usize) -> f32 {
    (f32::from(part.table[row * part.width + class]) - 128.0) * part.scale[class]
}

fn table_scores(part: &Part, features: &[Features], classes: usize) -> Vec<f32> {
    let mut scores = Vec::new();
    let mut out = Vec::with_capacity(features.len() * classes);
    for document in features {
        part.scores(document, 0, &mut scores);
        out.extend_from_slice(&scores[..classes]);
    }
    out
}

/// What the shipped model says of the same question, class by class; nothing where it does not answer it.
fn shipped_scores(task: Task, classes: &[String], lines: &[Labelled]) -> Option<Vec<f32>> {
    let model = Model::shipped();
    if !matches!(task, Task::Sentiment | Task::Complaint) || !model.answers(task) {
        return None;
    }
    let mut scratch = Scratch::default();
    let mut out = Vec::with_capacity(lines.len() * classes.len());
    for line in lines {
        model.understand(&mut scratch, &line.text, Hint::default());
        out.extend(model.base_scores(&scratch, task, classes, model.parts.len()));
    }
    Some(out)
}

/// The sharpening that makes the dev lines most likely, by golden-section search.
pub fn sharpen(scores: &[f32], labels: &[u32], classes: usize) -> f32 {
    let loss = |sharpness: f32| -> f64 {
        let mut sum = 0.0;
        for (scores, label) in scores.chunks(classes).zip(labels) {
            let top = scores.iter().copied().fold(f32::MIN, f32::max);
            let total: f32 = scores.iter().map(|s| exp((s - top) * sharpness)).sum();
            sum += ln(f64::from(total)) - f64::from((scores[*label as usize] - top) * sharpness);
        }
        sum
    };
    if labels.is_empty() {
        return 1.0;
    }
    let (mut low, mut high) = (0.05f32, 8.0f32);
    for _ in 0..40 {
        let (a, b) = (high - 0.618 * (high - low), low + 0.618 * (high - low));
        if loss(a) < loss(b) { high = b } else { low = a }
    }
    (low + high) / 2.0
}

fn tell(scores: &[f32], labels: &[u32], classes: usize, sharpness: f32) -> (Confusion, f64) {
    let mut table = Confusion::new(classes);
    let mut answers = Vec::with_capacity(labels.len());
    for (scores, label) in scores.chunks(classes).zip(labels) {
        let mut p: Vec<f32> = scores.iter().map(|s| s * sharpness).collect();
        crate::arith::softmax(&mut p);
        let answer = top(&p);
        table.add(*label as usize, answer);
        answers.push((p[answer], answer == *label as usize));
    }
    (table, calibration_error(&answers, 15))
}

/// A yes-or-no task keeps the difference of its two columns, a choice all of them.
fn part(
    task: Task,
    classes: &[String],
    table: &[f32],
    bias: &[f32],
    spec: Spec,
    sharpness: f32,
    lean: f32,
) -> Part {
    let yes_no = task == Task::Complaint;
    let (width, names) = if yes_no { (1, vec!["yes".to_owned()]) } else { (classes.len(), classes.to_vec()) };
    let (table, bias) = if yes_no {
        (table.chunks(2).map(|w| w[1] - w[0]).collect(), vec![bias[1] - bias[0]])
    } else {
        (table.to_vec(), bias.to_vec())
    };
    let mut head = Head::new(task, 0, names);
    head.sharpness = vec![sharpness; ROWS];
    head.lean = lean;
    Part::quantise(spec, BITS, width, &table, bias.repeat(ROWS), vec![head])
}
