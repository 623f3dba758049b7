//! `redress bench classify` and `redress bench detect`: the pure crates alone, one thread, no input or output.

use std::hint::black_box;
use std::process::ExitCode;

use clap::Args;
use detect::simulate::{three_sigma_step, zipf_tallies};
use detect::{Context, DetectPolicy, SubjectState, observe};
use model::{TenantId, Timestamp, Transport};
use nlp::{Hint, Model, Scratch};
use serde::Serialize;
use sources::DecodeContext;
use xxhash_rust::xxh3::xxh3_64;

use super::super::wire::{self, Form};
use super::load;
use super::measure::{self, Stopwatch, median, resident_bytes, thousands};

/// Subjects touched ahead: tallies arrive in batches.
const BATCH: usize = 64;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  redress bench classify
  redress bench classify --texts 100000 --rounds 7 --format json")]
pub(crate) struct ClassifyArgs {
    /// Made-up posts understood in each round
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=5_000_000))]
    texts: u32,
    /// Rounds; the medians are told
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    #[command(flatten)]
    form: Form,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  redress bench detect
  redress bench detect --subjects 100000 --tallies 2000000")]
pub(crate) struct DetectArgs {
    /// Subjects whose states are held; how often each is heard of follows Zipf's law
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=20_000_000))]
    subjects: u32,
    /// Tallies taken in in each round
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=50_000_000))]
    tallies: u32,
    /// Rounds; the medians are told
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    #[command(flatten)]
    form: Form,
}

/// One contestant's figures.
#[derive(Debug, Clone, Copy, Serialize)]
struct Figures {
    per_second: f64,
    cpu_us_each: f64,
}

