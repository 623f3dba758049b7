//! The last minutes of a subject in people's terms: how many complaints, from how many people.

use crate::{pulse::Load, sketch::DistinctSketch, snapshot, tally::Tally};

/// Two neighbouring epochs of counts and authors, and what was read lately.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Window {
    people: [DistinctSketch; 2],
    /// Texts; where the authors of the epochs are too many to tell who is new, also the latest authors.
    latest: DistinctSketch,
    counts: [f32; 2],
}

/// Length of an epoch, seconds; the window covers the running epoch and the one before.
const EPOCH_S: u32 = 300;
/// Bits from which the latest texts are forgotten when an epoch ends: fuller, chance hides too many new ones.
const LATEST_MANY: u32 = 24;
/// Bits from which they are forgotten at once: in heavy traffic a copy is known by the texts of the last minute.
const LATEST_FULL: u32 = 40;

impl Window {
    /// Adds a tally and answers its complaints, repeated authors and copied texts folded, and what they
    /// weigh: severity, arousal and reach raise it. `last_s` is the time of the tally before.
    pub(crate) fn add(&mut self, tally: &Tally, now_s: u32, last_s: u32) -> Load {
        self.roll(now_s, last_s);
        let complaints = tally.complaints_milli as f32 / 1000.0;
        if tally.posts == 0 {
            return Load::NONE;
        }
        let posts = tally.posts as f32;
        // Within the tally: posts per author and per text. Across the window: seen before or not.
        let spread = (tally.authors.estimate().min(tally.texts.estimate()) / posts).min(1.0);
        // Hidden behind either sketch's collisions is as good as lost, so both corrections apply.
        let fresh = spread * self.unknown_share(tally);
        let fold = if saturated(tally, posts) { 1.0 } else { fresh };
        let complaints_folded = complaints * fold;
        self.counts[0] += complaints_folded;
        Load { complaints: complaints_folded, weight: complaints_folded * gravity(tally, complaints, posts) }
    }

    /// The share of the tally's authors, and of its texts, that is new; both are known from now on.
    fn unknown_share(&mut self, tally: &Tally) -> f32 {
        let mut known = self.people[0];
        known.merge(self.people[1]);
        self.people[0].merge(tally.authors);
        let texts = self.latest.unseen_share(tally.texts);
        let mut now = tally.texts;
        let authors = if known.can_tell() {
            known.unseen_share(tally.authors)
        } else {
            let authors = tally.authors.mirrored();
            now.merge(authors);
            self.latest.unseen_share(authors)
        };
        self.latest.merge(now);
        if self.latest.bits() > LATEST_FULL {
            self.latest = now;
        }
        authors * texts
    }

    fn roll(&mut self, now_s: u32, last_s: u32) {
        let passed = (now_s / EPOCH_S).saturating_sub(last_s / EPOCH_S);
        match passed {
            0 => return,
            1 => (self.people[1], self.counts[1]) = (self.people[0], self.counts[0]),
            _ => (self.people[1], self.counts[1]) = (DistinctSketch::default(), 0.0),
        }
        // Texts are remembered across an epoch's end until they fill the sketch.
        if passed > 1 || self.latest.bits() > LATEST_MANY {
            self.latest = DistinctSketch::default();
        }
        (self.people[0], self.counts[0]) = (DistinctSketch::default(), 0.0);
    }

    /// Complaints (copies folded), people, and seconds covered, as of `now_s`.
    pub(crate) fn summary(&self, now_s: u32, last_s: u32) -> (f32, f32, u32) {
        let mut view = *self;
        view.roll(now_s, last_s);
        view.people[0].merge(view.people[1]);
        (view.counts[0] + view.counts[1], view.people[0].estimate(), EPOCH_S + now_s % EPOCH_S)
    }

    /// See [`crate::SubjectState::touch`].
    pub(crate) fn touch(&self) -> u32 {
        self.counts[0].to_bits()
    }

    pub(crate) fn words(&self, out: &mut snapshot::Writer) {
        self.people.iter().for_each(|sketch| out.u64(sketch.to_bits()));
        out.u64(self.latest.to_bits());
        self.counts.iter().for_each(|count| out.f32(*count));
    }

    pub(crate) fn from_words(input: &mut snapshot::Reader<'_>) -> Option<Self> {
        Some(Self {
            people: [DistinctSketch::from_bits(input.u64()?), DistinctSketch::from_bits(input.u64()?)],
            latest: DistinctSketch::from_bits(input.u64()?),
            counts: [input.f32()?, input.f32()?],
        })
    }
}

/// A second with so many different authors and texts that the sketches cannot tell repeats.
fn saturated(tally: &Tally, posts: f32) -> bool {
    posts > 100.0 && tally.authors.estimate() > 150.0 && tally.texts.estimate() > 150.0
}

/// How much a complaint weighs: about 1 for an ordinary one, so that weights read as counts; 0.7 to 2.
fn gravity(tally: &Tally, complaints: f32, posts: f32) -> f32 {
    if complaints <= 0.0 {
        return 0.0;
    }
    let severity = tally.severity_milli as f32 / 1000.0 / complaints;
    let arousal = tally.arousal_milli as f32 / 1000.0 / complaints;
    let reach = (tally.reach as f32 / posts + 1.0).log10();
    0.65 + 0.15 * severity.min(4.0) + 0.15 * arousal.min(1.0) + 0.07 * reach.min(8.0)
}
