use std::time::Duration;

use opentelemetry::metrics::{Counter, Histogram};
use opentelemetry::{KeyValue, global};

/// What this service measures beside its account.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    batch: Histogram<u64>,
    commit: Histogram<f64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let meter = global::meter("classify");
        Self {
            batch: meter
                .u64_histogram("redress_classify_batch")
                .with_description("Records in one commit")
                .with_boundaries(vec![1.0, 10.0, 100.0, 1_000.0, 5_000.0, 10_000.0, 20_000.0])
                .build(),
            commit: meter
                .f64_histogram("redress_classify_commit")
                .with_unit("s")
                .with_description("How long a commit took")
                .with_boundaries(vec![0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0])
                .build(),
        }
    }

    pub(crate) fn committed(&self, records: u64, took: Duration) {
        self.batch.record(records, &[]);
        self.commit.record(took.as_secs_f64(), &[]);
    }
}

/// What became of posts that were not surely understood.
#[derive(Debug, Clone)]
pub(crate) struct SecondMetrics {
    posts: Counter<u64>,
    look: Histogram<f64>,
}

impl SecondMetrics {
    pub(crate) fn new() -> Self {
        let meter = global::meter("classify");
        Self {
            posts: meter
                .u64_counter("redress_classify_second_posts")
                .with_description(
                    "Posts not surely understood: looked at again, left to the first answer, failed",
                )
                .build(),
            look: meter
                .f64_histogram("redress_classify_second_look")
                .with_unit("s")
                .with_description("How long a look of the second stage took")
                .with_boundaries(vec![0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0])
                .build(),
        }
    }

    pub(crate) fn looked(&self, again: usize, left: usize, took: Duration) {
        self.count("again", again);
        self.count("left", left);
        if again > 0 {
            self.look.record(took.as_secs_f64(), &[]);
        }
    }

    pub(crate) fn failed(&self, posts: usize) {
        self.count("failed", posts);
    }

    fn count(&self, outcome: &'static str, posts: usize) {
        self.posts.add(posts as u64, &[KeyValue::new("outcome", outcome)]);
    }
}
