/// How an accepted item ended. Every hop counts with exactly these words, and the sums balance:
/// `accepted = stored + merged + suppressed + rejected + dead_lettered`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Kept as something new.
    Stored,
    /// Folded into something known: a repeat, an older revision, one more member.
    Merged,
    /// Left out on purpose: it matches no brand, or it is muted.
    Suppressed,
    /// Refused with a named reason and told to the sender.
    Rejected,
    /// Refused with a named reason and kept, bytes and all, for a person.
    DeadLettered,
}

impl Outcome {
    /// All outcomes in order.
    pub const ALL: [Self; 5] =
        [Self::Stored, Self::Merged, Self::Suppressed, Self::Rejected, Self::DeadLettered];

    /// The label used in metrics and accounts.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Merged => "merged",
            Self::Suppressed => "suppressed",
            Self::Rejected => "rejected",
            Self::DeadLettered => "dead_lettered",
        }
    }
}
