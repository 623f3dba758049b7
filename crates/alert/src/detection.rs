//! The detectors of one partition of tallies: what they remember, and the signals they give. Pure: the
//! same tallies from the same snapshot always give the same signals.

use std::collections::{BTreeMap, BTreeSet};

use contracts::alert::v1::{Contributor, ContributorKind, TallyEvent, ThreadOutlook, Timeline};
use contracts::ingest::v1::Coverage;
use detect::thread::{CascadeModel, ThreadState};
use detect::{
    Context, DetectPolicy, EpisodeSignal, Observation, Prior, ReasonKind, SubjectState, observe, tick,
};
use model::{MentionId, Severity, Subject, Timestamp, Topic};
use paging::{Counts, Evidence, Facts, Forecast, Forgotten, Policy, Reason, Signal, SignalKind};
use prost::Message as _;

use crate::config::{DetectConfig, ThreadConfig, Zones};
use crate::coverage::{Hearing, StoredHearing};
use crate::desk::topic_of;
use crate::outlook::{Outlooks, Said};
use crate::timeline::{self, Diary};
use crate::{tally, wire};

/// Event seconds between looks at open episodes.
const TICK_S: i64 = 60;
/// Event seconds between lessons about what is usual for a brand, and between clearings.
const LESSON_S: i64 = 600;
/// Event seconds between fresh facts about an open episode.
const REFRESH_S: i64 = 10;
/// Pieces of evidence kept per subject.
const EVIDENCE_MAX: usize = 5;
/// Evidence older than this many event seconds is no longer shown with a new rise.
const EVIDENCE_S: i64 = 3_600;
/// What a complaint weighs with a detector, on average: severity, arousal and reach come on top of 1.
const COMPLAINT_WEIGHT: f32 = 1.6;
/// Event seconds over which the usual severity of a subject is averaged.
const SEVERITY_TAU_S: f32 = 600.0;
/// An open thread is over when its probability to spread has stayed below this share of the one that opens.
const EXIT_SHARE: f64 = 0.6;
/// For so many event seconds.
const EXIT_HELD_S: i64 = 600;
/// A thread that was over is told again when so many times as many reactions are expected as were told.
const NEWS_AGAIN: f32 = 2.0;
/// A thread older than this cannot be forecast any more, in event seconds.
const THREAD_AGE_MAX_S: i64 = 7 * 86_400;
/// A thread in which nothing happens is forgotten after so many event seconds, and sooner when nobody has
/// ever answered it: a late first answer begins it anew.
const THREAD_IDLE_S: i64 = 86_400;
const THREAD_UNANSWERED_S: i64 = 7_200;
/// Of a snapshot's format; another one is not read.
const SNAPSHOT_VERSION: u32 = 1;

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

#[derive(Debug, Clone, Default)]
struct SubjectEntry {
    state: SubjectState,
    evidence: Vec<Evidence>,
    /// Severity and complaint sums, fading.
    severity: f32,
    complaints: f32,
    at_s: i64,
    told_s: i64,
    /// Complaints counted while nobody knew what is usual for the brand.
    warmup: f32,
    /// While it is not calm.
    diary: Option<Box<Diary>>,
}

