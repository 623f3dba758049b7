//! The questions people and other services ask.

use std::pin::Pin;
use std::time::Duration;

use contracts::alert::v1 as wire;
use contracts::alert::v1::alert_service_server::AlertService;
use contracts::classify::v1::Feedback;
use model::{BrandId, EpisodeId, Subject, Timestamp, Topic};
use paging::{Decision, Matcher, Reason, Silence, What};
use prost::Message as _;
use store::{Tx, outbox};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};
use tracing::error;

use crate::Deps;
use crate::desk::{self, Desk, Passing, TO_FEEDBACK};
use crate::picture::Picture;
use crate::sources::Sources;
use crate::store::{self as tables, Filter, SERVICE, TableError};
use crate::{timeline, wire as messages};

/// Most episodes in one answer, and how many when nobody says.
const LIST_MAX: u32 = 500;
const LIST_DEFAULT: u32 = 100;
/// The longest name, note or key a caller may send, in bytes.
const TEXT_BYTES_MAX: usize = 2_000;
/// The longest acknowledgement, in seconds.
const ACK_MAX_S: u32 = 7 * 86_400;
/// Changes read at once for a watcher, and how many may wait for it.
const WATCH_BATCH: u32 = 200;
const WATCH_AHEAD: usize = 64;
/// Real time a watcher may take for one change.
const WATCH_PATIENCE: Duration = Duration::from_secs(10);
/// Real time between looks, for changes that other processes wrote.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// gRPC over the desk's tables.
#[derive(Clone)]
pub(crate) struct Answers {
    pub(crate) deps: Deps,
    pub(crate) desk: Desk,
    pub(crate) picture: Picture,
    /// What an opening needs besides its threshold.
    pub(crate) detect: detect::DetectPolicy,
}

/// Why a call was not answered.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("{0}")]
    Refused(Status),
    #[error(transparent)]
    Table(#[from] TableError),
}

impl From<store::StoreError> for CallError {
    fn from(error: store::StoreError) -> Self {
        Self::Table(error.into())
    }
}

impl Passing for CallError {
    fn may_pass(&self) -> bool {
        matches!(self, Self::Table(error) if error.may_pass())
    }
}

impl From<CallError> for Status {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(status) => status,
            CallError::Table(error) => {
                let code = if error.may_pass() { Code::Unavailable } else { Code::Internal };
                error!(%error, "call not answered");
                Self::new(code, "the tables could not be read or written")
            }
        }
    }
}

fn refused(code: Code, why: impl Into<String>) -> CallError {
    CallError::Refused(Status::new(code, why))
}

fn invalid(why: impl Into<String>) -> CallError {
    refused(Code::InvalidArgument, why)
}

fn text(name: &str, value: &str, needed: bool) -> Result<String, CallError> {
    if needed && value.trim().is_empty() {
        return Err(invalid(format!("{name}: must not be empty")));
    }
    if value.len() > TEXT_BYTES_MAX {
        return Err(invalid(format!("{name}: at most {TEXT_BYTES_MAX} bytes")));
    }
    Ok(value.to_owned())
}

fn episode_id(bytes: &[u8]) -> Result<EpisodeId, CallError> {
    EpisodeId::from_slice(bytes).map_err(|e| invalid(e.to_string()))
}

fn page_token(token: &str) -> Result<Option<(i64, String)>, CallError> {
    if token.is_empty() {
        return Ok(None);
    }
    let bad = || invalid("page_token: is none of ours");
    let (at_us, id) = token.split_once('/').ok_or_else(bad)?;
    let id = id.parse::<EpisodeId>().map_err(|_| bad())?;
    Ok(Some((at_us.parse().map_err(|_| bad())?, id.to_string())))
}

fn resume_token(id: i64) -> String {
    format!("h{id}")
}

fn resume_from(token: &str) -> Result<i64, CallError> {
    let id = token.strip_prefix('h').and_then(|id| id.parse::<i64>().ok()).filter(|id| *id >= 0);
    id.ok_or_else(|| invalid("resume_token: is none of ours"))
}

