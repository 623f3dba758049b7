//! Which of our brands a mention concerns, and whether a brand itself wrote it.

use std::collections::{BTreeMap, BTreeSet};

use aho_corasick::{AhoCorasick, MatchKind};
use model::{BrandId, MentionEvent};
use unicode_normalization::UnicodeNormalization;

use crate::dedup::without_gaps;

/// More words and handles than this in all rules together are refused.
pub const PATTERNS_MAX: usize = 100_000;

/// How a brand is recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrandRule {
    /// The brand.
    pub brand: BrandId,
    /// Words and phrases; upper and lower case and width do not matter. They match whole words, or
    /// anywhere in scripts that put no spaces between words.
    pub words: Vec<String>,
    /// Handles that people address, with or without `@`.
    pub handles: Vec<String>,
    /// Handles or native ids of the brand's own accounts.
    pub own_accounts: Vec<String>,
}

/// Why rules cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatchError {
    /// More than [`PATTERNS_MAX`].
    #[error("too many words and handles: more than {PATTERNS_MAX}")]
    TooMany,
    /// A word without a letter or digit would match everything.
    #[error("a word of brand '{0}' has no letter or digit")]
    EmptyWord(BrandId),
    /// The automaton could not be built.
    #[error("words cannot be matched: {0}")]
    Automaton(String),
    /// A quote is not closed.
    #[error("a quote is not closed in '{0}'")]
    OpenQuote(String),
}

/// Finds brands in mentions; built once, used for every event.
#[derive(Debug, Clone)]
pub struct Matcher {
    words: AhoCorasick,
    /// The brand of each pattern, by pattern number.
    word_brands: Vec<BrandId>,
    handles: BTreeMap<String, Vec<BrandId>>,
    own: BTreeMap<String, BrandId>,
}

impl Matcher {
    /// Builds the matcher.
    ///
    /// # Errors
    /// When there are too many patterns, or one would match everything.
    pub fn new(rules: &[BrandRule]) -> Result<Self, MatchError> {
        let mut patterns = Vec::new();
        let mut word_brands = Vec::new();
        let mut handles: BTreeMap<String, Vec<BrandId>> = BTreeMap::new();
        let mut own = BTreeMap::new();
        for rule in rules {
            for word in &rule.words {
                let folded = fold(word).trim().to_owned();
                if !folded.chars().any(char::is_alphanumeric) {
                    return Err(MatchError::EmptyWord(rule.brand.clone()));
                }
                patterns.push(folded);
                word_brands.push(rule.brand.clone());
            }
            for handle in rule.handles.iter().chain(&rule.own_accounts) {
                let brands = handles.entry(account(handle)).or_default();
                if !brands.contains(&rule.brand) {
                    brands.push(rule.brand.clone());
                }
            }
            for account_name in &rule.own_accounts {
                own.insert(account(account_name), rule.brand.clone());
            }
        }
        if patterns.len() + handles.len() > PATTERNS_MAX {
            return Err(MatchError::TooMany);
        }
        let words = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .build(&patterns)
            .map_err(|e| MatchError::Automaton(e.to_string()))?;
        Ok(Self { words, word_brands, handles, own })
    }

    /// One brand per entry of `word,"two words"`, named after it.
    ///
    /// # Errors
    /// As [`Matcher::new`], and when a quote is not closed.
    pub fn parse(text: &str) -> Result<Self, MatchError> {
        let rules: Vec<BrandRule> = parse_words(text)?
            .into_iter()
            .map(|word| BrandRule {
                brand: BrandId::slugify(&word),
                // `acme` is also meant by `@acme`, and `virgin america` by `@VirginAmerica`.
                handles: vec![word.replace(' ', "")],
                words: vec![word],
                own_accounts: Vec::new(),
            })
            .collect();
        Self::new(&rules)
    }

    /// Sets `brands` and `by_brand`. Brands that the event already names stay; without a rule that
    /// matches nothing is added.
    pub fn apply(&self, event: &mut MentionEvent) {
        let Some(mention) = &event.mention else { return };
        let mut found: BTreeSet<&BrandId> = BTreeSet::new();
        for text in [Some(mention.text.as_str()), mention.title.as_deref()].into_iter().flatten() {
            self.in_text(text, &mut found);
        }
        for mentioned in &mention.entities.mentions {
            let known = |name: &str| self.handles.get(&account(name));
            let id = mentioned.native_id.as_deref().and_then(known);
            found.extend(known(&mentioned.handle).or(id).into_iter().flatten());
        }
        let author = &mention.author;
        let writer = [&author.native_id, &author.handle].into_iter().flatten();
        let by_brand = writer.filter_map(|name| self.own.get(&account(name))).next();
        found.extend(by_brand);
        for brand in found {
            if !event.brands.contains(brand) {
                event.brands.push(brand.clone());
            }
        }
        if let Some(brand) = by_brand {
            event.by_brand = Some(brand.clone());
        }
    }