#[derive(Debug, Clone)]
struct ThreadEntry {
    state: ThreadState,
    root_known: bool,
    posts: u64,
    complaints_milli: u64,
    severity: Severity,
    people: detect::DistinctSketch,
    evidence: Vec<Evidence>,
    last_s: i64,
    told_s: i64,
    told_size: f32,
    /// Reactions at the last forecast, and when that was.
    asked: u32,
    asked_s: i64,
    is_open: bool,
    /// Since when, while it is open, it has looked like stopping; absent while it does not.
    stopping_s: Option<i64>,
    /// Its sources are not heard, and people know.
    is_blind: bool,
    /// What it is about, as far as anybody said.
    topic: Option<Topic>,
    /// What its subject was told of it.
    said: Said,
    /// While it may spread.
    diary: Option<Box<Diary>>,
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
            self.tell_topic(&subject, &key, &observation, now_s, None, rules, heard);
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
        self.tell_topic(subject, &event.subject, &observation, event.at_s, Some(event), rules, heard);
    }

    #[allow(clippy::too_many_arguments)]
    fn tell_topic(
        &mut self,
        subject: &Subject,
        key: &str,
        observation: &Observation,
        at_s: i64,
        event: Option<&TallyEvent>,
        rules: &Rules,
        heard: &mut Heard,
    ) {
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

impl SubjectEntry {
    fn note(&mut self, event: &TallyEvent) {
        let faded = (-((event.at_s - self.at_s).max(0) as f32) / SEVERITY_TAU_S).exp();
        self.severity = self.severity * faded + event.severity_milli as f32 / 1_000.0;
        self.complaints = self.complaints * faded + event.complaints_milli as f32 / 1_000.0;
        self.at_s = self.at_s.max(event.at_s);
        if let Some(piece) = event.top.as_ref().and_then(wire::evidence_from) {
            keep(&mut self.evidence, piece, event.at_s);
        }
    }

    /// Something is open or unusual, and there is room: what is calm costs nothing.
    fn is_worth_a_diary(&self, seen: &Observation, followed: usize) -> bool {
        if self.state.open_since_s().is_some() || self.diary.is_some() {
            return true;
        }
        seen.surprise >= timeline::SURPRISE_FROM && followed < timeline::FOLLOWED_MAX
    }

    fn write_diary(&mut self, seen: &Observation, at_s: i64, event: Option<&TallyEvent>) {
        if seen.reason.kind == ReasonKind::TooLate {
            return;
        }
        let diary = self.diary.get_or_insert_default();
        if let Some(event) = event {
            diary.count(at_s, u64::from(event.posts), event);
        }
        diary.see(at_s, seen);
        if let Some(since_s) = self.state.open_since_s() {
            diary.open(since_s);
        }
    }

    /// How hard the complaints of the last minutes accuse, on average: one angry voice is no angry crowd.
    fn severity(&self) -> Severity {
        let level = if self.complaints > 0.0 { (self.severity / self.complaints).round() } else { 0.0 };
        Severity::from_level(level.clamp(0.0, 4.0) as u32).unwrap_or_default()
    }

    fn signal(&self, subject: &Subject, kind: SignalKind, seen: &Observation, at_s: i64) -> Signal {
        let topic = topic_of(subject);
        let name = topic.as_ref().map_or("", |topic| topic.as_str());
        let reason = &seen.reason;
        let numbers = [
            ("complaints", f64::from(reason.complaints)),
            ("people", f64::from(reason.people)),
            ("window_s", f64::from(reason.span_s)),
            ("usual_low", f64::from(reason.usual_low)),
            ("usual_high", f64::from(reason.usual_high)),
            ("surprise", f64::from(reason.surprise)),
            ("open_at", f64::from(reason.open_at)),
            ("coverage", f64::from(reason.coverage)),
        ];
        let code = match kind {
            SignalKind::Calm => "calm",
            SignalKind::NoData => "no_data",
            SignalKind::Flapping => "flapping",
            _ => "surprise_over_threshold",
        };
        let since_s = self.state.open_since_s().unwrap_or(at_s);
        Signal {
            rule: Policy::RISING_SUBJECT.to_owned(),
            subject: subject.clone(),
            topic: topic.clone(),
            kind,
            facts: Facts {
                title: format!("{}: complaints about {name} are rising", subject.brand()),
                surprise: f64::from(seen.surprise),
                counts: Counts::Total {
                    posts: reason.complaints.max(0.0).round() as u64,
                    people: reason.people.max(0.0).round() as u64,
                },
                severity: self.severity(),
                forecast: None,
                evidence: self.evidence.clone(),
                thread_root: None,
                since: Timestamp::from_seconds(since_s - i64::from(reason.span_s)),
            },
            at: Timestamp::from_seconds(at_s),
            why: observed(code, reason.words(name), &numbers),
        }
    }

    fn rising(&self, subject: &Subject, seen: &Observation, at_s: i64) -> Rising {
        let topic = topic_of(subject);
        Rising {
            subject: subject.clone(),
            surprise: f64::from(seen.surprise),
            posts: seen.reason.complaints.max(0.0).round() as u64,
            people: seen.reason.people.max(0.0).round() as u64,
            words: seen.reason.words(topic.as_ref().map_or("", |topic| topic.as_str())),
            forecast: None,
            excerpt: String::new(),
            at_s,
        }
    }
}

impl ThreadEntry {
    fn new(event: &TallyEvent) -> Self {
        let root = event.reactions.iter().find(|reaction| reaction.is_root);
        let first = root.or(event.reactions.first());
        let at_s = first.map_or(event.at_s, |reaction| reaction.at_us.div_euclid(1_000_000));
        Self {
            state: ThreadState::new(at_s, root.map_or(0, |root| root.followers)),
            root_known: root.is_some(),
            posts: 0,
            complaints_milli: 0,
            severity: Severity::None,
            people: detect::DistinctSketch::default(),
            evidence: Vec::new(),
            last_s: at_s,
            told_s: 0,
            told_size: 0.0,
            asked: 0,
            asked_s: 0,
            is_open: false,
            stopping_s: None,
            is_blind: false,
            topic: None,
            said: Said::default(),
            diary: None,
        }
    }

    /// It may spread, or is about to be told; and nothing is kept of it yet.
    fn is_worth_a_diary(&self, forecast: &Forecast, kind: Option<SignalKind>, followed: usize) -> bool {
        let may_spread = forecast.p_viral >= timeline::SPREADS_FROM && followed < timeline::FOLLOWED_MAX;
        self.diary.is_none() && (may_spread || self.is_open || kind.is_some())
    }

    fn write_diary(&mut self, forecast: &Forecast, now_s: i64, rules: &Rules) {
        let people = self.people.estimate();
        if let Some(diary) = &mut self.diary {
            diary.foresee(now_s, forecast, people, rules.threads.page_from);
        }
    }

    /// How it went, when something is told: from its opening to its end.
    fn timeline(&mut self, kind: SignalKind, now_s: i64) -> Option<Timeline> {
        let diary = self.diary.as_mut()?;
        if self.is_open {
            diary.open(now_s);
        }
        let timeline = diary.timeline([]);
        if kind == SignalKind::Calm {
            diary.close(now_s);
        }
        Some(timeline)
    }

    /// A forecast costs more than a count: it is asked for when a twentieth more has come, or time passed.
    fn is_worth_asking(&self, now_s: i64, rules: &Rules) -> bool {
        let seen = self.state.seen();
        seen >= rules.threads.seen_min
            && (seen - self.asked.min(seen) > self.asked / 20 || now_s - self.asked_s >= REFRESH_S)
    }

    fn note(&mut self, event: &TallyEvent) {
        let tally = tally::tally_of(event);
        self.posts += u64::from(event.posts);
        self.complaints_milli += event.complaints_milli;
        self.people.merge(tally.authors);
        // What the original post is about counts for the thread, whatever the answers are about.
        if self.topic.is_none() || event.reactions.iter().any(|reaction| reaction.is_root) {
            self.topic = Topic::parse(&event.topic).ok().or(self.topic.take());
        }
        for reaction in event.reactions.iter().filter(|reaction| !reaction.is_root) {
            self.state.reaction(reaction.at_us.div_euclid(1_000_000), reaction.followers);
        }
        self.last_s = self.last_s.max(event.at_s);
        if let Some(piece) = event.top.as_ref().and_then(wire::evidence_from) {
            self.severity = self.severity.max(piece.severity);
            // The original post stays first, whatever comes.
            let is_first = self.evidence.is_empty();
            match self.root_known && is_first {
                true => self.evidence.push(piece),
                false => keep_after(&mut self.evidence, piece, event.at_s, usize::from(self.root_known)),
            }
        }
    }

    fn complaint_share(&self) -> f32 {
        if self.posts == 0 { 0.0 } else { self.complaints_milli as f32 / 1_000.0 / self.posts as f32 }
    }

    /// What, if anything, is to be told. It ends well below where it began, and only when it stays there;
    /// once it was over, it is news again only when as many react anew as were needed at first, and it will
    /// outgrow what people know.
    fn kind(&mut self, forecast: &Forecast, now_s: i64, rules: &Rules) -> Option<SignalKind> {
        let page_from = f64::from(rules.threads.page_from);
        let spreads =
            forecast.p_viral >= page_from && self.complaint_share() >= rules.threads.complaint_share_min;
        if !self.is_open {
            let newly_seen = self.state.seen() as f32 - self.told_size;
            let is_news = forecast.expected_final as f32 >= self.told_size * NEWS_AGAIN
                && newly_seen >= rules.threads.seen_min as f32;
            return (spreads && is_news).then_some(SignalKind::Opened);
        }
        if forecast.p_viral >= page_from * EXIT_SHARE {
            self.stopping_s = None;
        } else if now_s - *self.stopping_s.get_or_insert(now_s) >= EXIT_HELD_S {
            return Some(SignalKind::Calm);
        }
        let grew = forecast.expected_final as f32 >= self.told_size * 1.25;
        (grew && now_s - self.told_s >= REFRESH_S || now_s - self.told_s >= 6 * REFRESH_S)
            .then_some(SignalKind::Seen)
    }

    /// What the subject it is about is to hear of it: of a thread of complaints how likely it spreads, of one that
    /// is over (without a forecast) that it will not.
    fn outlook(
        &mut self,
        subject: &Subject,
        forecast: Option<&Forecast>,
        now_s: i64,
        rules: &Rules,
    ) -> Option<ThreadOutlook> {
        let about = Subject::Topic { brand: subject.brand().clone(), topic: self.topic.clone()? };
        let forecast = forecast.filter(|_| self.complaint_share() >= rules.threads.complaint_share_min);
        let p_spread = forecast.map_or(0.0, |forecast| forecast.p_viral as f32);
        self.said.is_news(p_spread, now_s, rules.threads.quiet_s).then(|| ThreadOutlook {
            subject: about.key(),
            thread: subject.key(),
            at_s: now_s,
            p_spread,
            expected_final: forecast.map_or(0.0, |forecast| forecast.expected_final as f32),
        })
    }

    /// Time passes over an open thread: nobody reacts, or nobody can say.
    fn tick(
        &mut self,
        subject: &Subject,
        now_s: i64,
        coverage: &detect::Coverage,
        rules: &Rules,
    ) -> Option<Telling> {
        let was_blind = std::mem::replace(&mut self.is_blind, coverage.share < rules.policy().min_coverage);
        let quiet_s = now_s - self.last_s;
        let (kind, why) = match (was_blind, self.is_blind) {
            (false, true) => (SignalKind::NoData, unheard(coverage)),
            (_, false) if quiet_s >= rules.threads.quiet_s => {
                let words = format!("no reaction for {} min", quiet_s / 60);
                (SignalKind::Calm, observed("calm", words, &[("quiet_s", quiet_s as f64)]))
            }
            _ => return None,
        };
        let forecast = forecast_of(self, now_s, subject.brand().as_str(), rules);
        self.write_diary(&forecast, now_s, rules);
        if kind == SignalKind::Calm {
            self.tell(kind, &forecast, now_s);
        }
        let timeline = self.timeline(kind, now_s);
        Some(Telling { signal: self.signal(subject, kind, forecast, why, now_s), timeline })
    }

    /// What is told is remembered: while it goes on what is expected, once it is over what it became.
    fn tell(&mut self, kind: SignalKind, forecast: &Forecast, now_s: i64) {
        self.told_s = now_s;
        self.told_size = match kind {
            SignalKind::Calm => self.state.seen() as f32,
            _ => self.told_size.max(forecast.expected_final as f32),
        };
        self.is_open = kind != SignalKind::Calm;
        self.is_blind = false;
        self.stopping_s = self.stopping_s.filter(|_| self.is_open);
    }

    fn why(&self, forecast: &Forecast, now_s: i64) -> Reason {
        let minutes = ((now_s - self.state.start_s()) / 60).max(1);
        let mut words = format!(
            "{} reactions in {minutes} min; about {:.0} expected in the end ({:.0} to {:.0}), {:.0} % likely to pass {}",
            forecast.seen,
            forecast.expected_final,
            forecast.low,
            forecast.high,
            forecast.p_viral * 100.0,
            forecast.viral_size,
        );
        if let Some(left_s) = forecast.answer_within_s {
            words.push_str(&match left_s {
                s if s < 1.0 => "; it has passed that already".to_owned(),
                s if s < 7_200.0 => format!("; answer within {:.0} min", (s / 60.0).max(1.0)),
                s => format!("; answer within {:.0} h", s / 3_600.0),
            });
        }
        let numbers = [
            ("seen", forecast.seen as f64),
            ("expected_final", forecast.expected_final),
            ("low", forecast.low),
            ("high", forecast.high),
            ("p_viral", forecast.p_viral),
            ("viral_size", forecast.viral_size as f64),
            ("complaint_share", f64::from(self.complaint_share())),
        ];
        observed("forecast_over_threshold", words, &numbers)
    }

    fn signal(
        &self,
        subject: &Subject,
        kind: SignalKind,
        forecast: Forecast,
        why: Reason,
        at_s: i64,
    ) -> Signal {
        let root = match subject {
            Subject::Thread { root, .. } => Some(*root),
            Subject::Topic { .. } | Subject::Source { .. } => None::<MentionId>,
        };
        Signal {
            rule: Policy::SPREADING_THREAD.to_owned(),
            subject: subject.clone(),
            // What is about none of the known topics has nothing in common with others of that kind.
            topic: self.topic.clone().filter(|topic| topic.as_str() != tally::OTHER),
            kind,
            facts: Facts {
                title: format!(
                    "{}: a complaint is spreading, about {:.0} reactions expected",
                    subject.brand(),
                    forecast.expected_final
                ),
                surprise: 0.0,
                counts: Counts::Total {
                    posts: u64::from(self.state.seen()) + u64::from(self.root_known),
                    people: self.people.estimate().round() as u64,
                },
                severity: self.severity,
                forecast: Some(forecast),
                evidence: self.evidence.clone(),
                thread_root: root,
                since: Timestamp::from_seconds(self.state.start_s()),
            },
            at: Timestamp::from_seconds(at_s),
            why,
        }
    }

    fn rising(&self, subject: &Subject, forecast: &Forecast, at_s: i64) -> Rising {
        Rising {
            subject: subject.clone(),
            surprise: 0.0,
            posts: u64::from(self.state.seen()) + u64::from(self.root_known),
            people: self.people.estimate().round() as u64,
            words: self.why(forecast, at_s).text(),
            forecast: Some(*forecast),
            excerpt: self.evidence.first().map(|piece| piece.excerpt.clone()).unwrap_or_default(),
            at_s,
        }
    }
}

fn forecast_of(thread: &ThreadEntry, now_s: i64, brand: &str, rules: &Rules) -> Forecast {
    let viral_size = rules.threads.viral_size;
    let expected = rules.cascade.forecast(&thread.state, now_s);
    let staffed_in_s =
        until_staffed_s(rules.zones.offset_s(brand, now_s), now_s, rules.threads.staffed_hours);
    Forecast {
        seen: u64::from(expected.seen),
        expected_final: f64::from(expected.expected_final),
        low: f64::from(expected.low),
        high: f64::from(expected.high),
        p_viral: f64::from(expected.p_at_least(viral_size as f32)),
        viral_size: u64::from(viral_size),
        doubling_s: expected.doubling_s.map(f64::from),
        expected_next_staffed: f64::from(expected.expected_at(staffed_in_s as f32)),
        answer_within_s: passes_in_s(&expected, viral_size as f32),
    }
}

/// Seconds until the thread is expected to pass a size: 0 when it has, `None` when it is not expected to.
fn passes_in_s(expected: &detect::thread::Forecast, size: f32) -> Option<f64> {
    let (mut low, mut high) = (0.0f32, THREAD_AGE_MAX_S as f32);
    if expected.expected_at(low) >= size {
        return Some(0.0);
    }
    if expected.expected_at(high) < size {
        return None;
    }
    // To within a minute: nobody answers by the second.
    while high - low > 60.0 {
        let middle = (low + high) / 2.0;
        if expected.expected_at(middle) < size { low = middle } else { high = middle }
    }
    Some(f64::from(high))
}

/// Fresh numbers take their timeline along once a minute.
fn is_another_minute(before_s: i64, now_s: i64) -> bool {
    now_s.div_euclid(60) != before_s.div_euclid(60)
}

fn unheard(coverage: &detect::Coverage) -> Reason {
    let share = f64::from(coverage.share);
    let words = format!("{:.0} % of its sources are heard, so silence is not calm", share * 100.0);
    observed("no_data", words, &[("coverage", share)])
}

/// Seconds until somebody answers again; 0 while somebody does.
fn until_staffed_s(utc_offset_s: i32, now_s: i64, (from, to): (i8, i8)) -> i64 {
    let of_day = (now_s + i64::from(utc_offset_s)).rem_euclid(86_400);
    let (from_s, to_s) = (i64::from(from) * 3_600, i64::from(to) * 3_600);
    match of_day {
        s if s < from_s => from_s - s,
        s if s < to_s => 0,
        s => 86_400 - s + from_s,
    }
}

fn observed(code: &str, words: String, numbers: &[(&str, f64)]) -> Reason {
    let numbers = numbers.iter().filter(|(_, n)| n.is_finite()).map(|(k, n)| ((*k).to_owned(), *n)).collect();
    Reason::Observed { code: code.to_owned(), words, numbers }
}

fn keep(evidence: &mut Vec<Evidence>, piece: Evidence, now_s: i64) {
    keep_after(evidence, piece, now_s, 0);
}

/// Keeps the weightiest recent pieces behind the first `fixed`, which stay.
fn keep_after(evidence: &mut Vec<Evidence>, piece: Evidence, now_s: i64, fixed: usize) {
    if evidence.iter().any(|kept| kept.mention == piece.mention) {
        return;
    }
    let mut rest = evidence.split_off(fixed.min(evidence.len()));
    rest.push(piece);
    rest.retain(|kept| now_s - kept.at.as_seconds() <= EVIDENCE_S);
    let weight = |e: &Evidence| f32::from(e.severity.level()) * e.complaint;
    rest.sort_by(|a, b| {
        weight(b).total_cmp(&weight(a)).then(b.at.cmp(&a.at)).then(a.mention.cmp(&b.mention))
    });
    rest.truncate(EVIDENCE_MAX - fixed);
    evidence.append(&mut rest);
}

/// The stored form of [`Detectors`].
#[derive(Clone, PartialEq, prost::Message)]
struct Stored {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(int64, tag = "2")]
    watermark_s: i64,
    #[prost(int64, tag = "3")]
    lesson_s: i64,
    #[prost(btree_map = "string, int64", tag = "4")]
    first_s: BTreeMap<String, i64>,
    #[prost(message, repeated, tag = "5")]
    subjects: Vec<StoredSubject>,
    #[prost(message, repeated, tag = "6")]
    threads: Vec<StoredThread>,
    #[prost(message, optional, tag = "7")]
    hearing: Option<StoredHearing>,
    #[prost(message, repeated, tag = "8")]
    outlooks: Vec<ThreadOutlook>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredSubject {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(bytes = "vec", tag = "2")]
    state: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    evidence: Vec<u8>,
    #[prost(float, tag = "4")]
    severity: f32,
    #[prost(float, tag = "5")]
    complaints: f32,
    #[prost(int64, tag = "6")]
    at_s: i64,
    #[prost(int64, tag = "7")]
    told_s: i64,
    #[prost(float, tag = "8")]
    warmup: f32,
    #[prost(message, optional, boxed, tag = "9")]
    diary: Option<Box<Diary>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredThread {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(bytes = "vec", tag = "2")]
    state: Vec<u8>,
    #[prost(bool, tag = "3")]
    root_known: bool,
    #[prost(uint64, tag = "4")]
    posts: u64,
    #[prost(uint64, tag = "5")]
    complaints_milli: u64,
    #[prost(uint32, tag = "6")]
    severity: u32,
    #[prost(fixed64, tag = "7")]
    people: u64,
    #[prost(bytes = "vec", tag = "8")]
    evidence: Vec<u8>,
    #[prost(int64, tag = "9")]
    last_s: i64,
    #[prost(int64, tag = "10")]
    told_s: i64,
    #[prost(float, tag = "11")]
    told_size: f32,
    #[prost(bool, tag = "12")]
    is_open: bool,
    #[prost(uint32, tag = "13")]
    asked: u32,
    #[prost(int64, tag = "14")]
    asked_s: i64,
    #[prost(int64, optional, tag = "15")]
    stopping_s: Option<i64>,
    #[prost(bool, tag = "16")]
    is_blind: bool,
    #[prost(string, tag = "17")]
    topic: String,
    #[prost(message, optional, tag = "18")]
    said: Option<Said>,
    #[prost(message, optional, boxed, tag = "19")]
    diary: Option<Box<Diary>>,
}

