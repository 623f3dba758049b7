//! `redress backtest`: which pages, breaches and cases other rules would have made of what was heard.
//!
//! The verdicts of a log go on their own time through the very code of the alert and response services, on
//! databases that are thrown away. The log is only read; nobody is told anything.

mod entry;
mod history;
mod judged;
mod out;
mod run;
mod summary;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use bus::{EmbeddedLog, LogConfig, Reader, Topic};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use model::Timestamp;
use runtime::config;
use serde::{Deserialize, Serialize};

use self::entry::{Entry, Kind};
use self::history::{History, Refusal};
use self::judged::Judged;
use self::out::{Compared, Difference, End, Out, Subject};
use self::run::{Rules, Run};
use super::scratch::Scratch;
use super::wire::{self, Form};

/// Things kept per set of rules to be compared one by one.
const COMPARED_MAX: usize = 100_000;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  redress backtest --rules stricter.toml --data ~/.redress --from 2026-03-01 --to 2026-03-08
  redress backtest --rules stricter.toml --against redress.toml --config redress.toml --show pages
  redress backtest --rules redress.toml --data demo --format jsonl | jq 'select(.kind == \"page\")'

FILE is a settings file; its [alert], [response] and [[brands]] count. Everything that the log has from before
--from is heard too, so that the detectors know what is usual, but counts for nothing; --learn-from leaves out
what is older. Nothing is assumed of the time after the last record, and nobody acknowledges, silences or
promises anything: what is told is what the rules alone make. Times are RFC 3339 or a date (UTC); --from
is part of the time asked about, --to is not.")]
pub(crate) struct BacktestArgs {
    /// The rules to try: a settings file
    #[arg(long, value_name = "FILE")]
    rules: PathBuf,
    /// Compare with these rules: what is new (+), what is gone (-)
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// The folder of `redress dev --data`; it may be running
    #[arg(long, value_name = "DIR", required_unless_present = "config")]
    data: Option<PathBuf>,
    /// The settings file that says which log to read ([bus])
    #[arg(long, env = "REDRESS_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The first moment that counts; the beginning of the log when nothing is said
    #[arg(long, value_name = "TIME", value_parser = wire::moment)]
    from: Option<Timestamp>,
    /// The first moment that counts no more; the end of the log when nothing is said
    #[arg(long, value_name = "TIME", value_parser = wire::moment)]
    to: Option<Timestamp>,
    /// Learn what is usual only from here on
    #[arg(long, value_name = "TIME", value_parser = wire::moment)]
    learn_from: Option<Timestamp>,
    /// What to list: pages, breaches, cases; or none, for the summary alone
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Show::Pages, Show::Breaches, Show::Cases])]
    show: Vec<Show>,
    #[command(flatten)]
    form: Form,
}

/// What to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Show {
    Pages,
    Breaches,
    Cases,
    /// Only the summary.
    None,
}

impl Show {
    const fn kind(self) -> Option<Kind> {
        match self {
            Self::Pages => Some(Kind::Page),
            Self::Breaches => Some(Kind::Breach),
            Self::Cases => Some(Kind::Case),
            Self::None => None,
        }
    }
}

/// The part of a settings file that says which log.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LogFile {
    bus: LogConfig,
}

