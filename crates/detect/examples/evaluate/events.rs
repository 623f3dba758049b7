//! Dated events of accounts: recall within six hours at given false alarms a day.

use std::{io::Read, path::Path};

use crate::nab::Labelled;

/// Reads the accounts; each series is posts per five minutes, the labels are its dated events.
pub fn load(dir: &Path) -> Vec<Labelled> {
    let events = std::fs::read_to_string(dir.join("EVENTS.tsv")).unwrap();
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "gz"))
        .collect();
    names.sort();
    names
        .iter()
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().trim_end_matches(".txt.gz").to_owned();
            let mut text = String::new();
            flate2::read::MultiGzDecoder::new(std::fs::File::open(path).unwrap())
                .read_to_string(&mut text)
                .unwrap();
            let bins: Vec<i64> = text
                .lines()
                .filter_map(|l| l.split(',').next()?.parse::<i64>().ok())
                .map(|t| t.div_euclid(300))
                .collect();
            let (first, last) = (*bins.iter().min().unwrap(), *bins.iter().max().unwrap());
            let mut counts = vec![0.0; (last - first + 1) as usize];
            bins.iter().for_each(|b| counts[(b - first) as usize] += 1.0);
            let rows: Vec<(i64, f64)> =
                counts.iter().enumerate().map(|(i, &c)| ((first + i as i64) * 300, c)).collect();
            let labels: Vec<i64> = events
                .lines()
                .skip(1)
                .map(|l| l.split('\t').collect::<Vec<_>>())
                .filter(|f| f[0] == name)
                .map(|f| f[1].parse::<f64>().unwrap() as i64)
                .filter(|t| *t >= rows[0].0 && *t <= rows[rows.len() - 1].0)
                .collect();
            let windows = labels.iter().map(|t| (*t, *t + 6 * 3600)).collect();
            Labelled { name, rows, windows, labels }
        })
        .collect()
}

/// Recall within six hours of each event at the level that gives `rate` false alarms a day.
pub fn recall(all: &[Labelled], surprise: &[Vec<f32>], rate: f64) -> (f32, f64, usize) {
    let measure = |level: f32| {
        let (mut wrong, mut days, mut caught, mut labels) = (0usize, 0.0, 0usize, 0usize);
        for (series, u) in all.iter().zip(surprise) {
            let starts: Vec<i64> =
                crate::nab::starts(series, u, level).into_iter().map(|i| series.rows[i].0).collect();
            wrong +=
                starts.iter().filter(|t| !series.windows.iter().any(|w| **t >= w.0 && **t <= w.1)).count();
            days += (series.rows.len() as f64 - 72.0 * series.labels.len() as f64).max(0.0) / 288.0;
            labels += series.labels.len();
            caught += series.windows.iter().filter(|w| starts.iter().any(|t| *t >= w.0 && *t <= w.1)).count();
        }
        (wrong as f64 / days, caught as f64 / labels as f64, labels)
    };
    let (mut low, mut high) = (0.2f32, 30.0f32);
    for _ in 0..24 {
        let mid = (low + high) / 2.0;
        if measure(mid).0 > rate { low = mid } else { high = mid }
    }
    let (_, recall, labels) = measure(high);
    (high, recall, labels)
}
