//! RSS, Atom and JSON Feed, also where they are not quite well-formed.

use std::borrow::Cow;

use model::{Author, MentionOp, TimeQuality, Timestamp};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde_json::Value;

use crate::decoded::{Location, RefusalReason};
use crate::kinds::each_value;
use crate::out::{Draft, Out, Words};
use crate::{dedup, entities, html, json, when};

/// More items than this are no feed.
const ITEMS_MAX: usize = 20_000;

/// One entry, with its fields as the feed wrote them.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(crate) id: Option<String>,
    link: Option<String>,
    pub(crate) title: Option<String>,
    content: Option<String>,
    summary: Option<String>,
    pub(crate) author: Option<String>,
    author_url: Option<String>,
    published: Option<Timestamp>,
    updated: Option<Timestamp>,
    language: Option<String>,
    reply_to: Option<String>,
    /// Stars of an App Store review.
    pub(crate) rating: Option<f32>,
}

pub(crate) fn document(bytes: &[u8], out: &mut Out<'_>) {
    if bytes.trim_ascii().is_empty() {
        return;
    }
    let text = decoded_text(bytes, out);
    let start = text.trim_start();
    if start.starts_with(['{', '[']) {
        return each_value(start.as_bytes(), out, json_feed);
    }
    let mut items = 0;
    let refused = read_xml(&text, &mut |entry| {
        out.at_item(items);
        items += 1;
        publish(entry, out);
    });
    if let Some((offset, reason)) = refused {
        out.refuse_at(Location::Offset(offset), reason);
    } else if items == 0 {
        out.ignore("empty_feed");
    }
}

/// The document as text: by byte order mark, else by what it declares, else UTF-8, else windows-1252.
fn decoded_text<'b>(bytes: &'b [u8], out: &mut Out<'_>) -> Cow<'b, str> {
    if let Some((encoding, mark)) = encoding_rs::Encoding::for_bom(bytes) {
        let (text, replaced) = encoding.decode_without_bom_handling(&bytes[mark..]);
        out.repaired |= replaced;
        return text;
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        // Whatever it declares: what is valid UTF-8 and not ASCII was never anything else.
        if !bytes.contains(&0) {
            return Cow::Borrowed(text);
        }
    }
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(512)]);
    let declared = head.split_once("encoding=").and_then(|(_, rest)| {
        let quote = rest.chars().next()?;
        encoding_rs::Encoding::for_label(rest[1..].split(quote).next()?.as_bytes())
    });
    let wide = match bytes {
        [0, b'<', ..] => Some(encoding_rs::UTF_16BE),
        [b'<', 0, ..] => Some(encoding_rs::UTF_16LE),
        _ => None,
    };
    let encoding =
        wide.or(declared).filter(|e| *e != encoding_rs::UTF_8).unwrap_or(encoding_rs::WINDOWS_1252);
    let (text, replaced) = encoding.decode_without_bom_handling(bytes);
    out.repaired |= replaced;
    text
}

