//! Clocks, quantiles, and how figures are written.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::super::wire::{self, Form, Format};

/// Ticks of the kernel's accounts in a second: part of Linux's interface.
const TICKS_PER_SECOND: f64 = 100.0;

/// Wall time and processor time of this process, all threads, since it was begun.
pub(super) struct Stopwatch {
    wall: Instant,
    cpu_s: f64,
}

impl Stopwatch {
    pub(super) fn start() -> Self {
        Self { wall: Instant::now(), cpu_s: cpu_s() }
    }

    pub(super) fn wall(&self) -> Duration {
        self.wall.elapsed()
    }

    /// In seconds, to a hundredth.
    pub(super) fn cpu_s(&self) -> f64 {
        cpu_s() - self.cpu_s
    }
}

/// Zero where the kernel does not tell.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in parentheses may hold anything; user and system time are fields 14 and 15.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|f| f.parse::<f64>().ok());
    ticks.sum::<f64>() / TICKS_PER_SECOND
}

/// Resident memory of this process, in bytes; zero where the kernel does not tell.
pub(super) fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|l| l.trim().strip_suffix("kB")).and_then(|kib| kib.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1_024
}

/// Half of the values lie below it; zero of none.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// How latencies are spread, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Quantiles {
    pub(super) count: usize,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) p999_ms: f64,
    pub(super) max_ms: f64,
}

impl Quantiles {
    pub(super) fn of(mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        // The smallest value that so many are not above.
        let at = |share: f64| {
            let rank = (share * latencies.len() as f64).ceil() as usize;
            let found = latencies.get(rank.saturating_sub(1)).copied().unwrap_or_default();
            (found.as_secs_f64() * 1e5).round() / 100.0
        };
        Self {
            count: latencies.len(),
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: at(1.0),
        }
    }

    pub(super) fn cells(&self) -> Vec<String> {
        let ms = |value: f64| format!("{value:.1}");
        vec![ms(self.p50_ms), ms(self.p99_ms), ms(self.p999_ms), ms(self.max_ms), self.count.to_string()]
    }
}

/// A number people can read: thousands apart.
pub(super) fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}

/// Writes `figures` as asked: `headings` and `rows` for people, then `remarks`.
///
/// # Errors
/// When they cannot be written.
pub(super) fn write(
    form: Form,
    figures: &impl Serialize,
    headings: &[&str],
    rows: &[Vec<String>],
    remarks: &[String],
) -> anyhow::Result<()> {
    match form.format() {
        Format::Table => {
            wire::table(headings, rows)?;
            remarks.iter().try_for_each(|remark| wire::line(remark))
        }
        Format::Json => wire::line(&serde_json::to_string_pretty(figures)?),
        Format::Jsonl => wire::line(&serde_json::to_string(figures)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let found = Quantiles::of((1..=1_000).rev().map(Duration::from_millis).collect());
        assert_eq!(
            (found.count, found.p50_ms, found.p99_ms, found.p999_ms, found.max_ms),
            (1_000, 500.0, 990.0, 999.0, 1_000.0)
        );
        assert_eq!(Quantiles::of(vec![Duration::from_millis(7)]).p50_ms, 7.0);
        assert_eq!(Quantiles::of(Vec::new()), Quantiles::default());
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (value, text) in [(0.0, "0"), (999.0, "999"), (1_000.0, "1,000"), (-1_234_567.0, "-1,234,567")] {
            assert_eq!(thousands(value), text);
        }
    }

    #[test]
    fn this_process_has_used_time_and_memory() {
        assert!(cpu_s() >= 0.0 && resident_bytes() > 0);
    }
}
