//! What live threads say to the subject they are about: while one is forecast to spread, less is needed in the counts
//! to call the subject rising. A thread and its subject may belong to different partitions, so it is said over the
//! topic of tallies. Pure and on event time.

use std::collections::BTreeMap;

use contracts::alert::v1::ThreadOutlook;
use detect::ThreadPrior;
use model::Subject;

/// A thread less likely to spread than this says nothing to its subject.
const SAID_FROM: f32 = 0.1;
/// It speaks again when the probability has moved by so much.
const MOVED_BY: f32 = 0.1;
/// Threads remembered per subject; the least likely leave first.
const OF_SUBJECT_MAX: usize = 64;

/// What a thread last said to its subject.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Said {
    #[prost(float, tag = "1")]
    p_spread: f32,
    #[prost(int64, tag = "2")]
    at_s: i64,
}

impl Said {
    /// Is it to be said now? Then it is noted as said. What holds is said again before it would lapse, after
    /// `lapses_s` event seconds.
    pub(crate) fn is_news(&mut self, p_spread: f32, now_s: i64, lapses_s: i64) -> bool {
        let is_worth = p_spread.max(self.p_spread) >= SAID_FROM;
        let has_moved = (p_spread - self.p_spread).abs() >= MOVED_BY;
        let is_stale = p_spread >= SAID_FROM && now_s - self.at_s >= lapses_s / 2;
        let is_over = p_spread <= 0.0 && self.p_spread > 0.0;
        let is_news = is_worth && (has_moved || is_stale || is_over);
        if is_news {
            *self = Self { p_spread, at_s: now_s };
        }
        is_news
    }
}

/// What is known of the live threads of the subjects of one partition.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Outlooks {
    of: BTreeMap<String, BTreeMap<String, Outlook>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Outlook {
    prior: ThreadPrior,
    at_s: i64,
}

impl Outlooks {
    /// Notes it. An older word than what is known, as after a repeat, changes nothing. `Err` names what is wrong.
    pub(crate) fn take(&mut self, said: &ThreadOutlook) -> Result<(), String> {
        let subject: Subject = said.subject.parse().map_err(|e| format!("subject: {e}"))?;
        let Subject::Topic { .. } = subject else {
            return Err("subject: a thread speaks to a brand's topic".to_owned());
        };
        if !(0.0..=1.0).contains(&said.p_spread) {
            return Err(format!("p_spread: needs 0 to 1, is {}", said.p_spread));
        }
        let threads = self.of.entry(said.subject.clone()).or_default();
        if threads.get(&said.thread).is_some_and(|known| known.at_s > said.at_s) {
            return Ok(());
        }
        if said.p_spread < SAID_FROM {
            threads.remove(&said.thread);
        } else {
            let prior = ThreadPrior { p_spread: said.p_spread, expected_final: said.expected_final };
            threads.insert(said.thread.clone(), Outlook { prior, at_s: said.at_s });
        }
        if threads.len() > OF_SUBJECT_MAX {
            let least = threads.iter().min_by(|a, b| a.1.prior.p_spread.total_cmp(&b.1.prior.p_spread));
            if let Some(least) = least.map(|(thread, _)| thread.clone()) {
                threads.remove(&least);
            }
        }
        if threads.is_empty() {
            self.of.remove(&said.subject);
        }
        Ok(())
    }

    /// The thread of a subject that is likeliest to spread, of those heard within `lapses_s` event seconds.
    pub(crate) fn liveliest(&self, subject: &str, now_s: i64, lapses_s: i64) -> Option<ThreadPrior> {
        let live = self.live(subject, now_s, lapses_s).map(|(_, prior)| prior);
        live.max_by(|a, b| a.p_spread.total_cmp(&b.p_spread))
    }

    /// The threads of a subject heard within `lapses_s` event seconds.
    pub(crate) fn live(
        &self,
        subject: &str,
        now_s: i64,
        lapses_s: i64,
    ) -> impl Iterator<Item = (&str, ThreadPrior)> {
        let threads = self.of.get(subject).into_iter().flatten();
        let live = threads.filter(move |(_, outlook)| now_s - outlook.at_s <= lapses_s);
        live.map(|(thread, outlook)| (thread.as_str(), outlook.prior))
    }

