//! Languages, and the script rules that settle most of them before any model is asked.

use crate::prepare::Counts;

/// A language as a BCP 47 tag of at most eight bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Language([u8; 8]);

impl Language {
    /// Not known: the text has no letters.
    pub const UNKNOWN: Language = Language(*b"und\0\0\0\0\0");
    /// A language this model does not read.
    pub const OTHER: Language = Language(*b"other\0\0\0");

    /// Takes the first eight bytes of a tag (`en`, `pt`, `hi-Latn`); tags are ASCII by definition.
    pub fn new(tag: &str) -> Self {
        let mut bytes = [0; 8];
        for (slot, byte) in bytes.iter_mut().zip(tag.bytes().filter(u8::is_ascii_graphic)) {
            *slot = byte;
        }
        if bytes[0] == 0 { Self::UNKNOWN } else { Self(bytes) }
    }

    /// The tag.
    pub fn as_str(&self) -> &str {
        let end = self.0.iter().position(|b| *b == 0).unwrap_or(self.0.len());
        std::str::from_utf8(&self.0[..end]).unwrap_or("und")
    }

    /// What sets this language's words apart from those of others.
    pub fn salt(self) -> u32 {
        let row = self.row() as u32;
        (row + 1).wrapping_mul(0x9e37_79b1)
    }

    /// The row of the per-language tables this language uses; the last one serves all others.
    pub fn row(self) -> usize {
        let mine = u64::from_le_bytes(self.0);
        TAGS.iter().position(|tag| *tag == mine).unwrap_or(KNOWN.len())
    }
}

impl std::fmt::Debug for Language {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Display for Language {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The languages the shipped model reads, in the order of its per-language tables.
pub const KNOWN: [&str; 12] = ["ar", "de", "en", "es", "fr", "hi", "hi-Latn", "it", "ja", "pt", "ru", "zh"];
/// The known tags as numbers, to be compared at once.
const TAGS: [u64; KNOWN.len()] = {
    let mut tags = [0; KNOWN.len()];
    let mut at = 0;
    while at < tags.len() {
        let tag = KNOWN[at].as_bytes();
        let mut byte = 0;
        while byte < tag.len() {
            tags[at] |= (tag[byte] as u64) << (8 * byte);
            byte += 1;
        }
        at += 1;
    }
    tags
};
/// Rows of the per-language tables: the known languages and one for all others.
pub const ROWS: usize = KNOWN.len() + 1;

/// What the script alone says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// The script settles the language.
    Settled(Language),
    /// Latin letters: a model has to say which language.
    Latin,
}

/// Decides by the letters counted. Scripts written without spaces pack more into a letter, so theirs count thrice.
pub fn by_script(counts: &Counts) -> Script {
    let dense = 3 * (counts.han + counts.kana);
    let rest = counts.latin.max(counts.cyrillic).max(counts.arabic).max(counts.devanagari).max(counts.other);
    if dense > rest {
        let japanese = counts.kana > 0 && counts.kana * 12 >= counts.han;
        return Script::Settled(Language::new(if japanese { "ja" } else { "zh" }));
    }
    if rest == 0 {
        return Script::Settled(Language::UNKNOWN);
    }
    // Native letters beat the brand names, links and tags in Latin letters around them.
    let native = counts.cyrillic.max(counts.arabic).max(counts.devanagari);
    if native * 2 < counts.latin {
        return Script::Latin;
    }
    if native < counts.other {
        return Script::Settled(Language::OTHER);
    }
    Script::Settled(if counts.cyrillic == native {
        if counts.cyrillic_foreign * 20 > counts.cyrillic { Language::OTHER } else { Language::new("ru") }
    } else if counts.arabic == native {
        if counts.arabic_foreign * 8 > counts.arabic { Language::OTHER } else { Language::new("ar") }
    } else {
        Language::new("hi")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prepare::Prepared;

    fn script(text: &str) -> Script {
        let mut prepared = Prepared::default();
        prepared.read(text);
        by_script(&prepared.counts)
    }

    #[test]
    fn scripts_settle_what_they_can() {
        for (text, tag) in [
            ("配送が遅いです", "ja"),
            ("快递太慢了，客服不理人", "zh"),
            ("посылка потерялась iPhone", "ru"),
            ("посилка загубилася, підтримка мовчить, що ж це таке її", "other"),
            ("أين طلبي؟", "ar"),
            ("سفارش من کجاست؟ چرا پاسخ نمی‌دهید", "other"),
            ("मेरा ऑर्डर कहाँ है", "hi"),
            ("배송이 너무 늦어요", "other"),
            ("😡", "und"),
            ("123 !!", "und"),
            ("", "und"),
        ] {
            assert_eq!(script(text), Script::Settled(Language::new(tag)), "{text}");
        }
        assert_eq!(script("where is my parcel 😡"), Script::Latin);
    }

    #[test]
    fn a_tag_survives_and_a_long_one_is_cut() {
        assert_eq!(Language::new("hi-Latn").as_str(), "hi-Latn");
        assert_eq!(Language::new("zh-Hant-TW").as_str(), "zh-Hant-");
        assert_eq!(Language::new(""), Language::UNKNOWN);
        assert_eq!(Language::new("xx").row(), KNOWN.len());
    }
}
