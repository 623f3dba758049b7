use model::{Millis, Timestamp};

/// Why an attempt failed; the metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureReason {
    /// The receiver says that the request is wrong.
    ClientError,
    /// The receiver does not know us.
    AuthError,
    /// Too many.
    RateLimited,
    /// The receiver is broken.
    ServerError,
    /// No answer in time.
    DeadlineExceeded,
    /// We stopped it.
    Canceled,
    /// No connection, or no such name.
    Unreachable,
    /// The receiver sends us elsewhere; we never follow.
    Redirected,
    /// The address is not one we may call.
    Forbidden,
    /// Anything else.
    Other,
}

impl FailureReason {
    /// The label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::ClientError => "clientError",
            Self::AuthError => "authError",
            Self::RateLimited => "rateLimited",
            Self::ServerError => "serverError",
            Self::DeadlineExceeded => "contextDeadlineExceeded",
            Self::Canceled => "contextCanceled",
            Self::Unreachable => "unreachable",
            Self::Redirected => "redirected",
            Self::Forbidden => "forbidden",
            Self::Other => "other",
        }
    }
}

/// How one attempt to deliver went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The receiver has it.
    Ok,
    /// The receiver asks to wait so long; the whole destination waits.
    RetryAfter(Millis, FailureReason),
    /// Later, by the ladder.
    Retry(FailureReason),
    /// Never.
    Permanent(FailureReason),
    /// Perhaps the receiver has it: send again under the same id.
    Ambiguous(FailureReason),
}

/// The shortest and longest wait a receiver may ask for.
const RETRY_AFTER_MS: std::ops::RangeInclusive<Millis> = 1_000..=15 * 60_000;

/// Waits between attempts: quick at first, for pages, then ever slower.
const LADDER_S: [i64; 12] = [1, 2, 5, 10, 30, 60, 120, 300, 600, 900, 1_800, 3_600];

/// When delivering is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// After so many attempts.
    pub attempts_max: u32,
    /// And after so long since the first.
    pub age_max_ms: Millis,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts_max: 40, age_max_ms: 24 * 3_600_000 }
    }
}

/// What happens after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Delivered.
    Done,
    /// Again at `at`; with `pause_until` the whole destination waits until then.
    RetryAt {
        /// When.
        at: Timestamp,
        /// Until when nothing goes to this destination.
        pause_until: Option<Timestamp>,
        /// Why it failed.
        reason: FailureReason,
    },
    /// Never again.
    GiveUp(FailureReason),
}

/// Judges an HTTP status that is not yet known to be a success in its body: 408, 425, 429 and 5xx come
/// again (429 and 503 when the receiver says), everything else that is not 2xx is permanent.
pub fn judge_status(status: u16, retry_after: Option<&str>, now: Timestamp) -> Attempt {
    let wait = retry_after.and_then(|text| retry_after_ms(text, now));
    match status {
        200..=299 => Attempt::Ok,
        300..=399 => Attempt::Permanent(FailureReason::Redirected),
        429 => match wait {
            Some(ms) => Attempt::RetryAfter(ms, FailureReason::RateLimited),
            None => Attempt::Retry(FailureReason::RateLimited),
        },
        503 => match wait {
            Some(ms) => Attempt::RetryAfter(ms, FailureReason::ServerError),
            None => Attempt::Retry(FailureReason::ServerError),
        },
        408 => Attempt::Retry(FailureReason::DeadlineExceeded),
        425 => Attempt::Retry(FailureReason::ClientError),
        500..=599 => Attempt::Retry(FailureReason::ServerError),
        401 | 403 => Attempt::Permanent(FailureReason::AuthError),
        400..=499 => Attempt::Permanent(FailureReason::ClientError),
        _ => Attempt::Permanent(FailureReason::Other),
    }
}

/// Reads `Retry-After`, seconds or an HTTP date, clamped to 1 s..15 min; `None` when it is neither.
pub fn retry_after_ms(text: &str, now: Timestamp) -> Option<Millis> {
    let text = text.trim();
    let wait_ms = match text.parse::<u64>() {
        Ok(seconds) => i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000),
        Err(_) => {
            let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
            Timestamp::from_millis(at.as_millisecond()).millis_since(now)
        }
    };
    Some(wait_ms.clamp(*RETRY_AFTER_MS.start(), *RETRY_AFTER_MS.end()))
}

