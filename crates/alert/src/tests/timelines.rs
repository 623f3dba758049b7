//! How an episode went is kept minute by minute, in bounds, over restarts, and without whom is to be forgotten.

use contracts::alert::v1::{
    Branch, ContributorKind, ExplainRequest, ExplainResponse, ResolveRequest, TallyEvent, Timeline,
};
use contracts::envelope;
use contracts::ingest::v1::{Erasure, erasure};
use model::EpisodeId;
use paging::SignalKind;
use prost::Message as _;

use super::{NO_TIME, at, quiet_then_burst, rules, tallies};
use crate::detection::{Detectors, Telling};
use crate::reading::Offsets;
use crate::testing::{Running, Said, World, said};
use crate::timeline::FOLLOWED_MAX;
use crate::{consumer, tally};

const RISING: &str = "rising-subject";
const SPREADING: &str = "spreading-thread";

fn heard(tallies: &[TallyEvent]) -> (Detectors, Vec<Telling>) {
    let mut detectors = Detectors::default();
    let told = tallies.iter().flat_map(|tally| detectors.take(tally, &rules()).unwrap().told).collect();
    (detectors, told)
}

fn of(told: &[Telling], rule: &str, kind: SignalKind) -> Timeline {
    let mut of_rule = told.iter().filter(|told| told.signal.rule == rule && told.signal.kind == kind);
    of_rule.next().unwrap().timeline.clone().unwrap()
}

fn seconds(us: i64) -> i64 {
    us / 1_000_000 - at(0).as_seconds()
}

/// The posts of some people about topics, folded one by one.
fn folded(posts: impl IntoIterator<Item = Said>) -> Vec<TallyEvent> {
    let fold =
        |(n, post): (usize, Said)| tallies(&tally::fold(&[post.received(0, n as i64)], 1, at(0)).outputs);
    posts.into_iter().enumerate().flat_map(fold).collect()
}

#[test]
fn a_rise_is_told_minute_by_minute_from_before_it_opened_to_its_end() {
    let (_, told) = heard(&quiet_then_burst());
    let opened = of(&told, RISING, SignalKind::Opened);
    let opened_s = seconds(opened.opened_at_us);
    assert!((7_200..7_500).contains(&opened_s), "{opened_s}");
    let last = opened.steps.last().unwrap();
    assert!(last.surprise >= last.open_at && last.window_complaints > last.usual_high, "{last:?}");
    assert!(last.people >= 3.0 && last.branch() != Branch::Unspecified && last.coverage == 1.0, "{last:?}");

    let whole = of(&told, RISING, SignalKind::Calm);
    assert_eq!(whole.opened_at_us, opened.opened_at_us);
    let ends = whole.steps.iter().map(|step| step.at_us + i64::from(step.length_s) * 1_000_000);
    assert!(
        whole.steps.iter().skip(1).zip(ends).all(|(next, end)| next.at_us >= end),
        "no step overlaps another"
    );
    let rise: u64 =
        whole.steps.iter().filter(|step| seconds(step.at_us) >= 7_200).map(|step| step.posts).sum();
    // 80 posts, 40 answers to a thread, and the one that came hours later; the first few may have been calm yet.
    assert!((110..=121).contains(&rise), "{rise}");
    let source = whole.contributors.iter().find(|one| one.kind() == ContributorKind::Source).unwrap();
    assert_eq!((source.name.as_str(), source.posts), ("stream", whole.steps.iter().map(|s| s.posts).sum()));
    let authors = whole.contributors.iter().filter(|one| one.kind() == ContributorKind::Author);
    assert_eq!(authors.count(), 10, "the largest ten");
}

#[test]
fn who_writes_most_is_named_first() {
    let calm = (0..60).map(|n| said(format!("calm{n}"), at(n * 120)));
    let loud = |n: i64| (n % 3 == 0).then(|| "loud".to_owned());
    let rise = (0..120).map(|n| Said { author: loud(n), ..said(format!("rise{n}"), at(7_200 + n * 3)) });
    let (_, told) = heard(&folded(calm.chain(rise)));
    let last =
        told.iter().rev().filter(|told| told.signal.rule == RISING).find_map(|told| told.timeline.clone());
    let contributors = last.unwrap().contributors;
    let first = contributors.iter().find(|one| one.kind() == ContributorKind::Author).unwrap();
    assert_eq!((first.name.as_str(), first.handle.as_str()), ("ndjson::loud", "bob"));
    assert!((20..=40).contains(&first.posts) && first.complaints > 15.0, "{first:?}");
}

