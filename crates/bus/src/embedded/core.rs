//! What every handle of one embedded log shares.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use super::groups::Seat;
use super::state::State;
use super::writer::{self, Command};
use super::{EmbeddedSettings, tables};
use crate::BusError;

/// Publishes and commits that may wait for the writer; more wait in their callers.
const WRITES_WAITING_MAX: usize = 256;
/// Connections that read at the same time.
const READERS_MAX: usize = 4;

pub(super) struct Core {
    pub(super) shared: Arc<Shared>,
    readers: Readers,
    commands: Option<mpsc::UnboundedSender<Command>>,
    room: Arc<Semaphore>,
    writer: Option<JoinHandle<()>>,
    /// Held while the log is open: one process at a time.
    _lock: Option<File>,
}

pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    pub(super) settings: EmbeddedSettings,
    changes: watch::Sender<u64>,
}

enum Readers {
    /// A database in memory belongs to one connection.
    TheWriter(Arc<Mutex<Connection>>),
    Own {
        path: PathBuf,
        idle: Mutex<Vec<Connection>>,
        permits: Semaphore,
    },
}

/// A panic while the lock was held left nothing half done: values are replaced whole.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Wakes everyone who waits for records or for a change of who owns what.
    pub(super) fn announce(&self) {
        self.changes.send_modify(|version| *version = version.wrapping_add(1));
    }
}

impl Core {
    pub(super) fn open(path: Option<&Path>, settings: EmbeddedSettings) -> Result<Self, BusError> {
        let doing = || match path {
            Some(path) => format!("opening the log {}", path.display()),
            None => "opening a log in memory".to_owned(),
        };
        let failed = |e: &dyn std::fmt::Display| BusError::Failed { doing: doing(), cause: e.to_string() };
        let lock = path.map(take_lock).transpose().map_err(|e| failed(&e))?;
        let connection = tables::open_writer(path).map_err(|e| failed(&e))?;
        let mut state = State::default();
        state.topics.extend(tables::load_topics(&connection).map_err(|e| failed(&e))?);
        for (group, partition, next) in tables::load_offsets(&connection).map_err(|e| failed(&e))? {
            state.set_committed(&group, partition, next);
        }
        let connection = Arc::new(Mutex::new(connection));
        let readers = match path {
            None => Readers::TheWriter(connection.clone()),
            Some(path) => Readers::Own {
                path: path.to_owned(),
                idle: Mutex::new(Vec::new()),
                permits: Semaphore::new(READERS_MAX),
            },
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), settings, changes: watch::Sender::new(0) });
        let (commands, inbox) = mpsc::unbounded_channel();
        let of_thread = shared.clone();
        let writer = std::thread::Builder::new()
            .name("embedded-log".to_owned())
            .spawn(move || writer::run(connection, of_thread, inbox))
            .map_err(|e| failed(&e))?;
        Ok(Self {
            shared,
            readers,
            commands: Some(commands),
            room: Arc::new(Semaphore::new(WRITES_WAITING_MAX)),
            writer: Some(writer),
            _lock: lock,
        })
    }

    /// For looking only: takes no lock and writes nothing, so that another process may have the log open.
    /// What is written later is not seen.
    pub(super) fn open_for_reading(path: &Path) -> Result<Self, BusError> {
        let failed = |e: rusqlite::Error| BusError::Failed {
            doing: format!("opening the log {} for reading", path.display()),
            cause: e.to_string(),
        };
        let connection = tables::open_reader(path).map_err(failed)?;
        tables::check_version(&connection).map_err(failed)?;
        let mut state = State::default();
        state.topics.extend(tables::load_topics(&connection).map_err(failed)?);
        let settings = EmbeddedSettings::default();
        Ok(Self {
            shared: Arc::new(Shared { state: Mutex::new(state), settings, changes: watch::Sender::new(0) }),
            readers: Readers::Own {
                path: path.to_owned(),
                idle: Mutex::new(vec![connection]),
                permits: Semaphore::new(READERS_MAX),
            },
            commands: None,
            room: Arc::new(Semaphore::new(0)),
            writer: None,
            _lock: None,
        })
    }

    /// Waits for room for one more write.
    pub(super) async fn room(&self) -> Result<OwnedSemaphorePermit, BusError> {
        self.room.clone().acquire_owned().await.map_err(|_| stopped())
    }

    pub(super) fn send(&self, command: Command) -> Result<(), BusError> {
        self.commands.as_ref().ok_or_else(stopped)?.send(command).map_err(|_| stopped())
    }

    /// Asks the writer and waits for its answer.
    pub(super) async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, BusError>>) -> Command,
    ) -> Result<T, BusError> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply))?;
        answer.await.map_err(|_| stopped())?
    }

    /// The handle is gone without saying goodbye: its place is free.
    pub(super) fn forget(&self, seat: &Seat) {
        // A log that is closing has no places.
        let _ = self.send(Command::Leave { seat: seat.clone() });
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Runs `read` with a connection, off the async threads.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        doing: &'static str,
        read: impl FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, BusError> {
        let core = self.clone();
        let failed = move |cause: String| BusError::Failed { doing: doing.to_owned(), cause };
        let _permit = match &self.readers {
            Readers::TheWriter(_) => None,
            Readers::Own { permits, .. } => Some(permits.acquire().await.map_err(|_| stopped())?),
        };
        let done = tokio::task::spawn_blocking(move || match &core.readers {
            Readers::TheWriter(connection) => read(&locked(connection)),
            Readers::Own { path, idle, .. } => {
                let pooled = locked(idle).pop();
                let connection = pooled.map_or_else(|| tables::open_reader(path), Ok)?;
                let result = read(&connection);
                locked(idle).push(connection);
                result
            }
        });
        done.await.map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))
    }
}

impl Drop for Core {
    /// Waits for the writer, so that the file can be opened again at once.
    fn drop(&mut self) {
        self.commands = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the writer of the embedded log panicked");
        }
    }
}

fn take_lock(path: &Path) -> Result<File, String> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file =
        File::options().create(true).truncate(false).write(true).open(&name).map_err(|e| e.to_string())?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err("another process has it open".to_owned()),
        Err(std::fs::TryLockError::Error(e)) => Err(e.to_string()),
    }
}

fn stopped() -> BusError {
    BusError::Failed { doing: "writing to the log".to_owned(), cause: "it is closed".to_owned() }
}
