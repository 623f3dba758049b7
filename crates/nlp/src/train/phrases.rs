//! The project's own training text: hand-written phrases, put together with controlled variation.
//!
//! A phrase file has sections `[name]` of phrases between `|`. What a section means is fixed here: complaint
//! clauses by topic, harm and accusations told in a breath, reproaches by severity, threats, praise, thanks, news,
//! jokes, spam, brands' replies, and words of harm where none was done. Texts are built from them with openers, second
//! clauses, slots, emoji, capitals, lost accents and typing errors; every text knows its labels because its pieces do.

use std::collections::BTreeMap;

use crate::arith::Random;
use crate::part::Task;

/// Phrases of one language.
#[derive(Debug, Clone)]
pub struct Phrases {
    sections: BTreeMap<String, Vec<String>>,
    /// No spaces between sentences (Japanese, Chinese).
    dense: bool,
}

/// A text with what it says.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The text.
    pub text: String,
    /// 0 negative, 1 neutral, 2 positive; none where it would be a guess.
    pub sentiment: Option<usize>,
    /// Whether it complains; none where it would be a guess.
    pub complaint: Option<bool>,
    /// 1 to 4 for complaints.
    pub severity: Option<usize>,
    /// Name of the topic, for complaints and plain chatter.
    pub topic: Option<&'static str>,
    /// The yes-or-no tasks that hold.
    pub acts: Vec<Task>,
    /// It tells of harm, damage or theft, or uses such words for something else: what no public set teaches.
    pub harm: bool,
}

/// The topics of the shipped pack.
pub const TOPICS: [&str; 10] =
    ["quality", "delivery", "delay", "money", "staff", "ignored", "safety", "privacy", "outage", "other"];
const BRANDS: [&str; 10] =
    ["Acme", "Nordwind", "Velora", "Kiteline", "Solbank", "Tavora", "Brillio", "Umbra Air", "Fonex", "PakGo"];
const ANGRY: [&str; 10] = ["😡", "🤬", "😤", "👎", "🙄", "😠", "💩", "😒", "🤦", "😞"];
const GLAD: [&str; 10] = ["😍", "👍", "❤️", "🎉", "😊", "🙏", "🥰", "👏", "😁", "✨"];

/// A mistake in a phrase file.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PhraseError {
    /// A phrase stands before any section.
    #[error("line {0}: a phrase outside of any section")]
    Homeless(usize),
    /// A section that every file needs.
    #[error("section [{0}] is missing or empty")]
    Missing(String),
}

impl Phrases {
    /// Reads a phrase file.
    pub fn parse(file: &str, dense: bool) -> Result<Phrases, PhraseError> {
        let mut sections: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut current: Option<String> = None;
        for (number, line) in file.lines().enumerate() {
            let line = line.trim();
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                current = Some(name.to_owned());
                continue;
            }
            if line.is_empty() {
                continue;
            }
            let name = current.clone().ok_or(PhraseError::Homeless(number + 1))?;
            let phrases = line.split('|').map(str::trim).filter(|p| !p.is_empty()).map(str::to_owned);
            sections.entry(name).or_default().extend(phrases);
        }
        let needed =
            ["p", "t", "m", "op", "r1", "r2", "r3", "r4", "un", "le", "su", "pu", "pr", "hn", "th", "wb"];
        let more = [
            "q", "nw", "jk", "ng", "nt", "sp", "ra", "re", "ro", "rc", "s+", "s-", "h", "x", "nh", "hp", "hv",
        ];
        let topics = TOPICS.map(|topic| format!("c.{topic}"));
        for name in needed.iter().chain(&more).map(|n| (*n).to_owned()).chain(topics) {
            if !sections.contains_key(&name) {
                return Err(PhraseError::Missing(name));
            }
        }
        Ok(Phrases { sections, dense })
    }

    /// Builds texts; the same seed builds the same texts.
    pub fn write(&self, count: usize, seed: u64) -> Vec<Written> {
        let mut writer = Writer { phrases: self, random: Random::new(seed) };
        (0..count).map(|_| writer.one()).collect()
    }
}

struct Writer<'a> {
    phrases: &'a Phrases,
    random: Random,
}

