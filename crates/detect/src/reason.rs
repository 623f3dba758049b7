//! Why: the numbers that decided, and the words for them.

use std::fmt::Write as _;

/// Which span of time the largest branch looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Branch {
    /// Minutes.
    Sudden,
    /// About an hour.
    Building,
    /// Hours.
    Slow,
}

impl Branch {
    /// Sudden, building, slow: the order in which they are numbered inside.
    pub(crate) const ALL: [Self; 3] = [Self::Sudden, Self::Building, Self::Slow];

    fn pace(self) -> &'static str {
        match self {
            Self::Sudden => "sudden",
            Self::Building => "building for about an hour",
            Self::Slow => "rising slowly for hours",
        }
    }
}

/// The kind of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasonKind {
    /// Within what is usual.
    Usual,
    /// Unusually many.
    Rising,
    /// Unusually many, and a thread of the subject is forecast to spread.
    ThreadSpreading,
    /// Surprising, but from too few complaints or too few people.
    TooFew,
    /// Quiet for the policy's quiet time.
    Quiet,
    /// Too few sources report.
    NoData,
    /// A backlog is being delivered.
    CatchingUp,
    /// The tally was older than the policy's lateness and was not counted.
    TooLate,
}

/// The numbers of one decision; render with [`Reason::words`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reason {
    /// What kind of decision.
    pub kind: ReasonKind,
    /// Complaints in the window, copies folded.
    pub complaints: f32,
    /// Distinct authors in the window; [`crate::DistinctSketch::MAX`] means at least that many.
    pub people: f32,
    /// Seconds the window covers.
    pub span_s: u32,
    /// Lower end of the complaints that nine in ten such windows hold, counted as [`Reason::complaints`] are.
    pub usual_low: f32,
    /// Upper end of them.
    pub usual_high: f32,
    /// Local hour of the week, 0 is Monday 00:00.
    pub hour_of_week: u8,
    /// The calibrated surprise.
    pub surprise: f32,
    /// The surprise that opens an episode here and now.
    pub open_at: f32,
    /// Which branch was most surprised.
    pub branch: Branch,
    /// Share (0..1) of the expected sources that reported.
    pub coverage: f32,
    /// Probability that the liveliest thread spreads; 0 without a thread.
    pub p_spread: f32,
}

/// The numbers of a row of a plain series, in the series' own unit; render with [`SeriesReason::words`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeriesReason {
    /// What came in the span.
    pub count: f32,
    /// Seconds that the span covers: as long as the most surprised branch looks back, two hours at most.
    pub span_s: i64,
    /// Lower end of what nine in ten such spans hold.
    pub usual_low: f32,
    /// Upper end of it.
    pub usual_high: f32,
    /// UTC hour of the week, 0 is Monday 00:00.
    pub hour_of_week: u8,
    /// The calibrated surprise, whether new or not.
    pub surprise: f32,
    /// Which branch was most surprised.
    pub branch: Branch,
    /// The rise comes on top of an episode that was open already.
    pub again: bool,
}

impl SeriesReason {
    /// One sentence without a comma, such as "47 in 10 min; usual for Sunday 03:00 UTC is 1 to 4; sudden".
    pub fn words(&self) -> String {
        let span = match self.span_s {
            ..60 => format!("{} s", self.span_s),
            60..7200 => format!("{} min", (self.span_s + 30) / 60),
            _ => format!("{} h", (self.span_s + 1800) / 3600),
        };
        // A series of rates or shares has usual values that no whole number can tell.
        let is_whole = self.count.fract() == 0.0;
        let number = |value: f32| if is_whole { format!("{value:.0}") } else { format!("{value:.2}") };
        let (low, high) = if is_whole {
            (self.usual_low.floor(), self.usual_high.ceil())
        } else {
            (self.usual_low, self.usual_high)
        };
        format!(
            "{} in {span}; usual for {} UTC is {} to {}; {}{}",
            number(self.count),
            hour_words(self.hour_of_week),
            number(low),
            number(high),
            self.branch.pace(),
            if self.again { "; on top of an open episode" } else { "" },
        )
    }
}

/// Day and hour, such as "Sunday 03:00".
fn hour_words(hour_of_week: u8) -> String {
    format!("{} {:02}:00", DAYS[usize::from(hour_of_week / 24) % 7], hour_of_week % 24)
}

