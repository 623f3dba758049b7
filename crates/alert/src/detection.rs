//! The detectors of one partition of tallies: what they remember, and the signals they give. Pure: the
//! same tallies from the same snapshot always give the same signals.

mod evidence;
mod stored;
mod subject;
mod thread;

use std::collections::{BTreeMap, BTreeSet};

use contracts::alert::v1::{Contributor, ContributorKind, TallyEvent, ThreadOutlook, Timeline};
use contracts::ingest::v1::Coverage;
use detect::thread::CascadeModel;
use detect::{Context, DetectPolicy, EpisodeSignal, Observation, Prior, SubjectState, observe, tick};
use model::Subject;
use paging::{Evidence, Forecast, Forgotten, Reason, Signal, SignalKind};

use self::subject::SubjectEntry;
use self::thread::{ThreadEntry, forecast_of};
use crate::config::{DetectConfig, ThreadConfig, Zones};
use crate::coverage::Hearing;
use crate::outlook::Outlooks;
use crate::tally;

/// Event seconds between looks at open episodes.
const TICK_S: i64 = 60;
/// Event seconds between lessons about what is usual for a brand, and between clearings.
const LESSON_S: i64 = 600;
/// Event seconds between fresh facts about an open episode.
const REFRESH_S: i64 = 10;
/// What a complaint weighs with a detector, on average: severity, arousal and reach come on top of 1.
const COMPLAINT_WEIGHT: f32 = 1.6;
/// A thread older than this cannot be forecast any more, in event seconds.
const THREAD_AGE_MAX_S: i64 = 7 * 86_400;
/// A thread in which nothing happens is forgotten after so many event seconds, and sooner when nobody has
/// ever answered it: a late first answer begins it anew.
const THREAD_IDLE_S: i64 = 86_400;
const THREAD_UNANSWERED_S: i64 = 7_200;

/// What detection is told, beside the tallies.
pub(crate) struct Rules {
    pub(crate) detect: DetectConfig,
    pub(crate) threads: ThreadConfig,
    pub(crate) zones: Zones,
    pub(crate) cascade: CascadeModel,
}

impl Rules {
    fn policy(&self) -> DetectPolicy {
        self.detect.policy()
    }
}

/// How a subject looks right now, for people who look.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rising {
    pub(crate) subject: Subject,
    pub(crate) surprise: f64,
    pub(crate) posts: u64,
    pub(crate) people: u64,
    pub(crate) words: String,
    pub(crate) forecast: Option<Forecast>,
    pub(crate) excerpt: String,
    pub(crate) at_s: i64,
}

/// A signal, and how it came to it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Telling {
    pub(crate) signal: Signal,
    /// Of the whole episode so far; absent when the last one told still does.
    pub(crate) timeline: Option<Timeline>,
}

/// What a tally led to.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// For the desk, in order.
    pub(crate) told: Vec<Telling>,
    /// For people who look.
    pub(crate) rising: Vec<Rising>,
    /// For the owners of the subjects that live threads are about.
    pub(crate) outlooks: Vec<ThreadOutlook>,
}

impl Heard {
    /// The signals alone.
    pub(crate) fn into_signals(self) -> impl Iterator<Item = Signal> {
        self.told.into_iter().map(|told| told.signal)
    }
}

/// The detectors of one partition.
#[derive(Debug, Clone, Default)]
pub(crate) struct Detectors {
    subjects: BTreeMap<String, SubjectEntry>,
    threads: BTreeMap<String, ThreadEntry>,
    priors: BTreeMap<String, Prior>,
    /// What a brand that is new here borrows from all others.
    tenant: Option<Prior>,
    first_s: BTreeMap<String, i64>,
    watermark_s: i64,
    lesson_s: i64,
    /// Subjects with an open episode.
    open: BTreeSet<String>,
    /// Subjects and threads with a diary.
    followed: BTreeSet<String>,
    hearing: Hearing,
    /// What live threads say to the subjects here.
    outlooks: Outlooks,
}

/// A subject as its detector saw it at one time.
struct Look<'a> {
    subject: &'a Subject,
    key: &'a str,
    observation: &'a Observation,
    at_s: i64,
    /// The tally that was looked at; absent where only time passed.
    event: Option<&'a TallyEvent>,
}

impl Detectors {
    /// Takes a tally in. `Err` names what is wrong with it.
    pub(crate) fn take(&mut self, event: &TallyEvent, rules: &Rules) -> Result<Heard, String> {
        let subject: Subject = event.subject.parse().map_err(|e| format!("subject: {e}"))?;
        let mut heard = Heard::default();
        self.advance(event.at_s, rules, &mut heard);
        match subject {
            Subject::Topic { .. } => self.take_topic(&subject, event, rules, &mut heard),
            Subject::Thread { .. } => self.take_thread(&subject, event, rules, &mut heard),
            Subject::Source { .. } => return Err("subject: nothing is counted of a source".to_owned()),
        }
        Ok(heard)
    }

