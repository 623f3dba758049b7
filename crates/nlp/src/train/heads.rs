//! Many heads over one table, each solved exactly and apart.
//!
//! Heads share features but no weights, so each can have its own regularisation, class weights and sources; the
//! solutions are the columns of one table. The language enters as an extra feature and becomes the bias of the model;
//! classes are balanced within each source, so that no source's habits become a rule.

use std::collections::BTreeMap;

use crate::arith::{exp, ln};
use crate::features::{Features, Spec};
use crate::language::ROWS;
use crate::part::{Head, Part, Task, Twin};
use crate::train::linear::{Loss, Objective, Vocabulary, solve};

/// A head to be learned.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The task it answers; none: it is learned only because others lean on it, and is not in the table.
    pub task: Option<Task>,
    /// Its classes; one class (`yes`) makes it a yes-or-no.
    pub classes: Vec<String>,
    /// Weight of the losses against the squared weights.
    pub cost: f32,
    /// Within each source, class weights are (mean count / count)^balance.
    pub balance: f32,
    /// Features count for each class by how much they tell of it ([`Vocabulary::telling`]), not by how rare they are.
    pub telling: bool,
    /// What a source's texts count for this head, where that differs from their own weight.
    pub source_weights: Vec<(usize, f32)>,
    /// Languages (rows of the per-language tables) learned from their own texts alone into columns of their own, so
    /// that stretches of letters shared with other languages mean there what they mean there. One head of a part.
    pub apart: Vec<usize>,
    /// The numbers of heads learned before it whose scores are features of it. A score is a sum over features, so what
    /// it brings is added to the weights, and reading costs nothing more. Where languages are apart, only they lean.
    pub leans: Vec<usize>,
}

impl Plan {
    fn weight(&self, sample: &Sample) -> f32 {
        let own = self.source_weights.iter().find(|(source, _)| *source == sample.source);
        own.map_or(sample.weight, |(_, weight)| *weight)
    }
}

/// A labelled text.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Its features.
    pub features: Features,
    /// The row of the per-language tables.
    pub language: usize,
    /// Which source it came from.
    pub source: usize,
    /// What it counts.
    pub weight: f32,
    /// Head and class; for a yes-or-no head class 1 is yes.
    pub labels: Vec<(usize, usize)>,
}

/// How strongly a language may shift a score compared to words.
const TRAIT_VALUE: f32 = 0.3;
/// How strongly the scores of other heads may shift one.
const LEAN_VALUE: f32 = 0.1;
const STEPS: usize = 80;

/// Learns a part from the numbered heads given (labels speak of these numbers); features in fewer than `least` of a
/// head's texts are left out. `progress` hears of finished and total steps.
pub fn learn(
    spec: Spec,
    bits: u32,
    least: u32,
    plans: &[(usize, Plan)],
    samples: &[Sample],
    sources: usize,
    progress: &mut dyn FnMut(usize, usize),
) -> Part {
    let answering = || plans.iter().filter(|(_, plan)| plan.task.is_some());
    let apart = answering().filter(|(_, plan)| !plan.apart.is_empty());
    let own: usize = answering().map(|(_, plan)| plan.classes.len()).sum();
    let used = own + apart.map(|(_, plan)| plan.classes.len()).sum::<usize>();
    let width = match used {
        5 => 5,
        0..=8 => 8,
        9 => 9,
        10..=16 => 16,
        17..=24 => 24,
        25..=32 => 32,
        more => more,
    };
    let mut columns = Columns { table: vec![0.0; width << bits], bias: vec![0.0; ROWS * width], width };
    let mut heads = Vec::new();
    let mut offset = 0;
    let mut twin = None;
    let mut known: BTreeMap<usize, Learned> = BTreeMap::new();
    for (done, (number, plan)) in plans.iter().enumerate() {
        let mut mine: Vec<(&Sample, u32)> = samples
            .iter()
            .filter_map(|sample| {
                sample
                    .labels
                    .iter()
                    .find(|(head, _)| head == number)
                    .map(|(_, class)| (sample, *class as u32))
            })
            .filter(|(sample, _)| plan.weight(sample) > 0.0)
            .collect();
        let mut report = |step| progress(done * STEPS + step, plans.len() * STEPS);
        let leans: Vec<&Learned> = plan.leans.iter().filter_map(|number| known.get(number)).collect();
        let learner = |leans| Learner { plan, spec, bits, least, sources, leans };
        // From all texts, also where some languages are apart: a text may be taken for another language than it is in.
        let all = if plan.apart.is_empty() { leans.clone() } else { Vec::new() };
        let learned = learner(all).learn(&mine, &mut report);
        if let Some(task) = plan.task {
            columns.fill(offset, offset, &learned, &mut |language| !plan.apart.contains(&language));
            if !plan.apart.is_empty() {
                mine.retain(|(sample, _)| plan.apart.contains(&sample.language));
                let apart = learner(leans).learn(&mine, &mut report);
                columns.fill(own, offset, &apart, &mut |language| plan.apart.contains(&language));
                twin = Some(Twin {
                    column: offset,
                    instead: own,
                    count: plan.classes.len(),
                    languages: plan.apart.clone(),
                });
            }
            heads.push(Head::new(task, offset, plan.classes.clone()));
            offset += plan.classes.len();
        }
        if plans.iter().any(|(_, other)| other.leans.contains(number)) {
            known.insert(*number, learned);
        }
    }
    let mut part = Part::quantise(spec, bits, width, &columns.table, columns.bias, heads);
    part.twin = twin;
    part
}