/// Runs both in turn, so that a machine that drifts drifts for both.
fn duel(rounds: u32, items: usize, mut ours: impl FnMut(), mut plain: impl FnMut()) -> (Figures, Figures) {
    let progress = wire::progress(u64::from(rounds));
    let mut times: [Vec<(f64, f64)>; 2] = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        let contestants: [&mut dyn FnMut(); 2] = [&mut ours, &mut plain];
        for (contestant, times) in contestants.into_iter().zip(&mut times) {
            let watch = Stopwatch::start();
            contestant();
            times.push((watch.wall().as_secs_f64(), watch.cpu_s()));
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    let [ours, plain] = times.map(|times| {
        let wall = median(times.iter().map(|(wall, _)| *wall).collect()).max(f64::EPSILON);
        // A round may be shorter than the kernel counts; all together are not.
        let cpu = times.iter().map(|(_, cpu)| cpu).sum::<f64>() / f64::from(rounds);
        Figures { per_second: (items as f64 / wall).round(), cpu_us_each: cpu * 1e6 / items as f64 }
    });
    (ours, plain)
}

fn row(name: &str, figures: Figures) -> Vec<String> {
    vec![name.to_owned(), thousands(figures.per_second), format!("{:.3}", figures.cpu_us_each)]
}

#[derive(Debug, Serialize)]
struct Understanding {
    texts: usize,
    bytes_per_text: f64,
    model: String,
    understand: Figures,
    explain: Figures,
    hash: Figures,
}

/// Runs `redress bench classify`.
///
/// # Errors
/// When the figures cannot be written.
pub(super) fn classify(args: &ClassifyArgs) -> anyhow::Result<ExitCode> {
    let texts = texts(args.texts as usize);
    let model = Model::shipped();
    let mut scratch = Scratch::default();
    let hashing = || {
        black_box(texts.iter().fold(0, |sum, text| sum ^ xxh3_64(black_box(text).as_bytes())));
    };
    let understanding = || {
        let complaint = |text| model.understand(&mut scratch, text, Hint::default()).complaint;
        black_box(texts.iter().map(|text| black_box(text.as_str())).map(complaint).sum::<f32>());
    };
    let (understand, hash) = duel(args.rounds, texts.len(), understanding, hashing);
    let mut scratch = Scratch::default();
    let explaining = || {
        let mut reasons = 0;
        for text in &texts {
            let found = model.understand(&mut scratch, black_box(text), Hint::default());
            reasons += model.explain(&mut scratch, text, Hint::default(), &found, 4).len();
        }
        black_box(reasons);
    };
    let (explain, _) = duel(args.rounds, texts.len(), explaining, hashing);
    let bytes: usize = texts.iter().map(String::len).sum();
    let report = Understanding {
        texts: texts.len(),
        bytes_per_text: (bytes as f64 / texts.len() as f64).round(),
        model: model.version().to_owned(),
        understand,
        explain,
        hash,
    };
    let rows = [
        row("understand", understand),
        row("understand and explain", explain),
        row("plain hash of the bytes", hash),
    ];
    let remarks = [format!(
        "{} texts of {:.0} bytes on average, one thread, model {}",
        thousands(texts.len() as f64),
        report.bytes_per_text,
        report.model
    )];
    measure::write(args.form, &report, &["", "texts/s", "cpu us each"], &rows, &remarks)?;
    Ok(ExitCode::SUCCESS)
}

/// Made-up posts, as their sources' decoders read them.
fn texts(count: usize) -> Vec<String> {
    let tenant = TenantId::slugify("bench");
    let starts_at = Timestamp::from_seconds(1_772_431_200);
    let decode = |parcel: super::super::feed::Parcel| {
        let context = DecodeContext {
            tenant: &tenant,
            connector: "bench",
            instance: &parcel.instance,
            transport: Transport::Backfill,
            received_at: parcel.last_at,
            csv_map: None,
        };
        let events = sources::decode(parcel.kind, &parcel.body, &context).events;
        events
            .into_iter()
            .filter_map(|event| Some(event.mention?.text.as_str().to_owned()))
            .collect::<Vec<_>>()
    };
    load::talk(starts_at).flat_map(decode).take(count).collect()
}

#[derive(Debug, Serialize)]
struct Detection {
    subjects: u32,
    tallies: u32,
    state_bytes: usize,
    resident_mib: u64,
    observe: Figures,
    three_sigma: Figures,
}

/// Runs `redress bench detect`.
///
/// # Errors
/// When the figures cannot be written.
pub(super) fn detect(args: &DetectArgs) -> anyhow::Result<ExitCode> {
    let traffic = zipf_tallies(args.subjects, args.tallies as usize, 1);
    let mut states = vec![SubjectState::new(); args.subjects as usize];
    let mut moments = vec![(0.0_f32, 0.0_f32); args.subjects as usize];
    let (context, policy) = (Context::default(), DetectPolicy::default());
    let observing = || {
        let mut surprise = 0.0;
        for batch in traffic.chunks(BATCH) {
            black_box(batch.iter().fold(0, |sum, (subject, _)| sum ^ states[*subject as usize].touch()));
            for (subject, tally) in batch {
                surprise += observe(&mut states[*subject as usize], tally, &context, &policy).surprise;
            }
        }
        black_box(surprise);
    };
    let plain = || {
        let alarms = traffic.iter().filter(|(subject, tally)| {
            three_sigma_step(&mut moments[*subject as usize], tally.complaints_milli as f32 / 1_000.0)
        });
        black_box(alarms.count());
    };
    let (observe, three_sigma) = duel(args.rounds, traffic.len(), observing, plain);
    let report = Detection {
        subjects: args.subjects,
        tallies: args.tallies,
        state_bytes: size_of::<SubjectState>(),
        resident_mib: resident_bytes() >> 20,
        observe,
        three_sigma,
    };
    let rows = [row("redress", observe), row("rolling 3 sigma", three_sigma)];
    let remarks = [format!(
        "{} tallies over {} subjects by Zipf's law, one thread; {} bytes of state a subject, {} MiB in all with the traffic",
        thousands(f64::from(args.tallies)),
        thousands(f64::from(args.subjects)),
        report.state_bytes,
        report.resident_mib
    )];
    measure::write(args.form, &report, &["", "tallies/s", "cpu us each"], &rows, &remarks)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_contestants_run_as_often_as_asked() {
        let (mut ours, mut plain) = (0, 0);
        let (first, second) = duel(3, 10, || ours += 1, || plain += 1);
        assert_eq!((ours, plain), (3, 3));
        assert!(first.per_second > 0.0 && second.per_second > 0.0);
    }

    #[test]
    fn texts_are_as_many_as_asked_and_have_words() {
        let texts = texts(300);
        assert_eq!(texts.len(), 300);
        assert!(texts.iter().all(|text| !text.trim().is_empty()));
    }
}
