//! What the series detector promises for any rows, and on simulated worlds.
#![allow(clippy::unwrap_used)]

use detect::{
    DetectPolicy, RowError, Series, SeriesPoint,
    simulate::{Fault, Rhythmic, background},
};
use proptest::prelude::*;

const START_S: i64 = 1_700_006_400;
const DAY_S: i64 = 86_400;

/// Counts per five minutes; bins without delivery are absent where `gap` says so.
fn rows(seed: u64, per_row: f64, days: i64, faults: &[Fault], gap: std::ops::Range<i64>) -> Vec<(i64, f64)> {
    let events = background(seed, per_row / 300.0, START_S, days * DAY_S, &Rhythmic::default(), faults);
    let mut counts = vec![0.0; (days * 288) as usize];
    events.iter().for_each(|at_s| counts[((at_s - START_S) / 300) as usize] += 1.0);
    (0..days * 288)
        .filter(|bin| !gap.contains(bin))
        .map(|bin| (START_S + bin * 300, counts[bin as usize]))
        .collect()
}

fn run(rows: &[(i64, f64)]) -> Vec<SeriesPoint> {
    let mut series = Series::new(DetectPolicy::default());
    rows.iter().map(|(at_s, value)| series.row(*at_s, *value).unwrap()).collect()
}

fn alarms(rows: &[(i64, f64)]) -> Vec<i64> {
    run(rows)
        .iter()
        .zip(rows)
        .filter(|(point, _)| point.alarm)
        .map(|(_, row)| (row.0 - START_S) / 300)
        .collect()
}

#[test]
fn a_gap_with_its_backlog_is_no_burst() {
    let gap = 12 * 288..12 * 288 + 36;
    let fault = Fault::Backlog { at_s: gap.start * 300, for_s: (gap.end - gap.start) * 300 };
    for seed in 0..10 {
        let found = alarms(&rows(seed, 20.0, 14, &[fault], gap.clone()));
        assert!(found.iter().all(|bin| !(gap.end..gap.end + 12).contains(bin)), "seed {seed}: {found:?}");
    }
}

#[test]
fn a_rise_is_found_and_a_holiday_is_not() {
    let onset = 12 * 288 + 150;
    let found = |fault: Fault| {
        (0..10)
            .filter(|seed| {
                alarms(&rows(*seed, 20.0, 14, &[fault], 0..0))
                    .iter()
                    .any(|bin| (onset..onset + 6).contains(bin))
            })
            .count()
    };
    let rises = found(Fault::Onset { at_s: onset * 300, for_s: 7200, times: 8.0 });
    let holidays = found(Fault::Holiday { at_s: onset * 300, for_s: 7200, times: 0.2 });
    assert!(rises >= 9 && holidays <= 1, "{rises} {holidays}");
}

#[test]
fn surprise_means_the_rate_it_says_on_calm_data() {
    let (mut starts, mut days) = ([0usize; 3], 0.0);
    let nominal = [1.0, 0.3, 0.1];
    for seed in 0..30 {
        let rows = rows(seed, 10.0, 40, &[], 0..0);
        days += 38.0;
        for (count, rate) in starts.iter_mut().zip(nominal) {
            let level = (288.0f64 / rate).log10() as f32;
            let mut last = i64::MIN / 2;
            for (point, row) in run(&rows).iter().zip(&rows).skip(576) {
                if point.surprise >= level {
                    *count += usize::from(row.0 - last >= 3600);
                    last = row.0;
                }
            }
        }
    }
    for (count, rate) in starts.iter().zip(nominal) {
        let ratio = *count as f64 / days / rate;
        assert!((1.0 / 3.0..3.0).contains(&ratio), "nominal {rate} a day: realised {ratio} times that");
    }
}

#[test]
fn a_second_rise_on_top_of_a_long_first_is_an_alarm_again() {
    let first = 12 * 288 + 150;
    let (second, end) = (first + 60, first + 84);
    let faults = [
        Fault::Onset { at_s: first * 300, for_s: 8 * 3600, times: 2.5 },
        Fault::Onset { at_s: second * 300, for_s: 2 * 3600, times: 6.0 },
    ];
    let found = |faults: &[Fault]| {
        let alarms: Vec<Vec<i64>> = (0..10).map(|seed| alarms(&rows(seed, 20.0, 14, faults, 0..0))).collect();
        let within = |from: i64, until: i64| {
            alarms.iter().filter(|bins| bins.iter().any(|bin| (from..until).contains(bin))).count()
        };
        (within(first, first + 24), within(second, end))
    };
    let (alone, grown) = (found(&faults[..1]), found(&faults));
    assert!(alone.0 >= 8 && alone.1 <= 1 && grown.0 >= 8 && grown.1 >= 8, "{alone:?} {grown:?}");
}

