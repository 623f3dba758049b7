//! `redress dev`: the whole system in one process, on the embedded log and SQLite, with no server to install.
//!
//! It starts the very services that run in a cluster, gives them a clock that goes as fast as the story, and
//! plays the part of the world: a recording, a live source, or a built-in scenario.

mod people;
mod progress;
mod system;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use contracts::ingest::v1::ingest_service_client::IngestServiceClient;
use model::{BrandId, SourceKind, Timestamp};
use runtime::brands::Brand;
use runtime::{Clock, EventClock, RealClock, ScaledClock, config};
use serde::Deserialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use self::progress::{Driven, Follower};
use self::system::{Setup, System};
use super::feed::{self, Pace, Parcel, Tally, Watcher as _};
use super::replay::{self, Note, Notebook, Shape, Speed};
use crate::scenario::{self, Scenario};

/// A story takes this long when nobody says otherwise.
const STORY: Duration = Duration::from_secs(120);

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  redress dev --scenario broken-guitar
  redress dev --replay Tweets.csv --as csv --map tweet_id=id,name=author,tweet_created=created_at,airline=brand
  redress dev --replay events.jsonl --as bluesky-jetstream --match 'acme,\"acme air\"' --speed max --exit-when-done
  redress dev --source bluesky-jetstream --match 'lufthansa,\"british airways\"'
  redress dev --replay events.jsonl --as ndjson --config redress.toml --data state

With --data, a recording that was interrupted goes on where it stopped.")]
pub(crate) struct DevArgs {
    /// Keep everything in this folder; without it everything is gone at the end
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Brands, and how alert and response behave: a settings file as the services read it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the console is shown
    #[arg(long, default_value = "127.0.0.1:7700")]
    listen: SocketAddr,
    /// A recorded file to hear; `-` is standard input
    #[arg(long, value_name = "FILE", requires = "kind", conflicts_with_all = ["source", "scenario"])]
    replay: Option<PathBuf>,
    #[command(flatten)]
    shape: Shape,
    /// A live source to hear
    #[arg(long, value_name = "KIND", requires = "words", conflicts_with = "scenario")]
    source: Option<SourceKind>,
    /// Where the live source is, if not at its usual address
    #[arg(long, value_name = "URL", requires = "source")]
    source_url: Option<String>,
    /// Words and "phrases" to listen for
    #[arg(long = "match", id = "words", value_name = "WORDS")]
    words: Option<String>,
    /// A built-in story
    #[arg(long, value_enum, value_name = "NAME")]
    scenario: Option<scenario::Name>,
    /// How many times as fast as it happened, or `max`; a story takes two minutes when nothing is said
    #[arg(long)]
    speed: Option<Speed>,
    /// Another seed tells another course of the same story
    #[arg(long, default_value_t = scenario::SEED)]
    seed: u64,
    /// Stop when everything has been heard and worked through
    #[arg(long)]
    exit_when_done: bool,
}

/// What `dev` reads of a settings file; what it decides itself (addresses, log, database) is left out.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    brands: Vec<Brand>,
    alert: alert::Config,
    response: response::Config,
}

/// Where what is heard comes from.
enum World {
    Story(Box<Scenario>),
    Recording(feed::Recording),
    Live { kind: SourceKind, url: Option<String> },
    Nothing,
}

/// Runs `redress dev`.
///
/// # Errors
/// When the system cannot be started or breaks.
pub(crate) async fn run(args: DevArgs) -> anyhow::Result<ExitCode> {
    let file = match &args.config {
        Some(path) => config::load(Some(path), &[])?,
        None => File::default(),
    };
    let (world, told) = world(&args)?;
    let brands = if told.is_empty() { file.brands } else { told };
    let notebook = match (&world, &args.data) {
        (World::Recording(recording), Some(folder)) => Notebook::in_folder(folder, recording, "dev")?,
        _ => Notebook::default(),
    };
    let (clock, event_clock) = clock(&world, &args, notebook.read()).await?;
    let live = match &world {
        World::Live { kind, url } => Some((*kind, url.clone())),
        _ => None,
    };
    let names_brands = !brands.is_empty() || args.shape.names_brands();
    let setup = Setup {
        data: args.data.clone(),
        listen: args.listen,
        brands,
        alert: file.alert,
        response: file.response,
        names_brands,
        clock: clock.clone(),
        is_driven_by_events: event_clock.is_some(),
        live,
    };
    let system = System::start(setup).await?;
    println!("Redress is running. The console: http://{}", system.console);
    println!("gRPC: {}", system.addresses());
    let mut follower = Follower::start(&system, clock.clone());

    let began = Instant::now();
    let feeding = feed_world(world, &args, &system, event_clock, notebook, &mut follower);
    let hearing = async {
        let tally = feeding.await?;
        let ended = system.settled().await?;
        anyhow::Ok((tally, ended.duration_since(began)))
    };
    let outcome = tokio::select! {
        heard = hearing => Some(heard?),
        () = interrupted() => None,
        broken = system.broken() => return Err(broken),
    };
    let mut code = ExitCode::SUCCESS;
    if let Some((tally, took)) = outcome {
        follower.everything_heard(tally.as_ref(), took);
        code = ExitCode::from(u8::from(tally.as_ref().is_some_and(|t| t.refused > 0)));
        if !args.exit_when_done {
            follower.note(&format!("The page stays up at http://{} until Ctrl-C.", system.console));
            tokio::select! {
                () = interrupted() => {}
                broken = system.broken() => return Err(broken),
            }
        }
    }
    follower.stop();
    system.stop().await?;
    Ok(code)
}

