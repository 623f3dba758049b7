use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use bus::Received;
use futures::future::try_join_all;
use model::{SourceKind, Timestamp, Verdict};
use nlp::{Hint, Model, Scratch};
use runtime::{Phase, Shutdown};
use tracing::{info, warn};

use crate::Config;
use crate::step::{Answer, answer};
use crate::understand::{Reader, WhyPolicy, family};

/// Fewer records than this are not worth another thread.
const CHUNK_RECORDS_MIN: usize = 64;
/// The largest model file read, in bytes.
const MODEL_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The model in use and the threads that ask it. Cheap to clone; clones share.
#[derive(Clone)]
pub(crate) struct Engine(Arc<Inner>);

struct Inner {
    reader: RwLock<Reader>,
    scratches: Mutex<Vec<Scratch>>,
    workers: usize,
    why: WhyPolicy,
}

/// What identifies one writing of a file.
type Stamp = (Option<SystemTime>, u64);

impl Engine {
    /// Loads the model named in `config`, else the built-in one.
    pub(crate) fn new(config: &Config) -> anyhow::Result<Self> {
        let reader = match &config.model {
            None => Reader::built_in(),
            Some(path) => load(path)?,
        };
        info!(version = reader.version(), "model in use");
        Ok(Self(Arc::new(Inner {
            reader: RwLock::new(reader),
            scratches: Mutex::default(),
            workers: config.worker_count(),
            why: WhyPolicy { from: config.why_from, max: config.why_max },
        })))
    }

    fn reader(&self) -> Reader {
        self.0.reader.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Answers all records, in order, on as many threads as there are workers.
    pub(crate) async fn answer_all(
        &self,
        records: Vec<Received>,
        now: Timestamp,
    ) -> anyhow::Result<Vec<Answer>> {
        let total = records.len();
        let size = total.div_ceil(self.0.workers).max(CHUNK_RECORDS_MIN);
        let reader = self.reader();
        let mut rest = records.into_iter();
        let chunks = std::iter::from_fn(|| {
            let chunk: Vec<Received> = rest.by_ref().take(size).collect();
            (!chunk.is_empty()).then_some(chunk)
        });
        let tasks = chunks.map(|chunk| {
            let (engine, reader) = (self.clone(), reader.clone());
            tokio::task::spawn_blocking(move || {
                engine.with_scratch(|scratch| {
                    chunk.iter().map(|r| answer(&reader, scratch, r, now, engine.0.why)).collect::<Vec<_>>()
                })
            })
        });
        let answers = try_join_all(tasks).await.context("a classifying thread broke")?;
        let mut all = Vec::with_capacity(total);
        answers.into_iter().for_each(|chunk| all.extend(chunk));
        Ok(all)
    }

    /// Understands one text, with at most `why_max` reasons.
    pub(crate) fn understand(
        &self,
        text: &str,
        source: Option<SourceKind>,
        claimed_language: Option<&str>,
        why_max: usize,
    ) -> Verdict {
        let hint = Hint { source_family: source.map(family).unwrap_or_default(), claimed_language };
        let why = WhyPolicy { from: 0.0, max: why_max };
        self.with_scratch(|scratch| self.reader().understand(scratch, text, hint, why))
    }

    fn with_scratch<T>(&self, work: impl FnOnce(&mut Scratch) -> T) -> T {
        let take = || self.0.scratches.lock().unwrap_or_else(PoisonError::into_inner);
        let mut scratch = take().pop().unwrap_or_default();
        let done = work(&mut scratch);
        let mut kept = take();
        if kept.len() < self.0.workers {
            kept.push(scratch);
        }
        done
    }

    /// Reads the model file again whenever it changed, until intake stops. A file that cannot be read
    /// leaves the old model in use.
    pub(crate) async fn follow(&self, path: PathBuf, every: Duration, shutdown: Shutdown) {
        let mut seen = stamp(&path);
        loop {
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = shutdown.reached(Phase::StopIntake) => return,
            }
            let now = stamp(&path);
            if now == seen || now.is_none() {
                continue;
            }
            seen = now;
            let file = path.clone();
            match tokio::task::spawn_blocking(move || load(&file)).await {
                Ok(Ok(reader)) => {
                    info!(version = reader.version(), "model replaced");
                    *self.0.reader.write().unwrap_or_else(PoisonError::into_inner) = reader;
                }
                Ok(Err(error)) => warn!("model file not used: {error:#}"),
                Err(error) => warn!(%error, "model file not used"),
            }
        }
    }

    /// Which model answers now.
    #[cfg(test)]
    pub(crate) fn version(&self) -> String {
        self.reader().version().to_owned()
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    std::fs::metadata(path).ok().map(|m| (m.modified().ok(), m.len()))
}

fn load(path: &Path) -> anyhow::Result<Reader> {
    let named = || format!("cannot load model {}", path.display());
    let bytes = std::fs::metadata(path).with_context(named)?.len();
    anyhow::ensure!(
        bytes <= MODEL_BYTES_MAX,
        "{}: has {bytes} bytes, at most {MODEL_BYTES_MAX} are read",
        named()
    );
    let bytes = std::fs::read(path).with_context(named)?;
    let model = Model::from_bytes(&bytes).map_err(|e| anyhow::anyhow!("{e}")).with_context(named)?;
    Ok(Reader::loaded(Model::shipped().overlay(model)))
}