#[test]
fn one_row_and_flat_zero_are_calm() {
    assert_eq!(run(&[(0, 5.0)]), [SeriesPoint::default()]);
    let zeros: Vec<(i64, f64)> = (0..2000).map(|i| (i * 60, 0.0)).collect();
    assert!(run(&zeros).iter().all(|point| !point.alarm && point.surprise.is_finite()));
}

fn any_rows() -> impl Strategy<Value = Vec<(i64, f64)>> {
    let value = prop_oneof![8 => 0.0f64..50.0, 1 => 0.0f64..1e300, 1 => Just(0.0)];
    let gap = prop_oneof![9 => Just(300i64), 1 => 1i64..1_000_000];
    (any::<i32>(), prop::collection::vec((gap, value), 1..300)).prop_map(|(start, all)| {
        let mut now_s = i64::from(start);
        all.into_iter()
            .map(|(gap, value)| {
                now_s += gap;
                (now_s, value)
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn a_prefix_of_the_rows_gives_a_prefix_of_the_answers(rows in any_rows(), cut in 0usize..300) {
        let whole = run(&rows);
        prop_assert!(whole.iter().all(|point| point.surprise.is_finite() && point.surprise >= 0.0));
        let cut = cut.min(rows.len());
        prop_assert_eq!(&run(&rows[..cut])[..], &whole[..cut]);
    }

    #[test]
    fn refused_rows_change_nothing(rows in any_rows(), at in 0usize..300, kind in 0u8..4) {
        let at = at.min(rows.len() - 1);
        let mut series = Series::new(DetectPolicy::default());
        let mut answers = Vec::new();
        for (i, (at_s, value)) in rows.iter().enumerate() {
            answers.push(series.row(*at_s, *value).unwrap());
            if i == at {
                let (bad, why) = match kind {
                    0 => ((*at_s, *value), RowError::Repeated),
                    1 => ((at_s - 7, *value), RowError::Unsorted(7)),
                    2 => ((at_s + 300, f64::NAN), RowError::NotACount),
                    _ => ((at_s + 300, -1.0), RowError::NotACount),
                };
                prop_assert_eq!(series.row(bad.0, bad.1), Err(why));
            }
        }
        prop_assert_eq!(answers, run(&rows));
    }
}

#[test]
fn two_equal_rows_are_no_surprise_whatever_their_step() {
    for step_s in [1, 60, 300, 3600, 86_400] {
        let mut series = Series::new(DetectPolicy::for_series());
        let told: Vec<f32> = (0..3).map(|k| series.row(k * step_s, 5.0).unwrap().surprise).collect();
        assert!(told.iter().all(|surprise| *surprise < 1.0), "{step_s} s: {told:?}");
    }
}

#[test]
fn a_rise_is_found_whatever_the_step_of_the_rows() {
    let calm_s = 10 * DAY_S + DAY_S / 2;
    for (seed, per_s) in [(1, 0.02), (2, 0.2), (3, 1.0)] {
        let mut events = background(seed, per_s, START_S, calm_s + 7200, &Rhythmic::default(), &[]);
        let rise_s = START_S + calm_s;
        events.extend(background(seed + 9, 4.0 * per_s, rise_s, 7200, &Rhythmic::default(), &[]));
        for step_s in [1, 10, 60, 300] {
            let mut counts = vec![0.0; ((calm_s + 7200) / step_s) as usize];
            events.iter().for_each(|at_s| counts[((at_s - START_S) / step_s) as usize] += 1.0);
            let rows: Vec<(i64, f64)> = (START_S..).step_by(step_s as usize).zip(counts).collect();
            let alarms = alarms(&rows);
            let rise = calm_s / 300;
            let found = alarms.iter().any(|bin| (rise..rise + 8).contains(bin));
            let early = alarms.iter().filter(|bin| **bin < rise).count();
            assert!(found, "{per_s} a second in rows of {step_s} s: {alarms:?}, rise at {rise}");
            assert!(early <= 3, "{per_s} a second in rows of {step_s} s: {early} false alarms");
        }
    }
}
