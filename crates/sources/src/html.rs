//! Markup to plain text: enough of HTML to read a post aloud, never to render it.

use std::borrow::Cow;

/// The plain text of an HTML fragment: tags gone, blocks and breaks as line ends, entities decoded,
/// scripts and styles dropped. A link keeps its words; its address is in [`links`].
pub(crate) fn to_text(html: &str) -> String {
    if !html.contains(['<', '&']) {
        return html.trim().to_owned();
    }
    let mut raw = String::with_capacity(html.len());
    // Behind the last ">" there is no tag; looking for one again at every "<" would never end.
    let (mut rest, tail) = html.split_at(html.rfind('>').map_or(0, |last| last + 1));
    while let Some(open) = rest.find('<') {
        raw.push_str(&rest[..open]);
        rest = &rest[open..];
        let Some(tag) = Tag::at(rest) else {
            // A bare "<" is a word of the author.
            raw.push('<');
            rest = &rest[1..];
            continue;
        };
        rest = &rest[tag.len..];
        match tag.name.as_str() {
            "script" | "style" | "template" | "noscript" | "title" | "head" if !tag.closing => {
                rest = skip_past_close(rest, &tag.name);
            }
            "br" => raw.push('\n'),
            "p" | "blockquote" | "ul" | "ol" | "table" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "pre"
            | "section" | "article" => {
                push_break(&mut raw, 2);
            }
            "div" | "li" | "tr" | "dt" | "dd" | "hr" | "option" | "figure" => push_break(&mut raw, 1),
            "td" | "th" if !raw.is_empty() && !raw.ends_with(char::is_whitespace) => raw.push(' '),
            "img" => {
                if let Some(alt) = tag.attribute("alt") {
                    raw.push_str(&alt.replace(['<', '>'], " "));
                }
            }
            _ => {}
        }
    }
    raw.push_str(rest);
    raw.push_str(tail);
    tidy(&decode_entities(&raw))
}

/// The addresses that the fragment's `<a href>` lead to, in order; only http and https.
pub(crate) fn links(html: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = &html[..html.rfind('>').map_or(0, |last| last + 1)];
    while let Some(open) = rest.find('<') {
        rest = &rest[open..];
        let Some(tag) = Tag::at(rest) else {
            rest = &rest[1..];
            continue;
        };
        rest = &rest[tag.len..];
        let href = (tag.name == "a" && !tag.closing).then(|| tag.attribute("href")).flatten();
        let href = href.map(|h| decode_entities(&h).into_owned());
        found.extend(href.filter(|h| h.starts_with("http://") || h.starts_with("https://")));
    }
    found
}

/// Decodes named and numbered character references; what is none stays as it is.
pub(crate) fn decode_entities(text: &str) -> Cow<'_, str> {
    if text.contains('&') { html_escape::decode_html_entities(text) } else { Cow::Borrowed(text) }
}

struct Tag<'a> {
    name: String,
    closing: bool,
    inside: &'a str,
    len: usize,
}

impl<'a> Tag<'a> {
    /// The tag, comment or declaration at the start of `text`; none when that is just a "<".
    fn at(text: &'a str) -> Option<Self> {
        if let Some(comment) = text.strip_prefix("<!--") {
            let len = comment.find("-->").map_or(text.len(), |end| end + 7);
            return Some(Self { name: String::new(), closing: false, inside: "", len });
        }
        let after = text[1..].strip_prefix('/');
        let closing = after.is_some();
        let body = after.unwrap_or(&text[1..]);
        let first = body.chars().next()?;
        if !(first.is_ascii_alphabetic() || (!closing && matches!(first, '!' | '?'))) {
            return None;
        }
        let end = tag_end(body)?;
        let inside = &body[..end];
        let name_len = inside.find(|c: char| c.is_whitespace() || c == '/').unwrap_or(inside.len());
        Some(Self {
            name: inside[..name_len].to_ascii_lowercase(),
            closing,
            inside: &inside[name_len..],
            len: 1 + usize::from(closing) + end + 1,
        })
    }

