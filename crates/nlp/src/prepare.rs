//! From text to tokens: one pass, linear in length, bounded memory.
//!
//! Letters are folded (case, width, decoration, Arabic marks, ё), mentions, links and digits become single
//! signs, emoji are kept one by one, invisible characters vanish. What is kept per folded character is only a
//! running polynomial hash, from which the hash of any stretch follows in two multiplications.

use unicode_normalization::char::{compose, decompose_compatible};

/// Folded characters read from one text; the rest of a longer text is not looked at.
pub const FOLDED_MAX: usize = 1 << 16;
const BASE: u64 = 0x9E6C_63D0_876A_3F6B;
const LINK: u32 = 0x0011_0001;
const MENTION: u32 = 0x0011_0002;
/// What data sets put in place of accounts: nobody's name.
const ANYBODY: &[u8] = b"user";

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A run of letters and digits.
    Word,
    /// A run of characters of a script without spaces.
    Dense,
    /// Punctuation that says something: `!!`, `?`, `:-)`.
    Mark,
    /// One emoji or symbol.
    Emoji,
    /// A link or a mention of an account.
    Address,
    /// The letters of the account mentioned just before.
    Name,
}

/// A stretch of the folded text.
#[derive(Debug, Clone, Copy)]
pub struct Token {
    /// First folded character.
    pub start: u32,
    /// One past the last folded character.
    pub end: u32,
    /// First byte in the original.
    pub from: u32,
    /// One past the last byte in the original.
    pub to: u32,
    /// What it is.
    pub kind: Kind,
}

/// Counts that decide the script and feed the few features of the whole text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Counts {
    pub latin: u32,
    pub cyrillic: u32,
    /// Cyrillic letters Russian does not have.
    pub cyrillic_foreign: u32,
    pub arabic: u32,
    /// Letters of Persian, Urdu and Pashto that Arabic does not have.
    pub arabic_foreign: u32,
    pub devanagari: u32,
    pub han: u32,
    pub kana: u32,
    /// Letters of every other script.
    pub other: u32,
    pub capital_words: u32,
    pub words: u32,
    pub exclamations: u32,
    pub questions: u32,
    pub links: u32,
    pub mentions: u32,
    pub emoji: u32,
    pub stretched: u32,
}

/// A prepared text; reuse one per thread.
#[derive(Debug, Default)]
pub struct Prepared {
    /// `prefix[i]` is the hash of the first i folded characters.
    prefix: Vec<u64>,
    powers: Vec<u64>,
    /// The tokens in order.
    pub tokens: Vec<Token>,
    /// What was counted on the way.
    pub counts: Counts,
    /// Sets the words of one language apart from those of the others; zero for none.
    pub salt: u32,
}

impl Prepared {
    /// The mixed hash of a stretch of folded characters, at most 64 long (longer stretches count as their last 64).
    #[inline]
    pub fn hash(&self, start: usize, end: usize) -> u32 {
        let start = start.max(end.saturating_sub(64));
        let raw = self.prefix[end].wrapping_sub(self.prefix[start].wrapping_mul(self.powers[end - start]));
        finish(raw)
    }

