//! A subject's live threads as they last spoke: how a thread's forecast reaches the subject it is about.
//!
//! A thread and its subject are followed apart, often by different processes. The thread says a
//! [`ThreadWord`] when [`worth_telling`]; the subject keeps the liveliest few in [`LiveThreads`] and
//! puts [`LiveThreads::prior`] into [`crate::Context::thread`].

use crate::{context::ThreadPrior, snapshot};

/// Most threads a subject listens to at once.
pub const LIVE_THREADS_MAX: usize = 4;
/// Seconds after which a word that was not renewed counts half.
const HALF_LIFE_S: f32 = 3600.0;
/// Seconds after which it counts no more.
const HOLDS_S: i64 = 6 * 3600;
/// Below this probability a thread says nothing about its subject.
const SPEAKS_FROM: f32 = 0.02;
/// Seconds after which a thread that is still lively says so again.
const RENEW_S: i64 = 900;

/// What a thread says to its subject.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ThreadWord {
    /// Which thread: a hash of its key.
    pub thread: u64,
    /// Event time of the forecast, unix seconds.
    pub at_s: i64,
    /// The forecast.
    pub prior: ThreadPrior,
}

/// Whether a thread that last told `told` should tell `word`: its chance has doubled or halved, or it is
/// lively and has been silent for a quarter of an hour. At most a few words a thread and hour.
pub fn worth_telling(told: Option<&ThreadWord>, word: &ThreadWord) -> bool {
    let lively = word.prior.p_spread >= SPEAKS_FROM;
    let Some(told) = told else { return lively };
    let ratio = word.prior.p_spread.max(SPEAKS_FROM) / told.prior.p_spread.max(SPEAKS_FROM);
    !(0.5..2.0).contains(&ratio) || (lively && word.at_s.saturating_sub(told.at_s) >= RENEW_S)
}

/// The liveliest threads of one subject.
///
/// Words may repeat and come in any order: of each thread the latest counts. Only when more than
/// [`LIVE_THREADS_MAX`] are live does the order matter, and then only for the least of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LiveThreads {
    /// By thread, so that equal contents are equal states.
    words: Vec<ThreadWord>,
}

impl LiveThreads {
    /// Nobody has spoken.
    pub const fn new() -> Self {
        Self { words: Vec::new() }
    }

    /// Takes a word in; one that is older than the same thread's last, or no probability, changes nothing.
    pub fn hear(&mut self, word: ThreadWord) {
        if !(0.0..=1.0).contains(&word.prior.p_spread) || !word.prior.expected_final.is_finite() {
            return;
        }
        match self.words.binary_search_by_key(&word.thread, |known| known.thread) {
            Ok(place) if later(&word, &self.words[place]) => self.words[place] = word,
            Ok(_) => {}
            Err(place) => self.words.insert(place, word),
        }
        if self.words.len() > LIVE_THREADS_MAX {
            let now_s = self.words.iter().map(|known| known.at_s).max().unwrap_or(word.at_s);
            let least = (0..self.words.len())
                .min_by(|a, b| weight(&self.words[*a], now_s).total_cmp(&weight(&self.words[*b], now_s)));
            least.map(|place| self.words.remove(place));
        }
    }

    /// What the threads together say at `now_s` (unix seconds): the chance that at least one spreads, and the
    /// size expected of the likeliest. `None` when none says anything.
    pub fn prior(&self, now_s: i64) -> Option<ThreadPrior> {
        let stays = self.words.iter().fold(1.0, |stays, word| stays * (1.0 - weight(word, now_s)));
        let likeliest = self.words.iter().max_by(|a, b| weight(a, now_s).total_cmp(&weight(b, now_s)))?.prior;
        let p_spread = 1.0 - stays;
        (p_spread > 0.0).then_some(ThreadPrior { p_spread, ..likeliest })
    }

    /// Forgets what counts no more. True: nothing is left, and the whole can go.
    pub fn forget(&mut self, now_s: i64) -> bool {
        self.words.retain(|word| weight(word, now_s) > 0.0);
        self.words.is_empty()
    }

    /// The state as bytes; [`LiveThreads::from_bytes`] gives the same future, bit for bit.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = snapshot::Writer::default();
        for word in &self.words {
            out.u64(word.thread);
            out.u64(word.at_s as u64);
            out.f32(word.prior.p_spread);
            out.f32(word.prior.expected_final);
        }
        out.0
    }

    /// A state from [`LiveThreads::to_bytes`]; `None` if they are not one.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut input = snapshot::Reader(bytes);
        let mut words = Vec::new();
        while !input.0.is_empty() {
            let (thread, at_s) = (input.u64()?, input.u64()? as i64);
            let prior = ThreadPrior { p_spread: input.f32()?, expected_final: input.f32()? };
            words.push(ThreadWord { thread, at_s, prior });
        }
        let in_order = words.is_sorted_by(|a, b| a.thread < b.thread);
        let possible = words.iter().all(|word| (0.0..=1.0).contains(&word.prior.p_spread));
        (words.len() <= LIVE_THREADS_MAX && in_order && possible).then_some(Self { words })
    }
}

/// The later word; of two of the same second the more alarming, whichever was heard first.
fn later(word: &ThreadWord, known: &ThreadWord) -> bool {
    let key = |word: &ThreadWord| (word.prior.p_spread, word.prior.expected_final);
    match word.at_s.cmp(&known.at_s) {
        std::cmp::Ordering::Equal => key(word) > key(known),
        order => order.is_gt(),
    }
}

/// What a word's probability counts for, as time goes on. A word from ahead of the subject's time counts in full.
fn weight(word: &ThreadWord, now_s: i64) -> f32 {
    let age_s = now_s.saturating_sub(word.at_s).max(0);
    if age_s >= HOLDS_S || word.prior.p_spread < SPEAKS_FROM {
        return 0.0;
    }
    word.prior.p_spread * (-(age_s as f32) / HALF_LIFE_S).exp2()
}
