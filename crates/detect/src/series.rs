//! Bursts in a plain series of counts: what `redress detect series` runs, one row at a time.

use crate::{
    context::Prior,
    news::{News, Told},
    policy::DetectPolicy,
    pulse::{Beat, Load, Pulse, Stretch},
    reason::{Branch, SeriesReason, hour_of_week},
    recent::Recent,
    subject::ROW_S,
    tail::EPISODE_GAP_S,
    tuning::Tuning,
};

/// The answer to one row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SeriesPoint {
    /// `-log10` of how often per row (per [`ROW_S`] seconds where rows are shorter) an episode with at least this
    /// surprise starts on calm data; 0 or more, finite. Lower by one where a rise has gone on for hours and says
    /// nothing new.
    pub surprise: f32,
    /// Whether an episode opens on this row, or an open one became surprising anew.
    pub alarm: bool,
}

/// Why a row was not taken; the detector is unchanged by it.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum RowError {
    /// The time is before the previous row's.
    #[error("the time is {0} s before the previous row's")]
    Unsorted(i64),
    /// The time is the previous row's.
    #[error("the time repeats the previous row's")]
    Repeated,
    /// The value is no count.
    #[error("the value is not a finite number of zero or more")]
    NotACount,
}

/// A detector for rows `(time, count)` in time order; constant memory, strictly online.
#[derive(Clone, Copy, Debug)]
pub struct Series {
    tuning: Tuning,
    policy: DetectPolicy,
    pulse: Option<Pulse>,
    /// The first row's count, until the second tells the step it came in.
    first: Option<f32>,
    last_s: i64,
    started_s: i64,
    step: Step,
    /// Events that a gap may have held back and that are still to be excused.
    held_back: f32,
    /// When the latest episode opened.
    opened_s: i64,
    /// When the open episode was last above the closing surprise.
    open_since_hot_s: Option<i64>,
    news: News,
    recent: Recent,
    latest: Option<Latest>,
}

/// What a reason needs of the latest row.
#[derive(Clone, Copy, Debug)]
struct Latest {
    beat: Beat,
    row_s: i64,
    /// An episode was open before it.
    again: bool,
}

impl Series {
    /// A detector that has seen nothing.
    pub fn new(policy: DetectPolicy) -> Self {
        Self::with_tuning(policy, Tuning::default())
    }

    /// As [`Series::new`] with other constants; for evaluations.
    pub fn with_tuning(policy: DetectPolicy, tuning: Tuning) -> Self {
        Self {
            tuning,
            policy,
            pulse: None,
            first: None,
            last_s: i64::MIN,
            started_s: 0,
            step: Step::default(),
            held_back: 0.0,
            opened_s: 0,
            open_since_hot_s: None,
            news: News::default(),
            recent: Recent::default(),
            latest: None,
        }
    }

    /// Takes one row: `value` events in the step that `at_s` (unix seconds) names.
    ///
    /// # Errors
    /// [`RowError`] for rows that are no later than the one before, or whose value is no count.
    pub fn row(&mut self, at_s: i64, value: f64) -> Result<SeriesPoint, RowError> {
        if !(0.0..=f64::MAX).contains(&value) {
            return Err(RowError::NotACount);
        }
        let count = value.min(f64::from(COUNT_MAX)) as f32;
        let Some(first) = self.first else {
            (self.first, self.last_s, self.started_s) = (Some(count), at_s, at_s);
            return Ok(SeriesPoint::default());
        };
        let elapsed_s = at_s.saturating_sub(self.last_s);
        match elapsed_s {
            0 => return Err(RowError::Repeated),
            ..0 => return Err(RowError::Unsorted(elapsed_s.saturating_neg())),
            _ => {}
        }
        let row_s = self.step.learn(elapsed_s);
        // Episodes are an hour apart at least: of rows of seconds no share could be told that starts one.
        let unit_s = row_s.max(ROW_S as i64);
        let mut pulse = self.pulse.unwrap_or_else(|| {
            let prior = Prior { level_per_s: first / row_s as f32, trust_s: 1.0, ..Prior::NONE };
            Pulse::new(&prior, &self.tuning)
        });
        let observed_s = elapsed_s.min(row_s);
        let missing_s = elapsed_s - observed_s;
        let stretch = Stretch {
            is_backlog: false,
            local_s: at_s,
            now_s: at_s.saturating_sub(self.started_s).min(i64::from(u32::MAX)) as u32,
            observed_s: observed_s as f32,
            missing_s: missing_s as f32,
            row_s: unit_s as f32,
            learn: !self.is_hot(at_s),
        };
        let value = count;
        let count = self.without_backlog(count, &pulse, at_s, observed_s, missing_s);
        let beat = pulse.beat(Load::plain(count), &stretch, &self.tuning);
        self.pulse = Some(pulse);
        self.last_s = at_s;
        let told = self.news.tell(beat.surprise, at_s, &self.tuning);
        self.recent.add(value, beat.expected_per_s * observed_s as f32, missing_s > 0);
        let again = self.open_since_hot_s.is_some();
        let alarm = self.judge(beat.surprise, told, at_s, unit_s);
        self.latest = Some(Latest { beat, row_s, again: again && self.opened_s < at_s });
        if alarm {
            self.news.alarm();
        }
        Ok(SeriesPoint { surprise: told.surprise, alarm })
    }