impl Detectors {
    /// Everything, as bytes. Priors are left out: they are learned anew here and by who reads the bytes, so
    /// that both go on alike.
    pub(crate) fn snapshot(&mut self) -> Vec<u8> {
        self.learn_priors();
        let evidence = |pieces: &Vec<Evidence>| serde_json::to_vec(pieces).unwrap_or_default();
        let subjects = self.subjects.iter().map(|(key, entry)| StoredSubject {
            key: key.clone(),
            state: entry.state.to_bytes(),
            evidence: evidence(&entry.evidence),
            severity: entry.severity,
            complaints: entry.complaints,
            at_s: entry.at_s,
            told_s: entry.told_s,
            warmup: entry.warmup,
            diary: entry.diary.clone(),
        });
        let threads = self.threads.iter().map(|(key, thread)| StoredThread {
            key: key.clone(),
            state: thread.state.to_bytes(),
            root_known: thread.root_known,
            posts: thread.posts,
            complaints_milli: thread.complaints_milli,
            severity: u32::from(thread.severity.level()),
            people: thread.people.to_bits(),
            evidence: evidence(&thread.evidence),
            last_s: thread.last_s,
            told_s: thread.told_s,
            told_size: thread.told_size,
            asked: thread.asked,
            asked_s: thread.asked_s,
            is_open: thread.is_open,
            stopping_s: thread.stopping_s,
            is_blind: thread.is_blind,
            topic: thread.topic.as_ref().map_or_else(String::new, ToString::to_string),
            said: Some(thread.said),
            diary: thread.diary.clone(),
        });
        let stored = Stored {
            version: SNAPSHOT_VERSION,
            watermark_s: self.watermark_s,
            lesson_s: self.lesson_s,
            first_s: self.first_s.clone(),
            subjects: subjects.collect(),
            threads: threads.collect(),
            hearing: Some(StoredHearing::from(&self.hearing)),
            outlooks: self.outlooks.stored(),
        };
        stored.encode_to_vec()
    }

