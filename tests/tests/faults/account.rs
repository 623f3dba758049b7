//! The reckoning: what the log, the databases and the receiver say at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bus::{Log, Partition, Received, Topic};
use bytes::Bytes;
use contracts::alert::v1::alert_service_client::AlertServiceClient;
use contracts::alert::v1::{
    Episode, EpisodeChange, EpisodeState, GetEpisodeRequest, ListEpisodesRequest, TallyEvent,
};
use contracts::classify::v1::VerdictEvent;
use contracts::envelope;
use contracts::ingest::v1::Coverage;
use contracts::response::v1::response_service_client::ResponseServiceClient;
use contracts::response::v1::{CaseEvent, CaseState, GetCaseRequest, ListCasesRequest};
use runtime::net::Link;

use crate::receiver::Receiver;

/// Nothing has changed for this long: everything is worked through.
const STILL: Duration = Duration::from_secs(12);
/// Cases whose history is read.
const HISTORIES: usize = 200;
/// After this the test gives up: a bound, not a measurement.
const GIVE_UP: Duration = Duration::from_secs(240);

/// Every committed record of a topic.
pub(crate) async fn records(log: &dyn Log, topic: Topic) -> Vec<Received> {
    let reader = log.reader().unwrap();
    let mut all = Vec::new();
    for number in 0..reader.partitions(topic).await.unwrap() {
        let partition = Partition { topic, number };
        let end = reader.end(partition).await.unwrap();
        let mut next = reader.watermarks(partition).await.unwrap().low;
        while next < end {
            let scanned = reader.scan(partition, next, end, 5_000).await.unwrap();
            all.extend(scanned.records);
            next = scanned.next;
        }
    }
    all
}

fn open<M: prost::Message + prost::Name + Default>(record: &Received) -> Option<M> {
    envelope::open(record.record.headers.text(envelope::CE_TYPE), record.record.value.as_ref()).ok()
}

/// Waits until all verdicts are there and nothing moves any more.
pub(crate) async fn settled(log: &dyn Log, receiver: &Receiver, mentions: u64) {
    let begun = tokio::time::Instant::now();
    let mut before = None;
    loop {
        let verdicts = all_verdicts(log).await.len() as u64;
        let tallied = tallied(log).await;
        let cases = records(log, Topic::Cases).await.len();
        let now = (verdicts, tallied, cases, receiver.read(|seen| seen.bodies.len()));
        if before == Some(now) && verdicts >= mentions && tallied >= mentions {
            return;
        }
        assert!(
            begun.elapsed() < GIVE_UP,
            "still not worked through: verdicts, tallied, case events, pages {now:?}"
        );
        before = Some(now);
        tokio::time::sleep(STILL).await;
    }
}

/// What sources say about themselves rides along there; everything else is a verdict.
async fn all_verdicts(log: &dyn Log) -> Vec<VerdictEvent> {
    let all = records(log, Topic::Verdicts).await;
    let of_posts = all.iter().filter(|record| open::<Coverage>(record).is_none());
    of_posts.map(|record| open(record).expect("a verdict can be read")).collect()
}

pub(crate) async fn one_verdict_each(log: &dyn Log, accepted: &BTreeSet<Bytes>) {
    let mut verdicts: BTreeMap<Bytes, usize> = BTreeMap::new();
    for verdict in all_verdicts(log).await {
        assert!(verdict.verdict.is_some(), "a post has words to understand");
        *verdicts.entry(verdict.mention.unwrap().mention_id).or_default() += 1;
    }
    let twice: Vec<_> = verdicts.iter().filter(|(_, n)| **n != 1).collect();
    assert!(twice.is_empty(), "{} mentions have more than one verdict", twice.len());
    assert!(
        verdicts.keys().eq(accepted.iter()),
        "{} verdicts for {} mentions",
        verdicts.len(),
        accepted.len()
    );
    let dead = records(log, Topic::DeadLetter).await.len();
    assert_eq!(dead, 0, "nothing was refused");
    let published = records(log, Topic::Mentions).await;
    let unique: BTreeSet<&Bytes> = published.iter().map(|r| &r.record.key).collect();
    println!(
        "accepted {} = stored {} (published {}, of which {} repeats were merged)",
        accepted.len(),
        verdicts.len(),
        published.len(),
        published.len() - unique.len()
    );
}

/// Posts counted under topics; every mention has one brand and one topic.
async fn tallied(log: &dyn Log) -> u64 {
    let tallies = records(log, Topic::Tallies).await;
    let of_topics = tallies.iter().filter_map(open::<TallyEvent>).filter(|t| t.subject.starts_with("topic/"));
    of_topics.map(|t| u64::from(t.posts)).sum()
}

pub(crate) async fn tallies_add_up(log: &dyn Log, verdicts: u64) {
    assert_eq!(tallied(log).await, verdicts, "tallies add up to the verdicts");
}

/// What response says about its cases.
pub(crate) struct Cases {
    ids: BTreeSet<Bytes>,
    listed: usize,
    /// Of some of them: the sequence numbers of their histories.
    histories: BTreeMap<Bytes, Vec<u64>>,
}

