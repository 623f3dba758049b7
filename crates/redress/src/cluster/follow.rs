//! Following what changes, without a gap, over connections that come and go.

use std::time::Duration;

use contracts::alert::v1 as alert;
use contracts::alert::v1::alert_service_client::AlertServiceClient;
use contracts::response::v1 as response;
use contracts::response::v1::response_service_client::ResponseServiceClient;
use runtime::net::Link;
use tonic::{Code, Status, Streaming};

use super::wire;

/// Real time between a connection that was lost and the next.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Connections in a row that bring nothing, before it is given up.
const TRIES_MAX: u32 = 60;

/// Something that can be watched from a place on.
#[tonic::async_trait]
pub(crate) trait Watched: Send {
    /// One change as the watch brings it.
    type Change: Send;
    /// What changed.
    type Event;

    /// Begins to watch after `resume_token`; empty: at the usual place.
    async fn watch(&mut self, resume_token: String) -> Result<Streaming<Self::Change>, Status>;

    /// The event, and where to go on after it.
    fn split(change: Self::Change) -> (Option<Self::Event>, String);
}

/// Changes of episodes.
pub(crate) struct Alerts {
    /// Who tells.
    pub(crate) client: AlertServiceClient<Link>,
    /// Only of this brand; empty: of all.
    pub(crate) brand: String,
    /// Begin with the oldest change kept instead of the next.
    pub(crate) from_start: bool,
}

#[tonic::async_trait]
impl Watched for Alerts {
    type Change = alert::WatchResponse;
    type Event = alert::EpisodeEvent;

    async fn watch(&mut self, resume_token: String) -> Result<Streaming<Self::Change>, Status> {
        let (brand, from_start) = (self.brand.clone(), self.from_start);
        let request = alert::WatchRequest { resume_token, from_start, brand };
        Ok(self.client.watch(request).await?.into_inner())
    }

    fn split(change: Self::Change) -> (Option<Self::Event>, String) {
        (change.event, change.resume_token)
    }
}

/// Changes of cases.
pub(crate) struct Cases {
    /// Who tells.
    pub(crate) client: ResponseServiceClient<Link>,
    /// Only of this brand; empty: of all.
    pub(crate) brand: String,
    /// Begin with the oldest change kept instead of the next.
    pub(crate) from_start: bool,
}

#[tonic::async_trait]
impl Watched for Cases {
    type Change = response::WatchResponse;
    type Event = response::CaseEvent;

    async fn watch(&mut self, resume_token: String) -> Result<Streaming<Self::Change>, Status> {
        let (brand, from_start) = (self.brand.clone(), self.from_start);
        let request = response::WatchRequest { resume_token, from_start, brand };
        Ok(self.client.watch(request).await?.into_inner())
    }

    fn split(change: Self::Change) -> (Option<Self::Event>, String) {
        (change.event, change.resume_token)
    }
}

/// Every change in order. A reader that was too slow, or whose connection was lost, goes on where it stopped.
pub(crate) struct Follow<W: Watched> {
    watched: W,
    token: String,
    changes: Option<Streaming<W::Change>>,
    has_begun: bool,
}

impl<W: Watched> Follow<W> {
    /// Nothing is asked yet.
    pub(crate) const fn new(watched: W) -> Self {
        Self { watched, token: String::new(), changes: None, has_begun: false }
    }

    /// The next event; none when the service ended the watch. Called again, it watches on.
    ///
    /// # Errors
    /// What the service refuses, that it was never there, or that it does not come back.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<W::Event>> {
        let mut tries = 0;
        loop {
            let lost = match &mut self.changes {
                Some(changes) => match changes.message().await {
                    Ok(Some(change)) => {
                        let (event, token) = W::split(change);
                        (self.token, tries) = (token, 0);
                        match event {
                            Some(event) => return Ok(Some(event)),
                            None => continue,
                        }
                    }
                    Ok(None) => {
                        self.changes = None;
                        return Ok(None);
                    }
                    Err(status) => status,
                },
                None => match self.watched.watch(self.token.clone()).await {
                    Ok(changes) => {
                        (self.changes, self.has_begun) = (Some(changes), true);
                        continue;
                    }
                    // Somebody who was never there is not waited for.
                    Err(status) if !self.has_begun => return Err(wire::refused(status)),
                    Err(status) => status,
                },
            };
            self.changes = None;
            tries += 1;
            let comes_back = matches!(lost.code(), Code::Aborted | Code::Unavailable | Code::Cancelled);
            if !comes_back || tries > TRIES_MAX {
                return Err(wire::refused(lost));
            }
            if lost.code() != Code::Aborted {
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
    }
}
