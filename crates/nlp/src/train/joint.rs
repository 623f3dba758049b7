//! Many heads over one table, learned together.
//!
//! A score is a direct weight per feature and class plus a low-rank part shared by all heads (an embedding per
//! feature, averaged, times a vector per class). Both are linear in the features, so after training they fold into
//! one table and cost nothing extra to read. Learned by AdaGrad with a falling rate; everything is in a fixed order.
//! Biases per source soak up how often each source has each class, and are left out of the model.

use crate::arith::{Random, sigmoid, softmax};
use crate::features::{Features, Spec};
use crate::language::ROWS;
use crate::part::{Head, Part, Task};

/// A head to be learned.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The task it answers; none for a head that only helps to learn the shared part and is not shipped.
    pub task: Option<Task>,
    /// Its classes; one class (`yes`) makes it a yes-or-no.
    pub classes: Vec<String>,
    /// What its losses count.
    pub weight: f32,
    /// Class weights are (mean count / count)^balance.
    pub balance: f32,
    /// The source whose bias is kept in the model.
    pub reference: Option<usize>,
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

/// Settings of the learner.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Power of two of the rows.
    pub bits: u32,
    /// Width of the shared part.
    pub hidden: usize,
    /// Passes over the samples.
    pub epochs: usize,
    /// First step size of direct weights.
    pub rate: f32,
    /// First step size of the shared part.
    pub rate_hidden: f32,
    /// Pull of touched direct weights towards zero.
    pub decay: f32,
    /// Share of features left out at random in each visit.
    pub dropout: f32,
    /// Of shuffles and first embeddings.
    pub seed: u64,
}

/// Learns a part; `progress` hears of finished samples out of all visits.
pub fn learn(
    spec: Spec,
    plans: &[Plan],
    samples: &[Sample],
    sources: usize,
    settings: Settings,
    progress: &mut dyn FnMut(usize, usize),
) -> Part {
    let mut learner = Learner::new(spec, plans, samples, sources, settings);
    let mut random = Random::new(settings.seed);
    let mut order: Vec<u32> = (0..samples.len() as u32).collect();
    let total = samples.len() * settings.epochs;
    let mut done = 0usize;
    for _ in 0..settings.epochs {
        random.shuffle(&mut order);
        for &at in &order {
            let left = 1.0 - done as f32 / total as f32;
            learner.visit(&samples[at as usize], left, &mut random);
            done += 1;
            if done.is_multiple_of(4096) {
                progress(done, total);
            }
        }
    }
    learner.fold()
}

struct Learner<'a> {
    spec: Spec,
    plans: &'a [Plan],
    settings: Settings,
    /// First column of each head; shipped heads come first.
    offsets: Vec<usize>,
    shipped: usize,
    columns: usize,
    class_weights: Vec<Vec<f32>>,
    direct: Vec<f32>,
    direct_seen: Vec<f32>,
    embed: Vec<f32>,
    embed_seen: Vec<f32>,
    out: Vec<f32>,
    out_seen: Vec<f32>,
    bias_language: Vec<f32>,
    bias_language_seen: Vec<f32>,
    bias_source: Vec<f32>,
    bias_source_seen: Vec<f32>,
    // Buffers of one visit.
    kept: Vec<(u32, f32)>,
    hidden: Vec<f32>,
    slope_hidden: Vec<f32>,
    active: Vec<(usize, f32)>,
}

const FIRST: f32 = 1e-4;

