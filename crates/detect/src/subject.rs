//! One subject's state, and the two decisions on it: [`observe`] a tally, [`tick`] the time on.

use crate::{
    context::Context,
    episode::{Episode, EpisodeSignal, Scene},
    policy::DetectPolicy,
    pulse::{Beat, Lesson, Load, Pulse, Stretch},
    reason::{Branch, Reason, ReasonKind, hour_of_week},
    series::NEW_USUAL_S,
    snapshot,
    tally::Tally,
    tuning::Tuning,
    window::Window,
};

/// Everything remembered about a subject: 160 bytes, no pointers.
// Aligned so that it never lies across more than three cache lines.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(align(32))]
pub struct SubjectState {
    window: Window,
    pulse: Pulse,
    /// Event time of the latest tally, seconds since [`EPOCH_S`]; 0 before the first.
    last_s: u32,
    episode: Episode,
}

/// What one decision found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// `-log10` of how often per five minutes an episode with at least this surprise starts on calm data.
    pub surprise: f32,
    /// What changed about the episode, if anything.
    pub episode: Option<EpisodeSignal>,
    /// The numbers that decided.
    pub reason: Reason,
}

/// The snapshot could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot restore a subject from {0} bytes: wrong version, length or value")]
pub struct SnapshotError(pub usize);

/// 2000-01-01T00:00:00Z: times inside a state are 32-bit seconds from here, good until 2136.
const EPOCH_S: i64 = 946_684_800;
/// The row that surprise is counted by, seconds.
pub const ROW_S: f32 = 300.0;
/// First byte of a snapshot.
const VERSION: u8 = 4;

/// Takes a tally into the subject's state and says what it means.
///
/// Tallies may repeat seconds and come up to `policy.lateness_s` late (they count as of the
/// latest time); later ones are named `TooLate` and change nothing. Times before 2000 or after
/// `context.horizon_s` are brought to those bounds. Repeated deliveries are the caller's to
/// drop, though known authors and texts weigh next to nothing within ten minutes.
pub fn observe(
    state: &mut SubjectState,
    tally: &Tally,
    context: &Context,
    policy: &DetectPolicy,
) -> Observation {
    let tuning = &Tuning::SHIPPED;
    let at_s = inner_time(tally.at_s.min(context.horizon_s));
    if state.last_s == 0 {
        state.begin(at_s, context, tuning);
    }
    if i64::from(state.last_s.saturating_sub(at_s)) > policy.lateness_s {
        return state.quiet_answer(ReasonKind::TooLate, context, policy);
    }
    let now_s = at_s.max(state.last_s);
    let load = state.window.add(tally, now_s, state.last_s);
    let stretch = state.stretch(now_s, context);
    let beat = state.pulse.beat(load, &stretch, tuning);
    state.last_s = now_s;
    state.judge(&beat, now_s, context, policy)
}

/// Moves a subject's episode on to `now_s` (event-time watermark, unix seconds) without a tally.
///
/// Closes quiet episodes and names missing data; learns nothing, so that calling it more or less
/// often does not change later observations beyond the episode itself.
pub fn tick(state: &mut SubjectState, now_s: i64, context: &Context, policy: &DetectPolicy) -> Observation {
    let tuning = &Tuning::SHIPPED;
    let now_s = inner_time(now_s.min(context.horizon_s)).max(state.last_s);
    if state.last_s == 0 {
        state.begin(now_s, context, tuning);
        state.last_s = 0;
    }
    let stretch = state.stretch(now_s, context);
    let mut ahead = state.pulse;
    let beat = ahead.beat(Load::NONE, &stretch, tuning);
    state.judge(&beat, now_s, context, policy)
}

impl SubjectState {
    /// A subject nobody has heard of.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads each of the state's cache lines and answers a meaningless number.
    ///
    /// With a million subjects nearly all of [`observe`]'s time is waiting for memory, one subject
    /// after the other. Touching the states of a batch first lets those waits overlap: half as many
    /// again per second where states lie in one vector. In a map the look-up has done that waiting already.
    pub fn touch(&self) -> u32 {
        self.window.touch() ^ self.pulse.touch() ^ self.last_s
    }

    /// When the open episode opened, unix seconds.
    pub fn open_since_s(&self) -> Option<i64> {
        self.episode.opened_s().map(|at_s| i64::from(at_s) + EPOCH_S)
    }

    /// Event time of the latest tally, unix seconds; `None` before the first.
    pub fn last_s(&self) -> Option<i64> {
        (self.last_s > 0).then(|| i64::from(self.last_s) + EPOCH_S)
    }

    /// Usual weighted complaints per second at a local time; an idle subject with a tiny one can be forgotten.
    pub fn usual_per_s(&self, local_s: i64) -> f32 {
        self.pulse.expected_per_s(local_s)
    }