fn matcher(matcher: Option<wire::SilenceMatcher>) -> Result<Matcher, CallError> {
    let matcher = matcher.unwrap_or_default();
    fn some<T: std::str::FromStr<Err: std::fmt::Display>>(
        name: &str,
        text: &str,
    ) -> Result<Option<T>, CallError> {
        match text {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|e| invalid(format!("matcher.{name}: {e}"))),
        }
    }
    let matcher = Matcher {
        brand: some::<BrandId>("brand", &matcher.brand)?,
        topic: some::<Topic>("topic", &matcher.topic)?,
        rule: (!matcher.rule.is_empty()).then_some(matcher.rule),
        subject: some::<Subject>("subject", &matcher.subject)?,
    };
    matcher.validated().map_err(|e| invalid(e.to_string()))
}

/// The answer to a person's wish, or why it was not followed.
fn followed(decision: Decision) -> Result<wire::EpisodeReply, CallError> {
    match (&decision.reason, decision.next) {
        (Reason::NothingOpen, _) | (_, None) => Err(refused(Code::NotFound, "there is no such episode")),
        (reason, Some(_)) if reason.is_refusal() => Err(refused(Code::FailedPrecondition, reason.text())),
        (_, Some(next)) => Ok(wire::EpisodeReply { episode: Some(messages::episode(&next)) }),
    }
}

impl Answers {
    fn now(&self) -> Timestamp {
        self.deps.parts.clock.now()
    }

    /// Runs `work` once per key: a repeat is answered as the first time.
    async fn once<T, F>(&self, kind: &str, key: &str, work: impl Fn(Tx) -> F) -> Result<Response<T>, Status>
    where
        T: prost::Message + Default,
        F: Future<Output = Result<(Tx, T), CallError>>,
    {
        let key = text("idempotency_key", key, false).map_err(Status::from)?;
        let now = self.now();
        let (key, work) = (&key, &work);
        let answer = self
            .desk
            .transact::<T, CallError, _>(|mut tx| async move {
                if !key.is_empty()
                    && let Some(body) = tables::answered(&mut tx, kind, key).await?
                {
                    let answer = T::decode(body.as_slice()).map_err(|_| {
                        refused(Code::AlreadyExists, "idempotency_key: used for another request")
                    })?;
                    return Ok((tx, answer));
                }
                let (mut tx, answer) = work(tx).await?;
                if !key.is_empty() {
                    tables::remember_answer(&mut tx, kind, key, answer.encode_to_vec(), now).await?;
                }
                Ok((tx, answer))
            })
            .await
            .map_err(Status::from)?;
        Ok(Response::new(answer))
    }

    async fn list(
        &self,
        request: wire::ListEpisodesRequest,
    ) -> Result<wire::ListEpisodesResponse, CallError> {
        let limit = match request.limit {
            0 => LIST_DEFAULT,
            limit => limit.min(LIST_MAX),
        };
        let mut states = Vec::new();
        for state in &request.states {
            let state = wire::EpisodeState::try_from(*state).ok().and_then(messages::state_word);
            states.push(state.ok_or_else(|| invalid("states: names a state that does not exist"))?);
        }
        if states.is_empty() {
            states = vec!["firing", "acknowledged", "no_data"];
        }
        let filter = Filter {
            brand: request.brand,
            states,
            after: page_token(&request.page_token)?,
            limit: limit + 1,
        };
        let mut found = tables::list(&self.desk.store, &filter).await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = found.len() > limit;
        found.truncate(limit);
        let next_page_token = match found.last().filter(|_| more) {
            Some(last) => format!("{}/{}", last.opened_at.as_micros(), last.id),
            None => String::new(),
        };
        Ok(wire::ListEpisodesResponse {
            episodes: found.iter().map(messages::episode).collect(),
            next_page_token,
        })
    }