/// The table and the biases that heads are put into.
struct Columns {
    table: Vec<f32>,
    bias: Vec<f32>,
    width: usize,
}

impl Columns {
    /// Puts weights into the columns from `first` on, and biases of the languages wanted to those from `offset` on.
    fn fill(
        &mut self,
        first: usize,
        offset: usize,
        learned: &Learned,
        wanted: &mut dyn FnMut(usize) -> bool,
    ) {
        let count = learned.classes;
        for (row, weights) in self.table.chunks_mut(self.width).zip(learned.weights.chunks(count)) {
            row[first..first + count].copy_from_slice(weights);
        }
        for (language, row) in self.bias.chunks_mut(self.width).enumerate().filter(|(at, _)| wanted(*at)) {
            row[offset..offset + count].copy_from_slice(&learned.bias[language * count..][..count]);
        }
    }
}

/// What one head has learned.
struct Learned {
    classes: usize,
    /// One row of class weights for each row of the table.
    weights: Vec<f32>,
    /// One row of class biases for each language.
    bias: Vec<f32>,
}

impl Learned {
    /// What the words of a text add up to, for each class; no bias.
    fn scores(&self, features: &Features, spec: Spec, bits: u32) -> Vec<f32> {
        let mut scores = vec![0.0; self.classes];
        for (block, norm) in features.blocks(spec) {
            let share = 1.0 / norm;
            for hash in block {
                let row = &self.weights[(hash >> (32 - bits)) as usize * self.classes..][..self.classes];
                scores.iter_mut().zip(row).for_each(|(score, weight)| *score += share * weight);
            }
        }
        scores
    }
}

/// Learns one head from texts of some or of all languages.
struct Learner<'a> {
    plan: &'a Plan,
    spec: Spec,
    bits: u32,
    least: u32,
    sources: usize,
    leans: Vec<&'a Learned>,
}

