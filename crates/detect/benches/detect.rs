//! Tallies and rows per second, beside two plain detectors that people would write instead.
//!
//! `tallies` is one observation per element over a million subjects with Zipf traffic, states held in one vector.
#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use detect::{
    Context, DetectPolicy, Series, SubjectState, observe,
    simulate::zipf_tallies,
    thread::{CascadeModel, ThreadState},
};

const SUBJECTS: u32 = 1_000_000;
const TALLIES: usize = 1_000_000;
/// Subjects touched ahead: tallies arrive in batches.
const BATCH: usize = 64;

fn tallies(c: &mut Criterion) {
    let traffic = zipf_tallies(SUBJECTS, TALLIES, 1);
    let mut states = vec![SubjectState::new(); SUBJECTS as usize];
    let (context, policy) = (Context::default(), DetectPolicy::default());
    let mut group = c.benchmark_group("detect");
    group.throughput(Throughput::Elements(TALLIES as u64)).sample_size(10);
    group.bench_function("tallies", |b| {
        b.iter(|| {
            let mut surprise = 0.0;
            for batch in traffic.chunks(BATCH) {
                black_box(batch.iter().fold(0, |sum, (subject, _)| sum ^ states[*subject as usize].touch()));
                for (subject, tally) in batch {
                    surprise += observe(&mut states[*subject as usize], tally, &context, &policy).surprise;
                }
            }
            black_box(surprise)
        });
    });
    group.finish();
}

fn rows() -> Vec<(i64, f64)> {
    let events = detect::simulate::background(
        7,
        0.1,
        1_700_006_400,
        100 * 86_400,
        &detect::simulate::Rhythmic::default(),
        &[],
    );
    let mut counts = vec![0.0; 28_800];
    events.iter().for_each(|at_s| counts[((at_s - 1_700_006_400) / 300) as usize] += 1.0);
    counts.into_iter().enumerate().map(|(i, count)| (1_700_006_400 + 300 * i as i64, count)).collect()
}

/// Mean and deviation of the last day, kept as a ring.
fn three_sigma(rows: &[(i64, f64)]) -> usize {
    const DAY: usize = 288;
    let (mut ring, mut sum, mut squares, mut alarms) = ([0.0; DAY], 0.0f64, 0.0f64, 0);
    for (i, (_, x)) in rows.iter().enumerate() {
        let n = i.min(DAY) as f64;
        if n > 10.0 {
            let mean = sum / n;
            let deviation = (squares / n - mean * mean).max(0.0).sqrt().max(1.0);
            alarms += usize::from((x - mean) / deviation > 3.0);
        }
        let old = std::mem::replace(&mut ring[i % DAY], *x);
        sum += x - old;
        squares += x * x - old * old;
    }
    alarms
}

/// Streaming peaks over threshold after the mean of the last day is taken off (DSPOT), fitted by moments.
fn dspot(rows: &[(i64, f64)]) -> usize {
    const DEPTH: usize = 288;
    const Q: f64 = 1e-4;
    let (mut ring, mut sum, mut first) = ([0.0; DEPTH], 0.0f64, Vec::new());
    let (mut threshold, mut peaks, mut m1, mut m2, mut alarms) = (f64::MAX, 0.0f64, 0.0f64, 0.0f64, 0);
    for (i, (_, x)) in rows.iter().enumerate() {
        let residual = x - sum / i.clamp(1, DEPTH) as f64;
        if first.len() < 4 * DEPTH {
            first.push(residual);
            if first.len() == 4 * DEPTH {
                first.sort_by(f64::total_cmp);
                threshold = first[first.len() * 98 / 100];
            }
        } else if residual > threshold {
            let excess = residual - threshold;
            let (mean, square) = (m1 / peaks.max(1.0), m2 / peaks.max(1.0));
            let ratio = mean * mean / (square - mean * mean).max(1e-9);
            let (shape, scale) = (0.5 * (1.0 - ratio), 0.5 * mean * (1.0 + ratio));
            let limit = scale / shape * ((Q * i as f64 / peaks.max(1.0)).powf(-shape) - 1.0);
            if peaks > 10.0 && excess > limit {
                alarms += 1;
            } else {
                peaks += 1.0;
                m1 += excess;
                m2 += excess * excess;
            }
        }
        sum += x - std::mem::replace(&mut ring[i % DEPTH], *x);
    }
    alarms
}

fn series(c: &mut Criterion) {
    let rows = rows();
    let mut group = c.benchmark_group("rows");
    group.throughput(Throughput::Elements(rows.len() as u64)).sample_size(20);
    group.bench_function("redress", |b| {
        b.iter_batched(
            || Series::new(DetectPolicy::for_series()),
            |mut series| {
                rows.iter().filter(|(at_s, x)| series.row(*at_s, *x).is_ok_and(|point| point.alarm)).count()
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("rolling 3 sigma", |b| b.iter(|| three_sigma(black_box(&rows))));
    group.bench_function("dspot", |b| b.iter(|| dspot(black_box(&rows))));
    group.finish();
}

fn threads(c: &mut Criterion) {
    let model = CascadeModel::shipped();
    let mut state = ThreadState::new(0, 1000);
    let mut at_s = 0;
    let mut group = c.benchmark_group("thread");
    group.bench_function("reaction", |b| {
        b.iter(|| {
            at_s += 7;
            state.reaction(at_s, black_box(250));
        });
    });
    let mut state = ThreadState::new(0, 1000);
    (0..200).for_each(|i| state.reaction(i * 11, 250));
    group.bench_function("forecast", |b| b.iter(|| model.forecast(black_box(&state), 3600)));
    group.finish();
}

criterion_group!(benches, tallies, series, threads);
criterion_main!(benches);
