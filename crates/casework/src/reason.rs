use std::fmt;

use model::{Probability, Severity, Timestamp};

use crate::{ClockKind, ClockSide, Resolution};

/// Why a decision came out as it did.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    /// Opened: a complaint over the threshold.
    Complaint {
        /// How likely a complaint.
        probability: Probability,
        /// How severe.
        severity: Severity,
    },
    /// Opened: written to the brand in private.
    PrivateMessage,
    /// The customer said more.
    CustomerSpoke,
    /// The words of a known message changed.
    Edited,
    /// The brand's account answered.
    BrandAnswered,
    /// A reply was recorded by hand.
    ReplyRecorded,
    /// It has an owner now.
    Assigned,
    /// It has no owner now.
    Unassigned,
    /// It is the customer's turn.
    WaitingForCustomer,
    /// It is our turn again.
    CustomerReturned,
    /// A promise was recorded.
    Promised {
        /// Until when.
        due_at: Timestamp,
    },
    /// A promise was kept before its due time.
    PromiseKept,
    /// A promise was due and not kept.
    PromiseBroken {
        /// Until when it should have been kept.
        due_at: Timestamp,
    },
    /// A promise will be due soon.
    PromiseDueSoon {
        /// When.
        due_at: Timestamp,
    },
    /// A promise was replaced before its due time.
    PromiseRenegotiated,
    /// A clock ran out.
    Breached {
        /// Which.
        kind: ClockKind,
        /// Whose.
        side: ClockSide,
        /// When.
        due_at: Timestamp,
    },
    /// A clock will run out.
    DueSoon {
        /// Which.
        kind: ClockKind,
        /// Whose.
        side: ClockSide,
        /// When.
        due_at: Timestamp,
    },
    /// The matter ended.
    Resolved {
        /// Why.
        resolution: Resolution,
        /// What was noted; may be empty.
        note: String,
    },
    /// The customer complained again.
    ComplainedAgain,
    /// Somebody took it up again.
    ReopenedByHand {
        /// What was noted; may be empty.
        note: String,
    },
    /// The customer said so in public.
    WonBack,
    /// Words were taken back.
    Withdrawn,
    /// Words came back.
    Restored,
    /// The customer is forgotten.
    Erased,

    /// Nothing changed: known already.
    Repeat,
    /// Nothing changed: no complaint, and no case it belongs to.
    NoComplaint,
    /// Nothing changed: advertising or noise.
    Spam,
    /// Nothing changed: a machine wrote it.
    Automatic,
    /// Nothing changed: belongs to no case we know.
    NoCase,
    /// Nothing changed: nothing is due.
    NothingDue,

    /// Refused, for what is wrong with the request.
    Refused(Refusal),
}

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// There is no such case.
    NoSuchCase,
    /// It has no such promise.
    NoSuchPromise,
    /// The promise was kept, broken or replaced before.
    PromiseNotOpen,
    /// A promise needs a due time in the future.
    DueInThePast,
    /// A promise needs words.
    EmptyPromise,
    /// There are too many open promises.
    TooManyPromises,
    /// It is resolved.
    AlreadyResolved,
    /// It is not resolved.
    NotResolved,
    /// The customer is forgotten; nothing more is kept.
    Forgotten,
}

impl Refusal {
    /// Stable label.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoSuchCase => "no_such_case",
            Self::NoSuchPromise => "no_such_promise",
            Self::PromiseNotOpen => "promise_not_open",
            Self::DueInThePast => "due_in_the_past",
            Self::EmptyPromise => "empty_promise",
            Self::TooManyPromises => "too_many_promises",
            Self::AlreadyResolved => "already_resolved",
            Self::NotResolved => "not_resolved",
            Self::Forgotten => "forgotten",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchCase => "there is no such case",
            Self::NoSuchPromise => "the case has no such promise",
            Self::PromiseNotOpen => "the promise is not open any more",
            Self::DueInThePast => "a promise needs a due time in the future",
            Self::EmptyPromise => "a promise needs words",
            Self::TooManyPromises => "the case has too many open promises",
            Self::AlreadyResolved => "the case is resolved; reopen it first",
            Self::NotResolved => "the case is not resolved",
            Self::Forgotten => "the customer is forgotten; nothing more is recorded",
        })
    }
}

