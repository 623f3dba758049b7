//! The life of a case: who waits for an answer, since when, what was promised, and whether it was kept.
//!
//! [`decide`] takes a case, one thing that happened and the time, and gives the case as it is from then on,
//! what is to be told outside, and why. Clocks are folds over what happened: first answer, next answer and
//! resolution, each for the customer (wall clock), the contract (business hours) and the team (business
//! hours less waiting), under the calendar and targets they were started with. [`choose`] says which case a
//! post belongs to.
//!
//! It stays ignorant of storage, of the wire, of who is on call, and of what time it is.

mod ask;
mod calendar;
mod case;
mod clock;
mod decide;
mod hear;
mod input;
mod matter;
mod policy;
mod reason;
mod settle;
#[cfg(test)]
mod tests;
mod text;
mod turns;
mod work;

pub use calendar::{Calendar, CalendarSpec, HOLIDAYS_MAX, WINDOWS_PER_DAY_MAX};
pub use case::{
    Case, CaseState, MESSAGE_CHARS_MAX, MESSAGES_MAX, Message, PROMISES_MAX, Promise, PromiseState,
    Resolution, Side,
};
pub use clock::{Clock, ClockKind, ClockSide, ClockState, ClockView, Mark, MarkKind};
pub use decide::{CaseChanged, Change, Decision, Effect, decide};
pub use input::{Answered, Command, Input, Said};
pub use matter::{choose, opens};
pub use policy::{Allowed, Policy, Targets};
pub use reason::{Reason, Refusal};
pub use turns::{TURNS_MAX, Turn, TurnKind};
