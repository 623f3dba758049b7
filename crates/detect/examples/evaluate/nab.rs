//! The series of company mentions: NAB's standard score, recall by false alarms, calibration.

use std::path::Path;

/// One series with its marked windows and labels, times in unix seconds.
pub struct Labelled {
    pub name: String,
    pub rows: Vec<(i64, f64)>,
    pub windows: Vec<(i64, i64)>,
    pub labels: Vec<i64>,
}

/// Rows ignored at the start of a series of this length, as NAB does.
pub fn probation(rows: usize) -> usize {
    (rows as f64 * 0.15).min(750.0) as usize
}

/// NAB's sigmoid of the position in a window: -1 at its start, 0 at its end, positive after.
fn sigmoid(y: f64) -> f64 {
    if y > 3.0 { -1.0 } else { 2.0 / (1.0 + (5.0 * y).exp()) - 1.0 }
}

/// The raw standard-profile score of one series for alarm rows (indices).
pub fn raw_score(series: &Labelled, alarms: &[usize]) -> f64 {
    let index_of = |t: i64| series.rows.partition_point(|r| r.0 < t);
    let windows: Vec<(usize, usize)> = series
        .windows
        .iter()
        .map(|w| (index_of(w.0), series.rows.partition_point(|r| r.0 <= w.1) - 1))
        .collect();
    let mut best = vec![f64::NAN; windows.len()];
    let mut wrong = 0.0;
    let first = probation(series.rows.len());
    for &row in alarms.iter().filter(|&&row| row >= first) {
        if let Some(w) = windows.iter().position(|w| (w.0..=w.1).contains(&row)) {
            let (left, right) = windows[w];
            let y = -((right - row + 1) as f64) / (right - left + 1) as f64;
            let s = sigmoid(y);
            best[w] = if best[w].is_nan() { s } else { best[w].max(s) };
        } else {
            let s = match windows.iter().rev().find(|w| w.1 < row) {
                None => -1.0,
                Some(&(left, right)) => sigmoid((row - right) as f64 / (right - left) as f64),
            };
            wrong += 0.11 * s.abs();
        }
    }
    best.iter().map(|s| if s.is_nan() { -1.0 } else { *s }).sum::<f64>() - wrong
}

/// The normalised score over several series.
pub fn normalised(raw: f64, windows: usize) -> f64 {
    100.0 * (raw + windows as f64) / (2.0 * windows as f64)
}

/// Starts of episodes above a level: rows less than an hour apart are one.
pub fn starts(series: &Labelled, surprise: &[f32], level: f32) -> Vec<usize> {
    let mut out = Vec::new();
    let mut last = i64::MIN / 2;
    for (i, &u) in surprise.iter().enumerate() {
        if u >= level {
            if series.rows[i].0 - last >= 3600 {
                out.push(i);
            }
            last = series.rows[i].0;
        }
    }
    out
}

/// What one level gives over several series.
#[derive(Default, Clone, Debug)]
pub struct Outcome {
    pub false_alarms: usize,
    pub days: f64,
    pub caught: usize,
    pub labels: usize,
    pub leads_min: Vec<f64>,
}

impl Outcome {
    pub fn rate(&self) -> f64 {
        self.false_alarms as f64 / self.days
    }
    pub fn recall(&self) -> f64 {
        self.caught as f64 / self.labels.max(1) as f64
    }
    pub fn lead(&self) -> f64 {
        let mut l = self.leads_min.clone();
        l.sort_by(f64::total_cmp);
        if l.is_empty() {
            f64::NAN
        } else if l.len() % 2 == 1 {
            l[l.len() / 2]
        } else {
            (l[l.len() / 2] + l[l.len() / 2 - 1]) / 2.0
        }
    }
}

/// Adds what a level gives on one series.
pub fn tally(series: &Labelled, surprise: &[f32], level: f32, out: &mut Outcome) {
    tally_starts(series, &starts(series, surprise, level), out);
}

/// Adds what alarms on these rows give on one series.
pub fn tally_starts(series: &Labelled, alarms: &[usize], out: &mut Outcome) {
    let first = probation(series.rows.len());
    let starts: Vec<i64> = alarms.iter().copied().filter(|&i| i >= first).map(|i| series.rows[i].0).collect();
    let inside = |t: i64| series.windows.iter().any(|w| t >= w.0 && t <= w.1);
    out.false_alarms += starts.iter().filter(|&&t| !inside(t)).count();
    let total: i64 = series.rows.last().unwrap().0 - series.rows[first].0;
    let windows: i64 = series.windows.iter().map(|w| w.1 - w.0).sum();
    out.days += (total - windows) as f64 / 86400.0;
    for &label in &series.labels {
        out.labels += 1;
        if let Some(&t) = starts.iter().find(|&&t| t >= label - 7200 && t <= label + 3600) {
            out.caught += 1;
            out.leads_min.push((label - t) as f64 / 60.0);
        }
    }
}

/// The level at which the pooled false alarms per day are at most `rate`, by bisection over seen levels.
pub fn at_rate(all: &[(&Labelled, &[f32])], rate: f64) -> (f32, Outcome) {
    let measure = |level: f32| {
        let mut o = Outcome::default();
        all.iter().for_each(|(s, u)| tally(s, u, level, &mut o));
        o
    };
    let (mut low, mut high) = (0.5f32, 30.0f32);
    for _ in 0..24 {
        let mid = (low + high) / 2.0;
        if measure(mid).rate() > rate { low = mid } else { high = mid }
    }
    (high, measure(high))
}

/// Reads the series of a folder.
pub fn load(dir: &Path) -> Vec<Labelled> {
    let json = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(dir.join(name)).unwrap()).unwrap()
    };
    let (labels, windows) = (json("labels.json"), json("windows.json"));
    let mut out = Vec::new();
    for (key, marked) in windows.as_object().unwrap() {
        let text = std::fs::read_to_string(dir.join(key)).unwrap();
        let rows = text
            .lines()
            .skip(1)
            .map(|l| {
                let (t, v) = l.split_once(',').unwrap();
                (unix(t), v.parse().unwrap())
            })
            .collect();
        out.push(Labelled {
            name: key.rsplit('_').next().unwrap().trim_end_matches(".csv").to_owned(),
            rows,
            windows: marked
                .as_array()
                .unwrap()
                .iter()
                .map(|w| (unix(w[0].as_str().unwrap()), unix(w[1].as_str().unwrap())))
                .collect(),
            labels: labels[key].as_array().unwrap().iter().map(|l| unix(l.as_str().unwrap())).collect(),
        });
    }
    out
}

/// `YYYY-MM-DD HH:MM:SS...` as unix seconds.
pub fn unix(text: &str) -> i64 {
    let n = |r: std::ops::Range<usize>| text[r].parse::<i64>().unwrap();
    let (y, m, d) = (n(0..4), n(5..7), n(8..10));
    let (y, m) = if m <= 2 { (y - 1, m + 9) } else { (y, m - 3) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (m * 306 + 5) / 10 + d - 1 - 719_468;
    days * 86400 + n(11..13) * 3600 + n(14..16) * 60 + n(17..19)
}
