//! Choosing the constants: a smooth score of how rare the false alarms are at the level that catches each label, and a random walk over it.

use detect::{DetectPolicy, Series, Tuning};

use crate::nab::{self, Labelled};

/// Something to catch: rows of a series between which an alarm would be right.
struct Wanted {
    series: usize,
    from_s: i64,
    until_s: i64,
    weight: f64,
}

/// Everything a candidate is judged on.
pub struct Judge {
    sets: Vec<Set>,
    nab: Vec<Labelled>,
}

/// Series of one kind, with times whose alarms are no false ones.
struct Set {
    name: &'static str,
    series: Vec<Labelled>,
    wanted: Vec<Wanted>,
    weight: f64,
}

/// What a candidate is worth; more is better.
#[derive(Clone, Debug, Default)]
pub struct Worth {
    pub total: f64,
    pub parts: Vec<(String, f64)>,
}

impl Judge {
    pub fn new(nab: Vec<Labelled>, events: Vec<Labelled>) -> Self {
        let labels = |series: &[Labelled], before: i64, after: i64| -> Vec<Wanted> {
            series
                .iter()
                .enumerate()
                .flat_map(|(i, s)| {
                    s.labels.iter().map(move |l| Wanted {
                        series: i,
                        from_s: l - before,
                        until_s: l + after,
                        weight: 1.0,
                    })
                })
                .collect()
        };
        let marked = Set {
            name: "nab",
            wanted: labels(&nab, 7200, 3600),
            series: nab.iter().map(copy).collect(),
            weight: 1.0,
        };
        let dated = Set {
            name: "events",
            wanted: labels(&events, 0, 6 * 3600),
            series: events.iter().map(copy).collect(),
            weight: 0.7,
        };
        let sudden = inject("injected x4", &nab, 4.0, 1800, 3600, 0);
        let slow = inject("injected x2", &events, 2.5, 4 * 3600, 4 * 3600, 1);
        Self { sets: vec![marked, dated, sudden, slow], nab }
    }

    pub fn worth(&self, tuning: &Tuning) -> Worth {
        let mut worth = Worth::default();
        for set in &self.sets {
            let surprise: Vec<Vec<f32>> = set.series.iter().map(|s| run(s, tuning).0).collect();
            let (caught, uneven) = caught(set, &surprise);
            worth.parts.push((set.name.to_owned(), caught));
            worth.total += set.weight * caught;
            if set.name == "nab" {
                worth.parts.push(("uneven".to_owned(), uneven));
                worth.total -= 0.6 * uneven;
            }
        }
        let raw: f64 = self.nab.iter().map(|s| nab::raw_score(s, &run(s, tuning).1)).sum();
        let score = nab::normalised(raw, self.nab.iter().map(|s| s.windows.len()).sum());
        worth.parts.push(("score".to_owned(), score));
        worth.total += score / 300.0;
        worth
    }
}

fn copy(s: &Labelled) -> Labelled {
    Labelled {
        name: s.name.clone(),
        rows: s.rows.clone(),
        windows: s.windows.clone(),
        labels: s.labels.clone(),
    }
}

/// Multiplies the rate for a while at random times far from what is marked.
fn inject(name: &'static str, from: &[Labelled], times: f64, for_s: i64, within_s: i64, seed: u64) -> Set {
    let mut series: Vec<Labelled> = from.iter().map(copy).collect();
    let mut wanted = Vec::new();
    let mut state = 88_172_645_463_325_252u64 ^ (seed << 20);
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    for (index, one) in series.iter_mut().enumerate() {
        let (first, last) = (one.rows[0].0, one.rows[one.rows.len() - 1].0);
        let mut at = first + 5 * 86_400;
        while at < last - 86_400 {
            at += ((1.5 + 2.0 * random()) * 86_400.0) as i64;
            if one.windows.iter().any(|w| at > w.0 - 6 * 3600 && at < w.1 + 6 * 3600) {
                continue;
            }
            for row in one.rows.iter_mut().filter(|r| r.0 >= at && r.0 < at + for_s) {
                let extra = (row.1.max(0.3)) * (times - 1.0);
                row.1 +=
                    (extra + extra.sqrt() * (random() + random() + random() - 1.5) * 2.0).max(0.0).round();
            }
            one.windows.push((at, at + for_s + 3 * 3600));
            wanted.push(Wanted { series: index, from_s: at, until_s: at + within_s, weight: 1.0 });
        }
        one.windows.sort_unstable();
    }
    Set { name, series, wanted, weight: 0.5 }
}

