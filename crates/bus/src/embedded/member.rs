//! A member of a group: a step, or a consumer whose progress is kept elsewhere.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::core::{Core, locked};
use super::groups::Seat;
use super::state::State;
use super::tables::{Span, read_span};
use super::writer::{Command, Write};
use crate::{BatchToken, BusError, CommitError, Consumer, Outgoing, Partition, Polled, Received, Step};

/// Where a member begins to read what became its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// At the group's committed offset, anew after each rebalance and abort.
    InTheLog,
    /// Where `seek` says.
    Elsewhere,
}

pub(super) struct GroupMember {
    core: Arc<Core>,
    seat: Seat,
    progress: Progress,
    reading: tokio::sync::Mutex<Reading>,
    seeks: Mutex<BTreeMap<Partition, i64>>,
}

#[derive(Debug, Default)]
struct Reading {
    epoch: u64,
    partitions: BTreeMap<Partition, Place>,
    assigned: Vec<Partition>,
    revoked: Vec<Partition>,
    /// Which partition is served first: each in turn.
    turn: usize,
}

#[derive(Debug, Default)]
struct Place {
    /// The offset to fetch next; unknown until sought.
    next: Option<i64>,
    /// Fetched, not yet handed out.
    ready: VecDeque<Received>,
}

impl GroupMember {
    pub(super) fn new(core: Arc<Core>, seat: Seat, progress: Progress) -> Self {
        Self { core, seat, progress, reading: tokio::sync::Mutex::default(), seeks: Mutex::default() }
    }

    async fn poll_records(&self, records_max: usize, wait: Duration) -> Result<Polled, BusError> {
        let mut reading = self.reading.lock().await;
        let mut changes = self.core.changes();
        let deadline = Instant::now() + wait;
        loop {
            changes.borrow_and_update();
            let behind = {
                let state = locked(&self.core.shared.state);
                self.catch_up(&state, &mut reading)?;
                behind(&state, &reading)
            };
            if !reading.assigned.is_empty() || !reading.revoked.is_empty() {
                return Ok(reading.changed());
            }
            if !behind.is_empty() {
                let share = (records_max / behind.len()).max(1);
                self.fetch(&mut reading, behind, share).await?;
            }
            let polled = reading.take(records_max);
            if !polled.records.is_empty() {
                return Ok(polled);
            }
            let fetched_gaps_only = {
                let state = locked(&self.core.shared.state);
                !behind_now(&state, &reading).is_empty()
            };
            if fetched_gaps_only {
                continue;
            }
            if tokio::time::timeout_at(deadline, changes.changed()).await.is_err() {
                return Ok(polled);
            }
        }
    }

    /// Takes over what changed in the group since the last poll.
    fn catch_up(&self, state: &State, reading: &mut Reading) -> Result<(), BusError> {
        let Some(member) = state.groups.member(&self.seat) else {
            return Err(BusError::Failed {
                doing: format!("polling as member '{}' of group '{}'", self.seat.member, self.seat.group),
                cause: "a newer member took the place, or this one has left".to_owned(),
            });
        };
        if member.epoch != reading.epoch {
            reading.epoch = member.epoch;
            reading.own(&member.owned);
            if self.progress == Progress::InTheLog {
                for (partition, place) in &mut reading.partitions {
                    *place = Place {
                        next: Some(state.resume_at(&self.seat.group, *partition)),
                        ..Place::default()
                    };
                }
            }
        }
        for (partition, offset) in std::mem::take(&mut *locked(&self.seeks)) {
            if let (Some(place), Some(found)) =
                (reading.partitions.get_mut(&partition), state.partition(partition))
            {
                *place = Place { next: Some(offset.clamp(found.low, found.high)), ..Place::default() };
            }
        }
        Ok(())
    }

    async fn fetch(&self, reading: &mut Reading, spans: Vec<Span>, share: usize) -> Result<(), BusError> {
        let wanted = spans.clone();
        let fetched = self
            .core
            .read("reading records", move |connection| {
                wanted
                    .into_iter()
                    .map(|span| read_span(connection, span, share))
                    .collect::<Result<Vec<_>, _>>()
            })
            .await?;
        for (span, records) in spans.into_iter().zip(fetched) {
            let Some(place) = reading.partitions.get_mut(&span.partition) else { continue };
            // Fewer than wanted: what is left of the span is gaps.
            let next = match records.last() {
                Some(last) if records.len() >= share => last.position.offset + 1,
                _ => span.to,
            };
            place.next = Some(next);
            place.ready.extend(records);
        }
        Ok(())
    }
}

