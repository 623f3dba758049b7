//! The tables of response. Facts only; rules are in `casework`.

use std::collections::{BTreeMap, BTreeSet};

use casework::{Answered, Case, CaseState};
use model::{AuthorKey, BrandId, CaseId, MentionId, Timestamp};
use store::sqlx::any::{AnyArguments, AnyRow};
use store::sqlx::{self, Any, Arguments as _, AssertSqlSafe, Encode, Executor, Row, Type};
use store::{Backend, Doing, Migration, Store, StoreError, Tx};

/// The service's name, and the prefix of its tables.
pub const SERVICE: &str = "response";

/// The tables of response, for `redress migrate`.
pub const MIGRATIONS: &[Migration] =
    &[Migration { version: 1, name: "cases", sql: include_str!("../migrations/0001_cases.sql") }];

/// Rows per insert.
const ROWS_MAX: usize = 100;
/// Values per `IN (...)`.
const IN_MAX: usize = 500;
/// Groups of customers and mentions that transactions keep each other from on Postgres.
const LOCKS: u32 = 256;
const LOCK_SPACE: i64 = 0x5245_5350_0000;
/// Changes of one case that are read for people.
const HISTORY_MAX: i64 = 1_000;

/// Something these tables could not do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TableError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row is not what was written.
    #[error("reading {what} {id}: {problem}")]
    Damaged {
        /// What kind of row.
        what: &'static str,
        /// Which.
        id: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Somebody else changed the case meanwhile: begin again.
    #[error("case {0} was changed by somebody else meanwhile")]
    Conflict(CaseId),
}

impl TableError {
    /// The same transaction may succeed when begun again.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Conflict(_) => true,
            Self::Store(error @ StoreError::Sql { source: sqlx::Error::Database(cause), .. }) => {
                cause.is_unique_violation() || error.may_pass()
            }
            Self::Store(error) => error.may_pass(),
            Self::Damaged { .. } => false,
        }
    }
}

fn damaged(what: &'static str, id: &str, problem: impl ToString) -> TableError {
    TableError::Damaged { what, id: id.to_owned(), problem: problem.to_string() }
}

/// A statement in the making, with numbered places.
pub(crate) struct Statement {
    sql: String,
    args: AnyArguments,
    count: usize,
}

impl Statement {
    pub(crate) fn new(sql: &str) -> Self {
        Self { sql: sql.to_owned(), args: AnyArguments::default(), count: 0 }
    }

    pub(crate) fn push(&mut self, sql: &str) -> &mut Self {
        self.sql.push_str(sql);
        self
    }

    /// A place for `value`.
    pub(crate) fn bind<'q, T>(&mut self, value: T) -> &mut Self
    where
        T: Encode<'q, Any> + Type<Any> + 'q,
    {
        self.count += 1;
        self.sql.push_str(&format!("${}", self.count));
        // Refused only by types these tables do not use.
        if let Err(error) = self.args.add(value) {
            tracing::error!(%error, "a value cannot be written");
        }
        self
    }

    fn bind_list(&mut self, values: &[String]) -> &mut Self {
        for (i, value) in values.iter().enumerate() {
            self.push(if i == 0 { "(" } else { ", " });
            self.bind(value.clone());
        }
        self.push(")")
    }

    pub(crate) async fn rows<'e>(
        self,
        on: impl Executor<'e, Database = Any>,
        doing: &str,
    ) -> Result<Vec<AnyRow>, StoreError> {
        sqlx::query_with(AssertSqlSafe(self.sql), self.args).fetch_all(on).await.doing(|| doing.to_owned())
    }

    pub(crate) async fn run<'e>(
        self,
        on: impl Executor<'e, Database = Any>,
        doing: &str,
    ) -> Result<u64, StoreError> {
        let done = sqlx::query_with(AssertSqlSafe(self.sql), self.args).execute(on).await;
        Ok(done.doing(|| doing.to_owned())?.rows_affected())
    }
}

/// Keeps other processes from the same customers and threads until `tx` ends, so that two posts that arrive
/// at once open one case. SQLite has one writer anyway.
pub(crate) async fn lock(store: &Store, tx: &mut Tx, keys: &BTreeSet<String>) -> Result<(), StoreError> {
    if store.backend() == Backend::Sqlite {
        return Ok(());
    }
    let groups: BTreeSet<u32> = keys.iter().map(|key| group(key)).collect();
    // In order, so that two transactions never wait for each other.
    for group in groups {
        let mut lock = Statement::new("SELECT pg_advisory_xact_lock(");
        lock.bind(LOCK_SPACE + i64::from(group)).push(")");
        lock.run(&mut **tx, "waiting for another batch").await?;
    }
    Ok(())
}

