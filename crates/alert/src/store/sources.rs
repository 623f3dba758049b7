//! Rows about sources: what they say about themselves, and what brands hear through them.

use std::collections::BTreeMap;

use contracts::ingest::v1::CoverageState;
use model::{BrandId, Timestamp};
use store::sqlx::any::AnyRow;
use store::sqlx::{self, Any, Executor, Row};
use store::{Doing, Tx};

use super::{TableError, damaged};
use crate::sources::{Source, Sources};

/// Most rows of either table that are looked at.
const ROWS_MAX: i64 = 10_000;

const SOURCE: &str =
    "SELECT connector, state, since_us, watermark_us, silent_since_us, detail FROM alert_sources";

fn source(row: &AnyRow) -> Result<Source, sqlx::Error> {
    let state: i64 = row.try_get("state")?;
    let silent_since_us: i64 = row.try_get("silent_since_us")?;
    Ok(Source {
        connector: row.try_get("connector")?,
        state: i32::try_from(state).ok().and_then(|s| CoverageState::try_from(s).ok()).unwrap_or_default(),
        since: Timestamp::from_micros(row.try_get("since_us")?),
        watermark: Timestamp::from_micros(row.try_get("watermark_us")?),
        silent_since: (silent_since_us != 0).then(|| Timestamp::from_micros(silent_since_us)),
        detail: row.try_get("detail")?,
    })
}

/// One source, if it ever said anything.
pub(crate) async fn one(tx: &mut Tx, connector: &str) -> Result<Option<Source>, TableError> {
    let doing = || format!("reading source '{connector}'");
    let sql = sqlx::AssertSqlSafe(format!("{SOURCE} WHERE connector = $1"));
    let row = sqlx::query(sql).bind(connector).fetch_optional(&mut **tx).await.doing(doing)?;
    Ok(row.as_ref().map(source).transpose().doing(doing)?)
}

/// Writes or replaces what a source says.
pub(crate) async fn save(tx: &mut Tx, source: &Source) -> Result<(), TableError> {
    sqlx::query(
        "INSERT INTO alert_sources (connector, state, since_us, watermark_us, silent_since_us, detail) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (connector) DO UPDATE SET state = excluded.state, \
         since_us = excluded.since_us, watermark_us = excluded.watermark_us, \
         silent_since_us = excluded.silent_since_us, detail = excluded.detail",
    )
    .bind(&source.connector)
    .bind(i64::from(i32::from(source.state)))
    .bind(source.since.as_micros())
    .bind(source.watermark.as_micros())
    .bind(source.silent_since.map_or(0, Timestamp::as_micros))
    .bind(&source.detail)
    .execute(&mut **tx)
    .await
    .doing(|| format!("writing source '{}'", source.connector))?;
    Ok(())
}

/// `posts` more of a brand came through a connector; what came before has faded to the share `kept`.
pub(crate) async fn hear(
    tx: &mut Tx,
    brand: &str,
    connector: &str,
    posts: f64,
    kept: f64,
    at: Timestamp,
) -> Result<(), TableError> {
    sqlx::query(
        "INSERT INTO alert_hears (brand, connector, posts, heard_at_us) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (brand, connector) DO UPDATE SET posts = alert_hears.posts * $5 + excluded.posts, \
         heard_at_us = excluded.heard_at_us",
    )
    .bind(brand)
    .bind(connector)
    .bind(posts)
    .bind(at.as_micros())
    .bind(kept)
    .execute(&mut **tx)
    .await
    .doing(|| format!("noting what {brand} hears through '{connector}'"))?;
    Ok(())
}

/// Everything known of sources; what brands heard before `since` does not count.
pub(crate) async fn all<'e, E>(on: E, since: Timestamp) -> Result<Sources, TableError>
where
    E: Executor<'e, Database = Any> + Copy,
{
    let doing = || "reading sources".to_owned();
    let sql = sqlx::AssertSqlSafe(format!("{SOURCE} ORDER BY connector LIMIT {ROWS_MAX}"));
    let rows = sqlx::query(sql).fetch_all(on).await.doing(doing)?;
    let mut sources = Sources::default();
    for row in &rows {
        let source = source(row).doing(doing)?;
        sources.by_connector.insert(source.connector.clone(), source);
    }
    let sql = "SELECT brand, connector, posts FROM alert_hears WHERE heard_at_us >= $1 ORDER BY brand, connector LIMIT $2";
    let rows = sqlx::query(sql).bind(since.as_micros()).bind(ROWS_MAX).fetch_all(on).await.doing(doing)?;
    for row in &rows {
        let read = || -> Result<(String, String, f64), sqlx::Error> {
            Ok((row.try_get("brand")?, row.try_get("connector")?, row.try_get("posts")?))
        };
        let (brand, connector, posts) = read().doing(doing)?;
        let id = BrandId::parse(&brand).map_err(|e| damaged("brand", &brand, e))?;
        let of_brand: &mut BTreeMap<String, f64> = sources.by_brand.entry(id).or_default();
        of_brand.insert(connector, posts);
    }
    Ok(sources)
}
