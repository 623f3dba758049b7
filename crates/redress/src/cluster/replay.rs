//! `redress replay`: a recording, or a built-in story, into a running ingest.

use std::collections::BTreeMap;
use std::hash::{Hash as _, Hasher as _};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use contracts::ingest::v1::ingest_service_client::IngestServiceClient;
use indicatif::{ProgressBar, ProgressStyle};
use model::SourceKind;
use runtime::{Clock as _, RealClock, ScaledClock};
use serde::{Deserialize, Serialize};

use super::feed::{self, Pace, Parcel, Recording, Tally};
use super::wire::{self, Peer};
use crate::scenario::{self, Scenario};

/// Confirmed requests between two notes of how far a replay got.
const NOTE_EVERY: u64 = 20;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  redress replay tweets.jsonl --as x-v2 --to http://localhost:7701
  redress replay Tweets.csv --as csv --map tweet_id=id,airline=brand --to http://localhost:7701 --speed 600
  redress replay --scenario broken-guitar --to http://localhost:7701

A replay that was stopped goes on where it stopped; --again begins anew.")]
pub(crate) struct ReplayArgs {
    /// A recorded file; `-` is standard input
    #[arg(required_unless_present = "scenario", conflicts_with = "scenario", requires = "kind")]
    file: Option<PathBuf>,
    #[command(flatten)]
    shape: Shape,
    /// A built-in story instead of a file; it is told as if it ended now
    #[arg(long, value_enum)]
    scenario: Option<scenario::Name>,
    /// Where ingest listens
    #[arg(long, env = "REDRESS_INGEST_URL", default_value = "http://localhost:7701")]
    to: String,
    /// How many times as fast as it was recorded, or `max`
    #[arg(long, default_value = "max")]
    speed: Speed,
    /// Begin at the beginning, even if an earlier replay stopped in the middle
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    peer: Peer,
}

/// How a recording is to be read.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Shape {
    /// Its wire format, for example `x-v2`, `csv`, `bluesky-jetstream`
    #[arg(long = "as", value_name = "KIND")]
    kind: Option<SourceKind>,
    /// For `csv`: which column is which field, for example `tweet_id=id,airline=brand`
    #[arg(long, value_name = "COLUMN=FIELD,...", value_delimiter = ',')]
    map: Vec<String>,
    /// Host, page or app the recording is from
    #[arg(long, default_value = "")]
    instance: String,
}

impl Shape {
    /// The recording itself says whom each record is about.
    pub(crate) fn names_brands(&self) -> bool {
        self.map.iter().any(|pair| pair.split_once('=').is_some_and(|(_, field)| field.trim() == "brand"))
    }

    /// The recording at `path`, read like this.
    ///
    /// # Errors
    /// When no format is named or the map cannot be read.
    pub(crate) fn of(&self, path: &Path) -> anyhow::Result<Recording> {
        let Some(kind) = self.kind else { bail!("--as KIND is needed to read {}", path.display()) };
        let mut map = BTreeMap::new();
        for pair in &self.map {
            let Some((column, field)) = pair.split_once('=') else {
                bail!("--map: '{pair}' is not COLUMN=FIELD")
            };
            map.insert(column.trim().to_owned(), field.trim().to_owned());
        }
        Ok(Recording { path: path.to_owned(), kind, instance: self.instance.clone(), map })
    }
}

/// How fast time goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Speed {
    /// As fast as the machine.
    Max,
    /// Times real time.
    Times(f64),
}

impl std::str::FromStr for Speed {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        match text.parse::<f64>() {
            Ok(times) if times.is_finite() && times > 0.0 => Ok(Self::Times(times)),
            _ => Err("needs a number above 0, or 'max'".to_owned()),
        }
    }
}

/// How far a replay got: kept beside nothing of the user's, in the state directory.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Note {
    records: u64,
}

/// Runs `redress replay`.
///
/// # Errors
/// When the file cannot be read or ingest goes away.
pub(crate) async fn run(args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let client = IngestServiceClient::new(args.peer.link(&args.to)?);
    let tally = match (&args.file, args.scenario) {
        (Some(file), _) => replay_file(&args, file, client).await?,
        (None, Some(name)) => tell(&args, name, client).await?,
        (None, None) => bail!("a file or --scenario is needed"),
    };
    report(&tally);
    Ok(ExitCode::from(u8::from(tally.refused > 0)))
}

/// Says what became of everything.
pub(crate) fn report(tally: &Tally) {
    eprintln!(
        "{} records: {} new, {} repeats, {} about none of the brands, {} refused, {} without a mention",
        tally.records, tally.stored, tally.merged, tally.suppressed, tally.refused, tally.ignored
    );
}

