//! Services that tell a story and remember what they were asked to do.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use contracts::alert::v1 as alert;
use contracts::alert::v1::alert_service_server::{AlertService, AlertServiceServer};
use contracts::ingest::v1 as ingest;
use contracts::ingest::v1::ingest_service_server::{IngestService, IngestServiceServer};
use contracts::response::v1 as response;
use contracts::response::v1::response_service_server::{ResponseService, ResponseServiceServer};
use futures::stream::BoxStream;
use model::{CaseId, EpisodeId, MentionId, PromiseId, Timestamp};
use runtime::{Net, NetConfig, Shutdown};
use tonic::{Request, Response, Status, Streaming};

/// What the services know and what was done to them. Clones share.
#[derive(Clone)]
pub struct World(Arc<Mutex<State>>);

/// Everything a test may look at or change.
pub struct State {
    /// For `Now`.
    pub now: alert::NowResponse,
    /// Open and past ones.
    pub episodes: Vec<alert::Episode>,
    /// All of them.
    pub cases: Vec<response::Case>,
    /// In force and past.
    pub silences: Vec<alert::Silence>,
    /// When the story is told.
    pub now_us: i64,
    /// One per connector.
    pub coverage: Vec<ingest::Coverage>,
    /// One line per change asked for.
    pub done: Vec<String>,
    /// What the next change is answered with.
    pub refuse: Option<Status>,
}

impl World {
    /// A world with a story in it, as of `now`.
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(story(now))))
    }

    /// A world in which nothing happens.
    pub fn quiet(now: Timestamp) -> Self {
        let mut state = story(now);
        state.episodes.clear();
        state.cases.clear();
        state.now.rising.clear();
        state.now.said.clear();
        for source in &mut state.coverage {
            source.state = ingest::CoverageState::Live.into();
            source.detail.clear();
        }
        Self(Arc::new(Mutex::new(state)))
    }

    /// Looks at or changes it.
    pub fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.0.lock().expect("nobody panics holding it"))
    }

    /// Serves all three services on one address.
    pub async fn serve(&self, shutdown: &Shutdown) -> SocketAddr {
        let net = Net::new(NetConfig::default()).expect("defaults are fine");
        let listener = net.bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let mut routes = runtime::net::routes();
        routes
            .add_service(AlertServiceServer::new(self.clone()))
            .add_service(ResponseServiceServer::new(self.clone()))
            .add_service(IngestServiceServer::new(self.clone()));
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            net.serve_grpc(listener, routes, contracts::DESCRIPTOR_SET, &shutdown).await.expect("serves")
        });
        address
    }

    fn did(&self, line: String) -> Result<(), Status> {
        self.with(|state| match state.refuse.take() {
            Some(status) => Err(status),
            None => {
                state.done.push(line);
                Ok(())
            }
        })
    }

    fn episode(&self, id: &[u8]) -> Result<alert::Episode, Status> {
        self.with(|s| s.episodes.iter().find(|e| e.episode_id == id).cloned())
            .ok_or_else(|| Status::not_found("no such episode"))
    }

    fn case(&self, id: &[u8]) -> Result<response::Case, Status> {
        self.with(|s| s.cases.iter().find(|c| c.case_id == id).cloned())
            .ok_or_else(|| Status::not_found("no such case"))
    }

    fn case_reply(&self, id: &[u8]) -> Result<Response<response::CaseReply>, Status> {
        Ok(Response::new(response::CaseReply { case: Some(self.case(id)?) }))
    }
}

/// A page of a list; a token is the place it begins at.
fn page_of<T>(found: Vec<T>, limit: u32, token: &str) -> Result<(Vec<T>, String), Status> {
    let from: usize = match token {
        "" => 0,
        token => token.parse().map_err(|_| Status::invalid_argument("page_token: is none of ours"))?,
    };
    let to = from + limit as usize;
    let next = if found.len() > to { to.to_string() } else { String::new() };
    Ok((found.into_iter().skip(from).take(limit as usize).collect(), next))
}