fn group(key: &str) -> u32 {
    let mut hash: u32 = 0x811c_9dc5;
    for byte in key.bytes() {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    (hash ^ (hash >> 16)) % LOCKS
}

fn case_of(row: &AnyRow) -> Result<Case, TableError> {
    let read =
        || -> Result<(String, Vec<u8>), sqlx::Error> { Ok((row.try_get("case_id")?, row.try_get("body")?)) };
    let (id, body) = read().doing(|| "reading a case".into())?;
    serde_json::from_slice(&body).map_err(|e| damaged("case", &id, e))
}

/// One case.
pub(crate) async fn case<'e>(
    on: impl Executor<'e, Database = Any>,
    id: CaseId,
) -> Result<Option<Case>, TableError> {
    let mut query = Statement::new("SELECT case_id, body FROM response_cases WHERE case_id = ");
    query.bind(id.to_string());
    query.rows(on, "reading a case").await?.first().map(case_of).transpose()
}

async fn cases_where(tx: &mut Tx, column: &str, values: BTreeSet<String>) -> Result<Vec<Case>, TableError> {
    let values: Vec<String> = values.into_iter().collect();
    let mut cases = Vec::new();
    for part in values.chunks(IN_MAX) {
        let mut query =
            Statement::new(&format!("SELECT case_id, body FROM response_cases WHERE {column} IN "));
        query.bind_list(part);
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
        query.bind_list(part);
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
    for part in mentions.chunks(ROWS_MAX) {
        let mut insert = Statement::new("INSERT INTO response_mentions (mention_id, case_id, brand) VALUES ");
        for (i, (mention, case)) in part.iter().enumerate() {
            insert.push(if i == 0 { "(" } else { "), (" }).bind(mention.to_string());
            insert.push(", ").bind(case.id.to_string()).push(", ").bind(case.brand.to_string());
        }
        insert.push(") ON CONFLICT DO NOTHING");
        insert.run(&mut **tx, "placing mentions").await?;
    }
    Ok(())
}

/// Writes a case that is new (`before` absent) or was read at version `before`.
pub(crate) async fn save(
    tx: &mut Tx,
    case: &Case,
    before: Option<u64>,
    is_overdue: bool,
) -> Result<(), TableError> {
    let body = serde_json::to_vec(case).map_err(|e| damaged("case", &case.id.to_string(), e))?;
    let columns = [
        ("customer_key", case.customer.as_str().to_owned()),
        ("thread_root", case.thread_root.to_string()),
        ("state", case.state.name().to_owned()),
        ("assignee", case.assignee.clone()),
    ];
    let numbers = [
        ("is_overdue", Some(i64::from(is_overdue))),
        ("opened_at_us", Some(case.opened_at.as_micros())),
        ("changed_at_us", Some(case.changed_at.as_micros())),
        ("waits_order_us", Some(case.waiting_since.map_or(i64::MAX, Timestamp::as_micros))),
        ("answered_at_us", case.answered_at.map(Timestamp::as_micros)),
        ("resolved_at_us", case.resolved_at.map(Timestamp::as_micros)),
        ("version", Some(number(case.version))),
    ];
    let changed = if let Some(before) = before {
        let mut update = Statement::new("UPDATE response_cases SET body = ");
        update.bind(body);
        for (name, value) in columns {
            update.push(&format!(", {name} = ")).bind(value);
        }
        for (name, value) in numbers {
            update.push(&format!(", {name} = ")).bind(value);
        }
        update.push(" WHERE case_id = ").bind(case.id.to_string());
        update.push(" AND version = ").bind(number(before));
        update.run(&mut **tx, "changing a case").await?
    } else {
        let names = columns.iter().map(|c| c.0).chain(numbers.iter().map(|n| n.0));
        let names: Vec<_> = names.collect();
        let sql = format!("INSERT INTO response_cases (case_id, brand, body, {}) VALUES (", names.join(", "));
        let mut insert = Statement::new(&sql);
        insert.bind(case.id.to_string()).push(", ").bind(case.brand.to_string()).push(", ").bind(body);
        for (_, value) in columns {
            insert.push(", ").bind(value);
        }
        for (_, value) in numbers {
            insert.push(", ").bind(value);
        }
        insert.push(") ON CONFLICT DO NOTHING");
        insert.run(&mut **tx, "opening a case").await?
    };
    if changed == 1 { Ok(()) } else { Err(TableError::Conflict(case.id)) }
}

fn number(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}

/// Keeps an answer until what it answers is heard.
pub(crate) async fn keep_early(
    tx: &mut Tx,
    target: MentionId,
    brand: &BrandId,
    answered: &Answered,
) -> Result<(), TableError> {
    let body = serde_json::to_vec(answered)
        .map_err(|e| damaged("early answer", &answered.mention.to_string(), e))?;
    let mut insert = Statement::new(
        "INSERT INTO response_early_answers (target, brand, mention_id, at_us, body) VALUES (",
    );
    insert.bind(target.to_string()).push(", ").bind(brand.to_string()).push(", ");
    insert.bind(answered.mention.to_string()).push(", ").bind(answered.seen_at.as_micros()).push(", ");
    insert.bind(body).push(") ON CONFLICT DO NOTHING");
    insert.run(&mut **tx, "keeping an early answer").await?;
    Ok(())
}

/// Takes the answers that waited for one of these mentions, oldest first.
pub(crate) async fn take_early(
    tx: &mut Tx,
    targets: &BTreeSet<MentionId>,
    brand: &BrandId,
) -> Result<Vec<Answered>, TableError> {
    let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
    let mut query = Statement::new("SELECT mention_id, body FROM response_early_answers WHERE target IN ");
    query.bind_list(&targets).push(" AND brand = ").bind(brand.to_string()).push(" ORDER BY at_us");
    let mut found = BTreeMap::new();
    for row in query.rows(&mut **tx, "looking for early answers").await? {
        let read = || -> Result<(String, Vec<u8>), sqlx::Error> {
            Ok((row.try_get("mention_id")?, row.try_get("body")?))
        };
        let (mention, body) = read().doing(|| "reading an early answer".into())?;
        let answered: Answered =
            serde_json::from_slice(&body).map_err(|e| damaged("early answer", &mention, e))?;
        found.insert((answered.at, mention), answered);
    }
    for (_, mention) in found.keys() {
        drop_early(tx, mention).await?;
    }
    Ok(found.into_values().collect())
}

/// Forgets an answer that waits: it was taken back, or found its case.
pub(crate) async fn drop_early(tx: &mut Tx, mention: &str) -> Result<u64, TableError> {
    let mut delete = Statement::new("DELETE FROM response_early_answers WHERE mention_id = ");
    delete.bind(mention.to_owned());
    Ok(delete.run(&mut **tx, "taking an early answer").await?)
}

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
    pub(crate) body: Vec<u8>,
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
pub(crate) async fn tell(tx: &mut Tx, told: &[Told<'_>]) -> Result<(), TableError> {
    for part in told.chunks(ROWS_MAX) {
        let mut insert = Statement::new(
            "INSERT INTO response_history (id, case_id, sequence, brand, change, at_us, body) VALUES ",
        );
        for (i, told) in part.iter().enumerate() {
            insert.push(if i == 0 { "(" } else { "), (" }).bind(told.id).push(", ");
            insert.bind(told.case.to_string()).push(", ").bind(number(told.sequence)).push(", ");
            insert.bind(told.brand.to_string()).push(", ").bind(i64::from(told.change)).push(", ");
            insert.bind(told.at.as_micros()).push(", ").bind(told.body.clone());
        }
        insert.push(")");
        insert.run(&mut **tx, "writing the history").await?;
    }
    Ok(())
}

fn past(rows: &[AnyRow]) -> Result<Vec<Past>, TableError> {
    let read = |row: &AnyRow| Ok(Past { id: row.try_get("id")?, body: row.try_get("body")? });
    Ok(rows.iter().map(read).collect::<Result<_, sqlx::Error>>().doing(|| "reading the history".into())?)
}

/// The newest changes of a case, oldest first.
pub(crate) async fn history<'e>(
    on: impl Executor<'e, Database = Any>,
    case: CaseId,
) -> Result<Vec<Past>, TableError> {
    let mut query = Statement::new("SELECT id, body FROM response_history WHERE case_id = ");
    query.bind(case.to_string()).push(" ORDER BY sequence DESC LIMIT ").bind(HISTORY_MAX);
    let mut found = past(&query.rows(on, "reading the history").await?)?;
    found.reverse();
    Ok(found)
}

/// Changes after `id`, in order.
pub(crate) async fn history_after<'e>(
    on: impl Executor<'e, Database = Any>,
    id: i64,
    brand: &str,
    limit: i64,
) -> Result<Vec<Past>, TableError> {
    let mut query = Statement::new("SELECT id, body FROM response_history WHERE id > ");
    query.bind(id);
    if !brand.is_empty() {
        query.push(" AND brand = ").bind(brand.to_owned());
    }
    query.push(" ORDER BY id LIMIT ").bind(limit);
    past(&query.rows(on, "following the history").await?)
}

