use std::sync::Arc;

use casework::CaseState;
use contracts::response::v1 as wire;
use model::Invalid;
use tonic::Status;

use crate::desk::Desk;
use crate::grpc::{refused, unavailable};
use crate::store::{self as tables, Filter, Place};
use crate::wire as words;

/// Cases on a page when nobody says.
const LIMIT: u32 = 100;
/// Cases on a page at most.
const LIMIT_MAX: u32 = 500;

pub(crate) async fn list(
    desk: &Arc<Desk>,
    request: wire::ListCasesRequest,
) -> Result<wire::ListCasesResponse, Status> {
    let states = states(&request.states)?;
    let after = match request.page_token.as_str() {
        "" => None,
        token => Some(read(token).ok_or_else(|| refused(Invalid::new("page_token", "is none of ours")))?),
    };
    let limit = match request.limit {
        0 => LIMIT,
        asked => asked.min(LIMIT_MAX),
    };
    let filter = Filter {
        brand: request.brand,
        states,
        assignee: request.assignee,
        overdue_only: request.overdue_only,
    };
    // One more than asked for tells whether there is a next page.
    let mut found = tables::list(&desk.store, &filter, after.as_ref(), i64::from(limit) + 1)
        .await
        .map_err(|e| unavailable(&e))?;
    let has_more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next_page_token =
        found.last().filter(|_| has_more).map(|case| write(&Place::of(case))).unwrap_or_default();
    let total = tables::count(&desk.store, &filter).await.map_err(|e| unavailable(&e))?;
    let now = desk.clock.now();
    let cases = found.iter().map(|case| words::case(case, now, desk.policies.of(&case.brand))).collect();
    Ok(wire::ListCasesResponse { cases, next_page_token, total })
}

fn states(asked: &[i32]) -> Result<Vec<CaseState>, Status> {
    if asked.is_empty() {
        return Ok(vec![CaseState::New, CaseState::Open, CaseState::Waiting]);
    }
    let known = |number: &i32| {
        CaseState::ALL
            .into_iter()
            .find(|state| i32::from(words::state(*state)) == *number)
            .ok_or_else(|| refused(Invalid::new("states", format!("{number} is no state"))))
    };
    let mut states = asked.iter().map(known).collect::<Result<Vec<_>, _>>()?;
    states.sort_unstable();
    states.dedup();
    Ok(states)
}

fn write(place: &Place) -> String {
    format!("{}.{}.{}", place.waits_us, place.opened_us, place.id)
}

fn read(token: &str) -> Option<Place> {
    let mut parts = token.splitn(3, '.');
    let waits_us = parts.next()?.parse().ok()?;
    let opened_us = parts.next()?.parse().ok()?;
    let id: model::CaseId = parts.next()?.parse().ok()?;
    Some(Place { waits_us, opened_us, id: id.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_tokens_are_read_back_and_others_refused() {
        let place =
            Place { waits_us: i64::MAX, opened_us: -5, id: model::CaseId::derive(&["x"]).to_string() };
        assert_eq!(read(&write(&place)), Some(place));
        for token in ["1", "1.2", "1.2.x", "a.b.c", ".."] {
            assert_eq!(read(token), None, "{token}");
        }
    }
}