/// When to try again. `attempts` counts the one just made; `jitter` in 0..1 is drawn by the caller and
/// spreads the wait over its upper half, so that many do not come back at once.
pub fn next_attempt(
    attempt: Attempt,
    attempts: u32,
    first_at: Timestamp,
    now: Timestamp,
    jitter: f64,
    policy: &RetryPolicy,
) -> Next {
    let (reason, asked_ms) = match attempt {
        Attempt::Ok => return Next::Done,
        Attempt::Permanent(reason) => return Next::GiveUp(reason),
        Attempt::RetryAfter(ms, reason) => (reason, Some(ms)),
        Attempt::Retry(reason) | Attempt::Ambiguous(reason) => (reason, None),
    };
    if attempts >= policy.attempts_max || now.millis_since(first_at) >= policy.age_max_ms {
        return Next::GiveUp(reason);
    }
    let rung = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX).min(LADDER_S.len() - 1);
    let ladder_ms = LADDER_S[rung] * 1_000;
    let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.0 };
    let spread_ms = ladder_ms / 2 + (ladder_ms as f64 / 2.0 * jitter) as i64;
    match asked_ms {
        Some(ms) => {
            let until = now.plus_millis(ms);
            Next::RetryAt { at: until.plus_millis((250.0 * jitter) as i64), pause_until: Some(until), reason }
        }
        None => Next::RetryAt { at: now.plus_millis(spread_ms), pause_until: None, reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-02T03:04:05Z";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn every_status_is_judged_as_the_rule_says() {
        use Attempt::{Ok, Permanent, Retry};
        for status in 100..=999 {
            let judged = judge_status(status, None, at(NOW));
            let matches = match status {
                200..=299 => judged == Ok,
                408 | 425 | 429 | 500..=599 => matches!(judged, Retry(_)),
                _ => matches!(judged, Permanent(_)),
            };
            assert!(matches, "{status}: {judged:?}");
        }
    }

    #[test]
    fn retry_after_is_read_in_both_forms_and_clamped() {
        for (text, expected) in [
            ("30", Some(30_000)),
            ("0", Some(1_000)),
            ("1000000000", Some(900_000)),
            ("99999999999999999999", None),
            ("Fri, 02 Jan 2026 03:05:05 GMT", Some(60_000)),
            ("Fri, 02 Jan 2026 03:00:00 GMT", Some(1_000)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(retry_after_ms(text, at(NOW)), expected, "{text}");
        }
        let judged = judge_status(429, Some("7"), at(NOW));
        assert_eq!(judged, Attempt::RetryAfter(7_000, FailureReason::RateLimited));
    }

    #[test]
    fn attempts_climb_the_ladder_and_end() {
        let policy = RetryPolicy { attempts_max: 5, age_max_ms: 3_600_000 };
        let failed = Attempt::Retry(FailureReason::ServerError);
        let waits: Vec<_> = (1..=5)
            .map(|n| match next_attempt(failed, n, at(NOW), at(NOW), 1.0, &policy) {
                Next::RetryAt { at: when, pause_until: None, .. } => when.millis_since(at(NOW)),
                other => {
                    assert_eq!(other, Next::GiveUp(FailureReason::ServerError));
                    -1
                }
            })
            .collect();
        assert_eq!(waits, [1_000, 2_000, 5_000, 10_000, -1]);
    }

    #[test]
    fn asking_to_wait_pauses_the_whole_destination() {
        let asked = Attempt::RetryAfter(30_000, FailureReason::RateLimited);
        let next = next_attempt(asked, 1, at(NOW), at(NOW), 0.0, &RetryPolicy::default());
        let until = at(NOW).plus_millis(30_000);
        let reason = FailureReason::RateLimited;
        assert_eq!(next, Next::RetryAt { at: until, pause_until: Some(until), reason });
    }

    #[test]
    fn permanent_failures_are_not_tried_again() {
        let next =
            next_attempt(judge_status(410, None, at(NOW)), 1, at(NOW), at(NOW), 0.5, &RetryPolicy::default());
        assert_eq!(next, Next::GiveUp(FailureReason::ClientError));
    }
}
