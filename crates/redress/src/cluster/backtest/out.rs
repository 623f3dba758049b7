//! Writes what rules made, as it was asked for.

use std::io::Write;

use anyhow::Context as _;
use indicatif::ProgressBar;
use serde::Serialize;

use super::entry::{Entry, Kind};
use super::summary::Summary;
use crate::cluster::wire::{Format, cut, time};

/// What was looked at.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Subject {
    /// The settings file.
    pub(super) rules: String,
    /// The one compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) against: Option<String>,
    /// First and last time that counts; absent where there was nothing.
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
    /// Records heard, those learned from included.
    pub(super) records: u64,
    /// Records that could not be read.
    pub(super) refused: u64,
}

/// The end of the output.
#[derive(Debug, Clone, Serialize)]
pub(super) struct End {
    #[serde(flatten)]
    pub(super) subject: Subject,
    pub(super) summary: Summary,
    /// With a second set of rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) compared: Option<Compared>,
}

/// Two sets of rules side by side.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Compared {
    /// What the other rules made.
    pub(super) against: Summary,
    /// Per kind: only under the rules, only under the others, under both.
    pub(super) pages: Difference,
    pub(super) breaches: Difference,
    pub(super) cases: Difference,
    /// More was made than is kept to be compared; the rest is only counted in the summaries.
    pub(super) is_cut: bool,
}

/// How two lists differ.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Difference {
    pub(super) new: u64,
    pub(super) gone: u64,
    pub(super) both: u64,
}

/// Where it goes.
pub(super) struct Out<W: Write> {
    to: W,
    format: Format,
    show: Vec<Kind>,
    bar: ProgressBar,
    written: u64,
}

impl<W: Write> Out<W> {
    pub(super) const fn new(to: W, format: Format, show: Vec<Kind>, bar: ProgressBar) -> Self {
        Self { to, format, show, bar, written: 0 }
    }

    /// One thing the rules made.
    ///
    /// # Errors
    /// When nobody takes it.
    pub(super) fn entry(&mut self, entry: &Entry) -> anyhow::Result<()> {
        if !self.show.contains(&entry.kind) {
            return Ok(());
        }
        let line = match self.format {
            Format::Table => row(entry),
            Format::Jsonl => serde_json::to_string(entry)?,
            Format::Json => {
                let open = if self.written == 0 { "{\"entries\":[\n" } else { ",\n" };
                format!("{open}{}", serde_json::to_string(entry)?)
            }
        };
        self.written += 1;
        let end = if self.format == Format::Json { "" } else { "\n" };
        // The bar is on the same terminal, perhaps.
        let written = self.bar.suspend(|| write!(self.to, "{line}{end}"));
        written.context("cannot write the results")
    }

    /// The summary, last.
    ///
    /// # Errors
    /// When nobody takes it.
    pub(super) fn end(mut self, end: &End) -> anyhow::Result<()> {
        let text = match self.format {
            Format::Jsonl => {
                let mut object = serde_json::to_value(end)?;
                object["kind"] = "summary".into();
                format!("{object}\n")
            }
            Format::Json => {
                let object = serde_json::to_string_pretty(end)?;
                let open = if self.written == 0 { "{\"entries\":[" } else { "" };
                // The summary's own fields follow those of the list.
                format!("{open}\n],\n{}\n", object.trim_start_matches(['{', '\n']))
            }
            Format::Table => lines(end, self.written > 0).join("\n") + "\n",
        };
        self.to.write_all(text.as_bytes()).context("cannot write the results")?;
        self.to.flush().context("cannot write the results")
    }
}

fn row(entry: &Entry) -> String {
    let mark = match entry.under {
        Some("rules") => "+ ",
        Some("against") => "- ",
        Some(_) => "  ",
        None => "",
    };
    let size = match (entry.posts, entry.people) {
        (Some(posts), Some(people)) => format!("{posts} posts, {people} people"),
        _ => format!("severity {}", entry.severity),
    };
    let judged = match entry.useful {
        Some(true) => "  [people: useful]",
        Some(false) => "  [people: not useful]",
        None => "",
    };
    format!(
        "{mark}{}  {:<6}  {:<16}  {:<22}  {}: {}{judged}",
        time(entry.at.as_micros()),
        entry.kind.name(),
        cut(&entry.brand, 16),
        cut(&size, 22),
        cut(&entry.title, 80),
        cut(&entry.reason, 160),
    )
}

fn lines(end: &End, has_entries: bool) -> Vec<String> {
    let subject = &end.subject;
    let mut lines = Vec::new();
    if has_entries {
        lines.push(String::new());
    }
    let span = match (&subject.from, &subject.to) {
        (Some(from), Some(to)) => format!("{from} to {to}"),
        _ => "nothing in that time".to_owned(),
    };
    lines.push(format!("{}: {span}, {} records heard", subject.rules, subject.records));
    lines.extend(end.summary.lines());
    if let (Some(compared), Some(against)) = (&end.compared, &subject.against) {
        lines.push(String::new());
        lines.push(format!("{against}:"));
        lines.extend(compared.against.lines());
        lines.push(String::new());
        for (name, difference) in
            [("pages", &compared.pages), ("breaches", &compared.breaches), ("cases", &compared.cases)]
        {
            lines.push(format!(
                "{name:<8}  {} new, {} gone, {} under both",
                difference.new, difference.gone, difference.both
            ));
        }
        if compared.is_cut {
            lines.push("more was made than is compared one by one; the summaries count all of it".to_owned());
        }
    }
    lines
}
