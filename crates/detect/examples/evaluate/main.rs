//! Measures the detector on the development data beside the checkout; prints the tables of `docs/detection.md`.
//!
//! `cargo run --release -p detect --example evaluate -- [series|misses|quick KNOB=VALUE,..|simulated KNOB=VALUE,..|sweep|loo STEPS SEED|large TIMES|search N SEED KNOB=VALUE..|cascades|twitter PARTS DEALS FOLDS|weibo|transfer PARTS|ship|delays|calm|speed MILLIONS]`; without the data it says so and ends.
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
mod search;
mod simulated;

use std::path::PathBuf;

use detect::Tuning;
use nab::{Labelled, Outcome};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("delays") => return simulated::delays(),
        Some("calm") => return simulated::calm(),
        Some("speed") => return simulated::speed(args.get(1).and_then(|n| n.parse().ok()).unwrap_or(10)),
        _ => {}
    }
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/burst");
    if !data.exists() {
        println!("skipped: no development data beside the checkout");
        return;
    }
    let command = args.first().map_or("series", String::as_str);
    let nab = nab::load(&data.join("nab"));
    let events = events::load(&data.join("events"));
    match command {
        "series" => report(&nab, &events, &Tuning::default(), true),
        "search" => {
            let number = |i: usize, d: u64| args.get(i).and_then(|a| a.parse().ok()).unwrap_or(d);
            let mut start = Tuning::default();
            for pair in args.iter().skip(3) {
                search::turn(&mut start, pair);
            }
            let judge = search::Judge::new(nab::load(&data.join("nab")), events::load(&data.join("events")));
            println!("start {:?}", judge.worth(&start));
            let (best, worth) = search::walk(&judge, start, number(1, 100) as usize, number(2, 1));
            println!("best {worth:?}\n{best:?}");
            report(&nab, &events, &best, true);
        }
        "sweep" => {
            for quiet_h in [1, 3, 6, 12, 24] {
                let line: Vec<String> = [0.02f32, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0]
                    .iter()
                    .map(|&fa| {
                        let policy = detect::DetectPolicy {
                            false_alarms_per_day: fa,
                            quiet_s: quiet_h * 3600,
                            ..Default::default()
                        };
                        let raw: Vec<f64> = nab
                            .iter()
                            .map(|s| nab::raw_score(s, &search::run_with(s, &Tuning::default(), policy).1))
                            .collect();
                        let n = nab.iter().map(|s| s.windows.len()).sum();
                        format!("{fa}: {:.1}", nab::normalised(raw.iter().sum(), n))
                    })
                    .collect();
                println!("quiet {quiet_h} h: {}", line.join("  "));
            }
        }
        "loo" => {
            let number = |at: usize| args.get(at).and_then(|a| a.parse().ok());
            left_out(&data, number(1).unwrap_or(60) as usize, number(2).unwrap_or(10));
        }
        "cascades" => forecasts(&data),
        "quick" | "simulated" => {
            let judge = search::Judge::new(nab::load(&data.join("nab")), events::load(&data.join("events")));
            for variant in &args[1..] {
                let mut tuning = Tuning::default();
                for pair in variant.split(',').filter(|p| !p.is_empty()) {
                    search::turn(&mut tuning, pair);
                }
                let worth = judge.worth(&tuning);
                println!(
                    "{variant}: {:.3} {}",
                    worth.total,
                    worth.parts.iter().map(|p| format!("{} {:.3}", p.0, p.1)).collect::<Vec<_>>().join(" ")
                );
                report(&nab, &events, &tuning, false);
                if command == "simulated" {
                    println!("   {}", simulated::against_cusum(&tuning));
                }
            }
        }
        "misses" => misses(&nab),
        "large" => {
            let tideh = cascades::tideh(&data.join("tideh"));
            for rotate in 0..args.get(1).and_then(|a| a.parse().ok()).unwrap_or(1usize) {
                let mut t = tideh.clone();
                cascades::deal(&mut t, rotate);
                cascades::print(
                    "large",
                    &cascades::crossed(&t, 25, |t| detect::thread::CascadeModel::fit(t).unwrap(), 0).0,
                );
            }
        }
        "twitter" => {
            let parts = args.get(1).map_or("csqe", String::as_str);
            let fit = |t: &[detect::thread::Thread]| {
                detect::thread::CascadeModel::fit_apart(&cascades::shipping(t, parts), t).unwrap()
            };
            let number = |at: usize| args.get(at).and_then(|n| n.parse().ok());
            // Of fifty threads, twenty-five folds leave out two at a time and fifty one.
            let folds = number(3).unwrap_or(25);
            for deal in 0..number(2).unwrap_or(1) {
                let mut threads = cascades::tideh(&data.join("tideh"));
                cascades::deal(&mut threads, deal);
                cascades::print(
                    &format!("Twitter {parts} {deal}"),
                    &cascades::crossed(&threads, folds, fit, 0).0,
                );
            }
        }
        "weibo" => {
            let (rows, viral) = cascades::crossed(
                &cascades::ced(&data.join("ced")),
                2,
                |t| detect::thread::CascadeModel::fit(t).unwrap(),
                5,
            );
            cascades::print("Weibo, halves", &rows);
            println!("viral at 5 % false positives by 10, 30, 60, 360 min: {viral:.2?}");
        }
        "transfer" => {
            let (tideh, ced) = (cascades::tideh(&data.join("tideh")), cascades::ced(&data.join("ced")));
            for parts in args.iter().skip(1) {
                let model =
                    detect::thread::CascadeModel::fit_apart(&cascades::shipping(&tideh, parts), &tideh)
                        .unwrap();
                cascades::print(
                    &format!("Weibo by {parts}"),
                    &cascades::predict(ced.iter().map(|t| (t, &model)), 5),
                );
            }
        }
        "ship" => {
            let large = cascades::tideh(&data.join("tideh"));
            let threads = cascades::shipping(&large, "csqe");
            let bytes = detect::thread::CascadeModel::fit_apart(&threads, &large).unwrap().to_bytes();
            std::fs::write(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/thread/shipped.bin"), &bytes)
                .unwrap();
            println!("wrote {} bytes from {} threads", bytes.len(), threads.len());
        }
        _ => println!("unknown command {command}"),
    }
}