    /// The state as bytes; [`SubjectState::from_bytes`] gives the same future, bit for bit.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = snapshot::Writer::default();
        out.u8(VERSION);
        self.window.words(&mut out);
        self.pulse.words(&mut out);
        out.u32(self.last_s);
        self.episode.words(&mut out);
        out.0
    }

    /// A state from [`SubjectState::to_bytes`].
    ///
    /// # Errors
    /// [`SnapshotError`] for bytes of another version, length, or with a number that is not finite.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let mut input = snapshot::Reader(bytes);
        let mut read = || {
            let version = input.u8()?;
            let state = Self {
                window: Window::from_words(&mut input)?,
                pulse: Pulse::from_words(&mut input)?,
                last_s: input.u32()?,
                episode: Episode::from_words(&mut input)?,
            };
            (version == VERSION && input.0.is_empty()).then_some(state)
        };
        read().ok_or(SnapshotError(bytes.len()))
    }

    pub(crate) fn lesson(&self) -> Lesson {
        self.pulse.lesson()
    }

    fn begin(&mut self, at_s: u32, context: &Context, tuning: &Tuning) {
        self.pulse = Pulse::new(&context.prior, tuning);
        self.last_s = at_s;
    }

    /// The time since the last tally, split into what was observed and what nobody saw.
    fn stretch(&self, now_s: u32, context: &Context) -> Stretch {
        let elapsed_s = (now_s - self.last_s) as f32;
        let share = if context.coverage.share > 0.0 { context.coverage.share.min(1.0) } else { 0.0 };
        Stretch {
            local_s: local_time(now_s, context),
            now_s,
            observed_s: elapsed_s * share,
            missing_s: elapsed_s * (1.0 - share),
            row_s: ROW_S,
            learn: !context.coverage.catching_up
                && self
                    .episode
                    .opened_s()
                    .is_none_or(|opened_s| i64::from(now_s.saturating_sub(opened_s)) >= NEW_USUAL_S),
            is_backlog: context.coverage.catching_up,
        }
    }

    fn judge(&mut self, beat: &Beat, now_s: u32, context: &Context, policy: &DetectPolicy) -> Observation {
        let catching_up = context.coverage.catching_up;
        let covered = context.coverage.share >= policy.min_coverage;
        let mut reason = self.reason(beat, now_s, context, policy);
        let scene = Scene {
            now_s,
            surprise: if catching_up { 0.0 } else { beat.surprise },
            open_at: reason.open_at,
            complaints: reason.complaints,
            people: reason.people,
            covered,
            is_past: beat.is_past,
        };
        let surprising = scene.surprise >= scene.open_at && !scene.is_past;
        let episode = self.episode.decide(&scene, policy);
        reason.kind = match episode {
            Some(EpisodeSignal::NoData) => ReasonKind::NoData,
            _ if !covered => ReasonKind::NoData,
            _ if catching_up => ReasonKind::CatchingUp,
            Some(EpisodeSignal::Calm) => ReasonKind::Quiet,
            None if surprising && !self.episode.is_open() => ReasonKind::TooFew,
            _ if surprising && reason.p_spread > P_ORDINARY => ReasonKind::ThreadSpreading,
            _ if surprising => ReasonKind::Rising,
            _ => ReasonKind::Usual,
        };
        Observation { surprise: scene.surprise, episode, reason }
    }

    fn quiet_answer(&self, kind: ReasonKind, context: &Context, policy: &DetectPolicy) -> Observation {
        let expected_per_s = self.pulse.expected_per_s(local_time(self.last_s, context));
        let beat = Beat { expected_per_s, ..Beat::default() };
        let mut reason = self.reason(&beat, self.last_s, context, policy);
        reason.kind = kind;
        Observation { surprise: 0.0, episode: None, reason }
    }

    fn reason(&self, beat: &Beat, now_s: u32, context: &Context, policy: &DetectPolicy) -> Reason {
        let (complaints, people, span_s) = self.window.summary(now_s, self.last_s);
        let local_s = local_time(now_s, context);
        let (usual_low, usual_high) = self.pulse.usual(beat.expected_per_s * span_s as f32, &Tuning::SHIPPED);
        let p_spread = context.thread.map_or(0.0, |thread| thread.p_spread);
        Reason {
            kind: ReasonKind::Usual,
            complaints,
            people,
            span_s,
            usual_low,
            usual_high,
            hour_of_week: hour_of_week(local_s),
            surprise: beat.surprise,
            open_at: opening(p_spread, policy),
            branch: Branch::ALL[usize::from(beat.branch)],
            coverage: context.coverage.share,
            p_spread,
        }
    }
}

/// How often an ordinary thread spreads.
const P_ORDINARY: f32 = 0.01;

/// The surprise that opens, lowered by a thread that is forecast to spread.
///
/// Bayes: the odds of a true rise are multiplied by how much likelier the thread makes one, and
/// so is the tail probability that may be believed. A thread of the usual kind changes nothing.
fn opening(p_spread: f32, policy: &DetectPolicy) -> f32 {
    /// A forecast alone never opens an episode: this much surprise must be in the counts.
    const LEAST: f32 = 1.0;
    let usual = policy.opening_surprise(ROW_S);
    if p_spread.is_nan() || p_spread <= P_ORDINARY {
        return usual;
    }
    (usual - (p_spread.min(1.0) / P_ORDINARY).log10()).max(LEAST.min(usual))
}

fn inner_time(unix_s: i64) -> u32 {
    // The lower bound is 1, because 0 means "never".
    (unix_s - EPOCH_S).clamp(1, i64::from(u32::MAX)) as u32
}

fn local_time(now_s: u32, context: &Context) -> i64 {
    i64::from(now_s) + EPOCH_S + i64::from(context.utc_offset_s)
}
