//! `redress decode`: what the bytes of a source become.

use std::collections::BTreeMap;
use std::io::{BufWriter, ErrorKind, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use model::{SourceKind, TenantId, Timestamp, Transport};
use sources::brandmatch::Matcher;
use sources::{CsvMap, DecodeContext, Decoded, Location, StreamDecoder, to_json};

use crate::lines::{Input, Refusals, is_broken_pipe};

const EXAMPLES: &str = "\
Examples:
  redress decode --as bluesky-jetstream events.jsonl
  redress decode --as csv --map tweet_id=id,text=text,airline=brand Tweets.csv
  curl -s https://example.org/feed.xml | redress decode --as feed
  redress decode --as x-v2 --match 'united,\"virgin america\"' --summary pages/*.jsonl";

/// Arguments of `redress decode`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The wire format of the input
    #[arg(long = "as", value_name = "KIND", value_parser = parse_kind, hide_possible_values = true)]
    kind: SourceKind,
    /// Which column means what, for kind csv: `column=field,...`
    #[arg(long, value_name = "COLUMN=FIELD,...", value_parser = parse_map)]
    map: Option<CsvMap>,
    /// Keep only mentions with one of these words: `word,"two words"`
    #[arg(long = "match", value_name = "WORDS", value_parser = parse_match)]
    matcher: Option<Matcher>,
    /// The server, site, app or mailbox that the input comes from, where ids are unique only there
    #[arg(long, value_name = "NAME", default_value = "")]
    instance: String,
    /// The time of arrival (RFC 3339) instead of now; the same input then gives the same output
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    received_at: Option<Timestamp>,
    /// Count per file instead of writing events
    #[arg(long)]
    summary: bool,
    /// Files, each one body as received; `-` or none is standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

fn parse_kind(name: &str) -> Result<SourceKind, String> {
    name.parse().map_err(|e: model::Invalid| e.problem)
}

fn parse_map(text: &str) -> Result<CsvMap, String> {
    CsvMap::parse(text).map_err(|e| e.to_string())
}

fn parse_match(text: &str) -> Result<Matcher, String> {
    Matcher::parse(text).map_err(|e| e.to_string())
}

fn parse_time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text).map_err(|e| e.to_string())
}

/// Decodes each file and writes one event per line; names each refusal on standard error.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let tenant = TenantId::parse("local").context("cannot name the tenant")?;
    let ctx = DecodeContext {
        tenant: &tenant,
        connector: "",
        instance: &args.instance,
        transport: Transport::Backfill,
        received_at: args.received_at.unwrap_or_else(now),
        csv_map: args.map.as_ref(),
    };
    let files = if args.files.is_empty() { vec![PathBuf::from("-")] } else { args.files.clone() };
    let mut refusals = Refusals::default();
    let mut out = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    for file in &files {
        match one_file(file, &args, &ctx, &mut refusals, &mut out) {
            // Nobody reads any more, as in `| head`.
            Err(error) if is_broken_pipe(&error) => return Ok(refusals.exit_code()),
            other => other?,
        }
    }
    match out.flush() {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write the events"),
        _ => Ok(refusals.exit_code()),
    }
}

fn one_file(
    file: &std::path::Path,
    args: &Args,
    ctx: &DecodeContext<'_>,
    refusals: &mut Refusals,
    out: &mut impl Write,
) -> Result<()> {
    let mut input = Input::open(file)?;
    let mut decoder = StreamDecoder::new(args.kind);
    let mut counts = Counts::default();
    let live = std::io::stdout().is_terminal();
    let streamed = file == std::path::Path::new("-");
    loop {
        let decoded = match input.next_chunk()? {
            Some(chunk) => decoder.push(chunk, ctx),
            None => {
                let last = decoder.finish(ctx);
                hand_out(last, args, input.name(), refusals, &mut counts, out)?;
                break;
            }
        };
        hand_out(decoded, args, input.name(), refusals, &mut counts, out)?;
        if live || streamed {
            // The input may pause here: what was decoded should be seen meanwhile.
            out.flush()?;
        }
    }
    if args.summary {
        counts.write(input.name(), out)?;
    }
    Ok(())
}

fn hand_out(
    decoded: Decoded,
    args: &Args,
    name: &str,
    refusals: &mut Refusals,
    counts: &mut Counts,
    out: &mut impl Write,
) -> Result<()> {
    counts.records += decoded.records;
    for refusal in decoded.refusals {
        counts.add("refused", refusal.reason.label());
        match refusal.location {
            Location::Line(line) => refusals.line(name, line, refusal.reason),
            Location::Item { line, item } => {
                refusals.line(name, line, format_args!("item {item}: {}", refusal.reason));
            }
            Location::Offset(offset) => refusals.offset(offset, refusal.reason),
            Location::Whole => refusals.line(name, 1, refusal.reason),
        }
    }
    for ignored in decoded.ignored {
        counts.add("no mention", ignored.label);
    }
    for mut event in decoded.events {
        if let Some(matcher) = &args.matcher {
            // A withdrawal has no words to match: whoever kept the post must hear of it.
            if event.mention.is_some() && !matcher.concerns(&event) {
                counts.add("no mention", "no_match");
                continue;
            }
            matcher.apply(&mut event);
        }
        counts.add("event", event.op.name());
        if !args.summary {
            serde_json::to_writer(&mut *out, &to_json(&event)).map_err(std::io::Error::from)?;
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}

/// What a file held.
#[derive(Debug, Default)]
struct Counts {
    records: u64,
    by_label: BTreeMap<(&'static str, &'static str), u64>,
}

impl Counts {
    fn add(&mut self, group: &'static str, label: &'static str) {
        *self.by_label.entry((group, label)).or_default() += 1;
    }

    fn write(&self, name: &str, out: &mut impl Write) -> Result<()> {
        writeln!(out, "{name}: {} records", self.records)?;
        for ((group, label), count) in &self.by_label {
            writeln!(out, "  {count:>9}  {group}: {label}")?;
        }
        Ok(())
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    /// What `redress decode` writes for a file with `body`, and how many refusals it names.
    fn written(options: &str, body: &str) -> (Vec<String>, u64) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), body).unwrap();
        let args = Line::try_parse_from(["decode"].into_iter().chain(options.split(' '))).unwrap().args;
        let tenant = TenantId::parse("local").unwrap();
        let ctx = DecodeContext {
            tenant: &tenant,
            connector: "",
            instance: &args.instance,
            transport: Transport::Backfill,
            received_at: args.received_at.unwrap_or_default(),
            csv_map: args.map.as_ref(),
        };
        let (mut refusals, mut out) = (Refusals::default(), Vec::new());
        one_file(file.path(), &args, &ctx, &mut refusals, &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        (out.lines().map(str::to_owned).collect(), refusals.count())
    }

    #[test]
    fn one_event_per_line_and_refusals_beside() {
        let body = "{\"id\":1,\"text\":\"late\"}\nrubbish\n{\"id\":2,\"op\":\"deleted\"}\n";
        let (lines, refused) = written("--as ndjson --received-at 2026-01-01T00:00:00Z", body);
        assert_eq!((lines.len(), refused), (2, 1));
        let event = |i: usize| serde_json::from_str::<serde_json::Value>(&lines[i]).unwrap();
        assert_eq!(
            (&event(0)["text"], &event(0)["ingested_at"]),
            (&"late".into(), &"2026-01-01T00:00:00Z".into())
        );
        assert!(event(1).get("text").is_none());
    }

    #[test]
    fn match_keeps_what_it_names_and_every_withdrawal() {
        let body = "{\"id\":1,\"text\":\"Acme is late\"}\n{\"id\":2,\"text\":\"x\"}\n{\"id\":3,\"op\":\"deleted\"}\n";
        let (lines, refused) = written("--as ndjson --match acme,other", body);
        assert_eq!((lines.len(), refused), (2, 0));
        assert!(lines[0].contains("\"brands\":[\"acme\"]"));
    }

    #[test]
    fn summary_counts_instead_of_writing_events() {
        let (lines, _) = written("--as csv --map n=id,t=text --summary", "n,t\n1,a\n2,b\n");
        assert!(lines[0].ends_with(": 2 records") && lines[1].ends_with("2  event: created"), "{lines:?}");
    }

    #[test]
    fn wrong_kinds_and_maps_are_wrong_usage() {
        for options in
            ["--as blusky", "--as csv --map a", "--as csv --map a=nothing", "--as ndjson --match \"open"]
        {
            assert!(
                Line::try_parse_from(["decode"].into_iter().chain(options.split(' '))).is_err(),
                "{options}"
            );
        }
    }
}
