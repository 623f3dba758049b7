//! One table of weights and the heads that read it: the unit a model file is made of.

use std::borrow::Cow;

use crate::features::{Features, Spec};
use crate::language::ROWS;

/// What a head answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Task {
    Sentiment = 0,
    Complaint = 1,
    Severity = 2,
    Arousal = 3,
    Topic = 4,
    Spam = 5,
    Thanks = 6,
    WonBack = 7,
    ThreatLeave = 8,
    ThreatSue = 9,
    ThreatPublish = 10,
    Unanswered = 11,
    Apology = 12,
    Explanation = 13,
    Offer = 14,
    ChannelMove = 15,
    Language = 16,
}

impl Task {
    /// Every task, in the order of their numbers.
    pub const ALL: [Task; 17] = [
        Task::Sentiment,
        Task::Complaint,
        Task::Severity,
        Task::Arousal,
        Task::Topic,
        Task::Spam,
        Task::Thanks,
        Task::WonBack,
        Task::ThreatLeave,
        Task::ThreatSue,
        Task::ThreatPublish,
        Task::Unanswered,
        Task::Apology,
        Task::Explanation,
        Task::Offer,
        Task::ChannelMove,
        Task::Language,
    ];

    /// The name used in training lines and reports.
    pub fn name(self) -> &'static str {
        match self {
            Task::Sentiment => "sentiment",
            Task::Complaint => "complaint",
            Task::Severity => "severity",
            Task::Arousal => "arousal",
            Task::Topic => "topic",
            Task::Spam => "spam",
            Task::Thanks => "thanks",
            Task::WonBack => "won_back",
            Task::ThreatLeave => "threat_leave",
            Task::ThreatSue => "threat_sue",
            Task::ThreatPublish => "threat_publish",
            Task::Unanswered => "unanswered",
            Task::Apology => "apology",
            Task::Explanation => "explanation",
            Task::Offer => "offer",
            Task::ChannelMove => "channel_move",
            Task::Language => "language",
        }
    }
}

/// One answer: a yes-or-no when it has one class, otherwise a choice among its classes.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// What it answers.
    pub task: Task,
    /// First column of the table.
    pub offset: usize,
    /// Class names in column order; a yes-or-no head has the single class `yes`.
    pub classes: Vec<String>,
    /// Per language: what scores are multiplied with before they become probabilities.
    pub sharpness: Vec<f32>,
    /// How much of the scores of the same task in earlier parts is added.
    pub lean: f32,
}

impl Head {
    /// A head whose scores are not sharpened yet.
    pub fn new(task: Task, offset: usize, classes: Vec<String>) -> Self {
        Self { task, offset, classes, sharpness: vec![1.0; ROWS], lean: 0.0 }
    }
}

/// Languages whose scores in some columns are read from others: their meaning was learned apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Twin {
    /// The first column that answers.
    pub column: usize,
    /// The first column whose weights are taken instead.
    pub instead: usize,
    /// How many columns.
    pub count: usize,
    /// The rows of the per-language tables this holds for.
    pub languages: Vec<usize>,
}

/// A table of one row per feature bucket and one column per class, with the heads over its columns.
#[derive(Debug, Clone)]
pub struct Part {
    /// Which features it reads.
    pub spec: Spec,
    /// Power of two of the number of rows.
    pub bits: u32,
    /// Columns.
    pub width: usize,
    /// Rows after rows of weights, stored as weight / scale + 128.
    pub table: Cow<'static, [u8]>,
    /// What a step is worth, per column.
    pub scale: Vec<f32>,
    /// Added to the scores: one row of columns per language.
    pub bias: Vec<f32>,
    /// The answers.
    pub heads: Vec<Head>,
    /// A choice is called sure from this top probability on.
    pub sure_from: f32,
    /// Columns with weights of their own for some languages.
    pub twin: Option<Twin>,
}

impl Part {
    /// The scores of all columns for a text: averages of both blocks plus the bias of the language row.
    pub fn scores(&self, features: &Features, language_row: usize, out: &mut Vec<f32>) {
        out.clear();
        out.resize(self.width, 0.0);
        match self.width {
            5 => self.gather_five(features, out),
            8 => self.gather::<8, 1>(features, out),
            9 => self.gather_nine(features, out),
            16 => self.gather::<16, 2>(features, out),
            24 => self.gather::<24, 3>(features, out),
            32 => self.gather::<32, 4>(features, out),
            _ => self.gather_any(features, out),
        }
        for (score, scale) in out.iter_mut().zip(&self.scale) {
            *score *= scale;
        }
        if let Some(twin) = &self.twin
            && twin.languages.contains(&language_row)
        {
            out.copy_within(twin.instead..twin.instead + twin.count, twin.column);
        }
        let bias = &self.bias[language_row * self.width..(language_row + 1) * self.width];
        for (score, bias) in out.iter_mut().zip(bias) {
            *score += bias;
        }
    }

