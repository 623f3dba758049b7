use model::{BrandId, CaseId, Timestamp};
use store::sqlx::any::AnyRow;
use store::sqlx::{self, Row};
use store::{Doing, On, Statement, Store, Tx, pieces};

use super::{TableError, damaged, number};

/// Changes of one case that are read for people.
const HISTORY_MAX: i64 = 1_000;

/// Takes `count` ids of the history and returns the first. Others wait until `tx` ends.
pub(crate) async fn history_ids(tx: &mut Tx, count: i64) -> Result<i64, TableError> {
    let mut update = Statement::new("UPDATE response_counters SET value = value + ");
    update.bind(count).push(" WHERE name = 'history' RETURNING value");
    let rows = update.rows(&mut **tx, "taking ids of the history").await?;
    let last = rows.first().map(|r| r.try_get::<i64, _>("value")).transpose();
    let last = last.doing(|| "taking ids of the history".into())?;
    let last = last.ok_or_else(|| damaged("counter", "history", "is missing"))?;
    Ok(last - count + 1)
}

/// A change as it lies in the history.
pub(crate) struct Past {
    pub(crate) id: i64,
    /// CaseEvent, protobuf.
    pub(crate) body: Vec<u8>,
    /// What it was caused by, JSON; may be empty.
    pub(crate) headers: String,
}

/// A change about to be written.
pub(crate) struct Told<'a> {
    pub(crate) id: i64,
    pub(crate) case: CaseId,
    pub(crate) sequence: u64,
    pub(crate) brand: &'a BrandId,
    pub(crate) change: i32,
    pub(crate) at: Timestamp,
    pub(crate) body: Vec<u8>,
}

/// Writes changes.
pub(crate) async fn tell(tx: &mut Tx, told: &[Told<'_>], headers: &str) -> Result<(), TableError> {
    for part in pieces(told) {
        let mut insert = Statement::new(
            "INSERT INTO response_history (id, case_id, sequence, brand, change, at_us, body, headers) ",
        );
        insert.values(part, |row, told| {
            row.bind(told.id).bind(told.case.to_string()).bind(number(told.sequence));
            row.bind(told.brand.to_string()).bind(i64::from(told.change)).bind(told.at.as_micros());
            row.bind(told.body.clone()).bind(headers.to_owned());
        });
        insert.run(&mut **tx, "writing the history").await?;
    }
    Ok(())
}

fn past(rows: &[AnyRow]) -> Result<Vec<Past>, TableError> {
    let read = |row: &AnyRow| {
        Ok(Past { id: row.try_get("id")?, body: row.try_get("body")?, headers: row.try_get("headers")? })
    };
    Ok(rows.iter().map(read).collect::<Result<_, sqlx::Error>>().doing(|| "reading the history".into())?)
}

/// The newest changes of a case, oldest first.
pub(crate) async fn history<'e>(on: impl On<'e>, case: CaseId) -> Result<Vec<Past>, TableError> {
    let mut query = Statement::new("SELECT id, body, headers FROM response_history WHERE case_id = ");
    query.bind(case.to_string()).push(" ORDER BY sequence DESC LIMIT ").bind(HISTORY_MAX);
    let mut found = past(&query.rows(on, "reading the history").await?)?;
    found.reverse();
    Ok(found)
}

/// Changes after `id`, in order.
pub(crate) async fn history_after<'e>(
    on: impl On<'e>,
    id: i64,
    brand: &str,
    limit: i64,
) -> Result<Vec<Past>, TableError> {
    let mut query = Statement::new("SELECT id, body, headers FROM response_history WHERE id > ");
    query.bind(id);
    if !brand.is_empty() {
        query.push(" AND brand = ").bind(brand.to_owned());
    }
    query.push(" ORDER BY id LIMIT ").bind(limit);
    past(&query.rows(on, "following the history").await?)
}

/// The newest id of the history.
pub(crate) async fn history_end<'e>(on: impl On<'e>) -> Result<i64, TableError> {
    let query = Statement::new("SELECT value FROM response_counters WHERE name = 'history'");
    let rows = query.rows(on, "reading the end of the history").await?;
    let value = rows.first().map(|r| r.try_get::<i64, _>("value")).transpose();
    Ok(value.doing(|| "reading the end of the history".into())?.unwrap_or(0))
}

/// How many changes are still to be sent.
pub(crate) async fn untold(store: &Store) -> Result<i64, TableError> {
    let end = history_end(store.pool()).await?;
    let query = Statement::new("SELECT next_id FROM response_told WHERE name = 'cases'");
    let rows = query.rows(store.pool(), "reading what was sent").await?;
    let next = rows.first().map(|r| r.try_get::<i64, _>("next_id")).transpose();
    let next = next.doing(|| "reading what was sent".into())?;
    Ok(next.map_or(0, |next| (end + 1 - next).max(0)))
}

/// Replaces the words of a change.
pub(crate) async fn rewrite(tx: &mut Tx, id: i64, body: Vec<u8>) -> Result<(), TableError> {
    let mut update = Statement::new("UPDATE response_history SET body = ");
    update.bind(body).push(" WHERE id = ").bind(id);
    update.run(&mut **tx, "forgetting in the history").await?;
    Ok(())
}

/// Makes `member` the one that sends changes until `until`, if nobody else is at `now`; the id of the next
/// change to be sent.
pub(crate) async fn claim_told(
    store: &Store,
    member: &str,
    now: Timestamp,
    until: Timestamp,
) -> Result<Option<i64>, TableError> {
    let mut tx = store.begin().await?;
    let mut update = Statement::new("UPDATE response_told SET claimed_by = ");
    update.bind(member.to_owned()).push(", claimed_until_us = ").bind(until.as_micros());
    update.push(" WHERE name = 'cases' AND (claimed_until_us <= ").bind(now.as_micros());
    update.push(" OR claimed_by = ").bind(member.to_owned()).push(") RETURNING next_id");
    let rows = update.rows(&mut *tx, "claiming the sending of changes").await?;
    tx.commit().await.doing(|| "claiming the sending of changes".into())?;
    let next = rows.first().map(|row| row.try_get("next_id")).transpose();
    Ok(next.doing(|| "claiming the sending of changes".into())?)
}

/// Records that everything before `to` was sent, and keeps the claim until `until`. False: somebody else
/// sends meanwhile, and nothing was recorded.
pub(crate) async fn advance_told(
    store: &Store,
    member: &str,
    (from, to): (i64, i64),
    until: Timestamp,
) -> Result<bool, TableError> {
    let mut tx = store.begin().await?;
    let mut update = Statement::new("UPDATE response_told SET next_id = ");
    update.bind(to).push(", claimed_until_us = ").bind(until.as_micros());
    update.push(" WHERE name = 'cases' AND next_id = ").bind(from);
    update.push(" AND claimed_by = ").bind(member.to_owned());
    let moved = update.run(&mut *tx, "recording what was sent").await?;
    tx.commit().await.doing(|| "recording what was sent".into())?;
    Ok(moved == 1)
}
