//! One task learned from a user's own labelled lines.
//!
//! Two linear models, a logistic regression that holds down what tells little of a class and a support vector machine
//! that believes rare features more, are tried with several costs and class weights; then their mean, a shared-embedding
//! table added to it, and leaning on a model that answers the same question already. Few lines are judged by folds, each
//! told by a model that has not seen it, because a small dev half chooses badly; many are judged on the dev lines. What
//! was chosen is learned again from all of them.

use xxhash_rust::xxh3::xxh3_64;

use crate::arith::{exp, ln};
use crate::features::{Features, Spec, collect};
use crate::language::ROWS;
use crate::metrics::{Confusion, calibration_error};
use crate::model::{Model, Scratch};
use crate::part::{Head, Part, Task};
use crate::prepare::Prepared;
use crate::train::joint::{self, Plan, Sample, Settings};
use crate::train::linear::{Loss, Matrix, Objective, Vocabulary, Weights, solve};
use crate::understanding::Hint;

const BITS: u32 = 18;
const STEPS: usize = 60;
const LOG_COSTS: [f32; 3] = [0.3, 1.0, 4.0];
const HINGE_COSTS: [f32; 2] = [0.1, 0.4];
const BALANCES: [f32; 3] = [0.0, 0.5, 1.0];
/// What is tried of the embedding and of the model leaned on, against the spread of the linear scores.
const MIXES: [f32; 2] = [0.25, 0.5];
const LEANS: [f32; 3] = [0.25, 0.5, 1.0];
/// Above this many classes a feature must occur twice to count, and few settings are tried.
const MANY_CLASSES: usize = 25;
/// Above this many documents the embedding is not tried: it helps small sets only, and one dev half judges it badly.
const EMBED_DOCUMENTS_MAX: usize = FOLDED_MAX;
/// Up to this many lines settings are judged by folds.
const FOLDED_MAX: usize = 8000;
const FOLDS: usize = 3;
/// A blend must win by this much, divided by the root of the number of lines that judge it.
const WIN: f64 = 0.1;

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

/// A number for a text: texts with the same [`Prepared::gist`] have the same key.
pub fn key(text: &str) -> u64 {
    let mut prepared = Prepared::default();
    prepared.read(text);
    let gist: Vec<u8> = prepared.gist().flat_map(u32::to_le_bytes).collect();
    xxh3_64(&gist)
}

