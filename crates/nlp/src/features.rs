//! Hashed features of a prepared text: words, pairs of neighbours, stretches of characters.

use crate::prepare::{Kind, Prepared, finish};

/// Which features a table was trained on; part of the model file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spec {
    /// Shortest stretch of characters inside a word, its borders included.
    pub chars_min: u8,
    /// Longest such stretch.
    pub chars_max: u8,
    /// Longest stretch in scripts without spaces (from one character).
    pub dense_max: u8,
    /// 2: pairs of neighbours; 3: also pairs with one word between.
    pub reach: u8,
    /// Count a feature once per text however often it occurs.
    pub once: bool,
    /// Words of different languages are different features (marks and emoji are shared).
    pub by_language: bool,
    /// In scripts without spaces, stretches reach over the punctuation between runs and to the ends of the text.
    pub over_marks: bool,
    /// What the letters of mentioned accounts weigh beside words and stretches, in tenths (at most 15); 0: not read.
    pub names: u8,
}

impl Spec {
    /// What the shipped model reads.
    pub const SHIPPED: Spec = Spec {
        chars_min: 4,
        chars_max: 4,
        dense_max: 4,
        reach: 2,
        once: false,
        by_language: false,
        over_marks: false,
        names: 0,
    };
    /// What models trained by users read: more stretches, because small sets need them.
    pub const USER: Spec = Spec {
        chars_min: 3,
        chars_max: 5,
        dense_max: 4,
        reach: 2,
        once: true,
        by_language: false,
        over_marks: true,
        names: 10,
    };
}

impl Spec {
    /// Where the stretches of a run without spaces lie: before it is always a space, after it what follows.
    #[inline]
    fn dense_range(self, start: usize, end: usize, length: usize) -> (usize, usize) {
        if self.over_marks && length > 1 { (start - 1, end + length - 1) } else { (start, end) }
    }
}

/// The hashes of one text in three blocks, which are averaged apart.
#[derive(Debug, Default, Clone)]
pub struct Features {
    /// Words, pairs, marks, emoji, traits of the whole text.
    pub words: Vec<u32>,
    /// Stretches of characters.
    pub chars: Vec<u32>,
    /// Stretches of the names of mentioned accounts.
    pub names: Vec<u32>,
}

impl Features {
    /// The blocks that a table of this spec reads, each with what its sum is divided by.
    #[inline]
    pub fn blocks(&self, spec: Spec) -> [(&[u32], f32); 3] {
        let norm = |block: &[u32]| (block.len().max(1) as f32).sqrt();
        let names: &[u32] = if spec.names == 0 { &[] } else { &self.names };
        [
            (&self.words, norm(&self.words)),
            (&self.chars, norm(&self.chars)),
            (names, norm(names) * 10.0 / f32::from(spec.names.max(1))),
        ]
    }
}

const PAIR: u64 = 0x8f1b_bcdc_bfa5_3e0b;
const SKIP: u64 = 0x5be0_cd19_137e_2179;
const TRAIT: u64 = 0xa54f_f53a_5f1d_36f1;
const WORD: u32 = 0x6a09_e667;
/// Sets the stretches of names apart from those of words.
const NAME: u32 = 0xbb67_ae85;

/// The stretches of names are as long as those of words in the shipped model.
const NAME_LENGTH: usize = 4;

