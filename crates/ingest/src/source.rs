use std::time::Duration;

use bus::BusError;
use contracts::ingest::v1::CoverageState;
use model::{SourceKind, Timestamp};
use runtime::{Phase, Shutdown};
use store::Store;
use tracing::warn;

use crate::backoff::Backoff;
use crate::intake::{Ended, Intake};
use crate::step::Prepared;

/// First and longest pause before giving the same bodies to the log again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(15));

/// The intake was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stopped;

/// What every connector that hears by itself works with.
#[derive(Clone)]
pub(crate) struct Source {
    pub intake: Intake,
    pub store: Store,
    pub connector: String,
    pub kind: SourceKind,
    pub shutdown: Shutdown,
}

impl Source {
    /// Gives bodies to the log until it has confirmed them: what was heard is not let go.
    pub(crate) async fn deliver(&self, mut bodies: Vec<Prepared>) -> Result<Vec<Vec<Ended>>, Stopped> {
        let bytes = bodies.iter().map(|b| b.body.bytes.len()).sum();
        let _room = self.intake.room(bytes).await;
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        loop {
            match self.intake.confirm(&mut bodies).await {
                Ok(ended) => return Ok(ended),
                Err(error) => {
                    warn!(connector = self.connector, %error, "the log did not confirm, trying again");
                    self.pause(backoff.pause()).await?;
                }
            }
        }
    }

    /// Waits, unless told to stop.
    pub(crate) async fn pause(&self, length: Duration) -> Result<(), Stopped> {
        tokio::select! {
            () = tokio::time::sleep(length) => Ok(()),
            () = self.shutdown.reached(Phase::StopIntake) => Err(Stopped),
        }
    }

    /// Says how complete this connector is. The word is not worth stopping for.
    pub(crate) async fn cover(&self, state: CoverageState, watermark: Option<Timestamp>, detail: &str) {
        let told: Result<(), BusError> = self.intake.cover(&self.connector, state, watermark, detail).await;
        if let Err(error) = told {
            warn!(connector = self.connector, %error, "coverage not published");
        }
    }

    /// Reads a cursor; one that cannot be read counts as none, and is heard again from the start.
    pub(crate) async fn cursor<T: serde::de::DeserializeOwned>(&self, name: &str) -> Option<T> {
        match crate::store::cursor(&self.store, &self.connector, name).await {
            Ok(text) => text.and_then(|text| serde_json::from_str(&text).ok()),
            Err(error) => {
                warn!(connector = self.connector, %error, "cursor not read, beginning anew");
                None
            }
        }
    }

    /// Saves a cursor, after the log has confirmed what lies before it. When that fails, what lies behind
    /// the older one is heard again, and recognised.
    pub(crate) async fn save<T: serde::Serialize>(&self, name: &str, cursor: &T) {
        let Ok(text) = serde_json::to_string(cursor) else { return };
        let now = self.intake.now();
        if let Err(error) = crate::store::save_cursor(&self.store, &self.connector, name, &text, now).await {
            warn!(connector = self.connector, %error, "cursor not saved");
        }
    }
}