    /// Takes in what a source says about itself.
    pub(crate) fn cover(&mut self, said: &Coverage) {
        self.hearing.told(said);
    }

    /// Takes in what a live thread says to its subject. `Err` names what is wrong with it.
    pub(crate) fn expect(&mut self, outlook: &ThreadOutlook) -> Result<(), String> {
        self.outlooks.take(outlook)
    }

    /// What is to be forgotten is shown no more. True: something was.
    pub(crate) fn forget(&mut self, forgotten: &[Forgotten]) -> bool {
        if forgotten.is_empty() {
            return false;
        }
        let is_kept = |piece: &Evidence| !forgotten.iter().any(|forgotten| forgotten.concerns(piece));
        let mut has_changed = false;
        let subjects = self.subjects.values_mut().map(|entry| &mut entry.evidence);
        for evidence in subjects.chain(self.threads.values_mut().map(|thread| &mut thread.evidence)) {
            let before = evidence.len();
            evidence.retain(is_kept);
            has_changed |= evidence.len() != before;
        }
        let diaries = self.subjects.values_mut().filter_map(|entry| entry.diary.as_mut());
        let diaries = diaries.chain(self.threads.values_mut().filter_map(|thread| thread.diary.as_mut()));
        for diary in diaries {
            for forgotten in forgotten {
                has_changed |= diary.forget(forgotten);
            }
        }
        has_changed
    }

    /// Time goes on without tallies: everything witnessed before `now_s` has been heard.
    pub(crate) fn idle(&mut self, now_s: i64, rules: &Rules) -> Heard {
        let mut heard = Heard::default();
        self.advance(now_s, rules, &mut heard);
        heard
    }

    /// Is there anything that time alone could change?
    pub(crate) fn has_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// How many threads are followed.
    #[cfg(test)]
    pub(crate) fn threads_followed(&self) -> usize {
        self.threads.len()
    }

    fn advance(&mut self, at_s: i64, rules: &Rules, heard: &mut Heard) {
        if at_s <= self.watermark_s {
            return;
        }
        let before = self.watermark_s;
        self.watermark_s = at_s;
        if at_s.div_euclid(TICK_S) > before.div_euclid(TICK_S) {
            self.tick_open(at_s.div_euclid(TICK_S) * TICK_S, rules, heard);
        }
        if at_s - self.lesson_s >= LESSON_S {
            self.lesson_s = at_s;
            self.learn_priors();
            self.forget_threads(at_s, rules);
            self.close_diaries(at_s);
        }
    }

    /// Of what has long been calm nothing is kept.
    fn close_diaries(&mut self, now_s: i64) {
        let (subjects, threads) = (&mut self.subjects, &mut self.threads);
        self.followed.retain(|key| {
            let diary = match subjects.get_mut(key) {
                Some(entry) => &mut entry.diary,
                None => match threads.get_mut(key) {
                    Some(thread) => &mut thread.diary,
                    None => return false,
                },
            };
            diary.take_if(|diary| diary.is_over(now_s));
            diary.is_some()
        });
    }

    /// How many subjects and threads have a diary.
    #[cfg(test)]
    pub(crate) fn followed(&self) -> usize {
        self.followed.len()
    }

    fn tick_open(&mut self, now_s: i64, rules: &Rules, heard: &mut Heard) {
        for key in self.open.clone() {
            let Ok(subject) = key.parse::<Subject>() else { continue };
            let coverage = self.hearing.now(subject.brand().as_str(), now_s);
            let context = Context { coverage, ..self.context(&subject, &key, now_s, rules) };
            if let Some(thread) = self.threads.get_mut(&key) {
                heard.told.extend(thread.tick(&subject, now_s, &coverage, rules));
                if !thread.is_open {
                    self.open.remove(&key);
                    heard.outlooks.extend(thread.outlook(&subject, None, now_s, rules));
                }
                continue;
            }
            let Some(entry) = self.subjects.get_mut(&key) else { continue };
            let observation = tick(&mut entry.state, now_s, &context, &rules.policy());
            if entry.state.open_since_s().is_none() {
                self.open.remove(&key);
            }
            let look =
                Look { subject: &subject, key: &key, observation: &observation, at_s: now_s, event: None };
            self.tell_topic(&look, rules, heard);
        }
    }

