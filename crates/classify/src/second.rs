use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use model::Verdict;
use nlp::{Budget, SecondStage, Understanding, second};
use tracing::{info, warn};
use transformer::{Error, Settings, Transformer};

use crate::metrics::SecondMetrics;
use crate::understand::{Reader, Understood};

/// A second stage of whatever kind.
pub(crate) type Stage = dyn SecondStage<Error = Error> + Send;

/// A text that was not surely understood.
#[derive(Debug)]
pub(crate) struct Doubt {
    text: String,
    understood: Understood,
    /// The version of the second stage that had its say.
    looked_again: Option<Arc<str>>,
}

impl Doubt {
    pub(crate) fn new(text: String, understood: Understood) -> Self {
        Self { text, understood, looked_again: None }
    }

    /// The verdict, and in its model's version whether a second stage had its say.
    pub(crate) fn verdict(self, reader: &Reader) -> Verdict {
        let mut verdict = reader.verdict(self.understood);
        if let Some(version) = self.looked_again {
            verdict.model_version = format!("{}+second:{version}", verdict.model_version).into();
        }
        verdict
    }
}

/// A second stage and what it may still do.
pub(crate) struct SecondLook {
    stage: Box<Stage>,
    version: Arc<str>,
    budget: Budget,
    earned_at: Option<Instant>,
    is_failing: bool,
    metrics: SecondMetrics,
}

impl SecondLook {
    /// Loads the user's files.
    pub(crate) fn open(settings: &Settings) -> anyhow::Result<Self> {
        let stage = Transformer::open(settings).context("classify.second_stage")?;
        info!(version = stage.version(), "second stage in use");
        let version = stage.version().into();
        Ok(Self::new(Box::new(stage), version, settings.budget()))
    }

    pub(crate) fn new(stage: Box<Stage>, version: Arc<str>, budget: Budget) -> Self {
        Self { stage, version, budget, earned_at: None, is_failing: false, metrics: SecondMetrics::new() }
    }

    /// Looks again at as many of `unsure`, out of `posts` posts, as the budget of this moment allows. When
    /// that fails all first answers stay: a second stage makes answers better and must never cost one.
    pub(crate) fn refine(&mut self, at: Instant, posts: usize, unsure: &mut [&mut Doubt]) {
        let since = self.earned_at.replace(at);
        self.budget.earn(since.map_or(0.0, |since| at.duration_since(since).as_secs_f64()));
        self.budget.see(posts);
        let texts: Vec<&str> = unsure.iter().map(|u| u.text.as_str()).collect();
        let mut answers: Vec<Understanding> = unsure.iter().map(|u| u.understood.found).collect();
        let began = Instant::now();
        // The runtime is other people's code over files of yet others: a panic of it would come back with
        // the same posts after every restart.
        let looked = catch_unwind(AssertUnwindSafe(|| {
            second::refine(&mut *self.stage, &mut self.budget, &texts, &mut answers)
        }));
        let failure = match looked {
            Ok(Ok(reached)) => {
                self.metrics.looked(reached.len(), unsure.len() - reached.len(), began.elapsed());
                for at in reached {
                    unsure[at].understood.found = answers[at];
                    unsure[at].looked_again = Some(self.version.clone());
                }
                None
            }
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("it panicked".to_owned()),
        };
        self.tell(failure, unsure.len());
    }

