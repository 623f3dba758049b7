//! An episode explained for a terminal of 80 columns: how it went, who drove it, what was decided.

use std::str::FromStr;

use contracts::alert::v1::{
    Branch, Contributor, ContributorKind, Episode, ExplainResponse, Timeline, TimelineStep,
};

use super::wire::{cut, time, word};

/// The width everything fits in, characters.
const WIDTH: usize = 80;
/// The width of a bar.
const BAR: usize = 12;
/// Minutes about the opening that have a line each.
const RISE_BEFORE_MIN: i64 = 10;
const RISE_MIN: i64 = 20;
/// Most lines for all other time.
const LINES_MAX: usize = 20;
/// Contributors shown of each kind.
const CONTRIBUTORS_MAX: usize = 5;
const MINUTE_US: i64 = 60_000_000;

/// Another setting to try: `threshold=2.5`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct WhatIf {
    /// A surprise, for threads a probability.
    pub(crate) threshold: f64,
}

impl FromStr for WhatIf {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let threshold = text.strip_prefix("threshold=").and_then(|number| number.parse::<f64>().ok());
        let threshold = threshold.filter(|number| number.is_finite() && *number > 0.0);
        threshold
            .map(|threshold| Self { threshold })
            .ok_or_else(|| format!("'{text}' is no setting to try; it looks like threshold=2.5"))
    }
}

/// What is told of an answer, line by line.
pub(crate) fn lines(answer: &ExplainResponse, asked: Option<WhatIf>) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(episode) = &answer.episode {
        head(episode, &mut out);
    }
    match &answer.timeline {
        Some(timeline) if !timeline.steps.is_empty() => {
            steps(timeline, &mut out);
            contributors(timeline, &mut out);
        }
        _ => out.extend([String::new(), "No timeline was kept of it.".to_owned()]),
    }
    out.extend([String::new(), "DECISIONS".to_owned()]);
    for decision in &answer.decisions {
        out.push(format!("{}  {}", time(decision.at_us), plain(&decision.action.replace('_', " "))));
        let why = decision.reason.as_ref().map(|reason| plain(&reason.text)).unwrap_or_default();
        wrap(&why, "  ", &mut out);
    }
    what_if(answer, asked, &mut out);
    out
}

fn head(episode: &Episode, out: &mut Vec<String>) {
    wrap(&plain(&episode.title), "", out);
    let state = word(episode.state().as_str_name(), "EPISODE_STATE_").replace('_', " ");
    out.push(format!("{state}, since {}, rule {}", time(episode.since_us), plain(&episode.rule)));
}

fn steps(timeline: &Timeline, out: &mut Vec<String>) {
    let rows = rows(timeline);
    let is_thread = timeline.steps.iter().any(|step| step.thread.is_some());
    let top = rows.iter().map(|row| row.level().max(row.open_at)).fold(f32::MIN_POSITIVE, f32::max);
    let head = match is_thread {
        true => [("NEW", 6), ("SEEN", 7), ("EXPECTED", 8), ("90 % BETWEEN", 15), ("P", 5)],
        false => [("POSTS", 6), ("WINDOW", 6), ("PEOPLE", 6), ("USUAL", 9), ("SURP.", 6)],
    };
    let cells = head.iter().map(|(name, width)| format!("{name:>width$}")).collect::<Vec<_>>().join(" ");
    out.extend([String::new(), format!("{:11} {cells} | opens", "UTC")]);
    let mut branch = Branch::Unspecified;
    for row in &rows {
        let cells = match &row.thread {
            Some(thread) => format!(
                "{:>6} {:>7} {:>8.0} {:>15} {:>5.2}",
                row.posts,
                thread.seen,
                thread.expected_final,
                format!("{:.0}-{:.0}", thread.low, thread.high),
                thread.p_viral
            ),
            None if is_thread => format!("{:>6} {:>7} {:>8} {:>15} {:>5}", row.posts, "", "", "", ""),
            None => format!(
                "{:>6} {:>6.0} {:>6.0} {:>9} {:>6.1}",
                row.posts,
                row.window_complaints,
                row.people,
                format!("{:.0}-{:.0}", row.usual_low, row.usual_high),
                row.surprise
            ),
        };
        let is_new = row.branch() != branch && row.surprise >= 1.0;
        branch = if row.surprise >= 1.0 { row.branch() } else { branch };
        let is_opening = (row.at_us..row.end_us()).contains(&timeline.opened_at_us);
        let note = match (is_opening, pace(branch)) {
            (true, "") => " OPENED".to_owned(),
            (true, pace) => format!(" OPENED, {pace}"),
            (false, pace) if is_new && !pace.is_empty() => format!(" {pace}"),
            _ => String::new(),
        };
        let bar = bar(row.level(), row.open_at, top);
        let line = format!("{:11} {cells} {bar}{note}", &time(row.at_us)[5..16]);
        out.push(cut(line.trim_end(), WIDTH));
    }
    let note = match is_thread {
        true => "NEW: reactions in that time. Bar: chance to pass the size that counts as spread.",
        false => "WINDOW, PEOPLE, USUAL: complaints of the last minutes at the most surprising moment.",
    };
    wrap(note, "", out);
}

