use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::{info, warn};

/// The steps from running to gone, in order. Work that belongs to a phase holds a [`Guard`] and ends
/// when the phase is reached; the next phase begins when all its guards are dropped or the drain time
/// is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// All is well.
    Running,
    /// Readiness is off, so that callers go elsewhere; requests are still answered.
    Leaving,
    /// Listeners and sources stop; what is under way is finished.
    StopIntake,
    /// Consumers finish and commit their batch, then leave their group.
    StopPolling,
    /// Publishers are flushed, workers let go of what they claimed.
    Flush,
    /// Telemetry may go; nothing else is left.
    Gone,
}

impl Phase {
    const ORDER: [Self; 5] = [Self::Leaving, Self::StopIntake, Self::StopPolling, Self::Flush, Self::Gone];

    const fn place(self) -> usize {
        self as usize
    }
}

/// How long a graceful end may take.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShutdownConfig {
    /// Milliseconds between readiness off and closed listeners: load balancers need to notice.
    pub lame_duck_ms: u64,
    /// Milliseconds each later phase may take.
    pub drain_ms: u64,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self { lame_duck_ms: 2_000, drain_ms: 8_000 }
    }
}

/// The one way to end a process, or all its services: readiness off, intake off, polling off, flush, gone.
#[derive(Debug, Clone)]
pub struct Shutdown(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: ShutdownConfig,
    wanted: watch::Sender<bool>,
    phase: watch::Sender<Phase>,
    /// Guards alive, by the phase that ends them.
    held: [watch::Sender<usize>; 6],
}

/// Keeps the phase it was taken for from being over. Drop it when the work is done.
#[derive(Debug)]
pub struct Guard {
    of: Shutdown,
    phase: Phase,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.of.0.held[self.phase.place()].send_modify(|n| *n -= 1);
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new(ShutdownConfig::default())
    }
}

impl Shutdown {
    /// Running; nothing holds it.
    pub fn new(config: ShutdownConfig) -> Self {
        Self(Arc::new(Inner {
            config,
            wanted: watch::Sender::new(false),
            phase: watch::Sender::new(Phase::Running),
            held: std::array::from_fn(|_| watch::Sender::new(0)),
        }))
    }

    /// One that ends at once when begun, without a lame-duck time: for tests and short runs.
    pub fn immediate() -> Self {
        Self::new(ShutdownConfig { lame_duck_ms: 0, drain_ms: 10_000 })
    }

    /// Where we are.
    pub fn phase(&self) -> Phase {
        *self.0.phase.borrow()
    }

    /// True once an end was asked for.
    pub fn has_begun(&self) -> bool {
        *self.0.wanted.borrow()
    }

    /// Asks for the end; [`Shutdown::drive`] then goes through the phases. Asking twice is asking once.
    pub fn begin(&self, why: &str) {
        if !self.0.wanted.send_replace(true) {
            info!(why, "shutdown begins");
        }
    }

    /// Returns when `phase` (or a later one) is reached.
    pub async fn reached(&self, phase: Phase) {
        let mut seen = self.0.phase.subscribe();
        // The sender lives in `self`.
        let _ = seen.wait_for(|now| *now >= phase).await;
    }

    /// Owned form of [`Shutdown::reached`], for spawned tasks and servers.
    pub fn on(&self, phase: Phase) -> impl Future<Output = ()> + Send + 'static {
        let this = self.clone();
        async move { this.reached(phase).await }
    }

    /// Keeps the phases after `phase` from beginning until dropped (or the drain time is over).
    pub fn guard(&self, phase: Phase) -> Guard {
        self.0.held[phase.place()].send_modify(|n| *n += 1);
        Guard { of: self.clone(), phase }
    }

    /// Begins the end when the process is told to stop (SIGTERM, SIGINT). Returns after that.
    pub async fn on_signal(&self) {
        let why = tokio::select! {
            () = terminated() => "SIGTERM",
            _ = tokio::signal::ctrl_c() => "SIGINT",
            () = self.reached(Phase::Leaving) => return,
        };
        self.begin(why);
    }

    /// Waits until the end is asked for, then goes through the phases. Returns false when something had
    /// to be left behind because the drain time was over.
    pub async fn drive(&self) -> bool {
        let mut wanted = self.0.wanted.subscribe();
        let _ = wanted.wait_for(|w| *w).await;
        let mut clean = true;
        for phase in Phase::ORDER {
            self.0.phase.send_replace(phase);
            if phase == Phase::Leaving {
                tokio::time::sleep(Duration::from_millis(self.0.config.lame_duck_ms)).await;
            }
            let mut held = self.0.held[phase.place()].subscribe();
            let drained = held.wait_for(|n| *n == 0);
            let limit = Duration::from_millis(self.0.config.drain_ms);
            let over = tokio::time::timeout(limit, drained).await.is_err();
            if over {
                let left = *self.0.held[phase.place()].borrow();
                warn!(?phase, left, "drain time is over, going on without");
                clean = false;
            }
        }
        clean
    }
}

#[cfg(unix)]
async fn terminated() {
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(error) => {
            warn!(%error, "cannot listen for SIGTERM");
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(not(unix))]
async fn terminated() {
    std::future::pending::<()>().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn phases_come_in_order_and_wait_for_their_guards() {
        let shutdown = Shutdown::new(ShutdownConfig { lame_duck_ms: 1_000, drain_ms: 60_000 });
        let intake = shutdown.guard(Phase::StopIntake);
        let polling = shutdown.guard(Phase::StopPolling);
        let driver = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.drive().await }
        });
        shutdown.begin("test");
        shutdown.begin("twice");
        shutdown.reached(Phase::StopIntake).await;
        assert_eq!(shutdown.phase(), Phase::StopIntake, "the intake guard still holds");
        drop(intake);
        shutdown.reached(Phase::StopPolling).await;
        assert_eq!(shutdown.phase(), Phase::StopPolling);
        drop(polling);
        shutdown.reached(Phase::Gone).await;
        assert!(driver.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_never_ends_is_left_behind() {
        let shutdown = Shutdown::new(ShutdownConfig { lame_duck_ms: 0, drain_ms: 5_000 });
        let _stuck = shutdown.guard(Phase::StopPolling);
        shutdown.begin("test");
        assert!(!shutdown.drive().await);
        assert_eq!(shutdown.phase(), Phase::Gone);
    }
}