    /// Lets go of what has lapsed.
    pub(crate) fn forget_old(&mut self, now_s: i64, lapses_s: i64) {
        self.of.retain(|_, threads| {
            threads.retain(|_, outlook| now_s - outlook.at_s <= lapses_s);
            !threads.is_empty()
        });
    }

    /// Everything, to be stored.
    pub(crate) fn stored(&self) -> Vec<ThreadOutlook> {
        let outlook = |subject: &String, thread: &String, outlook: &Outlook| ThreadOutlook {
            subject: subject.clone(),
            thread: thread.clone(),
            at_s: outlook.at_s,
            p_spread: outlook.prior.p_spread,
            expected_final: outlook.prior.expected_final,
        };
        let all = self.of.iter().flat_map(|(subject, threads)| {
            threads.iter().map(move |(thread, kept)| outlook(subject, thread, kept))
        });
        all.collect()
    }

    /// What [`Outlooks::stored`] gave; what is damaged is left out.
    pub(crate) fn of(stored: &[ThreadOutlook]) -> Self {
        let mut outlooks = Self::default();
        for said in stored {
            let _ = outlooks.take(said);
        }
        outlooks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(thread: &str, at_s: i64, p_spread: f32) -> ThreadOutlook {
        ThreadOutlook {
            subject: "topic/acme/refund".into(),
            thread: format!("thread/acme/{thread}"),
            at_s,
            p_spread,
            expected_final: 100.0,
        }
    }

    fn liveliest(outlooks: &Outlooks, now_s: i64) -> Option<f32> {
        outlooks.liveliest("topic/acme/refund", now_s, 100).map(|prior| prior.p_spread)
    }

    #[test]
    fn likeliest_live_thread_speaks_for_its_subject_until_it_lapses_or_is_over() {
        let mut outlooks = Outlooks::default();
        for said in [said("a", 10, 0.4), said("b", 20, 0.9), said("c", 30, 0.2)] {
            outlooks.take(&said).unwrap();
        }
        assert_eq!(liveliest(&outlooks, 60), Some(0.9));
        assert_eq!(outlooks.liveliest("topic/acme/delivery", 60, 100), None);
        outlooks.take(&said("b", 70, 0.0)).unwrap();
        assert_eq!(liveliest(&outlooks, 70), Some(0.4));
        outlooks.take(&said("a", 5, 0.95)).unwrap();
        assert_eq!(liveliest(&outlooks, 70), Some(0.4), "an older word changes nothing");
        assert_eq!(liveliest(&outlooks, 130), Some(0.2), "what is not said again lapses");
        assert_eq!(Outlooks::of(&outlooks.stored()), outlooks);
        outlooks.forget_old(131, 100);
        assert_eq!(outlooks, Outlooks::default());
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_what_is_remembered_is_bounded() {
        let mut outlooks = Outlooks::default();
        assert!(
            outlooks.take(&ThreadOutlook { subject: "thread/acme/x".into(), ..said("a", 1, 0.5) }).is_err()
        );
        assert!(outlooks.take(&said("a", 1, f32::NAN)).is_err());
        for n in 0..2 * OF_SUBJECT_MAX {
            outlooks.take(&said(&n.to_string(), 1, 0.1 + n as f32 / 1_000.0)).unwrap();
        }
        assert_eq!(outlooks.stored().len(), OF_SUBJECT_MAX);
        assert!(liveliest(&outlooks, 1).unwrap() > 0.22);
    }

    #[test]
    fn thread_speaks_when_it_has_moved_before_it_lapses_and_when_it_is_over() {
        let mut last = Said::default();
        let mut is_news = |p_spread, now_s| last.is_news(p_spread, now_s, 100);
        assert!(!is_news(0.05, 1));
        assert!(is_news(0.5, 2) && !is_news(0.55, 3) && is_news(0.62, 4));
        assert!(!is_news(0.62, 53) && is_news(0.62, 54));
        assert!(is_news(0.0, 55) && !is_news(0.0, 56));
    }
}