/// Prints every label with the best surprise around it, and every false alarm at a nominal 0.2 a day.
fn misses(nab: &[Labelled]) {
    for one in nab {
        let (surprise, alarms) = search::run(one, &Tuning::default());
        let first = nab::probation(one.rows.len());
        let near = |from: usize, until: usize| {
            (from..until.min(surprise.len())).max_by(|a, b| surprise[*a].total_cmp(&surprise[*b])).unwrap()
        };
        let at = |t: i64| one.rows.partition_point(|r| r.0 < t);
        let counts = |row: usize| {
            let mean = |from: usize, until: usize| {
                let part = &one.rows[from.min(row)..until.min(one.rows.len())];
                part.iter().map(|r| r.1).sum::<f64>() / part.len().max(1) as f64
            };
            format!(
                "day before {:.1}/row, hour before {:.1}, rows {:?}",
                mean(row.saturating_sub(300), row.saturating_sub(12)),
                mean(row.saturating_sub(18), row.saturating_sub(6)),
                one.rows[row.saturating_sub(6)..(row + 8).min(one.rows.len())]
                    .iter()
                    .map(|r| r.1)
                    .collect::<Vec<_>>()
            )
        };
        for (label, window) in one.labels.iter().zip(&one.windows) {
            let best = near(at(label - 7200), at(label + 3600));
            let alarm = alarms.iter().find(|row| (window.0..=window.1).contains(&one.rows[**row].0));
            println!(
                "{} label row {}: best {:.2} at {:+} min, window alarm {:?}; {}",
                one.name,
                at(*label),
                surprise[best],
                (one.rows[best].0 - label) / 60,
                alarm.map(|row| (one.rows[*row].0 - label) / 60),
                counts(at(*label))
            );
        }
        for row in nab::starts(one, &surprise, 3.16).into_iter().filter(|row| *row >= first) {
            if !one.windows.iter().any(|w| (w.0..=w.1).contains(&one.rows[row].0)) {
                let best = near(row, row + 12);
                println!(
                    "{} false row {row} (hour {}): {:.2}; {}",
                    one.name,
                    one.rows[row].0 / 3600 % 24,
                    surprise[best],
                    counts(best)
                );
            }
        }
    }
}

