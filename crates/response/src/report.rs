use std::sync::Arc;

use casework::Change;
use contracts::response::v1 as wire;
use model::{Invalid, Timestamp};
use tonic::Status;

use crate::desk::Desk;
use crate::grpc::{refused, unavailable};
use crate::store::{self as tables, FirstAnswers};
use crate::wire as words;

/// Counts and quantiles for a span, from what was told in it.
pub(crate) async fn report(
    desk: &Arc<Desk>,
    request: &wire::ReportRequest,
) -> Result<wire::ReportResponse, Status> {
    let from = Timestamp::from_micros(request.from_us);
    let to = match request.to_us {
        // What is told at this very instant counts.
        0 => Timestamp::from_micros(desk.clock.now().as_micros() + 1),
        given => Timestamp::from_micros(given),
    };
    if to < from {
        return Err(refused(Invalid::new("to_us", "is before from_us")));
    }
    let brand = request.brand.as_str();
    let told = tables::changes(&desk.store, brand, from, to).await.map_err(|e| unavailable(&e))?;
    let count = |change: Change| told.get(&i64::from(words::change(change) as i32)).copied().unwrap_or(0);
    let answers = FirstAnswers { store: &desk.store, brand, from, to };
    let answered = answers.count().await.map_err(|e| unavailable(&e))?;
    let unanswered = tables::unanswered(&desk.store, brand, from, to).await.map_err(|e| unavailable(&e))?;
    Ok(wire::ReportResponse {
        opened: count(Change::Opened),
        answered,
        resolved: count(Change::Resolved),
        reopened: count(Change::Reopened),
        won_back: count(Change::WonBack),
        breaches: count(Change::Breached),
        promises_made: count(Change::Promised),
        promises_kept: count(Change::PromiseKept),
        promises_broken: count(Change::PromiseBroken),
        promises_renegotiated: count(Change::PromiseRenegotiated),
        first_answer_p50_ms: quantile(&answers, answered, 50).await?,
        first_answer_p90_ms: quantile(&answers, answered, 90).await?,
        unanswered,
    })
}

/// The nearest-rank quantile in milliseconds; absent of nothing.
async fn quantile(answers: &FirstAnswers<'_>, count: u64, percent: u64) -> Result<Option<i64>, Status> {
    if count == 0 {
        return Ok(None);
    }
    let rank = (count * percent).div_ceil(100).saturating_sub(1);
    let took = answers.ranked(rank).await.map_err(|e| unavailable(&e))?;
    Ok(took.map(|micros| micros / 1_000))
}