/// Hands every entry to `each`; says where and why it had to stop, if it did.
pub(crate) fn read_xml(text: &str, each: &mut dyn FnMut(Entry)) -> Option<(u64, RefusalReason)> {
    let mut reader = Reader::from_str(text);
    let config = reader.config_mut();
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    config.allow_dangling_amp = true;
    let mut walk = Walk::default();
    let mut entries = 0;
    loop {
        let at = reader.buffer_position() + 1;
        let event = match reader.read_event() {
            Ok(event) => event,
            Err(error) => return Some((at, malformed(&error))),
        };
        match event {
            Event::Start(tag) => walk.open(&tag, false),
            Event::Empty(tag) => walk.open(&tag, true),
            Event::End(tag) => {
                let name = tag.name().as_ref().to_owned();
                if let Some(entry) = walk.close(&name) {
                    entries += 1;
                    if entries > ITEMS_MAX {
                        return Some((at, RefusalReason::TooMany { limit: ITEMS_MAX }));
                    }
                    each(entry);
                }
            }
            Event::Text(words) => walk.words(&words.into_inner()),
            Event::CData(words) => walk.words(&words.into_inner()),
            Event::GeneralRef(reference) => {
                let name = reference.into_inner();
                let written = format!("&{name};");
                walk.words(&html::decode_entities(&written));
            }
            Event::Eof => {
                return match (walk.root, walk.entry) {
                    (Root::Unseen, _) => Some((1, RefusalReason::UnknownShape("no RSS, Atom or JSON feed"))),
                    (_, Some(_)) | (Root::Open, None) => Some((at, RefusalReason::CutOff)),
                    (Root::Closed, None) => None,
                };
            }
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}

fn malformed(error: &quick_xml::Error) -> RefusalReason {
    // The parser's own words may repeat what stands in the document.
    let problem = match error {
        quick_xml::Error::Syntax(_) => "syntax error",
        quick_xml::Error::IllFormed(_) => "ill-formed",
        quick_xml::Error::InvalidAttr(_) => "broken attribute",
        quick_xml::Error::Encoding(_) => "broken encoding",
        _ => "cannot be read",
    };
    RefusalReason::Malformed { format: "XML", problem: problem.into() }
}

/// Where in the feed the reader is, and the entry that it is in.
#[derive(Default)]
struct Walk {
    root: Root,
    entry: Option<Entry>,
    /// Element of the entry whose words are gathered, how deep below it the reader is, and its words.
    field: Option<Field>,
    feed_language: Option<String>,
}

/// Whether the feed began and ended: one that does not end was cut on its way.
#[derive(Default, PartialEq, Eq)]
enum Root {
    #[default]
    Unseen,
    Open,
    Closed,
}

struct Field {
    name: String,
    kind: Option<String>,
    depth: usize,
    words: String,
    href: Option<String>,
}

impl Walk {
    fn open(&mut self, tag: &BytesStart<'_>, empty: bool) {
        let name = tag.name().as_ref().to_owned();
        let local = local_name(&name);
        if let Some(field) = &mut self.field {
            // Markup inside a field: kept as markup, read later like all HTML.
            if !empty {
                field.depth += 1;
            }
            if local == "name" || local == "uri" || local == "email" {
                field.words.push('\n');
            }
            let href = attribute(tag, "href").map(|h| format!(" href=\"{}\"", h.replace('"', "%22")));
            field.words.push_str(&format!("<{local}{}>", href.unwrap_or_default()));
            return;
        }
        match local {
            "rss" | "RDF" | "feed" | "channel" => {
                self.root = if empty { Root::Closed } else { Root::Open };
                self.feed_language = attribute(tag, "xml:lang").or(self.feed_language.take());
            }
            "item" | "entry" if !empty => {
                if self.root == Root::Unseen {
                    // A single entry is a document of its own.
                    self.root = Root::Closed;
                }
                self.entry = Some(Entry {
                    id: attribute(tag, "rdf:about"),
                    language: attribute(tag, "xml:lang").or_else(|| self.feed_language.clone()),
                    ..Entry::default()
                });
            }
            _ if self.entry.is_some() || local == "language" => {
                let href = attribute(tag, "href").or_else(|| attribute(tag, "ref"));
                let kind = attribute(tag, if local == "link" { "rel" } else { "type" });
                let field = Field { name, kind, depth: 0, words: String::new(), href };
                if empty { self.settle(field) } else { self.field = Some(field) }
            }
            _ => {}
        }
    }

    fn words(&mut self, words: &str) {
        if let Some(field) = &mut self.field {
            // Below other markup, or in XHTML, a "<" that was escaped is a word and must stay one.
            if field.depth > 0 || field.kind.as_deref() == Some("xhtml") {
                field.words.push_str(&words.replace('&', "&amp;").replace('<', "&lt;"));
            } else {
                field.words.push_str(words);
            }
        }
    }

    fn close(&mut self, name: &str) -> Option<Entry> {
        if let Some(field) = &mut self.field {
            let ends_entry = matches!(local_name(name), "item" | "entry");
            if !ends_entry && (field.depth > 0 && field.name != name) {
                field.depth -= 1;
                field.words.push_str(&format!("</{}>", local_name(name)));
                return None;
            }
            if let Some(field) = self.field.take() {
                self.settle(field);
            }
            if !ends_entry {
                return None;
            }
        }
        match local_name(name) {
            "item" | "entry" => self.entry.take(),
            "rss" | "RDF" | "feed" | "channel" => {
                self.root = Root::Closed;
                None
            }
            _ => None,
        }
    }

    fn settle(&mut self, field: Field) {
        let words = field.words.trim();
        let owned = || (!words.is_empty()).then(|| words.to_owned());
        let Some(entry) = &mut self.entry else {
            if local_name(&field.name) == "language" {
                self.feed_language = owned().or(self.feed_language.take());
            }
            return;
        };
        let keep = |slot: &mut Option<String>| {
            if slot.is_none() {
                *slot = owned();
            }
        };
        match field.name.as_str() {
            "guid" | "id" | "atom:id" => entry.id = owned().or(entry.id.take()),
            "link" | "atom:link" => {
                let alternate = matches!(field.kind.as_deref(), None | Some("alternate"));
                if alternate && entry.link.is_none() {
                    entry.link = field.href.or_else(owned);
                }
            }
            "title" | "atom:title" => keep(&mut entry.title),
            "dc:title" => keep(&mut entry.title),
            // Feeds of reviews send the words as text and again as HTML.
            "content:encoded" | "content" | "atom:content" | "xhtml:body"
                if entry.content.is_none() || field.kind.as_deref() == Some("text") =>
            {
                entry.content = owned().or(entry.content.take());
            }
            "description" | "summary" | "atom:summary" | "dc:description" => keep(&mut entry.summary),
            "author" | "dc:creator" | "atom:author" | "itunes:author" if entry.author.is_none() => {
                let (name, url) = person(words);
                (entry.author, entry.author_url) = (name, url);
            }
            "pubDate" | "published" | "dc:date" | "issued" | "created" | "dcterms:created" => {
                entry.published = entry.published.or_else(|| when::parse(words));
            }
            "updated" | "modified" | "dcterms:modified" | "atom:updated" => {
                entry.updated = entry.updated.or_else(|| when::parse(words));
            }
            "dc:language" | "language" => keep(&mut entry.language),
            "thr:in-reply-to" => entry.reply_to = field.href,
            "im:rating" => entry.rating = words.parse().ok(),
            _ => {}
        }
    }
}

/// Name and address out of `ada@x.example (Ada)`, `Ada`, or Atom's nested elements.
fn person(words: &str) -> (Option<String>, Option<String>) {
    let nested = |tag: &str| {
        let rest = words.split_once(&format!("<{tag}>"))?.1;
        let value = rest.split('<').next()?.trim();
        (!value.is_empty()).then(|| html::decode_entities(value).into_owned())
    };
    if words.contains("<name>") || words.contains("<uri>") {
        return (nested("name"), nested("uri"));
    }
    let name = match words.split_once('(') {
        Some((_, name)) if words.contains('@') => name.trim_end_matches(')'),
        _ => words,
    };
    let name = html::to_text(name);
    ((!name.trim().is_empty()).then(|| name.trim().to_owned()), None)
}

fn local_name(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

fn attribute(tag: &BytesStart<'_>, name: &str) -> Option<String> {
    let found =
        tag.html_attributes().with_checks(false).filter_map(Result::ok).find(|a| a.key.as_ref() == name)?;
    let value = found.value.trim().to_owned();
    (!value.is_empty()).then(|| html::decode_entities(&value).into_owned())
}

fn publish(entry: Entry, out: &mut Out<'_>) {
    let body = entry.content.as_deref().or(entry.summary.as_deref());
    let mut words = body.map(html::to_text).unwrap_or_default();
    if still_markup(&words) {
        words = html::to_text(&words);
    }
    let title = entry.title.as_deref().map(html::to_text).filter(|t| !t.is_empty());
    if words.is_empty() && title.is_none() && entry.link.is_none() {
        return out.refuse(RefusalReason::MissingField("title or description"));
    }
    let id = entry.id.clone().or_else(|| entry.link.clone()).unwrap_or_else(|| {
        let said = format!("{}\n{words}", title.as_deref().unwrap_or_default());
        format!("blake3:{}", &blake3::hash(said.as_bytes()).to_hex()[..32])
    });
    let id = if id.len() > 2_048 { format!("xxh3:{:016x}", dedup::text_hash(&id)) } else { id };
    // A headline without a text is the text.
    let said = if words.is_empty() { title.clone().unwrap_or_default() } else { words };
    let mut draft = Draft::new(MentionOp::Created, id, Words::Plain(&said));
    draft.title = title.as_deref();
    draft.author = Author { display_name: entry.author, profile_url: entry.author_url, ..Author::default() };
    draft.languages = entry.language.into_iter().collect();
    draft.created = entry.published.or(entry.updated).map(|at| (at, TimeQuality::Claimed));
    draft.edited_at = entry.updated.filter(|u| entry.published.is_some_and(|p| *u > p));
    draft.refs.reply_to = entry.reply_to.map(|id| out.mention_id(&id));
    draft.permalink = entry.link;
    draft.rating = entry.rating.and_then(|r| model::Rating::new(r, 5.0).ok());
    for link in body.map(html::links).unwrap_or_default() {
        entities::add_url(&link, None, &mut draft.entities);
    }
    out.publish(draft);
}

/// HTML that was escaped twice on its way.
fn still_markup(text: &str) -> bool {
    ["</p>", "</a>", "<br", "</div>", "</b>", "</i>", "</li>", "<p>"].iter().any(|tag| text.contains(tag))
}

fn json_feed(feed: &Value, out: &mut Out<'_>) {
    let Some(items) = feed.get("items").and_then(Value::as_array) else {
        return out.refuse(RefusalReason::UnknownShape("no RSS, Atom or JSON feed"));
    };
    if items.is_empty() {
        out.ignore("empty_feed");
    }
    for (i, item) in items.iter().take(ITEMS_MAX).enumerate() {
        out.at_item(i);
        if !item.is_object() {
            out.refuse(RefusalReason::UnknownShape("an item that is no object"));
            continue;
        }
        let time = |name| json::text(item, name).and_then(when::parse);
        let owned = |name| json::text(item, name).map(str::to_owned);
        let author = item.pointer("/authors/0").or(item.get("author")).unwrap_or(&Value::Null);
        publish(
            Entry {
                id: json::id(item, "id"),
                link: owned("url").or_else(|| owned("external_url")),
                title: owned("title"),
                content: owned("content_html")
                    // Plain text is not read as HTML.
                    .or_else(|| {
                        json::text(item, "content_text").map(|t| t.replace('&', "&amp;").replace('<', "&lt;"))
                    }),
                summary: owned("summary"),
                author: json::text(author, "name").map(str::to_owned),
                author_url: json::text(author, "url").map(str::to_owned),
                published: time("date_published"),
                updated: time("date_modified"),
                language: owned("language").or_else(|| json::text(feed, "language").map(str::to_owned)),
                reply_to: None,
                rating: None,
            },
            out,
        );
    }
    if items.len() > ITEMS_MAX {
        out.refuse(RefusalReason::TooMany { limit: ITEMS_MAX });
    }
}
