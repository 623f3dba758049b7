use std::pin::Pin;
use std::sync::Arc;

use bus::{Outgoing, Publisher, Record, Topic};
use contracts::classify::v1 as wire;
use contracts::classify::v1::classify_service_server::ClassifyService;
use contracts::envelope;
use futures::{Stream, StreamExt as _};
use model::{EventId, Language, MentionId, SourceKind};
use runtime::Clock;
use tonic::{Request, Response, Status, Streaming};

use crate::engine::Engine;

/// Texts longer than this are understood on a thread of their own, in bytes; all are, where there is a second stage.
const INLINE_BYTES_MAX: usize = 2_048;
/// Most reasons a caller may ask for.
const WHY_MAX: u32 = 16;
/// The longest `by` and `text` of a correction, in bytes.
const BY_BYTES_MAX: usize = 256;

/// The gRPC face of classify.
pub(crate) struct Service {
    pub engine: Engine,
    pub publisher: Arc<dyn Publisher>,
    pub clock: Arc<dyn Clock>,
    pub stream_ahead_max: usize,
}

async fn classify(engine: &Engine, request: wire::ClassifyRequest) -> Result<wire::ClassifyResponse, Status> {
    let source: Option<SourceKind> = match request.source_kind.as_str() {
        "" => None,
        name => Some(name.parse().map_err(|e: model::Invalid| Status::invalid_argument(e.to_string()))?),
    };
    if request.why_max > WHY_MAX {
        return Err(Status::invalid_argument(format!("why_max: needs 0 to {WHY_MAX}")));
    }
    let wire::ClassifyRequest { id, text, language_claimed, why_max, .. } = request;
    let engine = engine.clone();
    let takes_long = text.len() > INLINE_BYTES_MAX || engine.has_second_stage();
    let understand = move || {
        let claimed = Some(language_claimed.as_str()).filter(|tag| !tag.is_empty());
        engine.understand(&text, source, claimed, why_max as usize)
    };
    let verdict = if takes_long {
        tokio::task::spawn_blocking(understand)
            .await
            .map_err(|_| Status::internal("classifying broke off"))?
    } else {
        understand()
    };
    Ok(wire::ClassifyResponse { id, verdict: Some(wire::Verdict::from(verdict)) })
}

#[tonic::async_trait]
impl ClassifyService for Service {
    async fn classify(
        &self,
        request: Request<wire::ClassifyRequest>,
    ) -> Result<Response<wire::ClassifyResponse>, Status> {
        classify(&self.engine, request.into_inner()).await.map(Response::new)
    }

    type ClassifyStreamStream = Pin<Box<dyn Stream<Item = Result<wire::ClassifyResponse, Status>> + Send>>;

    async fn classify_stream(
        &self,
        request: Request<Streaming<wire::ClassifyRequest>>,
    ) -> Result<Response<Self::ClassifyStreamStream>, Status> {
        let engine = self.engine.clone();
        let answers = request
            .into_inner()
            .map(move |request| {
                let engine = engine.clone();
                async move { classify(&engine, request?).await }
            })
            .buffered(self.stream_ahead_max);
        Ok(Response::new(Box::pin(answers)))
    }

    async fn correct(
        &self,
        request: Request<wire::CorrectRequest>,
    ) -> Result<Response<wire::CorrectResponse>, Status> {
        let refused = |e: model::Invalid| Status::invalid_argument(e.to_string());
        let mut feedback =
            request.into_inner().feedback.ok_or_else(|| Status::invalid_argument("feedback: is missing"))?;
        let mention = MentionId::from_slice(&feedback.mention_id).map_err(refused)?;
        check(&feedback).map_err(refused)?;
        let now = self.clock.now();
        if feedback.at_us == 0 {
            feedback.at_us = now.as_micros();
        }
        feedback.text.truncate(feedback.text.floor_char_boundary(model::TEXT_BYTES_MAX));
        // The same correction by the same person at the same time is the same event.
        let id = EventId::derive(&[&mention.to_string(), &feedback.by, &feedback.at_us.to_string()]);
        let sealed = envelope::seal(&id.to_string(), "redress/classify", now, &feedback);
        let headers = sealed.headers.into_iter().collect();
        let key = contracts::id(mention.as_bytes());
        let record = Record { key, value: Some(sealed.value), headers, at: now };
        let outgoing = Outgoing { topic: Topic::Feedback, partition: None, record };
        let results =
            self.publisher.publish(vec![outgoing]).await.map_err(|e| Status::unavailable(e.to_string()))?;
        for result in results {
            result.map_err(|refused| Status::resource_exhausted(refused.to_string()))?;
        }
        Ok(Response::new(wire::CorrectResponse {}))
    }
}

/// A correction must say who speaks, and correct something to a value that exists.
fn check(feedback: &wire::Feedback) -> Result<(), model::Invalid> {
    use model::Invalid;
    if feedback.by.is_empty() || feedback.by.len() > BY_BYTES_MAX {
        return Err(Invalid::new("feedback.by", format!("needs 1 to {BY_BYTES_MAX} bytes")));
    }
    if !matches!(feedback.episode_id.len(), 0 | 16) {
        return Err(Invalid::new("feedback.episode_id", "needs 16 bytes or none"));
    }
    if let Some(level) = feedback.severity {
        model::Severity::from_level(level)?;
    }
    if let Some(sentiment) = &feedback.sentiment
        && !["negative", "neutral", "positive"].contains(&sentiment.as_str())
    {
        return Err(Invalid::new("feedback.sentiment", "needs negative, neutral or positive"));
    }
    if let Some(topic) = &feedback.topic {
        model::Topic::parse(topic)?;
    }
    if let Some(language) = &feedback.language {
        Language::parse(language)?;
    }
    let says_something = feedback.complaint.is_some()
        || feedback.severity.is_some()
        || feedback.sentiment.is_some()
        || feedback.topic.is_some()
        || feedback.language.is_some()
        || feedback.useful.is_some();
    if says_something { Ok(()) } else { Err(Invalid::new("feedback", "corrects nothing")) }
}
