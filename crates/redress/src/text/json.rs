//! Just enough JSON for a stream of objects: two fields out, one object in, no tree between.
//!
//! Texts come from anywhere, so a lone surrogate escape or broken UTF-8 becomes U+FFFD instead of a refusal.

use std::fmt;

/// Deepest nesting that is followed.
const DEPTH_MAX: usize = 128;

/// Why a line is not an object with a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Something else stands where this was expected, at a byte from 1.
    Expected(&'static str, usize),
    /// There is no such field.
    Missing(&'static str),
    /// The field is there but is no string.
    NotText(&'static str),
    /// Arrays and objects inside each other too deep.
    TooDeep,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Expected(what, at) => write!(f, "not a JSON object: expected {what} at byte {at}"),
            Refused::Missing(name) => write!(f, "field \"{name}\" is missing"),
            Refused::NotText(name) => write!(f, "field \"{name}\" is not a string"),
            Refused::TooDeep => write!(f, "nested deeper than {DEPTH_MAX}"),
        }
    }
}

/// Reads `{"id":…,"text":"…",…}`: the text goes into `text`, the raw bytes of the id are returned.
pub(crate) fn read_row<'a>(line: &'a [u8], text: &mut String) -> Result<Option<&'a [u8]>, Refused> {
    let mut scan = Scan { line, at: 0 };
    scan.space();
    scan.expect(b'{', "`{`")?;
    let mut id = None;
    let mut found = Err(Refused::Missing("text"));
    scan.space();
    if !scan.eat(b'}') {
        loop {
            scan.space();
            let name = scan.string()?;
            scan.space();
            scan.expect(b':', "`:`")?;
            scan.space();
            let from = scan.at;
            let is_string = scan.peek() == Some(b'"');
            scan.value(0)?;
            let raw = &line[from..scan.at];
            match name {
                b"id" => id = Some(raw),
                b"text" if is_string => {
                    unescape(&raw[1..raw.len() - 1], text);
                    found = Ok(());
                }
                b"text" => found = Err(Refused::NotText("text")),
                _ => {}
            }
            scan.space();
            if scan.eat(b'}') {
                break;
            }
            scan.expect(b',', "`,` or `}`")?;
        }
    }
    scan.space();
    if scan.at < line.len() {
        return Err(Refused::Expected("the end of the line", scan.at + 1));
    }
    found.map(|()| id)
}

struct Scan<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.line.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Refused> {
        if self.eat(byte) { Ok(()) } else { Err(Refused::Expected(what, self.at + 1)) }
    }

    /// The bytes between the quotes, escapes left as they are.
    fn string(&mut self) -> Result<&'a [u8], Refused> {
        self.expect(b'"', "`\"`")?;
        let from = self.at;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(&self.line[from..self.at - 1]);
                }
                Some(b'\\') => self.escape()?,
                Some(0..0x20) => return Err(Refused::Expected("an escaped control character", self.at + 1)),
                Some(_) => self.at += 1,
                None => return Err(Refused::Expected("the end of a string", self.at + 1)),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Refused> {
        match self.line.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') if hex(self.line, self.at + 2).is_some() => self.at += 6,
            _ => return Err(Refused::Expected("a valid escape", self.at + 1)),
        }
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<(), Refused> {
        if depth > DEPTH_MAX {
            return Err(Refused::TooDeep);
        }
        match self.peek() {
            Some(b'"') => self.string().map(|_| ()),
            Some(b'{') => self.items(b'}', true, depth),
            Some(b'[') => self.items(b']', false, depth),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(Refused::Expected("a value", self.at + 1)),
        }
    }

    fn items(&mut self, end: u8, named: bool, depth: usize) -> Result<(), Refused> {
        self.at += 1;
        self.space();
        if self.eat(end) {
            return Ok(());
        }
        loop {
            self.space();
            if named {
                self.string()?;
                self.space();
                self.expect(b':', "`:`")?;
                self.space();
            }
            self.value(depth + 1)?;
            self.space();
            if self.eat(end) {
                return Ok(());
            }
            self.expect(b',', "`,`")?;
        }
    }

    fn word(&mut self, word: &'static [u8]) -> Result<(), Refused> {
        if !self.line[self.at..].starts_with(word) {
            return Err(Refused::Expected("a value", self.at + 1));
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), Refused> {
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _sign = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Refused> {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at > from { Ok(()) } else { Err(Refused::Expected("a digit", self.at + 1)) }
    }
}

fn hex(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 4)?;
    digits.iter().try_fold(0, |value, digit| Some(value * 16 + char::from(*digit).to_digit(16)?))
}

/// Decodes the inside of a checked string.
fn unescape(raw: &[u8], out: &mut String) {
    out.clear();
    let mut rest = raw;
    while let Some(at) = rest.iter().position(|b| *b == b'\\') {
        push_lossy(&rest[..at], out);
        let (c, used) = one_escape(&rest[at..]);
        out.push(c);
        rest = &rest[at + used..];
    }
    push_lossy(rest, out);
}

fn push_lossy(bytes: &[u8], out: &mut String) {
    match std::str::from_utf8(bytes) {
        Ok(text) => out.push_str(text),
        Err(_) => out.push_str(&String::from_utf8_lossy(bytes)),
    }
}

