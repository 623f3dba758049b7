use std::collections::BTreeMap;

use casework::{Case, CaseState};
use model::Timestamp;
use store::sqlx::any::AnyRow;
use store::sqlx::{self, Row};
use store::{Doing, Statement, Store};

use super::cases::case_of;
use super::{TableError, number};

/// Which cases to list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) brand: String,
    pub(crate) states: Vec<CaseState>,
    pub(crate) assignee: String,
    pub(crate) overdue_only: bool,
}

/// The place of a case in the list: longest waiting first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) waits_us: i64,
    pub(crate) opened_us: i64,
    pub(crate) id: String,
}

impl Place {
    pub(crate) fn of(case: &Case) -> Self {
        Self {
            waits_us: case.waiting_since.map_or(i64::MAX, Timestamp::as_micros),
            opened_us: case.opened_at.as_micros(),
            id: case.id.to_string(),
        }
    }
}

fn filtered(select: &str, filter: &Filter) -> Statement {
    let mut query = Statement::new(select);
    query.push(" FROM response_cases WHERE state IN ");
    let names: Vec<String> = filter.states.iter().map(|s| s.name().to_owned()).collect();
    query.list(&names);
    if !filter.brand.is_empty() {
        query.push(" AND brand = ").bind(filter.brand.clone());
    }
    if !filter.assignee.is_empty() {
        query.push(" AND assignee = ").bind(filter.assignee.clone());
    }
    if filter.overdue_only {
        query.push(" AND is_overdue = 1");
    }
    query
}

/// Up to `limit` cases after `after`, longest waiting first.
pub(crate) async fn list(
    store: &Store,
    filter: &Filter,
    after: Option<&Place>,
    limit: i64,
) -> Result<Vec<Case>, TableError> {
    let mut query = filtered("SELECT case_id, body", filter);
    if let Some(after) = after {
        query.push(" AND (waits_order_us > ").bind(after.waits_us);
        query.push(" OR (waits_order_us = ").bind(after.waits_us);
        query.push(" AND (opened_at_us > ").bind(after.opened_us);
        query.push(" OR (opened_at_us = ").bind(after.opened_us);
        query.push(" AND case_id > ").bind(after.id.clone()).push("))))");
    }
    query.push(" ORDER BY waits_order_us, opened_at_us, case_id LIMIT ").bind(limit);
    query.rows(store.pool(), "listing cases").await?.iter().map(case_of).collect()
}

/// How many cases match.
pub(crate) async fn count(store: &Store, filter: &Filter) -> Result<u64, TableError> {
    let rows = filtered("SELECT COUNT(*) AS n", filter).rows(store.pool(), "counting cases").await?;
    let counted = rows.first().map(|r| r.try_get::<i64, _>("n")).transpose();
    let counted = counted.doing(|| "counting cases".into())?.unwrap_or(0);
    Ok(u64::try_from(counted).unwrap_or(0))
}

/// How often each change was told in `from..to`.
pub(crate) async fn changes(
    store: &Store,
    brand: &str,
    from: Timestamp,
    to: Timestamp,
) -> Result<BTreeMap<i64, u64>, TableError> {
    let mut query = Statement::new("SELECT change, COUNT(*) AS n FROM response_history WHERE at_us >= ");
    query.bind(from.as_micros()).push(" AND at_us < ").bind(to.as_micros());
    if !brand.is_empty() {
        query.push(" AND brand = ").bind(brand.to_owned());
    }
    query.push(" GROUP BY change");
    let rows = query.rows(store.pool(), "counting changes").await?;
    let read = |row: &AnyRow| -> Result<(i64, u64), sqlx::Error> {
        Ok((row.try_get("change")?, u64::try_from(row.try_get::<i64, _>("n")?).unwrap_or(0)))
    };
    Ok(rows.iter().map(read).collect::<Result<_, _>>().doing(|| "counting changes".into())?)
}

/// Times from opening to the first answer of the cases first answered in `from..to`.
pub(crate) struct FirstAnswers<'a> {
    pub(crate) store: &'a Store,
    pub(crate) brand: &'a str,
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
}

impl FirstAnswers<'_> {
    fn query(&self, select: &str) -> Statement {
        let mut query = Statement::new(select);
        query.push(" FROM response_cases WHERE answered_at_us >= ").bind(self.from.as_micros());
        query.push(" AND answered_at_us < ").bind(self.to.as_micros());
        if !self.brand.is_empty() {
            query.push(" AND brand = ").bind(self.brand.to_owned());
        }
        query
    }

    pub(crate) async fn count(&self) -> Result<u64, TableError> {
        let rows = self.query("SELECT COUNT(*) AS n").rows(self.store.pool(), "counting answers").await?;
        let counted = rows.first().map(|r| r.try_get::<i64, _>("n")).transpose();
        let counted = counted.doing(|| "counting answers".into())?.unwrap_or(0);
        Ok(u64::try_from(counted).unwrap_or(0))
    }

    /// The `rank`th shortest, from 0, in microseconds.
    pub(crate) async fn ranked(&self, rank: u64) -> Result<Option<i64>, TableError> {
        let mut query = self.query("SELECT answered_at_us - opened_at_us AS took");
        query.push(" ORDER BY answered_at_us - opened_at_us LIMIT 1 OFFSET ").bind(number(rank));
        let rows = query.rows(self.store.pool(), "ranking answers").await?;
        Ok(rows.first().map(|r| r.try_get("took")).transpose().doing(|| "ranking answers".into())?)
    }
}

/// Cases opened in `from..to` that nobody has answered.
pub(crate) async fn unanswered(
    store: &Store,
    brand: &str,
    from: Timestamp,
    to: Timestamp,
) -> Result<u64, TableError> {
    let mut query = Statement::new("SELECT COUNT(*) AS n FROM response_cases WHERE opened_at_us >= ");
    query.bind(from.as_micros()).push(" AND opened_at_us < ").bind(to.as_micros());
    query.push(" AND answered_at_us IS NULL");
    if !brand.is_empty() {
        query.push(" AND brand = ").bind(brand.to_owned());
    }
    let rows = query.rows(store.pool(), "counting the unanswered").await?;
    let counted = rows.first().map(|r| r.try_get::<i64, _>("n")).transpose();
    let counted = counted.doing(|| "counting the unanswered".into())?.unwrap_or(0);
    Ok(u64::try_from(counted).unwrap_or(0))
}