/// Somebody wants an end: Ctrl-C, or a polite kill.
async fn interrupted() {
    let mut terminated = match signal(SignalKind::terminate()) {
        Ok(terminated) => terminated,
        Err(_) => return std::future::pending().await,
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
}

/// What is to be heard, and about whom.
fn world(args: &DevArgs) -> anyhow::Result<(World, Vec<Brand>)> {
    if let Some(name) = args.scenario {
        // Six in the morning of a Monday; every run tells the same day.
        let story = Scenario::build(name, Timestamp::from_seconds(1_772_431_200), args.seed);
        let brands = story.brands.iter().map(told).collect();
        return Ok((World::Story(Box::new(story)), brands));
    }
    let brands = args.words.as_deref().map(listened).transpose()?.into_iter().collect();
    if let Some(path) = &args.replay {
        return Ok((World::Recording(args.shape.of(path)?), brands));
    }
    if let Some(kind) = args.source {
        if kind != SourceKind::BlueskyJetstream {
            bail!("--source {kind}: only bluesky-jetstream can be heard without credentials");
        }
        return Ok((World::Live { kind, url: args.source_url.clone() }, brands));
    }
    Ok((World::Nothing, brands))
}

fn told(brand: &scenario::Brand) -> Brand {
    Brand {
        id: brand.id.to_string(),
        words: vec![format!("\"{}\"", brand.name)],
        handles: vec![brand.handle.to_owned()],
        accounts: brand.accounts.clone(),
        time_zone: "Europe/Berlin".to_owned(),
    }
}

/// One brand made of the words given, named after the first.
fn listened(words: &str) -> anyhow::Result<Brand> {
    let words = sources::brandmatch::parse_words(words).map_err(|e| anyhow::anyhow!("--match: {e}"))?;
    let Some(first) = words.first() else { bail!("--match: needs a word") };
    let id = BrandId::slugify(first.trim_matches('"'));
    Ok(Brand { id: id.to_string(), words, ..Brand::default() })
}

/// The clock of this run; the second form is the same clock where events drive it.
async fn clock(
    world: &World,
    args: &DevArgs,
    so_far: Note,
) -> anyhow::Result<(Arc<dyn Clock>, Option<Arc<EventClock>>)> {
    let driven = |at| {
        let clock = Arc::new(EventClock::starting_at(at));
        (clock.clone() as Arc<dyn Clock>, Some(clock))
    };
    Ok(match (world, args.speed) {
        (World::Story(story), Some(Speed::Max)) => driven(story.starts_at),
        (World::Story(story), speed) => {
            let span_s = story.ends_at.millis_since(story.starts_at) as f64 / 1_000.0;
            let times = match speed {
                Some(Speed::Times(times)) => times,
                _ => span_s / STORY.as_secs_f64(),
            };
            (Arc::new(ScaledClock::starting_at(story.starts_at, times)), None)
        }
        (World::Recording(recording), speed) => {
            let starts_at = match so_far.clock_us {
                Some(at_us) => Timestamp::from_micros(at_us),
                None => {
                    feed::first_at(recording.clone()).await.context("cannot see when the recording begins")?
                }
            };
            match speed {
                Some(Speed::Times(times)) => (Arc::new(ScaledClock::starting_at(starts_at, times)), None),
                _ => driven(starts_at),
            }
        }
        (World::Live { .. } | World::Nothing, _) => (Arc::new(RealClock), None),
    })
}

async fn feed_world(
    world: World,
    args: &DevArgs,
    system: &System,
    event_clock: Option<Arc<EventClock>>,
    notebook: Notebook,
    follower: &mut Follower,
) -> anyhow::Result<Option<Tally>> {
    let clock = system.clock.clone();
    let client = IngestServiceClient::new(system.ingest_link()?);
    let driven = event_clock.map(Driven::new);
    let pace = match &driven {
        Some(driven) => Pace::Room(driven.room.clone()),
        None => Pace::Clock(clock.clone()),
    };
    match world {
        World::Story(story) => {
            people::play(&story, system)?;
            follower.expect(story.len() as u64);
            let watcher = follower.watcher(driven);
            feed::send(client, "scenario", feed::tell(story.into_arrivals()), pace, watcher).await.map(Some)
        }
        World::Recording(recording) => {
            let name = recording.path.display().to_string();
            let one_by_one = matches!(pace, Pace::Clock(_));
            let before = notebook.read().records;
            if before > 0 {
                follower.note(&format!("{name}: going on after {before} records"));
                // What was heard before the interruption is worked through before time goes on.
                system.settled().await?;
            }
            let parcels = feed::read(recording, one_by_one, before, follower.bar());
            let mut watcher = follower.watcher(driven);
            let noting = move |parcel: &Parcel, tally: &Tally| {
                watcher.confirmed(parcel, tally);
                let clock_us = Some(clock.now().as_micros());
                notebook.write(Note { records: before + tally.records, clock_us });
            };
            let tally = feed::send(client, &name, parcels, pace, noting).await?;
            replay::report(&tally);
            Ok(Some(tally))
        }
        World::Live { .. } | World::Nothing => {
            if args.exit_when_done {
                bail!("--exit-when-done needs something that ends: --replay or --scenario");
            }
            std::future::pending().await
        }
    }
}
