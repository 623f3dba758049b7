//! Threads: errors of the forecast, coverage of its intervals, and finding the viral ones.

use std::{collections::BTreeMap, io::Read, path::Path};

use detect::{
    simulate::ThreadParams,
    thread::{CascadeModel, HORIZON_S, Thread, ThreadState},
};

/// Ages that are reported, seconds.
pub const CHECKS_S: [u32; 4] = [600, 3600, 10_800, 21_600];

/// Reads the Twitter cascades; the first line of each file is a header.
pub fn tideh(dir: &Path) -> Vec<Thread> {
    let mut paths: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "txt"))
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            let rows: Vec<(f64, u64)> = text
                .lines()
                .skip(1)
                .map(|l| {
                    let mut f = l.split_whitespace();
                    (f.next().unwrap().parse().unwrap(), f.next().unwrap().parse().unwrap())
                })
                .collect();
            Thread {
                root_followers: rows[0].1,
                reactions: rows[1..].iter().map(|r| (r.0 as u32, r.1)).collect(),
                weight: 1.0,
            }
        })
        .collect()
}

/// Reads the Weibo threads.
pub fn ced(dir: &Path) -> Vec<Thread> {
    let index = std::fs::read_to_string(dir.join("index.csv")).unwrap();
    let mut threads: BTreeMap<String, Thread> = index
        .lines()
        .skip(1)
        .map(|l| {
            let f: Vec<&str> = l.split(',').collect();
            (
                f[0].to_owned(),
                Thread {
                    root_followers: f[3].parse::<f64>().unwrap_or(0.0) as u64,
                    reactions: vec![],
                    weight: 1.0,
                },
            )
        })
        .collect();
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(dir.join("events.csv.gz")).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    for line in text.lines().skip(1) {
        let f: Vec<&str> = line.split(',').collect();
        if let (Some(thread), Ok(at)) = (threads.get_mut(f[0]), f[2].parse::<f64>()) {
            thread.reactions.push((at as u32, 0));
        }
    }
    threads
        .into_values()
        .map(|mut t| {
            t.reactions.sort_unstable();
            t
        })
        .collect()
}

/// The threads the shipped model's ordinary part is fitted on: thinned copies of openly licensed
/// cascades (as if fewer people had cared) and simulated ones, with followers known and unknown.
pub fn shipping(tideh: &[Thread], parts: &str) -> Vec<Thread> {
    let mut out = Vec::new();
    let thinned: &[(u64, f64, bool)] = if parts.contains('c') {
        &[
            (0, 0.3, false),
            (1, 0.1, false),
            (2, 0.1, true),
            (3, 0.03, false),
            (4, 0.01, true),
            (5, 0.001, false),
        ]
    } else {
        &[]
    };
    for &(copy, share, known) in thinned {
        for (index, thread) in tideh.iter().enumerate() {
            let keep = |i: usize| unit((index as u64) << 40 | copy << 32 | i as u64) < share;
            let reactions = thread.reactions.iter().enumerate().filter(|(i, _)| keep(*i));
            out.push(Thread {
                root_followers: thread.root_followers,
                reactions: reactions.map(|(_, r)| (r.0, if known { r.1 } else { 0 })).collect(),
                weight: if parts.contains('C') { 1.0 } else { 0.5 },
            });
        }
    }
    let simulated = if parts.contains('s') { 300 } else { 0 };
    for seed in 0..simulated {
        let mut thread = Thread::simulated(seed, &ThreadParams::drawn(seed));
        thread.weight = 0.05;
        if seed % 2 == 0 {
            thread.reactions.iter_mut().for_each(|r| r.1 = 0);
        }
        if !thread.reactions.is_empty() {
            out.push(thread);
        }
    }
    // Any thread may end at once: it is answered, taken down, or something else is talked of.
    let ended = if parts.contains('e') { 3u64 } else { 0 };
    for copy in 10..10 + ended {
        for (index, thread) in tideh.iter().enumerate() {
            let draw = |i: u64| unit((index as u64) << 40 | copy << 32 | i);
            let (share, known) = ([0.1, 0.02, 0.005][(copy % 3) as usize], copy % 2 == 0);
            // From twenty minutes to two days, alike on a logarithmic scale.
            let end_s = (1200.0 * 144f64.powf(draw(u64::from(u32::MAX)))) as u32;
            let kept =
                thread.reactions.iter().enumerate().filter(|(i, r)| r.0 <= end_s && draw(*i as u64) < share);
            out.push(Thread {
                root_followers: thread.root_followers,
                reactions: kept.map(|(_, r)| (r.0, if known { r.1 } else { 0 })).collect(),
                weight: 0.3,
            });
        }
    }
    // Most posts are heard by hardly anybody: without them a post nobody answers would be promised an answer.
    let quiet = if parts.contains('q') { 150 } else { 0 };
    for seed in 1000..1000 + quiet {
        let mut params = ThreadParams::drawn(seed);
        params.infectiousness /= 25.0;
        let mut thread = Thread::simulated(seed, &params);
        thread.weight = 0.05;
        if seed % 2 == 0 {
            thread.reactions.iter_mut().for_each(|r| r.1 = 0);
        }
        out.push(thread);
    }
    out
}