fn report(nab: &[Labelled], events: &[Labelled], tuning: &Tuning, verbose: bool) {
    let runs: Vec<_> = nab.iter().map(|s| search::run(s, tuning)).collect();
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
    // One more label is a seventh: the mean over a ladder of rates is smoother.
    let ladder: Vec<f64> = (0..20).map(|k| 0.04 * 1.2f64.powi(k)).collect();
    let over = |recall: &dyn Fn(f64) -> f64| ladder.iter().map(|rate| recall(*rate)).sum::<f64>() / 20.0;
    println!("  mean recall over rates .04 to 1.3: {:.4}", over(&|rate| nab::at_rate(&all, rate).1.recall()));
    let columns: Vec<String> = [0.02f32, 0.05, 0.1, 0.2, 0.5]
        .iter()
        .map(|&fa| {
            let policy =
                detect::DetectPolicy { false_alarms_per_day: fa, ..detect::DetectPolicy::for_series() };
            let mut o = Outcome::default();
            let mut raw = 0.0;
            for s in nab {
                let alarms = search::run_with(s, tuning, policy).1;
                raw += nab::raw_score(s, &alarms);
                nab::tally_starts(s, &alarms, &mut o);
            }
            format!(
                "{fa}: {:.3}/day {}/{} NAB {:.1}",
                o.rate(),
                o.caught,
                o.labels,
                nab::normalised(raw, windows)
            )
        })
        .collect();
    println!("  by alarms as opened: {}", columns.join("  "));
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
    let surprises: Vec<Vec<f32>> = events.iter().map(|s| search::run(s, tuning).0).collect();
    let line: Vec<String> = [0.1, 0.25, 0.5, 1.0, 2.0]
        .iter()
        .map(|&rate| {
            let (level, recall, n) = events::recall(events, &surprises, rate);
            format!("{recall:.2} (u {level:.2}, n {n})")
        })
        .collect();
    println!("events at .1/.25/.5/1/2: {}", line.join("  "));
    if verbose {
        // Dated events are not all that happens to an account, so more than nominal is no fault.
        for u in [2.5f32, 3.0] {
            let nominal = 288.0 * 10f64.powf(-f64::from(u));
            let mut ratios: Vec<f64> = events
                .iter()
                .zip(&surprises)
                .filter(|(one, _)| one.rows.len() > 20 * 288)
                .map(|(one, surprise)| {
                    let mut o = Outcome::default();
                    nab::tally(one, surprise, u, &mut o);
                    o.rate() / nominal
                })
                .collect();
            ratios.sort_by(f64::total_cmp);
            let at = |share: f64| ratios[((ratios.len() - 1) as f64 * share) as usize];
            println!(
                "  accounts of 20 days and more ({}): realised/nominal at {nominal:.3}/day: {:.2}, tenth {:.2}, median {:.2}, tenth {:.2}, {:.2}; within 3: {:.2}",
                ratios.len(),
                at(0.0),
                at(0.1),
                at(0.5),
                at(0.9),
                at(1.0),
                ratios.iter().filter(|r| (1.0 / 3.0..=3.0).contains(*r)).count() as f64 / ratios.len() as f64
            );
        }
    }
    let ladder: Vec<f64> = (0..12).map(|k| 0.1 * 1.3f64.powi(k)).collect();
    println!(
        "  mean over rates .1 to 1.8: {:.4}",
        ladder.iter().map(|r| events::recall(events, &surprises, *r).1).sum::<f64>() / 12.0
    );
}

