use std::future::Future;
use std::time::Duration;

use contracts::alert::v1::alert_service_client::AlertServiceClient;
use contracts::alert::v1::{
    AcknowledgeRequest, Episode, ExplainRequest, ExplainResponse, GetEpisodeRequest, GetEpisodeResponse,
    ListEpisodesRequest, ListEpisodesResponse, ListSilencesRequest, NowRequest, NowResponse, Silence,
    SilenceRequest, UnsilenceRequest,
};
use contracts::ingest::v1::ingest_service_client::IngestServiceClient;
use contracts::ingest::v1::{Coverage, ListCoverageRequest};
use contracts::response::v1::response_service_client::ResponseServiceClient;
use contracts::response::v1::{
    AssignRequest, CaseState, GetCaseRequest, GetCaseResponse, KeepRequest, ListCasesRequest,
    ListCasesResponse, PromiseRequest, RecordReplyRequest, ReopenRequest,
};
use contracts::{alert, response};
use runtime::Net;
use runtime::net::Link;
use tonic::{Code, Response, Status};

use crate::ConsoleConfig;

/// How long a page waits for one service.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);
/// Open episodes shown at most.
const EPISODES_MAX: u32 = 100;
/// Open cases shown at most; the rest is counted.
const CASES_MAX: u32 = 100;
/// Resolved cases looked through for the latest.
const SETTLED_MAX: u32 = 100;

/// What a service said, or one sentence on why it did not.
pub(crate) type Answer<T> = Result<T, Trouble>;

/// A service that could not or would not do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// For choosing how to go on.
    pub(crate) code: Code,
    /// Which service: `alert`, `response`, `ingest`.
    pub(crate) service: &'static str,
    /// For people.
    pub(crate) sentence: String,
}

/// The services we ask. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Backend {
    alert: AlertServiceClient<Link>,
    response: ResponseServiceClient<Link>,
    ingest: Option<IngestServiceClient<Link>>,
}

impl Backend {
    pub(crate) fn new(config: &ConsoleConfig, net: &Net) -> anyhow::Result<Self> {
        let ingest = config.ingest.as_deref().map(|uri| net.channel(uri)).transpose()?;
        Ok(Self {
            alert: AlertServiceClient::new(net.channel(&config.alert)?),
            response: ResponseServiceClient::new(net.channel(&config.response)?),
            ingest: ingest.map(IngestServiceClient::new),
        })
    }

    pub(crate) async fn now(&self, brand: &str) -> Answer<NowResponse> {
        let request = NowRequest { brand: brand.into() };
        ask("alert", self.alert.clone().now(request)).await
    }

    pub(crate) async fn episodes(&self, brand: &str) -> Answer<Vec<Episode>> {
        let request = ListEpisodesRequest {
            brand: brand.into(),
            limit: EPISODES_MAX,
            ..ListEpisodesRequest::default()
        };
        Ok(self.list_episodes(request).await?.episodes)
    }

    /// Those asked for, newest first.
    pub(crate) async fn list_episodes(&self, request: ListEpisodesRequest) -> Answer<ListEpisodesResponse> {
        ask("alert", self.alert.clone().list_episodes(request)).await
    }

    /// Silences, newest first; those that have ended on request.
    pub(crate) async fn silences(&self, include_past: bool) -> Answer<Vec<Silence>> {
        let request = ListSilencesRequest { include_past };
        Ok(ask("alert", self.alert.clone().list_silences(request)).await?.silences)
    }

    pub(crate) async fn silence(&self, request: SilenceRequest) -> Answer<()> {
        ask("alert", self.alert.clone().silence(request)).await.map(|_| ())
    }

    pub(crate) async fn unsilence(&self, request: UnsilenceRequest) -> Answer<()> {
        ask("alert", self.alert.clone().unsilence(request)).await.map(|_| ())
    }

    pub(crate) async fn episode(&self, id: [u8; 16]) -> Answer<GetEpisodeResponse> {
        let request = GetEpisodeRequest { episode_id: contracts::id(&id) };
        ask("alert", self.alert.clone().get_episode(request)).await
    }

    pub(crate) async fn explain(&self, id: [u8; 16]) -> Answer<ExplainResponse> {
        let request = ExplainRequest { episode_id: contracts::id(&id), ..ExplainRequest::default() };
        ask("alert", self.alert.clone().explain(request)).await
    }