/// The hour of the week of a local time; 1970-01-01 was a Thursday.
pub(crate) fn hour_of_week(local_s: i64) -> u8 {
    (local_s.div_euclid(3600) + 72).rem_euclid(168) as u8
}

const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

impl Reason {
    /// One sentence about `topic`, such as "23 complaints on refunds in 10 min from 19 people; usual for Sunday 03:00 is 1 to 4".
    pub fn words(&self, topic: &str) -> String {
        let mut text = match self.kind {
            ReasonKind::NoData => return self.no_data(topic),
            ReasonKind::TooLate => return format!("a late count on {topic} was not used"),
            _ => self.count(topic),
        };
        let pace = self.branch.pace();
        // Writing to a String cannot fail.
        let _ = match self.kind {
            ReasonKind::Rising => write!(text, "; {pace}"),
            ReasonKind::ThreadSpreading => {
                write!(
                    text,
                    "; {pace}; a thread on it spreads with {:.0} % probability",
                    self.p_spread * 100.0
                )
            }
            ReasonKind::TooFew => write!(text, "; too few to call it a rise"),
            ReasonKind::Quiet => write!(text, "; calm again"),
            ReasonKind::CatchingUp => {
                write!(text, "; a source is delivering a backlog, so this is not read as a rise")
            }
            _ => Ok(()),
        };
        if self.coverage < 0.995 {
            let _ = write!(text, "; seen through {:.0} % of the sources", self.coverage * 100.0);
        }
        text
    }

    fn count(&self, topic: &str) -> String {
        let complaints = self.complaints.round();
        let people = self.people.round();
        let (noun, crowd) = (
            if complaints == 1.0 { "complaint" } else { "complaints" },
            if people == 1.0 { "person" } else { "people" },
        );
        let least = if people >= crate::DistinctSketch::MAX as f32 { "at least " } else { "" };
        // Else a reader wonders how so many people can have complained so few times.
        let folded = if people > complaints { " (copies and doubtful ones count little)" } else { "" };
        format!(
            "{complaints} {noun} on {topic} in {} min from {least}{people} {crowd}{folded}; usual for {} is {} to {}",
            (self.span_s / 60).max(1),
            hour_words(self.hour_of_week),
            self.usual_low,
            self.usual_high,
        )
    }

    fn no_data(&self, topic: &str) -> String {
        format!(
            "no data on {topic}: {:.0} % of the sources report, so silence is not calm",
            self.coverage * 100.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_for_a_person_at_three_in_the_morning() {
        let reason = Reason {
            kind: ReasonKind::Rising,
            complaints: 23.2,
            people: 19.0,
            span_s: 600,
            usual_low: 1.0,
            usual_high: 4.0,
            hour_of_week: 6 * 24 + 3,
            surprise: 5.0,
            open_at: 3.46,
            branch: Branch::Sudden,
            coverage: 0.8,
            p_spread: 0.0,
        };
        assert_eq!(
            reason.words("refunds"),
            "23 complaints on refunds in 10 min from 19 people; usual for Sunday 03:00 is 1 to 4; sudden; seen through 80 % of the sources"
        );
        let repeated = Reason { complaints: 4.0, people: 48.0, coverage: 1.0, ..reason };
        assert_eq!(
            repeated.words("safety"),
            "4 complaints on safety in 10 min from 48 people (copies and doubtful ones count little); usual for Sunday 03:00 is 1 to 4; sudden"
        );
    }

    #[test]
    fn a_series_reason_is_in_the_unit_of_the_series() {
        let reason = SeriesReason {
            count: 47.0,
            span_s: 600,
            usual_low: 1.3,
            usual_high: 3.4,
            hour_of_week: 6 * 24 + 3,
            surprise: 5.0,
            branch: Branch::Sudden,
            again: false,
        };
        assert_eq!(reason.words(), "47 in 10 min; usual for Sunday 03:00 UTC is 1 to 4; sudden");
        let share = SeriesReason { count: 0.75, usual_low: 0.1, usual_high: 0.25, again: true, ..reason };
        let hours = SeriesReason { span_s: 7200, branch: Branch::Slow, ..share };
        assert_eq!(
            hours.words(),
            "0.75 in 2 h; usual for Sunday 03:00 UTC is 0.10 to 0.25; rising slowly for hours; on top of an open episode"
        );
    }
}