    async fn get(&self, id: &[u8]) -> Result<wire::GetEpisodeResponse, CallError> {
        let id = episode_id(id)?;
        let kept = tables::episode(self.desk.store.pool(), id)
            .await?
            .ok_or_else(|| refused(Code::NotFound, format!("there is no episode {id}")))?;
        let history = tables::history(&self.desk.store, id).await?;
        let history = history.iter().filter_map(|body| wire::EpisodeEvent::decode(body.as_slice()).ok());
        let sent = outbox::list(&self.desk.store, SERVICE, &id.to_string()).await?;
        let deliveries = sent
            .into_iter()
            .filter(|entry| !entry.message.destination.starts_with("topic/"))
            .map(|entry| wire::Delivery {
                delivery_id: entry.message.delivery_id,
                destination: entry.message.destination,
                state: entry.state.name().to_owned(),
                attempts: entry.attempts,
                created_at_us: entry.created_at.as_micros(),
                sent_at_us: (entry.state == outbox::State::Sent)
                    .then(|| entry.ended_at.map(Timestamp::as_micros))
                    .flatten(),
                last_error: entry.last_error,
                reason: entry.message.headers,
            })
            .collect();
        Ok(wire::GetEpisodeResponse {
            episode: Some(messages::episode(&kept.episode)),
            history: history.collect(),
            deliveries,
        })
    }

    async fn explain_episode(
        &self,
        request: &wire::ExplainRequest,
    ) -> Result<wire::ExplainResponse, CallError> {
        let id = episode_id(&request.episode_id)?;
        let threshold = request.threshold;
        if !(threshold.is_finite() && threshold >= 0.0) {
            return Err(invalid(format!("threshold: needs 0 or more, is {threshold}")));
        }
        let kept = tables::episode(self.desk.store.pool(), id)
            .await?
            .ok_or_else(|| refused(Code::NotFound, format!("there is no episode {id}")))?;
        let decisions = tables::decisions(&self.desk.store, id).await?;
        let timeline = tables::timelines::of(self.desk.store.pool(), id).await?;
        let what_if = timeline.as_ref().filter(|_| threshold > 0.0);
        let what_if = what_if.map(|timeline| timeline::what_if(timeline, threshold, &self.detect));
        let decision = |(at, action, reason): (Timestamp, String, Reason)| wire::Decision {
            at_us: at.as_micros(),
            action,
            reason: Some(messages::reason(&reason)),
        };
        Ok(wire::ExplainResponse {
            episode: Some(messages::episode(&kept.episode)),
            decisions: decisions.into_iter().map(decision).collect(),
            timeline,
            what_if,
        })
    }

    async fn picture_now(&self, brand: &str) -> Result<wire::NowResponse, CallError> {
        let look = self.picture.look(brand);
        let open = tables::open_of(self.desk.store.pool(), None).await?;
        let sources = Sources::load(&self.desk.store, self.now()).await?;
        let brands = sources.by_brand.keys().filter(|id| brand.is_empty() || id.as_str() == brand);
        let unheard = brands.filter_map(|id| {
            let unheard = sources.unheard(id)?;
            Some(wire::Unheard {
                brand: id.to_string(),
                share: unheard.share,
                words: unheard.words(),
                connectors: unheard.connectors,
                since_us: unheard.since.as_micros(),
            })
        });
        let rising = look.rising.into_iter().map(|row| {
            let episode = open.iter().find(|kept| kept.episode.subject == row.subject);
            wire::Rising {
                subject: row.subject.key(),
                brand: row.subject.brand().to_string(),
                topic: desk::topic_of(&row.subject).map(|topic| topic.to_string()).unwrap_or_default(),
                surprise: row.surprise,
                posts: row.posts,
                people: row.people,
                words: row.words,
                forecast: row.forecast.as_ref().map(messages::forecast),
                episode_id: episode.map(|kept| contracts::id(kept.episode.id.as_bytes())).unwrap_or_default(),
                excerpt: row.excerpt,
            }
        });
        Ok(wire::NowResponse {
            at_us: self.now().as_micros(),
            rising: rising.collect(),
            said: look.said,
            posts_last_hour: look.posts_last_hour,
            complaints_last_hour: look.complaints_last_hour,
            posts_total: look.posts_total,
            unheard: unheard.collect(),
        })
    }