impl Writer<'_> {
    fn chance(&mut self, share: f32) -> bool {
        self.random.unit() < share
    }

    fn choose<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.random.below(items.len())]
    }

    fn phrase(&mut self, section: &str) -> String {
        let Some(phrases) = self.phrases.sections.get(section) else { return String::new() };
        let mut text = phrases[self.random.below(phrases.len())].clone();
        for slot in ["p", "t", "m", "hp", "hv"] {
            let marker = format!("{{{slot}}}");
            if text.contains(&marker) {
                let filled = self.phrase(slot);
                text = text.replace(&marker, &filled);
            }
        }
        if text.contains("{b}") {
            let brand = self.choose(&BRANDS);
            text = text.replace("{b}", brand);
        }
        text
    }

    fn one(&mut self) -> Written {
        let mut written = match self.random.below(100) {
            0..24 => self.complaint(),
            24..30 => self.accusation("h", Some("safety")),
            30..34 => self.accusation("x", None),
            34..37 => self.reproach(),
            37..50 => self.plain(&["pr", "pr", "s+", "hn"], Some(2), Some(false), None, &[]),
            50..54 => self.plain(&["th"], Some(2), Some(false), None, &[Task::Thanks]),
            54..57 => self.plain(&["wb"], Some(2), Some(false), None, &[Task::WonBack]),
            57..62 => self.plain(&["q"], Some(1), Some(false), Some("other"), &[]),
            62..66 => self.plain(&["nw"], Some(1), Some(false), None, &[]),
            66..68 => self.plain(&["jk"], None, Some(false), Some("other"), &[]),
            68..72 => self.plain(&["ng"], Some(0), Some(false), Some("other"), &[]),
            72..80 => self.plain(&["nh"], None, Some(false), Some("other"), &[]),
            80..86 => self.plain(&["nt"], Some(1), Some(false), Some("other"), &[]),
            86..89 => self.plain(&["sp"], None, Some(false), Some("other"), &[Task::Spam]),
            89..95 => self.reply(),
            _ => self.plain(&["s-"], Some(0), None, None, &[]),
        };
        let mood = match written.sentiment {
            Some(0) => Some(&ANGRY),
            Some(2) => Some(&GLAD),
            _ => None,
        };
        if let Some(mood) = mood
            && self.chance(0.25)
        {
            let emoji = self.choose(mood);
            written.text = format!("{} {emoji}", written.text);
        }
        let text = std::mem::take(&mut written.text);
        written.text = self.roughen(text);
        written
    }

    fn complaint(&mut self) -> Written {
        let topic = self.choose(&TOPICS);
        let section = format!("c.{topic}");
        let mut pieces = vec![self.phrase(&section)];
        if self.chance(0.12) {
            pieces.push(self.phrase(&section));
        }
        let mut severity = 1;
        let roll = self.random.unit();
        let reproach = match roll {
            _ if roll < 0.22 => None,
            _ if roll < 0.42 => Some((1, "r1")),
            _ if roll < 0.68 => Some((2, "r2")),
            _ if roll < 0.84 => Some((3, "r3")),
            _ => Some((4, "r4")),
        };
        if let Some((level, section)) = reproach {
            severity = level;
            let at = if self.chance(0.25) { 0 } else { pieces.len() };
            pieces.insert(at, self.phrase(section));
        }
        let mut acts = Vec::new();
        let mut heated = severity >= 3;
        for (task, section, share, least) in [
            (Task::Unanswered, "un", 0.14, 1),
            (Task::ThreatLeave, "le", 0.12, 2),
            (Task::ThreatSue, "su", 0.08, 3),
            (Task::ThreatPublish, "pu", 0.08, 3),
        ] {
            if self.chance(share) {
                pieces.push(self.phrase(section));
                acts.push(task);
                severity = severity.max(least);
                heated |= least >= 3;
            }
        }
        if topic == "ignored" && !acts.contains(&Task::Unanswered) {
            acts.push(Task::Unanswered);
        }
        if heated {
            acts.push(Task::Arousal);
        }
        Written {
            text: self.join(pieces),
            sentiment: Some(0),
            complaint: Some(true),
            severity: Some(severity),
            topic: Some(topic),
            acts,
            harm: false,
        }
    }

    /// Harm to people or homes, or damage, theft and refusal told in a breath: the telling itself accuses, whatever
    /// is or is not added to it.
    fn accusation(&mut self, section: &str, topic: Option<&'static str>) -> Written {
        let mut pieces = vec![self.phrase(section)];
        let mut severity = 3;
        let mut acts = vec![Task::Arousal];
        let more: [(&str, f32, usize, Option<Task>); 6] = [
            ("r2", 0.08, 3, None),
            ("r3", 0.08, 3, None),
            ("r4", 0.18, 4, None),
            ("un", 0.06, 3, Some(Task::Unanswered)),
            ("su", 0.12, 4, Some(Task::ThreatSue)),
            ("pu", 0.06, 3, Some(Task::ThreatPublish)),
        ];
        for (section, share, level, act) in more {
            if self.chance(share) {
                pieces.push(self.phrase(section));
                severity = severity.max(level);
                acts.extend(act);
            }
        }
        Written {
            text: self.join(pieces),
            sentiment: Some(0),
            complaint: Some(true),
            severity: Some(severity),
            topic,
            acts,
            harm: true,
        }
    }

    /// Only the reproach or the threat, without what happened.
    fn reproach(&mut self) -> Written {
        let (section, severity, act) = self.choose(&[
            ("r2", 2, None),
            ("r3", 3, Some(Task::Arousal)),
            ("r4", 4, Some(Task::Arousal)),
            ("un", 1, Some(Task::Unanswered)),
            ("le", 2, Some(Task::ThreatLeave)),
            ("su", 3, Some(Task::ThreatSue)),
            ("pu", 3, Some(Task::ThreatPublish)),
        ]);
        let mut pieces = vec![self.phrase(section)];
        if self.chance(0.4) {
            let brand = self.choose(&BRANDS);
            pieces.insert(0, format!("@{}", brand.replace(' ', "")));
        }
        Written {
            text: self.join(pieces),
            sentiment: Some(0),
            complaint: Some(true),
            severity: Some(severity),
            topic: None,
            acts: act.into_iter().collect(),
            harm: false,
        }
    }

    fn reply(&mut self) -> Written {
        let mut pieces = Vec::new();
        let mut acts = Vec::new();
        let acting = [
            (Task::Apology, "ra"),
            (Task::Explanation, "re"),
            (Task::Offer, "ro"),
            (Task::ChannelMove, "rc"),
        ];
        while pieces.is_empty() {
            for (task, section) in acting {
                if self.chance(0.45) {
                    pieces.push(self.phrase(section));
                    acts.push(task);
                }
            }
        }
        Written {
            text: self.join(pieces),
            sentiment: None,
            complaint: Some(false),
            severity: None,
            topic: None,
            acts,
            harm: false,
        }
    }

    fn plain(
        &mut self,
        sections: &[&str],
        sentiment: Option<usize>,
        complaint: Option<bool>,
        topic: Option<&'static str>,
        acts: &[Task],
    ) -> Written {
        // Praise and chatter come as long as complaints do: length must not tell them apart.
        let first = self.choose(sections);
        let mut pieces = vec![self.phrase(first)];
        let more = self.choose(&[0, 0, 0, 1, 1, 2, 3]);
        for _ in 0..more {
            let section = self.choose(sections);
            let piece = self.phrase(section);
            if !pieces.contains(&piece) {
                pieces.push(piece);
            }
        }
        let mut acts = acts.to_vec();
        if first == "pr" && self.chance(0.2) {
            pieces.push(self.phrase("th"));
            acts.push(Task::Thanks);
        }
        Written {
            text: self.join(pieces),
            sentiment,
            complaint,
            severity: None,
            topic,
            acts,
            harm: first == "nh",
        }
    }

    fn join(&mut self, mut pieces: Vec<String>) -> String {
        if self.chance(0.3) {
            pieces.insert(0, self.phrase("op"));
        }
        let mut text = String::new();
        for (i, piece) in pieces.iter().enumerate() {
            if i > 0 {
                let between = match self.phrases.dense {
                    true => self.choose(&["。", "，", " ", "！", "。"]),
                    false => self.choose(&[". ", ", ", " ", "! ", "... ", " - ", "\n", ". "]),
                };
                // A phrase that ends in its own mark needs no other.
                let ended = text.ends_with(['?', '!', '？', '！', '、', '，', '.']);
                text.push_str(if ended { if self.phrases.dense { "" } else { " " } } else { between });
            }
            text.push_str(piece);
        }
        let end = match self.phrases.dense {
            true => self.choose(&["", "", "。", "！"]),
            false => self.choose(&["", "", ".", "!", "!!"]),
        };
        if !text.ends_with(['?', '!', '？', '！', '.']) {
            text.push_str(end);
        }
        text
    }

    /// As people type: small letters, capitals, no accents, a slip of the finger, a drawn-out vowel.
    fn roughen(&mut self, mut text: String) -> String {
        match self.random.below(20) {
            0..6 => text = text.to_lowercase(),
            6 => text = text.to_uppercase(),
            7..12 => {
                let mut letters = text.chars();
                if let Some(first) = letters.next() {
                    text = first.to_uppercase().chain(letters.clone()).collect();
                }
            }
            _ => {}
        }
        if self.chance(0.15) {
            text = text.chars().map(plain_latin).collect();
        }
        if self.chance(0.25) {
            text = self.slip(&text);
        }
        if self.chance(0.04) {
            text = self.stretch(&text);
        }
        if self.chance(0.1) {
            let brand = self.choose(&BRANDS);
            text = format!("@{} {text}", brand.replace(' ', ""));
        }
        text
    }

    fn slip(&mut self, text: &str) -> String {
        let mut letters: Vec<char> = text.chars().collect();
        if letters.len() < 8 {
            return text.to_owned();
        }
        let at = 1 + self.random.below(letters.len() - 2);
        if letters[at].is_alphabetic() && letters[at - 1].is_alphabetic() {
            match self.random.below(3) {
                0 => letters.swap(at, at - 1),
                1 => {
                    letters.remove(at);
                }
                _ => letters.insert(at, letters[at]),
            }
        }
        letters.into_iter().collect()
    }

    fn stretch(&mut self, text: &str) -> String {
        let last = text.char_indices().rev().find(|(_, c)| "aeiouаеиоуяーあ啊ا".contains(*c));
        match last {
            Some((at, c)) => {
                let times = 2 + self.random.below(4);
                let drawn: String = std::iter::repeat_n(c, times).collect();
                format!("{}{drawn}{}", &text[..at], &text[at..])
            }
            None => text.to_owned(),
        }
    }
}