/// Learns `task`. `classes` has at least two names, each with a train line. Where `base` answers the same question, its
/// score may be leaned on: it must not have learned from the dev lines. `progress` hears of done and total steps.
pub fn learn(
    task: Task,
    classes: &[String],
    train: &[Labelled],
    dev: &[Labelled],
    base: Option<&Model>,
    seed: u64,
    progress: &mut dyn FnMut(usize, usize),
) -> Trained {
    let lines: Vec<&Labelled> = train.iter().chain(dev).collect();
    let lesson = Lesson {
        task,
        classes,
        features: features(&lines, Spec::USER),
        labels: lines.iter().map(|line| line.class as u32).collect(),
        least: if classes.len() > MANY_CLASSES { 2 } else { 1 },
        seed,
    };
    let cuts = cuts(&lines, train.len());
    let many = classes.len() > MANY_CLASSES;
    let embed = lines.len() <= EMBED_DOCUMENTS_MAX && !many;
    let (balances, log_costs, hinge_costs): (&[f32], &[f32], &[f32]) = if many {
        (&BALANCES[..1], &LOG_COSTS[1..], &HINGE_COSTS[1..])
    } else {
        (&BALANCES, &LOG_COSTS, &HINGE_COSTS)
    };
    let fits = (log_costs.len() * balances.len() + hinge_costs.len()) * cuts.len();
    let total = (fits + usize::from(embed) * (cuts.len() + 1) + 2) * STEPS;
    let mut done = 0;
    let mut report = |steps: usize| {
        done += steps;
        progress(done, total);
    };
    let told: Vec<usize> = cuts.iter().flat_map(|cut| cut.told.iter().copied()).collect();
    let good = |scores: &[f32]| lesson.judge(scores, &told);

    let benches: Vec<Bench> = cuts.iter().map(|cut| Bench::new(&lesson, cut)).collect();
    let log = lesson.best_of(Loss::Log, log_costs, balances, &benches, &good, &mut report);
    let hinge = lesson.best_of(Loss::Hinge, hinge_costs, &[log.balance], &benches, &good, &mut report);
    drop(benches);
    let count = classes.len();
    let sizes = [spread(&log.scores, &told, count), spread(&hinge.scores, &told, count)];
    let mean: Vec<f32> =
        log.scores.iter().zip(&hinge.scores).map(|(l, h)| 0.5 * (l / sizes[0] + h / sizes[1])).collect();
    // The mean of both is the more robust; one alone must be clearly better.
    let clearly = good(&mean) + WIN / (told.len() as f64).sqrt();
    let (log_share, hinge_share) = match (log.good, hinge.good) {
        (l, h) if l > clearly && l >= h => (1.0 / sizes[0], 0.0),
        (_, h) if h > clearly => (0.0, 1.0 / sizes[1]),
        _ => (0.5 / sizes[0], 0.5 / sizes[1]),
    };
    let mut scores: Vec<f32> =
        log.scores.iter().zip(&hinge.scores).map(|(l, h)| log_share * l + hinge_share * h).collect();

    let mut mix = 0.0;
    if embed {
        let mut added = vec![0.0f32; scores.len()];
        for cut in &cuts {
            let table = lesson.embedding(&cut.learned, log.balance);
            lesson.tell(&table, &cut.told, &mut added);
            report(STEPS);
        }
        mix = best_share(&MIXES, &scores, &added, spread(&added, &told, count), &good, told.len());
        scores.iter_mut().zip(&added).for_each(|(score, more)| *score += mix * more);
    }
    let mut lean = 0.0;
    if let Some(added) = base.and_then(|base| base_scores(base, task, classes, &lines)) {
        // On dev alone: the model may have learned from the train lines.
        let told: Vec<usize> = (train.len()..lines.len()).collect();
        let good = |scores: &[f32]| lesson.judge(scores, &told);
        lean = best_share(&LEANS, &scores, &added, spread(&added, &told, count), &good, told.len());
        scores.iter_mut().zip(&added).for_each(|(score, more)| *score += lean * more);
    }
    let dev_scores = &scores[train.len() * count..];
    let dev_labels = &lesson.labels[train.len()..];
    let of_told: Vec<f32> =
        told.iter().flat_map(|at| &scores[at * count..(at + 1) * count]).copied().collect();
    let told_labels: Vec<u32> = told.iter().map(|at| lesson.labels[*at]).collect();
    let sharpness = sharpen(&of_told, &told_labels, count);
    let (dev_table, dev_ece) = tell(dev_scores, dev_labels, count, sharpness);

    let all = Cut { learned: (0..lines.len()).collect(), told: Vec::new() };
    let mut table = vec![0.0f32; count << BITS];
    let mut bias = vec![0.0f32; count];
    let whole = Bench::new(&lesson, &all);
    for (choice, loss, share) in [(&log, Loss::Log, log_share), (&hinge, Loss::Hinge, hinge_share)] {
        if share > 0.0 {
            let weights = lesson.solve(&whole, loss, choice.cost, choice.balance, None);
            for (column, row) in whole.vocabulary.row_of.iter().enumerate() {
                for class in 0..count {
                    table[*row as usize * count + class] += share * weights.table[column * count + class];
                }
            }
            bias.iter_mut().zip(&weights.bias).for_each(|(bias, more)| *bias += share * more);
        }
        report(STEPS);
    }
    if mix > 0.0 {
        let embedded = lesson.embedding(&all.learned, log.balance);
        for row in 0..1usize << BITS {
            for class in 0..count {
                table[row * count + class] += mix * weight(&embedded, row, class);
            }
        }
        bias.iter_mut().zip(&embedded.bias).for_each(|(bias, more)| *bias += mix * more);
    }
    let part = part(task, classes, &table, &bias, sharpness, lean);
    let chosen = format!(
        "class balance {}, regression {log_share:.2} at cost {}, vector machine {hinge_share:.2} at cost {}, \
         embedding {mix:.2}, leaning {lean:.2}; judged on {} lines {:.4}",
        log.balance,
        log.cost,
        hinge.cost,
        told.len(),
        good(&scores)
    );
    Trained { model: Model::from_parts(vec![part]), dev: dev_table, dev_ece, chosen }
}