    /// Sends changes on until the watcher leaves, is too slow, or intake stops.
    async fn follow(
        self,
        mut after: i64,
        brand: String,
        to: mpsc::Sender<Result<wire::WatchResponse, Status>>,
    ) {
        let mut news = self.desk.changes.subscribe();
        let shutdown = self.deps.parts.shutdown.clone();
        loop {
            // Marked before reading: what comes meanwhile is looked at again.
            news.borrow_and_update();
            let changes = match tables::changes_after(&self.desk.store, after, WATCH_BATCH).await {
                Ok(changes) => changes,
                Err(error) => {
                    let _ = to.send(Err(CallError::Table(error).into())).await;
                    return;
                }
            };
            let is_all = changes.len() < WATCH_BATCH as usize;
            for change in changes {
                after = change.id;
                if !brand.is_empty() && change.brand != brand {
                    continue;
                }
                let event = wire::EpisodeEvent::decode(change.body.as_slice()).ok();
                let answer = wire::WatchResponse { event, resume_token: resume_token(after) };
                match tokio::time::timeout(WATCH_PATIENCE, to.send(Ok(answer))).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return,
                    Err(_) => {
                        // The buffer is full and nobody reads; the status waits behind it, for whoever wakes.
                        let slow = Status::aborted("too slow; resume with the last resume_token");
                        let _ = tokio::time::timeout(WATCH_PATIENCE, to.send(Err(slow))).await;
                        return;
                    }
                }
            }
            if !is_all {
                continue;
            }
            tokio::select! {
                _ = news.changed() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = to.closed() => return,
                () = shutdown.reached(runtime::Phase::StopIntake) => {
                    let _ = to.try_send(Err(Status::unavailable("going away; resume with the last resume_token")));
                    return;
                }
            }
        }
    }
}

#[tonic::async_trait]
impl AlertService for Answers {
    async fn list_episodes(
        &self,
        request: Request<wire::ListEpisodesRequest>,
    ) -> Result<Response<wire::ListEpisodesResponse>, Status> {
        Ok(Response::new(self.list(request.into_inner()).await?))
    }

    async fn get_episode(
        &self,
        request: Request<wire::GetEpisodeRequest>,
    ) -> Result<Response<wire::GetEpisodeResponse>, Status> {
        Ok(Response::new(self.get(&request.into_inner().episode_id).await?))
    }

    async fn acknowledge(
        &self,
        request: Request<wire::AcknowledgeRequest>,
    ) -> Result<Response<wire::EpisodeReply>, Status> {
        let request = request.into_inner();
        let id = episode_id(&request.episode_id)?;
        let owner = text("owner", &request.owner, true)?;
        text("note", &request.note, false)?;
        if request.expires_in_s > ACK_MAX_S {
            return Err(invalid(format!("expires_in_s: at most {ACK_MAX_S} (7 days)")).into());
        }
        let for_ms = (request.expires_in_s > 0).then(|| i64::from(request.expires_in_s) * 1_000);
        let expected_version = request.expected_version;
        let what = &What::Acknowledge { owner, for_ms, expected_version };
        self.once("acknowledge", &request.idempotency_key, |mut tx| async move {
            let reply = followed(self.desk.happens(&mut tx, id, what.clone(), self.now()).await?)?;
            Ok((tx, reply))
        })
        .await
    }

    async fn resolve(
        &self,
        request: Request<wire::ResolveRequest>,
    ) -> Result<Response<wire::EpisodeReply>, Status> {
        let request = request.into_inner();
        let id = episode_id(&request.episode_id)?;
        let by = text("by", &request.by, true)?;
        let note = text("note", &request.note, false)?;
        let (by, note, request) = (&by, &note, &request);
        self.once("resolve", &request.idempotency_key, |mut tx| async move {
            let now = self.now();
            let expected_version = request.expected_version;
            let what = What::Resolve { by: by.clone(), note: note.clone(), expected_version };
            let decision = self.desk.happens(&mut tx, id, what, now).await?;
            let feedback = decision.next.clone().zip(request.useful);
            let reply = followed(decision)?;
            if let Some((episode, useful)) = feedback {
                let mention = episode.evidence.first().map(|piece| piece.mention).or(episode.thread_root);
                let feedback = Feedback {
                    mention_id: mention.map(|id| contracts::id(id.as_bytes())).unwrap_or_default(),
                    episode_id: contracts::id(id.as_bytes()),
                    useful: Some(useful),
                    by: by.clone(),
                    at_us: now.as_micros(),
                    ..Feedback::default()
                };
                let key = mention.map_or_else(|| id.to_string(), |mention| mention.to_string());
                let delivery_id = format!("feedback_{}_{}", id.as_uuid().simple(), episode.version);
                desk::publish_later(&mut tx, TO_FEEDBACK, delivery_id, key, &feedback, now).await?;
            }
            Ok((tx, reply))
        })
        .await
    }

