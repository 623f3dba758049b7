//! Why now, and what if: the timeline of an episode, other settings on history, and the threshold that follows people's answers.

use std::collections::BTreeMap;

use crate::{
    context::Context,
    episode::EpisodeSignal,
    policy::DetectPolicy,
    reason::Reason,
    subject::{Observation, SubjectState, observe},
    tally::{Post, Tally},
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

/// One author's part in an episode.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Contributor {
    /// The hash of the author's id, as in [`Post::author`].
    pub author: u64,
    /// Posts, copies included.
    pub posts: u32,
    /// Sum of their probabilities of being complaints.
    pub complaints: f32,
}

/// The timeline of a subject, every change and the most surprising moment of each five minutes; and who drove
/// the latest episode.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Explanation {
    /// In time order; at most [`Explanation::MOMENTS_MAX`], the oldest uneventful ones leave first.
    pub moments: Vec<Moment>,
    /// Who wrote in the latest episode and in the ten minutes before it opened, most complaints first; at most
    /// [`Explanation::CONTRIBUTORS_MAX`]. Known to [`Explanation::of`] alone: a tally does not name authors.
    pub contributors: Vec<Contributor>,
}

impl Explanation {
    /// Most moments kept.
    pub const MOMENTS_MAX: usize = 512;
    /// Most contributors named.
    pub const CONTRIBUTORS_MAX: usize = 10;

    /// Explains a subject's history from its posts, `(unix seconds, post)` in time order: the live code on the
    /// tallies they make.
    pub fn of(
        posts: impl IntoIterator<Item = (i64, Post)>,
        context: impl Fn(i64) -> Context,
        policy: &DetectPolicy,
    ) -> Self {
        let mut explanation = Self::default();
        let mut state = SubjectState::new();
        let mut drivers = Drivers::default();
        let mut posts = posts.into_iter().peekable();
        while let Some((at_s, first)) = posts.next() {
            let mut tally = Tally::at(at_s);
            let mut add = |post: Post| {
                tally.add(post);
                drivers.add(at_s, &post);
            };
            add(first);
            while let Some((_, post)) = posts.next_if(|(next_s, _)| *next_s == at_s) {
                add(post);
            }
            let was_open = state.open_since_s().is_some();
            let observation = observe(&mut state, &tally, &context(at_s), policy);
            match (was_open, state.open_since_s().is_some()) {
                (false, true) => drivers.opened(),
                (true, false) => explanation.contributors = drivers.closed(),
                _ => {}
            }
            explanation.add(at_s, &observation);
        }
        if state.open_since_s().is_some() {
            explanation.contributors = drivers.closed();
        }
        explanation
    }

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

/// Who writes: in the open episode, or in the last minutes while there is none.
#[derive(Default)]
struct Drivers {
    /// Of the running and the previous five minutes.
    recent: [BTreeMap<u64, Contributor>; 2],
    since_s: i64,
    episode: Option<BTreeMap<u64, Contributor>>,
}

impl Drivers {
    /// Authors counted apart at once.
    const AUTHORS_MAX: usize = 4096;
    const EPOCH_S: i64 = 300;

    fn add(&mut self, at_s: i64, post: &Post) {
        if let Some(episode) = &mut self.episode {
            return count(episode, post);
        }
        let passed = at_s.div_euclid(Self::EPOCH_S) - self.since_s.div_euclid(Self::EPOCH_S);
        if passed > 0 {
            let before = std::mem::take(&mut self.recent[0]);
            self.recent[1] = if passed == 1 { before } else { BTreeMap::new() };
            self.since_s = at_s;
        }
        count(&mut self.recent[0], post);
    }

    fn opened(&mut self) {
        let [mut all, before] = std::mem::take(&mut self.recent);
        for one in before.into_values() {
            let sum = all.entry(one.author).or_insert(Contributor { posts: 0, complaints: 0.0, ..one });
            sum.posts = sum.posts.saturating_add(one.posts);
            sum.complaints += one.complaints;
        }
        self.episode = Some(all);
    }

    fn closed(&mut self) -> Vec<Contributor> {
        let mut all: Vec<Contributor> = self.episode.take().unwrap_or_default().into_values().collect();
        all.sort_by(|a, b| b.complaints.total_cmp(&a.complaints).then(a.author.cmp(&b.author)));
        all.truncate(Explanation::CONTRIBUTORS_MAX);
        all
    }
}

/// Counts a post for its author. Beyond the bound a new author takes the place, and the count, of the one with
/// the fewest complaints: who has many is never lost (Metwally et al. 2005).
fn count(authors: &mut BTreeMap<u64, Contributor>, post: &Post) {
    let mut taken = Contributor { author: post.author, ..Contributor::default() };
    if authors.len() >= Drivers::AUTHORS_MAX
        && !authors.contains_key(&post.author)
        && let Some(least) = authors.values().min_by(|a, b| a.complaints.total_cmp(&b.complaints)).copied()
    {
        authors.remove(&least.author);
        taken = Contributor { author: post.author, ..least };
    }
    let one = authors.entry(post.author).or_insert(taken);
    one.posts = one.posts.saturating_add(1);
    one.complaints += if post.complaint > 0.0 { post.complaint.min(1.0) } else { 0.0 };
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