impl Cases {
    /// Asks for all cases, and for the histories of some.
    pub(crate) async fn ask(response: Link) -> Self {
        let mut client = ResponseServiceClient::new(response);
        let states = [CaseState::New, CaseState::Open, CaseState::Waiting, CaseState::Resolved];
        let mut cases = Vec::new();
        let mut page_token = String::new();
        loop {
            let states = states.map(i32::from).to_vec();
            let request = ListCasesRequest { states, limit: 500, page_token, ..ListCasesRequest::default() };
            let page = client.list_cases(request).await.unwrap().into_inner();
            cases.extend(page.cases.into_iter().map(|case| case.case_id));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        let mut histories = BTreeMap::new();
        for case_id in cases.iter().take(HISTORIES) {
            let request = GetCaseRequest { case_id: case_id.clone() };
            let history = client.get_case(request).await.unwrap().into_inner().history;
            histories.insert(case_id.clone(), history.iter().map(|e| e.sequence).collect());
        }
        Self { listed: cases.len(), ids: cases.into_iter().collect(), histories }
    }

    /// Every case exists once, with a history that the topic tells just so.
    pub(crate) async fn exist_once(&self, log: &dyn Log) {
        assert!(self.listed > 100, "complaints open cases: {}", self.listed);
        assert_eq!(self.ids.len(), self.listed);
        // Changes reach the topic at least once; a repeat is the same change.
        let mut told: BTreeMap<Bytes, BTreeSet<u64>> = BTreeMap::new();
        let mut customers: BTreeMap<(String, String), BTreeSet<Bytes>> = BTreeMap::new();
        for event in records(log, Topic::Cases).await.iter().filter_map(open::<CaseEvent>) {
            let sequence = event.sequence;
            let case = event.case.unwrap();
            let matter = (case.brand, case.customer_key);
            customers.entry(matter).or_default().insert(case.case_id.clone());
            told.entry(case.case_id).or_default().insert(sequence);
        }
        let untold = self.ids.iter().filter(|id| !told.contains_key(*id)).count();
        let unknown = told.keys().filter(|id| !self.ids.contains(*id)).count();
        assert_eq!((untold, unknown), (0, 0), "cases that are not on the topic, and those only there");
        for (case_id, sequence) in &self.histories {
            assert!(
                sequence.iter().copied().eq(1..=sequence.len() as u64),
                "a history without gap or repeat: {sequence:?}"
            );
            assert!(told[case_id].iter().eq(sequence), "the topic tells the same history");
        }
        // All of them complain within the same hour, which is one matter.
        let twice = customers.values().filter(|cases| cases.len() > 1).count();
        assert_eq!(twice, 0, "customers have two cases for one matter");
        println!("{} cases, each once", self.listed);
    }
}

/// Every episode exists once, and what it sent has arrived.
pub(crate) async fn pages_arrived(alert: Link, receiver: &Receiver) {
    let mut client = AlertServiceClient::new(alert);
    let states =
        [EpisodeState::Firing, EpisodeState::Acknowledged, EpisodeState::Resolved, EpisodeState::NoData];
    let request = ListEpisodesRequest {
        states: states.map(i32::from).to_vec(),
        limit: 500,
        ..ListEpisodesRequest::default()
    };
    let episodes = client.list_episodes(request).await.unwrap().into_inner().episodes;
    assert!(!episodes.is_empty(), "severe complaints open episodes");
    let open: Vec<&Episode> = episodes.iter().filter(|e| e.state() != EpisodeState::Resolved).collect();
    let subjects: BTreeSet<(&str, &str)> =
        open.iter().map(|e| (e.rule.as_str(), e.subject.as_str())).collect();
    assert_eq!(subjects.len(), open.len(), "one open episode per rule and subject");
    let mut pages = 0;
    for episode in &episodes {
        let request = GetEpisodeRequest { episode_id: episode.episode_id.clone() };
        let answer = client.get_episode(request).await.unwrap().into_inner();
        let sequence: Vec<u64> = answer.history.iter().map(|e| e.sequence).collect();
        assert!(sequence.iter().copied().eq(1..=sequence.len() as u64), "{sequence:?}");
        let paged = answer.history.iter().any(|e| e.change() == EpisodeChange::Paged);
        let sent: Vec<&str> = answer
            .deliveries
            .iter()
            .filter(|d| d.destination == "hook" && d.state == "sent")
            .map(|d| d.delivery_id.as_str())
            .collect();
        assert!(
            !paged || !sent.is_empty(),
            "a page of {} was never sent: {:?}",
            episode.title,
            answer.deliveries
        );
        receiver.read(|seen| {
            for id in &sent {
                assert!(seen.bodies.contains_key(*id), "{id} counts as sent and never arrived");
            }
        });
        pages += sent.len();
    }
    receiver.read(|seen| {
        assert_eq!(seen.refused, 0, "every page was signed");
        assert_eq!(seen.bodies.len(), pages, "no page arrived that nobody sent");
        println!("{} episodes, {pages} notices, {} repeats recognised by id", episodes.len(), seen.repeats);
    });
}