    fn attribute(&self, name: &str) -> Option<String> {
        let mut rest = self.inside;
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
            if rest.is_empty() {
                return None;
            }
            let key_len = rest.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(rest.len());
            let key = &rest[..key_len];
            rest = rest[key_len..].trim_start();
            let mut value = "";
            if let Some(after) = rest.strip_prefix('=') {
                let after = after.trim_start();
                let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''));
                let (v, r) = match quote {
                    Some(q) => after[1..].split_once(q).unwrap_or((&after[1..], "")),
                    None => after.split_at(after.find(char::is_whitespace).unwrap_or(after.len())),
                };
                (value, rest) = (v, r);
            } else if key_len == 0 {
                return None;
            }
            if key.eq_ignore_ascii_case(name) {
                return Some(value.to_owned());
            }
        }
    }
}

/// Where the tag's ">" is, quoted values passed over; an unclosed quote falls back to the first ">".
fn tag_end(body: &str) -> Option<usize> {
    let mut quote = None;
    for (i, b) in body.bytes().enumerate() {
        match (quote, b) {
            (None, b'>') => return Some(i),
            (None, b'"' | b'\'') if i > 0 && matches!(body.as_bytes()[i - 1], b'=' | b' ') => quote = Some(b),
            (Some(q), b) if b == q => quote = None,
            // A tag of more than a few kilobytes is an unclosed quote.
            _ if i > 8_192 => break,
            _ => {}
        }
    }
    memchr::memchr(b'>', body.as_bytes())
}

fn skip_past_close<'a>(rest: &'a str, name: &str) -> &'a str {
    let mut at = 0;
    while let Some(found) = rest[at..].find("</") {
        let start = at + found + 2;
        let matches = rest.as_bytes().get(start..start + name.len());
        if matches.is_some_and(|m| m.eq_ignore_ascii_case(name.as_bytes())) {
            let end = rest[start..].find('>').map_or(rest.len(), |e| start + e + 1);
            return &rest[end..];
        }
        at = start;
    }
    ""
}

fn push_break(text: &mut String, lines: usize) {
    let have = text.bytes().rev().take_while(|b| *b == b'\n').count();
    if !text.is_empty() {
        for _ in have..lines {
            text.push('\n');
        }
    }
}

/// At most one empty line in a row, no blanks around line ends, none at the ends.
fn tidy(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut empty = 0;
    for line in text.split('\n') {
        let line = line.trim_matches([' ', '\t', '\r', '\u{a0}']);
        if line.is_empty() {
            empty += 1;
            continue;
        }
        if !out.is_empty() {
            out.push_str(if empty > 0 { "\n\n" } else { "\n" });
        }
        empty = 0;
        out.push_str(line);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_becomes_what_people_read() {
        for (html, text) in [
            ("<p>Hello &amp; <b>good</b>bye</p><p>again</p>", "Hello & goodbye\n\nagain"),
            ("a<br>b<br/>c", "a\nb\nc"),
            ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
            ("<script>alert('</p>')</script>safe", "safe"),
            ("<a href=\"https://a.example/?x=1&amp;y=2\" title='a>b'>link</a>!", "link!"),
            ("<!-- secret -->shown", "shown"),
            ("&lt;b&gt; stays words", "<b> stays words"),
            ("cut <a href=\"", "cut <a href=\""),
            ("I <3 you", "I <3 you"),
            ("", ""),
            ("<p>", ""),
        ] {
            assert_eq!(to_text(html), text, "{html}");
        }
    }

    #[test]
    fn text_full_of_open_tags_is_read_in_one_pass() {
        let open = "<a".repeat(500_000);
        assert_eq!(to_text(&open), open);
        assert!(links(&open).is_empty());
        assert_eq!(to_text(&format!("{open}>x")), "x");
        assert_eq!(to_text(&"<!--".repeat(200_000)), "<!--".repeat(200_000));
    }

    #[test]
    fn links_are_http_only() {
        let html = "<a href='https://a.example/?x=1&amp;y=2'>a</a><a href=\"javascript:alert(1)\">b</a>";
        assert_eq!(links(html), ["https://a.example/?x=1&y=2"]);
    }
}
