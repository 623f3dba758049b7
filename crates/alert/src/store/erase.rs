//! Finding and taking out what is to be forgotten, wherever these tables keep it.

use contracts::alert::v1 as wire;
use model::{EpisodeId, MentionId};
use paging::{Episode, Forgotten, Notice};
use prost::Message as _;
use store::sqlx::any::AnyArguments;
use store::sqlx::query::Query;
use store::sqlx::{self, Any, Decode, Encode, Row as _, Type};
use store::{Doing, Tx};

use super::{TableError, damaged};
use crate::timeline::names;

/// Notes which episode shows which mention, so that an erasure finds it.
pub(crate) async fn index(tx: &mut Tx, before: Option<&Episode>, next: &Episode) -> Result<(), TableError> {
    let known = |id: &MentionId| {
        before.is_some_and(|before| before.evidence.iter().any(|piece| piece.mention == *id))
    };
    for piece in next.evidence.iter().filter(|piece| !known(&piece.mention)) {
        note(tx, next.id, &piece.mention, &piece.author_key).await?;
    }
    Ok(())
}

/// Notes that an episode shows a mention of an author, or names them for it.
pub(crate) async fn note(
    tx: &mut Tx,
    id: EpisodeId,
    mention: &MentionId,
    author_key: &str,
) -> Result<(), TableError> {
    sqlx::query(
        "INSERT INTO alert_evidence (mention_id, episode_id, author_key) VALUES ($1, $2, $3) \
         ON CONFLICT (mention_id, episode_id) DO NOTHING",
    )
    .bind(mention.to_string())
    .bind(id.to_string())
    .bind(author_key)
    .execute(&mut **tx)
    .await
    .doing(|| format!("noting the evidence of episode {id}"))?;
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

/// Takes it out of what was written about an episode beside the episode itself: history, timeline, messages sent or
/// not.
pub(crate) async fn erase(tx: &mut Tx, id: EpisodeId, forgotten: &Forgotten) -> Result<(), TableError> {
    let name = id.to_string();
    let history = sqlx::query("SELECT id, body FROM alert_history WHERE episode_id = $1").bind(&name);
    rewrite::<i64>(tx, history, "UPDATE alert_history SET body = $1 WHERE id = $2", |body| {
        event_without(body, forgotten)
    })
    .await?;
    let timeline =
        sqlx::query("SELECT episode_id, body FROM alert_timelines WHERE episode_id = $1").bind(&name);
    rewrite::<String>(tx, timeline, "UPDATE alert_timelines SET body = $1 WHERE episode_id = $2", |body| {
        timeline_without(body, forgotten)
    })
    .await?;
    let messages =
        sqlx::query("SELECT delivery_id, body FROM alert_outbox WHERE ordering_key = $1").bind(&name);
    rewrite::<String>(tx, messages, "UPDATE alert_outbox SET body = $1 WHERE delivery_id = $2", |body| {
        notice_without(body, forgotten).or_else(|| event_without(body, forgotten))
    })
    .await?;
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
    forget.execute(&mut **tx).await.doing(|| format!("forgetting in what was written about episode {id}"))?;
    Ok(())
}

/// Takes it out of the remembered answers to requests, whichever episode they show.
pub(crate) async fn erase_answers(tx: &mut Tx, forgotten: &Forgotten) -> Result<(), TableError> {
    let answers = sqlx::query(
        "SELECT idempotency_key, body FROM alert_requests WHERE kind IN ('acknowledge', 'resolve')",
    );
    rewrite::<String>(tx, answers, "UPDATE alert_requests SET body = $1 WHERE idempotency_key = $2", |body| {
        reply_without(body, forgotten)
    })
    .await
}

/// Writes those of the found rows anew, a key of type `K` and a body each, that are other `without` what is to
/// be forgotten.
async fn rewrite<K>(
    tx: &mut Tx,
    found: Query<'_, Any, AnyArguments>,
    update: &'static str,
    without: impl Fn(&[u8]) -> Option<Vec<u8>>,
) -> Result<(), TableError>
where
    K: for<'r> Decode<'r, Any> + for<'q> Encode<'q, Any> + Type<Any>,
{
    let doing = || "forgetting in what was written".to_owned();
    for row in found.fetch_all(&mut **tx).await.doing(doing)? {
        let key: K = row.try_get(0).doing(doing)?;
        let body: Vec<u8> = row.try_get(1).doing(doing)?;
        if let Some(clean) = without(&body) {
            sqlx::query(update).bind(clean).bind(key).execute(&mut **tx).await.doing(doing)?;
        }
    }
    Ok(())
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

fn timeline_without(body: &[u8], forgotten: &Forgotten) -> Option<Vec<u8>> {
    let mut timeline = wire::Timeline::decode(body).ok()?;
    let before = timeline.contributors.len();
    timeline.contributors.retain(|one| !names(one, forgotten));
    (before != timeline.contributors.len()).then(|| timeline.encode_to_vec())
}

fn notice_without(body: &[u8], forgotten: &Forgotten) -> Option<Vec<u8>> {
    let mut notice: Notice = serde_json::from_slice(body).ok()?;
    let evidence = &mut notice.episode.evidence;
    let before = evidence.len();
    evidence.retain(|piece| !forgotten.concerns(piece));
    let changed = before != evidence.len();
    changed.then(|| serde_json::to_vec(&notice).ok()).flatten()
}

fn reply_without(body: &[u8], forgotten: &Forgotten) -> Option<Vec<u8>> {
    let mut reply = wire::EpisodeReply::decode(body).ok()?;
    strip(reply.episode.as_mut(), forgotten).then(|| reply.encode_to_vec())
}