/// Which lines are learned from, and which are told by what was learned.
struct Cut {
    learned: Vec<usize>,
    told: Vec<usize>,
}

/// Folds over all lines where they are few, with equal texts in one fold; else the dev lines.
fn cuts(lines: &[&Labelled], train: usize) -> Vec<Cut> {
    if lines.len() > FOLDED_MAX {
        return vec![Cut { learned: (0..train).collect(), told: (train..lines.len()).collect() }];
    }
    let folds: Vec<usize> = lines.iter().map(|line| (key(&line.text) % FOLDS as u64) as usize).collect();
    (0..FOLDS)
        .map(|fold| {
            let (told, learned) = (0..lines.len()).partition(|at| folds[*at] == fold);
            Cut { learned, told }
        })
        .filter(|cut: &Cut| !cut.told.is_empty() && !cut.learned.is_empty())
        .collect()
}

/// What is to be learned.
struct Lesson<'a> {
    task: Task,
    classes: &'a [String],
    features: Vec<Features>,
    labels: Vec<u32>,
    /// A feature counts from so many lines on.
    least: u32,
    seed: u64,
}

/// A cut as matrices.
struct Bench<'a> {
    vocabulary: Vocabulary,
    /// How much a weight counts with each loss: by what its feature tells of the class, and by how rare the feature is.
    /// Learned in two ways, both models err apart.
    telling: Vec<f32>,
    rarity: Vec<f32>,
    learned: Matrix,
    labels: Vec<u32>,
    told: Matrix,
    told_at: &'a [usize],
}

impl<'a> Bench<'a> {
    fn new(lesson: &Lesson<'_>, cut: &'a Cut) -> Self {
        let documents =
            |at: &[usize]| -> Vec<&Features> { at.iter().map(|at| &lesson.features[*at]).collect() };
        let (learned, told) = (documents(&cut.learned), documents(&cut.told));
        let labels: Vec<u32> = cut.learned.iter().map(|at| lesson.labels[*at]).collect();
        let classes = lesson.classes.len();
        let vocabulary = Vocabulary::learn(Spec::USER, &learned, BITS, lesson.least);
        let rarity = vocabulary.gain.iter().flat_map(|gain| std::iter::repeat_n(*gain, classes)).collect();
        let vocabulary = vocabulary.even();
        Bench {
            telling: vocabulary.telling(&learned, &labels, &[], classes),
            rarity,
            learned: vocabulary.matrix(&learned),
            told: vocabulary.matrix(&told),
            labels,
            told_at: &cut.told,
            vocabulary,
        }
    }
}

/// A setting, how good it is, and the scores it gives to every line that is told.
struct Choice {
    good: f64,
    cost: f32,
    balance: f32,
    scores: Vec<f32>,
}