/// How the thread of the story went, and who drove it.
fn timeline(episode: &alert::Episode) -> alert::Timeline {
    let step = |minute: i64, p_viral: f32| alert::TimelineStep {
        at_us: (episode.since_us.div_euclid(60_000_000) + minute) * 60_000_000,
        length_s: 60,
        posts: 7,
        open_at: 0.5,
        coverage: 1.0,
        thread: Some(alert::ThreadStep {
            seen: 100 + minute.unsigned_abs(),
            expected_final: 2_400.0,
            low: 900.0,
            high: 6_000.0,
            p_viral,
            viral_size: 1_000,
        }),
        ..alert::TimelineStep::default()
    };
    let author = episode.evidence.first().cloned().unwrap_or_default();
    let contributor = alert::Contributor {
        kind: alert::ContributorKind::Author.into(),
        name: "bluesky::did:plc:dave".into(),
        handle: author.author_handle,
        posts: 3,
        ..alert::Contributor::default()
    };
    let steps = (0..12).map(|minute| step(minute, 0.06 * minute as f32)).collect();
    alert::Timeline { steps, opened_at_us: episode.opened_at_us, contributors: vec![contributor] }
}

/// The episode of the story.
pub fn episode_id() -> EpisodeId {
    EpisodeId::derive(&["guitar"])
}

/// The case of the story.
pub fn case_id() -> CaseId {
    CaseId::derive(&["guitar"])
}

#[tonic::async_trait]
impl AlertService for World {
    async fn list_episodes(
        &self,
        request: Request<alert::ListEpisodesRequest>,
    ) -> Result<Response<alert::ListEpisodesResponse>, Status> {
        let r = request.into_inner();
        let wanted: Vec<_> = r.states().collect();
        let is_wanted = |e: &&alert::Episode| match wanted.is_empty() {
            true => e.state() != alert::EpisodeState::Resolved,
            false => wanted.contains(&e.state()),
        };
        let found: Vec<_> = self.with(|s| {
            let found = s.episodes.iter().filter(is_wanted);
            found.filter(|e| r.brand.is_empty() || e.brand == r.brand).cloned().collect()
        });
        let (episodes, next_page_token) = page_of(found, r.limit, &r.page_token)?;
        Ok(Response::new(alert::ListEpisodesResponse { episodes, next_page_token }))
    }

    async fn get_episode(
        &self,
        request: Request<alert::GetEpisodeRequest>,
    ) -> Result<Response<alert::GetEpisodeResponse>, Status> {
        let episode = self.episode(&request.into_inner().episode_id)?;
        let (opened, since) = (episode.opened_at_us, episode.since_us);
        let event =
            |sequence, change: alert::EpisodeChange, at_us, by: &str, text: &str| alert::EpisodeEvent {
                sequence,
                change: change.into(),
                episode: None,
                at_us,
                by: by.into(),
                reason: Some(alert::Reason { text: text.into(), ..alert::Reason::default() }),
            };
        let history = vec![
            event(
                1,
                alert::EpisodeChange::Opened,
                opened,
                "",
                "the forecast passes 1,000 reactions before the next staffed hour",
            ),
            event(2, alert::EpisodeChange::Paged, opened + 2_000_000, "", "first notification"),
            event(
                3,
                alert::EpisodeChange::Grew,
                opened + 240_000_000,
                "",
                "expected size rose from 900 to 2,400",
            ),
        ];
        let delivery = |destination: &str, state: &str, error: &str| alert::Delivery {
            delivery_id: format!("d-{destination}"),
            destination: destination.into(),
            state: state.into(),
            attempts: if error.is_empty() { 1 } else { 4 },
            created_at_us: opened,
            sent_at_us: error.is_empty().then_some(opened + 1_000_000),
            last_error: error.into(),
            reason: "first_notification".into(),
        };
        let deliveries =
            vec![delivery("pager", "sent", ""), delivery("care-chat", "failed", "status 410, gone")];
        let _ = since;
        Ok(Response::new(alert::GetEpisodeResponse { episode: Some(episode), history, deliveries }))
    }

