use model::{CaseId, Probability};

use crate::{Case, CaseState, Policy, Said};

/// Sounds at least this positive: taken at its word when it thanks.
const POSITIVE_AT: f32 = 0.5;

/// True when the post opens a case if it belongs to none: a complaint, or written to the brand in private.
pub fn opens(said: &Said, policy: &Policy) -> bool {
    !is_ignored(said, policy) && (is_complaint(said, policy) || is_private_request(said, policy))
}

/// Which of the customer's cases the post belongs to, if any. `cases` may hold more than this customer's.
///
/// The same message first, then the same thread, then the same topic (or any complaint of who still waits
/// for an answer) within the matter window, or any topic within the same breath; thanks go to the newest.
/// Open cases come before resolved ones, newer before older.
pub fn choose<'a>(said: &Said, cases: impl IntoIterator<Item = &'a Case>, policy: &Policy) -> Option<CaseId> {
    cases
        .into_iter()
        .filter(|c| c.brand == said.brand && c.customer == said.author && !c.is_erased)
        .filter_map(|c| {
            Some((nearness(said, c, policy)?, c.state != CaseState::Resolved, c.last_said_at(), c.id))
        })
        .max()
        .map(|(.., id)| id)
}

fn nearness(said: &Said, case: &Case, policy: &Policy) -> Option<u8> {
    if case.message(said.mention).is_some() {
        return Some(3);
    }
    let is_over = case.resolved_at.is_some_and(|at| said.at.millis_since(at) > policy.reopen_window_ms);
    if is_over {
        return None;
    }
    let in_thread = case.thread_root == said.thread_root
        || case.message(said.thread_root).is_some()
        || said.reply_to.is_some_and(|id| id == case.thread_root || case.message(id).is_some());
    if in_thread {
        return Some(2);
    }
    let apart_ms = said.at.millis_since(case.last_said_at()).abs();
    let opens = opens(said, policy);
    // Who still waits for an answer and complains again, complains about what he waits for; the topic an
    // impatient second post seems to have is no reason to give him a second case.
    let still_waits = case.waiting_since.is_some() && opens;
    let same_topic = still_waits || (said.topic.is_some() && said.topic == case.topic && opens);
    let near = apart_ms <= policy.same_breath_ms
        || (apart_ms <= policy.matter_window_ms && (same_topic || is_thanks(said, policy)));
    near.then_some(1)
}

pub(crate) fn is_complaint(said: &Said, policy: &Policy) -> bool {
    said.complaint >= policy.complaint_at && said.severity >= policy.severity_at
}

pub(crate) fn is_private_request(said: &Said, policy: &Policy) -> bool {
    policy.private_opens && !said.is_public && !is_thanks(said, policy)
}

pub(crate) fn is_ignored(said: &Said, policy: &Policy) -> bool {
    said.is_automatic || said.spam >= policy.spam_at
}

/// Thanks or good news, and nothing that asks for an answer.
pub(crate) fn is_thanks(said: &Said, policy: &Policy) -> bool {
    let glad = said.thanks >= policy.thanks_at || said.won_back >= policy.won_back_at;
    glad && said.complaint < policy.complaint_at && said.positive >= Probability::clamped(POSITIVE_AT)
}

/// The customer is back: says so in public, or thanks in public for an answer.
pub(crate) fn is_won_back(said: &Said, case: &Case, policy: &Policy) -> bool {
    let earned = said.won_back >= policy.won_back_at || case.answered_at.is_some();
    said.is_public && is_thanks(said, policy) && earned
}
