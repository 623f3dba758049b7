//! The simulator's answers, where true onsets are known: delay against CUSUM at the same false alarms, and speed.

use detect::{
    Context, DetectPolicy, EpisodeSignal, Post, Series, SubjectState, Tally, Tuning, observe,
    simulate::{Fault, Rhythmic, background, generator},
};
use rand_chacha::rand_core::RngCore;

const START_S: i64 = 1_700_006_400;
const DAY_S: i64 = 86_400;
/// Rises per line.
const RISES: i64 = 240;
const ONSET_FOR_S: i64 = 6 * 3600;

/// One simulated series: counts per five minutes and the bins where true rises begin.
struct World {
    rows: Vec<(i64, f64)>,
    onsets: Vec<usize>,
}

fn world(seed: u64, per_row: f64, times: f64, every_days: i64) -> World {
    const DAYS: i64 = 42;
    let at: Vec<i64> = (0..30 / every_days)
        .map(|k| (10 + every_days * k) * DAY_S + (seed as i64 * 7919 + k * 31_337).rem_euclid(DAY_S))
        .collect();
    let faults: Vec<Fault> =
        at.iter().map(|at_s| Fault::Onset { at_s: *at_s, for_s: ONSET_FOR_S, times }).collect();
    let events = background(seed, per_row / 300.0, START_S, DAYS * DAY_S, &Rhythmic::default(), &faults);
    let mut counts = vec![0.0; (DAYS * 288) as usize];
    events.iter().for_each(|t| counts[((t - START_S) / 300) as usize] += 1.0);
    World {
        rows: counts.into_iter().enumerate().map(|(i, c)| (START_S + 300 * i as i64, c)).collect(),
        onsets: at.iter().map(|a| (a / 300) as usize).collect(),
    }
}

fn ours(world: &World, tuning: &Tuning) -> Vec<f32> {
    let mut series = Series::with_tuning(DetectPolicy::for_series(), *tuning);
    world.rows.iter().map(|r| series.row(r.0, r.1).unwrap().surprise).collect()
}

/// Poisson CUSUM against twice the level, which is a three-day mean times hour factors: what burst.md calls a strong simple rule.
fn cusum(world: &World) -> Vec<f32> {
    let (mut level, mut hours, mut sum) = (world.rows[0].1.max(0.1), [1.0f64; 24], 0.0f64);
    world
        .rows
        .iter()
        .map(|&(t, x)| {
            let hour = (t / 3600 % 24) as usize;
            let expected = (level * hours[hour]).max(0.05);
            sum = (sum + x * 2f64.ln() - expected).clamp(0.0, 60.0 * expected.max(1.0));
            let bounded = x.min(4.0 * (expected + expected.sqrt() + 1.0));
            level += (bounded / hours[hour] - level) / 864.0;
            hours[hour] += 0.02 * (bounded / level.max(0.05) - hours[hour]);
            (sum / expected.sqrt().max(1.0)) as f32
        })
        .collect()
}

/// Share of the rises found within six hours, and median delay in minutes.
type Found = (f64, f64);

/// One line of the tables: rises of a size among so much traffic, at so many false alarms a day.
struct Line {
    times: f64,
    per_row: f64,
    rate: f64,
    ours: Found,
    cusum: Found,
}

/// All lines for rises so many days apart, under these constants.
fn lines(every_days: i64, tuning: &Tuning) -> Vec<Line> {
    let mut lines = Vec::new();
    for times in [1.5, 2.0, 3.0, 5.0] {
        for per_row in [2.0, 20.0] {
            let worlds: Vec<World> = (0..(RISES * every_days / 30) as u64)
                .map(|seed| world(seed, per_row, times, every_days))
                .collect();
            let ours: Vec<Vec<f32>> = worlds.iter().map(|world| ours(world, tuning)).collect();
            let theirs: Vec<Vec<f32>> = worlds.iter().map(cusum).collect();
            lines.extend([0.1, 0.5].map(|rate| Line {
                times,
                per_row,
                rate,
                ours: at_rate(&worlds, &ours, rate),
                cusum: at_rate(&worlds, &theirs, rate),
            }));
        }
    }
    lines
}

/// The delays on one line under other constants: found here-by CUSUM (delay here-by CUSUM), lines as [`delays`] prints them.
pub fn against_cusum(tuning: &Tuning) -> String {
    let mut out = String::new();
    for every_days in [3, 10] {
        for Line { ours, cusum, .. } in lines(every_days, tuning) {
            out += &format!("{:.0}-{:.0}({:.0}-{:.0}) ", ours.0 * 100.0, cusum.0 * 100.0, ours.1, cusum.1);
        }
        out += "| ";
    }
    out
}

/// Prints, per size of rise, the share found within six hours and the median delay at 0.1 and 0.5 false alarms a day.
pub fn delays() {
    let cell = |(found, delay): Found| format!("{found:.2}, {delay:.0} min");
    for every_days in [3, 10] {
        println!("rises {every_days} days apart");
        println!(
            "rise   per 5 min  false alarms/day  ours: found, median delay   CUSUM: found, median delay"
        );
        for Line { times, per_row, rate, ours, cusum } in lines(every_days, &Tuning::SHIPPED) {
            println!(
                "x{times:<4} {per_row:>6}     {rate:>8}         {:>18}        {:>18}",
                cell(ours),
                cell(cusum)
            );
        }
    }
}

