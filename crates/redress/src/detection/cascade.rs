//! `redress detect cascade` and `redress train --task cascade`: forecasts of a thread, and fitting them.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use detect::thread::{CascadeModel, HORIZON_S, Thread, ThreadState};
use serde_json::{Map, Value, json};

use super::hand_over;
use crate::lines::{Input, Line, Refusals};

/// Forecast how far a thread will spread.
///
/// Reads lines `seconds followers`, the first the original post, and writes a JSON line for each of
/// 600, 3600, 10800 and 21600 s, computed only from what was seen by then. Counts are reactions
/// within seven days, without the original; `low` and `high` bound the central 90 %.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  redress detect cascade thread.txt
  redress detect cascade --model weibo.model thread.txt

Followers may be 0 or left out where they are unknown. A header `count day` as in the TiDeH cascades is skipped.
At the end of input the remaining checkpoints assume silence.")]
pub(crate) struct Args {
    /// A model made by `redress train --task cascade`; the shipped one if absent
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// A thread; standard input if absent or `-`
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
}

/// Ages at which a forecast is written, seconds.
const CHECKS_S: [u32; 4] = [600, 3600, 10_800, 21_600];
/// Sizes whose probability is written.
const SIZES: [u32; 2] = [500, 1000];
/// A model file larger than this is none.
const MODEL_BYTES_MAX: u64 = 64 << 20;
/// Threads of a folder beyond this are left out, so that training has a bound.
const THREADS_MAX: usize = 100_000;

/// Runs `detect cascade`.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let model = match &args.model {
        None => CascadeModel::shipped(),
        Some(path) => load(path)?,
    };
    let mut refusals = Refusals::default();
    let mut reader = ThreadReader::open(&args.file)?;
    let mut state = ThreadState::new(0, 0);
    let mut checks = CHECKS_S.into_iter().peekable();
    while let Some(post) = reader.next(&mut refusals)? {
        let Post::Reaction { after_s, followers } = post else {
            state = ThreadState::new(0, post.followers());
            continue;
        };
        while let Some(check_s) = checks.next_if(|check_s| after_s > f64::from(*check_s)) {
            if !write_forecast(&model, &state, check_s)? {
                return Ok(refusals.exit_code());
            }
        }
        if after_s <= f64::from(HORIZON_S) {
            state.reaction(after_s as i64, followers);
        }
    }
    if !reader.begun {
        refusals.line(&reader.name, reader.line_number, "there is no original post");
    }
    for check_s in checks {
        write_forecast(&model, &state, check_s)?;
    }
    Ok(refusals.exit_code())
}

/// Fits a model to finished threads and writes it to `out` if given; prints how well it forecasts threads it has not seen.
///
/// Each of `train` is a file as for `detect cascade`, or a folder of them.
pub(crate) fn train(train: &[PathBuf], out: Option<&Path>) -> anyhow::Result<ExitCode> {
    let mut refusals = Refusals::default();
    let mut threads = Vec::new();
    for path in files(train)? {
        threads.extend(read_thread(&path, &mut refusals)?);
    }
    if threads.len() > THREADS_MAX {
        bail!("cannot fit {} threads at once, at most {THREADS_MAX}", threads.len());
    }
    let (model, scores) = CascadeModel::fit_scored(&threads).context("cannot fit a thread forecast")?;
    for score in scores.iter().filter(|score| CHECKS_S.contains(&score.age_s)) {
        println!(
            "{:>6} s: {} threads with 5 reactions or more, median error {:.1} %, 90 % intervals hold {:.1} %",
            score.age_s,
            score.threads,
            100.0 * score.median_error,
            100.0 * score.covered
        );
    }
    if let Some(path) = out {
        std::fs::write(path, model.to_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
        println!("wrote {} from {} threads", path.display(), threads.len());
    }
    Ok(refusals.exit_code())
}

fn load(path: &Path) -> anyhow::Result<CascadeModel> {
    let size =
        std::fs::metadata(path).with_context(|| format!("cannot read model {}", path.display()))?.len();
    if size > MODEL_BYTES_MAX {
        bail!("model {} has {size} bytes, at most {MODEL_BYTES_MAX} are read", path.display());
    }
    let bytes = std::fs::read(path).with_context(|| format!("cannot read model {}", path.display()))?;
    CascadeModel::from_bytes(&bytes).with_context(|| format!("cannot use model {}", path.display()))
}

fn write_forecast(model: &CascadeModel, state: &ThreadState, check_s: u32) -> anyhow::Result<bool> {
    let forecast = model.forecast(state, i64::from(check_s));
    let tenth = |value: f32| (f64::from(value) * 10.0).round() / 10.0;
    let p: Map<String, Value> = SIZES
        .iter()
        .map(|size| {
            (size.to_string(), json!((f64::from(forecast.p_at_least(*size as f32)) * 1e4).round() / 1e4))
        })
        .collect();
    let line = json!({
        "at_s": check_s,
        "seen": forecast.seen,
        "expected_final": tenth(forecast.expected_final),
        "low": tenth(forecast.low),
        "high": tenth(forecast.high),
        "p_at_least": p,
    });
    hand_over(&mut format!("{line}\n").into_bytes())
}

/// One line of a thread.
enum Post {
    Original { followers: u64 },
    Reaction { after_s: f64, followers: u64 },
}

impl Post {
    fn followers(&self) -> u64 {
        match self {
            Self::Original { followers } | Self::Reaction { followers, .. } => *followers,
        }
    }
}

/// Lines `seconds followers` of one thread.
struct ThreadReader {
    input: Input,
    name: String,
    line_number: u64,
    begun: bool,
    start_s: f64,
    last_s: f64,
}

impl ThreadReader {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let input = Input::open(path)?;
        Ok(Self {
            name: input.name().to_owned(),
            input,
            line_number: 0,
            begun: false,
            start_s: 0.0,
            last_s: 0.0,
        })
    }

    /// The next post; lines that are none are named and passed over.
    fn next(&mut self, refusals: &mut Refusals) -> anyhow::Result<Option<Post>> {
        loop {
            let Some((number, line)) = self.input.next_line()? else { return Ok(None) };
            self.line_number = number;
            let Line::Text(text) = line else {
                refusals.line(&self.name, number, "the line is too long");
                continue;
            };
            let parsed = parse(text);
            match parsed {
                Ok((_, Followers::Fraction)) if !self.begun => {}
                Ok((_, Followers::Fraction)) => {
                    refusals.line(&self.name, number, "followers are no whole number")
                }
                Ok((seconds, Followers::Whole(followers))) if !self.begun => {
                    (self.begun, self.start_s, self.last_s) = (true, seconds, seconds);
                    return Ok(Some(Post::Original { followers }));
                }
                Ok((seconds, _)) if seconds < self.last_s => {
                    refusals.line(
                        &self.name,
                        number,
                        format!("the time is {} s before the previous line's", self.last_s - seconds),
                    );
                }
                Ok((seconds, Followers::Whole(followers))) => {
                    self.last_s = seconds;
                    return Ok(Some(Post::Reaction { after_s: seconds - self.start_s, followers }));
                }
                Err(reason) => refusals.line(&self.name, number, reason),
            }
        }
    }
}