    pub(crate) async fn acknowledge(&self, request: AcknowledgeRequest) -> Answer<()> {
        ask("alert", self.alert.clone().acknowledge(request)).await.map(|_| ())
    }

    pub(crate) async fn resolve_episode(&self, request: alert::v1::ResolveRequest) -> Answer<()> {
        ask("alert", self.alert.clone().resolve(request)).await.map(|_| ())
    }

    /// All but resolved ones, longest waiting first.
    pub(crate) async fn cases(&self, brand: &str) -> Answer<ListCasesResponse> {
        let request =
            ListCasesRequest { brand: brand.into(), limit: CASES_MAX, ..ListCasesRequest::default() };
        self.list_cases(request).await
    }

    /// Those asked for, longest waiting first.
    pub(crate) async fn list_cases(&self, request: ListCasesRequest) -> Answer<ListCasesResponse> {
        ask("response", self.response.clone().list_cases(request)).await
    }

    /// Resolved ones.
    pub(crate) async fn settled(&self, brand: &str) -> Answer<ListCasesResponse> {
        let request = ListCasesRequest {
            brand: brand.into(),
            states: vec![CaseState::Resolved.into()],
            limit: SETTLED_MAX,
            ..ListCasesRequest::default()
        };
        self.list_cases(request).await
    }

    pub(crate) async fn case(&self, id: [u8; 16]) -> Answer<GetCaseResponse> {
        let request = GetCaseRequest { case_id: contracts::id(&id) };
        ask("response", self.response.clone().get_case(request)).await
    }

    pub(crate) async fn assign(&self, request: AssignRequest) -> Answer<()> {
        ask("response", self.response.clone().assign(request)).await.map(|_| ())
    }

    pub(crate) async fn reply(&self, request: RecordReplyRequest) -> Answer<()> {
        ask("response", self.response.clone().record_reply(request)).await.map(|_| ())
    }

    pub(crate) async fn promise(&self, request: PromiseRequest) -> Answer<()> {
        ask("response", self.response.clone().promise(request)).await.map(|_| ())
    }

    pub(crate) async fn keep(&self, request: KeepRequest) -> Answer<()> {
        ask("response", self.response.clone().keep(request)).await.map(|_| ())
    }

    pub(crate) async fn resolve_case(&self, request: response::v1::ResolveRequest) -> Answer<()> {
        ask("response", self.response.clone().resolve(request)).await.map(|_| ())
    }

    pub(crate) async fn reopen(&self, request: ReopenRequest) -> Answer<()> {
        ask("response", self.response.clone().reopen(request)).await.map(|_| ())
    }

    /// How complete each source is; nothing when nobody told us where to ask.
    pub(crate) async fn coverage(&self) -> Answer<Vec<Coverage>> {
        let Some(ingest) = &self.ingest else { return Ok(Vec::new()) };
        Ok(ask("ingest", ingest.clone().list_coverage(ListCoverageRequest {})).await?.coverage)
    }
}

async fn ask<T>(service: &'static str, call: impl Future<Output = Result<Response<T>, Status>>) -> Answer<T> {
    match tokio::time::timeout(ANSWER_WITHIN, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(trouble(service, &status)),
        Err(_) => Err(trouble(service, &Status::deadline_exceeded("no answer in time"))),
    }
}

fn trouble(service: &'static str, status: &Status) -> Trouble {
    let sentence = match status.code() {
        Code::NotFound => "There is nothing by that name (any more).".to_owned(),
        Code::FailedPrecondition | Code::Aborted => {
            "It has changed since this page was drawn. Look again, then decide.".to_owned()
        }
        Code::InvalidArgument => format!("That was refused: {}", status.message()),
        Code::Unauthenticated | Code::PermissionDenied => {
            format!("The {service} service does not let this console in.")
        }
        Code::Unavailable | Code::DeadlineExceeded | Code::Unknown => {
            format!("The {service} service does not answer.")
        }
        _ => format!("The {service} service could not do it: {}", status.message()),
    };
    if !matches!(status.code(), Code::NotFound | Code::InvalidArgument | Code::FailedPrecondition) {
        tracing::warn!(service, code = ?status.code(), message = status.message(), "a service did not answer");
    }
    Trouble { code: status.code(), service, sentence }
}
