use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use casework::{Command, Input, Refusal, decide};
use contracts::response::v1 as wire;
use contracts::response::v1::response_service_server::ResponseService;
use futures::Stream;
use model::{CaseId, EventId, Invalid, PromiseId, Timestamp};
use prost::Message as _;
use runtime::Shutdown;
use store::Doing;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};
use tracing::error;

use crate::desk::{Desk, Open, keep};
use crate::store::{self as tables, TableError};
use crate::wire as words;
use crate::{list, report, watch};

/// The longest name of a person, and the longest idempotency key, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// The longest text a caller may record, in bytes.
const TEXT_BYTES_MAX: usize = 16 * 1024;
/// The longest `what`, `note`, `root_cause`, `evidence` and link, in bytes.
const NOTE_BYTES_MAX: usize = 2_048;
/// How often a change is tried when others change the same case.
const TRIES_MAX: usize = 8;

/// The gRPC face of response.
pub(crate) struct Service {
    pub(crate) desk: Arc<Desk>,
    pub(crate) shutdown: Shutdown,
    pub(crate) watchers: Arc<Semaphore>,
}

/// What somebody asks for, checked.
struct Asked {
    case: CaseId,
    by: String,
    what: Command,
    expected_version: u64,
    idempotency_key: String,
}

impl Asked {
    fn new(
        case: &Bytes,
        by: String,
        what: Command,
        expected_version: u64,
        idempotency_key: String,
    ) -> Result<Self, Status> {
        if by.trim().is_empty() {
            return Err(refused(Invalid::new("by", "needs a name")));
        }
        short("by", &by, NAME_BYTES_MAX)?;
        short("idempotency_key", &idempotency_key, NAME_BYTES_MAX)?;
        Ok(Self { case: case_id(case)?, by, what, expected_version, idempotency_key })
    }

    /// Tells one request from another, without keeping what it says.
    fn fingerprint(&self) -> String {
        EventId::derive(&[&self.case.to_string(), &self.by, &format!("{:?}", self.what)]).to_string()
    }
}

impl Service {
    async fn ask(&self, asked: Asked) -> Result<Response<wire::CaseReply>, Status> {
        let mut tries = 1;
        loop {
            match self.try_ask(&asked).await {
                Ok(answer) => {
                    let case = answer?;
                    return Ok(Response::new(wire::CaseReply { case: Some(case) }));
                }
                Err(error) if error.may_pass() && tries < TRIES_MAX => tries += 1,
                Err(error) => return Err(unavailable(&error)),
            }
        }
    }

    async fn try_ask(&self, asked: &Asked) -> Result<Result<wire::Case, Status>, TableError> {
        let now = self.desk.clock.now();
        let fingerprint = asked.fingerprint();
        let mut tx = self.desk.store.begin().await?;
        let is_repeat = match &asked.idempotency_key {
            key if key.is_empty() => false,
            key => match tables::request(&mut tx, key).await? {
                None => false,
                Some((request, _)) if request == fingerprint => true,
                Some(_) => {
                    let problem = "was used for another request";
                    return Ok(Err(refused(Invalid::new("idempotency_key", problem))));
                }
            },
        };
        let Some(case) = tables::case(&mut *tx, asked.case).await? else {
            return Ok(Err(Status::not_found(Refusal::NoSuchCase.to_string())));
        };
        let policy = self.desk.policies.of(&case.brand);
        if is_repeat {
            return Ok(Ok(words::case(&case, now, policy)));
        }
        if asked.expected_version != 0 && asked.expected_version != case.version {
            return Ok(Err(Status::failed_precondition(format!(
                "the case is at version {}, not {}",
                case.version, asked.expected_version
            ))));
        }
        let input = Input::Asked { by: asked.by.clone(), what: asked.what.clone() };
        let mut open = Open::read(case);
        let decision = decide(Some(&open.case), &input, now, policy);
        let refusal = decision.refusal();
        if decision.is_change() {
            open.absorb(decision);
            keep(&self.desk, &mut tx, &[&open], now).await?;
        }
        if refusal.is_none() && !asked.idempotency_key.is_empty() {
            tables::keep_request(&mut tx, &asked.idempotency_key, &fingerprint, asked.case, now).await?;
        }
        // Also when refused: what fell due before was told.
        tx.commit().await.doing(|| "keeping what was asked".into())?;
        self.desk.committed();
        Ok(match refusal {
            Some(refusal) => Err(refusal_status(refusal)),
            None => Ok(words::case(&open.case, now, policy)),
        })
    }
}

