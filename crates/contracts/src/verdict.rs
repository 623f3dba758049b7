use model::{
    Invalid, Language, Probability, ReplyActs, Sentiment, Severity, SeverityEstimate, Signals, Topic,
    TopicScore, Verdict, Why,
};

use crate::classify::v1 as wire;
use crate::mention::missing;

impl From<&Verdict> for wire::Verdict {
    fn from(verdict: &Verdict) -> Self {
        verdict.clone().into()
    }
}

impl From<Verdict> for wire::Verdict {
    fn from(verdict: Verdict) -> Self {
        let Verdict { sentiment, severity, signals, reply, .. } = verdict;
        Self {
            language: verdict.language.as_str().to_owned(),
            sentiment: Some(wire::Sentiment {
                negative: sentiment.negative.get(),
                neutral: sentiment.neutral.get(),
                positive: sentiment.positive.get(),
            }),
            complaint: verdict.complaint.get(),
            severity: Some(wire::Severity {
                level: severity.level.level().into(),
                probabilities: severity.probabilities.map(Probability::get).to_vec(),
            }),
            arousal: verdict.arousal.get(),
            topics: verdict
                .topics
                .iter()
                .map(|t| wire::TopicScore {
                    name: t.topic.as_str().to_owned(),
                    probability: t.probability.get(),
                })
                .collect(),
            signals: Some(wire::Signals {
                spam: signals.spam.get(),
                thanks: signals.thanks.get(),
                won_back: signals.won_back.get(),
                threat_leave: signals.threat_leave.get(),
                threat_sue: signals.threat_sue.get(),
                threat_publish: signals.threat_publish.get(),
                unanswered: signals.unanswered.get(),
            }),
            reply: Some(wire::ReplyActs {
                apology: reply.apology.get(),
                explanation: reply.explanation.get(),
                offer: reply.offer.get(),
                channel_move: reply.channel_move.get(),
            }),
            sure: verdict.sure,
            why: verdict.why.into_iter().map(|w| wire::Why { text: w.text, weight: w.weight }).collect(),
            model_version: verdict.model_version.as_ref().into(),
        }
    }
}

impl TryFrom<wire::Verdict> for Verdict {
    type Error = Invalid;

    /// Refuses numbers that are no probabilities and estimates that are missing, by name.
    fn try_from(verdict: wire::Verdict) -> Result<Self, Invalid> {
        let sentiment = verdict.sentiment.ok_or_else(|| missing("sentiment"))?;
        let signals = verdict.signals.unwrap_or_default();
        let reply = verdict.reply.unwrap_or_default();
        Ok(Self {
            language: Language::parse(&verdict.language)?,
            sentiment: Sentiment {
                negative: p("sentiment.negative", sentiment.negative)?,
                neutral: p("sentiment.neutral", sentiment.neutral)?,
                positive: p("sentiment.positive", sentiment.positive)?,
            },
            complaint: p("complaint", verdict.complaint)?,
            severity: verdict.severity.ok_or_else(|| missing("severity"))?.try_into()?,
            arousal: p("arousal", verdict.arousal)?,
            topics: verdict.topics.into_iter().map(TopicScore::try_from).collect::<Result<_, _>>()?,
            signals: Signals {
                spam: p("signals.spam", signals.spam)?,
                thanks: p("signals.thanks", signals.thanks)?,
                won_back: p("signals.won_back", signals.won_back)?,
                threat_leave: p("signals.threat_leave", signals.threat_leave)?,
                threat_sue: p("signals.threat_sue", signals.threat_sue)?,
                threat_publish: p("signals.threat_publish", signals.threat_publish)?,
                unanswered: p("signals.unanswered", signals.unanswered)?,
            },
            reply: ReplyActs {
                apology: p("reply.apology", reply.apology)?,
                explanation: p("reply.explanation", reply.explanation)?,
                offer: p("reply.offer", reply.offer)?,
                channel_move: p("reply.channel_move", reply.channel_move)?,
            },
            sure: verdict.sure,
            why: verdict.why.into_iter().map(|w| Why { text: w.text, weight: w.weight }).collect(),
            model_version: verdict.model_version.into(),
        })
    }
}

impl TryFrom<wire::Severity> for SeverityEstimate {
    type Error = Invalid;

    fn try_from(severity: wire::Severity) -> Result<Self, Invalid> {
        let level = Severity::from_level(severity.level)?;
        if severity.probabilities.len() != Severity::ALL.len() {
            let found = severity.probabilities.len();
            return Err(Invalid::new("severity.probabilities", format!("needs 5 numbers, has {found}")));
        }
        let mut probabilities = [Probability::ZERO; 5];
        for (slot, value) in probabilities.iter_mut().zip(severity.probabilities) {
            *slot = p("severity.probabilities", value)?;
        }
        Ok(Self { level, probabilities })
    }
}

impl TryFrom<wire::TopicScore> for TopicScore {
    type Error = Invalid;

    fn try_from(score: wire::TopicScore) -> Result<Self, Invalid> {
        Ok(Self {
            topic: Topic::parse(&score.name)?,
            probability: p("topics.probability", score.probability)?,
        })
    }
}

fn p(field: &'static str, value: f32) -> Result<Probability, Invalid> {
    Probability::new(value).map_err(|e| Invalid::new(field, e.problem))
}