/// A number in 0..1 by a hash.
fn unit(x: u64) -> f64 {
    let mut z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

fn size(thread: &Thread) -> usize {
    thread.reactions.partition_point(|r| r.0 <= HORIZON_S)
}

fn state_at(thread: &Thread, age_s: u32) -> ThreadState {
    let mut state = ThreadState::new(0, thread.root_followers);
    thread.reactions.iter().take_while(|r| r.0 <= age_s).for_each(|r| state.reaction(i64::from(r.0), r.1));
    state
}

/// Predictions of threads by models that have not seen them: for each check (real, expected, low, high, p500) of threads with enough seen.
pub fn predict<'a>(
    test: impl Iterator<Item = (&'a Thread, &'a CascadeModel)> + Clone,
    least: u32,
) -> Vec<Vec<[f64; 5]>> {
    CHECKS_S
        .iter()
        .map(|&age| {
            test.clone()
                .filter_map(|(thread, model)| {
                    let state = state_at(thread, age);
                    let f = model.forecast(&state, i64::from(age));
                    (state.seen() >= least).then(|| {
                        [
                            size(thread) as f64,
                            f.expected_final.into(),
                            f.low.into(),
                            f.high.into(),
                            f.p_at_least(500.0).into(),
                        ]
                    })
                })
                .collect()
        })
        .collect()
}

/// Where nine in ten medians lie when as many values are drawn anew from these (bootstrap: Efron 1979).
fn redrawn(values: &[f64]) -> (f64, f64) {
    const DRAWS: u64 = 2000;
    let n = values.len();
    let mut medians: Vec<f64> = (0..DRAWS)
        .map(|draw| {
            let mut drawn: Vec<f64> =
                (0..n).map(|i| values[(unit(draw << 32 | i as u64) * n as f64) as usize]).collect();
            drawn.sort_by(f64::total_cmp);
            drawn[n / 2]
        })
        .collect();
    medians.sort_by(f64::total_cmp);
    (medians[DRAWS as usize / 20], medians[DRAWS as usize - DRAWS as usize / 20])
}

/// Prints median absolute error with its bootstrap interval, share within 15 %, and coverage.
pub fn print(name: &str, checks: &[Vec<[f64; 5]>]) {
    for (age, rows) in CHECKS_S.iter().zip(checks) {
        let mut errors: Vec<f64> = rows.iter().map(|r| (r[1] - r[0]).abs() / r[0].max(1.0)).collect();
        errors.sort_by(f64::total_cmp);
        let (low, high) = redrawn(&errors);
        let within = errors.iter().filter(|e| **e <= 0.15).count() as f64 / errors.len() as f64;
        let covered = rows.iter().filter(|r| r[2].floor() <= r[0] && r[0] <= r[3].ceil()).count() as f64
            / rows.len() as f64;
        let mut width: Vec<f64> = rows.iter().map(|r| (r[3] + 1.0) / (r[2] + 1.0)).collect();
        width.sort_by(f64::total_cmp);
        let log_error =
            rows.iter().map(|r| ((r[1] + 1.0) / (r[0] + 1.0)).ln().abs()).sum::<f64>() / rows.len() as f64;
        print!("mean log error {log_error:.3} ");
        println!(
            "{name} {age:6} s: n {} median error {:.1} % ({:.0} to {:.0}) within 15 % {:.2} coverage {:.3} width x{:.1}",
            rows.len(),
            100.0 * errors[errors.len() / 2],
            100.0 * low,
            100.0 * high,
            within,
            covered,
            width[width.len() / 2]
        );
    }
}