    /// The column that holds the weights of `column` for a language.
    pub fn column(&self, column: usize, language_row: usize) -> usize {
        match &self.twin {
            Some(twin)
                if (twin.column..twin.column + twin.count).contains(&column)
                    && twin.languages.contains(&language_row) =>
            {
                twin.instead + column - twin.column
            }
            _ => column,
        }
    }

    /// As `gather`, for four columns and one more.
    fn gather_five(&self, features: &Features, out: &mut [f32]) {
        const EVEN: u32 = 0x00ff_00ff;
        let (rows, _) = self.table.as_chunks::<5>();
        let shift = 32 - self.bits;
        for (block, norm) in features.blocks(self.spec) {
            if block.is_empty() {
                continue;
            }
            let mut total = [0u32; 5];
            for stretch in block.chunks(256) {
                let (mut even, mut odd, mut fifth) = (0u32, 0u32, 0u32);
                for hash in stretch {
                    let row = &rows[(hash >> shift) as usize];
                    let four = u32::from_le_bytes([row[0], row[1], row[2], row[3]]);
                    even += four & EVEN;
                    odd += (four >> 8) & EVEN;
                    fifth += u32::from(row[4]);
                }
                let sums = [even & 0xffff, odd & 0xffff, even >> 16, odd >> 16, fifth];
                total.iter_mut().zip(sums).for_each(|(t, sum)| *t += sum);
            }
            let zero = 128 * block.len() as i64;
            for (o, t) in out.iter_mut().zip(total) {
                *o += (i64::from(t) - zero) as f32 / norm;
            }
        }
    }

    /// As `gather`, for eight columns and one more.
    fn gather_nine(&self, features: &Features, out: &mut [f32]) {
        const EVEN: u64 = 0x00ff_00ff_00ff_00ff;
        let (rows, _) = self.table.as_chunks::<9>();
        let shift = 32 - self.bits;
        for (block, norm) in features.blocks(self.spec) {
            if block.is_empty() {
                continue;
            }
            let mut total = [0u32; 9];
            for stretch in block.chunks(256) {
                let (mut even, mut odd, mut ninth) = (0u64, 0u64, 0u32);
                for hash in stretch {
                    let row = &rows[(hash >> shift) as usize];
                    let (words, rest) = row.as_chunks::<8>();
                    let eight = u64::from_le_bytes(words[0]);
                    even += eight & EVEN;
                    odd += (eight >> 8) & EVEN;
                    ninth += u32::from(rest[0]);
                }
                for (column, t) in total[..8].iter_mut().enumerate() {
                    let sums = if column % 2 == 0 { even } else { odd };
                    *t += (sums >> (column / 2 * 16)) as u32 & 0xffff;
                }
                total[8] += ninth;
            }
            let zero = 128 * block.len() as i64;
            for (o, t) in out.iter_mut().zip(total) {
                *o += (i64::from(t) - zero) as f32 / norm;
            }
        }
    }

    /// Adds up the rows of the features, eight columns at a time: a machine word holds the even bytes of eight
    /// columns as four sums of sixteen bits, another one the odd bytes.
    fn gather<const W: usize, const WORDS: usize>(&self, features: &Features, out: &mut [f32]) {
        const EVEN: u64 = 0x00ff_00ff_00ff_00ff;
        let (rows, _) = self.table.as_chunks::<W>();
        let shift = 32 - self.bits;
        for (block, norm) in features.blocks(self.spec) {
            if block.is_empty() {
                continue;
            }
            let mut total = [0u32; W];
            // Sixteen bits hold the sum of 257 bytes: longer texts are summed in stretches.
            for stretch in block.chunks(256) {
                let (mut even, mut odd) = ([0u64; WORDS], [0u64; WORDS]);
                for hash in stretch {
                    let (words, _) = rows[(hash >> shift) as usize].as_chunks::<8>();
                    for word in 0..WORDS {
                        let eight = u64::from_le_bytes(words[word]);
                        even[word] += eight & EVEN;
                        odd[word] += (eight >> 8) & EVEN;
                    }
                }
                for (word, eight) in total.chunks_exact_mut(8).enumerate() {
                    for (column, t) in eight.iter_mut().enumerate() {
                        let sums = if column % 2 == 0 { even[word] } else { odd[word] };
                        *t += (sums >> (column / 2 * 16)) as u32 & 0xffff;
                    }
                }
            }
            let zero = 128 * block.len() as i64;
            for (o, t) in out.iter_mut().zip(total) {
                *o += (i64::from(t) - zero) as f32 / norm;
            }
        }
    }

