//! What is remembered of a thread, how far it is expected to go, and what is told of that.

use contracts::alert::v1::{TallyEvent, ThreadOutlook, Timeline};
use detect::thread::ThreadState;
use model::{MentionId, Severity, Subject, Timestamp, Topic};
use paging::{Counts, Evidence, Facts, Forecast, Policy, Reason, Signal, SignalKind};

use super::evidence::keep_after;
use super::{REFRESH_S, Rising, Rules, THREAD_AGE_MAX_S, Telling, observed};
use crate::outlook::Said;
use crate::timeline::{self, Diary};
use crate::{tally, wire};

/// An open thread is over when its probability to spread has stayed below this share of the one that opens.
const EXIT_SHARE: f64 = 0.6;
/// For so many event seconds.
const EXIT_HELD_S: i64 = 600;
/// A thread that was over is told again when so many times as many reactions are expected as were told.
const NEWS_AGAIN: f32 = 2.0;

#[derive(Debug, Clone)]
pub(super) struct ThreadEntry {
    pub(super) state: ThreadState,
    pub(super) root_known: bool,
    pub(super) posts: u64,
    pub(super) complaints_milli: u64,
    pub(super) severity: Severity,
    pub(super) people: detect::DistinctSketch,
    pub(super) evidence: Vec<Evidence>,
    pub(super) last_s: i64,
    pub(super) told_s: i64,
    pub(super) told_size: f32,
    /// Reactions at the last forecast, and when that was.
    pub(super) asked: u32,
    pub(super) asked_s: i64,
    pub(super) is_open: bool,
    /// Since when, while it is open, it has looked like stopping; absent while it does not.
    pub(super) stopping_s: Option<i64>,
    /// Its sources are not heard, and people know.
    pub(super) is_blind: bool,
    /// What it is about, as far as anybody said.
    pub(super) topic: Option<Topic>,
    /// What its subject was told of it.
    pub(super) said: Said,
    /// While it may spread.
    pub(super) diary: Option<Box<Diary>>,
}

impl ThreadEntry {
    pub(super) fn new(event: &TallyEvent) -> Self {
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
    pub(super) fn is_worth_a_diary(
        &self,
        forecast: &Forecast,
        kind: Option<SignalKind>,
        followed: usize,
    ) -> bool {
        let may_spread = forecast.p_viral >= timeline::SPREADS_FROM && followed < timeline::FOLLOWED_MAX;
        self.diary.is_none() && (may_spread || self.is_open || kind.is_some())
    }

    pub(super) fn write_diary(&mut self, forecast: &Forecast, now_s: i64, rules: &Rules) {
        let people = self.people.estimate();
        if let Some(diary) = &mut self.diary {
            diary.foresee(now_s, forecast, people, rules.threads.page_from);
        }
    }

    /// How it went, when something is told: from its opening to its end.
    pub(super) fn timeline(&mut self, kind: SignalKind, now_s: i64) -> Option<Timeline> {
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
    pub(super) fn is_worth_asking(&self, now_s: i64, rules: &Rules) -> bool {
        let seen = self.state.seen();
        seen >= rules.threads.seen_min
            && (seen - self.asked.min(seen) > self.asked / 20 || now_s - self.asked_s >= REFRESH_S)
    }

    pub(super) fn note(&mut self, event: &TallyEvent) {
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
    pub(super) fn kind(&mut self, forecast: &Forecast, now_s: i64, rules: &Rules) -> Option<SignalKind> {
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
    pub(super) fn outlook(
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
    pub(super) fn tick(
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
    pub(super) fn tell(&mut self, kind: SignalKind, forecast: &Forecast, now_s: i64) {
        self.told_s = now_s;
        self.told_size = match kind {
            SignalKind::Calm => self.state.seen() as f32,
            _ => self.told_size.max(forecast.expected_final as f32),
        };
        self.is_open = kind != SignalKind::Calm;
        self.is_blind = false;
        self.stopping_s = self.stopping_s.filter(|_| self.is_open);
    }

    pub(super) fn why(&self, forecast: &Forecast, now_s: i64) -> Reason {
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

    pub(super) fn signal(
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

    pub(super) fn rising(&self, subject: &Subject, forecast: &Forecast, at_s: i64) -> Rising {
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

pub(super) fn forecast_of(thread: &ThreadEntry, now_s: i64, brand: &str, rules: &Rules) -> Forecast {
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
