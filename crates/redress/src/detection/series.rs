//! `redress detect series`: each row answered before the next is read.

use std::{path::PathBuf, process::ExitCode};

use detect::{DetectPolicy, Series, SeriesPoint};

use super::{hand_over, times};
use crate::lines::{Input, Line, Refusals};

/// Find bursts in a series of counts, row by row
///
/// Reads CSV `timestamp,value` in time order and writes `timestamp,value,surprise,alarm`, each row before the next
/// is read and in constant memory. Times are RFC 3339, `YYYY-MM-DD HH:MM:SS` (UTC) or unix seconds; the step between
/// rows is inferred.
///
/// `surprise` u says that on calm data episodes at least that surprising start 10^-u times per row (per five minutes
/// where rows are shorter); it is lower by one where a rise goes on for hours without growing.
///
/// `alarm` is 1 on the row where an episode opens, or an open one rises anew to a hundred times as rare.
/// `--reasons` says in words why.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  redress detect series mentions.csv
  tail -f counts.csv | redress detect series --false-alarms-per-day 0.05
  redress detect series --reasons mentions.csv | grep 'usual for'

Rows that are out of order, repeated, or no count are named on standard error and left out;
a gap between rows is no silence: nothing is learned from it, and what comes in right after it may be a backlog.")]
pub(crate) struct Args {
    /// CSV file; standard input if absent or `-`
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
    /// Wanted false alarms per day: sets when an alarm is raised, not the surprise
    #[arg(long, value_name = "RATE", default_value_t = DetectPolicy::default().false_alarms_per_day, value_parser = rate)]
    false_alarms_per_day: f32,
    /// Add a column `reason`: on an alarm's row what came, in the unit of the file, beside what is usual then
    #[arg(long)]
    reasons: bool,
}

/// Bytes written at once when input is plentiful.
const WRITE_BYTES: usize = 1 << 16;

/// Runs the command.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut input = Input::open(&args.file)?;
    let mut refusals = Refusals::default();
    let mut series = Series::new(DetectPolicy {
        false_alarms_per_day: args.false_alarms_per_day,
        ..DetectPolicy::for_series()
    });
    let mut out = b"timestamp,value,surprise,alarm".to_vec();
    out.extend_from_slice(if args.reasons { b",reason\n" } else { b"\n" });
    let name = input.name().to_owned();
    let mut first = true;
    loop {
        // The next line may have to be waited for: what is answered so far goes out before.
        if (input.drained() || out.len() >= WRITE_BYTES) && !hand_over(&mut out)? {
            return Ok(refusals.exit_code());
        }
        let Some((number, line)) = input.next_line()? else { break };
        match line {
            Line::TooLong => refusals.line(&name, number, "the line is too long"),
            Line::Text(text) => match answer(&mut series, text) {
                Ok(point) => {
                    write_row(&mut out, text, point);
                    if args.reasons {
                        write_reason(&mut out, &series, point);
                    }
                    out.push(b'\n');
                }
                Err(_) if first && is_header(text) => {}
                Err(reason) => refusals.line(&name, number, reason),
            },
        }
        first = false;
    }
    hand_over(&mut out)?;
    Ok(refusals.exit_code())
}

fn answer(series: &mut Series, line: &[u8]) -> Result<SeriesPoint, String> {
    let comma =
        line.iter().position(|b| *b == b',').ok_or("expected timestamp,value but there is no comma")?;
    let (time, value) = (field(&line[..comma]), field(&line[comma + 1..]));
    let at_s = times::parse(time).ok_or_else(|| {
        let beyond = if times::is_milliseconds(time) { " (milliseconds?)" } else { "" };
        format!(
            "timestamp {:?} is no RFC 3339 time, YYYY-MM-DD HH:MM:SS or unix seconds{beyond}",
            shown(time)
        )
    })?;
    let count = count(value).ok_or_else(|| format!("value {:?} is no number", shown(value)))?;
    series.row(at_s, count).map_err(|error| error.to_string())
}

/// A field without blanks, quotes and a byte order mark around it.
fn field(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii();
    bytes.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\"")).unwrap_or(bytes)
}

fn count(text: &[u8]) -> Option<f64> {
    // Whole counts are nearly all there is.
    if !text.is_empty() && text.len() <= 15 && text.iter().all(u8::is_ascii_digit) {
        return Some(text.iter().fold(0u64, |value, b| value * 10 + u64::from(b - b'0')) as f64);
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A first line whose fields hold no digit names the columns.
fn is_header(line: &[u8]) -> bool {
    line.contains(&b',') && !line.iter().any(u8::is_ascii_digit)
}

fn write_row(out: &mut Vec<u8>, line: &[u8], point: SeriesPoint) {
    out.extend_from_slice(line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line));
    out.push(b',');
    write_thousandths(out, point.surprise);
    out.extend_from_slice(if point.alarm { b",1" } else { b",0" });
}

/// The reason of an alarm, which holds no comma; empty on other rows.
fn write_reason(out: &mut Vec<u8>, series: &Series, point: SeriesPoint) {
    out.push(b',');
    if let Some(reason) = series.reason().filter(|_| point.alarm) {
        out.extend_from_slice(reason.words().as_bytes());
    }
}

/// Three decimals, by whole-number arithmetic: the general formatting costs more than the detection.
fn write_thousandths(out: &mut Vec<u8>, value: f32) {
    let scaled = (value.clamp(0.0, 1e6) * 1000.0).round() as u64;
    let mut digits = [b'0'; 12];
    let (mut rest, mut at) = (scaled, digits.len());
    while rest > 0 || at > digits.len() - 4 {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let (whole, fraction) = digits[at..].split_at(digits.len() - at - 3);
    out.extend_from_slice(whole);
    out.push(b'.');
    out.extend_from_slice(fraction);
}

fn shown(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 40;
    String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_MAX)]).into_owned()
}

fn rate(text: &str) -> Result<f32, String> {
    let value: f32 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    if value > 0.0 && value <= 1000.0 {
        Ok(value)
    } else {
        Err("it must be more than 0 and at most 1000".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_with_three_decimals() {
        for (value, text) in
            [(0.0, "0.000"), (0.0004, "0.000"), (3.4594, "3.459"), (12.3456, "12.346"), (1e9, "1000000.000")]
        {
            let mut out = Vec::new();
            write_thousandths(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn bad_rows_say_what_is_wrong_and_change_nothing() {
        let mut series = Series::new(DetectPolicy::default());
        assert!(answer(&mut series, b"2015-02-26 21:42:53,104").is_ok());
        for (line, said) in [
            ("2015-02-26 21:42:53,9", "the time repeats"),
            ("2015-02-26 21:37:53,9", "300 s before"),
            ("2015-02-26 21:47:53,NaN", "not a finite number"),
            ("2015-02-26 21:47:53,-1", "not a finite number"),
            ("2015-02-26 21:47:53,inf", "not a finite number"),
            ("2015-02-26 21:47:53,1e999", "not a finite number"),
            ("2015-02-26 21:47:53,many", "\"many\" is no number"),
            ("2015-02-26 21:47:53,", "\"\" is no number"),
            ("2015-02-26 21:47:53,1,2", "\"1,2\" is no number"),
            ("yesterday,1", "\"yesterday\" is no RFC 3339"),
            ("1424986973000,1", "unix seconds (milliseconds?)"),
            ("nothing", "no comma"),
        ] {
            let error = answer(&mut series, line.as_bytes()).unwrap_err();
            assert!(error.contains(said), "{line}: {error}");
        }
        assert!(answer(&mut series, b"\"2015-02-26 21:47:53\", 1.5e1 ").is_ok());
    }
}