impl<'a> Learner<'a> {
    fn new(spec: Spec, plans: &'a [Plan], samples: &[Sample], sources: usize, settings: Settings) -> Self {
        let mut offsets = vec![0; plans.len()];
        let mut columns = 0;
        let mut shipped = 0;
        for ship in [true, false] {
            for (offset, plan) in offsets.iter_mut().zip(plans) {
                if plan.task.is_some() == ship {
                    *offset = columns;
                    columns += plan.classes.len();
                }
            }
            if ship {
                shipped = match columns {
                    0..=8 => 8,
                    9..=16 => 16,
                    17..=32 => 32,
                    more => more,
                };
                columns = shipped;
            }
        }
        let rows = 1usize << settings.bits;
        let hidden = settings.hidden;
        let mut random = Random::new(settings.seed ^ 0x5eed);
        let spread = |random: &mut Random, size: f32| (random.unit() * 2.0 - 1.0) * size;
        let mut out = vec![0.0; columns * hidden];
        for w in &mut out {
            *w = spread(&mut random, 0.3);
        }
        let mut embed = vec![0.0; rows * hidden];
        for w in &mut embed {
            *w = spread(&mut random, 0.02);
        }
        Self {
            spec,
            class_weights: class_weights(plans, samples),
            plans,
            settings,
            offsets,
            shipped,
            columns,
            direct: vec![0.0; rows * shipped],
            direct_seen: vec![FIRST; rows * shipped],
            embed,
            embed_seen: vec![FIRST; rows],
            out,
            out_seen: vec![FIRST; columns * hidden],
            bias_language: vec![0.0; ROWS * columns],
            bias_language_seen: vec![FIRST; ROWS * columns],
            bias_source: vec![0.0; sources * columns],
            bias_source_seen: vec![FIRST; sources * columns],
            kept: Vec::new(),
            hidden: vec![0.0; hidden],
            slope_hidden: vec![0.0; hidden],
            active: Vec::new(),
        }
    }

    fn visit(&mut self, sample: &Sample, left: f32, random: &mut Random) {
        self.keep(sample, random);
        self.score(sample);
        self.slopes(sample);
        self.step(sample, left);
    }

    /// The rows of the features that stay in this visit, with their share of the average.
    fn keep(&mut self, sample: &Sample, random: &mut Random) {
        self.kept.clear();
        let shift = 32 - self.settings.bits;
        for (block, norm) in sample.features.blocks(self.spec) {
            let from = self.kept.len();
            for hash in block {
                if self.settings.dropout == 0.0 || random.unit() >= self.settings.dropout {
                    self.kept.push((hash >> shift, 0.0));
                }
            }
            let weight = (block.len().max(1) as f32).sqrt() / norm;
            let each = weight / ((self.kept.len() - from).max(1) as f32).sqrt();
            for (_, share) in &mut self.kept[from..] {
                *share = each;
            }
        }
    }

    /// Leaves the scores of the labelled heads in `active`.
    fn score(&mut self, sample: &Sample) {
        let width = self.settings.hidden;
        self.hidden.fill(0.0);
        for &(row, share) in &self.kept {
            let row = &self.embed[row as usize * width..(row as usize + 1) * width];
            for (h, e) in self.hidden.iter_mut().zip(row) {
                *h += e * share;
            }
        }
        self.active.clear();
        for &(head, _) in &sample.labels {
            let offset = self.offsets[head];
            for column in offset..offset + self.plans[head].classes.len() {
                let out = &self.out[column * width..(column + 1) * width];
                let mut score: f32 = out.iter().zip(&self.hidden).map(|(o, h)| o * h).sum();
                score += self.bias_language[sample.language * self.columns + column]
                    + self.bias_source[sample.source * self.columns + column];
                self.active.push((column, score));
            }
        }
        let shipped = self.active.iter().take_while(|(column, _)| *column < self.shipped).count();
        let (direct, _) = self.active.split_at_mut(shipped);
        for &(row, share) in &self.kept {
            let row = &self.direct[row as usize * self.shipped..(row as usize + 1) * self.shipped];
            for (column, score) in direct.iter_mut() {
                *score += row[*column] * share;
            }
        }
    }

    /// Turns the scores in `active` into slopes of the loss.
    fn slopes(&mut self, sample: &Sample) {
        let mut at = 0;
        let mut buffer = Vec::with_capacity(64);
        for &(head, class) in &sample.labels {
            let plan = &self.plans[head];
            let count = plan.classes.len();
            let weight = plan.weight * sample.weight * self.class_weights[head][class];
            let scores = &mut self.active[at..at + count];
            at += count;
            if count == 1 {
                scores[0].1 = weight * (sigmoid(scores[0].1) - class as f32);
                continue;
            }
            buffer.clear();
            buffer.extend(scores.iter().map(|(_, score)| *score));
            softmax(&mut buffer);
            for (i, ((_, slope), p)) in scores.iter_mut().zip(&buffer).enumerate() {
                *slope = weight * (p - f32::from(u8::from(i == class)));
            }
        }
    }