    fn take_topic(&mut self, subject: &Subject, event: &TallyEvent, rules: &Rules, heard: &mut Heard) {
        let brand = subject.brand().as_str();
        let first_s = *self.first_s.entry(brand.to_owned()).or_insert(event.at_s);
        for (connector, posts) in &event.connectors {
            self.hearing.heard(brand, connector, *posts, event.at_s);
        }
        let mut context = self.context(subject, &event.subject, event.at_s, rules);
        let entry = self.subjects.entry(event.subject.clone()).or_default();
        entry.note(event);
        let warmup_s = rules.detect.warmup_s;
        if event.at_s - first_s < warmup_s {
            entry.warmup += event.complaints_milli as f32 / 1_000.0;
            return;
        }
        // A detector that began without a notion of usual would call the first hour a rise, and never
        // learn from it; so what was counted meanwhile is what it starts from.
        if entry.state.last_s().is_none() && entry.warmup > 0.0 {
            let level_per_s = entry.warmup * COMPLAINT_WEIGHT / warmup_s.max(1) as f32;
            let rhythm = context.prior.rhythm.with_gravity(COMPLAINT_WEIGHT);
            context.prior = Prior { level_per_s, rhythm, trust_s: warmup_s as f32, ..context.prior };
        }
        if self.hearing.is_backlog(&event.connectors) {
            return;
        }
        let last_s = entry.state.last_s().unwrap_or(event.at_s);
        context.coverage = match entry.state.open_since_s() {
            // What is open stays in doubt until everything is heard again.
            Some(_) => self.hearing.now(brand, event.at_s),
            None => self.hearing.between(brand, last_s, event.at_s),
        };
        let observation = observe(&mut entry.state, &tally::tally_of(event), &context, &rules.policy());
        match entry.state.open_since_s() {
            Some(_) => drop(self.open.insert(event.subject.clone())),
            None => drop(self.open.remove(&event.subject)),
        }
        let look = Look {
            subject,
            key: &event.subject,
            observation: &observation,
            at_s: event.at_s,
            event: Some(event),
        };
        self.tell_topic(&look, rules, heard);
    }

    fn tell_topic(&mut self, look: &Look<'_>, rules: &Rules, heard: &mut Heard) {
        let Look { subject, key, observation, at_s, event } = *look;
        let Some(entry) = self.subjects.get_mut(key) else { return };
        if entry.is_worth_a_diary(observation, self.followed.len()) {
            if entry.diary.is_none() {
                self.followed.insert(key.to_owned());
            }
            entry.write_diary(observation, at_s, event);
        }
        let refresh = entry.state.open_since_s().is_some() && at_s - entry.told_s >= REFRESH_S;
        let kind = match observation.episode {
            Some(EpisodeSignal::Opened) => SignalKind::Opened,
            Some(EpisodeSignal::Grew { .. }) => SignalKind::Grew,
            Some(EpisodeSignal::Flapping) => SignalKind::Flapping,
            Some(EpisodeSignal::Calm) => SignalKind::Calm,
            // Where nothing is open, nothing is in doubt.
            Some(EpisodeSignal::NoData) if entry.state.open_since_s().is_none() => return,
            Some(EpisodeSignal::NoData) => SignalKind::NoData,
            None if refresh => SignalKind::Seen,
            None => {
                if observation.surprise >= 1.0 {
                    heard.rising.push(entry.rising(subject, observation, at_s));
                }
                return;
            }
        };
        let is_due = kind != SignalKind::Seen || is_another_minute(entry.told_s, at_s);
        entry.told_s = at_s;
        heard.rising.push(entry.rising(subject, observation, at_s));
        let threads =
            self.outlooks.live(key, at_s, rules.threads.quiet_s).map(|(thread, prior)| Contributor {
                kind: ContributorKind::Thread.into(),
                name: thread.to_owned(),
                p_spread: prior.p_spread,
                ..Contributor::default()
            });
        let timeline = entry.diary.as_ref().filter(|_| is_due).map(|diary| diary.timeline(threads));
        heard.told.push(Telling { signal: entry.signal(subject, kind, observation, at_s), timeline });
        if entry.state.open_since_s().is_none()
            && let Some(diary) = &mut entry.diary
        {
            diary.close(at_s);
        }
    }