/// Collects the features of a prepared text.
pub fn collect(prepared: &Prepared, spec: Spec, out: &mut Features) {
    out.words.clear();
    out.chars.clear();
    out.names.clear();
    let language = if spec.by_language { prepared.salt } else { 0 };
    let mut line = Line::default();
    for token in &prepared.tokens {
        let (start, end) = (token.start as usize, token.end as usize);
        if token.kind == Kind::Dense {
            for length in 1..=usize::from(spec.dense_max) {
                let (start, end) = spec.dense_range(start, end, length);
                out.chars.extend(prepared.stretches(start, end, length));
            }
            line = Line::default();
            continue;
        }
        if token.kind == Kind::Name {
            if spec.names > 0 {
                let letters = prepared.stretches(start - 1, end + 1, NAME_LENGTH);
                out.names.extend(letters.map(|hash| hash ^ NAME));
            }
            continue;
        }
        let salt = if token.kind == Kind::Word { language } else { 0 };
        let word = prepared.hash(start, end) ^ WORD ^ salt;
        out.words.push(word);
        let (pair, skip) = line.next(word, token.start, spec.reach);
        out.words.extend(pair.map(|(hash, _)| hash));
        out.words.extend(skip.map(|(hash, _)| hash));
        if token.kind == Kind::Word {
            for length in usize::from(spec.chars_min)..=usize::from(spec.chars_max) {
                out.chars.extend(prepared.stretches(start - 1, end + 1, length).map(|hash| hash ^ salt));
            }
        }
    }
    out.words.extend(trait_hashes(prepared));
    if spec.once {
        for block in [&mut out.words, &mut out.chars, &mut out.names] {
            block.sort_unstable();
            block.dedup();
        }
    }
}

/// The words just passed, with where they start: what pairs are made of. A zero hash is no word.
#[derive(Default)]
struct Line {
    before: (u32, u32),
    before_that: (u32, u32),
}

impl Line {
    /// The pair and the pair with a gap that a word makes with those before it, and where they start.
    #[inline]
    #[allow(clippy::type_complexity)]
    fn next(&mut self, word: u32, start: u32, reach: u8) -> (Option<(u32, u32)>, Option<(u32, u32)>) {
        let made =
            |salt: u64, other: (u32, u32)| (other.0 != 0).then(|| (join(salt, other.0, word), other.1));
        let pair = if reach >= 2 { made(PAIR, self.before) } else { None };
        let skip = if reach >= 3 { made(SKIP, self.before_that) } else { None };
        (self.before_that, self.before) = (self.before, (word, start));
        (pair, skip)
    }
}

/// Which of the two averages a feature counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    /// Whole words.
    Words,
    /// Stretches of characters.
    Chars,
    /// Stretches of the names of mentioned accounts.
    Names,
}

/// Visits every feature with the stretch of folded characters it comes from (empty for traits of the whole text).
#[inline]
pub fn walk(prepared: &Prepared, spec: Spec, mut visit: impl FnMut(Block, u32, u32, u32)) {
    let language = if spec.by_language { prepared.salt } else { 0 };
    let mut line = Line::default();
    for token in &prepared.tokens {
        let (start, end) = (token.start as usize, token.end as usize);
        let block = if token.kind == Kind::Name { Block::Names } else { Block::Chars };
        let mut stretches = |from: usize, to: usize, length: usize, salt: u32| {
            for (at, hash) in (from..).zip(prepared.stretches(from, to, length)) {
                visit(block, hash ^ salt, at as u32, (at + length) as u32);
            }
        };
        if token.kind == Kind::Dense {
            for length in 1..=usize::from(spec.dense_max) {
                let (start, end) = spec.dense_range(start, end, length);
                stretches(start, end, length, 0);
            }
            line = Line::default();
            continue;
        }
        if token.kind == Kind::Name {
            if spec.names > 0 {
                stretches(start - 1, end + 1, NAME_LENGTH, NAME);
            }
            continue;
        }
        let salt = if token.kind == Kind::Word { language } else { 0 };
        if token.kind == Kind::Word {
            for length in usize::from(spec.chars_min)..=usize::from(spec.chars_max) {
                stretches(start - 1, end + 1, length, salt);
            }
        }
        let word = prepared.hash(start, end) ^ WORD ^ salt;
        visit(Block::Words, word, token.start, token.end);
        let (pair, skip) = line.next(word, token.start, spec.reach);
        for (hash, from) in pair.into_iter().chain(skip) {
            visit(Block::Words, hash, from, token.end);
        }
    }
    for hash in trait_hashes(prepared) {
        visit(Block::Words, hash, 0, 0);
    }
}

#[inline]
fn join(salt: u64, left: u32, right: u32) -> u32 {
    finish((u64::from(left) << 32 | u64::from(right)).wrapping_mul(salt) ^ salt)
}

fn trait_hashes(prepared: &Prepared) -> [u32; 4] {
    let mut number = 0;
    traits(prepared).map(|value| {
        number += 1;
        join(TRAIT, number - 1, value)
    })
}

