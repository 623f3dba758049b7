//! Measures the detector on the development data beside the checkout; prints the tables of `docs/detection.md`.
//!
//! `cargo run --release -p detect --example evaluate -- [series|search N SEED]`; without the data it says so and ends.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]

mod cascades;
mod events;
mod nab;

use std::path::PathBuf;

use detect::{DetectPolicy, Series, Tuning};
use nab::{Labelled, Outcome};

fn main() {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/burst");
    if !data.exists() {
        println!("skipped: no development data beside the checkout");
        return;
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    let command = args.first().map_or("series", String::as_str);
    let nab = nab::load(&data.join("nab"));
    let events = events::load(&data.join("events"));
    match command {
        "series" => report(&nab, &events, &Tuning::default(), true),
        "cascades" => forecasts(&data),
        "ship" => {
            let threads = cascades::shipping(&cascades::tideh(&data.join("tideh")));
            let bytes = detect::thread::CascadeModel::fit(&threads).unwrap().to_bytes();
            std::fs::write(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/thread/shipped.bin"), &bytes)
                .unwrap();
            println!("wrote {} bytes from {} threads", bytes.len(), threads.len());
        }
        _ => println!("unknown command {command}"),
    }
}

/// Runs one series; the surprise of each row and the rows that opened an episode.
fn run(series: &Labelled, tuning: &Tuning) -> (Vec<f32>, Vec<usize>) {
    let mut detector = Series::with_tuning(DetectPolicy::default(), *tuning);
    let mut alarms = Vec::new();
    let surprise = series
        .rows
        .iter()
        .enumerate()
        .map(|(i, &(t, v))| {
            let point = detector.row(t, v).unwrap();
            if point.alarm {
                alarms.push(i);
            }
            point.surprise
        })
        .collect();
    (surprise, alarms)
}

fn report(nab: &[Labelled], events: &[Labelled], tuning: &Tuning, verbose: bool) {
    let runs: Vec<_> = nab.iter().map(|s| run(s, tuning)).collect();
    let windows: usize = nab.iter().map(|s| s.windows.len()).sum();
    let raw: Vec<f64> = nab.iter().zip(&runs).map(|(s, r)| nab::raw_score(s, &r.1)).collect();
    println!(
        "NAB as opened: {:.1}   per file {:?}",
        nab::normalised(raw.iter().sum(), windows),
        nab.iter()
            .zip(&raw)
            .map(|(s, r)| format!("{} {:.0}", s.name, nab::normalised(*r, s.windows.len())))
            .collect::<Vec<_>>()
    );
    let all: Vec<(&Labelled, &[f32])> = nab.iter().zip(&runs).map(|(s, r)| (s, r.0.as_slice())).collect();
    for rate in [0.05, 0.1, 0.2, 0.5, 1.0] {
        let (level, o) = nab::at_rate(&all, rate);
        println!(
            "  at {rate:4} FA/day: level {level:.2} recall {:.2} ({}/{}) lead {:+.1} min, realised {:.3}",
            o.recall(),
            o.caught,
            o.labels,
            o.lead(),
            o.rate()
        );
    }
    if verbose {
        for u in [2.5f32, 3.0, 3.46, 3.76] {
            let nominal = 288.0 * 10f64.powf(-f64::from(u));
            let ratios: Vec<String> = all
                .iter()
                .map(|(s, r)| {
                    let mut o = Outcome::default();
                    nab::tally(s, r, u, &mut o);
                    format!("{} {:.2} ({})", s.name, o.rate() / nominal, o.false_alarms)
                })
                .collect();
            println!("  nominal {nominal:.3}/day, realised/nominal: {}", ratios.join(", "));
        }
    }
    let surprises: Vec<Vec<f32>> = events.iter().map(|s| run(s, tuning).0).collect();
    let line: Vec<String> = [0.1, 0.25, 0.5, 1.0, 2.0]
        .iter()
        .map(|&rate| {
            let (level, recall, n) = events::recall(events, &surprises, rate);
            format!("{recall:.2} (u {level:.2}, n {n})")
        })
        .collect();
    println!("events at .1/.25/.5/1/2: {}", line.join("  "));
}

fn forecasts(data: &std::path::Path) {
    use detect::thread::CascadeModel;
    let (tideh, ced) = (cascades::tideh(&data.join("tideh")), cascades::ced(&data.join("ced")));
    println!("{} Twitter, {} Weibo threads", tideh.len(), ced.len());
    let fit = |t: &[detect::thread::Thread]| CascadeModel::fit(&cascades::shipping(t)).unwrap();
    let (rows, _) = cascades::crossed(&tideh, 10, fit, 0);
    cascades::print("Twitter, crossed", &rows);
    let shipped = fit(&tideh);
    cascades::print("Weibo by the shipped fit", &cascades::predict(ced.iter().map(|t| (t, &shipped)), 5));
    let (rows, viral) = cascades::crossed(&ced, 4, |t| CascadeModel::fit(t).unwrap(), 5);
    cascades::print("Weibo, crossed", &rows);
    println!("viral at 5 % false positives by 10, 30, 60, 360 min: {viral:.2?}");
}
