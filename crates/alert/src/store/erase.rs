//! Finding and taking out what is to be forgotten, wherever these tables keep it.

use contracts::alert::v1 as wire;
use model::{EpisodeId, MentionId};
use paging::{Episode, Forgotten, Notice};
use prost::Message as _;
use store::sqlx::any::AnyRow;
use store::sqlx::{self, Row};
use store::{Doing, Tx};

use super::{TableError, damaged};

/// Notes which episode shows which mention, so that an erasure finds it.
pub(crate) async fn index(tx: &mut Tx, before: Option<&Episode>, next: &Episode) -> Result<(), TableError> {
    let known = |id: &MentionId| {
        before.is_some_and(|before| before.evidence.iter().any(|piece| piece.mention == *id))
    };
    for piece in next.evidence.iter().filter(|piece| !known(&piece.mention)) {
        sqlx::query(
            "INSERT INTO alert_evidence (mention_id, episode_id, author_key) VALUES ($1, $2, $3) \
             ON CONFLICT (mention_id, episode_id) DO NOTHING",
        )
        .bind(piece.mention.to_string())
        .bind(next.id.to_string())
        .bind(&piece.author_key)
        .execute(&mut **tx)
        .await
        .doing(|| format!("noting the evidence of episode {}", next.id))?;
    }
    Ok(())
}

/// The episodes that show or showed it.
pub(crate) async fn showing(tx: &mut Tx, forgotten: &Forgotten) -> Result<Vec<EpisodeId>, TableError> {
    let found = match forgotten {
        Forgotten::Mention(id) => sqlx::query_scalar(
            "SELECT episode_id FROM alert_evidence WHERE mention_id = $1 ORDER BY episode_id",
        )
        .bind(id.to_string()),
        Forgotten::Author(key) => sqlx::query_scalar(
            "SELECT DISTINCT episode_id FROM alert_evidence WHERE author_key = $1 ORDER BY episode_id",
        )
        .bind(key),
    };
    let ids: Vec<String> =
        found.fetch_all(&mut **tx).await.doing(|| "looking for what is to be forgotten".into())?;
    ids.iter().map(|id| id.parse().map_err(|e| damaged("evidence", id, e))).collect()
}

/// Takes it out of everything written about an episode beside the episode itself: history, messages sent
/// or not, answers to requests.
pub(crate) async fn erase(tx: &mut Tx, id: EpisodeId, forgotten: &Forgotten) -> Result<(), TableError> {
    let doing = || format!("forgetting in what was written about episode {id}");
    let name = id.to_string();
    let rows = sqlx::query("SELECT id, body FROM alert_history WHERE episode_id = $1")
        .bind(&name)
        .fetch_all(&mut **tx)
        .await
        .doing(doing)?;
    for row in &rows {
        let (number, body): (i64, Vec<u8>) = both(row, "id").doing(doing)?;
        if let Some(clean) = event_without(&body, forgotten) {
            sqlx::query("UPDATE alert_history SET body = $1 WHERE id = $2")
                .bind(clean)
                .bind(number)
                .execute(&mut **tx)
                .await
                .doing(doing)?;
        }
    }
    let rows = sqlx::query("SELECT delivery_id, body FROM alert_outbox WHERE ordering_key = $1")
        .bind(&name)
        .fetch_all(&mut **tx)
        .await
        .doing(doing)?;
    for row in &rows {
        let (delivery, body): (String, Vec<u8>) = both(row, "delivery_id").doing(doing)?;
        if let Some(clean) = notice_without(&body, forgotten).or_else(|| event_without(&body, forgotten)) {
            sqlx::query("UPDATE alert_outbox SET body = $1 WHERE delivery_id = $2")
                .bind(clean)
                .bind(delivery)
                .execute(&mut **tx)
                .await
                .doing(doing)?;
        }
    }
    let rows = sqlx::query(
        "SELECT idempotency_key, body FROM alert_requests WHERE kind IN ('acknowledge', 'resolve')",
    )
    .fetch_all(&mut **tx)
    .await
    .doing(doing)?;
    for row in &rows {
        let (key, body): (String, Vec<u8>) = both(row, "idempotency_key").doing(doing)?;
        if let Some(clean) = reply_without(&body, id, forgotten) {
            sqlx::query("UPDATE alert_requests SET body = $1 WHERE idempotency_key = $2")
                .bind(clean)
                .bind(key)
                .execute(&mut **tx)
                .await
                .doing(doing)?;
        }
    }
    let forget = match forgotten {
        Forgotten::Mention(mention) => {
            sqlx::query("DELETE FROM alert_evidence WHERE episode_id = $1 AND mention_id = $2")
                .bind(&name)
                .bind(mention.to_string())
        }
        Forgotten::Author(key) => {
            sqlx::query("DELETE FROM alert_evidence WHERE episode_id = $1 AND author_key = $2")
                .bind(&name)
                .bind(key)
        }
    };
    forget.execute(&mut **tx).await.doing(doing)?;
    Ok(())
}

fn both<'r, T>(row: &'r AnyRow, key: &'static str) -> Result<(T, Vec<u8>), sqlx::Error>
where
    T: sqlx::Decode<'r, sqlx::Any> + sqlx::Type<sqlx::Any>,
{
    Ok((row.try_get(key)?, row.try_get("body")?))
}

/// What is to go of evidence on the wire.
pub(crate) fn concerns(forgotten: &Forgotten, piece: &wire::Evidence) -> bool {
    match forgotten {
        Forgotten::Mention(id) => piece.mention_id.as_ref() == id.as_bytes(),
        Forgotten::Author(key) => !key.is_empty() && piece.author_key == *key,
    }
}

fn strip(episode: Option<&mut wire::Episode>, forgotten: &Forgotten) -> bool {
    let Some(episode) = episode else { return false };
    let before = episode.evidence.len();
    episode.evidence.retain(|piece| !concerns(forgotten, piece));
    before != episode.evidence.len()
}

/// A change without what is to be forgotten; `None` when it is none, or shows nothing of it.
fn event_without(body: &[u8], forgotten: &Forgotten) -> Option<Vec<u8>> {
    let mut event = wire::EpisodeEvent::decode(body).ok()?;
    strip(event.episode.as_mut(), forgotten).then(|| event.encode_to_vec())
}

fn notice_without(body: &[u8], forgotten: &Forgotten) -> Option<Vec<u8>> {
    let mut notice: Notice = serde_json::from_slice(body).ok()?;
    let evidence = &mut notice.episode.evidence;
    let before = evidence.len();
    evidence.retain(|piece| !forgotten.concerns(piece));
    let changed = before != evidence.len();
    changed.then(|| serde_json::to_vec(&notice).ok()).flatten()
}

fn reply_without(body: &[u8], id: EpisodeId, forgotten: &Forgotten) -> Option<Vec<u8>> {
    let mut reply = wire::EpisodeReply::decode(body).ok()?;
    let is_of = reply.episode.as_ref().is_some_and(|episode| episode.episode_id.as_ref() == id.as_bytes());
    (is_of && strip(reply.episode.as_mut(), forgotten)).then(|| reply.encode_to_vec())
}