    /// What [`Detectors::snapshot`] wrote.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let stored = Stored::decode(bytes).map_err(|e| e.to_string())?;
        if stored.version != SNAPSHOT_VERSION {
            return Err(format!("version {} is not {SNAPSHOT_VERSION}", stored.version));
        }
        let evidence = |bytes: &[u8]| serde_json::from_slice(bytes).map_err(|e| e.to_string());
        let mut detectors = Self {
            watermark_s: stored.watermark_s,
            lesson_s: stored.lesson_s,
            first_s: stored.first_s,
            hearing: stored.hearing.map(Hearing::from).unwrap_or_default(),
            outlooks: Outlooks::of(&stored.outlooks),
            ..Self::default()
        };
        for subject in stored.subjects {
            let state = SubjectState::from_bytes(&subject.state).map_err(|e| e.to_string())?;
            if state.open_since_s().is_some() {
                detectors.open.insert(subject.key.clone());
            }
            let entry = SubjectEntry {
                state,
                evidence: evidence(&subject.evidence)?,
                severity: subject.severity,
                complaints: subject.complaints,
                at_s: subject.at_s,
                told_s: subject.told_s,
                warmup: subject.warmup,
                diary: subject.diary,
            };
            if entry.diary.is_some() {
                detectors.followed.insert(subject.key.clone());
            }
            detectors.subjects.insert(subject.key, entry);
        }
        for thread in stored.threads {
            if thread.is_open {
                detectors.open.insert(thread.key.clone());
            }
            let entry = ThreadEntry {
                state: ThreadState::from_bytes(&thread.state).ok_or("a thread's state is damaged")?,
                root_known: thread.root_known,
                posts: thread.posts,
                complaints_milli: thread.complaints_milli,
                severity: Severity::from_level(thread.severity).map_err(|e| e.to_string())?,
                people: detect::DistinctSketch::from_bits(thread.people),
                evidence: evidence(&thread.evidence)?,
                last_s: thread.last_s,
                told_s: thread.told_s,
                told_size: thread.told_size,
                asked: thread.asked,
                asked_s: thread.asked_s,
                is_open: thread.is_open,
                stopping_s: thread.stopping_s,
                is_blind: thread.is_blind,
                topic: Topic::parse(&thread.topic).ok(),
                said: thread.said.unwrap_or_default(),
                diary: thread.diary,
            };
            if entry.diary.is_some() {
                detectors.followed.insert(thread.key.clone());
            }
            detectors.threads.insert(thread.key, entry);
        }
        detectors.learn_priors();
        Ok(detectors)
    }
}
