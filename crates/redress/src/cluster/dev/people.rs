//! The people of a story: somebody on call who takes the page, somebody in care who answers and promises.
//! They see what people see, through the services' gRPC, and do what people do there.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use contracts::alert::v1::alert_service_client::AlertServiceClient;
use contracts::alert::v1::{AcknowledgeRequest, EpisodeChange, Trigger, WatchRequest};
use contracts::response::v1::response_service_client::ResponseServiceClient;
use contracts::response::v1::{
    self as response, AssignRequest, Case, CaseChange, GetCaseRequest, KeepRequest, PromiseRequest,
};
use model::BrandId;
use runtime::Clock;
use runtime::net::Link;

use super::system::System;
use crate::scenario::Scenario;

const MINUTE: Duration = Duration::from_secs(60);
/// From the page to somebody taking it.
const TAKES_IT_AFTER: Duration = Duration::from_secs(4 * 60);
/// From the public answer to the promise in the ledger.
const PROMISES_AFTER: Duration = Duration::from_secs(6 * 60);
/// What was promised is done this long after.
const KEEPS_AFTER: Duration = Duration::from_secs(5 * 3_600);
/// And was promised to be done within this time.
const PROMISED_WITHIN_MS: i64 = 8 * 3_600 * 1_000;

/// Lets the people of `story` act on `system`, until the process ends.
///
/// # Errors
/// When the services' addresses cannot be used.
pub(super) fn play(story: &Scenario, system: &System) -> anyhow::Result<()> {
    let clock = system.clock.clone();
    let alerts = AlertServiceClient::new(system.alert_link()?);
    let cases = ResponseServiceClient::new(system.response_link()?);
    let act = |name: &'static str, acting: futures::future::BoxFuture<'static, anyhow::Result<()>>| {
        tokio::spawn(async move {
            if let Err(error) = acting.await {
                tracing::warn!(person = name, "left the story: {error:#}");
            }
        });
    };
    let on_call = OnCall { brand: story.protagonist.clone(), alerts, clock: clock.clone() };
    let care = Care { brand: story.protagonist.clone(), cases, clock };
    act("dana", Box::pin(on_call.act()));
    act("luca", Box::pin(care.act()));
    Ok(())
}

/// Takes the first page about a spreading thread.
struct OnCall {
    brand: BrandId,
    alerts: AlertServiceClient<Link>,
    clock: Arc<dyn Clock>,
}

impl OnCall {
    async fn act(mut self) -> anyhow::Result<()> {
        let request =
            WatchRequest { from_start: true, brand: self.brand.to_string(), ..WatchRequest::default() };
        let mut changes = self.alerts.watch(request).await?.into_inner();
        while let Some(change) = changes.message().await? {
            let Some(event) = change.event else { continue };
            let Some(episode) = &event.episode else { continue };
            if event.change() != EpisodeChange::Paged || episode.trigger() != Trigger::SpreadingThread {
                continue;
            }
            self.clock.sleep(TAKES_IT_AFTER).await;
            let request = AcknowledgeRequest {
                episode_id: episode.episode_id.clone(),
                owner: "dana".to_owned(),
                expires_in_s: 6 * 3_600,
                note: "saw it, care is answering".to_owned(),
                ..AcknowledgeRequest::default()
            };
            self.alerts.acknowledge(request).await.context("cannot take the page")?;
        }
        Ok(())
    }
}

/// Takes the severest case once its customer went public, enters what was promised, and keeps it.
struct Care {
    brand: BrandId,
    cases: ResponseServiceClient<Link>,
    clock: Arc<dyn Clock>,
}

impl Care {
    async fn act(mut self) -> anyhow::Result<()> {
        let request = response::WatchRequest {
            from_start: true,
            brand: self.brand.to_string(),
            ..response::WatchRequest::default()
        };
        let mut changes = self.cases.watch(request).await?.into_inner();
        let mut taken: Option<bytes::Bytes> = None;
        while let Some(change) = changes.message().await? {
            let Some(event) = change.event else { continue };
            let Some(case) = event.case.clone() else { continue };
            match event.change() {
                // Changes carry no words; whether he went public is in the case itself.
                CaseChange::CustomerSpoke if taken.is_none() && self.went_public(&case.case_id).await? => {
                    taken = Some(case.case_id.clone());
                    self.clock.sleep(25 * MINUTE).await;
                    self.assign(&case).await?;
                }
                CaseChange::BrandAnswered
                    if taken.as_ref() == Some(&case.case_id) && case.promises.is_empty() =>
                {
                    self.clock.sleep(PROMISES_AFTER).await;
                    let promise = self.promise(&case).await?;
                    let this = Self {
                        brand: self.brand.clone(),
                        cases: self.cases.clone(),
                        clock: self.clock.clone(),
                    };
                    tokio::spawn(async move {
                        if let Err(error) = this.keep(&case, promise).await {
                            tracing::warn!("a promise of the story was not kept: {error:#}");
                        }
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A customer who first wrote privately and then in public.
    async fn went_public(&mut self, case_id: &bytes::Bytes) -> anyhow::Result<bool> {
        let request = GetCaseRequest { case_id: case_id.clone() };
        let case = self.cases.get_case(request).await?.into_inner().case.unwrap_or_default();
        let spoke =
            |is_public| case.messages.iter().any(move |m| m.side == "customer" && m.is_public == is_public);
        Ok(spoke(false) && spoke(true))
    }

    async fn assign(&mut self, case: &Case) -> anyhow::Result<()> {
        let request = AssignRequest {
            case_id: case.case_id.clone(),
            assignee: "luca".to_owned(),
            by: "dana".to_owned(),
            ..AssignRequest::default()
        };
        self.cases.assign(request).await.context("cannot take the case")?;
        Ok(())
    }

    async fn promise(&mut self, case: &Case) -> anyhow::Result<bytes::Bytes> {
        let request = PromiseRequest {
            case_id: case.case_id.clone(),
            by: "luca".to_owned(),
            what: "pay for a new guitar today".to_owned(),
            owner: "lena".to_owned(),
            due_at_us: self.clock.now().plus_millis(PROMISED_WITHIN_MS).as_micros(),
            ..PromiseRequest::default()
        };
        let case = self.cases.promise(request).await.context("cannot enter the promise")?.into_inner().case;
        let promise = case.and_then(|c| c.promises.last().map(|p| p.promise_id.clone()));
        promise.context("the promise was not entered")
    }

    async fn keep(mut self, case: &Case, promise_id: bytes::Bytes) -> anyhow::Result<()> {
        self.clock.sleep(KEEPS_AFTER).await;
        let request = KeepRequest {
            case_id: case.case_id.clone(),
            promise_id,
            by: "lena".to_owned(),
            evidence: "transfer 4711, confirmed by the bank".to_owned(),
            ..KeepRequest::default()
        };
        self.cases.keep(request).await.context("cannot keep the promise")?;
        Ok(())
    }
}