    /// The hashes of all stretches of `length` folded characters (at most 64) in a range, from left to right. The
    /// space on either side of a word may be part of the range: borders tell prefixes and endings apart.
    #[inline]
    pub fn stretches(
        &self,
        from: usize,
        to: usize,
        length: usize,
    ) -> impl ExactSizeIterator<Item = u32> + '_ {
        let power = self.powers[length];
        // A range may reach past the end of the text; as many ends as starts, none where it is too short.
        let to = to.min(self.len());
        let last = (to + 1).saturating_sub(length).max(from);
        let starts = &self.prefix[from..last];
        let ends = self.prefix.get(from + length..).unwrap_or_default();
        starts.iter().zip(ends).map(move |(start, end)| finish(end.wrapping_sub(start.wrapping_mul(power))))
    }

    /// Reads a text, forgetting the one before.
    pub fn read(&mut self, text: &str) {
        if self.powers.is_empty() {
            let mut power = 1u64;
            for _ in 0..=64 {
                self.powers.push(power);
                power = power.wrapping_mul(BASE);
            }
        }
        self.prefix.clear();
        self.tokens.clear();
        self.counts = Counts::default();
        self.salt = 0;
        self.prefix.push(0);
        let reserve = text.len().min(FOLDED_MAX) + 8;
        self.prefix.reserve(reserve);
        Reader {
            out: self,
            text: text.as_bytes(),
            whole: text,
            at: 0,
            hash: 0,
            count: 0,
            last: 0,
            run: 0,
            open: None,
        }
        .run();
    }

    /// The hashes of words, stretches and emoji, in order: equal lists are the same text for a reader, case, accents
    /// of typing and marks aside.
    pub fn gist(&self) -> impl Iterator<Item = u32> + '_ {
        let said = self.tokens.iter().filter(|t| matches!(t.kind, Kind::Word | Kind::Dense | Kind::Emoji));
        said.map(|t| self.hash(t.start as usize, t.end as usize))
    }

    /// How many folded characters there are, the spaces between tokens included.
    pub fn len(&self) -> usize {
        self.prefix.len() - 1
    }

    /// True when nothing was kept.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}