/// The partitions whose fetched records are used up while the log has more.
fn behind(state: &State, reading: &Reading) -> Vec<Span> {
    if reading.assigned.is_empty() && reading.revoked.is_empty() {
        behind_now(state, reading)
    } else {
        Vec::new()
    }
}

fn behind_now(state: &State, reading: &Reading) -> Vec<Span> {
    let span = |(partition, place): (&Partition, &Place)| {
        let found = state.partition(*partition)?;
        let from = place.next.filter(|next| place.ready.is_empty() && *next < found.high)?;
        Some(Span { partition: *partition, partition_id: found.id, from, to: found.high })
    };
    reading.partitions.iter().filter_map(span).collect()
}

impl Reading {
    fn own(&mut self, owned: &BTreeSet<Partition>) {
        let gone: Vec<Partition> = self.partitions.keys().filter(|p| !owned.contains(p)).copied().collect();
        for partition in gone {
            self.partitions.remove(&partition);
            // Never told of, never taken away.
            match self.assigned.iter().position(|p| *p == partition) {
                Some(place) => drop(self.assigned.remove(place)),
                None => self.revoked.push(partition),
            }
        }
        for partition in owned {
            if !self.partitions.contains_key(partition) {
                self.partitions.insert(*partition, Place::default());
                self.assigned.push(*partition);
            }
        }
    }

    /// Tells of partitions gained and lost; records come with the next poll.
    fn changed(&mut self) -> Polled {
        Polled {
            records: Vec::new(),
            token: BatchToken { epoch: self.epoch, next: BTreeMap::new() },
            assigned: std::mem::take(&mut self.assigned),
            revoked: std::mem::take(&mut self.revoked),
        }
    }

    /// Hands out fetched records, an equal share of each partition first.
    fn take(&mut self, records_max: usize) -> Polled {
        let mut token = BatchToken { epoch: self.epoch, next: BTreeMap::new() };
        let mut records = Vec::new();
        let waiting = self.partitions.values().filter(|p| !p.ready.is_empty()).count();
        self.turn = self.turn.wrapping_add(1);
        let first = self.turn % self.partitions.len().max(1);
        let share = (records_max / waiting.max(1)).max(1);
        for share in [share, records_max] {
            let in_turn: Vec<Partition> = self.partitions.keys().copied().collect();
            for partition in in_turn.iter().cycle().skip(first).take(in_turn.len()) {
                let Some(place) = self.partitions.get_mut(partition) else { continue };
                let room = share.min(records_max - records.len()).min(place.ready.len());
                records.extend(place.ready.drain(..room));
                if room > 0
                    && let Some(last) = records.last()
                {
                    token.next.insert(*partition, last.position.offset + 1);
                }
            }
        }
        Polled { records, token, assigned: Vec::new(), revoked: Vec::new() }
    }
}

#[async_trait]
impl Step for GroupMember {
    async fn poll(&self, records_max: usize, wait: Duration) -> Result<Polled, BusError> {
        self.poll_records(records_max, wait).await
    }

    async fn commit(&self, token: BatchToken, outputs: Vec<Outgoing>) -> Result<(), CommitError> {
        let permit = self.core.room().await?;
        let (reply, answer) = oneshot::channel();
        let seat = self.seat.clone();
        self.core.send(Command::Write(Write::Commit { seat, token, outputs, reply, _permit: permit }))?;
        answer.await.unwrap_or_else(|_| Err(CommitError::Aborted("the log is closed".to_owned())))
    }

    async fn close(&self) -> Result<(), BusError> {
        self.core.forget(&self.seat);
        self.core.ask(|reply| Command::Barrier { reply }).await
    }
}

#[async_trait]
impl Consumer for GroupMember {
    async fn poll(&self, records_max: usize, wait: Duration) -> Result<Polled, BusError> {
        self.poll_records(records_max, wait).await
    }

    async fn seek(&self, partition: Partition, offset: i64) -> Result<(), BusError> {
        let ours = locked(&self.core.shared.state)
            .groups
            .member(&self.seat)
            .is_some_and(|member| member.owned.contains(&partition));
        if !ours {
            return Err(BusError::Failed {
                doing: format!("seeking in partition {} of {}", partition.number, partition.topic),
                cause: "it is not ours".to_owned(),
            });
        }
        locked(&self.seeks).insert(partition, offset);
        self.core.shared.announce();
        Ok(())
    }

    async fn close(&self) -> Result<(), BusError> {
        Step::close(self).await
    }
}

impl Drop for GroupMember {
    fn drop(&mut self) {
        self.core.forget(&self.seat);
    }
}