fn forecasts(data: &std::path::Path) {
    use detect::thread::CascadeModel;
    let (tideh, ced) = (cascades::tideh(&data.join("tideh")), cascades::ced(&data.join("ced")));
    println!("{} Twitter, {} Weibo threads", tideh.len(), ced.len());
    cascades::baselines(&tideh);
    let fit =
        |t: &[detect::thread::Thread]| CascadeModel::fit_apart(&cascades::shipping(t, "csqe"), t).unwrap();
    let (rows, _) = cascades::crossed(&tideh, 10, fit, 0);
    cascades::print("Twitter, crossed", &rows);
    let shipped = fit(&tideh);
    cascades::print("Weibo by the shipped fit", &cascades::predict(ced.iter().map(|t| (t, &shipped)), 5));
    let (rows, viral) = cascades::crossed(&ced, 4, |t| CascadeModel::fit(t).unwrap(), 5);
    cascades::print("Weibo, crossed", &rows);
    println!("viral at 5 % false positives by 10, 30, 60, 360 min: {viral:.2?}");
}

/// Chooses the constants without each file in turn, from a plain start, and reports the file that was left out.
fn left_out(data: &std::path::Path, steps: usize, seed: u64) {
    let mut start = Tuning::default();
    for (name, value) in [
        ("tau0", 600.0),
        ("tau1", 2400.0),
        ("tau2", 20_000.0),
        ("w0", 1.0),
        ("w1", 1.0),
        ("w2", 1.0),
        ("root_offset", 0.5),
        ("spread_floor", 0.5),
        ("spread_days", 5.0),
        ("spread_clip", 4.0),
        ("level_days", 3.0),
        ("level_clip", 3.0),
        ("shape_rate", 0.2),
        ("shape_prior", 10.0),
        ("freeze", 3.5),
        ("tail_threshold", 3.0),
        ("tail_threshold_min", 1.0),
        ("tail_excess", 1.0),
        ("tail_rate", 1.0 / 150.0),
        ("tail_gain", 0.5),
        ("tail_shape", 0.05),
        ("tail_prior", 8.0),
        ("tail_bound", 5.0),
        ("tail_weight_min", 0.02),
        ("tail_memory_rows", 8640.0),
    ] {
        *search::knob(&mut start, name) = value;
    }
    // What is told anew is put on top: it is no part of what makes a row rare, and no walk moves it.
    (start.told_less, start.told_again) = (0.0, f32::MAX);
    let all = nab::load(&data.join("nab"));
    let (mut raw, mut windows) = (0.0, 0);
    for (left, one) in all.iter().enumerate() {
        let mut others = nab::load(&data.join("nab"));
        others.remove(left);
        let judge = search::Judge::new(others, events::load(&data.join("events")));
        let walks = [seed, seed + 10].map(|seed| search::walk(&judge, start, steps, left as u64 + seed).0);
        let mut best = search::mean(walks);
        (best.told_less, best.told_again) = (Tuning::default().told_less, Tuning::default().told_again);
        let (surprise, alarms) = search::run(one, &best);
        let score = nab::raw_score(one, &alarms);
        raw += score;
        windows += one.windows.len();
        let mut o = Outcome::default();
        nab::tally(one, &surprise, 3.46, &mut o);
        println!(
            "without {}: its score {:.1}, at nominal 0.1 a day: realised {:.2}, caught {}/{}",
            one.name,
            nab::normalised(score, one.windows.len()),
            o.rate(),
            o.caught,
            o.labels
        );
    }
    println!("left out, together: {:.1}", nab::normalised(raw, windows));
}
