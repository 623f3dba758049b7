//! What is sent through: talk in the bytes of real sources, or a recording, decoded and sealed as ingest does.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bus::{Outgoing, Record, Topic};
use clap::Args;
use contracts::envelope;
use contracts::ingest::v1 as wire;
use indicatif::ProgressBar;
use model::{MentionEvent, RawRef, TenantId, Timestamp, Transport};
use runtime::{Clock as _, RealClock};
use sources::brandmatch::{BrandRule, Matcher};
use sources::{CsvMap, DecodeContext};

use super::super::feed::{self, Fed, Feed, Parcel};
use super::super::replay::Shape;
use crate::scenario;

/// Posts a second in the talk's own time.
const TALK_PER_SECOND: f64 = 1_000.0;
const SEED: u64 = 7;

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct LoadArgs {
    /// A recording to send instead of made-up talk
    #[arg(long, value_name = "FILE", requires = "kind")]
    file: Option<PathBuf>,
    #[command(flatten)]
    shape: Shape,
}

impl LoadArgs {
    /// Nobody named a recording.
    pub(super) fn is_talk(&self) -> bool {
        self.file.is_none()
    }
}

/// Records of the mentions topic, one after the other.
pub(super) struct Load {
    origin: Origin,
    tenant: TenantId,
    matcher: Matcher,
    ready: VecDeque<Outgoing>,
    made: i64,
}

enum Origin {
    Talk(Box<dyn Iterator<Item = Parcel> + Send>),
    Recording(Feed),
}

impl Load {
    /// From the beginning; every load of the same arguments is the same.
    ///
    /// # Errors
    /// When the recording cannot be read.
    pub(super) fn open(args: &LoadArgs) -> anyhow::Result<Self> {
        let origin = match &args.file {
            Some(path) => Origin::Recording(recording(path, &args.shape)?),
            None => Origin::Talk(Box::new(talk(Timestamp::from_seconds(1_772_431_200)))),
        };
        let rule = |brand: scenario::Brand| BrandRule {
            brand: brand.id,
            words: vec![brand.name.to_owned()],
            handles: vec![brand.handle.to_owned()],
            own_accounts: Vec::new(),
        };
        let rules: Vec<_> = scenario::talked_about().into_iter().map(rule).collect();
        Ok(Self {
            origin,
            tenant: TenantId::slugify("bench"),
            matcher: Matcher::new(&rules)?,
            ready: VecDeque::new(),
            made: 0,
        })
    }

    /// The next `count` records; fewer at the end of a recording. Blocks.
    ///
    /// # Errors
    /// When the recording cannot be read.
    pub(super) fn take(&mut self, count: usize) -> anyhow::Result<Vec<Outgoing>> {
        while self.ready.len() < count {
            let parcel = match &mut self.origin {
                Origin::Talk(parcels) => parcels.next().map(Fed::Parcel),
                Origin::Recording(parcels) => parcels.blocking_recv().transpose()?,
            };
            match parcel {
                Some(Fed::Parcel(parcel)) => self.decode(&parcel)?,
                // Nothing that could be sent.
                Some(Fed::Refused { .. }) => {}
                None => break,
            }
        }
        let count = count.min(self.ready.len());
        Ok(self.ready.drain(..count).collect())
    }

    fn decode(&mut self, parcel: &Parcel) -> anyhow::Result<()> {
        let columns: Vec<String> =
            parcel.map.iter().map(|(column, field)| format!("{column}={field}")).collect();
        let csv_map = match columns.is_empty() {
            true => None,
            false => Some(CsvMap::parse(&columns.join(",")).context("--map")?),
        };
        let context = DecodeContext {
            tenant: &self.tenant,
            connector: "bench",
            instance: &parcel.instance,
            transport: Transport::Backfill,
            received_at: RealClock.now(),
            csv_map: csv_map.as_ref(),
        };
        for mut event in sources::decode(parcel.kind, &parcel.body, &context).events {
            self.matcher.apply(&mut event);
            let record = self.record(event);
            self.ready.push_back(record);
        }
        Ok(())
    }

    /// As ingest writes it, with a place of its raw bytes.
    fn record(&mut self, mut event: MentionEvent) -> Outgoing {
        self.made += 1;
        event.raw = Some(RawRef { partition: 0, offset: self.made, digest: [7; 16] });
        let now = RealClock.now();
        let (event_id, mention_id) = (event.event_id, event.mention_id);
        let message = wire::MentionEvent::from(event);
        let sealed = envelope::seal(&event_id.to_string(), "redress/bench", now, &message);
        let headers = sealed.headers.into_iter().collect();
        let key = contracts::id(mention_id.as_bytes());
        let record = Record { key, value: Some(sealed.value), headers, at: now };
        Outgoing { topic: Topic::Mentions, partition: None, record }
    }
}

/// Made-up talk from `starts_at` on.
pub(super) fn talk(starts_at: Timestamp) -> impl Iterator<Item = Parcel> + Send {
    scenario::talk(starts_at, TALK_PER_SECOND, SEED).map(Parcel::of_arrival)
}

fn recording(path: &Path, shape: &Shape) -> anyhow::Result<Feed> {
    Ok(feed::read(shape.of(path)?, true, 0, ProgressBar::hidden()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn talk_is_the_same_each_time_and_no_two_posts_are() {
        let args = LoadArgs::default();
        let take = || Load::open(&args).unwrap().take(3_000).unwrap();
        let keys = |records: Vec<Outgoing>| records.into_iter().map(|r| r.record.key).collect::<Vec<_>>();
        let (one, other) = (keys(take()), keys(take()));
        assert_eq!(one, other);
        assert_eq!(one.iter().collect::<BTreeSet<_>>().len(), 3_000);
    }

    #[test]
    fn what_is_sent_is_a_mention_about_a_brand() {
        let args = LoadArgs::default();
        for outgoing in Load::open(&args).unwrap().take(200).unwrap() {
            let ce_type = outgoing.record.headers.text(envelope::CE_TYPE);
            let event: wire::MentionEvent = envelope::open(ce_type, outgoing.record.value.as_ref()).unwrap();
            assert!(!event.brands.is_empty());
            MentionEvent::try_from(event).unwrap();
        }
    }
}
