//! The one thread that writes. Whatever must happen in an order (commits, joins, leaves) goes through it,
//! so that a new owner of a partition always sees the last commit of the one before.

use std::sync::{Arc, Mutex};

use model::Timestamp;
use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::core::{Shared, locked};
use super::draft::Draft;
use super::groups::Seat;
use super::maintain::{Maintained, maintain};
use super::tables;
use super::topics::apply_plan;
use crate::{
    BatchToken, BusError, CommitError, Outgoing, Position, RefusedRecord, Topic, TopicPlan, TopicReport,
};

/// Writes put into one SQLite transaction at most, and their bytes.
const WRITES_TOGETHER_MAX: usize = 256;
const BYTES_TOGETHER_MAX: usize = 8 << 20;

pub(super) type PublishReply = Result<Vec<Result<Position, RefusedRecord>>, BusError>;

/// Records to write.
pub(super) enum Write {
    Publish {
        batch: Vec<Outgoing>,
        reply: oneshot::Sender<PublishReply>,
        _permit: OwnedSemaphorePermit,
    },
    Commit {
        seat: Seat,
        token: BatchToken,
        outputs: Vec<Outgoing>,
        reply: oneshot::Sender<Result<(), CommitError>>,
        _permit: OwnedSemaphorePermit,
    },
}

/// What the thread is asked for.
pub(super) enum Command {
    Write(Write),
    Join {
        group: String,
        member: String,
        topics: Vec<Topic>,
        reply: oneshot::Sender<Result<Seat, BusError>>,
    },
    Leave {
        seat: Seat,
    },
    Topics {
        plan: Vec<TopicPlan>,
        apply: bool,
        reply: oneshot::Sender<Result<Vec<TopicReport>, BusError>>,
    },
    Maintain {
        now: Timestamp,
        reply: oneshot::Sender<Result<Maintained, BusError>>,
    },
    /// Answered once everything asked before is done.
    Barrier {
        reply: oneshot::Sender<Result<(), BusError>>,
    },
}

/// Serves commands until no one is left to send any.
pub(super) fn run(
    connection: Arc<Mutex<Connection>>,
    shared: Arc<Shared>,
    mut commands: mpsc::UnboundedReceiver<Command>,
) {
    let mut after_writes = None;
    while let Some(first) = after_writes.take().or_else(|| commands.blocking_recv()) {
        match first {
            Command::Write(write) => {
                let (writes, other) = gather(write, &mut commands);
                write_together(&connection, &shared, writes);
                after_writes = other;
            }
            other => serve(&connection, &shared, other),
        }
    }
}

/// More writes that are already waiting, up to the bounds, and what came after them.
fn gather(first: Write, commands: &mut mpsc::UnboundedReceiver<Command>) -> (Vec<Write>, Option<Command>) {
    let mut bytes = first.bytes();
    let mut writes = vec![first];
    while writes.len() < WRITES_TOGETHER_MAX && bytes < BYTES_TOGETHER_MAX {
        match commands.try_recv() {
            Ok(Command::Write(write)) => {
                bytes += write.bytes();
                writes.push(write);
            }
            Ok(other) => return (writes, Some(other)),
            Err(_) => break,
        }
    }
    (writes, None)
}

fn write_together(connection: &Mutex<Connection>, shared: &Shared, writes: Vec<Write>) {
    let mut draft = Draft::default();
    let answers: Vec<Answer> = {
        let state = locked(&shared.state);
        writes.into_iter().map(|write| Answer::drafted(write, &state, &mut draft)).collect()
    };
    draft.close();
    let written = if draft.is_empty() { Ok(()) } else { write_draft(connection, shared, &draft) };
    {
        let mut state = locked(&shared.state);
        match &written {
            Ok(()) => {
                for (partition, high) in &draft.high {
                    if let Some(partition) = state.partition_mut(*partition) {
                        partition.high = *high;
                    }
                }
                for ((group, partition), next) in &draft.offsets {
                    state.set_committed(group, *partition, *next);
                }
            }
            Err(_) => draft.void.extend(answers.iter().filter_map(Answer::committing)),
        }
        for seat in &draft.void {
            state.groups.void(seat);
        }
    }
    shared.announce();
    for answer in answers {
        answer.send(&written);
    }
}