    async fn acknowledge(
        &self,
        request: Request<alert::AcknowledgeRequest>,
    ) -> Result<Response<alert::EpisodeReply>, Status> {
        let r = request.into_inner();
        self.did(format!(
            "acknowledge by {} for {} once {}",
            r.owner,
            r.expires_in_s,
            r.idempotency_key.len()
        ))?;
        self.with(|s| {
            for episode in s.episodes.iter_mut().filter(|e| e.episode_id == r.episode_id) {
                episode.state = alert::EpisodeState::Acknowledged.into();
                episode.owner.clone_from(&r.owner);
            }
        });
        Ok(Response::new(alert::EpisodeReply { episode: Some(self.episode(&r.episode_id)?) }))
    }

    async fn resolve(
        &self,
        request: Request<alert::ResolveRequest>,
    ) -> Result<Response<alert::EpisodeReply>, Status> {
        let r = request.into_inner();
        self.did(format!("resolve by {} useful {:?}", r.by, r.useful))?;
        Ok(Response::new(alert::EpisodeReply { episode: Some(self.episode(&r.episode_id)?) }))
    }

    async fn silence(
        &self,
        request: Request<alert::SilenceRequest>,
    ) -> Result<Response<alert::SilenceReply>, Status> {
        let r = request.into_inner();
        let m = r.matcher.clone().unwrap_or_default();
        self.did(format!(
            "silence brand '{}' topic '{}' rule '{}' subject '{}' for {} by {}: {}, until resolved {}",
            m.brand, m.topic, m.rule, m.subject, r.duration_s, r.by, r.comment, r.expires_on_resolve
        ))?;
        Ok(Response::new(alert::SilenceReply::default()))
    }

    async fn unsilence(
        &self,
        request: Request<alert::UnsilenceRequest>,
    ) -> Result<Response<alert::SilenceReply>, Status> {
        let r = request.into_inner();
        self.did(format!("unsilence {} by {}", r.silence_id, r.by))?;
        Ok(Response::new(alert::SilenceReply::default()))
    }

    async fn list_silences(
        &self,
        request: Request<alert::ListSilencesRequest>,
    ) -> Result<Response<alert::ListSilencesResponse>, Status> {
        let past = request.into_inner().include_past;
        let silences =
            self.with(|s| s.silences.iter().filter(|x| past || x.ends_at_us > s.now_us).cloned().collect());
        Ok(Response::new(alert::ListSilencesResponse { silences }))
    }

    async fn explain(
        &self,
        request: Request<alert::ExplainRequest>,
    ) -> Result<Response<alert::ExplainResponse>, Status> {
        let episode = self.episode(&request.into_inner().episode_id)?;
        let decision = |at_us, action: &str, text: &str, numbers: &[(&str, f64)]| alert::Decision {
            at_us,
            action: action.into(),
            reason: Some(alert::Reason {
                code: action.into(),
                text: text.into(),
                numbers: numbers.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect(),
            }),
        };
        let decisions = vec![
            decision(
                episode.since_us,
                "held_back",
                "a forecast, but too uncertain: the interval still reaches down to 40",
                &[("expected", 310.0), ("p_viral", 0.18), ("seen", 22.0)],
            ),
            decision(
                episode.opened_at_us,
                "paged",
                "likely to pass 1,000 reactions, and nobody is staffed for another six hours",
                &[("expected", 2_400.0), ("p_viral", 0.71), ("threshold", 0.5), ("doubling_s", 840.0)],
            ),
        ];
        let timeline = Some(timeline(&episode));
        Ok(Response::new(alert::ExplainResponse {
            episode: Some(episode),
            decisions,
            timeline,
            what_if: None,
        }))
    }

    type WatchStream = BoxStream<'static, Result<alert::WatchResponse, Status>>;

    async fn watch(&self, _: Request<alert::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("not on any page"))
    }

    async fn now(&self, request: Request<alert::NowRequest>) -> Result<Response<alert::NowResponse>, Status> {
        let brand = request.into_inner().brand;
        let mut now = self.with(|s| s.now.clone());
        now.rising.retain(|r| brand.is_empty() || r.brand == brand);
        Ok(Response::new(now))
    }
}