const fn pace(branch: Branch) -> &'static str {
    match branch {
        Branch::Unspecified => "",
        Branch::Sudden => "sudden",
        Branch::Building => "building",
        Branch::Slow => "slow",
    }
}

/// A bar as long as `value` is of `top`, with a mark where it takes `open_at` to open.
fn bar(value: f32, open_at: f32, top: f32) -> String {
    let place = |number: f32| (number / top * BAR as f32).round().clamp(0.0, BAR as f32) as usize;
    let (filled, mark) = (place(value), place(open_at));
    let cell = |n: usize| match n {
        n if open_at > 0.0 && n == mark => '|',
        n if n < filled => '#',
        _ => ' ',
    };
    (0..=BAR).map(cell).collect::<String>().trim_end().to_owned()
}

/// A line for each minute about the opening; other steps joined until they are few enough.
fn rows(timeline: &Timeline) -> Vec<TimelineStep> {
    let opened = timeline.opened_at_us.div_euclid(MINUTE_US);
    let is_rise = |step: &TimelineStep| {
        let minute = step.at_us.div_euclid(MINUTE_US);
        opened != 0 && (opened - RISE_BEFORE_MIN..opened + RISE_MIN).contains(&minute)
    };
    let mut minutes = 1;
    loop {
        let mut rows: Vec<(i64, TimelineStep)> = Vec::new();
        let mut others = 0;
        for step in &timeline.steps {
            let minute = step.at_us.div_euclid(MINUTE_US);
            // Those about the opening are told apart from the others by their sign.
            let key = if is_rise(step) { -1 - minute.max(0) } else { minute.max(0).div_euclid(minutes) };
            match rows.last_mut() {
                Some((last, row)) if *last == key => row.join(step),
                _ => {
                    others += usize::from(key >= 0);
                    rows.push((key, *step));
                }
            }
        }
        // A day a line is never too much to double.
        if others <= LINES_MAX || minutes > 1_000_000 {
            return rows.into_iter().map(|(_, row)| row).collect();
        }
        minutes *= 2;
    }
}

fn contributors(timeline: &Timeline, out: &mut Vec<String>) {
    if timeline.contributors.is_empty() {
        return;
    }
    out.extend([String::new(), "WHO DROVE IT".to_owned()]);
    for (kind, label) in [
        (ContributorKind::Author, "author"),
        (ContributorKind::Thread, "thread"),
        (ContributorKind::Source, "source"),
        (ContributorKind::Topic, "topic"),
    ] {
        // Of a crowd in which nobody wrote twice, nobody is named.
        let is_one_of_many = |one: &&Contributor| kind == ContributorKind::Author && one.posts < 2;
        let of_kind: Vec<_> = timeline.contributors.iter().filter(|one| one.kind() == kind).collect();
        if !of_kind.is_empty() && of_kind.iter().all(is_one_of_many) {
            out.push(format!("{label:7} many people, none of them known to have written twice"));
            continue;
        }
        let of_kind = of_kind.into_iter().filter(|one| !is_one_of_many(one));
        for one in of_kind.take(CONTRIBUTORS_MAX) {
            let what = match kind {
                ContributorKind::Thread => format!("{:.0} % likely to spread", one.p_spread * 100.0),
                _ => format!("{} {}", one.posts, if one.posts == 1 { "post" } else { "posts" }),
            };
            out.push(cut(&format!("{label:7} {:50} {what:>21}", cut(&name(one), 50)), WIDTH));
        }
    }
}

