//! Keys that recognise repeats of the same words.

use model::Dedup;
use unicode_normalization::char::is_combining_mark;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};
use xxhash_rust::xxh3::xxh3_64;

/// Which form of [`simhash`] the keys have; keys of different versions are never compared.
pub const NEAR_KEY_VERSION: u8 = 1;

/// Fewer words than this carry no similarity hash: short equal texts are the signal, not noise.
pub const SIMHASH_WORDS_MIN: usize = 8;

/// Text reduced to its words: compatibility forms folded, leading `RT @x:`, links, handles and
/// invisible characters dropped, everything that is no letter, digit or mark one space, lower case.
pub fn norm(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = strip_repost_prefix(text);
    while !rest.is_empty() {
        let special = rest.find(['@', ':']).unwrap_or(rest.len());
        let (before, after) = rest.split_at(special);
        if after.starts_with("://") && ends_with_scheme(before) {
            let scheme_at = before.len() - if before.ends_with(['s', 'S']) { 5 } else { 4 };
            fold(&before[..scheme_at], &mut out);
            out.push(' ');
            rest = &after[after.find(char::is_whitespace).unwrap_or(after.len())..];
            continue;
        }
        fold(before, &mut out);
        let Some(marker) = after.chars().next() else { break };
        rest = &after[marker.len_utf8()..];
        if marker == '@' {
            out.push(' ');
            let name_end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            rest = &rest[name_end..];
        } else if !out.ends_with(' ') {
            out.push(' ');
        }
    }
    squeeze(&out)
}

/// The hash of [`norm`]; 0 when nothing is left, which equals nothing.
pub fn text_hash(norm: &str) -> u64 {
    if norm.is_empty() { 0 } else { xxh3_64(norm.as_bytes()).max(1) }
}

/// 64-bit similarity hash (Charikar 2002) over word 3-grams, or character 5-grams where words have no
/// gaps. Absent for short texts.
pub fn simhash(norm: &str) -> Option<u64> {
    if norm.len() < SIMHASH_WORDS_MIN {
        return None;
    }
    let mut votes = Votes::default();
    let mut add = |gram: &[u8]| votes.add(xxh3_64(gram));
    if norm.chars().take(200).filter(|c| without_gaps(*c)).count() > 4 {
        let starts: Vec<usize> = norm.char_indices().map(|(i, _)| i).chain([norm.len()]).collect();
        if starts.len() <= SIMHASH_WORDS_MIN + 5 {
            return None;
        }
        for window in starts.windows(6) {
            add(&norm.as_bytes()[window[0]..window[5]]);
        }
    } else {
        // Start of the two words before the current one; words are separated by exactly one space.
        let spaces = memchr::memchr_iter(b' ', norm.as_bytes()).count();
        if spaces + 1 < SIMHASH_WORDS_MIN {
            return None;
        }
        let (mut first, mut second, mut third) = (0, None, None);
        for space in memchr::memchr_iter(b' ', norm.as_bytes()).chain([norm.len()]) {
            if third.is_some() {
                add(&norm.as_bytes()[first..space]);
                first = second.unwrap_or(space);
                second = third;
                third = Some(space + 1);
            } else if second.is_some() {
                third = Some(space + 1);
            } else {
                second = Some(space + 1);
            }
        }
    }
    (votes.cast > 0).then(|| votes.majority())
}

/// How many hashes have each bit set: 64 counters that are added to at once, the n-th word holding the
/// n-th binary digit of all of them.
#[derive(Default)]
struct Votes {
    digits: [u64; 24],
    cast: u32,
}

impl Votes {
    fn add(&mut self, hash: u64) {
        self.cast += 1;
        let mut carry = hash;
        for digit in &mut self.digits {
            if carry == 0 {
                return;
            }
            (*digit, carry) = (*digit ^ carry, *digit & carry);
        }
    }

    /// The bits that more than half of the hashes have.
    fn majority(&self) -> u64 {
        let count = |bit: usize| {
            self.digits.iter().enumerate().fold(0_u32, |n, (i, d)| n | ((((d >> bit) & 1) as u32) << i))
        };
        (0..64).filter(|bit| count(*bit) * 2 > self.cast).fold(0, |hash, bit| hash | (1 << bit))
    }
}