/// Puts the threads into another order, so that others are left out together; 0 leaves them as they are.
pub fn deal(threads: &mut [Thread], deal: usize) {
    if deal > 0 {
        threads.sort_by_key(|thread| (thread.reactions.len() * (deal * 7919 + 13)) % 10_007);
    }
}

/// Cross-validated predictions: threads are dealt to folds, and each fold is forecast by a model of the others.
pub fn crossed(
    threads: &[Thread],
    folds: usize,
    fit: impl Fn(&[Thread]) -> CascadeModel + Sync,
    least: u32,
) -> (Vec<Vec<[f64; 5]>>, Vec<f64>) {
    let models = models_of_others(threads, folds, fit);
    let test = threads.iter().enumerate().map(|(i, t)| (t, &models[i % folds]));
    print_underway("underway", test.clone());
    (predict(test.clone(), least), viral(test))
}

/// For each fold a model of the threads outside it.
fn models_of_others(
    threads: &[Thread],
    folds: usize,
    fit: impl Fn(&[Thread]) -> CascadeModel + Sync,
) -> Vec<CascadeModel> {
    std::thread::scope(|scope| {
        let jobs: Vec<_> = (0..folds)
            .map(|fold| {
                let fit = &fit;
                scope.spawn(move || {
                    let part: Vec<Thread> = threads
                        .iter()
                        .enumerate()
                        .filter(|(i, _)| i % folds != fold)
                        .map(|(_, t)| t.clone())
                        .collect();
                    fit(&part)
                })
            })
            .collect();
        jobs.into_iter().map(|job| job.join().unwrap()).collect()
    })
}

/// Prints how far from the truth what is expected at a later time is, over threads and models that have not seen
/// them: from each age the size at a later one, median absolute error and median of expected over real.
pub fn print_underway<'a>(name: &str, test: impl Iterator<Item = (&'a Thread, &'a CascadeModel)> + Clone) {
    for (from_s, until_s) in
        [(600, 3600), (600, 21_600), (3600, 10_800), (3600, 43_200), (10_800, 21_600), (21_600, 86_400)]
    {
        let mut ratios: Vec<f64> = test
            .clone()
            .filter_map(|(thread, model)| {
                let state = state_at(thread, from_s);
                let expected =
                    model.forecast(&state, i64::from(from_s)).expected_at((until_s - from_s) as f32);
                let real = thread.reactions.partition_point(|r| r.0 <= until_s) as f64;
                (state.seen() >= 5).then(|| f64::from(expected) / real)
            })
            .collect();
        let median = |values: &mut Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let lean = median(&mut ratios);
        let mut errors: Vec<f64> = ratios.iter().map(|ratio| (ratio - 1.0).abs()).collect();
        println!(
            "{name} from {from_s} s, expected at {until_s} s: n {} median error {:.1} %, median of expected over real {lean:.2}",
            errors.len(),
            100.0 * median(&mut errors)
        );
    }
}