    /// Why the latest row is as surprising as it is; `None` before the second row.
    pub fn reason(&self) -> Option<SeriesReason> {
        let (pulse, latest) = (self.pulse.as_ref()?, self.latest?);
        let branch = Branch::ALL[usize::from(latest.beat.branch)];
        let (count, expected, rows) = self.recent.of(branch, latest.row_s);
        let (usual_low, usual_high) =
            pulse.usual_within(expected, usize::from(latest.beat.branch), &self.tuning);
        Some(SeriesReason {
            count,
            span_s: latest.row_s * rows as i64,
            usual_low,
            usual_high,
            hour_of_week: hour_of_week(self.last_s),
            surprise: latest.beat.surprise,
            branch,
            again: latest.again,
        })
    }

    /// After a gap, counts up to what the gap may have held back are taken as the usual number:
    /// catching up is no burst. What is not delivered within an hour was lost, not held back.
    fn without_backlog(
        &mut self,
        count: f32,
        pulse: &Pulse,
        at_s: i64,
        observed_s: i64,
        missing_s: i64,
    ) -> f32 {
        const BACKLOG_S: f32 = 3600.0;
        /// The gap may have fallen on a busy time.
        const MORE_THAN_USUAL: f32 = 2.0;
        let expected_per_s = pulse.expected_per_s(at_s);
        self.held_back *= (-(observed_s as f32) / BACKLOG_S).exp();
        // A day's worth is held back at most: a source that was away for longer starts afresh.
        self.held_back += MORE_THAN_USUAL * expected_per_s * missing_s.min(86_400) as f32;
        let excess = (count - expected_per_s * observed_s as f32).max(0.0);
        let excused = excess.min(self.held_back);
        self.held_back -= excused;
        count - excused
    }

    /// Opens an episode on enough news; it stays open until quiet without surprise. Answers whether
    /// this row is an alarm: an episode opens, or a new rise on top of an open one goes well beyond it.
    fn judge(&mut self, surprise: f32, told: Told, at_s: i64, unit_s: i64) -> bool {
        let open_at = self.policy.opening_surprise(unit_s as f32);
        if let Some(hot_s) = self.open_since_hot_s
            && at_s - hot_s >= i64::from(EPISODE_GAP_S).max(self.policy.quiet_s)
        {
            self.open_since_hot_s = None;
        }
        let open = self.open_since_hot_s.is_some();
        let surprising = self.at_least_warm(at_s) && told.surprise >= open_at;
        let again = open && told.beyond >= self.tuning.told_again;
        if surprising && !open {
            self.opened_s = at_s;
        }
        if (surprising && !open) || (open && surprise >= open_at * self.policy.close_share) {
            self.open_since_hot_s = Some(at_s);
        }
        surprising && (!open || again)
    }

    /// The baseline is not learned from what is unusual, unless that lasts so long that it is the new usual.
    fn is_hot(&self, at_s: i64) -> bool {
        let recent =
            self.open_since_hot_s.is_some_and(|hot_s| at_s.saturating_sub(hot_s) < i64::from(EPISODE_GAP_S));
        recent && at_s.saturating_sub(self.opened_s) < NEW_USUAL_S
    }

    fn at_least_warm(&self, at_s: i64) -> bool {
        at_s - self.started_s >= WARM_S
    }
}

/// After an episode has lasted this long, the baseline learns from it.
pub(crate) const NEW_USUAL_S: i64 = 86_400;
/// Counts beyond this say nothing more.
const COUNT_MAX: f32 = 1e12;
/// Without a prior, nothing is called unusual before this much was seen.
const WARM_S: i64 = 3 * 3600;

/// The distance of rows, inferred as they come.
#[derive(Clone, Copy, Debug, Default)]
struct Step {
    seconds: i64,
    /// Consecutive rows that disagreed, and their distance.
    votes: u8,
    candidate: i64,
}

impl Step {
    /// Rows that must agree before the step changes.
    const VOTES: u8 = 3;

    /// Takes the distance to the previous row and answers the step.
    fn learn(&mut self, elapsed_s: i64) -> i64 {
        if self.seconds == 0 {
            self.seconds = elapsed_s;
        }
        if elapsed_s == self.seconds {
            self.votes = 0;
        } else if elapsed_s == self.candidate {
            self.votes += 1;
            if self.votes >= Self::VOTES {
                (self.seconds, self.votes) = (elapsed_s, 0);
            }
        } else {
            (self.candidate, self.votes) = (elapsed_s, 1);
        }
        self.seconds
    }
}