impl Learner<'_> {
    fn learn(&self, mine: &[(&Sample, u32)], progress: &mut dyn FnMut(usize)) -> Learned {
        let plan = self.plan;
        let count = plan.classes.len().max(2);
        let documents: Vec<&Features> = mine.iter().map(|(sample, _)| &sample.features).collect();
        let labels: Vec<u32> = mine.iter().map(|(_, class)| *class).collect();
        let weights = weights(mine, count, self.sources, plan);
        let mut vocabulary = Vocabulary::learn(self.spec, &documents, self.bits, self.least);
        let mut gains = Vec::new();
        if plan.telling {
            vocabulary = vocabulary.even();
            gains = vocabulary.telling(&documents, &labels, &weights, count);
        }
        let size = vocabulary.row_of.len();
        let mut matrix = vocabulary.matrix(&documents);
        let languages: Vec<u32> = mine.iter().map(|(sample, _)| sample.language as u32).collect();
        matrix.add_column(size as u32, &languages, TRAIT_VALUE);
        let (leaning, means) = self.leaning(&documents);
        if !means.is_empty() {
            matrix.add_columns((size + ROWS) as u32, &leaning);
        }
        if plan.telling {
            gains.resize((size + ROWS + means.len()) * count, 1.0);
        }
        let flat = vec![1.0; count];
        let objective = Objective {
            loss: Loss::Log,
            matrix: &matrix,
            labels: &labels,
            weights: &weights,
            class_weights: &flat,
            cost: plan.cost,
            gains: &gains,
        };
        let solved = solve(objective, size + ROWS + means.len(), None, STEPS, progress);

        // A yes-or-no needs only the difference of its two columns.
        let pick = |weights: &[f32], class: usize| {
            if plan.classes.len() == 1 { weights[1] - weights[0] } else { weights[class] }
        };
        let classes = plan.classes.len();
        let mut learned =
            Learned { classes, weights: vec![0.0; classes << self.bits], bias: vec![0.0; ROWS * classes] };
        for class in 0..classes {
            for (column, row) in vocabulary.row_of.iter().enumerate() {
                let weight = pick(&solved.table[column * count..(column + 1) * count], class);
                learned.weights[*row as usize * classes + class] = weight * vocabulary.gain[column];
            }
            let shares: Vec<f32> = (size + ROWS..size + ROWS + means.len())
                .map(|column| LEAN_VALUE * pick(&solved.table[column * count..(column + 1) * count], class))
                .collect();
            let lost: f32 = shares.iter().zip(&means).map(|(share, mean)| share * mean).sum();
            for language in 0..ROWS {
                let at = (size + language) * count;
                learned.bias[language * classes + class] = pick(&solved.bias, class)
                    + TRAIT_VALUE * pick(&solved.table[at..at + count], class)
                    - lost;
            }
            let mut shares = shares.iter();
            for lean in &self.leans {
                for (theirs, share) in (0..lean.classes).zip(&mut shares) {
                    let weights = lean.weights.iter().skip(theirs).step_by(lean.classes);
                    for (mine, weight) in learned.weights.iter_mut().skip(class).step_by(classes).zip(weights)
                    {
                        *mine += share * weight;
                    }
                }
            }
        }
        learned
    }

    /// The scores of the heads leaned on, for every text, around their means; and the means.
    fn leaning(&self, documents: &[&Features]) -> (Vec<Vec<f32>>, Vec<f32>) {
        let mut scores: Vec<Vec<f32>> = documents
            .iter()
            .map(|features| {
                self.leans.iter().flat_map(|lean| lean.scores(features, self.spec, self.bits)).collect()
            })
            .collect();
        let width = self.leans.iter().map(|lean| lean.classes).sum();
        let mut means = vec![0.0f64; width];
        for row in &scores {
            means.iter_mut().zip(row).for_each(|(mean, score)| *mean += f64::from(*score));
        }
        let means: Vec<f32> = means.iter().map(|sum| (sum / documents.len().max(1) as f64) as f32).collect();
        for row in &mut scores {
            row.iter_mut().zip(&means).for_each(|(score, mean)| *score = LEAN_VALUE * (*score - mean));
        }
        (scores, means)
    }
}