#[test]
fn a_thread_is_told_by_what_was_expected_of_it() {
    let (_, told) = heard(&quiet_then_burst());
    let whole = of(&told, SPREADING, SignalKind::Calm);
    let steps: Vec<_> = whole.steps.iter().filter_map(|step| step.thread.as_ref()).collect();
    assert!(steps.len() >= 2 && steps.windows(2).all(|two| two[0].seen <= two[1].seen), "{steps:?}");
    let (first, last) = (steps[0], steps[steps.len() - 1]);
    assert!(last.low <= last.expected_final && last.expected_final <= last.high, "{last:?}");
    assert!(first.viral_size == 50 && last.seen == 40 && whole.opened_at_us > 0, "{last:?}");
    assert!(
        whole.contributors.iter().any(|one| one.kind() == ContributorKind::Topic && one.name == "refund")
    );
}

#[test]
fn what_is_calm_or_calm_again_keeps_nothing() {
    let calm = (0..60).map(|n| said(format!("calm{n}"), at(n * 120)));
    let rise = (0..80).map(|n| said(format!("rise{n}"), at(7_200 + n * 3)));
    let (mut detectors, _) = heard(&folded(calm.chain(rise)));
    assert!(detectors.followed() >= 1);
    let other =
        |n: i64| Said { topic: "delivery", complaint: 0.1, ..said(format!("other{n}"), at(7_500 + n * 600)) };
    for tally in folded((0..60).map(other)) {
        detectors.take(&tally, &rules()).unwrap();
    }
    assert_eq!(detectors.followed(), 0);
}

#[test]
fn what_is_followed_without_being_open_is_bounded() {
    const TOPICS: usize = 1_200;
    let (mut detectors, mut rules) = (Detectors::default(), rules());
    rules.detect.min_people = 1_000.0;
    let calm = folded((0..60).map(|n| said(format!("calm{n}"), at(n * 120))));
    let tally = calm.iter().rfind(|tally| tally.subject.starts_with("topic/")).unwrap().clone();
    calm.iter().for_each(|tally| drop(detectors.take(tally, &rules).unwrap()));
    for n in 0..12_i64 {
        let new = bytes::Bytes::copy_from_slice(&(1_u64 << n).to_le_bytes());
        for topic in 0..TOPICS {
            let subject = format!("topic/acme/loud{topic}");
            let at_s = at(7_200 + n * 5).as_seconds();
            let (authors, texts) = (new.clone(), new.clone());
            let loud = TallyEvent { subject, at_s, authors, texts, top: None, ..tally.clone() };
            assert!(detectors.take(&loud, &rules).unwrap().told.is_empty());
        }
    }
    assert!((FOLLOWED_MAX / 2..=FOLLOWED_MAX).contains(&detectors.followed()), "{}", detectors.followed());
}

/// A snapshot as it was written before there were diaries: what is not named here is lost on the way.
#[derive(Clone, PartialEq, prost::Message)]
struct OldSnapshot {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(int64, tag = "2")]
    watermark_s: i64,
    #[prost(int64, tag = "3")]
    lesson_s: i64,
    #[prost(bytes = "vec", repeated, tag = "4")]
    first_s: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "5")]
    subjects: Vec<OldSubject>,
    #[prost(bytes = "vec", optional, tag = "7")]
    hearing: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct OldSubject {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(bytes = "vec", tag = "2")]
    state: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    evidence: Vec<u8>,
    #[prost(float, tag = "4")]
    severity: f32,
    #[prost(float, tag = "5")]
    complaints: f32,
    #[prost(int64, tag = "6")]
    at_s: i64,
    #[prost(int64, tag = "7")]
    told_s: i64,
}