/// The newest id of the history.
pub(crate) async fn history_end<'e>(on: impl Executor<'e, Database = Any>) -> Result<i64, TableError> {
    let query = Statement::new("SELECT value FROM response_counters WHERE name = 'history'");
    let rows = query.rows(on, "reading the end of the history").await?;
    let value = rows.first().map(|r| r.try_get::<i64, _>("value")).transpose();
    Ok(value.doing(|| "reading the end of the history".into())?.unwrap_or(0))
}

/// Replaces the words of a change, in the history and where it still waits to be sent.
pub(crate) async fn rewrite(tx: &mut Tx, id: i64, delivery: &str, body: Vec<u8>) -> Result<(), TableError> {
    let mut update = Statement::new("UPDATE response_history SET body = ");
    update.bind(body.clone()).push(" WHERE id = ").bind(id);
    update.run(&mut **tx, "forgetting in the history").await?;
    let mut update = Statement::new("UPDATE response_outbox SET body = ");
    update.bind(body).push(" WHERE delivery_id = ").bind(delivery.to_owned());
    update.run(&mut **tx, "forgetting in what was sent or waits").await?;
    Ok(())
}

/// What was asked under a key, and of which case.
pub(crate) async fn request(tx: &mut Tx, key: &str) -> Result<Option<(String, String)>, TableError> {
    let mut query = Statement::new("SELECT request, case_id FROM response_requests WHERE idempotency_key = ");
    query.bind(key.to_owned());
    let rows = query.rows(&mut **tx, "looking for a repeat").await?;
    let read = |row: &AnyRow| Ok((row.try_get("request")?, row.try_get("case_id")?));
    Ok(rows.first().map(read).transpose().doing(|| "looking for a repeat".into())?)
}

