//! Many heads over one table, each solved exactly and apart.
//!
//! Heads share features but no weights, so each can have its own regularisation, class weights and sources; the
//! solutions are the columns of one table. The language enters as an extra feature and becomes the bias of the model;
//! classes are balanced within each source, so that no source's habits become a rule.

use crate::arith::{exp, ln};
use crate::features::{Features, Spec};
use crate::language::ROWS;
use crate::part::{Head, Part, Task, Twin};
use crate::train::linear::{Objective, Vocabulary, solve};

/// A head to be learned.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The task it answers.
    pub task: Task,
    /// Its classes; one class (`yes`) makes it a yes-or-no.
    pub classes: Vec<String>,
    /// Weight of the losses against the squared weights.
    pub cost: f32,
    /// Within each source, class weights are (mean count / count)^balance.
    pub balance: f32,
    /// What a source's texts count for this head, where that differs from their own weight.
    pub source_weights: Vec<(usize, f32)>,
    /// Languages (rows of the per-language tables) learned from their own texts alone into a column of their own, so
    /// that stretches of letters shared with other languages mean there what they mean there. Yes-or-no heads only.
    pub apart: Vec<usize>,
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
    let apart = plans.iter().filter(|(_, plan)| !plan.apart.is_empty()).count();
    let used: usize = plans.iter().map(|(_, plan)| plan.classes.len()).sum::<usize>() + apart;
    let width = match used {
        0..=8 => 8,
        9 => 9,
        10..=16 => 16,
        17..=24 => 24,
        25..=32 => 32,
        more => more,
    };
    let mut table = vec![0.0f32; width << bits];
    let mut bias = vec![0.0f32; ROWS * width];
    let mut heads = Vec::new();
    let mut offset = 0;
    let mut twin = None;
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
        let mut columns = Columns { table: &mut table, bias: &mut bias, width, offset };
        let mut report = |step| progress(done * STEPS + step, plans.len() * STEPS);
        let learner = Learner { plan, bits, least, sources };
        // From all texts, also where some languages are apart: a text may be taken for another language than it is in.
        learner.learn(&mine, offset, &mut columns, &mut report);
        if !plan.apart.is_empty() {
            mine.retain(|(sample, _)| plan.apart.contains(&sample.language));
            learner.learn(&mine, used - 1, &mut columns, &mut report);
            twin = Some(Twin { column: offset, instead: used - 1, languages: plan.apart.clone() });
        }
        heads.push(Head::new(plan.task, offset, plan.classes.clone()));
        offset += plan.classes.len();
    }
    let mut part = Part::quantise(spec, bits, width, &table, bias, heads);
    part.twin = twin;
    part
}

/// The columns of a table that one head fills.
struct Columns<'a> {
    table: &'a mut [f32],
    bias: &'a mut [f32],
    width: usize,
    offset: usize,
}

/// Learns one head from texts of some or of all languages.
struct Learner<'a> {
    plan: &'a Plan,
    bits: u32,
    least: u32,
    sources: usize,
}

impl Learner<'_> {
    /// Fills the columns from `first` on, and the biases of the languages the texts are in (of all, if none is apart).
    fn learn(
        &self,
        mine: &[(&Sample, u32)],
        first: usize,
        columns: &mut Columns<'_>,
        progress: &mut dyn FnMut(usize),
    ) {
        let plan = self.plan;
        let count = plan.classes.len().max(2);
        let documents: Vec<&Features> = mine.iter().map(|(sample, _)| &sample.features).collect();
        let labels: Vec<u32> = mine.iter().map(|(_, class)| *class).collect();
        let weights = weights(mine, count, self.sources, plan);
        let vocabulary = Vocabulary::learn(&documents, self.bits, self.least);
        let size = vocabulary.row_of.len();
        let mut matrix = vocabulary.matrix(&documents);
        let languages: Vec<u32> = mine.iter().map(|(sample, _)| sample.language as u32).collect();
        matrix.add_column(size as u32, &languages, TRAIT_VALUE);
        let flat = vec![1.0; count];
        let objective = Objective {
            matrix: &matrix,
            labels: &labels,
            weights: &weights,
            class_weights: &flat,
            cost: plan.cost,
        };
        let solved = solve(objective, size + ROWS, None, STEPS, progress);

        // A yes-or-no needs only the difference of its two columns.
        let pick = |weights: &[f32], class: usize| {
            if plan.classes.len() == 1 { weights[1] - weights[0] } else { weights[class] }
        };
        let width = columns.width;
        for class in 0..plan.classes.len() {
            for (column, row) in vocabulary.row_of.iter().enumerate() {
                let weight = pick(&solved.table[column * count..(column + 1) * count], class);
                columns.table[*row as usize * width + first + class] = weight * vocabulary.gain[column];
            }
            let own = first != columns.offset;
            for language in (0..ROWS).filter(|language| plan.apart.contains(language) == own) {
                let at = (size + language) * count;
                columns.bias[language * width + columns.offset + class] =
                    pick(&solved.bias, class) + TRAIT_VALUE * pick(&solved.table[at..at + count], class);
            }
        }
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
