use std::collections::BTreeSet;

use casework::Answered;
use model::{BrandId, MentionId};
use store::sqlx::{self, Row};
use store::{Doing, Statement, Tx, pieces};

use super::{IN_MAX, TableError, damaged};

/// An answer heard before what it answers.
#[derive(Debug, Clone)]
pub(crate) struct Early {
    pub(crate) target: MentionId,
    pub(crate) brand: BrandId,
    pub(crate) answered: Answered,
}

/// The answers that wait for one of `targets`, and those among `answers` that wait for anything.
pub(crate) async fn early_answers(
    tx: &mut Tx,
    targets: &BTreeSet<MentionId>,
    answers: &BTreeSet<MentionId>,
) -> Result<Vec<Early>, TableError> {
    let mut found = early_where(tx, "target", targets).await?;
    found.extend(early_where(tx, "mention_id", answers).await?);
    Ok(found)
}

async fn early_where(
    tx: &mut Tx,
    column: &str,
    mentions: &BTreeSet<MentionId>,
) -> Result<Vec<Early>, TableError> {
    let mentions: Vec<String> = mentions.iter().map(ToString::to_string).collect();
    let mut found = Vec::new();
    for part in mentions.chunks(IN_MAX) {
        let mut query = Statement::new(format!(
            "SELECT target, brand, body FROM response_early_answers WHERE {column} IN "
        ));
        query.list(part);
        for row in query.rows(&mut **tx, "looking for early answers").await? {
            let read = || -> Result<(String, String, Vec<u8>), sqlx::Error> {
                Ok((row.try_get("target")?, row.try_get("brand")?, row.try_get("body")?))
            };
            let (target, brand, body) = read().doing(|| "reading an early answer".into())?;
            let bad = |e: model::Invalid| damaged("early answer to", &target, e);
            found.push(Early {
                target: target.parse().map_err(bad)?,
                brand: BrandId::parse(&brand).map_err(bad)?,
                answered: serde_json::from_slice(&body)
                    .map_err(|e| damaged("early answer to", &target, e))?,
            });
        }
    }
    Ok(found)
}

/// Keeps answers until what they answer is heard.
pub(crate) async fn keep_early(tx: &mut Tx, early: &[Early]) -> Result<(), TableError> {
    for part in pieces(early) {
        let written = |e: &Early| {
            serde_json::to_vec(&e.answered)
                .map_err(|error| damaged("early answer", &e.answered.mention.to_string(), error))
        };
        let bodies = part.iter().map(written).collect::<Result<Vec<_>, _>>()?;
        let mut insert =
            Statement::new("INSERT INTO response_early_answers (target, brand, mention_id, at_us, body) ");
        insert.values(part.iter().zip(bodies), |row, (early, body)| {
            row.bind(early.target.to_string()).bind(early.brand.to_string());
            row.bind(early.answered.mention.to_string()).bind(early.answered.seen_at.as_micros()).bind(body);
        });
        insert.push(" ON CONFLICT DO NOTHING");
        insert.run(&mut **tx, "keeping early answers").await?;
    }
    Ok(())
}

/// Forgets answers that wait: they were taken back, or found their case.
pub(crate) async fn drop_early(tx: &mut Tx, mentions: &[MentionId]) -> Result<(), TableError> {
    let mentions: Vec<String> = mentions.iter().map(ToString::to_string).collect();
    for part in mentions.chunks(IN_MAX) {
        let mut delete = Statement::new("DELETE FROM response_early_answers WHERE mention_id IN ");
        delete.list(part);
        delete.run(&mut **tx, "taking early answers").await?;
    }
    Ok(())
}