#[test]
fn an_episode_of_an_old_snapshot_is_told_from_now_on() {
    let calm = (0..60).map(|n| said(format!("calm{n}"), at(n * 120)));
    let rise = (0..160).map(|n| said(format!("rise{n}"), at(7_200 + n * 3)));
    let all = folded(calm.chain(rise));
    let (before, after) = all.split_at(all.len() - 60);
    let (mut detectors, told) = heard(before);
    let opened_at_us = of(&told, RISING, SignalKind::Opened).opened_at_us;
    let old = OldSnapshot::decode(detectors.snapshot().as_slice()).unwrap().encode_to_vec();
    let mut detectors = Detectors::from_bytes(&old).unwrap();
    assert_eq!(detectors.followed(), 0);
    let told: Vec<_> = after.iter().flat_map(|tally| detectors.take(tally, &rules()).unwrap().told).collect();
    let timeline =
        told.iter().rev().filter(|told| told.signal.rule == RISING).find_map(|told| told.timeline.clone());
    let timeline = timeline.unwrap();
    assert_eq!(timeline.opened_at_us, opened_at_us);
    let cut_s = before.last().unwrap().at_s - at(0).as_seconds();
    assert!(seconds(timeline.steps[0].at_us) >= cut_s / 60 * 60, "{timeline:?}");
}

// The whole service.

/// Shortly before it is by the clock of the world.
const BEGINS_S: i64 = 12 * 3_600 - 1_500;

/// A service for which ten minutes are enough to know what is usual.
async fn world() -> World {
    let mut world = World::new().await;
    world.config.detect.warmup_s = 600;
    world
}

fn calm() -> Vec<Said> {
    (0..60).map(|n| said(format!("calm{n}"), at(BEGINS_S + n * 20))).collect()
}

/// Posts of the rise that begins after [`calm`], by number.
fn rise(numbers: std::ops::Range<i64>) -> Vec<Said> {
    numbers.map(|n| said(format!("rise{n}"), at(BEGINS_S + 1_200 + n * 2))).collect()
}

/// Says it in order of time, whichever partition it is on, and waits until it has been looked at.
async fn says(world: &World, posts: &[Said]) {
    for some in posts.chunks(20) {
        let before = counted(world).await;
        world.say(some).await;
        let all = before + some.len() as u64;
        world.until(NO_TIME, "tallied", async || counted(world).await == all).await;
        world.until(NO_TIME, "detected", async || is_detected(world).await).await;
    }
}

async fn counted(world: &World) -> u64 {
    let tallies = world.records(bus::Topic::Tallies).await.into_iter();
    let tallies = tallies.filter_map(|r| TallyEvent::decode(r.record.value.unwrap()).ok());
    tallies.filter(|tally| tally.subject.starts_with("topic/")).map(|tally| u64::from(tally.posts)).sum()
}

/// Has everything that is on the topic of tallies been committed?
async fn is_detected(world: &World) -> bool {
    for record in world.records(bus::Topic::Tallies).await {
        let position = record.position;
        let next = Offsets::default().load(&world.store, consumer::HOP, position.partition).await.unwrap();
        if next <= position.offset {
            return false;
        }
    }
    true
}

async fn explained(running: &mut Running, threshold: f64) -> ExplainResponse {
    let mut of_rule =
        super::episodes(running, &[]).await.into_iter().filter(|episode| episode.rule == RISING);
    let episode_id = of_rule.next().unwrap().episode_id;
    running.client.explain(ExplainRequest { episode_id, threshold }).await.unwrap().into_inner()
}

