use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use contracts::ingest::v1::{Coverage, CoverageState};
use model::Timestamp;

/// How complete each connector is right now.
#[derive(Debug, Default)]
pub(crate) struct CoverageBook(Mutex<BTreeMap<String, Coverage>>);

impl CoverageBook {
    /// Notes that `connector` is in `state`; `watermark`: everything witnessed before it was published.
    /// Gives what is to be told to others: a change of state, or the word of a live connector that last
    /// spoke before `tell_since`.
    pub(crate) fn note(
        &self,
        connector: &str,
        state: CoverageState,
        watermark: Option<Timestamp>,
        detail: &str,
        now: Timestamp,
    ) -> Option<Coverage> {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = book.get(connector);
        let changed = before.is_none_or(|b| b.state != i32::from(state) || b.detail != detail);
        let known = before.map_or(0, |b| b.watermark_us);
        let coverage = Coverage {
            connector: connector.to_owned(),
            watermark_us: watermark.map_or(known, |w| w.as_micros().max(known)),
            state: state.into(),
            since_us: before.filter(|b| b.state == i32::from(state)).map_or(now.as_micros(), |b| b.since_us),
            detail: detail.to_owned(),
        };
        book.insert(connector.to_owned(), coverage.clone());
        changed.then_some(coverage)
    }

    /// All connectors as they stand.
    pub(crate) fn all(&self) -> Vec<Coverage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_once_and_watermarks_never_go_back() {
        let book = CoverageBook::default();
        let at = Timestamp::from_seconds;
        let live = CoverageState::Live;
        assert!(book.note("a", live, Some(at(10)), "", at(11)).is_some());
        assert!(book.note("a", live, Some(at(9)), "", at(12)).is_none());
        assert_eq!(book.all()[0].watermark_us, at(10).as_micros());
        let gap = book.note("a", CoverageState::Gap, None, "connection lost", at(13)).unwrap();
        assert_eq!((gap.since_us, gap.watermark_us), (at(13).as_micros(), at(10).as_micros()));
    }
}
