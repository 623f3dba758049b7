//! `redress replay`: a recording, or a built-in story, into a running ingest.

use std::collections::BTreeMap;
use std::hash::{Hash as _, Hasher as _};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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

/// How far a replay got.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Note {
    /// Records confirmed, in the order of the replay.
    pub(crate) records: u64,
    /// What the clock showed, where the replay drives one.
    #[serde(default)]
    pub(crate) clock_us: Option<i64>,
}

/// Runs `redress replay`.
///
/// # Errors
/// When the file cannot be read or ingest goes away.
pub(crate) async fn run(args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let client = IngestServiceClient::new(args.peer.link(&args.to)?);
    let tally = match (&args.file, args.scenario) {
        (Some(file), _) => replay_file(&args, file, client, state_dir()).await?,
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

/// Where notes are kept, as other programs do; nowhere when nobody says where home is.
fn state_dir() -> Option<PathBuf> {
    std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state")))
}

async fn replay_file(
    args: &ReplayArgs,
    file: &Path,
    client: Client,
    state: Option<PathBuf>,
) -> anyhow::Result<Tally> {
    let recording = args.shape.of(file)?;
    let name = file.display().to_string();
    let note = Notebook::of(&recording, &args.to, state)?;
    let skip = if args.again { 0 } else { note.read().records };
    if skip > 0 {
        eprintln!("{name}: going on after {skip} records; --again begins anew");
    }
    let bar = bytes_bar();
    let one_by_one = args.speed != Speed::Max;
    let parcels = feed::read(recording, one_by_one, skip, bar.clone());
    let pace = match args.speed {
        Speed::Max => Pace::Max,
        Speed::Times(times) => {
            // The clock begins with the first record that is sent.
            Pace::FromTheFirst(times)
        }
    };
    let keeping = note.clone();
    let confirmed = Arc::new(AtomicU64::new(skip));
    let last = confirmed.clone();
    let sending = feed::send(client, &name, parcels, pace, move |_: &Parcel, tally: &Tally| {
        last.store(skip + tally.records, Ordering::Relaxed);
        if tally.requests.is_multiple_of(NOTE_EVERY) {
            keeping.write(Note { records: skip + tally.records, clock_us: None });
        }
    });
    let sent = tokio::select! {
        sent = sending => sent,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    bar.finish_and_clear();
    match sent {
        Ok(tally) => {
            note.forget();
            Ok(tally)
        }
        Err(error) => {
            // The next run goes on exactly here.
            note.write(Note { records: confirmed.load(Ordering::Relaxed), clock_us: None });
            Err(error.context(format!("stopped after {} records", confirmed.load(Ordering::Relaxed))))
        }
    }
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
    let sent = feed::send(
        client,
        "scenario",
        feed::tell(story.into_arrivals()),
        pace,
        move |_: &Parcel, tally: &Tally| moving.set_position(tally.records),
    )
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

/// Where the note of one recording and one receiver lies; nowhere for what cannot be read again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notebook(Option<PathBuf>);

impl Notebook {
    /// Beside nothing of the user's, in the state directory.
    fn of(recording: &Recording, to: &str, state: Option<PathBuf>) -> anyhow::Result<Self> {
        match state {
            Some(dir) => Self::in_folder(&dir.join("redress/replay"), recording, to),
            None => Ok(Self(None)),
        }
    }

    /// In `folder`.
    ///
    /// # Errors
    /// When the recording cannot be read.
    pub(crate) fn in_folder(folder: &Path, recording: &Recording, to: &str) -> anyhow::Result<Self> {
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
        Ok(Self(Some(folder.join(format!("{:016x}.json", hasher.finish())))))
    }

    /// The note; of a beginning when there is none.
    pub(crate) fn read(&self) -> Note {
        let text = self.0.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
        text.and_then(|t| serde_json::from_str(&t).ok()).unwrap_or_default()
    }

    /// A note that cannot be kept costs a repeat, which is recognised; the replay goes on.
    pub(crate) fn write(&self, note: Note) {
        let Some(path) = &self.0 else { return };
        let Ok(text) = serde_json::to_string(&note) else { return };
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
    use std::sync::Mutex;

    use clap::Parser;
    use contracts::ingest::v1 as wire;
    use contracts::ingest::v1::ingest_service_server::{IngestService, IngestServiceServer};
    use futures::stream::BoxStream;
    use futures::{StreamExt as _, TryStreamExt as _};
    use runtime::{Net, Shutdown};
    use tonic::{Request, Response, Status, Streaming};

    use super::*;

    /// An ingest that remembers the lines it was sent, and goes away after so many requests.
    #[derive(Clone, Default)]
    struct Fake {
        lines: Arc<Mutex<Vec<String>>>,
        requests_left: Arc<Mutex<Option<usize>>>,
    }

    #[tonic::async_trait]
    impl IngestService for Fake {
        type PublishStreamStream = BoxStream<'static, Result<wire::PublishResponse, Status>>;

        async fn publish(
            &self,
            _: Request<wire::PublishRequest>,
        ) -> Result<Response<wire::PublishResponse>, Status> {
            Err(Status::unimplemented("a replay streams"))
        }

        async fn publish_stream(
            &self,
            request: Request<Streaming<wire::PublishRequest>>,
        ) -> Result<Response<Self::PublishStreamStream>, Status> {
            let fake = self.clone();
            let answers = request.into_inner().and_then(move |request| {
                let fake = fake.clone();
                async move { fake.take(&request) }
            });
            Ok(Response::new(answers.boxed()))
        }

        async fn list_coverage(
            &self,
            _: Request<wire::ListCoverageRequest>,
        ) -> Result<Response<wire::ListCoverageResponse>, Status> {
            Err(Status::unimplemented("nobody asks"))
        }
    }

    impl Fake {
        fn take(&self, request: &wire::PublishRequest) -> Result<wire::PublishResponse, Status> {
            match &mut *self.requests_left.lock().unwrap() {
                Some(0) => return Err(Status::unavailable("gone")),
                Some(left) => *left -= 1,
                None => {}
            }
            let body = String::from_utf8(request.body.to_vec()).unwrap();
            let lines: Vec<String> = body.lines().map(str::to_owned).collect();
            let stored = || wire::ItemOutcome {
                disposition: wire::Disposition::Stored.into(),
                ..wire::ItemOutcome::default()
            };
            let items = lines.iter().map(|_| stored()).collect();
            self.lines.lock().unwrap().extend(lines);
            Ok(wire::PublishResponse { items, ..wire::PublishResponse::default() })
        }

        async fn start(&self) -> String {
            let net = Net::default();
            let listener = net.bind(([127, 0, 0, 1], 0).into()).await.unwrap();
            let address = listener.local_addr().unwrap();
            let mut routes = runtime::net::routes();
            routes.add_service(IngestServiceServer::new(self.clone()));
            tokio::spawn(async move {
                net.serve_grpc(listener, routes, contracts::DESCRIPTOR_SET, &Shutdown::immediate()).await
            });
            format!("http://{address}")
        }
    }

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: ReplayArgs,
    }

    async fn replayed(file: &Path, to: &str, state: &Path) -> anyhow::Result<Tally> {
        let words = ["replay", file.to_str().unwrap(), "--as", "ndjson", "--to", to];
        let args = Line::try_parse_from(words).unwrap().args;
        let client = IngestServiceClient::new(args.peer.link(to)?);
        replay_file(&args, file, client, Some(state.to_owned())).await
    }

    #[tokio::test]
    async fn a_replay_that_was_stopped_goes_on_exactly_where_it_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("posts.jsonl");
        let line = |n: usize| format!("{{\"id\":{n},\"text\":\"acme is late\"}}");
        let lines: Vec<String> = (0..1_300).map(line).collect();
        std::fs::write(&file, lines.join("\n")).unwrap();
        let fake = Fake::default();
        let to = fake.start().await;

        *fake.requests_left.lock().unwrap() = Some(1);
        let error = replayed(&file, &to, dir.path()).await.unwrap_err();
        let confirmed = fake.lines.lock().unwrap().len();
        assert!(format!("{error:#}").contains(&format!("stopped after {confirmed} records")), "{error:#}");
        assert!(0 < confirmed && confirmed < lines.len());

        *fake.requests_left.lock().unwrap() = None;
        let tally = replayed(&file, &to, dir.path()).await.unwrap();
        assert_eq!(tally.records as usize, lines.len() - confirmed);
        assert!(*fake.lines.lock().unwrap() == lines, "each record once, in order");

        let again = replayed(&file, &to, dir.path()).await.unwrap();
        assert_eq!(again.records as usize, lines.len(), "what was finished begins anew");
    }

    #[tokio::test]
    async fn a_piece_that_is_no_record_is_refused_and_the_rest_is_sent() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("posts.jsonl");
        let long = "x".repeat(9 << 20);
        std::fs::write(&file, format!("{{\"id\":1,\"text\":\"a\"}}\n{long}\n{{\"id\":2,\"text\":\"b\"}}\n"))
            .unwrap();
        let fake = Fake::default();
        let to = fake.start().await;
        let tally = replayed(&file, &to, dir.path()).await.unwrap();
        assert_eq!((tally.records, tally.stored, tally.refused), (3, 2, 1));
    }

    #[tokio::test]
    async fn the_first_moment_of_a_recording_out_of_order_is_its_earliest() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("posts.jsonl");
        let line = |hour: u32| {
            format!("{{\"id\":{hour},\"text\":\"a\",\"created_at\":\"2026-01-01T{hour:02}:00:00Z\"}}\n")
        };
        let recording = Recording {
            path: file.clone(),
            kind: SourceKind::Ndjson,
            instance: String::new(),
            map: BTreeMap::new(),
        };
        for (hours, first) in [(vec![5, 3, 9, 1, 7], 1), (vec![2, 3, 4], 2)] {
            std::fs::write(&file, hours.into_iter().map(line).collect::<String>()).unwrap();
            let at = feed::first_at(recording.clone()).await.unwrap();
            assert_eq!(at.to_string(), format!("2026-01-01T{first:02}:00:00Z"));
        }
    }

    #[test]
    fn speeds_are_positive_numbers_or_max() {
        assert_eq!("max".parse(), Ok(Speed::Max));
        assert_eq!("2.5".parse(), Ok(Speed::Times(2.5)));
        for bad in ["0", "-1", "NaN", "inf", "fast"] {
            assert!(bad.parse::<Speed>().is_err(), "{bad}");
        }
    }
}