    async fn silence(
        &self,
        request: Request<wire::SilenceRequest>,
    ) -> Result<Response<wire::SilenceReply>, Status> {
        let request = request.into_inner();
        let matcher = matcher(request.matcher)?;
        if !(1..=Silence::LENGTH_MAX_S).contains(&request.duration_s) {
            return Err(invalid(format!("duration_s: needs 1 to {}", Silence::LENGTH_MAX_S)).into());
        }
        let created_by = text("by", &request.by, true)?;
        let comment = text("comment", &request.comment, false)?;
        let id = format!("sil_{}", uuid::Uuid::new_v4().simple());
        let now = self.now();
        let silence = &Silence {
            id,
            matcher,
            starts_at: now,
            ends_at: now.plus_millis(i64::from(request.duration_s) * 1_000),
            created_by,
            comment,
            expires_on_resolve: request.expires_on_resolve,
        };
        self.once("silence", &request.idempotency_key, |mut tx| async move {
            tables::save_silence(&mut tx, silence).await?;
            self.desk.silence_changed(&mut tx, silence, now).await?;
            Ok((tx, wire::SilenceReply { silence: Some(messages::silence(silence)) }))
        })
        .await
    }

    async fn unsilence(
        &self,
        request: Request<wire::UnsilenceRequest>,
    ) -> Result<Response<wire::SilenceReply>, Status> {
        let request = request.into_inner();
        text("by", &request.by, true)?;
        // Ending it twice is ending it once.
        let id = request.silence_id.as_str();
        self.once("unsilence", "", |mut tx| async move {
            let now = self.now();
            let mut silence = tables::silence_by_id(&mut tx, id)
                .await?
                .ok_or_else(|| refused(Code::NotFound, "there is no such silence"))?;
            if silence.ends_at > now {
                silence.ends_at = now;
                tables::save_silence(&mut tx, &silence).await?;
                self.desk.silence_changed(&mut tx, &silence, now).await?;
            }
            Ok((tx, wire::SilenceReply { silence: Some(messages::silence(&silence)) }))
        })
        .await
    }

    async fn list_silences(
        &self,
        request: Request<wire::ListSilencesRequest>,
    ) -> Result<Response<wire::ListSilencesResponse>, Status> {
        let after = if request.into_inner().include_past { Timestamp::MIN } else { self.now() };
        let silences = tables::silences(self.desk.store.pool(), after).await.map_err(CallError::from)?;
        Ok(Response::new(wire::ListSilencesResponse {
            silences: silences.iter().map(messages::silence).collect(),
        }))
    }

    async fn explain(
        &self,
        request: Request<wire::ExplainRequest>,
    ) -> Result<Response<wire::ExplainResponse>, Status> {
        Ok(Response::new(self.explain_episode(&request.into_inner()).await?))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<wire::WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<wire::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let request = request.into_inner();
        let after = match (request.resume_token.as_str(), request.from_start) {
            ("", true) => 0,
            ("", false) => tables::last_change(&self.desk.store).await.map_err(CallError::from)?,
            (token, _) => resume_from(token)?,
        };
        let (to, from) = mpsc::channel(WATCH_AHEAD);
        tokio::spawn(self.clone().follow(after, request.brand, to));
        Ok(Response::new(Box::pin(ReceiverStream::new(from))))
    }

    async fn now(&self, request: Request<wire::NowRequest>) -> Result<Response<wire::NowResponse>, Status> {
        Ok(Response::new(self.picture_now(&request.into_inner().brand).await?))
    }
}
