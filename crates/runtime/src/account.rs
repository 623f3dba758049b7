use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use model::Outcome;
use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};

/// What became of every item, per hop: the sums must balance.
///
/// Count what is accepted when it comes in, and each ending when it is durable. Cheap to clone; clones
/// share their counts. Exported as `redress_accepted_total{hop}` and
/// `redress_items_total{hop,outcome,reason}`.
#[derive(Debug, Clone)]
pub struct Account(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    hops: Mutex<BTreeMap<&'static str, HopAccount>>,
    accepted: Counter<u64>,
    ended: Counter<u64>,
}

/// The count of one hop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HopAccount {
    /// Items taken in.
    pub accepted: u64,
    /// Items ended, by outcome and its reason.
    pub ended: BTreeMap<(Outcome, &'static str), u64>,
}

impl HopAccount {
    /// Items that ended with `outcome`, whatever the reason.
    pub fn with(&self, outcome: Outcome) -> u64 {
        self.ended.iter().filter(|((o, _), _)| *o == outcome).map(|(_, n)| n).sum()
    }

    /// Items that ended.
    pub fn total(&self) -> u64 {
        self.ended.values().sum()
    }

    /// Items taken in that have not ended yet; negative when more ended than came, which is a fault.
    pub fn open(&self) -> i128 {
        i128::from(self.accepted) - i128::from(self.total())
    }
}

impl Default for Account {
    fn default() -> Self {
        Self::new()
    }
}

impl Account {
    /// Begins at zero, exporting to the meter that is installed now.
    pub fn new() -> Self {
        let meter = global::meter("redress");
        Self(Arc::new(Inner {
            hops: Mutex::default(),
            accepted: meter.u64_counter("redress_accepted").with_description("Items a hop took in").build(),
            ended: meter
                .u64_counter("redress_items")
                .with_description("Items by how they ended; per hop the sum equals what was accepted")
                .build(),
        }))
    }

    /// `count` items came in at `hop`.
    pub fn accepted(&self, hop: &'static str, count: u64) {
        if count > 0 {
            self.change(hop, |account| account.accepted += count);
            self.0.accepted.add(count, &[KeyValue::new("hop", hop)]);
        }
    }

    /// `count` items ended at `hop`. `reason` is a stable label, empty for the ordinary case.
    pub fn ended(&self, hop: &'static str, outcome: Outcome, reason: &'static str, count: u64) {
        if count > 0 {
            self.change(hop, |account| *account.ended.entry((outcome, reason)).or_default() += count);
            let labels = [
                KeyValue::new("hop", hop),
                KeyValue::new("outcome", outcome.label()),
                KeyValue::new("reason", reason),
            ];
            self.0.ended.add(count, &labels);
        }
    }

    /// All hops as they stand.
    pub fn snapshot(&self) -> BTreeMap<&'static str, HopAccount> {
        self.0.hops.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One hop as it stands; zero when nothing came yet.
    pub fn hop(&self, hop: &str) -> HopAccount {
        self.0.hops.lock().unwrap_or_else(PoisonError::into_inner).get(hop).cloned().unwrap_or_default()
    }

    /// True when at every hop as many ended as were accepted. Ask when nothing is on its way.
    pub fn is_balanced(&self) -> bool {
        self.snapshot().values().all(|hop| hop.open() == 0)
    }

    fn change(&self, hop: &'static str, change: impl FnOnce(&mut HopAccount)) {
        change(self.0.hops.lock().unwrap_or_else(PoisonError::into_inner).entry(hop).or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_balance_when_each_item_ended_once() {
        let account = Account::new();
        account.accepted("ingest", 5);
        account.ended("ingest", Outcome::Stored, "", 2);
        account.ended("ingest", Outcome::Suppressed, "no_brand", 2);
        assert!(!account.is_balanced());
        assert_eq!(account.hop("ingest").open(), 1);
        account.clone().ended("ingest", Outcome::DeadLettered, "malformed_json", 1);
        assert!(account.is_balanced());
        assert_eq!(account.hop("ingest").with(Outcome::Suppressed), 2);
        assert_eq!(account.hop("nowhere"), HopAccount::default());
    }
}
