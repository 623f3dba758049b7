//! Why now, and what if: the timeline of an episode, other settings on history, and the threshold that follows people's answers.

use crate::{
    context::Context,
    episode::EpisodeSignal,
    policy::DetectPolicy,
    reason::Reason,
    subject::{Observation, SubjectState, observe},
    tally::Tally,
};

/// One point of an explanation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// Event time, unix seconds.
    pub at_s: i64,
    /// What changed, if anything.
    pub episode: Option<EpisodeSignal>,
    /// The numbers at that time.
    pub reason: Reason,
}

/// The timeline of a subject: every change, and the most surprising moment of each five minutes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Explanation {
    /// In time order; at most [`Explanation::MOMENTS_MAX`], the oldest uneventful ones leave first.
    pub moments: Vec<Moment>,
}

impl Explanation {
    /// Most moments kept.
    pub const MOMENTS_MAX: usize = 512;

    /// Adds what an observation found.
    pub fn add(&mut self, at_s: i64, observation: &Observation) {
        let moment = Moment { at_s, episode: observation.episode, reason: observation.reason };
        if let Some(last) = self.moments.last_mut()
            && last.episode.is_none()
            && last.at_s.div_euclid(300) == at_s.div_euclid(300)
        {
            if moment.episode.is_some() || moment.reason.surprise >= last.reason.surprise {
                *last = moment;
            }
            return;
        }
        if self.moments.len() >= Self::MOMENTS_MAX {
            let oldest = self.moments.iter().position(|moment| moment.episode.is_none()).unwrap_or(0);
            self.moments.remove(oldest);
        }
        self.moments.push(moment);
    }
}

/// Runs one subject's history under a policy and answers every change of its episode.
///
/// It is the live code on the same tallies, so another policy's answer is what that policy would have done.
pub fn backtest<'a>(
    tallies: impl IntoIterator<Item = &'a Tally>,
    context: impl Fn(i64) -> Context,
    policy: &DetectPolicy,
) -> Vec<Moment> {
    let mut state = SubjectState::new();
    tallies
        .into_iter()
        .filter_map(|tally| {
            let observation = observe(&mut state, tally, &context(tally.at_s), policy);
            observation.episode.map(|episode| Moment {
                at_s: tally.at_s,
                episode: Some(episode),
                reason: observation.reason,
            })
        })
        .collect()
}

/// Moves a tenant's opening surprise until the realised false alarms meet the wanted ones (Robbins and Monro 1951).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Controller {
    nudge: f32,
    days: f32,
}

impl Controller {
    /// The nudge never leaves plus or minus this.
    pub const NUDGE_MAX: f32 = 1.0;

    /// Takes one day of a tenant: alarms people called noise, and how many the policy would allow
    /// (`false_alarms_per_day` times subjects).
    pub fn day(&mut self, noise: u32, allowed: f32) {
        self.days = (self.days + 1.0).min(60.0);
        let error = (noise as f32 + 0.5).log10() - (allowed.max(0.0) + 0.5).log10();
        self.nudge = (self.nudge + 0.5 * error / self.days.sqrt()).clamp(-Self::NUDGE_MAX, Self::NUDGE_MAX);
    }

    /// What to put in [`DetectPolicy::nudge`].
    pub fn nudge(&self) -> f32 {
        self.nudge
    }
}