/// Runs `redress backtest`.
///
/// # Errors
/// When the rules are no good or the log cannot be read.
pub(crate) async fn run(args: BacktestArgs) -> anyhow::Result<ExitCode> {
    let bar = bar();
    let stdout = std::io::BufWriter::new(std::io::stdout());
    let tried = tokio::select! {
        tried = try_rules(&args, stdout, bar.clone()) => tried,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    bar.finish_and_clear();
    Ok(ExitCode::from(u8::from(tried? > 0)))
}

/// Tries the rules and writes what they make; how many records could not be read.
async fn try_rules(args: &BacktestArgs, to: impl Write, bar: ProgressBar) -> anyhow::Result<u64> {
    if let (Some(from), Some(to)) = (args.from, args.to)
        && from >= to
    {
        bail!("--from has to be before --to");
    }
    let reader = open_log(args)?;
    let partitions = reader.partitions(Topic::Tallies).await.unwrap_or(1);
    let scratch = Scratch::new("backtest")?;
    let from = args.from.unwrap_or(Timestamp::MIN);
    let new = async |name, path: &Path| {
        let rules: Rules = config::load(Some(path), &[])?;
        let run = Run::new(name, rules, from, partitions, &scratch).await;
        run.with_context(|| format!("{}", path.display()))
    };
    let mut first = new("rules", &args.rules).await?;
    let mut second = match &args.against {
        Some(path) => Some(new("against", path).await?),
        None => None,
    };
    let judged = Judged::read(&*reader).await.context("reading what people said")?;
    let show = args.show.iter().filter_map(|show| show.kind()).collect();
    let mut out = Out::new(to, args.form.format(), show, bar.clone());

    let mut refused = 0;
    let mut name = |refusal: Refusal| {
        refused += 1;
        let Refusal { partition, offset, reason } = refusal;
        bar.suspend(|| eprintln!("{}/{} offset {offset}: {reason}", partition.topic, partition.number));
    };
    let mut heard = Heard::default();
    let mut kept = Kept::default();
    let mut history = History::open(reader, args.learn_from.unwrap_or(Timestamp::MIN)).await?;
    bar.set_length(history.total);
    loop {
        let step = history.next(&mut name).await?;
        bar.set_position(history.read);
        // Of the time after the last record nobody knows anything; of that before a later one, that it was calm.
        let calm_until = args.to.filter(|to| step.as_ref().is_some_and(|step| step.at >= *to));
        let Some(step) = step.filter(|_| calm_until.is_none()) else {
            if let Some(to) = calm_until {
                let last = to.plus_millis(-1);
                for entry in first.pass(last, &judged).await? {
                    hand_over(entry, second.is_some(), &mut kept, &mut out)?;
                }
                if let Some(second) = &mut second {
                    second.pass(last, &judged).await?.into_iter().for_each(|entry| kept.keep(entry, false));
                }
            }
            break;
        };
        bar.set_message(wire::time(step.at.as_micros()));
        heard.step(&step, from);
        for entry in first.hear(&step, &judged).await? {
            hand_over(entry, second.is_some(), &mut kept, &mut out)?;
        }
        if let Some(second) = &mut second {
            second.hear(&step, &judged).await?.into_iter().for_each(|entry| kept.keep(entry, false));
        }
    }
    let (began, ended) = (heard.began.unwrap_or(from), heard.ended.unwrap_or(from));
    first.summary.finish(began, ended, &judged, &first.paged);
    let compared = match second {
        None => None,
        Some(mut second) => {
            second.summary.finish(began, ended, &judged, &second.paged);
            Some(kept.compare(&first, second, &mut out)?)
        }
    };
    let shown = |path: &Path| path.display().to_string();
    let subject = Subject {
        rules: shown(&args.rules),
        against: args.against.as_deref().map(shown),
        from: heard.began.map(|at| at.to_string()),
        to: heard.ended.map(|at| at.to_string()),
        records: heard.records,
        refused,
    };
    out.end(&End { subject, summary: first.summary, compared })?;
    Ok(refused)
}

/// What the rules made is written at once, or kept until it can be compared.
fn hand_over<W: Write>(
    entry: Entry,
    is_compared: bool,
    kept: &mut Kept,
    out: &mut Out<W>,
) -> anyhow::Result<()> {
    if is_compared {
        kept.keep(entry, true);
        return Ok(());
    }
    out.entry(&entry)
}

/// The log, for reading only.
fn open_log(args: &BacktestArgs) -> anyhow::Result<Arc<dyn Reader>> {
    if let Some(dir) = &args.data {
        return Ok(EmbeddedLog::look(&dir.join("log.db"))?);
    }
    let file: LogFile = config::load(args.config.as_deref(), &[])?;
    file.bus.check()?;
    match &file.bus.embedded {
        Some(path) => Ok(EmbeddedLog::look(path)?),
        None => Ok(file.bus.open("redress-backtest")?.reader()?),
    }
}

/// What was heard.
#[derive(Debug, Default)]
struct Heard {
    records: u64,
    /// First and last record that count.
    began: Option<Timestamp>,
    ended: Option<Timestamp>,
}

impl Heard {
    fn step(&mut self, step: &history::Step, from: Timestamp) {
        self.records += (step.verdicts.len() + step.erasures.len()) as u64;
        if step.at >= from {
            self.began.get_or_insert(step.at);
            self.ended = Some(step.at);
        }
    }
}

/// What two sets of rules made, for comparing.
#[derive(Debug, Default)]
struct Kept {
    first: Vec<Entry>,
    second: Vec<Entry>,
    is_cut: bool,
}

impl Kept {
    fn keep(&mut self, entry: Entry, is_first: bool) {
        let all = if is_first { &mut self.first } else { &mut self.second };
        if all.len() < COMPARED_MAX {
            all.push(entry);
        } else {
            self.is_cut = true;
        }
    }

    /// Writes both lists as one, in order of time, each entry marked by whose it is; pages of one matter count as
    /// the same, though rules may notice it at different times.
    fn compare<W: Write>(self, first: &Run, second: Run, out: &mut Out<W>) -> anyhow::Result<Compared> {
        let keys = |entries: &[Entry]| entries.iter().map(Entry::key).collect::<BTreeSet<_>>();
        let (of_first, of_second) = (keys(&self.first), keys(&self.second));
        let is_both = |entry: &Entry, own: &Run, other: &Run, others: &BTreeSet<_>| match entry.kind {
            // Other rules notice the same matter at another time.
            Kind::Page => {
                let episode = own.paged.episode_of(entry);
                episode.is_some_and(|span| other.paged.knows(&entry.rule, span))
            }
            Kind::Breach | Kind::Case => others.contains(&entry.key()),
        };
        let mut differences: BTreeMap<Kind, Difference> = BTreeMap::new();
        let mut all = Vec::with_capacity(self.first.len() + self.second.len());
        for mut entry in self.first {
            let is_both = is_both(&entry, first, &second, &of_second);
            let difference = differences.entry(entry.kind).or_default();
            if is_both {
                difference.both += 1
            } else {
                difference.new += 1
            }
            entry.under = Some(if is_both { "both" } else { "rules" });
            all.push(entry);
        }
        for mut entry in self.second {
            // What is under both is told once.
            if !is_both(&entry, &second, first, &of_first) {
                differences.entry(entry.kind).or_default().gone += 1;
                entry.under = Some("against");
                all.push(entry);
            }
        }
        all.sort_by_key(|entry| entry.at);
        for entry in &all {
            out.entry(entry)?;
        }
        let mut of = |kind| differences.remove(&kind).unwrap_or_default();
        Ok(Compared {
            against: second.summary,
            pages: of(Kind::Page),
            breaches: of(Kind::Breach),
            cases: of(Kind::Case),
            is_cut: self.is_cut,
        })
    }
}

fn bar() -> ProgressBar {
    let bar = wire::progress(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} records {msg} ({eta} left)") {
        bar.set_style(style);
    }
    bar
}
