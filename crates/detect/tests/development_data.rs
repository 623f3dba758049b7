//! The development half beside the checkout, when it is there: floors well below what `docs/detection.md` reports.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]

use std::path::PathBuf;

use detect::{DetectPolicy, Series, thread::CascadeModel};

#[path = "../examples/evaluate/cascades.rs"]
mod cascades;
#[path = "../examples/evaluate/nab.rs"]
mod nab;

fn data(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/burst").join(name);
    if !path.exists() {
        println!("skipped: no development data beside the checkout");
        return None;
    }
    Some(path)
}

#[test]
fn company_mentions_score_and_false_alarms_are_as_promised() {
    let Some(dir) = data("nab") else { return };
    let all = nab::load(&dir);
    let (mut raw, mut windows) = (0.0, 0);
    let mut surprises = Vec::new();
    for one in &all {
        let mut series = Series::new(DetectPolicy::for_series());
        let points: Vec<_> = one.rows.iter().map(|row| series.row(row.0, row.1).unwrap()).collect();
        let alarms: Vec<usize> = (0..points.len()).filter(|row| points[*row].alarm).collect();
        raw += nab::raw_score(one, &alarms);
        windows += one.windows.len();
        let surprise: Vec<f32> = points.iter().map(|point| point.surprise).collect();
        let mut outcome = nab::Outcome::default();
        nab::tally(one, &surprise, 3.0, &mut outcome);
        let ratio = outcome.rate() / 0.288;
        assert!((1.0 / 3.0..3.0).contains(&ratio), "{}: {ratio} times the nominal false alarms", one.name);
        surprises.push(surprise);
    }
    let score = nab::normalised(raw, windows);
    assert!(score > 72.0, "{score}");
    let pairs: Vec<_> = all.iter().zip(&surprises).map(|(one, u)| (one, u.as_slice())).collect();
    let (_, outcome) = nab::at_rate(&pairs, 0.2);
    assert!(outcome.recall() >= 0.9 && outcome.lead() >= 5.0, "{outcome:?}");
}

#[test]
fn threads_of_the_same_kind_are_forecast_within_the_floors() {
    let Some(dir) = data("ced") else { return };
    // A third of the threads keeps the test short; floors leave room for the smaller fit.
    let threads: Vec<_> = cascades::ced(&dir).into_iter().step_by(3).collect();
    let (train, test) = threads.split_at(threads.len() / 2);
    let model = CascadeModel::fit(train).unwrap();
    let checks = cascades::predict(test.iter().map(|thread| (thread, &model)), 5);
    for ((rows, floor), age_s) in checks.iter().zip([0.42, 0.38, 0.35, 0.32]).zip(cascades::CHECKS_S) {
        let mut errors: Vec<f64> = rows.iter().map(|row| (row[1] - row[0]).abs() / row[0].max(1.0)).collect();
        errors.sort_by(f64::total_cmp);
        let median = errors[errors.len() / 2];
        assert!(median < floor, "{age_s} s: {median}");
        let covered = rows.iter().filter(|row| row[2].floor() <= row[0] && row[0] <= row[3].ceil()).count()
            as f64
            / rows.len() as f64;
        assert!((0.83..0.97).contains(&covered), "{age_s} s: {covered}");
    }
}
