//! Lines of files of any size in constant memory, for every command that streams.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use flate2::bufread::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressStyle};

/// Longest line that is read; longer ones are refused and skipped.
pub(crate) const LINE_BYTES_MAX: usize = 8 << 20;
const BUFFER_BYTES: usize = 1 << 18;

/// One line without its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// Not blank, not too long.
    Text(&'a [u8]),
    /// Longer than `LINE_BYTES_MAX`; the next call goes on after it.
    TooLong,
}

/// A file, standard input (`-`), or the gzipped form of either.
pub(crate) struct Input {
    name: String,
    reader: Box<dyn BufRead>,
    line: Vec<u8>,
    number: u64,
    /// Bytes known to be readable without asking the source again.
    ready: usize,
    progress: ProgressBar,
}

impl Input {
    /// Opens a path; `-` is standard input. Gzip is told by its first bytes.
    pub(crate) fn open(path: &Path) -> Result<Input> {
        if path == Path::new("-") {
            let input: Box<dyn Read> = Box::new(std::io::stdin().lock());
            return Input::from_reader("-", input, None);
        }
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let size = file.metadata().ok().filter(|data| data.is_file()).map(|data| data.len());
        Input::from_reader(&path.display().to_string(), Box::new(file), size)
    }

    /// Reads from anything; `size` (bytes) gives the progress bar its end.
    pub(crate) fn from_reader(name: &str, reader: Box<dyn Read>, size: Option<u64>) -> Result<Input> {
        let progress = progress_bar(size);
        let mut buffered = BufReader::with_capacity(BUFFER_BYTES, progress.wrap_read(reader));
        let start = buffered.fill_buf().with_context(|| format!("cannot read {name}"))?;
        let gzip = start.starts_with(&[0x1f, 0x8b]);
        let reader: Box<dyn BufRead> = match gzip {
            true => Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(buffered))),
            false => Box::new(buffered),
        };
        Ok(Input { name: name.to_owned(), reader, line: Vec::new(), number: 0, ready: 0, progress })
    }

    /// The name refusals give: the path as written, `-` for standard input.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The next line that is not blank, with its number from 1.
    pub(crate) fn next_line(&mut self) -> Result<Option<(u64, Line<'_>)>> {
        loop {
            self.line.clear();
            let got = self
                .fill_line()
                .with_context(|| format!("cannot read {} after line {}", self.name, self.number))?;
            match got {
                Got::End => {
                    self.progress.finish_and_clear();
                    return Ok(None);
                }
                Got::Line if self.line.iter().all(u8::is_ascii_whitespace) => {}
                Got::Line => {
                    if self.line.last() == Some(&b'\r') {
                        self.line.pop();
                    }
                    return Ok(Some((self.number, Line::Text(&self.line))));
                }
                Got::TooLong => return Ok(Some((self.number, Line::TooLong))),
            }
        }
    }

    /// The next bytes as they come, for formats that are not cut at line ends; none at the end. Not to be
    /// mixed with `next_line`.
    pub(crate) fn next_chunk(&mut self) -> Result<Option<&[u8]>> {
        // The chunk handed out before is used up now.
        self.reader.consume(std::mem::take(&mut self.ready));
        let got = loop {
            match self.reader.fill_buf() {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => break other.with_context(|| format!("cannot read {}", self.name))?.len(),
            }
        };
        if got == 0 {
            self.progress.finish_and_clear();
            return Ok(None);
        }
        self.ready = got;
        Ok(Some(self.reader.fill_buf().with_context(|| format!("cannot read {}", self.name))?))
    }

    /// True when the next line may have to be waited for: the moment to hand over what was written so far.
    pub(crate) fn drained(&self) -> bool {
        self.ready == 0
    }

    fn fill_line(&mut self) -> std::io::Result<Got> {
        let mut too_long = false;
        let mut any = false;
        loop {
            let buffer = match self.reader.fill_buf() {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if buffer.is_empty() {
                self.number += u64::from(any);
                return Ok(if !any { Got::End } else { Got::of(too_long) });
            }
            any = true;
            let end = buffer.iter().position(|b| *b == b'\n');
            let taken = end.unwrap_or(buffer.len());
            if !too_long {
                too_long = self.line.len() + taken > LINE_BYTES_MAX;
                if too_long {
                    self.line = Vec::new();
                } else {
                    self.line.extend_from_slice(&buffer[..taken]);
                }
            }
            let used = taken + usize::from(end.is_some());
            self.ready = buffer.len() - used;
            self.reader.consume(used);
            if end.is_some() {
                self.number += 1;
                return Ok(Got::of(too_long));
            }
        }
    }
}