#[tonic::async_trait]
impl ResponseService for World {
    async fn list_cases(
        &self,
        request: Request<response::ListCasesRequest>,
    ) -> Result<Response<response::ListCasesResponse>, Status> {
        let r = request.into_inner();
        let wanted: Vec<_> = r.states().collect();
        let is_wanted = |c: &&response::Case| match wanted.is_empty() {
            true => c.state() != response::CaseState::Resolved,
            false => wanted.contains(&c.state()),
        };
        let found: Vec<_> = self.with(|s| {
            let found = s.cases.iter().filter(is_wanted);
            let found = found.filter(|c| r.brand.is_empty() || c.brand == r.brand);
            let found = found.filter(|c| r.assignee.is_empty() || c.assignee == r.assignee);
            let is_late =
                |c: &response::Case| c.clocks.iter().filter_map(|k| k.due_at_us).any(|at| at < s.now_us);
            found.filter(|c| !r.overdue_only || is_late(c)).cloned().collect()
        });
        let total = found.len() as u64;
        let (cases, next_page_token) = page_of(found, r.limit, &r.page_token)?;
        Ok(Response::new(response::ListCasesResponse { cases, next_page_token, total }))
    }

    async fn get_case(
        &self,
        request: Request<response::GetCaseRequest>,
    ) -> Result<Response<response::GetCaseResponse>, Status> {
        let case = self.case(&request.into_inner().case_id)?;
        let event =
            |sequence, change: response::CaseChange, at_us, by: &str, reason: &str| response::CaseEvent {
                sequence,
                change: change.into(),
                at_us,
                by: by.into(),
                reason: reason.into(),
                ..response::CaseEvent::default()
            };
        let opened = case.opened_at_us;
        let history = vec![
            event(1, response::CaseChange::Opened, opened, "", "a complaint about damage, severity 3"),
            event(
                2,
                response::CaseChange::Breached,
                opened + 3_600_000_000,
                "",
                "no first answer within an hour",
            ),
            event(
                3,
                response::CaseChange::CustomerSpoke,
                opened + 7_200_000_000,
                "",
                "asked again, in public",
            ),
        ];
        Ok(Response::new(response::GetCaseResponse { case: Some(case), history }))
    }

    async fn assign(
        &self,
        request: Request<response::AssignRequest>,
    ) -> Result<Response<response::CaseReply>, Status> {
        let r = request.into_inner();
        self.did(format!("assign to {} by {} at version {}", r.assignee, r.by, r.expected_version))?;
        self.case_reply(&r.case_id)
    }

    async fn record_reply(
        &self,
        request: Request<response::RecordReplyRequest>,
    ) -> Result<Response<response::CaseReply>, Status> {
        let r = request.into_inner();
        self.did(format!(
            "reply by {} public {} waits {}: {}",
            r.by, r.is_public, r.waits_for_customer, r.text
        ))?;
        self.case_reply(&r.case_id)
    }

    async fn promise(
        &self,
        request: Request<response::PromiseRequest>,
    ) -> Result<Response<response::CaseReply>, Status> {
        let r = request.into_inner();
        self.did(format!("promise by {} of {} due {}", r.by, r.what, r.due_at_us))?;
        self.case_reply(&r.case_id)
    }

    async fn keep(
        &self,
        request: Request<response::KeepRequest>,
    ) -> Result<Response<response::CaseReply>, Status> {
        let r = request.into_inner();
        self.did(format!("keep by {} of {} bytes", r.by, r.promise_id.len()))?;
        self.case_reply(&r.case_id)
    }

    async fn resolve(
        &self,
        request: Request<response::ResolveRequest>,
    ) -> Result<Response<response::CaseReply>, Status> {
        let r = request.into_inner();
        self.did(format!("settle by {} cause {}", r.by, r.root_cause))?;
        self.case_reply(&r.case_id)
    }

    async fn reopen(
        &self,
        request: Request<response::ReopenRequest>,
    ) -> Result<Response<response::CaseReply>, Status> {
        let r = request.into_inner();
        self.did(format!("reopen by {}", r.by))?;
        self.case_reply(&r.case_id)
    }

    type WatchStream = BoxStream<'static, Result<response::WatchResponse, Status>>;

    async fn watch(&self, _: Request<response::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("not on any page"))
    }

    async fn report(
        &self,
        _: Request<response::ReportRequest>,
    ) -> Result<Response<response::ReportResponse>, Status> {
        Err(Status::unimplemented("not on any page"))
    }
}