    fn gather_any(&self, features: &Features, out: &mut [f32]) {
        let shift = 32 - self.bits;
        let mut total = vec![0u32; self.width];
        for (block, norm) in features.blocks(self.spec) {
            if block.is_empty() {
                continue;
            }
            total.fill(0);
            for hash in block {
                let at = (hash >> shift) as usize * self.width;
                for (t, r) in total.iter_mut().zip(&self.table[at..at + self.width]) {
                    *t += u32::from(*r);
                }
            }
            let zero = 128 * block.len() as i64;
            for (o, t) in out.iter_mut().zip(&total) {
                *o += (i64::from(*t) - zero) as f32 / norm;
            }
        }
    }

    /// One feature's row, for explanations.
    pub fn row(&self, hash: u32) -> &[u8] {
        let at = (hash >> (32 - self.bits)) as usize * self.width;
        &self.table[at..at + self.width]
    }

    /// Makes a part from real weights: every column gets the step that fits it into a byte.
    ///
    /// A few outliers per column are cut off, so that the many small weights keep their resolution.
    pub fn quantise(
        spec: Spec,
        bits: u32,
        width: usize,
        weights: &[f32],
        bias: Vec<f32>,
        heads: Vec<Head>,
    ) -> Self {
        let mut scale = vec![1.0f32; width];
        for (column, step) in scale.iter_mut().enumerate() {
            let mut sizes: Vec<f32> =
                weights.iter().skip(column).step_by(width).map(|w| w.abs()).filter(|w| *w > 0.0).collect();
            sizes.sort_unstable_by(f32::total_cmp);
            if let Some(last) = sizes.len().checked_sub(1) {
                let top = sizes[last - last / 2000];
                *step = (top / 127.0).max(1e-12);
            }
        }
        let table: Vec<u8> = weights
            .iter()
            .enumerate()
            .map(|(i, w)| {
                let steps = w / scale[i % width];
                let rounded = (steps + if steps < 0.0 { -0.5 } else { 0.5 }) as i32;
                (rounded.clamp(-127, 127) + 128) as u8
            })
            .collect();
        Self { spec, bits, width, table: table.into(), scale, bias, heads, sure_from: 0.5, twin: None }
    }

    /// The head for a task, if this part has one.
    pub fn head(&self, task: Task) -> Option<&Head> {
        self.heads.iter().find(|head| head.task == task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_columns_at_a_time_add_up_like_one_by_one() {
        let (bits, width) = (4, 16);
        let table: Vec<u8> = (0..width << bits).map(|i| (i * 37 % 256) as u8).collect();
        let part = |width: usize| Part {
            spec: Spec::SHIPPED,
            bits,
            width,
            table: table[..width << bits].to_vec().into(),
            scale: vec![1.0; width],
            bias: vec![0.0; width * ROWS],
            heads: Vec::new(),
            sure_from: 0.5,
            twin: None,
        };
        // More features than one sum of sixteen bits can hold.
        for count in [1, 255, 256, 257, 1000] {
            let hashes: Vec<u32> = (0..count).map(|i: u32| i.wrapping_mul(0x9e37_79b1)).collect();
            let features = Features { words: hashes.clone(), chars: hashes, names: Vec::new() };
            let (mut fast, mut plain) = (vec![0.0; width], vec![0.0; width]);
            part(width).gather::<16, 2>(&features, &mut fast);
            part(width).gather_any(&features, &mut plain);
            assert_eq!(fast, plain, "{count}");
            let (mut fast, mut plain) = (vec![0.0; 9], vec![0.0; 9]);
            part(9).gather_nine(&features, &mut fast);
            part(9).gather_any(&features, &mut plain);
            assert_eq!(fast, plain, "{count}");
            let (mut fast, mut plain) = (vec![0.0; 5], vec![0.0; 5]);
            part(5).gather_five(&features, &mut fast);
            part(5).gather_any(&features, &mut plain);
            assert_eq!(fast, plain, "{count}");
        }
    }
}