/// The weight of each sample: its own, times that of its class within its source.
fn weights(mine: &[(&Sample, u32)], classes: usize, sources: usize, plan: &Plan) -> Vec<f32> {
    let mut counts = vec![0.0f64; classes * sources];
    for (sample, class) in mine {
        counts[sample.source * classes + *class as usize] += 1.0;
    }
    mine.iter()
        .map(|(sample, class)| {
            let row = &counts[sample.source * classes..(sample.source + 1) * classes];
            let occurring = row.iter().filter(|count| **count > 0.0).count() as f64;
            let mean = row.iter().sum::<f64>() / occurring;
            plan.weight(sample) * exp(plan.balance * ln(mean / row[*class as usize]) as f32)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(task: Option<Task>, classes: &[&str], apart: &[usize], leans: &[usize]) -> Plan {
        Plan {
            task,
            classes: classes.iter().map(|class| (*class).to_owned()).collect(),
            cost: 3.0,
            balance: 0.0,
            telling: false,
            source_weights: Vec::new(),
            apart: apart.to_vec(),
            leans: leans.to_vec(),
        }
    }

    fn features(words: &[u32]) -> Features {
        Features { words: words.iter().map(|word| word << 24).collect(), ..Features::default() }
    }

    fn sample(words: &[u32], language: usize, label: (usize, usize)) -> Sample {
        Sample { features: features(words), language, source: 0, weight: 1.0, labels: vec![label] }
    }

    fn part(plans: &[Plan], samples: &[Sample]) -> Part {
        let plans: Vec<(usize, Plan)> = plans.iter().cloned().enumerate().collect();
        learn(Spec::SHIPPED, 8, 1, &plans, samples, 1, &mut |_, _| ())
    }

    fn scores(part: &Part, words: &[u32], language: usize) -> Vec<f32> {
        let mut scores = Vec::new();
        part.scores(&features(words), language, &mut scores);
        scores
    }

    #[test]
    fn a_head_that_leans_knows_words_only_the_other_has_read() {
        // Head 0 reads the words 1 and 3 as yes, 2 and 4 as no; head 1 has read 1 and 2 alone.
        let aid = [(1, 1), (3, 1), (2, 0), (4, 0)].map(|(word, class)| sample(&[word], 0, (0, class)));
        let mine = [(1, 1), (2, 0)].map(|(word, class)| sample(&[word], 0, (1, class)));
        let samples: Vec<Sample> = aid.into_iter().chain(mine).cycle().take(60).collect();
        let leaning = |leans: &[usize]| {
            let plans = [plan(None, &["yes"], &[], &[]), plan(Some(Task::Complaint), &["yes"], &[], leans)];
            let part = part(&plans, &samples);
            assert_eq!(part.heads.len(), 1, "an aid is not in the table");
            scores(&part, &[3], 0)[0] - scores(&part, &[4], 0)[0]
        };
        assert!(leaning(&[]).abs() < 1e-3, "{}", leaning(&[]));
        assert!(leaning(&[0]) > 0.01, "{}", leaning(&[0]));
    }

    #[test]
    fn what_tells_nothing_of_a_class_is_learned_less_where_that_counts() {
        // The words 1 and 2 tell the class; each text has a word of its own besides, which only chance ties to it.
        let samples: Vec<Sample> = (0..40u32)
            .map(|i| sample(&[1 + i % 2, 10 + i, 60 + i % 4 / 2], 0, (0, (i % 2) as usize)))
            .collect();
        let shares = |telling| {
            let plan = Plan { telling, ..plan(Some(Task::Complaint), &["yes"], &[], &[]) };
            let part = part(&[plan], &samples);
            let score = |word: u32| scores(&part, &[word], 0)[0];
            (score(1) - score(2)).abs() / (score(10) - score(11)).abs()
        };
        assert!(shares(true) > 1.5 * shares(false), "{} {}", shares(true), shares(false));
    }

    #[test]
    fn a_choice_means_something_else_in_a_language_apart() {
        // The words 1, 2 and 3 stand for the classes in language 0, and for the next class each in language 1.
        let samples: Vec<Sample> = (0..2)
            .flat_map(|language| (0..3).map(move |class| (language, class)))
            .map(|(language, class)| sample(&[1 + class as u32], language, (0, (class + language) % 3)))
            .cycle()
            .take(60)
            .collect();
        let part = part(&[plan(Some(Task::Severity), &["1", "2", "3"], &[1], &[])], &samples);
        for word in 1..=3 {
            let told = scores(&part, &[word], 1);
            let right = word as usize % 3;
            assert!((0..3).all(|class| class == right || told[class] < told[right]), "{word}: {told:?}");
            let column = part.column(right, 1);
            assert!(column >= 3 && part.column(right, 0) == right);
        }
    }
}