#[tonic::async_trait]
impl IngestService for World {
    async fn publish(
        &self,
        _: Request<ingest::PublishRequest>,
    ) -> Result<Response<ingest::PublishResponse>, Status> {
        Err(Status::unimplemented("not on any page"))
    }

    type PublishStreamStream = BoxStream<'static, Result<ingest::PublishResponse, Status>>;

    async fn publish_stream(
        &self,
        _: Request<Streaming<ingest::PublishRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        Err(Status::unimplemented("not on any page"))
    }

    async fn list_coverage(
        &self,
        _: Request<ingest::ListCoverageRequest>,
    ) -> Result<Response<ingest::ListCoverageResponse>, Status> {
        Ok(Response::new(ingest::ListCoverageResponse { coverage: self.with(|s| s.coverage.clone()) }))
    }
}

fn story(now: Timestamp) -> State {
    let ago = |minutes: i64| now.plus_millis(-minutes * 60_000).as_micros();
    let said = |name: &str, minutes: i64, severity: u32, excerpt: &str| alert::Evidence {
        mention_id: contracts::id(MentionId::derive(&[name]).as_bytes()),
        excerpt: excerpt.into(),
        author_handle: name.into(),
        permalink: format!("https://social.example/@{name}/1"),
        at_us: ago(minutes),
        severity,
        complaint: 0.9,
        author_key: String::new(),
    };
    let evidence = vec![
        said(
            "davec_music",
            64,
            3,
            "They threw my guitar off the plane, I watched it from the window. Four hours in your chat and nobody answers. So I wrote a song.",
        ),
        said(
            "luthier_nina",
            21,
            2,
            "This is what they did to his Taylor. Share it until somebody there wakes up.",
        ),
        said(
            "marco.b",
            9,
            3,
            "Stessa storia con la mia valigia, @acmeair: tre mesi di silenzio, poi un modulo. Vergogna.",
        ),
    ];
    let forecast = alert::Forecast {
        seen: 128,
        expected_final: 2_400.0,
        low: 900.0,
        high: 6_100.0,
        p_viral: 0.71,
        viral_size: 1_000,
        doubling_s: Some(840.0),
        expected_next_staffed: 1_900.0,
        answer_within_s: Some(1_320.0),
    };
    let thread = alert::Episode {
        episode_id: contracts::id(episode_id().as_bytes()),
        version: 4,
        rule: "spreading-thread".into(),
        subject: format!("thread/acmeair/{}", MentionId::derive(&["davec_music"])),
        brand: "acmeair".into(),
        trigger: alert::Trigger::SpreadingThread.into(),
        state: alert::EpisodeState::Firing.into(),
        urgency: alert::Urgency::Page.into(),
        title: "A broken guitar is about to reach thousands".into(),
        opened_at_us: ago(18),
        changed_at_us: ago(3),
        since_us: ago(41),
        surprise: 5.2,
        surprise_max: 5.9,
        posts: 131,
        people: 124,
        severity: 3,
        forecast: Some(forecast),
        evidence: evidence.clone(),
        dedup_key: "k1".into(),
        ..alert::Episode::default()
    };
    let delays = alert::Episode {
        episode_id: contracts::id(EpisodeId::derive(&["delay"]).as_bytes()),
        rule: "rising-topic".into(),
        subject: "topic/acmeair/delay".into(),
        topic: "delay".into(),
        trigger: alert::Trigger::RisingSubject.into(),
        state: alert::EpisodeState::Acknowledged.into(),
        urgency: alert::Urgency::Ticket.into(),
        title: "Complaints about delays, eleven times the usual rate".into(),
        since_us: ago(96),
        posts: 412,
        people: 371,
        severity: 2,
        forecast: None,
        owner: "Anna Keller".into(),
        ack_expires_at_us: Some(ago(-25)),
        ..thread.clone()
    };
    let over = alert::Episode {
        episode_id: contracts::id(EpisodeId::derive(&["login"]).as_bytes()),
        brand: "northbank".into(),
        subject: "topic/northbank/app-login".into(),
        topic: "app-login".into(),
        state: alert::EpisodeState::Resolved.into(),
        title: "Nobody could sign in for half an hour".into(),
        since_us: ago(600),
        resolved_at_us: Some(ago(560)),
        owner: String::new(),
        ack_expires_at_us: None,
        ..delays.clone()
    };
    let silence = |id: &str, brand: &str, topic: &str, from: i64, to: i64, comment: &str| alert::Silence {
        silence_id: id.into(),
        matcher: Some(alert::SilenceMatcher {
            brand: brand.into(),
            topic: topic.into(),
            ..alert::SilenceMatcher::default()
        }),
        starts_at_us: ago(from),
        ends_at_us: ago(to),
        created_by: "Mira".into(),
        comment: comment.into(),
        expires_on_resolve: false,
    };
    let rising = |topic: &str, brand: &str, surprise: f64, posts: u64, words: &str| alert::Rising {
        subject: format!("topic/{brand}/{topic}"),
        brand: brand.into(),
        topic: topic.into(),
        surprise,
        posts,
        people: posts * 9 / 10,
        words: words.into(),
        ..alert::Rising::default()
    };
    let mut guitar = rising("", "acmeair", 5.2, 131, "");
    guitar.forecast = Some(forecast);
    guitar.episode_id = thread.episode_id.clone();
    guitar.excerpt = evidence[0].excerpt.clone();
    State {
        now: alert::NowResponse {
            at_us: now.as_micros(),
            rising: vec![
                guitar,
                rising("delay", "acmeair", 4.1, 412, "eleven times the usual rate for a Sunday night"),
                rising("app-login", "northbank", 2.4, 36, "began three minutes after a deploy"),
                rising("refund", "acmeair", 1.2, 19, ""),
            ],
            said: vec![
                said("yuki_travels", 1, 2, "アクメ航空、3時間遅れて説明もなし。子どもが泣いている。"),
                evidence[2].clone(),
                said(
                    "petrov.k",
                    11,
                    3,
                    "Деньги списали дважды, поддержка молчит вторую неделю. Пойду в суд.",
                ),
                said("sam_on_rails", 14, 1, "Gate changed twice and the app still shows the old one."),
                evidence[1].clone(),
                said("layla", 25, 2, "الحقيبة ضاعت منذ أسبوع ولا أحد يرد"),
                said("nobody", 31, 4, "<script>alert('you')</script> & <b>never again</b>"),
            ],
            posts_last_hour: 1_204,
            complaints_last_hour: 187,
            posts_total: 48_310,
            unheard: Vec::new(),
        },
        episodes: vec![thread, delays, over],
        silences: vec![
            silence("s-outage", "northbank", "outage", 30, -90, "known, fix at nine <b>sharp</b>"),
            silence("s-old", "acmeair", "", 2_000, 1_500, "drill"),
        ],
        now_us: now.as_micros(),
        cases: cases(now),
        coverage: vec![
            source("bluesky", ingest::CoverageState::Live, ago(600), ""),
            source("care-desk", ingest::CoverageState::Live, ago(4_000), ""),
            source("reviews", ingest::CoverageState::CatchingUp, ago(4), "12 minutes behind"),
            source("mastodon", ingest::CoverageState::Gap, ago(17), "connection lost"),
        ],
        done: Vec::new(),
        refuse: None,
    }
}

