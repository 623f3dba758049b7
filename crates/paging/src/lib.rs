//! Who is told about what, when, and when not: the policy of alerts, as pure decisions.
//!
//! [`decide`] moves one episode (a span from opened to resolved of one rule on one subject) on by one
//! input and says what is owed outward: notices, published changes, a time to be woken at. Beside it:
//! which silences and inhibitions hold an episode's pages back ([`mutes_for`]), who is to be told
//! ([`Policy::route`]), whether a queued notice is still wanted ([`still_wanted`]), when a failed attempt
//! is repeated ([`next_attempt`]), and what a notice looks like on each wire ([`format`]).
//!
//! It stays ignorant of clocks, storage, sockets and of how a rise was found: `now` is an argument, and a
//! rise arrives as a [`Signal`].

mod adapt;
mod decide;
mod episode;
pub mod format;
mod notice;
mod policy;
mod reason;
mod retry;
mod route;
mod sign;
mod silence;

pub use decide::{Action, Decision, Effect, Input, Signal, SignalKind, What, decide};
pub use episode::{
    Ack, Change, Counts, Episode, Evidence, Facts, Forecast, Forgotten, Phase, Told, Trigger, Urgency,
    dedup_key,
};
pub use notice::{DeliveredBefore, Notice, NoticeKind, NoticeReason, Wanted, still_wanted};
pub use policy::{EscalationStep, Inhibition, Policy, RulePolicy};
pub use reason::Reason;
pub use retry::{Attempt, FailureReason, Next, RetryPolicy, judge_status, next_attempt, retry_after_ms};
pub use route::{Labels, Route};
pub use sign::{Secret, SecretError, signature_header};
pub use silence::{Matcher, Mutes, Silence, SilenceError, Target, inhibitors_of, mutes_for};
