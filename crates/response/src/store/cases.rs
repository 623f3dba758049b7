use std::collections::{BTreeMap, BTreeSet};

use casework::Case;
use model::{AuthorKey, BrandId, CaseId, MentionId, Timestamp};
use store::sqlx::any::AnyRow;
use store::sqlx::{self, Row};
use store::{Doing, On, Statement, Tx, Values, pieces};

use super::{IN_MAX, TableError, damaged, number};

pub(super) fn case_of(row: &AnyRow) -> Result<Case, TableError> {
    let read =
        || -> Result<(String, Vec<u8>), sqlx::Error> { Ok((row.try_get("case_id")?, row.try_get("body")?)) };
    let (id, body) = read().doing(|| "reading a case".into())?;
    serde_json::from_slice(&body).map_err(|e| damaged("case", &id, e))
}

/// One case.
pub(crate) async fn case<'e>(on: impl On<'e>, id: CaseId) -> Result<Option<Case>, TableError> {
    let mut query = Statement::new("SELECT case_id, body FROM response_cases WHERE case_id = ");
    query.bind(id.to_string());
    query.rows(on, "reading a case").await?.first().map(case_of).transpose()
}

async fn cases_where(tx: &mut Tx, column: &str, values: BTreeSet<String>) -> Result<Vec<Case>, TableError> {
    let values: Vec<String> = values.into_iter().collect();
    let mut cases = Vec::new();
    for part in values.chunks(IN_MAX) {
        let mut query =
            Statement::new(format!("SELECT case_id, body FROM response_cases WHERE {column} IN "));
        query.list(part);
        for row in query.rows(&mut **tx, "reading cases").await? {
            cases.push(case_of(&row)?);
        }
    }
    Ok(cases)
}

pub(crate) async fn cases(tx: &mut Tx, ids: &BTreeSet<CaseId>) -> Result<Vec<Case>, TableError> {
    cases_where(tx, "case_id", ids.iter().map(ToString::to_string).collect()).await
}

pub(crate) async fn cases_of(tx: &mut Tx, customers: &BTreeSet<AuthorKey>) -> Result<Vec<Case>, TableError> {
    cases_where(tx, "customer_key", customers.iter().map(|k| k.as_str().to_owned()).collect()).await
}

pub(crate) async fn cases_in(tx: &mut Tx, threads: &BTreeSet<MentionId>) -> Result<Vec<Case>, TableError> {
    cases_where(tx, "thread_root", threads.iter().map(ToString::to_string).collect()).await
}

/// Which case of which brand a mention belongs to.
pub(crate) type Places = BTreeMap<(MentionId, BrandId), CaseId>;

pub(crate) async fn places(tx: &mut Tx, mentions: &BTreeSet<MentionId>) -> Result<Places, TableError> {
    let ids: Vec<String> = mentions.iter().map(ToString::to_string).collect();
    let mut places = Places::new();
    for part in ids.chunks(IN_MAX) {
        let mut query =
            Statement::new("SELECT mention_id, case_id, brand FROM response_mentions WHERE mention_id IN ");
        query.list(part);
        for row in query.rows(&mut **tx, "looking for the cases of mentions").await? {
            let read = || -> Result<[String; 3], sqlx::Error> {
                Ok([row.try_get("mention_id")?, row.try_get("case_id")?, row.try_get("brand")?])
            };
            let [mention, case, brand] = read().doing(|| "reading a mention".into())?;
            let bad = |e: model::Invalid| damaged("mention", &mention, e);
            places.insert(
                (mention.parse().map_err(bad)?, BrandId::parse(&brand).map_err(bad)?),
                case.parse().map_err(bad)?,
            );
        }
    }
    Ok(places)
}

/// Remembers which case mentions belong to.
pub(crate) async fn place(tx: &mut Tx, mentions: &[(MentionId, &Case)]) -> Result<(), TableError> {
    for part in pieces(mentions) {
        let mut insert = Statement::new("INSERT INTO response_mentions (mention_id, case_id, brand) ");
        insert.values(part, |row, (mention, case)| {
            row.bind(mention.to_string()).bind(case.id.to_string()).bind(case.brand.to_string());
        });
        insert.push(" ON CONFLICT DO NOTHING");
        insert.run(&mut **tx, "placing mentions").await?;
    }
    Ok(())
}

/// A case to be written.
pub(crate) struct Saved<'a> {
    pub(crate) case: &'a Case,
    /// The version it was read at; absent for a new one.
    pub(crate) before: Option<u64>,
    pub(crate) is_overdue: bool,
}

/// Writes cases; all of them, or the transaction must not be committed.
pub(crate) async fn save(tx: &mut Tx, saved: &[Saved<'_>]) -> Result<(), TableError> {
    let (new, known): (Vec<_>, Vec<_>) = saved.iter().partition(|s| s.before.is_none());
    for part in pieces(&new) {
        let mut insert = Statement::new(
            "INSERT INTO response_cases (case_id, version, customer_key, thread_root, state, assignee, \
             is_overdue, opened_at_us, changed_at_us, waits_order_us, answered_at_us, resolved_at_us, body, \
             brand) ",
        );
        fill(&mut insert, part, |row, saved| {
            row.bind(saved.case.brand.to_string());
        })?;
        insert.push(" ON CONFLICT DO NOTHING");
        let written = insert.run(&mut **tx, "opening cases").await?;
        check(part, written)?;
    }
    for part in pieces(&known) {
        let mut update = Statement::new(
            "UPDATE response_cases SET version = n.column2, customer_key = n.column3, \
             thread_root = n.column4, state = n.column5, assignee = n.column6, is_overdue = n.column7, \
             opened_at_us = n.column8, changed_at_us = n.column9, waits_order_us = n.column10, \
             answered_at_us = n.column11, resolved_at_us = n.column12, body = n.column13 FROM (",
        );
        fill(&mut update, part, |row, saved| {
            row.bind(saved.before.map_or(0, number));
        })?;
        update
            .push(") AS n WHERE response_cases.case_id = n.column1 AND response_cases.version = n.column14");
        let written = update.run(&mut **tx, "changing cases").await?;
        check(part, written)?;
    }
    Ok(())
}

/// A row per case, with what both statements need, and one value more at its end.
fn fill(
    statement: &mut Statement,
    part: &[&Saved<'_>],
    mut last: impl FnMut(&mut Values<'_>, &Saved<'_>),
) -> Result<(), TableError> {
    let written =
        |s: &&Saved<'_>| serde_json::to_vec(s.case).map_err(|e| damaged("case", &s.case.id.to_string(), e));
    let bodies = part.iter().map(written).collect::<Result<Vec<_>, _>>()?;
    statement.values(part.iter().zip(bodies), |row, (saved, body)| {
        let case = saved.case;
        row.bind(case.id.to_string()).bind(number(case.version));
        row.bind(case.customer.as_str().to_owned()).bind(case.thread_root.to_string());
        row.bind(case.state.name()).bind(case.assignee.clone()).bind(i64::from(saved.is_overdue));
        row.bind(case.opened_at.as_micros()).bind(case.changed_at.as_micros());
        row.bind(case.waiting_since.map_or(i64::MAX, Timestamp::as_micros));
        row.bind(case.answered_at.map(Timestamp::as_micros));
        row.bind(case.resolved_at.map(Timestamp::as_micros)).bind(body);
        last(row, saved);
    });
    Ok(())
}

/// Somebody else was at a case whose row was not written.
fn check(part: &[&Saved<'_>], written: u64) -> Result<(), TableError> {
    if written == part.len() as u64 { Ok(()) } else { Err(TableError::Conflict) }
}