fn name(one: &Contributor) -> String {
    match one.handle.is_empty() {
        true => plain(&one.name),
        false => format!("@{} ({})", plain(&one.handle), plain(&one.name)),
    }
}

fn what_if(answer: &ExplainResponse, asked: Option<WhatIf>, out: &mut Vec<String>) {
    out.extend([String::new(), "WHAT IF".to_owned()]);
    match (&answer.what_if, asked) {
        (Some(told), _) => wrap(&plain(&told.text), "", out),
        (None, Some(_)) => out.push("No timeline was kept to tell it from.".to_owned()),
        (None, None) => out.push("Another threshold, told from the above: --what-if threshold=N".to_owned()),
    }
    let steps = answer.timeline.iter().flat_map(|timeline| &timeline.steps);
    let (from, to) = (steps.clone().next(), steps.last());
    let span = from.zip(to).map(|(from, to)| (from.at_us, to.at_us));
    let of_episode = answer.episode.as_ref().map(|episode| (episode.since_us, episode.changed_at_us));
    if let Some((from_us, to_us)) = span.or(of_episode) {
        let day = |us: i64| time(us)[..10].to_owned();
        out.push(format!(
            "Other rules, run on the log: redress backtest --rules FILE --data DIR\n  --from {} --to {}",
            day(from_us),
            day(to_us.saturating_add(86_400_000_000))
        ));
    }
}

