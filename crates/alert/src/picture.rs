//! What is being said and what is rising right now, in memory: for people who look. It is rebuilt from the
//! end of the log at the start and decides nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contracts::alert::v1::Evidence;
use model::Subject;
use paging::Forgotten;

use crate::detection::Rising;
use crate::store::erase::concerns;

/// Newest complaints kept per brand.
pub(crate) const SAID_MAX: usize = 50;
/// Rising subjects kept.
const RISING_MAX: usize = 200;
/// A rising subject not heard of for so many event seconds is left out.
const RISING_S: i64 = 900;
/// Minutes of totals kept.
const MINUTES: i64 = 60;

#[derive(Debug, Default)]
struct Brand {
    said: VecDeque<Evidence>,
    /// Posts and complaints per minute of event time.
    minutes: BTreeMap<i64, (u64, u64)>,
    total: u64,
}

#[derive(Debug, Default)]
struct Inner {
    brands: BTreeMap<String, Brand>,
    rising: BTreeMap<Subject, Rising>,
    newest_s: i64,
}

/// The picture. Cheap to clone; clones share.
#[derive(Debug, Clone, Default)]
pub(crate) struct Picture(Arc<Mutex<Inner>>);

/// A look at it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Look {
    pub(crate) rising: Vec<Rising>,
    pub(crate) said: Vec<Evidence>,
    pub(crate) posts_last_hour: u64,
    pub(crate) complaints_last_hour: u64,
    pub(crate) posts_total: u64,
}

impl Picture {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A post about `brand` was witnessed; `said` when it is a complaint worth showing.
    pub(crate) fn post(&self, brand: &str, at_us: i64, is_complaint: bool, said: Option<&Evidence>) {
        let mut inner = self.inner();
        let at_s = at_us.div_euclid(1_000_000);
        inner.newest_s = inner.newest_s.max(at_s);
        let oldest = inner.newest_s.div_euclid(60) - MINUTES;
        let entry = inner.brands.entry(brand.to_owned()).or_default();
        entry.total += 1;
        let minute = entry.minutes.entry(at_s.div_euclid(60)).or_default();
        minute.0 += 1;
        minute.1 += u64::from(is_complaint);
        while entry.minutes.first_key_value().is_some_and(|(minute, _)| *minute < oldest) {
            entry.minutes.pop_first();
        }
        if let Some(said) = said {
            entry.said.push_front(said.clone());
            entry.said.truncate(SAID_MAX);
        }
    }

    /// Subjects as detection sees them now.
    pub(crate) fn rise(&self, rising: Vec<Rising>) {
        if rising.is_empty() {
            return;
        }
        let mut inner = self.inner();
        for row in rising {
            inner.rising.insert(row.subject.clone(), row);
        }
        let newest_s = inner.rising.values().map(|row| row.at_s).max().unwrap_or(0);
        inner.rising.retain(|_, row| newest_s - row.at_s <= RISING_S);
        while inner.rising.len() > RISING_MAX {
            let oldest = inner.rising.values().min_by_key(|row| row.at_s).map(|row| row.subject.clone());
            match oldest {
                Some(subject) => drop(inner.rising.remove(&subject)),
                None => break,
            }
        }
    }

    /// What is to be forgotten is shown no more.
    pub(crate) fn forget(&self, forgotten: &Forgotten) {
        let mut inner = self.inner();
        for brand in inner.brands.values_mut() {
            brand.said.retain(|piece| !concerns(forgotten, piece));
        }
        if let Forgotten::Mention(root) = forgotten {
            for row in inner.rising.values_mut() {
                if matches!(&row.subject, Subject::Thread { root: of, .. } if of == root) {
                    row.excerpt.clear();
                }
            }
        }
    }

    /// What one brand (all for an empty one) looks like.
    pub(crate) fn look(&self, brand: &str) -> Look {
        let inner = self.inner();
        let from = inner.newest_s.div_euclid(60) - MINUTES + 1;
        let mut look = Look::default();
        for (name, entry) in &inner.brands {
            if !brand.is_empty() && name != brand {
                continue;
            }
            look.posts_total += entry.total;
            for (posts, complaints) in entry.minutes.range(from..).map(|(_, counts)| counts) {
                look.posts_last_hour += posts;
                look.complaints_last_hour += complaints;
            }
            look.said.extend(entry.said.iter().cloned());
        }
        look.said.sort_by(|a, b| b.at_us.cmp(&a.at_us).then(a.mention_id.cmp(&b.mention_id)));
        look.said.dedup_by(|a, b| a.mention_id == b.mention_id);
        look.said.truncate(SAID_MAX);
        look.rising = inner
            .rising
            .values()
            .filter(|row| brand.is_empty() || row.subject.brand().as_str() == brand)
            .filter(|row| inner.newest_s - row.at_s <= RISING_S)
            .cloned()
            .collect();
        let weight =
            |row: &Rising| row.surprise.max(row.forecast.map_or(0.0, |forecast| forecast.p_viral * 10.0));
        look.rising.sort_by(|a, b| weight(b).total_cmp(&weight(a)).then(a.subject.cmp(&b.subject)));
        look
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_of_the_last_hour_follow_event_time_and_brands_stay_apart() {
        let picture = Picture::default();
        let minute = 60_000_000;
        for n in 0..120 {
            picture.post("acme", n * minute, n % 2 == 0, None);
        }
        picture.post("globex", 119 * minute, true, None);
        let look = picture.look("acme");
        assert_eq!((look.posts_total, look.posts_last_hour, look.complaints_last_hour), (120, 60, 30));
        assert_eq!(picture.look("").posts_total, 121);
        assert_eq!(picture.look("nobody").posts_total, 0);
    }
}