pub(crate) async fn keep_request(
    tx: &mut Tx,
    key: &str,
    request: &str,
    case: CaseId,
    now: Timestamp,
) -> Result<(), TableError> {
    let mut insert =
        Statement::new("INSERT INTO response_requests (idempotency_key, request, case_id, at_us) VALUES (");
    insert.bind(key.to_owned()).push(", ").bind(request.to_owned()).push(", ");
    insert.bind(case.to_string()).push(", ").bind(now.as_micros()).push(")");
    insert.run(&mut **tx, "remembering a request").await?;
    Ok(())
}

/// Forgets answered requests and answers that waited for nothing, from before these times.
pub(crate) async fn purge(store: &Store, requests: Timestamp, early: Timestamp) -> Result<(), TableError> {
    let mut tx = store.begin().await?;
    let mut delete = Statement::new("DELETE FROM response_requests WHERE at_us < ");
    delete.bind(requests.as_micros());
    delete.run(&mut *tx, "forgetting old requests").await?;
    let mut delete = Statement::new("DELETE FROM response_early_answers WHERE at_us < ");
    delete.bind(early.as_micros());
    delete.run(&mut *tx, "forgetting early answers").await?;
    tx.commit().await.doing(|| "forgetting".into())?;
    Ok(())
}

/// Takes back what a member of this name had claimed before it ended: it is not to wait for the lease. Should
/// that member still live, it can no longer finish what it claimed.
pub(crate) async fn release(store: &Store, member: &str) -> Result<(), TableError> {
    let mut tx = store.begin().await?;
    for table in ["due", "outbox"] {
        let sql =
            format!("UPDATE response_{table} SET claimed_by = '', claimed_until_us = 0 WHERE claimed_by = ");
        let mut update = Statement::new(&sql);
        update.bind(member.to_owned());
        update.run(&mut *tx, "taking back claims").await?;
    }
    tx.commit().await.doing(|| "taking back claims".into())?;
    Ok(())
}

/// Every calendar that was ever in use, as kept.
pub(crate) async fn calendars(store: &Store) -> Result<Vec<String>, TableError> {
    let query = Statement::new("SELECT body FROM response_calendars ORDER BY version");
    let rows = query.rows(store.pool(), "reading the calendars").await?;
    let read = rows.iter().map(|r| r.try_get::<String, _>("body")).collect::<Result<_, _>>();
    Ok(read.doing(|| "reading the calendars".into())?)
}

pub(crate) async fn keep_calendar(store: &Store, version: &str, body: &str) -> Result<(), TableError> {
    let mut tx = store.begin().await?;
    let mut insert = Statement::new("INSERT INTO response_calendars (version, body) VALUES (");
    insert.bind(version.to_owned()).push(", ").bind(body.to_owned()).push(") ON CONFLICT DO NOTHING");
    insert.run(&mut *tx, "keeping a calendar").await?;
    tx.commit().await.doing(|| "keeping a calendar".into())?;
    Ok(())
}

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
    query.bind_list(&names);
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
