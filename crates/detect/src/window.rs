//! The last minutes of a subject in people's terms: how many complaints, from how many people.

use crate::{pulse::Load, sketch::DistinctSketch, snapshot, tally::Tally};

/// Two neighbouring epochs of counts and authors, and the texts of the running one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Window {
    people: [DistinctSketch; 2],
    texts: DistinctSketch,
    counts: [f32; 2],
}

/// Length of an epoch, seconds; the window covers the running epoch and the one before.
const EPOCH_S: u32 = 300;
/// Bits from which the texts are forgotten when an epoch ends: fuller, chance hides too many new ones.
const TEXTS_FULL: u32 = 24;
/// Share of a post's weight that a known author's next post, or a copy of a known text, keeps.
const REPEAT_WEIGHT: f32 = 0.01;

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
        let mut known = self.people[0];
        known.merge(self.people[1]);
        // Within the tally: posts per author and per text. Across the window: seen before or not.
        let spread = (tally.authors.estimate().min(tally.texts.estimate()) / posts).min(1.0);
        // Hidden behind either sketch's collisions is as good as lost, so both corrections apply.
        let fresh = spread * known.unseen_share(tally.authors) * self.texts.unseen_share(tally.texts);
        let fold = REPEAT_WEIGHT + (1.0 - REPEAT_WEIGHT) * if saturated(tally, posts) { 1.0 } else { fresh };
        self.people[0].merge(tally.authors);
        self.texts.merge(tally.texts);
        let complaints_folded = complaints * fold;
        self.counts[0] += complaints_folded;
        Load { complaints: complaints_folded, weight: complaints_folded * gravity(tally, complaints, posts) }
    }

    fn roll(&mut self, now_s: u32, last_s: u32) {
        let passed = (now_s / EPOCH_S).saturating_sub(last_s / EPOCH_S);
        match passed {
            0 => return,
            1 => (self.people[1], self.counts[1]) = (self.people[0], self.counts[0]),
            _ => (self.people[1], self.counts[1]) = (DistinctSketch::default(), 0.0),
        }
        // Texts are remembered across an epoch's end until they fill the sketch.
        if passed > 1 || self.texts.to_bits().count_ones() > TEXTS_FULL {
            self.texts = DistinctSketch::default();
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
        out.u64(self.texts.to_bits());
        self.counts.iter().for_each(|count| out.f32(*count));
    }

    pub(crate) fn from_words(input: &mut snapshot::Reader<'_>) -> Option<Self> {
        Some(Self {
            people: [DistinctSketch::from_bits(input.u64()?), DistinctSketch::from_bits(input.u64()?)],
            texts: DistinctSketch::from_bits(input.u64()?),
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