/// What the text as a whole looks like, in a few steps each.
fn traits(prepared: &Prepared) -> [u32; 4] {
    let counts = &prepared.counts;
    let tokens = prepared.tokens.iter().filter(|token| token.kind != Kind::Name).count() as u32;
    let step = |n: u32| 32 - n.leading_zeros();
    [
        step(tokens).min(8),
        counts.capital_words.min(1) + u32::from(counts.capital_words * 2 > counts.words),
        counts.exclamations.min(2) * 3 + counts.questions.min(2),
        counts.links.min(1) * 2 + counts.mentions.min(1) + 4 * counts.stretched.min(1),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(text: &str) -> Features {
        let mut prepared = Prepared::default();
        prepared.read(text);
        let mut out = Features::default();
        collect(&prepared, Spec::SHIPPED, &mut out);
        out
    }

    #[test]
    fn a_short_post_has_about_one_feature_per_letter() {
        let found =
            features("I have waited three weeks for my refund and nobody answers, please help me now @acme");
        assert!((60..140).contains(&(found.words.len() + found.chars.len())));
    }

    #[test]
    fn word_order_changes_pairs_only() {
        let (a, b) = (features("not good"), features("good not"));
        assert_eq!(a.chars.len(), b.chars.len());
        let differing = a.words.iter().filter(|f| !b.words.contains(f)).count();
        assert_eq!(differing, 1);
    }

    #[test]
    fn stretches_reach_over_marks_only_where_asked() {
        let count = |text: &str, over_marks: bool| {
            let mut prepared = Prepared::default();
            prepared.read(text);
            let mut out = Features::default();
            collect(&prepared, Spec { over_marks, ..Spec::SHIPPED }, &mut out);
            out.chars
        };
        let (with, without) = ("遅い、最悪", "遅い最悪");
        assert_eq!(count(with, false).len(), 4 + 2);
        // With the space before, between and after the runs: six pairs, five threes, four fours.
        assert_eq!(count(with, true).len(), 4 + 6 + 5 + 4);
        assert_ne!(count(with, true), count(without, true));
    }

    #[test]
    fn collecting_and_walking_find_the_same_features() {
        for spec in [Spec::SHIPPED, Spec { once: false, ..Spec::USER }, Spec { reach: 3, ..Spec::SHIPPED }] {
            for text in ["", "no way!! 😡 @acme", "遅い、最悪 by Acme、二度と買わない", "аа ббб #NeverAgain"]
            {
                let mut prepared = Prepared::default();
                prepared.read(text);
                let mut collected = Features::default();
                collect(&prepared, spec, &mut collected);
                let mut walked = Features::default();
                walk(&prepared, spec, |block, hash, from, to| {
                    assert!(from <= to && to as usize <= prepared.len());
                    match block {
                        Block::Words => walked.words.push(hash),
                        Block::Chars => walked.chars.push(hash),
                        Block::Names => walked.names.push(hash),
                    }
                });
                let blocks = |f: Features| (f.words, f.chars, f.names);
                assert_eq!(blocks(walked), blocks(collected), "{text}");
            }
        }
    }

    #[test]
    fn names_of_accounts_are_features_only_where_asked() {
        let collected = |text: &str, names: u8| {
            let mut prepared = Prepared::default();
            prepared.read(text);
            let mut out = Features::default();
            collect(&prepared, Spec { names, ..Spec::SHIPPED }, &mut out);
            out
        };
        let (acme, other) = (collected("@AcmeCare where is it", 5), collected("@bob_7 where is it", 5));
        assert_eq!(
            (acme.words, acme.chars),
            (other.words, other.chars),
            "apart from the name they are alike"
        );
        assert_eq!((acme.names.len(), other.names.len()), (7, 4));
        assert!(collected("@AcmeCare where is it", 0).names.is_empty());
        assert!(collected("@user where is it", 5).names.is_empty(), "no name, but what stands for one");
    }

    #[test]
    fn an_empty_text_has_only_traits() {
        let found = features("");
        assert_eq!((found.words.len(), found.chars.len()), (4, 0));
    }
}
