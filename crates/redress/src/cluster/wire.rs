//! What the gRPC commands share: connecting, ids as people type them, results as they were asked for.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context as _;
use bytes::Bytes;
use clap::{Args, ValueEnum};
use contracts::json;
use model::Timestamp;
use prost::{Message, Name};
use runtime::net::{Link, TlsConfig};
use runtime::{Net, NetConfig, Secret};
use uuid::Uuid;

/// How to reach a service.
#[derive(Debug, Clone, Args)]
pub(crate) struct Peer {
    /// Token to show, where the service asks for one
    #[arg(long, env = "REDRESS_TOKEN", hide_env_values = true, global = true)]
    token: Option<String>,
    /// Who signed the certificates of the services (PEM), for https addresses
    #[arg(long, env = "REDRESS_CA", value_name = "FILE", global = true)]
    ca: Option<PathBuf>,
    #[command(flatten)]
    form: Form,
}

/// How results are to be written.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct Form {
    /// How results are written: a table on a terminal, else an object a line, when nothing is said
    #[arg(long, value_enum, global = true)]
    format: Option<Format>,
}

impl Form {
    /// As asked; else a table for people, and what programs read for everything else.
    pub(crate) fn format(self) -> Format {
        self.format.unwrap_or(if std::io::stdout().is_terminal() { Format::Table } else { Format::Jsonl })
    }
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// One document.
    Json,
    /// One object a line.
    Jsonl,
}

impl Peer {
    /// How results are to be written.
    pub(crate) fn format(&self) -> Format {
        self.form.format()
    }

    /// A connection to `uri`; nothing is sent yet.
    ///
    /// # Errors
    /// When `uri` is no address.
    pub(crate) fn link(&self, uri: &str) -> anyhow::Result<Link> {
        let tls =
            uri.starts_with("https:").then(|| TlsConfig { ca: self.ca.clone(), ..TlsConfig::default() });
        let config = NetConfig { tls, token: self.token.clone().map(Secret::new), ..NetConfig::default() };
        Net::new(config)?
            .channel(uri)
            .with_context(|| format!("'{uri}' is no address such as http://localhost:7703"))
    }
}

/// Says what a service answered, in one line.
pub(crate) fn refused(status: tonic::Status) -> anyhow::Error {
    match status.code() {
        tonic::Code::Unavailable => {
            anyhow::anyhow!("the service does not answer at the address of --to: {}", status.message())
        }
        code => anyhow::anyhow!("{code}: {}", status.message()),
    }
}

/// An id as people copy it: a UUID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Id(Uuid);

impl Id {
    /// As the services write it.
    pub(crate) fn bytes(&self) -> Bytes {
        Bytes::copy_from_slice(self.0.as_bytes())
    }
}

impl FromStr for Id {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let id = Uuid::parse_str(text);
        id.map(Self).map_err(|_| "ids look like 0b7c6a7e-55c1-5a0e-8f5e-3d2f6f1d2a10".to_owned())
    }
}

/// An id as people copy it; empty for none.
pub(crate) fn id_text(bytes: &[u8]) -> String {
    Uuid::from_slice(bytes).map(|u| u.to_string()).unwrap_or_default()
}

/// A time for a table, to the second.
pub(crate) fn time(us: i64) -> String {
    let at = Timestamp::from_micros(us / 1_000_000 * 1_000_000);
    at.to_string().replace('T', " ").replace('Z', "")
}

/// Reads a time as people type it: RFC 3339, or a date, which is its first moment in UTC.
///
/// # Errors
/// When it is neither.
pub(crate) fn moment(text: &str) -> Result<Timestamp, String> {
    let is_date = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    let whole = if is_date { format!("{text}T00:00:00Z") } else { text.to_owned() };
    Timestamp::parse_rfc3339(&whole)
        .map_err(|_| format!("'{text}' is no time; times look like 2026-03-01T09:30:00Z or 2026-03-01"))
}

/// The word for a value of an enum of the contracts: its name without `prefix`, in small letters.
pub(crate) fn word(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_lowercase()
}

/// Writes one line to standard output.
///
/// # Errors
/// When nobody reads it any more.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{text}").context("cannot write the results")
}

/// Writes rows under headings, columns aligned; for terminals.
///
/// # Errors
/// When nobody reads them any more.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> anyhow::Result<()> {
    let width = |s: &str| s.chars().count();
    let mut widths: Vec<usize> = headings.iter().map(|h| width(h)).collect();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            widths[column] = widths[column].max(width(cell));
        }
    }
    let aligned = |cells: Vec<&str>| {
        let mut text = String::new();
        for (column, cell) in cells.iter().enumerate() {
            text.push_str(cell);
            if column + 1 < cells.len() {
                text.push_str(&" ".repeat(widths[column] - width(cell) + 2));
            }
        }
        text
    };
    if headings.iter().any(|heading| !heading.is_empty()) {
        line(&aligned(headings.to_vec()))?;
    }
    for row in rows {
        line(&aligned(row.iter().map(String::as_str).collect()))?;
    }
    Ok(())
}

/// Writes a list as asked; `row` is used for tables.
///
/// # Errors
/// When an item cannot be written.
pub(crate) fn write<M: Message + Name>(
    format: Format,
    items: &[M],
    headings: &[&str],
    row: impl Fn(&M) -> Vec<String>,
) -> anyhow::Result<()> {
    match format {
        Format::Table if items.is_empty() => eprintln!("none"),
        Format::Table => table(headings, &items.iter().map(row).collect::<Vec<_>>())?,
        Format::Json => {
            let all: Vec<_> = items.iter().map(json::readable).collect();
            line(&serde_json::to_string_pretty(&all)?)?;
        }
        Format::Jsonl => {
            for item in items {
                line(&json::readable(item).to_string())?;
            }
        }
    }
    Ok(())
}

/// Writes the one thing there is as asked: for programs it is no list of one.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write_one<M: Message + Name>(
    format: Format,
    item: &M,
    headings: &[&str],
    row: impl Fn(&M) -> Vec<String>,
) -> anyhow::Result<()> {
    match format {
        Format::Json => line(&serde_json::to_string_pretty(&json::readable(item))?),
        Format::Table | Format::Jsonl => write(format, std::slice::from_ref(item), headings, row),
    }
}

/// Cuts at `chars` characters, with an ellipsis where something was cut.
pub(crate) fn cut(text: &str, chars: usize) -> String {
    let text = text.replace(['\n', '\t'], " ");
    if text.chars().count() <= chars {
        return text;
    }
    let mut short: String = text.chars().take(chars.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// A bar of `length` on a terminal; nothing in a pipe.
pub(crate) fn progress(length: u64) -> indicatif::ProgressBar {
    if std::io::stderr().is_terminal() {
        indicatif::ProgressBar::new(length)
    } else {
        indicatif::ProgressBar::hidden()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_checked_with_an_example() {
        assert!("x".parse::<Id>().unwrap_err().contains("ids look like"));
        let text = "07070707-0707-0707-0707-070707070707";
        assert_eq!(id_text(&text.parse::<Id>().unwrap().bytes()), text);
    }

    #[test]
    fn a_date_is_its_first_moment() {
        let at = |text: &str| moment(text).map(|at| at.to_string());
        assert_eq!(at("2026-03-01"), at("2026-03-01T00:00:00Z"));
        assert_eq!(at("2026-03-01T01:00:00+01:00"), at("2026-03-01"));
        for wrong in ["yesterday", "2026-13-01", "2026-3-1", ""] {
            assert!(at(wrong).unwrap_err().contains("times look like"), "{wrong}");
        }
    }
}