    fn step(&mut self, sample: &Sample, left: f32) {
        let width = self.settings.hidden;
        let rate = self.settings.rate * left;
        let rate_hidden = self.settings.rate_hidden * left;
        self.slope_hidden.fill(0.0);
        for &(column, slope) in &self.active {
            for (table, seen, at) in [
                (
                    &mut self.bias_language,
                    &mut self.bias_language_seen,
                    sample.language * self.columns + column,
                ),
                (&mut self.bias_source, &mut self.bias_source_seen, sample.source * self.columns + column),
            ] {
                seen[at] += slope * slope;
                table[at] -= 0.3 * rate * slope / seen[at].sqrt();
            }
            let range = column * width..(column + 1) * width;
            for (((o, seen), h), sh) in self.out[range.clone()]
                .iter_mut()
                .zip(&mut self.out_seen[range])
                .zip(&self.hidden)
                .zip(&mut self.slope_hidden)
            {
                *sh += slope * *o;
                let g = slope * h;
                *seen += g * g;
                *o -= rate_hidden * g / seen.sqrt();
            }
        }
        let squares: f32 = self.slope_hidden.iter().map(|s| s * s).sum::<f32>() / width.max(1) as f32;
        let shipped = self.active.iter().take_while(|(column, _)| *column < self.shipped).count();
        for &(row, share) in &self.kept {
            let row = row as usize;
            if width > 0 {
                self.embed_seen[row] += squares * share * share;
                let step = rate_hidden * share / self.embed_seen[row].sqrt();
                for (e, s) in self.embed[row * width..(row + 1) * width].iter_mut().zip(&self.slope_hidden) {
                    *e -= step * s;
                }
            }
            let from = row * self.shipped;
            for &(column, slope) in &self.active[..shipped] {
                let w = &mut self.direct[from + column];
                let g = slope * share + self.settings.decay * *w;
                let seen = &mut self.direct_seen[from + column];
                *seen += g * g;
                *w -= rate * g / seen.sqrt();
            }
        }
    }

    fn fold(self) -> Part {
        let width = self.settings.hidden;
        let rows = 1usize << self.settings.bits;
        let mut weights = self.direct;
        for row in 0..rows {
            let embed = &self.embed[row * width..(row + 1) * width];
            if self.embed_seen[row] == FIRST {
                continue;
            }
            for column in 0..self.shipped {
                let out = &self.out[column * width..(column + 1) * width];
                weights[row * self.shipped + column] +=
                    embed.iter().zip(out).map(|(e, o)| e * o).sum::<f32>();
            }
        }
        let mut bias = vec![0.0; ROWS * self.shipped];
        let mut heads = Vec::new();
        for (plan, &offset) in self.plans.iter().zip(&self.offsets) {
            let Some(task) = plan.task else { continue };
            for column in offset..offset + plan.classes.len() {
                let source =
                    plan.reference.map_or(0.0, |source| self.bias_source[source * self.columns + column]);
                for language in 0..ROWS {
                    bias[language * self.shipped + column] =
                        self.bias_language[language * self.columns + column] + source;
                }
            }
            heads.push(Head::new(task, offset, plan.classes.clone()));
        }
        Part::quantise(self.spec, self.settings.bits, self.shipped, &weights, bias, heads)
    }
}

fn class_weights(plans: &[Plan], samples: &[Sample]) -> Vec<Vec<f32>> {
    let mut counts: Vec<Vec<f64>> = plans.iter().map(|plan| vec![0.0; plan.classes.len().max(2)]).collect();
    for sample in samples {
        for &(head, class) in &sample.labels {
            counts[head][class] += f64::from(sample.weight);
        }
    }
    plans
        .iter()
        .zip(counts)
        .map(|(plan, counts)| {
            let mean = counts.iter().sum::<f64>() / counts.len() as f64;
            counts
                .iter()
                .map(|count| {
                    crate::arith::exp(
                        plan.balance * crate::arith::ln((mean / count.max(1.0)).max(1e-6)) as f32,
                    )
                })
                .collect()
        })
        .collect()
}