fn refusal_status(refusal: Refusal) -> Status {
    let message = refusal.to_string();
    match refusal {
        Refusal::NoSuchCase | Refusal::NoSuchPromise => Status::not_found(message),
        Refusal::DueInThePast | Refusal::EmptyPromise => Status::invalid_argument(message),
        Refusal::PromiseNotOpen
        | Refusal::TooManyPromises
        | Refusal::AlreadyResolved
        | Refusal::NotResolved
        | Refusal::Forgotten => Status::failed_precondition(message),
    }
}

pub(crate) fn refused(invalid: Invalid) -> Status {
    Status::invalid_argument(invalid.to_string())
}

/// For callers: no words of the database.
pub(crate) fn unavailable(error: &TableError) -> Status {
    error!(%error, "cannot answer");
    if error.may_pass() {
        Status::unavailable("the database did not answer, try again")
    } else {
        Status::internal("the database refused")
    }
}

fn case_id(bytes: &Bytes) -> Result<CaseId, Status> {
    CaseId::from_slice(bytes).map_err(refused)
}

fn short(field: &'static str, text: &str, bytes_max: usize) -> Result<(), Status> {
    if text.len() > bytes_max {
        return Err(refused(Invalid::new(
            field,
            format!("has {} bytes, at most {bytes_max} fit", text.len()),
        )));
    }
    Ok(())
}

