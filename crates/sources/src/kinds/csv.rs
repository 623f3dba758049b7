//! Tables with a header, mapped column by column. Spreadsheets have often been there before us.

use std::borrow::Cow;

use model::{Author, BrandId, Engagement, EngagementKind, MentionId, MentionOp, Rating, Refs, TimeQuality};

use crate::csv_map::CsvField as F;
use crate::decoded::RefusalReason;
use crate::framing::Record;
use crate::kinds::ndjson::{bare_handle, op_of};
use crate::out::{Draft, Notice, Out, Words};
use crate::when;

/// A row with more cells than this is no row.
const CELLS_MAX: usize = 4_096;

/// What the header said.
#[derive(Debug, Clone)]
pub(crate) enum Columns {
    /// No header yet.
    Unknown,
    /// The cell of each field, and what separates cells.
    Known { cells: Vec<(F, usize)>, count: usize, delimiter: u8 },
    /// The header cannot be used: every row is refused with this.
    Unusable(RefusalReason),
}

impl Columns {
    fn cell(&self, field: F) -> Option<usize> {
        match self {
            Self::Known { cells, .. } => cells.iter().find(|(f, _)| *f == field).map(|(_, i)| *i),
            _ => None,
        }
    }
}

/// Decodes one row. False for the header, which is no record of data.
pub(crate) fn row(record: Record<'_>, columns: &mut Columns, out: &mut Out<'_>) -> bool {
    let delimiter = match columns {
        Columns::Unknown => {
            *columns = header(record.bytes, out);
            if let Columns::Unusable(reason) = columns {
                out.refuse(reason.clone());
            }
            return false;
        }
        Columns::Unusable(reason) => {
            out.refuse(reason.clone());
            return true;
        }
        Columns::Known { delimiter, .. } => *delimiter,
    };
    let cells = split(record.bytes, delimiter);
    let result = mention(&cells, columns, out);
    if let Err(reason) = result {
        out.refuse(reason);
    }
    true
}

fn header(bytes: &[u8], out: &Out<'_>) -> Columns {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let found = |d: u8| memchr::memchr_iter(d, bytes).count();
    let delimiter = [b',', b';', b'\t'].into_iter().rev().max_by_key(|d| found(*d)).unwrap_or(b',');
    let cells = split(bytes, delimiter);
    let names: Vec<String> = cells.iter().map(|c| String::from_utf8_lossy(c).trim().to_owned()).collect();
    let mut known: Vec<(F, usize)> = Vec::new();
    match out.ctx.csv_map.filter(|map| !map.is_empty()) {
        Some(map) => {
            for (field, column) in map.iter() {
                match names.iter().position(|n| n == column) {
                    Some(at) => known.push((field, at)),
                    None => {
                        let problem = "is mapped to a column that the header does not have".to_owned();
                        return Columns::Unusable(RefusalReason::BadField { field: field.name(), problem });
                    }
                }
            }
        }
        None => {
            for (at, name) in names.iter().enumerate() {
                if let Some(field) = F::guess(name).filter(|f| !known.iter().any(|(k, _)| k == f)) {
                    known.push((field, at));
                }
            }
        }
    }
    if !known.iter().any(|(f, _)| *f == F::Text) {
        return Columns::Unusable(RefusalReason::UnknownShape(
            "no column is the text; name one with a column map",
        ));
    }
    Columns::Known { cells: known, count: names.len(), delimiter }
}