impl Lesson<'_> {
    fn solve(
        &self,
        bench: &Bench<'_>,
        loss: Loss,
        cost: f32,
        balance: f32,
        start: Option<&Weights>,
    ) -> Weights {
        let class_weights = class_weights(&bench.labels, self.classes.len(), balance);
        let objective = Objective {
            loss,
            matrix: &bench.learned,
            labels: &bench.labels,
            weights: &[],
            class_weights: &class_weights,
            cost,
            gains: match loss {
                Loss::Log => &bench.telling,
                Loss::Hinge => &bench.rarity,
            },
        };
        solve(objective, bench.vocabulary.row_of.len(), start, STEPS, &mut |_| {})
    }

    /// The best of several costs and class weights.
    fn best_of(
        &self,
        loss: Loss,
        costs: &[f32],
        balances: &[f32],
        benches: &[Bench<'_>],
        good: &dyn Fn(&[f32]) -> f64,
        report: &mut dyn FnMut(usize),
    ) -> Choice {
        let count = self.classes.len();
        let mut best: Option<Choice> = None;
        for &balance in balances {
            let mut starts: Vec<Option<Weights>> = benches.iter().map(|_| None).collect();
            for &cost in costs {
                let mut scores = vec![0.0f32; self.labels.len() * count];
                for (bench, start) in benches.iter().zip(&mut starts) {
                    let weights = self.solve(bench, loss, cost, balance, start.as_ref());
                    for (at, told) in bench.told_at.iter().zip(bench.told.scores(&weights).chunks(count)) {
                        scores[at * count..(at + 1) * count].copy_from_slice(told);
                    }
                    *start = Some(weights);
                    report(STEPS);
                }
                let good = good(&scores);
                if best.as_ref().is_none_or(|best| good > best.good) {
                    best = Some(Choice { good, cost, balance, scores });
                }
            }
        }
        match best {
            Some(best) => best,
            None => unreachable!("the lists of settings are not empty"),
        }
    }

    /// Settings are judged by accuracy, F1 and recall together: each alone can be bought at the cost of the others.
    fn judge(&self, scores: &[f32], told: &[usize]) -> f64 {
        let count = self.classes.len();
        let mut table = Confusion::new(count);
        for at in told {
            table.add(self.labels[*at] as usize, top(&scores[at * count..(at + 1) * count]));
        }
        (table.accuracy() + table.macro_f1() + table.macro_recall()) / 3.0
    }

    fn embedding(&self, learned: &[usize], balance: f32) -> Part {
        let plan = Plan {
            task: Some(self.task),
            classes: self.classes.to_vec(),
            weight: 1.0,
            balance,
            reference: None,
        };
        let samples: Vec<Sample> = learned
            .iter()
            .map(|at| Sample {
                features: self.features[*at].clone(),
                language: 0,
                source: 0,
                weight: 1.0,
                labels: vec![(0, self.labels[*at] as usize)],
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
            seed: self.seed,
        };
        joint::learn(Spec::USER, &[plan], &samples, 1, settings, &mut |_, _| {})
    }

    /// The scores a table gives to lines, each put where the line stands.
    fn tell(&self, table: &Part, told: &[usize], out: &mut [f32]) {
        let count = self.classes.len();
        let mut scores = Vec::new();
        for at in told {
            table.scores(&self.features[*at], 0, &mut scores);
            out[at * count..(at + 1) * count].copy_from_slice(&scores[..count]);
        }
    }
}

/// How far the scores of some lines lie from their mean; never zero.
fn spread(scores: &[f32], lines: &[usize], count: usize) -> f32 {
    let of = || lines.iter().flat_map(|at| &scores[at * count..(at + 1) * count]).map(|s| f64::from(*s));
    let n = (lines.len() * count).max(1) as f64;
    let mean = of().sum::<f64>() / n;
    let square = of().map(|s| (s - mean).powi(2)).sum::<f64>() / n;
    (square.sqrt() as f32).max(1e-6)
}

/// What `added` is best multiplied with on top of `scores`: one of `shares` of its `size`, none unless it clearly wins.
fn best_share(
    shares: &[f32],
    scores: &[f32],
    added: &[f32],
    size: f32,
    good: &dyn Fn(&[f32]) -> f64,
    judges: usize,
) -> f32 {
    let mut best = (good(scores) + WIN / (judges.max(1) as f64).sqrt(), 0.0);
    for &share in shares {
        let blended: Vec<f32> = scores.iter().zip(added).map(|(s, a)| s + share / size * a).collect();
        let judged = good(&blended);
        if judged > best.0 {
            best = (judged, share / size);
        }
    }
    best.1
}

fn features(lines: &[&Labelled], spec: Spec) -> Vec<Features> {
    let mut prepared = Prepared::default();
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

fn weight(part: &Part, row: usize, class: usize) -> f32 {
    (f32::from(part.table[row * part.width + class]) - 128.0) * part.scale[class]
}

/// What a model says of the same question, class by class; nothing where it does not answer it.
fn base_scores(model: &Model, task: Task, classes: &[String], lines: &[&Labelled]) -> Option<Vec<f32>> {
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
fn part(task: Task, classes: &[String], table: &[f32], bias: &[f32], sharpness: f32, lean: f32) -> Part {
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
    Part::quantise(Spec::USER, BITS, width, &table, bias.repeat(ROWS), vec![head])
}