/// Mean of `-log10` false alarms a day at the level that catches each, and how unevenly false alarms fall on series.
fn caught(set: &Set, surprise: &[Vec<f32>]) -> (f64, f64) {
    // False alarm starts at a ladder of levels, per series.
    const LEVELS: usize = 40;
    let level = |k: usize| 1.4 + 0.1 * k as f32;
    let mut days = Vec::new();
    let mut counts: Vec<[f64; LEVELS]> = Vec::new();
    for (s, u) in set.series.iter().zip(surprise) {
        let first = nab::probation(s.rows.len()).min(s.rows.len() / 4);
        let marked: i64 = s.windows.iter().map(|w| w.1 - w.0).sum();
        days.push(((s.rows[s.rows.len() - 1].0 - s.rows[first].0 - marked) as f64 / 86_400.0).max(0.5));
        counts.push(std::array::from_fn(|k| {
            nab::starts(s, u, level(k))
                .into_iter()
                .filter(|&i| {
                    i >= first && !s.windows.iter().any(|w| s.rows[i].0 >= w.0 && s.rows[i].0 <= w.1)
                })
                .count() as f64
        }));
    }
    let total: f64 = days.iter().sum();
    let pooled: Vec<f64> = (0..LEVELS).map(|k| counts.iter().map(|c| c[k]).sum::<f64>() / total).collect();
    let rate_at = |u: f32| -> f64 {
        let k = (((u - level(0)) / 0.1).max(0.0) as usize).min(LEVELS - 1);
        let into = f64::from(((u - level(k)) / 0.1).clamp(0.0, 1.0));
        let (a, b) = ((pooled[k] + 0.01).ln(), (pooled[(k + 1).min(LEVELS - 1)] + 0.01).ln());
        (a + (b - a) * into).exp()
    };
    let mut sum = 0.0;
    let mut weights = 0.0;
    for w in &set.wanted {
        let (rows, u) = (&set.series[w.series].rows, &surprise[w.series]);
        let from = rows.partition_point(|r| r.0 < w.from_s);
        let until = rows.partition_point(|r| r.0 <= w.until_s);
        let best = u[from..until].iter().copied().fold(0.0f32, f32::max);
        sum += w.weight * -rate_at(best).clamp(0.02, 2.0).log10();
        weights += w.weight;
    }
    let mut uneven = 0.0;
    for (c, d) in counts.iter().zip(&days) {
        for k in [14usize, 18, 21] {
            let nominal = 288.0 * 10f64.powf(-f64::from(level(k)));
            uneven += ((c[k] + 0.5) / (nominal * d + 0.5)).log10().abs();
        }
    }
    (sum / weights, uneven / (3.0 * days.len() as f64))
}

/// Runs one series; the surprise of each row and the rows that opened an episode.
pub fn run(series: &Labelled, tuning: &Tuning) -> (Vec<f32>, Vec<usize>) {
    run_with(series, tuning, DetectPolicy::for_series())
}

/// As [`run`] under another policy.
pub fn run_with(series: &Labelled, tuning: &Tuning, policy: DetectPolicy) -> (Vec<f32>, Vec<usize>) {
    let mut detector = Series::with_tuning(policy, *tuning);
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

/// Every constant that may move, by name.
pub fn knobs(t: &mut Tuning) -> Vec<(&'static str, &mut f32)> {
    let [t0, t1, t2] = &mut t.branch_tau_s;
    let [w0, w1, w2] = &mut t.branch_weight;
    vec![
        ("tau0", t0),
        ("tau1", t1),
        ("tau2", t2),
        ("w0", w0),
        ("w1", w1),
        ("w2", w2),
        ("root_offset", &mut t.root_offset),
        ("spread_floor", &mut t.spread_floor),
        ("spread_days", &mut t.spread_days),
        ("spread_clip", &mut t.spread_clip),
        ("level_days", &mut t.level_days),
        ("level_clip", &mut t.level_clip),
        ("shape_rate", &mut t.shape_rate),
        ("shape_prior", &mut t.shape_prior),
        ("freeze", &mut t.freeze_surprise),
        ("tail_threshold_min", &mut t.tail_threshold_min),
        ("tail_rate", &mut t.tail_rate),
        ("tail_gain", &mut t.tail_gain),
        ("tail_shape", &mut t.tail_shape),
        ("tail_prior", &mut t.tail_prior),
        ("tail_bound", &mut t.tail_bound),
        ("tail_weight_min", &mut t.tail_weight_min),
        ("day_rate", &mut t.day_rate),
        ("day_prior", &mut t.day_prior),
        ("tail_memory_rows", &mut t.tail_memory_rows),
        ("tail_excess", &mut t.tail_excess),
        ("tail_threshold", &mut t.tail_threshold),
    ]
}

/// The constant of this name, among those that no walk moves too.
pub fn knob<'a>(t: &'a mut Tuning, name: &str) -> &'a mut f32 {
    match name {
        "told_rise" => &mut t.told_rise_s,
        "told_step" => &mut t.told_step,
        "told_less" => &mut t.told_less,
        "told_fade" => &mut t.told_fade,
        "told_again" => &mut t.told_again,
        _ => knobs(t).into_iter().find(|knob| knob.0 == name).unwrap().1,
    }
}

/// Sets a constant as `KNOB=VALUE` says.
pub fn turn(t: &mut Tuning, pair: &str) {
    let (name, value) = pair.split_once('=').unwrap();
    *knob(t, name) = value.parse().unwrap();
}

/// A random walk that keeps what is better.
pub fn walk(judge: &Judge, start: Tuning, steps: usize, seed: u64) -> (Tuning, Worth) {
    let mut state = 0x2545_f491_4f6c_dd1du64 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let (mut best, mut worth) = (start, judge.worth(&start));
    for step in 0..steps {
        let mut next = best;
        let scale = if step % 3 == 0 { 0.6 } else { 0.2 };
        let mut all = knobs(&mut next);
        for _ in 0..1 + (random() * 3.0) as usize {
            let at = (random() * all.len() as f64) as usize;
            let gauss = random() + random() + random() + random() - 2.0;
            *all[at].1 *= (gauss * scale * 1.7).exp() as f32;
        }
        next.tail_shape = next.tail_shape.clamp(0.005, 0.4);
        next.shape_rate = next.shape_rate.min(0.8);
        let found = judge.worth(&next);
        if found.total > worth.total {
            (best, worth) = (next, found);
        }
    }
    (best, worth)
}

/// The geometric mean of two: what one walk found by luck is halved.
pub fn mean(mut walks: [Tuning; 2]) -> Tuning {
    let mut out = walks[0];
    let [first, second] = &mut walks;
    for ((out, a), b) in knobs(&mut out).into_iter().zip(knobs(first)).zip(knobs(second)) {
        *out.1 = (*a.1 * *b.1).sqrt();
    }
    out
}