/// What somebody wrote, without what a terminal would obey.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Words in lines that fit, each after `indent`.
fn wrap(text: &str, indent: &str, out: &mut Vec<String>) {
    let room = WIDTH - indent.len();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let word = cut(word, room);
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > room {
            out.push(format!("{indent}{line}"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&word);
    }
    if !line.is_empty() {
        out.push(format!("{indent}{line}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::alert::v1::{Decision, Reason, ThreadStep};

    /// 2026-01-02T12:00:00Z
    const NOON_US: i64 = 1_767_355_200_000_000;

    fn step(minute: i64, surprise: f32) -> TimelineStep {
        TimelineStep {
            at_us: NOON_US + minute * MINUTE_US,
            length_s: 60,
            posts: 12,
            complaints: 10.5,
            window_complaints: 31.0,
            people: 19.0,
            window_s: 600,
            usual_low: 1.0,
            usual_high: 4.0,
            surprise,
            open_at: 3.46,
            branch: Branch::Sudden.into(),
            coverage: 1.0,
            thread: None,
        }
    }

    fn answer(steps: Vec<TimelineStep>) -> ExplainResponse {
        let author = Contributor {
            kind: ContributorKind::Author.into(),
            name: "ndjson::author-with-a-very-long-name-that-goes-on-and-on-and-on".into(),
            handle: "bob\u{1b}[31m".into(),
            posts: 4,
            ..Contributor::default()
        };
        let thread = Contributor {
            kind: ContributorKind::Thread.into(),
            name: "thread/acme/0b7c6a7e-55c1-5a0e-8f5e-3d2f6f1d2a10".into(),
            p_spread: 0.71,
            ..Contributor::default()
        };
        let decision = |text: &str| Decision {
            at_us: NOON_US,
            action: "held_back".into(),
            reason: Some(Reason { text: text.into(), ..Reason::default() }),
        };
        ExplainResponse {
            episode: Some(Episode { title: "acme: complaints are rising".into(), ..Episode::default() }),
            decisions: vec![decision(&"many words ".repeat(40)), decision("short")],
            timeline: Some(Timeline {
                steps,
                opened_at_us: NOON_US + 12 * MINUTE_US + 5,
                contributors: vec![author, thread],
            }),
            what_if: None,
        }
    }

    fn told(answer: &ExplainResponse) -> String {
        let lines = lines(answer, None);
        for line in lines.iter().flat_map(|line| line.lines()) {
            assert!(line.chars().count() <= WIDTH, "{} characters: {line}", line.chars().count());
            assert!(!line.contains('\u{1b}'), "{line}");
        }
        lines.join("\n")
    }

    #[test]
    fn a_rise_is_told_in_eighty_columns_with_its_threshold() {
        let told = told(&answer((10..15).map(|minute| step(minute, (minute - 10) as f32 * 1.75)).collect()));
        for expected in [
            "01-02 12:10     12     31     19       1-4    0.0       |",
            "01-02 12:12     12     31     19       1-4    3.5 ######| OPENED, sudden",
            "01-02 12:14     12     31     19       1-4    7.0 ######|#####",
            "author  @bob [31m (ndjson::author-with-a-very-long-name-t…               4 posts",
            "71 % likely to spread",
            "2026-01-02 12:00:00  held back\n  many words",
            "--from 2026-01-02 --to 2026-01-03",
        ] {
            assert!(told.contains(expected), "expected '{expected}' in:\n{told}");
        }
    }

    #[test]
    fn long_episodes_have_few_lines_and_the_rise_has_all() {
        let told = told(&answer((0..5_000).map(|minute| step(minute, 2.0)).collect()));
        let lines = told.lines().filter(|line| line.starts_with("01-")).count();
        assert!((30..=52).contains(&lines), "{lines}");
        assert!(told.contains("01-02 12:21") && told.contains("OPENED"), "{told}");
    }

    #[test]
    fn a_thread_is_told_by_its_forecast() {
        let forecast = |minute: i64| ThreadStep {
            seen: 1_000_000 + minute as u64,
            expected_final: 10_000_000.0,
            low: 1_200_000.0,
            high: 99_000_000.0,
            p_viral: 0.71,
            viral_size: 1_000,
        };
        let steps =
            (10..14).map(|m| TimelineStep { thread: Some(forecast(m)), open_at: 0.5, ..step(m, 0.0) });
        let told = told(&answer(steps.collect()));
        assert!(told.contains("1000012 10000000") && told.contains("0.71 ########|###"), "{told}");
    }

    #[test]
    fn a_crowd_in_which_nobody_wrote_twice_is_no_list_of_names() {
        let mut answer = answer(vec![step(12, 4.0)]);
        answer.timeline.iter_mut().for_each(|timeline| timeline.contributors[0].posts = 1);
        let told = told(&answer);
        assert!(told.contains("author  many people") && !told.contains("@bob"), "{told}");
    }

    #[test]
    fn the_longest_note_fits_beside_the_longest_bar() {
        let slow = TimelineStep { branch: Branch::Building.into(), ..step(12, 9.0) };
        let told = told(&answer(vec![step(11, 1.0), slow]));
        assert!(told.contains("# OPENED, building"), "{told}");
    }

    #[test]
    fn without_a_timeline_the_decisions_are_told() {
        let told = told(&ExplainResponse { timeline: None, ..answer(Vec::new()) });
        assert!(told.contains("No timeline was kept of it.") && told.contains("held back"), "{told}");
    }

    #[test]
    fn another_threshold_is_asked_for_by_name() {
        assert_eq!("threshold=2.5".parse(), Ok(WhatIf { threshold: 2.5 }));
        for wrong in ["2.5", "threshold=", "threshold=x", "threshold=-1", "threshold=nan", "threshold=inf"] {
            assert!(wrong.parse::<WhatIf>().unwrap_err().contains("threshold=2.5"), "{wrong}");
        }
    }
}
