//! Plain text as it goes on: NFC, no controls, oddities flagged, cut on a grapheme.

use std::borrow::Cow;
use std::collections::BTreeSet;

use model::{Flag, TEXT_BYTES_MAX, Text};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};
use unicode_segmentation::GraphemeCursor;

/// The longest title, name or other short field, in bytes.
pub(crate) const SHORT_BYTES_MAX: usize = 1_024;

/// Cleans `input`: NFC, line ends as `\n`, other controls removed. Direction marks and zero-width
/// characters stay, because scripts and emoji need them, but are flagged.
pub(crate) fn clean(input: &str, flags: &mut BTreeSet<Flag>) -> Text {
    let cleaned = normalise(input, flags);
    if formula_prefix(&cleaned) {
        flags.insert(Flag::FormulaPrefix);
    }
    if cleaned.len() <= TEXT_BYTES_MAX {
        return Text::truncated(cleaned.into_owned()).0;
    }
    flags.insert(Flag::Truncated);
    Text::truncated(cut(&cleaned, TEXT_BYTES_MAX).to_owned()).0
}

/// A short field (title, name): cleaned like text, on one line, at most [`SHORT_BYTES_MAX`] bytes.
/// Absent when nothing is left.
pub(crate) fn short(input: &str) -> Option<String> {
    let cleaned = normalise(input.trim(), &mut BTreeSet::new());
    let line =
        if cleaned.contains(['\n', '\t']) { Cow::Owned(cleaned.replace(['\n', '\t'], " ")) } else { cleaned };
    let line = cut(line.trim(), SHORT_BYTES_MAX);
    (!line.is_empty()).then(|| line.to_owned())
}

fn normalise<'a>(input: &'a str, flags: &mut BTreeSet<Flag>) -> Cow<'a, str> {
    if input.bytes().all(|b| (b' '..0x7f).contains(&b) || b == b'\n' || b == b'\t') {
        return Cow::Borrowed(input);
    }
    let mut out = String::with_capacity(input.len());
    let mut previous_cr = false;
    for c in input.chars() {
        match c {
            '\r' => out.push('\n'),
            '\n' if previous_cr => {}
            '\n' | '\t' => out.push(c),
            c if c.is_control() => {}
            '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                flags.insert(Flag::Bidi);
                out.push(c);
            }
            '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{00ad}' => {
                flags.insert(Flag::ZeroWidth);
                out.push(c);
            }
            c => out.push(c),
        }
        previous_cr = c == '\r';
    }
    if is_nfc_quick(out.chars()) == IsNormalized::Yes {
        Cow::Owned(out)
    } else {
        Cow::Owned(out.nfc().collect())
    }
}

/// A cell that a spreadsheet would calculate. A handle or a list dash at the start is no formula.
fn formula_prefix(text: &str) -> bool {
    let b = text.as_bytes();
    let word = || text.split_ascii_whitespace().next().unwrap_or_default();
    match b.first() {
        Some(b'=' | b'\t') => true,
        Some(b'+' | b'-') => word().len() > 1 && word().contains(['(', '|', '!']),
        Some(b'@') => word().contains(['(', '|']),
        _ => false,
    }
}

/// The longest start of `text` with at most `bytes_max` bytes that ends between graphemes.
pub(crate) fn cut(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    let mut end = bytes_max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    // A grapheme of more than a kilobyte is an attack, not a letter: that one is cut inside.
    let mut window = end.saturating_sub(1_024);
    while !text.is_char_boundary(window) {
        window += 1;
    }
    let mut cursor = GraphemeCursor::new(end, text.len(), true);
    match cursor.is_boundary(text, 0) {
        Ok(true) | Err(_) => &text[..end],
        Ok(false) => match cursor.prev_boundary(text, 0) {
            Ok(Some(boundary)) if boundary >= window => &text[..boundary],
            _ => &text[..end],
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(input: &str) -> (String, Vec<Flag>) {
        let mut flags = BTreeSet::new();
        let text = clean(input, &mut flags).into_string();
        (text, flags.into_iter().collect())
    }

    #[test]
    fn controls_go_and_oddities_are_flagged() {
        for (input, output, flags) in [
            ("plain\ttext\n", "plain\ttext\n", vec![]),
            ("a\r\nb\rc\u{0}\u{7}\u{85}", "a\nb\nc", vec![]),
            ("e\u{301}", "é", vec![]),
            ("\u{202e}abc", "\u{202e}abc", vec![Flag::Bidi]),
            ("a\u{200b}b", "a\u{200b}b", vec![Flag::ZeroWidth]),
            ("=@VirginAmerica What", "=@VirginAmerica What", vec![Flag::FormulaPrefix]),
            ("@SUM(1+1)*cmd|x", "@SUM(1+1)*cmd|x", vec![Flag::FormulaPrefix]),
            ("@united hello (again)", "@united hello (again)", vec![]),
            ("- a list", "- a list", vec![]),
        ] {
            assert_eq!(cleaned(input), (output.to_owned(), flags), "{input:?}");
        }
    }

    #[test]
    fn long_text_is_cut_between_graphemes() {
        let family = "👨‍👩‍👧‍👦";
        let (text, flags) = cleaned(&family.repeat(TEXT_BYTES_MAX / family.len() + 1));
        assert!(text.len() <= TEXT_BYTES_MAX && text.len() % family.len() == 0);
        assert!(flags.contains(&Flag::Truncated));
        let storm = format!("a{}", "\u{310}".repeat(TEXT_BYTES_MAX));
        assert!(cleaned(&storm).0.len() > TEXT_BYTES_MAX - 8);
    }
}