fn link(field: &'static str, text: &str) -> Result<(), Status> {
    short(field, text, NOTE_BYTES_MAX)?;
    if text.is_empty() || text.starts_with("https://") || text.starts_with("http://") {
        return Ok(());
    }
    Err(refused(Invalid::new(field, "needs http or https")))
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl ResponseService for Service {
    async fn list_cases(
        &self,
        request: Request<wire::ListCasesRequest>,
    ) -> Result<Response<wire::ListCasesResponse>, Status> {
        list::list(&self.desk, request.into_inner()).await.map(Response::new)
    }

    async fn get_case(
        &self,
        request: Request<wire::GetCaseRequest>,
    ) -> Result<Response<wire::GetCaseResponse>, Status> {
        let id = case_id(&request.into_inner().case_id)?;
        let pool = self.desk.store.pool();
        let case = tables::case(pool, id).await.map_err(|e| unavailable(&e))?;
        let case = case.ok_or_else(|| Status::not_found(Refusal::NoSuchCase.to_string()))?;
        let past = tables::history(pool, id).await.map_err(|e| unavailable(&e))?;
        let history = past
            .iter()
            .map(|p| wire::CaseEvent::decode(p.body.as_slice()))
            .collect::<Result<_, _>>()
            .map_err(|_| Status::data_loss("the history of the case cannot be read"))?;
        let policy = self.desk.policies.of(&case.brand);
        let case = Some(words::case(&case, self.desk.clock.now(), policy));
        Ok(Response::new(wire::GetCaseResponse { case, history }))
    }

    async fn assign(
        &self,
        request: Request<wire::AssignRequest>,
    ) -> Result<Response<wire::CaseReply>, Status> {
        let wire::AssignRequest { case_id, assignee, by, expected_version, idempotency_key } =
            request.into_inner();
        short("assignee", &assignee, NAME_BYTES_MAX)?;
        let what = Command::Assign { assignee };
        self.ask(Asked::new(&case_id, by, what, expected_version, idempotency_key)?).await
    }

    async fn record_reply(
        &self,
        request: Request<wire::RecordReplyRequest>,
    ) -> Result<Response<wire::CaseReply>, Status> {
        let wire::RecordReplyRequest {
            case_id,
            by,
            text,
            is_public,
            permalink,
            expected_version,
            idempotency_key,
            waits_for_customer,
        } = request.into_inner();
        short("text", &text, TEXT_BYTES_MAX)?;
        link("permalink", &permalink)?;
        let what = Command::RecordReply { text, is_public, permalink, waits_for_customer };
        self.ask(Asked::new(&case_id, by, what, expected_version, idempotency_key)?).await
    }

    async fn promise(
        &self,
        request: Request<wire::PromiseRequest>,
    ) -> Result<Response<wire::CaseReply>, Status> {
        let wire::PromiseRequest {
            case_id,
            by,
            what,
            owner,
            due_at_us,
            expected_version,
            idempotency_key,
            replaces,
        } = request.into_inner();
        short("what", &what, NOTE_BYTES_MAX)?;
        short("owner", &owner, NAME_BYTES_MAX)?;
        let replaces = match replaces.len() {
            0 => None,
            _ => Some(PromiseId::from_slice(&replaces).map_err(refused)?),
        };
        let what = Command::Promise { what, owner, due_at: Timestamp::from_micros(due_at_us), replaces };
        self.ask(Asked::new(&case_id, by, what, expected_version, idempotency_key)?).await
    }

    async fn keep(&self, request: Request<wire::KeepRequest>) -> Result<Response<wire::CaseReply>, Status> {
        let wire::KeepRequest { case_id, promise_id, by, evidence, expected_version, idempotency_key } =
            request.into_inner();
        short("evidence", &evidence, NOTE_BYTES_MAX)?;
        let promise = PromiseId::from_slice(&promise_id).map_err(refused)?;
        let what = Command::Keep { promise, evidence };
        self.ask(Asked::new(&case_id, by, what, expected_version, idempotency_key)?).await
    }

    async fn resolve(
        &self,
        request: Request<wire::ResolveRequest>,
    ) -> Result<Response<wire::CaseReply>, Status> {
        let wire::ResolveRequest { case_id, by, note, root_cause, expected_version, idempotency_key } =
            request.into_inner();
        short("note", &note, NOTE_BYTES_MAX)?;
        short("root_cause", &root_cause, NOTE_BYTES_MAX)?;
        let what = Command::Resolve { note, root_cause };
        self.ask(Asked::new(&case_id, by, what, expected_version, idempotency_key)?).await
    }

    async fn reopen(
        &self,
        request: Request<wire::ReopenRequest>,
    ) -> Result<Response<wire::CaseReply>, Status> {
        let wire::ReopenRequest { case_id, by, note, expected_version, idempotency_key } =
            request.into_inner();
        short("note", &note, NOTE_BYTES_MAX)?;
        let what = Command::Reopen { note };
        self.ask(Asked::new(&case_id, by, what, expected_version, idempotency_key)?).await
    }

    type WatchStream = Answers<wire::WatchResponse>;

    async fn watch(
        &self,
        request: Request<wire::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let place = self
            .watchers
            .clone()
            .try_acquire_owned()
            .map_err(|_| Status::resource_exhausted("too many watchers"))?;
        let stream =
            watch::watch(self.desk.clone(), self.shutdown.clone(), request.into_inner(), place).await?;
        Ok(Response::new(Box::pin(stream)))
    }

    async fn report(
        &self,
        request: Request<wire::ReportRequest>,
    ) -> Result<Response<wire::ReportResponse>, Status> {
        report::report(&self.desk, &request.into_inner()).await.map(Response::new)
    }
}