/// The finaliser of every feature hash.
#[inline]
pub fn finish(raw: u64) -> u32 {
    let mixed = (raw ^ (raw >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (mixed >> 32) as u32
}

struct Open {
    start: u32,
    from: u32,
    kind: Kind,
    capitals: u32,
    letters: u32,
    last_lower: bool,
    hashtag: bool,
}

struct Reader<'a> {
    out: &'a mut Prepared,
    text: &'a [u8],
    whole: &'a str,
    at: usize,
    hash: u64,
    count: usize,
    last: u32,
    run: u32,
    open: Option<Open>,
}

impl Reader<'_> {
    fn run(mut self) {
        // The text starts with a space, so that the first word has a border like every other.
        self.push(0x20);
        while self.at < self.text.len() && self.count < FOLDED_MAX {
            let byte = self.text[self.at];
            if byte < 0x80 { self.ascii(byte) } else { self.wide() }
        }
        self.close(self.at);
    }

    #[inline]
    fn push(&mut self, c: u32) {
        self.hash = self.hash.wrapping_mul(BASE).wrapping_add(u64::from(c) + 0x51);
        self.out.prefix.push(self.hash);
        self.count += 1;
    }

    #[inline]
    fn ascii(&mut self, byte: u8) {
        match byte {
            b'a'..=b'z' => {
                if byte == b'h' && self.open.is_none() && self.link() {
                    return;
                }
                self.letter(u32::from(byte), 1, false);
                self.out.counts.latin += 1;
                self.plain_letters();
            }
            b'A'..=b'Z' => {
                if byte == b'H' && self.open.is_none() && self.link() {
                    return;
                }
                self.letter(u32::from(byte | 0x20), 1, true);
                self.out.counts.latin += 1;
                self.plain_letters();
            }
            b'0'..=b'9' => self.letter(u32::from(b'0'), 1, false),
            b' ' | b'\n' | b'\t' | b'\r' => {
                self.close(self.at);
                self.at += 1;
            }
            b'\'' => self.apostrophe(1),
            b'@' => self.mention(),
            b'#' => {
                self.close(self.at);
                self.at += 1;
                if self.text.get(self.at).is_some_and(u8::is_ascii_alphanumeric) {
                    self.begin(Kind::Word, true);
                }
            }
            b'&' => self.entity(),
            b'!'..=b'~' => self.mark(u32::from(byte), 1),
            _ => {
                self.close(self.at);
                self.at += 1;
            }
        }
    }

    /// The ASCII letters that follow in the open word: most of most texts, so without the general way. A letter
    /// drawn out (three in a row) is left to the general way.
    fn plain_letters(&mut self) {
        let Some(open) = self.open.as_mut().filter(|open| !open.hashtag) else { return };
        let room = FOLDED_MAX.saturating_sub(self.count);
        let rest = &self.text[self.at..];
        let rest = &rest[..rest.len().min(room)];
        let (mut letters, mut capitals, mut last, mut run) = (0, 0, self.last, self.run);
        for &byte in rest {
            let c = u32::from(byte | 0x20);
            if !(0x61..=0x7a).contains(&c) {
                break;
            }
            let next = if c == last { run + 1 } else { 0 };
            if next >= 2 {
                break;
            }
            (run, last) = (next, c);
            capitals += u32::from(byte & 0x20 == 0);
            letters += 1;
        }
        let mut hash = self.hash;
        self.out.prefix.extend(rest[..letters].iter().map(|byte| {
            hash = hash.wrapping_mul(BASE).wrapping_add(u64::from(byte | 0x20) + 0x51);
            hash
        }));
        (self.hash, self.last, self.run) = (hash, last, run);
        self.count += letters;
        open.capitals += capitals;
        open.letters += letters as u32;
        open.last_lower = true;
        self.out.counts.latin += letters as u32;
        self.at += letters;
    }

    fn wide(&mut self) {
        let Some(c) = self.whole[self.at..].chars().next() else { return };
        let size = c.len_utf8();
        self.fold(c, size);
    }

    fn fold(&mut self, c: char, size: usize) {
        let code = c as u32;
        match code {
            // The most frequent first: small Cyrillic, accented Latin and plain Arabic letters.
            0x0430..=0x044f => {
                self.out.counts.cyrillic += 1;
                self.letter(code, size, false);
            }
            0x00df..=0x00f6 | 0x00f8..=0x00ff => {
                self.out.counts.latin += 1;
                self.letter(code, size, false);
            }
            0x0627 | 0x0628 | 0x062a..=0x063a | 0x0641..=0x0648 | 0x064a => {
                self.out.counts.arabic += 1;
                self.letter(code, size, false);
            }
            // Latin-1, Latin Extended, IPA, Greek, Cyrillic, Armenian.
            0x00aa | 0x00b5 | 0x00ba | 0x00c0..=0x02af | 0x0370..=0x058f if c.is_alphabetic() => {
                self.cased(c, size)
            }
            0x0300..=0x036f => self.accent(c, size),
            0x0591..=0x05f4 => self.other_letter(c, size),
            0x0640 | 0x064b..=0x065f | 0x0670 | 0x0610..=0x061a | 0x06d6..=0x06ed => self.at += size,
            0x0620..=0x06ff => self.arabic(c, size),
            0x0900..=0x0963 | 0x0970..=0x097f => {
                self.out.counts.devanagari += 1;
                self.letter(code, size, false);
            }
            0x0966..=0x096f => self.letter(u32::from(b'0'), size, false),
            0x0e00..=0x0e7f | 0x0e80..=0x0eff | 0x1000..=0x109f | 0x1780..=0x17ff => {
                self.out.counts.other += 1;
                self.dense(code, size);
            }
            0x200b..=0x200f
            | 0x202a..=0x202e
            | 0x2060..=0x2069
            | 0xfeff
            | 0x00ad
            | 0xfe00..=0xfe0f
            | 0x1f3fb..=0x1f3ff
            | 0xe0001..=0xe007f
            | 0xfffc
            | 0xfffd => self.at += size,
            0x2018 | 0x2019 | 0x02bc => self.apostrophe(size),
            0x2026 => self.mark(u32::from(b'.'), size),
            0x3005..=0x3007 | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0x20000..=0x3134f => {
                self.out.counts.han += 1;
                self.dense(code, size);
            }
            0x3041..=0x30ff | 0x31f0..=0x31ff => {
                self.out.counts.kana += 1;
                self.dense(code, size);
            }
            0x3001 | 0x3002 => {
                self.close(self.at);
                self.at += size;
            }
            0xff10..=0xff19 => self.letter(u32::from(b'0'), size, false),
            0xff01..=0xff5e => self.wide_ascii(code, size),
            0xff65..=0xff9f
            | 0xfb00..=0xfb06
            | 0xfb50..=0xfdff
            | 0xfe70..=0xfefc
            | 0x1d400..=0x1d7ff
            | 0x2460..=0x24ff
            | 0x1f130..=0x1f149
            | 0x1f170..=0x1f189
            | 0xf900..=0xfaff
            | 0x2100..=0x214f
            | 0x3300..=0x33ff => {
                self.compatible(c, size);
            }
            0x2190..=0x21ff
            | 0x2300..=0x23ff
            | 0x2500..=0x2bff
            | 0x1f000..=0x1faff
            | 0x20ac
            | 0x00a3
            | 0x00a5 => {
                self.emoji(code, size);
            }
            _ if c.is_alphanumeric() => self.other_letter(c, size),
            _ => {
                self.close(self.at);
                self.at += size;
            }
        }
    }

    fn cased(&mut self, c: char, size: usize) {
        let code = c as u32;
        let (lower, capital) = match code {
            0x0410..=0x042f => (code + 32, true),
            0x0430..=0x044f => (code, false),
            0x0401 | 0x0451 => (0x0435, code == 0x0401),
            _ => {
                let lower = c.to_lowercase().next().map_or(code, |l| l as u32);
                (lower, lower != code)
            }
        };
        let counts = &mut self.out.counts;
        match lower {
            0x0400..=0x052f => {
                counts.cyrillic += 1;
                counts.cyrillic_foreign += u32::from(!(0x0430..=0x044f).contains(&lower));
            }
            0x0370..=0x03ff | 0x0530..=0x058f => counts.other += 1,
            _ => counts.latin += 1,
        }
        self.letter(lower, size, capital);
    }

    fn other_letter(&mut self, c: char, size: usize) {
        self.out.counts.other += 1;
        self.letter(c as u32, size, false);
    }

    fn arabic(&mut self, c: char, size: usize) {
        let code = c as u32;
        match code {
            0x0660..=0x0669 | 0x06f0..=0x06f9 => return self.letter(u32::from(b'0'), size, false),
            _ if !c.is_alphabetic() => {
                return self.mark(if code == 0x061f { u32::from(b'?') } else { code }, size);
            }
            _ => {}
        }
        let folded = match code {
            0x0622 | 0x0623 | 0x0625 | 0x0671 => 0x0627,
            0x0649 => 0x064a,
            0x0629 => 0x0647,
            _ => code,
        };
        self.out.counts.arabic += 1;
        self.out.counts.arabic_foreign += u32::from(code > 0x0671);
        self.letter(folded, size, false);
    }

    /// A combining accent joins the letter before it when both have a joint form, and is dropped otherwise.
    fn accent(&mut self, c: char, size: usize) {
        self.at += size;
        let joined = match (&self.open, char::from_u32(self.last)) {
            (Some(open), Some(base)) if open.kind == Kind::Word => compose(base, c),
            _ => None,
        };
        if let Some(joined) = joined {
            self.out.prefix.pop();
            self.count -= 1;
            self.hash = self.out.prefix.last().copied().unwrap_or_default();
            let joined = if joined == 'ё' { 'е' } else { joined };
            self.push(joined as u32);
            self.last = joined as u32;
        }
    }

    fn wide_ascii(&mut self, code: u32, size: usize) {
        let byte = (code - 0xff00 + 0x20) as u8;
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' => {
                self.out.counts.latin += 1;
                self.letter(u32::from(byte.to_ascii_lowercase()), size, byte.is_ascii_uppercase());
            }
            _ => self.mark(u32::from(byte), size),
        }
    }

    /// Decorated forms count as the plain characters they stand for.
    fn compatible(&mut self, c: char, size: usize) {
        let mut plain = ['\0'; 4];
        let mut n = 0;
        decompose_compatible(c, |p| {
            if n < plain.len() {
                plain[n] = p;
                n += 1;
            }
        });
        if n == 0 || (n == 1 && plain[0] == c) {
            return self.emoji(c as u32, size);
        }
        for (i, &p) in plain[..n].iter().enumerate() {
            let size = if i == 0 { size } else { 0 };
            let code = p as u32;
            match code {
                0x30..=0x39 => self.letter(0x30, size, false),
                0x41..=0x5a | 0x61..=0x7a => {
                    self.out.counts.latin += 1;
                    self.letter(code | 0x20, size, code < 0x61);
                }
                0x3099 | 0x309a => self.voiced(p, size),
                0x3041..=0x30ff => {
                    self.out.counts.kana += 1;
                    self.dense(code, size);
                }
                0x3400..=0x9fff => {
                    self.out.counts.han += 1;
                    self.dense(code, size);
                }
                0x0620..=0x06ff if p.is_alphabetic() => self.arabic(p, size),
                _ if p.is_alphabetic() => self.cased(p, size),
                _ => self.at += size,
            }
        }
    }

    /// The voicing sign of half-width kana joins the kana before it.
    fn voiced(&mut self, sign: char, size: usize) {
        self.at += size;
        if let Some(joined) = char::from_u32(self.last).and_then(|base| compose(base, sign)) {
            self.out.prefix.pop();
            self.count -= 1;
            self.hash = self.out.prefix.last().copied().unwrap_or_default();
            self.push(joined as u32);
            self.last = joined as u32;
        }
    }

    #[inline]
    fn begin(&mut self, kind: Kind, hashtag: bool) {
        self.open = Some(Open {
            start: self.count as u32,
            from: self.at as u32,
            kind,
            capitals: 0,
            letters: 0,
            last_lower: false,
            hashtag,
        });
        self.last = 0;
        self.run = 0;
    }

    #[inline]
    fn letter(&mut self, c: u32, size: usize, capital: bool) {
        match &self.open {
            Some(open) if open.kind == Kind::Word => {
                if open.hashtag && capital && open.last_lower {
                    self.close(self.at);
                    self.begin(Kind::Word, true);
                }
            }
            _ => {
                self.close(self.at);
                self.begin(Kind::Word, false);
            }
        }
        if let Some(open) = &mut self.open {
            open.capitals += u32::from(capital);
            open.letters += 1;
            open.last_lower = !capital;
        }
        self.at += size;
        self.add(c);
    }

    fn dense(&mut self, c: u32, size: usize) {
        if self.open.as_ref().is_none_or(|open| open.kind != Kind::Dense) {
            self.close(self.at);
            self.begin(Kind::Dense, false);
        }
        self.at += size;
        self.add(c);
    }

    /// Adds a character to the open token; the fourth of a run and those after it are dropped.
    #[inline]
    fn add(&mut self, c: u32) {
        if c == self.last {
            self.run += 1;
            if self.run >= 3 {
                self.out.counts.stretched += u32::from(self.run == 3 && c != u32::from(b'0'));
                return;
            }
        } else {
            self.last = c;
            self.run = 0;
        }
        self.push(c);
    }

    fn emoji(&mut self, c: u32, size: usize) {
        self.close(self.at);
        self.begin(Kind::Emoji, false);
        self.at += size;
        self.push(c);
        self.out.counts.emoji += 1;
        self.close(self.at);
    }

    fn apostrophe(&mut self, size: usize) {
        let inside = self.open.as_ref().is_some_and(|open| open.kind == Kind::Word)
            && self.whole[self.at + size..].chars().next().is_some_and(char::is_alphabetic);
        if inside {
            self.at += size;
            self.add(u32::from(b'\''));
        } else {
            self.close(self.at);
            self.at += size;
        }
    }

    fn mark(&mut self, c: u32, size: usize) {
        if self.open.as_ref().is_none_or(|open| open.kind != Kind::Mark) {
            self.close(self.at);
            self.begin(Kind::Mark, false);
        }
        self.out.counts.exclamations += u32::from(c == u32::from(b'!'));
        self.out.counts.questions += u32::from(c == u32::from(b'?'));
        self.at += size;
        self.add(c);
        self.face();
    }

    /// `:D`, `:P`, `<3`: the letter or digit after the eyes belongs to the face.
    fn face(&mut self) {
        let eyes = matches!(self.last, 0x3a | 0x3b | 0x3d | 0x3c | 0x2d);
        let Some(&next) = self.text.get(self.at) else { return };
        let mouth = matches!(next, b'D' | b'P' | b'p' | b'O' | b'o' | b'S' | b's' | b'3');
        if eyes && mouth && !self.text.get(self.at + 1).is_some_and(u8::is_ascii_alphanumeric) {
            self.at += 1;
            self.push(u32::from(next.to_ascii_lowercase()));
            self.close(self.at);
        }
    }

    fn mention(&mut self) {
        self.close(self.at);
        let rest = &self.text[self.at + 1..];
        let length = rest.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
        if length == 0 {
            self.at += 1;
            return;
        }
        self.begin(Kind::Address, false);
        self.at += 1 + length;
        self.push(MENTION);
        self.out.counts.mentions += 1;
        self.close(self.at);
        self.name(&rest[..length]);
    }

    /// The letters of an account, apart from the mention: whoever does not ask for them sees the sign alone.
    fn name(&mut self, name: &[u8]) {
        if name.eq_ignore_ascii_case(ANYBODY) {
            return;
        }
        let room = FOLDED_MAX.saturating_sub(self.count);
        let whole = self.at;
        self.at -= name.len();
        self.begin(Kind::Name, false);
        for &byte in name.iter().take(room) {
            self.push(u32::from(if byte.is_ascii_digit() { b'0' } else { byte.to_ascii_lowercase() }));
        }
        self.at = whole;
        self.close(self.at);
    }

    /// Reads a link if one starts here; a bare `http` counts as one.
    fn link(&mut self) -> bool {
        let rest = &self.text[self.at..];
        if !rest.get(..4).is_some_and(|head| head.eq_ignore_ascii_case(b"http")) {
            return false;
        }
        let tail =
            rest[4..].strip_prefix(b"s").or_else(|| rest[4..].strip_prefix(b"S")).unwrap_or(&rest[4..]);
        if !tail.starts_with(b"://") && tail.first().is_some_and(u8::is_ascii_alphanumeric) {
            return false;
        }
        let length = rest.iter().take_while(|b| !b.is_ascii_whitespace() && b.is_ascii()).count();
        self.begin(Kind::Address, false);
        self.at += length;
        self.push(LINK);
        self.out.counts.links += 1;
        self.close(self.at);
        true
    }

    /// The five named entities that feeds leave in texts.
    fn entity(&mut self) {
        let rest = &self.text[self.at..];
        for (name, c) in [("&amp;", b'&'), ("&lt;", b'<'), ("&gt;", b'>'), ("&quot;", b'"'), ("&#39;", b'\'')]
        {
            if rest.starts_with(name.as_bytes()) {
                return match c {
                    b'\'' => self.apostrophe(name.len()),
                    _ => self.mark(u32::from(c), name.len()),
                };
            }
        }
        self.mark(u32::from(b'&'), 1);
    }

    /// Ends the open token; punctuation that only separates is dropped.
    #[inline]
    fn close(&mut self, to: usize) {
        let Some(open) = self.open.take() else { return };
        let length = self.count as u32 - open.start;
        let dull = open.kind == Kind::Mark
            && length == 1
            && !matches!(self.last, 0x21 | 0x3f | 0x25 | 0x24 | 0x2a | 0x26 | 0x2b);
        if length == 0 || dull {
            self.out.prefix.truncate(open.start as usize + 1);
            self.count = open.start as usize;
            self.hash = self.out.prefix[self.count];
            return;
        }
        let end = self.count as u32;
        if open.kind == Kind::Word {
            self.out.counts.words += 1;
            self.out.counts.capital_words += u32::from(open.letters >= 3 && open.capitals == open.letters);
        }
        self.out.tokens.push(Token {
            start: open.start,
            end,
            from: open.from,
            to: to as u32,
            kind: open.kind,
        });
        self.push(0x20);
        self.last = 0;
        self.run = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hashes of the tokens but names: equal lists mean equal foldings.
    fn folded(text: &str) -> Vec<u32> {
        let mut prepared = Prepared::default();
        prepared.read(text);
        let tokens = prepared.tokens.iter().filter(|t| t.kind != Kind::Name);
        tokens.map(|t| prepared.hash(t.start as usize, t.end as usize)).collect()
    }

    #[test]
    fn decorated_forms_fold_to_the_plain_word() {
        for (written, plain) in [
            ("ＲＥＦＵＮＤ", "refund"),
            ("𝐫𝐞𝐟𝐮𝐧𝐝", "refund"),
            ("cafe\u{301}", "café"),
            ("ﾃﾞﾘﾊﾞﾘｰ", "デリバリー"),
            ("Ёлка", "елка"),
            ("مُشْكِلَة", "مشكله"),
            ("re\u{200b}fund", "refund"),
            ("don’t", "DON'T"),
            ("&amp;&amp;", "&&"),
        ] {
            assert_eq!(folded(written), folded(plain), "{written}");
        }
    }

    #[test]
    fn links_and_mentions_are_single_signs() {
        assert_eq!(folded("@acme http://a.example/x"), folded("@other https://b.example/y?z=1"));
        assert_eq!(folded("@acme"), folded("@user"));
        assert_ne!(folded("http"), folded("httpd"));
    }

    #[test]
    fn long_runs_are_cut_to_three() {
        assert_eq!(folded("sooooooo"), folded("sooo"));
        assert_ne!(folded("sooo"), folded("so"));
        assert_eq!(folded("1000000"), folded("999"));
    }

    #[test]
    fn tokens_know_their_bytes_in_the_original() {
        let text = "Nie wieder @bahn 😡 :-( Müll!!";
        let mut prepared = Prepared::default();
        prepared.read(text);
        let seen: Vec<&str> = prepared.tokens.iter().map(|t| &text[t.from as usize..t.to as usize]).collect();
        assert_eq!(seen, ["Nie", "wieder", "@bahn", "bahn", "😡", ":-(", "Müll", "!!"]);
    }

    #[test]
    fn capitals_and_runs_count_the_same_however_letters_are_read() {
        let read = |text: &str| {
            let mut prepared = Prepared::default();
            prepared.read(text);
            prepared.counts
        };
        // An accented letter in between takes the general way through the word.
        let (plain, mixed) = (read("NEVER so"), read("NÉVER so"));
        assert_eq!((plain.capital_words, plain.latin), (mixed.capital_words, mixed.latin));
        assert_eq!(folded("aabb aaa aaaa abbbba"), folded("aabb aaa aaaaaa abbba"));
        assert_eq!(read("noooo WAYYYYY").stretched, 2);
    }

    #[test]
    fn hashtags_split_where_a_capital_follows_a_small_letter() {
        assert_eq!(folded("#NeverAgain"), folded("never again"));
    }

    #[test]
    fn a_huge_text_is_read_to_the_bound() {
        let mut prepared = Prepared::default();
        prepared.read(&"слово ".repeat(200_000));
        assert!(prepared.len() <= FOLDED_MAX + 8);
    }
}
