//! What an operator sets.

/// How many false alarms are wanted, and what an episode needs before anyone is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DetectPolicy {
    /// Wanted false alarms per subject and day; one number for all subjects.
    pub false_alarms_per_day: f32,
    /// Least complaints in the window, copies folded, before an episode opens.
    pub min_count: f32,
    /// Least distinct authors in the window before an episode opens.
    pub min_people: f32,
    /// Seconds without surprise after which an episode is calm.
    pub quiet_s: i64,
    /// An episode stays open while its surprise is at least this share (0..1) of the opening one.
    pub close_share: f32,
    /// Each growth step needs this many times the complaints of the step before.
    pub growth: f32,
    /// Reopenings within [`DetectPolicy::flap_within_s`] from which an episode is called flapping.
    pub flap_reopenings: u8,
    /// Seconds for counting reopenings, and how long a reopened episode is the same episode.
    pub flap_within_s: i64,
    /// Seconds by which a tally may be late and still be counted.
    pub lateness_s: i64,
    /// Added to the opening surprise: what a [`crate::Controller`] learned about this tenant.
    pub nudge: f32,
    /// Share (0..1) of the expected sources below which a subject has no data.
    pub min_coverage: f32,
}

impl Default for DetectPolicy {
    fn default() -> Self {
        Self {
            false_alarms_per_day: 0.1,
            min_count: 4.0,
            min_people: 3.0,
            quiet_s: 3600,
            close_share: 0.6,
            growth: 2.0,
            flap_reopenings: 3,
            flap_within_s: 6 * 3600,
            lateness_s: 600,
            nudge: 0.0,
            min_coverage: 0.5,
        }
    }
}

impl DetectPolicy {
    /// For a series of counts, where nobody says who wrote: rises less than six quiet hours apart are one episode.
    pub fn for_series() -> Self {
        Self { quiet_s: 6 * 3600, ..Self::default() }
    }

    /// The surprise at which an episode opens, for rows of `row_s` seconds.
    pub fn opening_surprise(&self, row_s: f32) -> f32 {
        let rows_per_day = 86_400.0 / row_s.max(1.0);
        (rows_per_day / self.false_alarms_per_day.max(1e-6)).log10() + self.nudge
    }
}
