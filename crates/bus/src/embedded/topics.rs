use rusqlite::Connection;

use super::state::{State, TopicState};
use super::tables;
use crate::{TopicPlan, TopicReport};

/// Makes what is missing and sets how records go, or only says what would be done.
pub(super) fn apply_plan(
    connection: &Connection,
    state: &mut State,
    plan: &[TopicPlan],
    apply: bool,
) -> Result<Vec<TopicReport>, rusqlite::Error> {
    let mut reports = Vec::with_capacity(plan.len());
    for planned in plan {
        reports.push(apply_one(connection, state, planned, apply)?);
    }
    Ok(reports)
}

fn apply_one(
    connection: &Connection,
    state: &mut State,
    planned: &TopicPlan,
    apply: bool,
) -> Result<TopicReport, rusqlite::Error> {
    let topic = planned.topic;
    let mut differences = Vec::new();
    match state.topics.get_mut(&topic) {
        None if apply => {
            differences.push(format!("created with {} partitions", planned.partitions));
            create(connection, state, planned)?;
        }
        None => differences.push(format!("missing, planned with {} partitions", planned.partitions)),
        Some(found) => {
            let count = found.partitions.len() as i32;
            if count != planned.partitions {
                differences.push(format!(
                    "has {count} partitions, planned {}: kept, because another number moves keys",
                    planned.partitions
                ));
            }
            if (found.cleanup, found.retention_ms) != (planned.cleanup, planned.retention_ms) {
                differences.push(format!(
                    "{} cleanup {:?} and retention {} ms to {:?} and {} ms",
                    if apply { "set" } else { "to set" },
                    found.cleanup,
                    found.retention_ms,
                    planned.cleanup,
                    planned.retention_ms
                ));
                if apply {
                    tables::put_topic(connection, topic, planned.cleanup, planned.retention_ms, count)?;
                    (found.cleanup, found.retention_ms) = (planned.cleanup, planned.retention_ms);
                }
            }
        }
    }
    Ok(TopicReport { topic, differences })
}

fn create(connection: &Connection, state: &mut State, planned: &TopicPlan) -> Result<(), rusqlite::Error> {
    tables::put_topic(connection, planned.topic, planned.cleanup, planned.retention_ms, planned.partitions)?;
    let made = tables::load_topics(connection)?;
    state.topics.extend(made.into_iter().filter(|(topic, _): &(_, TopicState)| *topic == planned.topic));
    Ok(())
}