fn source(name: &str, state: ingest::CoverageState, since_us: i64, detail: &str) -> ingest::Coverage {
    ingest::Coverage {
        connector: name.into(),
        watermark_us: since_us,
        state: state.into(),
        since_us,
        detail: detail.into(),
    }
}

fn cases(now: Timestamp) -> Vec<response::Case> {
    let at = |minutes: i64| now.plus_millis(-minutes * 60_000).as_micros();
    let clock = |kind: response::ClockKind,
                 side: response::ClockSide,
                 state: response::ClockState,
                 due: Option<i64>,
                 elapsed: i64,
                 target: i64| {
        response::Clock {
            kind: kind.into(),
            side: side.into(),
            state: state.into(),
            started_at_us: at(245),
            due_at_us: due,
            ended_at_us: None,
            elapsed_ms: elapsed * 60_000,
            target_ms: target * 60_000,
            was_breached: false,
        }
    };
    use response::{ClockKind, ClockSide, ClockState};
    let message =
        |side: &str, author: &str, minutes: i64, is_public: bool, text: &str| response::CaseMessage {
            mention_id: contracts::id(MentionId::derive(&[author, text]).as_bytes()),
            side: side.into(),
            text: text.into(),
            author: author.into(),
            permalink: if is_public { format!("https://social.example/@{author}/2") } else { String::new() },
            at_us: at(minutes),
            is_public,
            is_automatic: side == "brand" && minutes > 240,
        };
    let guitar = response::Case {
        case_id: contracts::id(case_id().as_bytes()),
        version: 7,
        brand: "acmeair".into(),
        topic: "damage".into(),
        customer_key: "bluesky-jetstream::did:plc:dave".into(),
        customer_handle: "davec_music".into(),
        state: response::CaseState::New.into(),
        severity: 3,
        opened_at_us: at(245),
        changed_at_us: at(3),
        waiting_since_us: Some(at(245)),
        clocks: vec![
            clock(ClockKind::FirstAnswer, ClockSide::Customer, ClockState::Breached, Some(at(185)), 245, 60),
            clock(ClockKind::FirstAnswer, ClockSide::Contract, ClockState::Running, Some(at(-22)), 98, 120),
            clock(ClockKind::FirstAnswer, ClockSide::Team, ClockState::Paused, None, 30, 120),
            clock(
                ClockKind::Resolution,
                ClockSide::Customer,
                ClockState::Running,
                Some(at(-2_635)),
                245,
                2_880,
            ),
        ],
        promises: vec![response::Promise {
            promise_id: contracts::id(PromiseId::derive(&["refund"]).as_bytes()),
            what: "a repair estimate".into(),
            owner: "Jonas".into(),
            made_at_us: at(200),
            due_at_us: at(-90),
            state: response::PromiseState::Open.into(),
            ..response::Promise::default()
        }],
        messages: vec![
            message(
                "customer",
                "davec_music",
                245,
                false,
                "Hello, my guitar was in row 12's hold and came out with a broken neck. What do I do now?",
            ),
            message(
                "brand",
                "acmeair",
                244,
                false,
                "Thank you for your message! We will get back to you as soon as we can.",
            ),
            message(
                "customer",
                "davec_music",
                64,
                true,
                "They threw my guitar off the plane, I watched it from the window. Four hours in your chat and nobody answers. So I wrote a song.",
            ),
        ],
        ..response::Case::default()
    };
    let other =
        |name: &str, brand: &str, topic: &str, waited: i64, severity: u32, assignee: &str, text: &str| {
            response::Case {
                case_id: contracts::id(CaseId::derive(&[name]).as_bytes()),
                brand: brand.into(),
                topic: topic.into(),
                customer_handle: name.into(),
                severity,
                assignee: assignee.into(),
                waiting_since_us: Some(at(waited)),
                clocks: vec![clock(
                    ClockKind::FirstAnswer,
                    ClockSide::Customer,
                    ClockState::Running,
                    Some(at(waited - 60)),
                    waited,
                    60,
                )],
                messages: vec![message("customer", name, waited, true, text)],
                ..guitar.clone()
            }
        };
    let settled = response::Case {
        state: response::CaseState::Resolved.into(),
        waiting_since_us: None,
        won_back_at_us: Some(at(30)),
        resolution: "won_back".into(),
        changed_at_us: at(30),
        ..other("eva_l", "acmeair", "refund", 900, 2, "Jonas", "Refund arrived, thank you for calling me.")
    };
    vec![
        guitar.clone(),
        other(
            "petrov.k",
            "northbank",
            "billing",
            121,
            3,
            "Mira",
            "Деньги списали дважды, поддержка молчит вторую неделю.",
        ),
        other(
            "sam_on_rails",
            "acmeair",
            "app-login",
            14,
            1,
            "",
            "Gate changed twice and the app still shows the old one.",
        ),
        other("layla", "acmeair", "baggage", 25, 2, "", "الحقيبة ضاعت منذ أسبوع ولا أحد يرد"),
        response::Case {
            waiting_since_us: None,
            state: response::CaseState::Waiting.into(),
            ..other("tom_w", "acmeair", "seat", 300, 1, "Mira", "Thanks, I will look.")
        },
        settled,
    ]
}