    fn take_thread(&mut self, subject: &Subject, event: &TallyEvent, rules: &Rules, heard: &mut Heard) {
        let brand = subject.brand().as_str();
        let known = self.threads.contains_key(&event.subject);
        if !known && self.threads.len() >= rules.threads.followed_max {
            self.forget_quietest();
        }
        let thread = self.threads.entry(event.subject.clone()).or_insert_with(|| ThreadEntry::new(event));
        thread.note(event);
        let now_s = self.watermark_s.max(event.at_s);
        if let Some(diary) = &mut thread.diary {
            diary.count(now_s, event.reactions.len() as u64, event);
        }
        if !thread.is_worth_asking(now_s, rules) {
            return;
        }
        (thread.asked, thread.asked_s) = (thread.state.seen(), now_s);
        let forecast = forecast_of(thread, now_s, brand, rules);
        let kind = thread.kind(&forecast, now_s, rules);
        if thread.is_worth_a_diary(&forecast, kind, self.followed.len()) {
            self.followed.insert(event.subject.clone());
            let diary = thread.diary.insert(Box::default());
            diary.count(now_s, event.reactions.len() as u64, event);
        }
        thread.write_diary(&forecast, now_s, rules);
        heard.outlooks.extend(thread.outlook(subject, Some(&forecast), now_s, rules));
        if forecast.p_viral >= 0.1 {
            heard.rising.push(thread.rising(subject, &forecast, event.at_s));
        }
        let Some(kind) = kind else { return };
        let is_due = kind != SignalKind::Seen || is_another_minute(thread.told_s, now_s);
        thread.tell(kind, &forecast, now_s);
        match thread.is_open {
            true => drop(self.open.insert(event.subject.clone())),
            false => drop(self.open.remove(&event.subject)),
        }
        let why = thread.why(&forecast, now_s);
        let signal = thread.signal(subject, kind, forecast, why, event.at_s);
        let timeline = if is_due { thread.timeline(kind, now_s) } else { None };
        heard.told.push(Telling { signal, timeline });
    }

    fn context(&self, subject: &Subject, key: &str, at_s: i64, rules: &Rules) -> Context {
        let brand = subject.brand().as_str();
        Context {
            thread: self.outlooks.liveliest(key, at_s, rules.threads.quiet_s),
            prior: self.prior(brand),
            utc_offset_s: rules.zones.offset_s(brand, at_s),
            ..Context::default()
        }
    }

    /// What a subject heard for the first time borrows from its brand; of a brand heard for the first time, from all
    /// brands: their hours and how bursty they are say more of it than their size, which is believed for an hour.
    pub(crate) fn prior(&self, brand: &str) -> Prior {
        let of_all = || self.tenant.map(|tenant| Prior { trust_s: Prior::NONE.trust_s, ..tenant });
        self.priors.get(brand).copied().or_else(of_all).unwrap_or(Prior::NONE)
    }

    fn learn_priors(&mut self) {
        let mut by_brand: BTreeMap<String, Vec<&SubjectState>> = BTreeMap::new();
        for (key, entry) in &self.subjects {
            if let Some(brand) = key.split('/').nth(1) {
                by_brand.entry(brand.to_owned()).or_default().push(&entry.state);
            }
        }
        // A brand still in its warm-up knows nothing yet.
        by_brand.retain(|_, states| states.iter().any(|state| state.last_s().is_some()));
        self.tenant = (!by_brand.is_empty()).then(|| Prior::pool(by_brand.values().flatten().copied()));
        self.priors = by_brand.into_iter().map(|(brand, states)| (brand, Prior::pool(states))).collect();
    }

    fn forget_threads(&mut self, now_s: i64, rules: &Rules) {
        self.outlooks.forget_old(now_s, rules.threads.quiet_s);
        let idle_s = THREAD_IDLE_S.max(rules.threads.quiet_s);
        self.threads.retain(|_, thread| {
            let idle_s = if thread.state.seen() == 0 { THREAD_UNANSWERED_S } else { idle_s };
            let idle = now_s - thread.last_s > idle_s;
            let old = now_s - thread.state.start_s() > THREAD_AGE_MAX_S;
            thread.is_open || !(idle || old)
        });
    }

    /// Room for a new thread: the tenth that has been quiet longest goes.
    fn forget_quietest(&mut self) {
        let mut quiet: Vec<(i64, &String)> =
            self.threads.iter().filter(|(_, t)| !t.is_open).map(|(key, t)| (t.last_s, key)).collect();
        quiet.sort();
        let go: Vec<String> =
            quiet.iter().take((self.threads.len() / 10).max(1)).map(|(_, key)| (*key).clone()).collect();
        for key in go {
            self.threads.remove(&key);
        }
    }
}

/// Fresh numbers take their timeline along once a minute.
fn is_another_minute(before_s: i64, now_s: i64) -> bool {
    now_s.div_euclid(60) != before_s.div_euclid(60)
}

fn observed(code: &str, words: String, numbers: &[(&str, f64)]) -> Reason {
    let numbers = numbers.iter().filter(|(_, n)| n.is_finite()).map(|(k, n)| ((*k).to_owned(), *n)).collect();
    Reason::Observed { code: code.to_owned(), words, numbers }
}