/// The timeline after all of it, with a kill in the middle or without.
async fn timeline_of(is_killed: bool) -> Timeline {
    let world = world().await;
    let mut running = world.start().await;
    says(&world, &calm()).await;
    says(&world, &rise(0..80)).await;
    if is_killed {
        running.kill().await;
        running = world.start().await;
    }
    says(&world, &rise(80..160)).await;
    let timeline = explained(&mut running, 0.0).await.timeline.unwrap();
    running.stop().await;
    timeline
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_the_middle_of_a_rise_keeps_its_timeline() {
    let (killed, whole) = (timeline_of(true).await, timeline_of(false).await);
    let posts = |timeline: &Timeline| -> Vec<(i64, u64)> {
        timeline.steps.iter().map(|step| (seconds(step.at_us), step.posts)).collect()
    };
    // What a batch holds, and with it which numbers are seen, differs from run to run; what was counted does not.
    let last = |timeline: &Timeline| timeline.steps.last().unwrap().at_us;
    assert_eq!((last(&killed), killed.opened_at_us), (last(&whole), whole.opened_at_us));
    assert_eq!(posts(&killed), posts(&whole));
    let names = |timeline: Timeline| {
        timeline.contributors.into_iter().map(|one| (one.name, one.posts)).collect::<Vec<_>>()
    };
    assert_eq!(names(killed), names(whole));
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_tells_when_another_threshold_would_have_opened() {
    let world = world().await;
    let mut running = world.start().await;
    says(&world, &calm()).await;
    says(&world, &rise(0..80)).await;
    assert_eq!(explained(&mut running, 0.0).await.what_if, None);
    let never = explained(&mut running, 1_000.0).await.what_if.unwrap();
    assert!(never.opens_at_us.is_none() && never.text.contains("would not have opened"), "{never:?}");
    let answer = explained(&mut running, 1.5).await;
    let (what_if, timeline) = (answer.what_if.unwrap(), answer.timeline.unwrap());
    assert!(what_if.opens_at_us.unwrap() <= timeline.opened_at_us, "{what_if:?}");
    let request = ExplainRequest { threshold: f64::NAN, ..ExplainRequest::default() };
    assert_eq!(running.client.explain(request).await.unwrap_err().code(), tonic::Code::InvalidArgument);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_has_ended_is_told_no_further() {
    let world = world().await;
    let mut running = world.start().await;
    says(&world, &calm()).await;
    says(&world, &rise(0..80)).await;
    let before = explained(&mut running, 0.0).await;
    let episode_id = before.episode.unwrap().episode_id;
    let ended =
        ResolveRequest { episode_id: episode_id.clone(), by: "ada".into(), ..ResolveRequest::default() };
    running.client.resolve(ended).await.unwrap();
    world.clock.advance(super::SECOND);
    says(&world, &rise(80..160)).await;
    let request = ExplainRequest { episode_id, ..ExplainRequest::default() };
    let after = running.client.explain(request).await.unwrap().into_inner();
    assert_eq!(after.timeline, before.timeline);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_author_who_only_contributed_is_forgotten_too() {
    let world = world().await;
    let mut running = world.start().await;
    says(&world, &calm()).await;
    says(&world, &rise(0..80)).await;
    let answer = explained(&mut running, 0.0).await;
    let (episode, timeline) = (answer.episode.unwrap(), answer.timeline.unwrap());
    let is_shown = |name: &str| episode.evidence.iter().any(|piece| piece.author_key == name);
    let mut authors = timeline.contributors.iter().filter(|one| one.kind() == ContributorKind::Author);
    let author = authors.find(|one| !is_shown(&one.name)).unwrap().name.clone();

    let what = erasure::What::AuthorKey(author.clone());
    let erasure =
        Erasure { what: Some(what), reason: "request".into(), requested_at_us: world.now().as_micros() };
    let sealed = envelope::seal("asked", "redress/ingest", world.now(), &erasure);
    let out = tally::outgoing(bus::Topic::Erasures, author.clone().into(), sealed, world.now());
    world.publish(vec![out]).await;
    let mut after = timeline;
    world
        .until(NO_TIME, "it is forgotten", async || {
            after = explained(&mut running, 0.0).await.timeline.unwrap();
            after.contributors.iter().all(|one| one.name != author)
        })
        .await;
    says(&world, &rise(80..160)).await;
    after = explained(&mut running, 0.0).await.timeline.unwrap();
    assert!(after.contributors.iter().all(|one| one.name != author), "nor does it come back");
    running.stop().await;
    let id = EpisodeId::from_slice(&episode.episode_id).unwrap();
    assert!(
        !super::erasure::everything(&world).await.contains(&author),
        "{id}: nor does the last snapshot hold it"
    );
}