/// The character an escape stands for and how many bytes it took.
fn one_escape(at: &[u8]) -> (char, usize) {
    match at[1] {
        b'b' => ('\u{8}', 2),
        b'f' => ('\u{c}', 2),
        b'n' => ('\n', 2),
        b'r' => ('\r', 2),
        b't' => ('\t', 2),
        b'u' => {
            let first = hex(at, 2).unwrap_or(0xfffd);
            if let Some(c) = char::from_u32(first) {
                return (c, 6);
            }
            let second = (at.get(6..8) == Some(b"\\u")).then(|| hex(at, 8)).flatten();
            match second {
                Some(low @ 0xdc00..=0xdfff) if first < 0xdc00 => {
                    let code = 0x10000 + ((first - 0xd800) << 10) + (low - 0xdc00);
                    (char::from_u32(code).unwrap_or('\u{fffd}'), 12)
                }
                _ => ('\u{fffd}', 6),
            }
        }
        other => (char::from(other), 2),
    }
}

/// Appends a string with quotes and escapes.
pub(crate) fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&text.as_bytes()[from..at]);
        from = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        }
    }
    out.extend_from_slice(&text.as_bytes()[from..]);
    out.push(b'"');
}

/// Appends a number of moderate size, not negative, with five decimals.
pub(crate) fn write_number(value: f32, out: &mut Vec<u8>) {
    let scaled = (f64::from(value.max(0.0)) * 1e5 + 0.5) as u64;
    let mut digits = [b'0'; 24];
    let mut at = digits.len();
    let mut rest = scaled;
    for place in 0.. {
        if place == 5 {
            at -= 1;
            digits[at] = b'.';
        }
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 && place >= 5 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(line: &str) -> Result<(Option<String>, String), Refused> {
        let mut text = String::from("left over");
        let id = read_row(line.as_bytes(), &mut text)?;
        Ok((id.map(|raw| String::from_utf8(raw.to_vec()).unwrap()), text))
    }

    #[test]
    fn id_and_text_are_found_among_other_fields() {
        let line = r#" {"a":[1,{"b":null}],"id": "x\"1" ,"text":"caf\u00e9 \ud83d\ude21\n\/","z":-1.5e3} "#;
        assert_eq!(row(line), Ok((Some(r#""x\"1""#.into()), "café 😡\n/".into())));
        assert_eq!(row(r#"{"text":""}"#), Ok((None, String::new())));
        assert_eq!(row(r#"{"id":7,"text":"a"}"#), Ok((Some("7".into()), "a".into())));
    }

    #[test]
    fn lone_surrogates_and_broken_utf8_become_replacement_characters() {
        assert_eq!(
            row(r#"{"text":"a\ud83d b\ude21 \ud83d\u0041"}"#),
            Ok((None, "a\u{fffd} b\u{fffd} \u{fffd}A".into()))
        );
        let mut text = String::new();
        read_row(b"{\"text\":\"a\xffb\"}", &mut text).unwrap();
        assert_eq!(text, "a\u{fffd}b");
    }

    #[test]
    fn what_is_no_object_with_a_text_is_refused_by_name() {
        assert_eq!(row("[]"), Err(Refused::Expected("`{`", 1)));
        assert_eq!(row("{}"), Err(Refused::Missing("text")));
        assert_eq!(row(r#"{"text":null}"#), Err(Refused::NotText("text")));
        assert_eq!(row(r#"{"text":"a"} x"#), Err(Refused::Expected("the end of the line", 14)));
        for bad in [
            r#"{"text":"a"#,
            r#"{"text":"\x"}"#,
            r#"{"text":"\u12"}"#,
            r#"{"text" "a"}"#,
            r#"{"a":01,"text":"b"}"#,
            "{\"text\":\"a\u{1}\"}",
        ] {
            assert!(row(bad).is_err(), "{bad}");
        }
        assert_eq!(row(&format!("{{\"a\":{}", "[".repeat(1000))), Err(Refused::TooDeep));
    }

    #[test]
    fn what_is_accepted_is_what_serde_accepts() {
        for line in [
            r#"{"text":"a","n":[0,-0.5,1e9,true,false,null,{}]}"#,
            r#"{"text":"\b\f\r\t\\\""}"#,
            r#"{"text":"a","text":"b"}"#,
        ] {
            let tree: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(row(line).unwrap().1, tree["text"].as_str().unwrap());
        }
    }

    #[test]
    fn written_strings_and_numbers_read_back() {
        let mut out = Vec::new();
        let text = "q\"b\\ \u{1}\n\t😡 ok";
        write_string(text, &mut out);
        assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        for (value, want) in [
            (0.0, "0.00000"),
            (1.0, "1.00000"),
            (0.123_456_78, "0.12346"),
            (12.5, "12.50000"),
            (-1.0, "0.00000"),
            (f32::NAN, "0.00000"),
        ] {
            out.clear();
            write_number(value, &mut out);
            assert_eq!(std::str::from_utf8(&out).unwrap(), want);
        }
    }
}
