use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use bus::Received;
use futures::future::try_join_all;
use model::{SourceKind, Timestamp, Verdict};
use nlp::{Hint, Model, Scratch};
use runtime::{Phase, Shutdown, file};
use tracing::{info, warn};

use crate::Config;
use crate::second::{Doubt, SecondLook};
use crate::step::{Answer, Begun, VerdictSeal, begin, sealed_at};
use crate::understand::{Reader, WhyPolicy, family};

/// Records that a thread takes at a time: few enough that all end at about the same time, whoever is held up.
const CHUNK_RECORDS: usize = 128;
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
    second: Option<Mutex<SecondLook>>,
}

/// What identifies one writing of a file.
type Stamp = (Option<SystemTime>, u64);

impl Engine {
    /// Loads the model named in `config`, else the built-in one, and the second stage if there is to be one.
    pub(crate) fn new(config: &Config) -> anyhow::Result<Self> {
        let second = match &config.second_stage.directory {
            None => None,
            Some(_) => Some(SecondLook::open(&config.second_stage)?),
        };
        Self::with_second(config, second)
    }

    pub(crate) fn with_second(config: &Config, second: Option<SecondLook>) -> anyhow::Result<Self> {
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
            second: second.map(Mutex::new),
        })))
    }

    fn reader(&self) -> Reader {
        self.0.reader.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Answers all records, in order, on as many threads as there are workers; then a second stage, if there is
    /// one, looks again at some of those that were not surely understood.
    pub(crate) async fn answer_all(
        &self,
        records: Vec<Received>,
        now: Timestamp,
    ) -> anyhow::Result<Vec<Answer>> {
        let (reader, seal) = (self.reader(), Arc::new(sealed_at(now)));
        if self.0.second.is_none() {
            return self.spread(records, &reader, &seal, |reader, seal, begun| begun.end(reader, seal)).await;
        }
        let mut begun = self.spread(records, &reader, &seal, |_, _, begun| begun).await?;
        let engine = self.clone();
        let looking = tokio::task::spawn_blocking(move || {
            engine.look_again(&mut begun);
            begun.into_iter().map(|begun| begun.end(&reader, &seal)).collect()
        });
        looking.await.context("the thread of the second stage broke")
    }

    /// Looks at all records and makes something of each, in order, on as many threads as there are workers: each takes
    /// the next stretch when it is done with one.
    async fn spread<T: Send + 'static>(
        &self,
        records: Vec<Received>,
        reader: &Reader,
        seal: &Arc<VerdictSeal>,
        make: fn(&Reader, &VerdictSeal, Begun) -> T,
    ) -> anyhow::Result<Vec<T>> {
        let threads = records.len().div_ceil(CHUNK_RECORDS).min(self.0.workers);
        let waiting = Arc::new(Mutex::new(chunks(records)));
        let tasks = (0..threads).map(|_| {
            let (engine, waiting) = (self.clone(), waiting.clone());
            let (reader, seal) = (reader.clone(), seal.clone());
            tokio::task::spawn_blocking(move || engine.work_through(&waiting, &reader, &seal, make))
        });
        let done = try_join_all(tasks).await.context("a classifying thread broke")?;
        let mut done: Vec<(usize, Vec<T>)> = done.into_iter().flatten().collect();
        done.sort_unstable_by_key(|(number, _)| *number);
        Ok(done.into_iter().flat_map(|(_, made)| made).collect())
    }

    /// What one thread makes of the stretches it gets to, each with its number.
    fn work_through<T>(
        &self,
        waiting: &Mutex<Chunks>,
        reader: &Reader,
        seal: &VerdictSeal,
        make: fn(&Reader, &VerdictSeal, Begun) -> T,
    ) -> Vec<(usize, Vec<T>)> {
        let Inner { why, second, .. } = &*self.0;
        let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        self.with_scratch(|scratch| {
            let mut look =
                |r: &Received| make(reader, seal, begin(reader, scratch, r, seal, *why, second.is_some()));
            let made =
                |(number, chunk): (usize, Vec<Received>)| (number, chunk.iter().map(&mut look).collect());
            std::iter::from_fn(next).map(made).collect()
        })
    }

    /// Lets the second stage have its say, within its budget.
    fn look_again(&self, begun: &mut [Begun]) {
        let Some(second) = &self.0.second else { return };
        let posts = begun.iter().filter(|begun| !matches!(begun, Begun::Wordless(_))).count();
        let mut unsure: Vec<&mut Doubt> = begun.iter_mut().filter_map(Begun::doubt).collect();
        let mut second = second.lock().unwrap_or_else(PoisonError::into_inner);
        second.refine(Instant::now(), posts, &mut unsure);
    }

    /// Whether understanding may take a slow second look.
    pub(crate) fn has_second_stage(&self) -> bool {
        self.0.second.is_some()
    }

    /// Understands one text, with at most `why_max` reasons. Where it is not sure, a second stage, if there is
    /// one, looks again within the budget it has for all.
    pub(crate) fn understand(
        &self,
        text: &str,
        source: Option<SourceKind>,
        claimed_language: Option<&str>,
        why_max: usize,
    ) -> Verdict {
        let hint = Hint { source_family: source.map(family).unwrap_or_default(), claimed_language };
        let why = WhyPolicy { from: 0.0, max: why_max };
        let reader = self.reader();
        let understood = self.with_scratch(|scratch| reader.look(scratch, text, hint, why));
        let Some(second) = &self.0.second else { return reader.verdict(understood) };
        let is_sure = understood.found.sure;
        let mut doubt = Doubt::new(text.to_owned(), understood);
        let mut unsure: Vec<&mut Doubt> = (!is_sure).then_some(&mut doubt).into_iter().collect();
        second.lock().unwrap_or_else(PoisonError::into_inner).refine(Instant::now(), 1, &mut unsure);
        doubt.verdict(&reader)
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

/// Records not yet answered, in stretches with their number.
type Chunks = VecDeque<(usize, Vec<Received>)>;

fn chunks(records: Vec<Received>) -> Chunks {
    let mut rest = records.into_iter();
    let chunks = std::iter::from_fn(|| {
        let chunk: Vec<Received> = rest.by_ref().take(CHUNK_RECORDS).collect();
        (!chunk.is_empty()).then_some(chunk)
    });
    chunks.enumerate().collect()
}

fn stamp(path: &Path) -> Option<Stamp> {
    std::fs::metadata(path).ok().map(|m| (m.modified().ok(), m.len()))
}

fn load(path: &Path) -> anyhow::Result<Reader> {
    let named = || format!("cannot load model {}", path.display());
    let bytes = file::read(path, MODEL_BYTES_MAX).with_context(named)?;
    let model = Model::from_bytes(&bytes).map_err(|e| anyhow::anyhow!("{e}")).with_context(named)?;
    Ok(Reader::loaded(Model::shipped().overlay(model)))
}