type Client = IngestServiceClient<runtime::net::Link>;

async fn replay_file(args: &ReplayArgs, file: &Path, client: Client) -> anyhow::Result<Tally> {
    let recording = args.shape.of(file)?;
    let name = file.display().to_string();
    let note = Notebook::of(&recording, &args.to)?;
    let skip = if args.again { 0 } else { note.read() };
    if skip > 0 {
        eprintln!("{name}: going on after {skip} records; --again begins anew");
    }
    let bar = bytes_bar();
    let one_by_one = args.speed != Speed::Max;
    let mut parcels = feed::read(recording, one_by_one, skip, bar.clone());
    let pace = match args.speed {
        Speed::Max => Pace::Max,
        Speed::Times(times) => {
            // The clock begins with the first record.
            let Some(first) = parcels.recv().await else { return Ok(Tally::default()) };
            let first = first?;
            let clock = ScaledClock::starting_at(first.first_at, times);
            let (out, all) = tokio::sync::mpsc::channel(1);
            tokio::spawn(async move {
                if out.send(Ok(first)).await.is_err() {
                    return;
                }
                while let Some(next) = parcels.recv().await {
                    if out.send(next).await.is_err() {
                        return;
                    }
                }
            });
            parcels = all;
            Pace::Clock(Arc::new(clock))
        }
    };
    let keeping = note.clone();
    let sent = feed::send(client, &name, parcels, pace, move |_: &Parcel, tally: &Tally| {
        if tally.requests.is_multiple_of(NOTE_EVERY) {
            keeping.write(skip + tally.records);
        }
    })
    .await;
    bar.finish_and_clear();
    let tally = sent?;
    note.forget();
    Ok(tally)
}

async fn tell(args: &ReplayArgs, name: scenario::Name, client: Client) -> anyhow::Result<Tally> {
    let starts_at = RealClock.now().plus_millis(-name.span_ms());
    let story = Scenario::build(name, starts_at, scenario::SEED);
    let pace = match args.speed {
        Speed::Max => Pace::Max,
        Speed::Times(times) => Pace::Clock(Arc::new(ScaledClock::starting_at(story.starts_at, times))),
    };
    let bar = wire::progress(story.len() as u64);
    let moving = bar.clone();
    let sent = feed::send(client, "scenario", feed::tell(story.into_arrivals()), pace, move |_: &Parcel, tally: &Tally| {
        moving.set_position(tally.records)
    })
    .await;
    bar.finish_and_clear();
    sent
}

fn bytes_bar() -> ProgressBar {
    let bar = wire::progress(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {elapsed} ({eta} left)") {
        bar.set_style(style);
    }
    bar
}

/// Where the note of one recording and one receiver lies.
#[derive(Debug, Clone)]
struct Notebook(Option<PathBuf>);

impl Notebook {
    fn of(recording: &Recording, to: &str) -> anyhow::Result<Self> {
        if recording.path == Path::new("-") {
            return Ok(Self(None));
        }
        let path = &recording.path;
        let mut file =
            std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        // The beginning and the size tell one recording from another that took its name.
        let mut beginning = vec![0; 64 * 1024];
        let n = file.read(&mut beginning)?;
        let mut hasher = std::hash::DefaultHasher::new();
        (path.canonicalize()?, file.metadata()?.len(), &beginning[..n], recording.kind.name(), to)
            .hash(&mut hasher);
        let state = std::env::var_os("XDG_STATE_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state")));
        Ok(Self(state.map(|dir| dir.join("redress/replay").join(format!("{:016x}.json", hasher.finish())))))
    }

    fn read(&self) -> u64 {
        let text = self.0.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
        text.and_then(|t| serde_json::from_str::<Note>(&t).ok()).unwrap_or_default().records
    }

    /// A note that cannot be kept costs a repeat, which is recognised; the replay goes on.
    fn write(&self, records: u64) {
        let Some(path) = &self.0 else { return };
        let Ok(text) = serde_json::to_string(&Note { records }) else { return };
        let _ = path.parent().map(std::fs::create_dir_all);
        let partial = path.with_extension("tmp");
        let _ = std::fs::write(&partial, text).and_then(|()| std::fs::rename(&partial, path));
    }

    fn forget(&self) {
        if let Some(path) = &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_positive_numbers_or_max() {
        assert_eq!("max".parse(), Ok(Speed::Max));
        assert_eq!("2.5".parse(), Ok(Speed::Times(2.5)));
        for bad in ["0", "-1", "NaN", "inf", "fast"] {
            assert!(bad.parse::<Speed>().is_err(), "{bad}");
        }
    }
}