enum Got {
    Line,
    TooLong,
    End,
}

impl Got {
    fn of(too_long: bool) -> Got {
        if too_long { Got::TooLong } else { Got::Line }
    }
}

fn progress_bar(size: Option<u64>) -> ProgressBar {
    // Standard output may be the same terminal: a bar would tear the results apart.
    if !std::io::stderr().is_terminal() || std::io::stdout().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = size.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let template =
        if size.is_some() { "{bar:30} {bytes}/{total_bytes} {eta}" } else { "{spinner} {bytes} {elapsed}" };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// Refused input: each is named on standard error, and the exit code remembers that there was one.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    count: u64,
}

impl Refusals {
    /// Names a refused line.
    pub(crate) fn line(&mut self, file: &str, number: u64, reason: impl std::fmt::Display) {
        self.name(format_args!("{file}:{number}: {reason}"));
    }

    /// Names a refusal by its place in bytes.
    #[allow(dead_code)]
    pub(crate) fn offset(&mut self, offset: u64, reason: impl std::fmt::Display) {
        self.name(format_args!("offset {offset}: {reason}"));
    }

    fn name(&mut self, refusal: std::fmt::Arguments<'_>) {
        self.count += 1;
        // Where nobody listens the rest is answered all the same; the exit code remembers.
        let _ = writeln!(std::io::stderr(), "{refusal}");
    }

    /// How many there were.
    #[allow(dead_code)]
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// 0 when nothing was refused, else 1.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(u8::from(self.count > 0))
    }
}

/// Nobody reads what is written any more, as in `| head`: no fault.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|e| e.downcast_ref::<std::io::Error>())
        .any(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use super::*;

    fn lines(bytes: Vec<u8>) -> Vec<(u64, String)> {
        let mut input = Input::from_reader("-", Box::new(Cursor::new(bytes)), None).unwrap();
        let mut found = Vec::new();
        while let Some((number, line)) = input.next_line().unwrap() {
            let text = match line {
                Line::Text(text) => String::from_utf8_lossy(text).into_owned(),
                Line::TooLong => "(too long)".to_owned(),
            };
            found.push((number, text));
        }
        found
    }

    #[test]
    fn blank_lines_are_skipped_but_counted() {
        assert_eq!(lines(b"a\n\n  \r\nb\r\nc".to_vec()), [(1, "a".into()), (4, "b".into()), (5, "c".into())]);
        assert!(lines(Vec::new()).is_empty());
    }

    #[test]
    fn a_line_over_the_limit_is_refused_and_the_rest_goes_on() {
        let mut bytes = vec![b'x'; LINE_BYTES_MAX + 1];
        bytes.extend(b"\nok\n");
        assert_eq!(lines(bytes), [(1, "(too long)".into()), (2, "ok".into())]);
        assert_eq!(lines(vec![b'x'; LINE_BYTES_MAX])[0].1.len(), LINE_BYTES_MAX);
    }

    #[test]
    fn gzip_is_told_by_its_first_bytes() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"one\ntwo\n").unwrap();
        assert_eq!(lines(gzip.finish().unwrap()), [(1, "one".into()), (2, "two".into())]);
    }
}
