//! The life of an episode: opened on the rise, grown in steps, calm after quiet, flapping when it keeps coming back.

use crate::{policy::DetectPolicy, snapshot};

/// What changed about a subject's episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpisodeSignal {
    /// A new episode began.
    Opened,
    /// The open episode reached its next size; the step counts from 1.
    Grew {
        /// Which growth step this is.
        step: u8,
    },
    /// The episode ended: no surprise for the quiet time.
    Calm,
    /// The subject reopened again and again; said instead of `Opened`.
    Flapping,
    /// Too few sources report to say anything; said once, until data is back.
    NoData,
}

/// What an episode decision looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene {
    pub(crate) now_s: u32,
    pub(crate) surprise: f32,
    /// The surprise that opens, after threads and nudges were taken into account.
    pub(crate) open_at: f32,
    pub(crate) complaints: f32,
    pub(crate) people: f32,
    pub(crate) covered: bool,
    /// What was surprising is over: an episode opens on the rise, never after the peak.
    pub(crate) is_past: bool,
}

/// The episode state of one subject.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Episode {
    /// When the latest episode opened.
    opened_s: u32,
    /// When it was last surprising.
    hot_s: u32,
    /// Complaints at the latest growth step.
    step_count: f32,
    open: bool,
    no_data: bool,
    step: u8,
    reopenings: u8,
}

impl Episode {
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    pub(crate) fn opened_s(&self) -> Option<u32> {
        self.open.then_some(self.opened_s)
    }

    /// Moves the episode along.
    pub(crate) fn decide(&mut self, scene: &Scene, policy: &DetectPolicy) -> Option<EpisodeSignal> {
        if !scene.covered {
            let first = !self.no_data;
            self.no_data = true;
            // An open episode is not calm because nobody looks: its quiet time starts anew.
            self.hot_s = if self.open { scene.now_s } else { self.hot_s };
            return first.then_some(EpisodeSignal::NoData);
        }
        self.no_data = false;
        if self.open {
            return self.decide_open(scene, policy);
        }
        let opens = scene.surprise >= scene.open_at
            && !scene.is_past
            && scene.complaints >= policy.min_count
            && scene.people >= policy.min_people;
        opens.then(|| self.open(scene, policy))
    }

    fn decide_open(&mut self, scene: &Scene, policy: &DetectPolicy) -> Option<EpisodeSignal> {
        if scene.surprise >= scene.open_at * policy.close_share {
            self.hot_s = scene.now_s;
        }
        if i64::from(scene.now_s.saturating_sub(self.hot_s)) >= policy.quiet_s {
            self.open = false;
            return Some(EpisodeSignal::Calm);
        }
        if scene.complaints >= self.step_count * policy.growth.max(1.1) {
            self.step = self.step.saturating_add(1);
            self.step_count = scene.complaints;
            return Some(EpisodeSignal::Grew { step: self.step });
        }
        None
    }

    fn open(&mut self, scene: &Scene, policy: &DetectPolicy) -> EpisodeSignal {
        let soon =
            self.opened_s > 0 && i64::from(scene.now_s.saturating_sub(self.hot_s)) < policy.flap_within_s;
        self.reopenings = if soon { self.reopenings.saturating_add(1) } else { 0 };
        *self = Self {
            opened_s: scene.now_s,
            hot_s: scene.now_s,
            step_count: scene.complaints,
            open: true,
            step: 0,
            ..*self
        };
        if self.reopenings >= policy.flap_reopenings.max(1) {
            EpisodeSignal::Flapping
        } else {
            EpisodeSignal::Opened
        }
    }

    pub(crate) fn words(&self, out: &mut snapshot::Writer) {
        out.u32(self.opened_s);
        out.u32(self.hot_s);
        out.f32(self.step_count);
        out.u8(u8::from(self.open) | u8::from(self.no_data) << 1);
        out.u8(self.step);
        out.u8(self.reopenings);
    }

    pub(crate) fn from_words(input: &mut snapshot::Reader<'_>) -> Option<Self> {
        let (opened_s, hot_s, step_count, flags) = (input.u32()?, input.u32()?, input.f32()?, input.u8()?);
        let (open, no_data) = (flags & 1 != 0, flags & 2 != 0);
        Some(Self { opened_s, hot_s, step_count, open, no_data, step: input.u8()?, reopenings: input.u8()? })
    }
}
