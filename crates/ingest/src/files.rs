//! History in files: read once, in constant memory, and on from where reading stopped.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bytes::Bytes;
use contracts::ingest::v1::CoverageState;
use flate2::read::MultiGzDecoder;
use model::{SourceKind, Transport};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::source::{Source, Stopped};
use crate::step::{Body, Feed};

/// Bytes read and taken in at once.
const CHUNK_BYTES: usize = 256 * 1024;
/// A record that does not end within this many bytes is handed on unfinished: the decoder refuses it.
const PENDING_BYTES_MAX: usize = 9 * 1024 * 1024;
/// So much of a file's beginning tells it from another under the same name.
const HEAD_BYTES: usize = 4 * 1024;

/// How far a file was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Cursor {
    /// BLAKE3 of the file's beginning.
    head: String,
    /// How many bytes of the beginning that covers.
    head_bytes: usize,
    /// Bytes read, after decompression; always between two records.
    offset: u64,
    /// Lines read.
    lines: u64,
    /// Read to its end.
    done: bool,
}

/// Reads all `paths`, one after the other.
pub(crate) async fn read_all(source: Source, paths: Vec<PathBuf>) -> Result<(), Stopped> {
    source.cover(CoverageState::CatchingUp, None, "reading files").await;
    let mut detail = String::new();
    for path in &paths {
        match read(&source, path).await {
            Ok(Ok(())) => {}
            Ok(Err(stopped)) => return Err(stopped),
            Err(error) => {
                warn!(connector = source.connector, "file not read: {error:#}");
                detail = format!("not read to the end: {}", path.display());
            }
        }
    }
    source.cover(CoverageState::Ended, None, &detail).await;
    Ok(())
}

async fn read(source: &Source, path: &Path) -> anyhow::Result<Result<(), Stopped>> {
    let name = path.display().to_string();
    let (mut input, head) = open(path)?;
    let way = Way::of(source.kind, &head);
    let mut at = match source.cursor::<Cursor>(&name).await {
        Some(cursor) if cursor.is_of(&head) && cursor.done && way == Way::Whole => {
            info!(connector = source.connector, file = name, "file was read before");
            return Ok(Ok(()));
        }
        Some(cursor) if cursor.is_of(&head) => cursor,
        _ => Cursor::begin(&head),
    };
    let mut feed = Feed::new(source.kind);
    if at.offset > 0 {
        if way == Way::Whole {
            at = Cursor::begin(&head);
        } else {
            info!(connector = source.connector, file = name, offset = at.offset, "reading on");
            input = skip(source, &mut feed, input, way, &at).await?;
        }
    }
    let mut pending: Vec<u8> = Vec::new();
    let mut boundary = Boundary::default();
    loop {
        let (reader, chunk) = next_chunk(input).await.with_context(|| format!("reading {name}"))?;
        input = reader;
        let is_end = chunk.is_empty();
        pending.extend_from_slice(&chunk);
        let cut = match (is_end, boundary.last_in(&chunk, pending.len(), way)) {
            (true, _) => pending.len(),
            (false, Some(cut)) => cut,
            (false, None) if pending.len() > PENDING_BYTES_MAX => pending.len(),
            (false, None) => continue,
        };
        let rest = pending.split_off(cut);
        let bytes = Bytes::from(std::mem::replace(&mut pending, rest));
        let (offset, lines) = (bytes.len() as u64, bytes.iter().filter(|b| **b == b'\n').count() as u64);
        let prepared = source.intake.prepare(&mut feed, &source.connector, body(source, bytes), is_end)?;
        if let Err(stopped) = source.deliver(vec![prepared]).await {
            return Ok(Err(stopped));
        }
        at = Cursor { offset: at.offset + offset, lines: at.lines + lines, done: is_end, ..at };
        source.save(&name, &at).await;
        if is_end {
            info!(connector = source.connector, file = name, bytes = at.offset, "file read to its end");
            return Ok(Ok(()));
        }
    }
}

fn body(source: &Source, bytes: Bytes) -> Body {
    Body {
        kind: source.kind,
        instance: String::new(),
        transport: Transport::Backfill,
        received_at: source.intake.now(),
        csv_map: None,
        bytes,
    }
}

type Input = Box<dyn Read + Send>;

/// Opens a file, decompressed if it is compressed, and shows its beginning.
fn open(path: &Path) -> anyhow::Result<(Input, Vec<u8>)> {
    let named = || format!("opening {}", path.display());
    let open = || -> io::Result<Input> {
        let mut magic = [0; 2];
        let mut file = File::open(path)?;
        let got = file.read(&mut magic)?;
        let file = io::Cursor::new(magic).take(got as u64).chain(file);
        Ok(if magic == [0x1f, 0x8b] {
            Box::new(BufReader::new(MultiGzDecoder::new(BufReader::new(file))))
        } else {
            Box::new(BufReader::new(file))
        })
    };
    let mut head = Vec::new();
    open().with_context(named)?.take(HEAD_BYTES as u64).read_to_end(&mut head).with_context(named)?;
    Ok((open().with_context(named)?, head))
}