fn mention(cells: &[Cow<'_, [u8]>], columns: &Columns, out: &mut Out<'_>) -> Result<(), RefusalReason> {
    let Columns::Known { count, .. } = columns else { return Ok(()) };
    if cells.len() != *count {
        let problem = format!("{} cells where the header has {count}", cells.len());
        return Err(RefusalReason::Malformed { format: "CSV", problem });
    }
    out.repaired = false;
    let raw = |field: F| columns.cell(field).map(|i| cells[i].as_ref());
    let text_of = |field: F| raw(field).map(String::from_utf8_lossy);
    let value = |field: F| {
        text_of(field).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty() && v != "null" && v != "NULL")
    };
    let words = text_of(F::Text).unwrap_or_default();
    if matches!(words, Cow::Owned(_)) {
        out.repaired = true;
    }
    let id = value(F::Id).map(|id| plain_id(&id, "id")).transpose()?;
    if id.as_ref().is_some_and(|id| id.len() > 2_048) {
        return Err(RefusalReason::BadField { field: "id", problem: "has more than 2048 bytes".into() });
    }
    if columns.cell(F::Id).is_some() && id.is_none() {
        return Err(RefusalReason::MissingField("id"));
    }
    let author = Author {
        native_id: value(F::AuthorId),
        handle: value(F::Author).as_deref().and_then(bare_handle),
        display_name: value(F::AuthorName),
        followers: value(F::Followers).and_then(|v| count_of(&v)).and_then(|n| n.try_into().ok()),
        ..Author::default()
    };
    let created_text = value(F::CreatedAt);
    let created = created_text.as_deref().and_then(when::parse);
    let op = op_of(value(F::Op).as_deref())?;
    let observed = value(F::ObservedAt).as_deref().and_then(when::parse);
    if op.withdraws() || op == MentionOp::AuthorUpdated {
        out.notice(Notice {
            op,
            native_id: id.ok_or(RefusalReason::MissingField("id"))?,
            native_rev: op.name().into(),
            witnessed_at: observed,
            author: Some(author),
        });
        return Ok(());
    }
    let id = id.unwrap_or_else(|| {
        let who = author.native_id.as_deref().or(author.handle.as_deref()).unwrap_or_default();
        let at = created_text.as_deref().unwrap_or_default();
        format!("blake3:{}", &blake3::hash(format!("{who}\n{at}\n{words}").as_bytes()).to_hex()[..32])
    });
    // Texts in tables went through an HTML page or an API before: `&amp;` is an ampersand.
    let mut draft = Draft::new(op, id, Words::Escaped(&words));
    let title = value(F::Title);
    draft.author = author;
    draft.title = title.as_deref();
    draft.rating = value(F::Rating).and_then(|v| v.parse().ok()).and_then(|v| Rating::new(v, 5.0).ok());
    draft.languages = value(F::Language).into_iter().collect();
    draft.created = created.map(|at| (at, TimeQuality::Source));
    draft.edited_at = value(F::EditedAt).as_deref().and_then(when::parse);
    draft.witnessed_at = observed;
    let reference = |field: F| -> Result<Option<MentionId>, RefusalReason> {
        let Some(id) = value(field) else { return Ok(None) };
        // Several parents: the first is the one that counts.
        let first = id.split(',').next().unwrap_or(&id);
        Ok(Some(out.mention_id(&plain_id(first, field.name())?)))
    };
    draft.refs = Refs {
        reply_to: reference(F::ReplyTo)?,
        repost_of: reference(F::RepostOf)?,
        conversation: value(F::Conversation),
        place: value(F::Place),
        ..Refs::default()
    };
    let count = |field: F| value(field).and_then(|v| count_of(&v));
    let counts = [count(F::Likes), count(F::Reposts), count(F::Replies), count(F::Views)];
    draft.engagement = counts.iter().any(Option::is_some).then(|| Engagement {
        likes: counts[0],
        reposts: counts[1],
        replies: counts[2],
        quotes: None,
        views: counts[3],
        score: None,
        as_of: out.ctx.received_at,
        kind: EngagementKind::Snapshot,
    });
    draft.permalink = value(F::Url);
    draft.brands = value(F::Brand).map(|b| BrandId::slugify(&b)).into_iter().collect();
    out.publish(draft);
    Ok(())
}

/// An id as text. `3.0` is how a table writes 3 beside empty cells; `5.70306E+17` is no id any more.
fn plain_id(cell: &str, field: &'static str) -> Result<String, RefusalReason> {
    let b = cell.as_bytes();
    let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    if let Some(e) = memchr::memchr2(b'e', b'E', b) {
        let (mantissa, exponent) = (&b[..e], &b[e + 1..]);
        let mut parts = mantissa.splitn(2, |c| *c == b'.');
        let float =
            parts.next().is_some_and(|p| p.len() == 1 && digits(p)) && parts.next().is_none_or(digits);
        if float && matches!(exponent.first(), Some(b'+' | b'-')) && digits(&exponent[1..]) {
            return Err(RefusalReason::DamagedId(field));
        }
    }
    match cell.split_once('.') {
        Some((whole, zeros))
            if digits(whole.as_bytes()) && !zeros.is_empty() && zeros.bytes().all(|b| b == b'0') =>
        {
            Ok(whole.to_owned())
        }
        _ => Ok(cell.to_owned()),
    }
}