/// Both keys of a text.
pub fn keys(text: &str) -> Dedup {
    let norm = norm(text);
    Dedup { text_hash: text_hash(&norm), simhash: simhash(&norm) }
}

/// True for scripts written without spaces between words.
pub(crate) fn without_gaps(c: char) -> bool {
    matches!(c, '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{323af}')
}

fn strip_repost_prefix(text: &str) -> &str {
    let mut rest = text.trim_start();
    while let Some(after) = rest.strip_prefix("RT @") {
        match after.find(|c: char| !(c.is_alphanumeric() || c == '_')) {
            Some(end) if after[end..].starts_with(':') => rest = after[end + 1..].trim_start(),
            _ => break,
        }
    }
    rest
}

fn ends_with_scheme(before: &str) -> bool {
    let b = before.as_bytes();
    let ends = |word: &[u8]| b.len() >= word.len() && b[b.len() - word.len()..].eq_ignore_ascii_case(word);
    ends(b"http") || ends(b"https")
}

fn fold(text: &str, out: &mut String) {
    if text.is_ascii() {
        let mut gap = out.ends_with(' ');
        for b in text.bytes() {
            if b.is_ascii_alphanumeric() || b == b'_' {
                out.push(b.to_ascii_lowercase() as char);
                gap = false;
            } else if !gap {
                out.push(' ');
                gap = true;
            }
        }
        return;
    }
    if is_nfkc_quick(text.chars()) == IsNormalized::Yes {
        fold_chars(text.chars(), out);
    } else {
        fold_chars(text.nfkc(), out);
    }
}

fn fold_chars(chars: impl Iterator<Item = char>, out: &mut String) {
    for c in chars {
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_lowercase());
        } else if c.is_alphanumeric() || c == '_' || c == '\u{200d}' || is_combining_mark(c) {
            out.extend(c.to_lowercase());
        } else if !is_format(c) && !out.ends_with(' ') {
            out.push(' ');
        }
    }
}

/// Characters without a shape of their own (category Cf), but not the joiner that scripts need.
fn is_format(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200c}' | '\u{200e}' | '\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0001}'..='\u{e007f}')
}

/// One space between words, none at the ends; a joiner or mark that joins nothing goes too.
fn squeeze(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split(' ').filter(|w| w.chars().any(|c| c.is_alphanumeric() || c == '_')) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_have_one_hash_and_nothing_equals_nothing() {
        let hash = |text| text_hash(&norm(text));
        assert_eq!(hash("RT @a: My bag is LOST! https://t.co/x"), hash("my bag is lost @united"));
        assert_eq!(hash("ｆｕｌｌ　ｗｉｄｔｈ"), hash("full width"));
        assert_ne!(hash("my bag is lost"), hash("my bag is found"));
        for empty in ["", "@united", "https://a.example/b", "😀 !!", "@a @b https://x.y"] {
            assert_eq!(hash(empty), 0, "{empty}");
        }
    }

    #[test]
    fn words_survive_the_reduction() {
        for (text, expected) in [
            ("RT @a: RT @b: Still: down", "still down"),
            ("see HTTPS://a.example now", "see now"),
            ("mail me a@b.example", "mail me a example"),
            ("time 10:30, ok", "time 10 30 ok"),
            ("हिन्दी में", "हिन्दी में"),
            ("naïve Straße", "naïve straße"),
        ] {
            assert_eq!(norm(text), expected, "{text}");
        }
    }

    #[test]
    fn similar_texts_are_near_and_short_ones_have_no_key() {
        let key = |text: &str| simhash(&norm(text));
        let a = "the broken guitar was thrown by the baggage handlers in chicago and nobody answers my calls";
        let distance = |x: u64, y: u64| (x ^ y).count_ones();
        let copy = key(&a.replace("calls", "mails")).unwrap();
        let other = key("today the weather in lisbon is sunny with a light breeze from the sea all day long")
            .unwrap();
        assert!(distance(key(a).unwrap(), copy) < distance(key(a).unwrap(), other));
        assert_eq!(key("still down"), None);
        assert!(key("昨日届いた商品が壊れていて返金もしてくれません").is_some());
    }
}