async fn next_chunk(mut input: Input) -> anyhow::Result<(Input, Vec<u8>)> {
    tokio::task::spawn_blocking(move || {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        input.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
        Ok((input, chunk))
    })
    .await?
}

/// Moves `input` to the cursor; the decoder of a table is told its header first.
async fn skip(
    source: &Source,
    feed: &mut Feed,
    mut input: Input,
    way: Way,
    at: &Cursor,
) -> anyhow::Result<Input> {
    let mut left = at.offset;
    let mut header = Vec::new();
    if way == Way::Rows {
        let mut byte = [0];
        while left > 0 && input.read(&mut byte)? == 1 {
            left -= 1;
            header.push(byte[0]);
            if byte[0] == b'\n' {
                break;
            }
        }
        let header = Bytes::from(header);
        source.intake.prepare(feed, &source.connector, body(source, header), false)?;
    }
    feed.shift_lines(at.lines.saturating_sub(u64::from(way == Way::Rows)));
    tokio::task::spawn_blocking(move || {
        let skipped = io::copy(&mut input.by_ref().take(left), &mut io::sink())?;
        anyhow::ensure!(skipped == left, "the file is shorter than when it was last read");
        Ok(input)
    })
    .await?
}

impl Cursor {
    fn begin(head: &[u8]) -> Self {
        Self { head: digest(head), head_bytes: head.len(), offset: 0, lines: 0, done: false }
    }

    /// A file that only grew is the same file.
    fn is_of(&self, head: &[u8]) -> bool {
        head.get(..self.head_bytes).is_some_and(|same| digest(same) == self.head)
    }
}

fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// Where a file may be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// After any line.
    Lines,
    /// After a line that ends no quoted field.
    Rows,
    /// Records span lines: cut anywhere, but never begin in the middle.
    Whole,
}

impl Way {
    fn of(kind: SourceKind, head: &[u8]) -> Self {
        if kind == SourceKind::Csv {
            return Self::Rows;
        }
        let first = head.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).find(|line| !line.is_empty());
        let is_json_lines =
            |line: &[u8]| line.starts_with(b"{") && (line.ends_with(b"}") || head.len() == HEAD_BYTES);
        match sources::framing(kind) {
            sources::Framing::Json if first.is_some_and(is_json_lines) => Self::Lines,
            _ => Self::Whole,
        }
    }
}

/// Finds the last place between two records.
#[derive(Debug, Default)]
struct Boundary {
    in_quotes: bool,
}

impl Boundary {
    /// The last place in the pending bytes, of which `chunk` is the newest part.
    fn last_in(&mut self, chunk: &[u8], pending: usize, way: Way) -> Option<usize> {
        let base = pending - chunk.len();
        match way {
            Way::Whole => Some(pending).filter(|p| *p > 0),
            Way::Lines => chunk.iter().rposition(|b| *b == b'\n').map(|at| base + at + 1),
            Way::Rows => {
                let mut last = None;
                for (at, byte) in chunk.iter().enumerate() {
                    match byte {
                        // A doubled quote toggles twice.
                        b'"' => self.in_quotes = !self.in_quotes,
                        b'\n' if !self.in_quotes => last = Some(base + at + 1),
                        _ => {}
                    }
                }
                last
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_outside_quotes_only() {
        let mut boundary = Boundary::default();
        assert_eq!(boundary.last_in(b"a,\"b\nc", 6, Way::Rows), None);
        assert_eq!(boundary.last_in(b"\"\nd,e", 11, Way::Rows), Some(8));
        assert_eq!(Boundary::default().last_in(b"{}\n{}", 5, Way::Lines), Some(3));
    }

    #[test]
    fn way_is_told_by_kind_and_beginning() {
        for (kind, head, way) in [
            (SourceKind::Csv, "a,b\n", Way::Rows),
            (SourceKind::Ndjson, "{\"a\":1}\n{\"a\":2}\n", Way::Lines),
            (SourceKind::XV2, "{\n \"data\": [\n", Way::Whole),
            (SourceKind::XV2, "[{}]", Way::Whole),
            (SourceKind::Mastodon, "event: update\ndata: {}\n\n", Way::Whole),
            (SourceKind::Feed, "<rss/>", Way::Whole),
        ] {
            assert_eq!(Way::of(kind, head.as_bytes()), way, "{kind}");
        }
    }

    #[test]
    fn grown_file_is_the_same_and_a_changed_one_is_not() {
        let cursor = Cursor::begin(b"abc");
        assert!(cursor.is_of(b"abcd") && !cursor.is_of(b"abX") && !cursor.is_of(b"ab"));
    }
}