fn count_of(cell: &str) -> Option<i64> {
    cell.parse().ok().or_else(|| {
        let number: f64 = cell.parse().ok()?;
        (number.is_finite() && number.fract() == 0.0 && number.abs() < 1e15).then_some(number as i64)
    })
}

/// The cells of one row; quotes as in RFC 4180, everything else literally.
fn split(row: &[u8], delimiter: u8) -> Vec<Cow<'_, [u8]>> {
    let mut cells = Vec::with_capacity(16);
    let mut rest = row;
    loop {
        if cells.len() == CELLS_MAX {
            return cells;
        }
        if rest.first() != Some(&b'"') {
            match memchr::memchr(delimiter, rest) {
                Some(end) => {
                    cells.push(Cow::Borrowed(&rest[..end]));
                    rest = &rest[end + 1..];
                    continue;
                }
                None => {
                    cells.push(Cow::Borrowed(rest));
                    return cells;
                }
            }
        }
        let (cell, after) = quoted(&rest[1..], delimiter);
        cells.push(cell);
        match after {
            Some(after) => rest = after,
            None => return cells,
        }
    }
}

/// A quoted cell, and what comes after its delimiter.
fn quoted(body: &[u8], delimiter: u8) -> (Cow<'_, [u8]>, Option<&[u8]>) {
    let Some(end) = memchr::memchr(b'"', body) else { return (Cow::Borrowed(body), None) };
    match body.get(end + 1) {
        None => return (Cow::Borrowed(&body[..end]), None),
        Some(b) if *b == delimiter => return (Cow::Borrowed(&body[..end]), Some(&body[end + 2..])),
        Some(_) => {}
    }
    let mut cell = body[..end].to_vec();
    let mut inside = false;
    let mut i = end + 1;
    // `inside` is false right after a quote: what follows is its double, the delimiter, or a stray byte.
    while i < body.len() {
        let b = body[i];
        i += 1;
        match (inside, b) {
            (false, b'"') => {
                cell.push(b'"');
                inside = true;
            }
            (false, b) if b == delimiter => return (Cow::Owned(cell), Some(&body[i..])),
            (false, b) => {
                // A stray byte after the closing quote: the rest of the cell is literal.
                cell.push(b);
                let end = memchr::memchr(delimiter, &body[i..]);
                cell.extend_from_slice(&body[i..end.map_or(body.len(), |e| i + e)]);
                return (Cow::Owned(cell), end.map(|e| &body[i + e + 1..]));
            }
            (true, b'"') => inside = false,
            (true, b) => cell.push(b),
        }
    }
    (Cow::Owned(cell), None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_are_text_and_damage_is_seen() {
        for (cell, id) in
            [("3.0", Some("3")), ("570306133677760000", Some("570306133677760000")), ("a1e5", Some("a1e5"))]
        {
            assert_eq!(plain_id(cell, "id").ok().as_deref(), id, "{cell}");
        }
        for cell in ["5.70306E+17", "5E+17", "1.5e-3"] {
            assert_eq!(plain_id(cell, "id"), Err(RefusalReason::DamagedId("id")), "{cell}");
        }
    }

    proptest! {
        #[test]
        fn cells_are_those_that_the_csv_crate_reads(row in "[a\", ;]{1,24}") {
            let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(row.as_bytes());
            let mut expected = csv::ByteRecord::new();
            prop_assume!(reader.read_byte_record(&mut expected).unwrap());
            let cells = split(row.as_bytes(), b',');
            let cells: Vec<&[u8]> = cells.iter().map(Cow::as_ref).collect();
            prop_assert_eq!(cells, expected.iter().collect::<Vec<_>>());
        }
    }
}