/// Recall of threads that reach 500 with 5 % of the others flagged by 10, by 30 and by 60 minutes, and over all checks; then the median age of those alarms in minutes and their median lead in hours.
fn viral<'a>(test: impl Iterator<Item = (&'a Thread, &'a CascadeModel)>) -> Vec<f64> {
    let ages = [300u32, 600, 1200, 1800, 3600, 7200, 10_800, 21_600];
    let rows: Vec<(bool, Vec<f64>, f64)> = test
        .map(|(thread, model)| {
            let p = ages
                .iter()
                .map(|&age| {
                    let state = state_at(thread, age);
                    if state.seen() >= 500 {
                        2.0
                    } else {
                        f64::from(model.forecast(&state, i64::from(age)).p_at_least(500.0))
                    }
                })
                .collect();
            let reached_s = thread.reactions.get(499).map_or(f64::NAN, |r| f64::from(r.0));
            (size(thread) >= 500, p, reached_s)
        })
        .collect();
    let recall = |upto: usize| {
        let best = |p: &[f64]| p[..upto].iter().copied().fold(0.0, f64::max);
        let mut wrong: Vec<f64> = rows.iter().filter(|r| !r.0).map(|r| best(&r.1)).collect();
        wrong.sort_by(|a, b| b.total_cmp(a));
        let Some(&level) = wrong.get((wrong.len() as f64 * 0.05) as usize) else { return f64::NAN };
        let right: Vec<&(bool, Vec<f64>, f64)> = rows.iter().filter(|r| r.0).collect();
        right.iter().filter(|r| best(&r.1) > level).count() as f64 / right.len() as f64
    };
    let (median_alarm_min, median_lead_h) = alarms(&rows, &ages);
    vec![recall(2), recall(4), recall(5), recall(8), median_alarm_min, median_lead_h]
}

/// Over all checks, at 5 % of the others flagged: the median age of the first alarm, minutes, and how long before the 500th reaction it is, hours.
fn alarms(rows: &[(bool, Vec<f64>, f64)], ages: &[u32]) -> (f64, f64) {
    let best = |p: &[f64]| p.iter().copied().fold(0.0, f64::max);
    let mut wrong: Vec<f64> = rows.iter().filter(|r| !r.0).map(|r| best(&r.1)).collect();
    wrong.sort_by(|a, b| b.total_cmp(a));
    let Some(&level) = wrong.get((wrong.len() as f64 * 0.05) as usize) else { return (f64::NAN, f64::NAN) };
    let first = |r: &(bool, Vec<f64>, f64)| r.1.iter().position(|p| *p > level).map(|i| f64::from(ages[i]));
    let found: Vec<(f64, f64)> = rows
        .iter()
        .filter(|r| r.0)
        .filter_map(|r| first(r).map(|at| (at / 60.0, (r.2 - at) / 3600.0)))
        .collect();
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    (median(found.iter().map(|f| f.0).collect()), median(found.iter().map(|f| f.1).collect()))
}

/// What the simplest rules do on the same threads, leaving each out: a constant ratio, and a line through the logarithms.
pub fn baselines(threads: &[Thread]) {
    for age in CHECKS_S {
        let rows: Vec<(f64, f64)> = threads
            .iter()
            .map(|t| ((state_at(t, age).seen() as f64 + 1.0).ln(), (size(t) as f64 + 1.0).ln()))
            .collect();
        let median = |mut v: Vec<f64>| {
            v.sort_by(f64::total_cmp);
            v[v.len() / 2]
        };
        let (mut ratio, mut constant, mut line) = (vec![], vec![], vec![]);
        for i in 0..rows.len() {
            let others: Vec<&(f64, f64)> =
                rows.iter().enumerate().filter(|r| r.0 != i).map(|r| r.1).collect();
            let error = |guess: f64| ((guess.max(rows[i].0) - rows[i].1).exp() - 1.0).abs();
            ratio.push(error(rows[i].0 + median(others.iter().map(|r| r.1 - r.0).collect())));
            constant.push(error(median(others.iter().map(|r| r.1).collect())));
            let n = others.len() as f64;
            let (mx, my) =
                (others.iter().map(|r| r.0).sum::<f64>() / n, others.iter().map(|r| r.1).sum::<f64>() / n);
            let slope = others.iter().map(|r| (r.0 - mx) * (r.1 - my)).sum::<f64>()
                / others.iter().map(|r| (r.0 - mx).powi(2)).sum::<f64>();
            let shift = median(others.iter().map(|r| r.1 - slope * r.0).collect());
            line.push(error(slope * rows[i].0 + shift));
        }
        println!(
            "baselines {age:6} s: ratio {:.1} %  constant {:.1} %  line {:.1} %",
            100.0 * median(ratio),
            100.0 * median(constant),
            100.0 * median(line)
        );
    }
}
