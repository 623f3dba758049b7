//! The latest rows of a series, so that a reason can tell what came in the span its branch looks at.

use crate::reason::Branch;

/// Counts and expectations of the last rows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Recent {
    counts: [f32; Self::ROWS],
    expected: [f32; Self::ROWS],
    /// Rows held since the start or the last gap, and where the next one goes.
    held: usize,
    next: usize,
}

impl Recent {
    /// Two hours of five minutes.
    const ROWS: usize = 24;

    /// Adds a row; what lies before a gap is forgotten.
    pub(crate) fn add(&mut self, count: f32, expected: f32, after_gap: bool) {
        if after_gap {
            self.held = 0;
        }
        (self.counts[self.next], self.expected[self.next]) = (count, expected);
        self.next = (self.next + 1) % Self::ROWS;
        self.held = (self.held + 1).min(Self::ROWS);
    }

    /// What came and what was expected in the rows that the branch looks at, and how many those are.
    pub(crate) fn of(&self, branch: Branch, row_s: i64) -> (f32, f32, usize) {
        let span_s = match branch {
            Branch::Sudden => 600,
            Branch::Building => 2400,
            Branch::Slow => 7200,
        };
        let rows = usize::try_from(span_s / row_s.max(1)).unwrap_or(1).clamp(1, self.held.max(1));
        let latest = |back: usize| (self.next + Self::ROWS - back) % Self::ROWS;
        let sum = |values: &[f32]| (1..=rows).map(|back| values[latest(back)]).sum();
        (sum(&self.counts), sum(&self.expected), rows)
    }
}