fn write_draft(connection: &Mutex<Connection>, shared: &Shared, draft: &Draft) -> Result<(), String> {
    let rows: Vec<_> = {
        let state = locked(&shared.state);
        draft.rows.iter().filter_map(|(p, row)| Some((state.partition(*p)?.id, row))).collect()
    };
    let mut connection = locked(connection);
    let write = || -> Result<(), rusqlite::Error> {
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        for (partition_id, row) in rows {
            tables::put_row(&transaction, partition_id, row)?;
        }
        for ((group, partition), next) in &draft.offsets {
            tables::put_offset(&transaction, group, *partition, *next)?;
        }
        transaction.commit()
    };
    write().map_err(|e| e.to_string())
}

fn serve(connection: &Mutex<Connection>, shared: &Shared, command: Command) {
    // A caller that no longer waits for its answer is no error.
    match command {
        Command::Write(write) => write_together(connection, shared, vec![write]),
        Command::Join { group, member, topics, reply } => {
            let _ = reply.send(join(shared, &group, &member, &topics));
            shared.announce();
        }
        Command::Leave { seat } => {
            {
                let mut state = locked(&shared.state);
                let state = &mut *state;
                let topics = &state.topics;
                state.groups.leave(&seat, |t| topics.get(&t).map_or(0, |t| t.partitions.len() as i32));
            }
            shared.announce();
        }
        Command::Topics { plan, apply, reply } => {
            let done = apply_plan(&locked(connection), &mut locked(&shared.state), &plan, apply);
            let _ = reply.send(done.map_err(|e| failed("applying the topic plan", &e)));
        }
        Command::Maintain { now, reply } => {
            let done = maintain(&mut locked(connection), shared, now);
            let _ = reply.send(done.map_err(|e| failed("maintaining the log", &e)));
        }
        Command::Barrier { reply } => {
            let _ = reply.send(Ok(()));
        }
    }
}

fn join(shared: &Shared, group: &str, member: &str, topics: &[Topic]) -> Result<Seat, BusError> {
    let mut state = locked(&shared.state);
    let state = &mut *state;
    if let Some(missing) = topics.iter().find(|t| !state.topics.contains_key(t)) {
        return Err(BusError::Failed {
            doing: format!("joining group '{group}'"),
            cause: format!("topic {missing} is missing (apply the topic plan first)"),
        });
    }
    let known = &state.topics;
    let count = |topic: Topic| known.get(&topic).map_or(0, |t| t.partitions.len() as i32);
    Ok(state.groups.join(group, member, topics, count))
}

fn failed(doing: &str, error: &rusqlite::Error) -> BusError {
    BusError::Failed { doing: doing.to_owned(), cause: error.to_string() }
}

impl Write {
    fn bytes(&self) -> usize {
        let (Self::Publish { batch: records, .. } | Self::Commit { outputs: records, .. }) = self;
        records.iter().map(|o| o.record.bytes()).sum()
    }
}

/// What a caller hears once it is known whether SQLite committed.
enum Answer {
    Published {
        results: Vec<Result<Position, RefusedRecord>>,
        reply: oneshot::Sender<PublishReply>,
        _permit: OwnedSemaphorePermit,
    },
    Committed {
        seat: Seat,
        result: Result<(), CommitError>,
        reply: oneshot::Sender<Result<(), CommitError>>,
        _permit: OwnedSemaphorePermit,
    },
}

impl Answer {
    fn drafted(write: Write, state: &super::state::State, draft: &mut Draft) -> Self {
        match write {
            Write::Publish { batch, reply, _permit } => {
                Self::Published { results: draft.publish(state, &batch), reply, _permit }
            }
            Write::Commit { seat, token, outputs, reply, _permit } => {
                let result = draft.commit(state, &seat, &token, &outputs);
                Self::Committed { seat, result, reply, _permit }
            }
        }
    }

    /// The seat whose commit is part of the draft.
    fn committing(&self) -> Option<Seat> {
        match self {
            Self::Committed { seat, result: Ok(()), .. } => Some(seat.clone()),
            _ => None,
        }
    }

    fn send(self, written: &Result<(), String>) {
        match self {
            Self::Published { results, reply, .. } => {
                let _ = reply.send(match written {
                    Ok(()) => Ok(results),
                    Err(cause) => Err(BusError::Unavailable {
                        doing: format!("writing {} records", results.len()),
                        cause: cause.clone(),
                    }),
                });
            }
            Self::Committed { result, reply, .. } => {
                let _ = reply.send(match (result, written) {
                    (Ok(()), Err(cause)) => Err(CommitError::Aborted(cause.clone())),
                    (result, _) => result,
                });
            }
        }
    }
}
