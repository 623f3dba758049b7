//! `redress detect cascade` and `redress train --task cascade`: forecasts of a thread, and fitting them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use detect::thread::{CascadeModel, Forecast, HORIZON_S, Thread, ThreadState};
use serde::Serialize;

use super::hand_over;
use crate::lines::{Input, Line, Refusals};

/// Forecast how far a thread will spread
///
/// Reads lines `seconds followers`, the first the original post, and writes a JSON line for each of
/// 600, 3600, 10800 and 21600 s, computed only from what was seen by then:
///
/// `seen` reactions so far; `expected_final` after seven days, without the original; `low` and `high`
/// bound its central 90 %; `p_at_least` is the probability (0..1) to end with so many or more.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  redress detect cascade thread.txt
  redress detect cascade --model weibo.model thread.txt
  redress detect cascade --size 300 --people 100000 --after 3600,43200 --doubling thread.txt

Followers may be 0 or left out where they are unknown. A header `count day` as in the TiDeH cascades is skipped.
Lines that are no reaction, or come before the one above them, are named on standard error and left out.
At the end of input the remaining checkpoints assume silence.")]
pub(crate) struct Args {
    /// A model made by `redress train --task cascade`; the shipped one if absent
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Sizes whose probability is told
    #[arg(long = "size", value_name = "REACTIONS", value_delimiter = ',', default_values_t = [500, 1000])]
    sizes: Vec<u32>,
    /// Also tell `answer_within_s`: seconds left to answer before so many people have had it before them (0: they
    /// have, null: not expected within seven days)
    #[arg(long, value_name = "PEOPLE")]
    people: Option<u32>,
    /// Also tell `expected_at`: reactions expected so many seconds after each checkpoint
    #[arg(long = "after", value_name = "SECONDS", value_delimiter = ',')]
    after_s: Vec<u32>,
    /// Also tell `doubling_s`: seconds until twice as many are expected (null: not within seven days)
    #[arg(long)]
    doubling: bool,
    /// A thread; standard input if absent or `-`
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
}

/// Ages at which a forecast is written, seconds.
const CHECKS_S: [u32; 4] = [600, 3600, 10_800, 21_600];
/// Most threads, and most reactions of all threads, that are fitted at once: training holds them in memory.
const THREADS_MAX: usize = 100_000;
const REACTIONS_MAX: usize = 20_000_000;

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
            if !write_forecast(&model.forecast(&state, i64::from(check_s)), check_s, &args)? {
                return Ok(refusals.exit_code());
            }
        }
        if after_s <= f64::from(HORIZON_S) {
            state.reaction(after_s as i64, followers);
        }
    }
    if !reader.begun {
        reader.name_absence(&mut refusals);
    }
    for check_s in checks {
        write_forecast(&model.forecast(&state, i64::from(check_s)), check_s, &args)?;
    }
    Ok(refusals.exit_code())
}

/// Fits a model to finished threads and writes it to `out` if given; prints how well it forecasts threads it has not seen.
///
/// Each of `train` is a file as for `detect cascade`, or a folder of them.
pub(crate) fn train(train: &[PathBuf], out: Option<&Path>) -> anyhow::Result<ExitCode> {
    let mut refusals = Refusals::default();
    let (mut threads, mut reactions) = (Vec::new(), 0);
    for path in files(train)? {
        let Some(thread) = read_thread(&path, REACTIONS_MAX - reactions, &mut refusals)? else { continue };
        reactions += thread.reactions.len();
        threads.push(thread);
        if threads.len() > THREADS_MAX {
            bail!("cannot fit more than {THREADS_MAX} threads at once");
        }
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
    let bytes_max = CascadeModel::BYTES_MAX;
    if size > bytes_max {
        bail!("model {} has {size} bytes, at most {bytes_max} are read", path.display());
    }
    let bytes = std::fs::read(path).with_context(|| format!("cannot read model {}", path.display()))?;
    CascadeModel::from_bytes(&bytes).with_context(|| format!("cannot use model {}", path.display()))
}

/// One line of output, in this order.
#[derive(Serialize)]
struct Told {
    at_s: u32,
    seen: u32,
    expected_final: f64,
    low: f64,
    high: f64,
    p_at_least: BTreeMap<u32, f64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    expected_at: BTreeMap<u32, f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    doubling_s: Option<Option<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_within_s: Option<Option<f64>>,
}

fn write_forecast(forecast: &Forecast, check_s: u32, args: &Args) -> anyhow::Result<bool> {
    let tenth = |value: f32| (f64::from(value) * 10.0).round() / 10.0;
    let share = |value: f32| (f64::from(value) * 1e4).round() / 1e4;
    let told = Told {
        at_s: check_s,
        seen: forecast.seen,
        expected_final: tenth(forecast.expected_final),
        low: tenth(forecast.low),
        high: tenth(forecast.high),
        p_at_least: args.sizes.iter().map(|size| (*size, share(forecast.p_at_least(*size as f32)))).collect(),
        expected_at: args.after_s.iter().map(|s| (*s, tenth(forecast.expected_at(*s as f32)))).collect(),
        doubling_s: args.doubling.then(|| forecast.doubling_s.map(tenth)),
        answer_within_s: args.people.map(|people| forecast.answer_within_s(people as f32).map(tenth)),
    };
    let mut line = serde_json::to_vec(&told)?;
    line.push(b'\n');
    hand_over(&mut line)
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
    /// The file is one of many that are threads or are not: one that begins as none is named once.
    is_whole: bool,
    is_left_out: bool,
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
            is_whole: false,
            is_left_out: false,
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
            match parse(text) {
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
                Err(reason) if !self.begun && self.is_whole => {
                    refusals.line(&self.name, number, format!("{reason}; the file is left out"));
                    self.is_left_out = true;
                    return Ok(None);
                }
                Err(reason) => refusals.line(&self.name, number, reason),
            }
        }
    }

    /// Names a file that ended without an original post.
    fn name_absence(&self, refusals: &mut Refusals) {
        if !self.is_left_out {
            refusals.line(&self.name, self.line_number.max(1), "there is no original post");
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

/// All files named, with folders replaced by the files in them that are not hidden, in the order of their names.
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
            let entry = entry.with_context(|| format!("cannot list {}", path.display()))?;
            let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            let file = entry.path();
            if file.is_file() && !is_hidden {
                inside.push(file);
            }
        }
        inside.sort();
        all.extend(inside);
    }
    Ok(all)
}

/// A finished thread; a file that is none is named and left out.
///
/// Fails beyond `reactions_max` reactions, which is what is left of [`REACTIONS_MAX`].
fn read_thread(path: &Path, reactions_max: usize, refusals: &mut Refusals) -> anyhow::Result<Option<Thread>> {
    let mut reader = ThreadReader { is_whole: true, ..ThreadReader::open(path)? };
    let mut thread = Thread { weight: 1.0, ..Thread::default() };
    while let Some(post) = reader.next(refusals)? {
        match post {
            Post::Original { followers } => thread.root_followers = followers,
            Post::Reaction { after_s, followers } if after_s <= f64::from(HORIZON_S) => {
                if thread.reactions.len() >= reactions_max {
                    bail!(
                        "cannot fit more than {REACTIONS_MAX} reactions at once, {} has too many",
                        reader.name
                    );
                }
                thread.reactions.push((after_s as u32, followers))
            }
            Post::Reaction { .. } => {}
        }
    }
    if !reader.begun {
        reader.name_absence(refusals);
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