enum Followers {
    Whole(u64),
    /// Only the header of a TiDeH cascade has one: the day it started.
    Fraction,
}

fn parse(line: &[u8]) -> Result<(f64, Followers), String> {
    let text = std::str::from_utf8(line).map_err(|_| "the line is no text")?;
    let mut fields =
        text.trim_start_matches('\u{feff}').split([' ', '\t', ',']).filter(|field| !field.is_empty());
    let seconds = fields.next().unwrap_or_default();
    let seconds: f64 = match seconds.parse() {
        Ok(value) if (0.0..=1e12).contains(&value) => value,
        _ => return Err(format!("seconds {:.40?} are no number of zero or more", seconds)),
    };
    let followers = match fields.next() {
        None => Followers::Whole(0),
        Some(text) => match (text.parse::<u64>(), text.parse::<f64>()) {
            (Ok(followers), _) => Followers::Whole(followers),
            (_, Ok(value)) if (0.0..367.0).contains(&value) => Followers::Fraction,
            _ => return Err(format!("followers {text:.40?} are no whole number of zero or more")),
        },
    };
    match fields.next() {
        None => Ok((seconds, followers)),
        Some(_) => Err("expected seconds and followers, there is more on the line".to_owned()),
    }
}

/// All files named, with folders replaced by the files in them, in the order of their names.
fn files(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for path in paths {
        if !path.is_dir() {
            all.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).with_context(|| format!("cannot list {}", path.display()))?;
        let mut inside = Vec::new();
        for entry in entries {
            let file = entry.with_context(|| format!("cannot list {}", path.display()))?.path();
            if file.is_file() {
                inside.push(file);
            }
        }
        inside.sort();
        all.extend(inside);
    }
    Ok(all)
}

/// A finished thread; a file without any original post is named and left out.
fn read_thread(path: &Path, refusals: &mut Refusals) -> anyhow::Result<Option<Thread>> {
    let mut reader = ThreadReader::open(path)?;
    let mut thread = Thread { weight: 1.0, ..Thread::default() };
    while let Some(post) = reader.next(refusals)? {
        match post {
            Post::Original { followers } => thread.root_followers = followers,
            Post::Reaction { after_s, followers } if after_s <= f64::from(HORIZON_S) => {
                thread.reactions.push((after_s as u32, followers))
            }
            Post::Reaction { .. } => {}
        }
    }
    if !reader.begun {
        refusals.line(&reader.name, reader.line_number, "there is no original post");
        return Ok(None);
    }
    Ok(Some(thread))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_thread_are_read_and_bad_ones_named() {
        assert!(matches!(parse(b"0 433344"), Ok((s, Followers::Whole(433_344))) if s == 0.0));
        assert!(matches!(parse(b" 12.5\t7 "), Ok((s, Followers::Whole(7))) if s == 12.5));
        assert!(matches!(parse(b"12"), Ok((_, Followers::Whole(0)))));
        assert!(matches!(parse(b"4963 0.500381944444"), Ok((_, Followers::Fraction))));
        assert!(matches!(parse(b"2190 2.19167824074"), Ok((_, Followers::Fraction))));
        for bad in ["x 1", "NaN 1", "-1 1", "inf 1", "1 -1", "1 many", "1 2 3", "1 2000.5"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