fn plain_latin(c: char) -> char {
    match c {
        'à' | 'á' | 'â' | 'ã' | 'ä' => 'a',
        'è' | 'é' | 'ê' | 'ë' => 'e',
        'ì' | 'í' | 'î' | 'ï' => 'i',
        'ò' | 'ó' | 'ô' | 'õ' | 'ö' => 'o',
        'ù' | 'ú' | 'û' | 'ü' => 'u',
        'ç' => 'c',
        'ñ' => 'n',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn english() -> Phrases {
        Phrases::parse(include_str!("../../training/phrases/en.txt"), false).unwrap()
    }

    #[test]
    fn every_phrase_file_is_complete() {
        for file in [
            include_str!("../../training/phrases/ar.txt"),
            include_str!("../../training/phrases/de.txt"),
            include_str!("../../training/phrases/es.txt"),
            include_str!("../../training/phrases/fr.txt"),
            include_str!("../../training/phrases/hi-Latn.txt"),
            include_str!("../../training/phrases/hi.txt"),
            include_str!("../../training/phrases/it.txt"),
            include_str!("../../training/phrases/ja.txt"),
            include_str!("../../training/phrases/pt.txt"),
            include_str!("../../training/phrases/ru.txt"),
            include_str!("../../training/phrases/zh.txt"),
        ] {
            assert_eq!(Phrases::parse(file, false).map(|_| ()), Ok(()));
        }
        assert_eq!(Phrases::parse("[p]\na", false).map(|_| ()), Err(PhraseError::Missing("t".into())));
        assert_eq!(Phrases::parse("a", false).map(|_| ()), Err(PhraseError::Homeless(1)));
    }

    #[test]
    fn no_slot_stays_open_and_most_texts_differ() {
        let texts = english().write(2000, 1);
        assert!(texts.iter().all(|w| !w.text.contains('{') && !w.text.is_empty()));
        let different: std::collections::BTreeSet<&str> = texts.iter().map(|w| w.text.as_str()).collect();
        assert!(different.len() > 1700, "{}", different.len());
    }

    #[test]
    fn the_same_seed_writes_the_same_texts() {
        assert_eq!(english().write(50, 3), english().write(50, 3));
        assert_ne!(english().write(50, 3), english().write(50, 4));
    }

    #[test]
    fn complaints_have_a_severity_and_nothing_else_has() {
        for written in english().write(1000, 2) {
            assert_eq!(written.severity.is_some(), written.complaint == Some(true), "{written:?}");
        }
    }
}