    /// Says once that it fails, and once that it works again.
    fn tell(&mut self, failure: Option<String>, unsure: usize) {
        match failure {
            Some(error) => {
                self.metrics.failed(unsure);
                if !self.is_failing {
                    warn!(%error, "second stage fails, first answers stay");
                }
                self.is_failing = true;
            }
            None => {
                if std::mem::take(&mut self.is_failing) {
                    info!("second stage works again");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nlp::Scratch;

    use super::*;
    use crate::Config;
    use crate::engine::Engine;
    use crate::step::{Answer, Begun, begin, sealed_at};
    use crate::testing::{created, received};
    use crate::understand::WhyPolicy;
    use contracts::classify::v1::VerdictEvent;
    use contracts::{Classified, envelope};
    use model::Timestamp;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
    const SURE: &str = "I love it, thank you, great service!";

    /// A text the shipped model is not sure of, whichever model that is.
    fn unsure() -> String {
        const WORDS: [&str; 6] = ["good", "bad", "late", "nice", "broken", "ok"];
        let mut scratch = Scratch::default();
        let mut pairs = WORDS.iter().flat_map(|a| WORDS.iter().map(move |b| format!("{a} but {b}")));
        let is_unsure =
            |text: &String| !nlp::Model::shipped().understand(&mut scratch, text, nlp::Hint::default()).sure;
        pairs.find(is_unsure).expect("no model is sure of everything")
    }

    /// Says "positive" to everything it is asked, or fails in one of two ways.
    enum Fake {
        Answers,
        Fails,
        Panics,
    }

    impl SecondStage for Fake {
        type Error = Error;
        fn look_again(&mut self, texts: &[(&str, Understanding)]) -> Result<Vec<Understanding>, Error> {
            match self {
                Fake::Answers => {
                    let better =
                        |first: &Understanding| Understanding { sentiment: [0.0, 0.0, 1.0], ..*first };
                    Ok(texts.iter().map(|(_, first)| better(first)).collect())
                }
                Fake::Fails => Err(Error::Answer("as asked".into())),
                Fake::Panics => panic!("as asked"),
            }
        }
    }

    fn second(stage: Fake, share: f64) -> SecondLook {
        SecondLook::new(Box::new(stage), "v2".into(), Budget::of_share(share))
    }

    fn verdicts(texts: &[&str], second: &mut SecondLook) -> Vec<Verdict> {
        let reader = Reader::built_in();
        let begin = |text: &&str| {
            let record = received(0, 0, &created(text, text));
            begin(
                &reader,
                &mut Scratch::default(),
                &record,
                &sealed_at(NOW),
                WhyPolicy { from: 0.5, max: 4 },
                true,
            )
        };
        let mut begun: Vec<Begun> = texts.iter().map(begin).collect();
        let mut unsure: Vec<&mut Doubt> = begun.iter_mut().filter_map(Begun::doubt).collect();
        second.refine(Instant::now(), texts.len(), &mut unsure);
        let opened = |begun: Begun| {
            let Answer::Verdict { verdict, .. } = begun.end(&reader, &sealed_at(NOW)) else {
                panic!("no verdict")
            };
            let ce_type = verdict.record.headers.text("ce_type");
            let event: VerdictEvent = envelope::open(ce_type, verdict.record.value.as_ref()).unwrap();
            Classified::try_from(event).unwrap().verdict.unwrap()
        };
        begun.into_iter().map(opened).collect()
    }

    #[test]
    fn unsure_posts_get_the_second_answer_and_its_version_sure_ones_keep_the_first() {
        let [sure, unsure] =
            verdicts(&[SURE, &unsure()], &mut second(Fake::Answers, 1.0)).try_into().unwrap();
        assert!(sure.sure && !sure.model_version.contains("second"));
        assert_eq!(unsure.sentiment.positive.get(), 1.0);
        assert_eq!(*unsure.model_version, format!("{}+second:v2", sure.model_version));
    }

    #[test]
    fn a_question_over_grpc_gets_a_second_look_where_it_is_needed_and_in_the_budget() {
        let unsure = unsure();
        let versions = |share: f64| {
            let second = second(Fake::Answers, share);
            let engine = Engine::with_second(&Config::default(), Some(second)).unwrap();
            [SURE, &unsure].map(|text| engine.understand(text, None, None, 0).model_version)
        };
        let [sure, looked_again] = versions(1.0);
        assert_eq!(looked_again, format!("{sure}+second:v2").into());
        assert_eq!(versions(0.0), [sure.clone(), sure]);
    }

    #[test]
    fn a_share_of_all_posts_is_not_passed() {
        let unsure = unsure();
        let texts: Vec<&str> = [SURE; 6].into_iter().chain([unsure.as_str(); 4]).collect();
        let mut second = second(Fake::Answers, 0.2);
        let again =
            verdicts(&texts, &mut second).iter().filter(|v| v.model_version.contains("second")).count();
        assert_eq!(again, 2);
    }

    #[test]
    fn a_failing_or_panicking_second_stage_costs_nothing() {
        let unsure = unsure();
        let texts = [SURE, &unsure];
        let whole = verdicts(&texts, &mut second(Fake::Answers, 0.0));
        for fake in [Fake::Fails, Fake::Panics] {
            let mut second = second(fake, 1.0);
            assert_eq!(verdicts(&texts, &mut second), whole);
            assert!(second.is_failing);
            second.stage = Box::new(Fake::Answers);
            assert_ne!(verdicts(&texts, &mut second), whole);
            assert!(!second.is_failing);
        }
    }

    #[test]
    fn posts_a_second_are_earned_by_time() {
        let mut second = SecondLook::new(Box::new(Fake::Answers), "v2".into(), Budget::new(2.0, 10.0));
        let start = Instant::now();
        second.refine(start, 0, &mut []);
        assert_eq!(second.budget.choose(&[]).len(), 0);
        second.refine(start + std::time::Duration::from_millis(1_500), 0, &mut []);
        let unsure = Understanding {
            sure: false,
            ..nlp::Model::shipped().understand(&mut Scratch::default(), "", nlp::Hint::default())
        };
        assert_eq!(second.budget.choose(&[unsure; 9]).len(), 3);
    }
}