    /// True when the event concerns one of the brands.
    pub fn concerns(&self, event: &MentionEvent) -> bool {
        let mut copy = event.clone();
        copy.brands.clear();
        self.apply(&mut copy);
        !copy.brands.is_empty()
    }

    fn in_text<'a>(&'a self, text: &str, found: &mut BTreeSet<&'a BrandId>) {
        let folded = fold(text);
        for hit in self.words.find_overlapping_iter(&folded) {
            let brand = &self.word_brands[hit.pattern().as_usize()];
            if !found.contains(brand) && whole_word(&folded, hit.start(), hit.end()) {
                found.insert(brand);
            }
        }
    }
}

/// Reads `word,"two words"`; a quoted part may contain commas.
///
/// # Errors
/// When a quote is not closed.
pub fn parse_words(text: &str) -> Result<Vec<String>, MatchError> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    if quoted {
        return Err(MatchError::OpenQuote(text.to_owned()));
    }
    words.push(word);
    Ok(words.iter().map(|w| w.trim().to_owned()).filter(|w| !w.is_empty()).collect())
}

fn account(name: &str) -> String {
    name.trim().trim_start_matches('@').to_lowercase()
}

/// Compatibility forms folded, lower case, every run of blanks one space.
fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut push = |c: char| {
        if !c.is_whitespace() {
            out.push(c);
        } else if !out.ends_with(' ') {
            out.push(' ');
        }
    };
    if text.is_ascii() {
        text.chars().for_each(|c| push(c.to_ascii_lowercase()));
    } else {
        text.nfkc().flat_map(char::to_lowercase).for_each(push);
    }
    out
}

/// A match counts if it does not begin or end inside a word, where the script has such.
fn whole_word(text: &str, start: usize, end: usize) -> bool {
    let joined = |a: Option<char>, b: Option<char>| match (a, b) {
        (Some(a), Some(b)) => is_word(a) && is_word(b) && !without_gaps(a) && !without_gaps(b),
        _ => false,
    };
    let matched = &text[start..end];
    let before = text[..start].chars().next_back();
    let after = text[end..].chars().next();
    // Korean puts its particles right behind a name.
    let particle = matched.chars().next_back().is_some_and(is_hangul) || after.is_some_and(is_hangul);
    !joined(before, matched.chars().next()) && (particle || !joined(matched.chars().next_back(), after))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || unicode_normalization::char::is_combining_mark(c)
}

fn is_hangul(c: char) -> bool {
    matches!(c, '\u{1100}'..='\u{11ff}' | '\u{ac00}'..='\u{d7af}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(brand: &str, words: &[&str]) -> BrandRule {
        let words = words.iter().map(|w| (*w).to_owned()).collect();
        BrandRule { brand: BrandId::slugify(brand), words, handles: vec![], own_accounts: vec![] }
    }

    fn found(rules: &[BrandRule], text: &str) -> Vec<String> {
        let matcher = Matcher::new(rules).unwrap();
        let mut brands = BTreeSet::new();
        matcher.in_text(text, &mut brands);
        brands.into_iter().map(ToString::to_string).collect()
    }

    #[test]
    fn words_match_whole_words_in_any_case_and_width() {
        let rules = [
            rule("united", &["united"]),
            rule("va", &["virgin america", "ヴァージン"]),
            rule("s", &["삼성"]),
        ];
        for (text, brands) in [
            ("UNITED broke it", vec!["united"]),
            ("the unitedly named", vec![]),
            ("ｕｎｉｔｅｄ!", vec!["united"]),
            ("Virgin\n  America, united", vec!["united", "va"]),
            ("昨日ヴァージンで遅れた", vec!["va"]),
            ("삼성이 고장났다", vec!["s"]),
            ("@united_help", vec![]),
            ("#united", vec!["united"]),
            ("reunited", vec![]),
        ] {
            assert_eq!(found(&rules, text), brands, "{text}");
        }
    }

    #[test]
    fn word_lists_are_read_and_wrong_ones_explained() {
        assert_eq!(parse_words("word, \"two, words\" ,").unwrap(), ["word", "two, words"]);
        assert!(parse_words("\"open").is_err());
        let mut found = BTreeSet::new();
        let matcher = Matcher::parse("acme,\"virgin america\"").unwrap();
        matcher.in_text("Virgin America, not acmes", &mut found);
        assert_eq!(found.into_iter().map(BrandId::as_str).collect::<Vec<_>>(), ["virgin-america"]);
        assert!(matches!(Matcher::new(&[rule("x", &["!!"])]), Err(MatchError::EmptyWord(_))));
    }
}
