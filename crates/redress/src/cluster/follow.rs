//! Following what changes, without a gap, over connections that come and go.

use std::time::Duration;

use contracts::{alert, response};
use tonic::{Code, Status, Streaming};

/// Real time between a connection that was lost and the next.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Connections in a row that bring nothing, before it is given up.
const TRIES_MAX: u32 = 60;

/// One change as a watch brings it.
pub(crate) trait Change {
    /// What changed.
    type Event;

    /// The event, and where to go on after it.
    fn split(self) -> (Option<Self::Event>, String);
}

impl Change for alert::v1::WatchResponse {
    type Event = alert::v1::EpisodeEvent;

    fn split(self) -> (Option<Self::Event>, String) {
        (self.event, self.resume_token)
    }
}

impl Change for response::v1::WatchResponse {
    type Event = response::v1::CaseEvent;

    fn split(self) -> (Option<Self::Event>, String) {
        (self.event, self.resume_token)
    }
}

/// Hands every change to `take` until the service ends the watch. `open` begins to watch after a token (empty:
/// at its usual place). A reader that was too slow, or whose connection was lost, goes on where it stopped.
///
/// # Errors
/// What `take` says, what the service refuses, or that it does not come back.
pub(crate) async fn follow<C: Change>(
    mut open: impl AsyncFnMut(String) -> Result<Streaming<C>, Status>,
    mut take: impl AsyncFnMut(C::Event) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut token = String::new();
    let mut tries = 0;
    let mut has_begun = false;
    loop {
        let lost = match open(token.clone()).await {
            Ok(mut changes) => {
                has_begun = true;
                loop {
                    match changes.message().await {
                        Ok(Some(change)) => {
                            let (event, next) = change.split();
                            (token, tries) = (next, 0);
                            if let Some(event) = event {
                                take(event).await?;
                            }
                        }
                        Ok(None) => return Ok(()),
                        Err(status) => break status,
                    }
                }
            }
            // Somebody who was never there is not waited for.
            Err(status) if !has_begun => return Err(super::wire::refused(status)),
            Err(status) => status,
        };
        tries += 1;
        let comes_back = matches!(lost.code(), Code::Aborted | Code::Unavailable | Code::Cancelled);
        if !comes_back || tries > TRIES_MAX {
            return Err(super::wire::refused(lost));
        }
        if lost.code() != Code::Aborted {
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }
}
