//! Which stretches of a text weighed most.
//!
//! A score is a sum over features, so each feature's share is exact; it is spread evenly over the characters
//! the feature was made of, and summed again over words (or over runs in scripts without spaces).

use crate::features::walk;
use crate::model::{Model, Scratch};
use crate::part::Task;
use crate::prepare::{Kind, Token};
use crate::understanding::{Hint, SENTIMENTS, Understanding};

/// A stretch of the original text and what it added to the score that decided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Why {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// Share of the score (log odds); positive speaks for the answer.
    pub weight: f32,
}

impl Model {
    /// The stretches that spoke most for the answer: for the complaint where there is one, else for the sentiment.
    pub fn explain(
        &self,
        scratch: &mut Scratch,
        text: &str,
        _hint: Hint<'_>,
        answer: &Understanding,
        max: usize,
    ) -> Vec<Why> {
        scratch.prepared.read(text);
        scratch.prepared.salt = answer.language.salt();
        scratch.used = 0;
        let mut found = Vec::new();
        self.explain_last(scratch, text, answer, max, &mut found);
        found
    }

    /// As `explain`, for the text this scratch understood last, without reading it again.
    pub fn explain_last(
        &self,
        scratch: &mut Scratch,
        text: &str,
        answer: &Understanding,
        max: usize,
        found: &mut Vec<Why>,
    ) {
        found.clear();
        let task = if answer.complaint >= 0.5 && self.answers(Task::Complaint) {
            Task::Complaint
        } else {
            Task::Sentiment
        };
        let Some((part, head)) = self.answers[task as usize] else { return };
        let part = &self.parts[usize::from(part)];
        let head = &part.heads[usize::from(head)];
        let mut columns = [(0usize, 0f32); 3];
        let mut used = 0;
        let winner = match task {
            Task::Complaint => head.classes.last(),
            _ => {
                let mut best = 0;
                for (i, p) in answer.sentiment.iter().enumerate() {
                    if *p > answer.sentiment[best] {
                        best = i;
                    }
                }
                head.classes.iter().find(|class| *class == SENTIMENTS[best])
            }
        };
        let others = (head.classes.len() - 1).max(1) as f32;
        for (i, class) in head.classes.iter().enumerate().take(columns.len()) {
            let sign = if Some(class) == winner { 1.0 } else { -1.0 / others };
            let column = part.column(head.offset + i, answer.language.row());
            columns[used] = (column, sign * part.scale[column]);
            used += 1;
        }
        let columns = &columns[..used];

        let at = scratch.features_for(part.spec);
        let norms = scratch.features[at].1.blocks(part.spec);
        let shares = norms.map(|(_, norm)| 1.0 / norm);
        let prepared = &scratch.prepared;
        let slopes = &mut scratch.slopes;
        slopes.clear();
        slopes.resize(prepared.len() + 2, 0.0);
        walk(prepared, part.spec, |block, hash, from, to| {
            if to <= from {
                return;
            }
            let row = part.row(hash);
            let share: f32 =
                columns.iter().map(|(column, scale)| scale * (f32::from(row[*column]) - 128.0)).sum();
            let slope = share * shares[block as usize] / (to - from) as f32;
            slopes[from as usize] += slope;
            slopes[to as usize] -= slope;
        });
        let mut level = 0.0;
        for slope in slopes.iter_mut() {
            level += *slope;
            *slope = level;
        }

        for (at, token) in prepared.tokens.iter().enumerate() {
            let weights = &slopes[token.start as usize..token.end as usize];
            let bytes = (token.from as usize, token.to as usize);
            let sum = |token: &Token| slopes[token.start as usize..token.end as usize].iter().sum::<f32>();
            // A name is told with the mention before it.
            let name = prepared.tokens.get(at + 1).filter(|next| next.kind == Kind::Name);
            let one = match token.kind {
                Kind::Name => continue,
                Kind::Dense => best_run(text, bytes, weights),
                _ => Why { start: bytes.0, end: bytes.1, weight: sum(token) + name.map_or(0.0, sum) },
            };
            if one.weight > 0.02 && one.start < one.end {
                insert(found, one, max);
            }
        }
        join_neighbours(text, found);
    }
}

/// Keeps the heaviest `max`, heaviest first; earlier stretches win ties.
fn insert(found: &mut Vec<Why>, one: Why, max: usize) {
    let at = found.iter().position(|have| one.weight > have.weight).unwrap_or(found.len());
    if at < max {
        found.truncate(max - 1);
        found.insert(at, one);
    }
}

/// The run of characters with the largest sum.
fn best_run(text: &str, (from, to): (usize, usize), weights: &[f32]) -> Why {
    let (mut best, mut sum, mut start) = ((0, 0, 0.0f32), 0.0f32, 0);
    for (i, weight) in weights.iter().enumerate() {
        if sum <= 0.0 {
            sum = 0.0;
            start = i;
        }
        sum += weight;
        if sum > best.2 {
            best = (start, i + 1, sum);
        }
    }
    let inside = text.get(from..to).unwrap_or_default();
    let count = inside.chars().count().max(1);
    // Folding may have dropped characters of a long run, or made several of one: positions then move in
    // proportion, outwards, so that a run of something never becomes a run of nothing.
    let folded = weights.len().max(1);
    let place =
        |original: usize| from + inside.char_indices().nth(original).map_or(inside.len(), |(at, _)| at);
    Why {
        start: place(best.0 * count / folded),
        end: place((best.1 * count).div_ceil(folded)),
        weight: best.2,
    }
}

/// Stretches with only a space between become one.
fn join_neighbours(text: &str, found: &mut Vec<Why>) {
    let mut i = 0;
    while i < found.len() {
        let next = (0..found.len()).find(|j| {
            let (a, b) = (found[i], found[*j]);
            *j != i
                && b.start >= a.end
                && text.get(a.end..b.start).is_some_and(|gap| gap.len() <= 1 && gap.trim().is_empty())
        });
        match next {
            Some(j) => {
                let b = found[j];
                found[i].end = b.end;
                found[i].weight += b.weight;
                found.remove(j);
                i = 0;
            }
            None => i += 1,
        }
    }
    found.sort_by(|a, b| b.weight.total_cmp(&a.weight).then(a.start.cmp(&b.start)));
}
