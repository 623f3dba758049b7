//! What people said about the pages that really went out: whether they were of use, or at least taken.

use std::collections::BTreeMap;

use bus::{Partition, Reader, Received, Topic};
use contracts::alert::v1::EpisodeEvent;
use contracts::classify::v1::Feedback;
use contracts::envelope::{self, CE_TYPE};
use model::Timestamp;

use super::entry::Span;

/// Records read at once.
const PAGE: usize = 1_000;
/// Episodes that are remembered; the oldest are let go.
const EPISODES_MAX: usize = 100_000;

/// One episode that really was.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) rule: String,
    pub(super) span: Span,
    pub(super) title: String,
    /// Was it of use? Nobody said: `None`.
    pub(super) useful: Option<bool>,
    /// Somebody took it or ended it.
    pub(super) was_taken: bool,
}

/// The episodes that really were, by rule and subject, and what people said of them.
#[derive(Debug, Default)]
pub(super) struct Judged {
    of: BTreeMap<(String, String), Vec<Known>>,
}

impl Judged {
    /// Reads the alerts and feedback topics, where there are such.
    ///
    /// # Errors
    /// When the log fails.
    pub(super) async fn read(reader: &dyn Reader) -> anyhow::Result<Self> {
        let mut episodes: BTreeMap<(i64, Vec<u8>), Known> = BTreeMap::new();
        let mut opened: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
        each(reader, Topic::Alerts, |received| {
            let Some(event) = open::<EpisodeEvent>(received) else { return };
            let is_by_person = !event.by.is_empty();
            let Some(episode) = event.episode else { return };
            let id = (episode.opened_at_us, episode.episode_id.to_vec());
            let span = Span {
                subject: episode.subject,
                from: Timestamp::from_micros(episode.opened_at_us),
                to: episode.resolved_at_us.map(Timestamp::from_micros),
            };
            let was_taken = is_by_person || !episode.owner.is_empty();
            let known = Known { rule: episode.rule, span, title: episode.title, useful: None, was_taken };
            opened.insert(id.1.clone(), id.0);
            let before = episodes.insert(id.clone(), known);
            if before.is_some_and(|known| known.was_taken)
                && let Some(known) = episodes.get_mut(&id)
            {
                known.was_taken = true;
            }
            if episodes.len() > EPISODES_MAX
                && let Some(((_, id), _)) = episodes.pop_first()
            {
                opened.remove(&id);
            }
        })
        .await?;
        let mut said: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
        each(reader, Topic::Feedback, |received| {
            let Some(feedback) = open::<Feedback>(received) else { return };
            let (Some(useful), id) = (feedback.useful, feedback.episode_id.to_vec()) else { return };
            let Some(at) = opened.get(&id) else { return };
            // The last word counts.
            let last = said.entry(id.clone()).or_insert(i64::MIN);
            if feedback.at_us >= *last
                && let Some(known) = episodes.get_mut(&(*at, id))
            {
                *last = feedback.at_us;
                known.useful = Some(useful);
            }
        })
        .await?;
        let mut judged = Self::default();
        for known in episodes.into_values() {
            let same = (known.rule.clone(), known.span.subject.clone());
            judged.of.entry(same).or_default().push(known);
        }
        Ok(judged)
    }

    /// The episode that really was when a page about the same would have gone out: one that somebody judged
    /// before one that nobody did.
    pub(super) fn about(&self, rule: &str, subject: &str, at: Timestamp) -> Option<&Known> {
        let known = self.of.get(&(rule.to_owned(), subject.to_owned()))?;
        let page = Span { subject: subject.to_owned(), from: at, to: Some(at) };
        let same = known.iter().filter(|known| known.span.is_same_matter(&page));
        same.max_by_key(|known| (known.useful.is_some(), known.was_taken, known.span.from))
    }

    /// Every episode that opened in `from..to`, by rule and subject.
    pub(super) fn within(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = &Known> {
        self.of.values().flatten().filter(move |known| known.span.from >= from && known.span.from < to)
    }
}

fn open<M: prost::Message + prost::Name + Default>(received: &Received) -> Option<M> {
    envelope::open(received.record.headers.text(CE_TYPE), received.record.value.as_ref()).ok()
}

async fn each(reader: &dyn Reader, topic: Topic, mut take: impl FnMut(&Received)) -> anyhow::Result<()> {
    // A log without the topic has nothing to say.
    let Ok(count) = reader.partitions(topic).await else { return Ok(()) };
    for number in 0..count {
        let partition = Partition { topic, number };
        let mut next = reader.watermarks(partition).await?.low;
        let end = reader.end(partition).await?;
        while next < end {
            let scanned = reader.scan(partition, next, end, PAGE).await?;
            scanned.records.iter().for_each(&mut take);
            next = scanned.next;
        }
    }
    Ok(())
}