impl Reason {
    /// Stable label for counting.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Complaint { .. } => "complaint",
            Self::PrivateMessage => "private_message",
            Self::CustomerSpoke => "customer_spoke",
            Self::Edited => "edited",
            Self::BrandAnswered => "brand_answered",
            Self::ReplyRecorded => "reply_recorded",
            Self::Assigned => "assigned",
            Self::Unassigned => "unassigned",
            Self::WaitingForCustomer => "waiting_for_customer",
            Self::CustomerReturned => "customer_returned",
            Self::Promised { .. } => "promised",
            Self::PromiseKept => "promise_kept",
            Self::PromiseBroken { .. } => "promise_broken",
            Self::PromiseDueSoon { .. } => "promise_due_soon",
            Self::PromiseRenegotiated => "promise_renegotiated",
            Self::Breached { .. } => "breached",
            Self::DueSoon { .. } => "due_soon",
            Self::Resolved { .. } => "resolved",
            Self::ComplainedAgain => "complained_again",
            Self::ReopenedByHand { .. } => "reopened_by_hand",
            Self::WonBack => "won_back",
            Self::Withdrawn => "withdrawn",
            Self::Restored => "restored",
            Self::Erased => "erased",
            Self::Repeat => "repeat",
            Self::NoComplaint => "no_complaint",
            Self::Spam => "spam",
            Self::Automatic => "automatic",
            Self::NoCase => "no_case",
            Self::NothingDue => "nothing_due",
            Self::Refused(refusal) => refusal.code(),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complaint { probability, severity } => write!(
                f,
                "a complaint ({:.0} % sure, severity {}: {severity})",
                probability.get() * 100.0,
                severity.level()
            ),
            Self::PrivateMessage => f.write_str("the customer wrote in private"),
            Self::CustomerSpoke => f.write_str("the customer said more"),
            Self::Edited => f.write_str("the customer changed the words"),
            Self::BrandAnswered => f.write_str("the brand answered where the customer asked"),
            Self::ReplyRecorded => f.write_str("an answer given elsewhere was recorded"),
            Self::Assigned => f.write_str("somebody works on it"),
            Self::Unassigned => f.write_str("nobody works on it any more"),
            Self::WaitingForCustomer => f.write_str("it is the customer's turn, the team's clock pauses"),
            Self::CustomerReturned => f.write_str("it is our turn again, the team's clock runs"),
            Self::Promised { due_at } => write!(f, "promised until {due_at}"),
            Self::PromiseKept => f.write_str("the promise was kept in time"),
            Self::PromiseBroken { due_at } => write!(f, "the promise was due at {due_at} and not kept"),
            Self::PromiseDueSoon { due_at } => write!(f, "the promise is due at {due_at}"),
            Self::PromiseRenegotiated => f.write_str("the promise was replaced before it was due"),
            Self::Breached { kind, side, due_at } => {
                write!(f, "the {} clock of the {} ran out at {due_at}", kind.words(), side.words())
            }
            Self::DueSoon { kind, side, due_at } => {
                write!(f, "the {} clock of the {} runs out at {due_at}", kind.words(), side.words())
            }
            Self::Resolved { resolution, note } => {
                f.write_str(match resolution {
                    Resolution::Answered => "answered, and the customer had nothing more to say",
                    Resolution::WonBack => "the customer is back",
                    Resolution::Withdrawn => "the customer took the words back",
                    Resolution::ByHand => "resolved by hand",
                })?;
                noted(f, note)
            }
            Self::ComplainedAgain => f.write_str("the customer complained again"),
            Self::ReopenedByHand { note } => {
                f.write_str("taken up again by hand")?;
                noted(f, note)
            }
            Self::WonBack => f.write_str("the customer said so in public"),
            Self::Withdrawn => f.write_str("words were taken back and are kept no more"),
            Self::Restored => f.write_str("words that were out of sight are back"),
            Self::Erased => f.write_str("the customer is forgotten"),
            Self::Repeat => f.write_str("known already"),
            Self::NoComplaint => f.write_str("no complaint, and no case it belongs to"),
            Self::Spam => f.write_str("advertising or noise"),
            Self::Automatic => f.write_str("a machine wrote it"),
            Self::NoCase => f.write_str("belongs to no case we know"),
            Self::NothingDue => f.write_str("nothing is due"),
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}

fn noted(f: &mut fmt::Formatter<'_>, note: &str) -> fmt::Result {
    if note.is_empty() { Ok(()) } else { write!(f, ": {note}") }
}
