//! Handles, hashtags and links as they stand in plain text.

use model::{Entities, Mentioned, UrlEntity};

/// At most this many of each kind are kept from one text.
pub const ENTITIES_MAX: usize = 64;

/// Adds to `entities` what `text` contains and the source did not already name.
pub(crate) fn extract(text: &str, entities: &mut Entities) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(found) = memchr::memchr3(b'@', b'#', b':', &bytes[at..]) {
        let i = at + found;
        at = i + 1;
        match bytes[i] {
            b'@' if starts_word(text, i) => at += handle(&text[i + 1..], entities),
            b'#' if starts_word(text, i) => at += hashtag(&text[i + 1..], entities),
            b':' if bytes[i..].starts_with(b"://") => {
                let scheme = [&b"https"[..], b"http"]
                    .into_iter()
                    .find(|s| i >= s.len() && bytes[i - s.len()..i].eq_ignore_ascii_case(s));
                if let Some(scheme) = scheme {
                    let url = url_at(&text[i - scheme.len()..]);
                    at = i - scheme.len() + url.len().max(scheme.len() + 1);
                    add_url(url, None, entities);
                }
            }
            _ => {}
        }
    }
}

/// Adds a link once; anything but http and https is left out.
pub(crate) fn add_url(url: &str, expanded: Option<&str>, entities: &mut Entities) {
    let fine = |u: &str| http_url(u).is_some();
    if fine(url) && entities.urls.len() < ENTITIES_MAX && !entities.urls.iter().any(|u| u.url == url) {
        let expanded = expanded.filter(|e| *e != url && fine(e)).map(str::to_owned);
        entities.urls.push(UrlEntity { url: url.to_owned(), expanded });
    }
}

/// Adds somebody addressed, once.
pub(crate) fn add_mention(handle: &str, native_id: Option<&str>, entities: &mut Entities) {
    let handle = handle.trim_start_matches('@');
    let known = entities.mentions.iter().any(|m| {
        m.handle.eq_ignore_ascii_case(handle) || (native_id.is_some() && m.native_id.as_deref() == native_id)
    });
    if !handle.is_empty() && handle.len() <= 320 && entities.mentions.len() < ENTITIES_MAX && !known {
        let native_id = native_id.map(str::to_owned);
        entities.mentions.push(Mentioned { handle: handle.to_owned(), native_id });
    }
}

/// Adds a hashtag once.
pub(crate) fn add_hashtag(tag: &str, entities: &mut Entities) {
    let tag = tag.trim_start_matches('#');
    let known = entities.hashtags.iter().any(|h| h == tag);
    if !tag.is_empty() && tag.len() <= 320 && entities.hashtags.len() < ENTITIES_MAX && !known {
        entities.hashtags.push(tag.to_owned());
    }
}

/// The address if it is http or https, has a host and no blanks or controls.
pub(crate) fn http_url(url: &str) -> Option<&str> {
    let url = url.trim();
    let b = url.as_bytes();
    let starts = |p: &[u8]| b.len() > p.len() && b[..p.len()].eq_ignore_ascii_case(p);
    let http = starts(b"https://") || starts(b"http://");
    let clean = url.len() <= 4_096 && !url.chars().any(|c| c.is_whitespace() || c.is_control());
    (http && clean).then_some(url)
}

fn starts_word(text: &str, i: usize) -> bool {
    text[..i].chars().next_back().is_none_or(|c| !(c.is_alphanumeric() || matches!(c, '_' | '/' | '.' | '&')))
}

fn handle(rest: &str, entities: &mut Entities) -> usize {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let name = rest[..rest.find(|c| !fine(c)).unwrap_or(rest.len())].trim_end_matches(['.', '-']);
    let mut end = name.len();
    if !name.is_empty() && rest[end..].starts_with('@') {
        let host = &rest[end + 1..];
        let host = host[..host.find(|c| !fine(c)).unwrap_or(host.len())].trim_end_matches(['.', '-']);
        if host.contains('.') {
            end += 1 + host.len();
        }
    }
    add_mention(&rest[..end], None, entities);
    end
}

fn hashtag(rest: &str, entities: &mut Entities) -> usize {
    let fine = |c: char| c.is_alphanumeric() || c == '_' || unicode_normalization::char::is_combining_mark(c);
    let tag = &rest[..rest.find(|c| !fine(c)).unwrap_or(rest.len())];
    if tag.chars().any(|c| !c.is_ascii_digit()) {
        add_hashtag(tag, entities);
    }
    tag.len()
}

fn url_at(text: &str) -> &str {
    let end = text.find(|c: char| {
        c.is_whitespace()
            || c.is_control()
            || matches!(c, '<' | '>' | '"' | '“' | '”' | '、' | '。' | '「' | '」')
    });
    let url = &text[..end.unwrap_or(text.len())];
    let trimmed = url.trim_end_matches(['.', ',', ';', ':', '!', '?', '\'', '*', '…', ']', '}']);
    // A closing bracket belongs to the address only if it was opened there.
    if trimmed.ends_with(')') && !trimmed.contains('(') { trimmed.trim_end_matches(')') } else { trimmed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_a_text_is_found() {
        let mut found = Entities::default();
        extract(
            "@united, @a@b.example: see (https://a.example/x?y=1). #Fail #123 mail me@x.example 買い物#楽天 http://",
            &mut found,
        );
        let handles: Vec<_> = found.mentions.iter().map(|m| m.handle.as_str()).collect();
        assert_eq!(handles, ["united", "a@b.example"]);
        assert_eq!(found.hashtags, ["Fail"]);
        assert_eq!(found.urls[0].url, "https://a.example/x?y=1");
        assert_eq!(found.urls.len(), 1);
    }

    #[test]
    fn number_of_entities_is_bounded() {
        let mut found = Entities::default();
        let text: String = (0..1_000).map(|i| format!("@a{i} #t{i} https://x.example/{i} ")).collect();
        extract(&text, &mut found);
        assert_eq!(
            (found.mentions.len(), found.hashtags.len(), found.urls.len()),
            (ENTITIES_MAX, ENTITIES_MAX, ENTITIES_MAX)
        );
    }
}