fn at_rate(worlds: &[World], scores: &[Vec<f32>], rate: f64) -> Found {
    const FIRST: usize = 5 * 288;
    let measure = |level: f32| {
        let (mut wrong, mut days, mut delays, mut onsets) = (0usize, 0.0, Vec::new(), 0usize);
        for (world, score) in worlds.iter().zip(scores) {
            let mut last = 0usize;
            let marked = |bin: usize| world.onsets.iter().any(|o| bin >= *o && bin < o + 72 + 36);
            for bin in (FIRST..score.len()).filter(|bin| score[*bin] >= level) {
                wrong += usize::from((last == 0 || bin - last >= 12) && !marked(bin));
                last = bin;
            }
            days += (score.len() - FIRST - world.onsets.len() * 108) as f64 / 288.0;
            onsets += world.onsets.len();
            for o in &world.onsets {
                // A bin's count is known at its end.
                delays.extend(
                    (*o..o + 72).find(|bin| score[*bin] >= level).map(|bin| ((bin - o) * 5) as f64 + 2.5),
                );
            }
        }
        (wrong as f64 / days, delays, onsets)
    };
    let (mut low, mut high) = (0.0f32, 500.0f32);
    for _ in 0..40 {
        let middle = (low + high) / 2.0;
        if measure(middle).0 > rate { low = middle } else { high = middle }
    }
    let (_, mut delays, onsets) = measure(high);
    delays.sort_by(f64::total_cmp);
    (delays.len() as f64 / onsets as f64, delays.get(delays.len() / 2).copied().unwrap_or(f64::NAN))
}

/// Prints how often calm subjects open an episode, over how often they may, from a hundred complaints a day to tens of
/// thousands, whose rate stands still or wanders: one threshold for all.
pub fn calm() {
    const FIRST_S: i64 = 10 * DAY_S;
    const WANTED: [f32; 3] = [0.1, 0.3, 1.0];
    for (per_day, days, subjects) in [(144.0, 60, 20), (1_000.0, 60, 20), (10_000.0, 30, 6)] {
        for wander in [0.0, 0.3, 0.6] {
            let mut opened = [0usize; WANTED.len()];
            for seed in 0..subjects {
                let rhythm = Rhythmic { wander, ..Rhythmic::default() };
                let events = background(seed, per_day / 86_400.0, START_S, days * DAY_S, &rhythm, &[]);
                for (opened, wanted) in opened.iter_mut().zip(WANTED) {
                    let policy = DetectPolicy { false_alarms_per_day: wanted, ..DetectPolicy::default() };
                    *opened += openings(&events, &policy, START_S + FIRST_S);
                }
            }
            let seen_days = (days - FIRST_S / DAY_S) as f64 * subjects as f64;
            let share = |(opened, wanted): (&usize, f32)| *opened as f64 / seen_days / f64::from(wanted);
            let shares: Vec<f64> = opened.iter().zip(WANTED).map(share).collect();
            println!("{per_day} a day, wander {wander}: realised / wanted at {WANTED:?} a day {shares:.2?}");
        }
    }
}

/// Episodes that open from a time on where everybody writes once.
fn openings(events: &[i64], policy: &DetectPolicy, from_s: i64) -> usize {
    let mut state = SubjectState::new();
    let mut opened = 0;
    for (n, at_s) in events.iter().enumerate() {
        let (author, text) = (n as u64, n as u64 + 1_000_000_000);
        let mut tally = Tally::at(*at_s);
        tally.add(Post { complaint: 0.9, severity: 1.0, arousal: 0.3, followers: 100, author, text });
        let signal = observe(&mut state, &tally, &Context::default(), policy).episode;
        let opens = matches!(signal, Some(EpisodeSignal::Opened | EpisodeSignal::Flapping));
        opened += usize::from(opens && *at_s >= from_s);
    }
    opened
}

/// Observes `millions` tallies over a million subjects; time it from outside, less what `0` takes.
pub fn speed(millions: usize) {
    const SUBJECTS: usize = 1_000_000;
    const BATCH: usize = 64;
    let mut random = generator(1, 0);
    let traffic: Vec<(u32, Tally)> = (0..1_000_000)
        .map(|i| {
            let u = (random.next_u32() as f64 + 0.5) / 4_294_967_296.0;
            let rank = ((SUBJECTS as f64).powf(u) - 1.0) as u32;
            let mut tally = Tally::at(START_S + i / 1000);
            let (author, text) = (random.next_u64(), random.next_u64());
            tally.add(Post { complaint: 0.6, severity: 1.0, arousal: 0.4, followers: 300, author, text });
            (rank.wrapping_mul(2_654_435_761) % SUBJECTS as u32, tally)
        })
        .collect();
    let mut states = vec![SubjectState::new(); SUBJECTS];
    let (context, policy) = (Context::default(), DetectPolicy::default());
    let mut opened = 0;
    for round in 0..millions {
        for batch in traffic.chunks(BATCH) {
            std::hint::black_box(
                batch.iter().fold(0, |sum, (subject, _)| sum ^ states[*subject as usize].touch()),
            );
            for (subject, tally) in batch {
                let tally = Tally { at_s: tally.at_s + 1000 * round as i64, ..*tally };
                let state = &mut states[*subject as usize];
                opened += usize::from(observe(state, &tally, &context, &policy).episode.is_some());
            }
        }
    }
    println!("{millions} million tallies, {opened} changes of episodes");
}
