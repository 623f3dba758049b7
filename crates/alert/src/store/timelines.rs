//! How episodes went, as told by the detectors: written whole, so that a repeat writes the same.

use contracts::alert::v1::{Contributor, ContributorKind, Timeline};
use model::{EpisodeId, MentionId};
use prost::Message as _;
use store::sqlx::{self, Any, Executor};
use store::{Doing, Tx};

use super::{TableError, damaged};

/// Replaces the timeline of an episode, and notes whom it names for the first time, so that an erasure finds them.
pub(crate) async fn save(tx: &mut Tx, id: EpisodeId, timeline: &Timeline) -> Result<(), TableError> {
    let known = of(&mut **tx, id).await?.unwrap_or_default();
    let is_author = |one: &&Contributor| one.kind() == ContributorKind::Author;
    let is_known =
        |one: &&Contributor| known.contributors.iter().any(|known| known.mention_id == one.mention_id);
    for author in timeline.contributors.iter().filter(is_author).filter(|one| !is_known(one)) {
        let Ok(mention) = MentionId::from_slice(&author.mention_id) else { continue };
        super::erase::note(tx, id, &mention, &author.name).await?;
    }
    sqlx::query(
        "INSERT INTO alert_timelines (episode_id, body) VALUES ($1, $2) \
         ON CONFLICT (episode_id) DO UPDATE SET body = excluded.body",
    )
    .bind(id.to_string())
    .bind(timeline.encode_to_vec())
    .execute(&mut **tx)
    .await
    .doing(|| format!("writing the timeline of episode {id}"))?;
    Ok(())
}

/// The timeline of an episode; `None` where none was kept.
pub(crate) async fn of<'e>(
    on: impl Executor<'e, Database = Any>,
    id: EpisodeId,
) -> Result<Option<Timeline>, TableError> {
    let body: Option<Vec<u8>> = sqlx::query_scalar("SELECT body FROM alert_timelines WHERE episode_id = $1")
        .bind(id.to_string())
        .fetch_optional(on)
        .await
        .doing(|| format!("reading the timeline of episode {id}"))?;
    let read = |body: Vec<u8>| Timeline::decode(body.as_slice());
    body.map(read).transpose().map_err(|e| damaged("timeline", &id.to_string(), e))
}
