//! The whole service on the embedded log and SQLite, and its parts under faults.

mod coverage;
mod erasure;
mod rising;
mod threads;
mod timelines;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bus::{Partition, Topic};
use contracts::alert::v1::{
    self as wire, AcknowledgeRequest, EpisodeChange, EpisodeEvent, EpisodeState, ExplainRequest,
    GetEpisodeRequest, ListEpisodesRequest, ListSilencesRequest, NowRequest, ResolveRequest, SilenceMatcher,
    SilenceRequest, TallyEvent, UnsilenceRequest, WatchRequest,
};
use model::{Outcome, Timestamp};
use paging::SignalKind;
use prost::Message as _;
use tonic::Code;

use crate::config::{DetectConfig, HarmConfig, SevereConfig, ThreadConfig, Zones};
use crate::desk::Desk;
use crate::detection::{Detectors, Rules};
use crate::reading::{BatchError, Offsets};
use crate::testing::{Mood, Running, Said, World, engagement, received, said};
use crate::{Config, consumer, severe, step, tally};

const NO_TIME: Duration = Duration::ZERO;
const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_767_312_000 + seconds)
}

fn tallies(outputs: &[bus::Outgoing]) -> Vec<TallyEvent> {
    let tallies = outputs.iter().filter(|out| out.topic == Topic::Tallies);
    tallies.map(|out| TallyEvent::decode(out.record.value.clone().unwrap()).unwrap()).collect()
}

fn rules() -> Rules {
    Rules {
        detect: DetectConfig { warmup_s: 600, ..DetectConfig::default() },
        threads: ThreadConfig { viral_size: 50, page_from: 0.3, ..ThreadConfig::default() },
        zones: Zones::default(),
        cascade: detect::thread::CascadeModel::shipped(),
    }
}

async fn episodes(running: &mut Running, states: &[EpisodeState]) -> Vec<wire::Episode> {
    let states = states.iter().map(|state| i32::from(*state)).collect();
    let request = ListEpisodesRequest { states, ..ListEpisodesRequest::default() };
    running.client.list_episodes(request).await.unwrap().into_inner().episodes
}

async fn one_open(world: &World, running: &mut Running) -> wire::Episode {
    world.say(&[said("angry", world.now()).severe()]).await;
    world.until(NO_TIME, "a page", async || !world.receiver.got().is_empty()).await;
    let mut open = episodes(running, &[]).await;
    assert_eq!(open.len(), 1);
    open.remove(0)
}

// Stage one.

#[test]
fn tallies_add_up_to_the_verdicts_in_any_batching() {
    let posts: Vec<_> =
        (0..200).map(|n| said(format!("p{n}"), at(n / 40)).received((n % 3) as i32, n)).collect();
    let count = |sizes: usize| {
        let (mut seen, mut milli) = (0, 0);
        for batch in posts.chunks(sizes) {
            let folded = tally::fold(batch, 3, at(0));
            for event in tallies(&folded.outputs).iter().filter(|t| t.subject.starts_with("topic/")) {
                seen += event.posts;
                milli += event.complaints_milli;
            }
        }
        (seen, milli)
    };
    assert_eq!(count(200), (200, 190_000));
    assert_eq!(count(7), count(200));
    assert_eq!(count(1), count(200));
}

#[test]
fn every_record_ends_once_and_what_is_broken_is_kept() {
    let mut own = said("own", at(0)).event();
    own.mention.as_mut().unwrap().by_brand = Some("acme".into());
    let mut nobodys = said("nobodys", at(0)).event();
    nobodys.mention.as_mut().unwrap().brands.clear();
    let sealed = |event: &contracts::classify::v1::VerdictEvent| {
        let sealed = contracts::envelope::seal("x", "redress/classify", at(0), event);
        tally::outgoing(Topic::Verdicts, event.event_id.clone(), sealed, at(0))
    };
    let mut broken = sealed(&own);
    broken.record.value = Some(vec![0xff; 9].into());
    let records: Vec<_> = [
        said("a", at(0)).outgoing(),
        sealed(&own),
        sealed(&nobodys),
        sealed(&engagement("a", 3, at(1))),
        broken,
    ]
    .into_iter()
    .enumerate()
    .map(|(n, out)| received(out, 0, n as i64))
    .collect();
    let folded = tally::fold(&records, 3, at(0));
    let endings: BTreeMap<_, _> = folded.endings.into_iter().collect();
    assert_eq!(endings.values().sum::<u64>(), 5);
    assert_eq!(endings[&(Outcome::Stored, "")], 2);
    assert_eq!(endings[&(Outcome::Suppressed, "own_post")], 1);
    assert_eq!(endings[&(Outcome::Suppressed, "no_brand")], 1);
    assert_eq!(endings[&(Outcome::DeadLettered, "malformed_protobuf")], 1);
    let letters: Vec<_> = folded.outputs.iter().filter(|o| o.topic == Topic::DeadLetter).collect();
    assert_eq!(letters.len(), 1);
    let reactions: usize = tallies(&folded.outputs).iter().map(|t| t.reactions.len()).sum();
    assert_eq!(reactions, 4, "the original post and three reposts");
}

#[test]
fn reactions_that_do_not_fit_one_record_go_into_several() {
    let records: Vec<_> = (0..900)
        .map(|n| {
            let event = engagement("root", 1_000_000, at(0));
            let sealed = contracts::envelope::seal("x", "redress/classify", at(0), &event);
            let out = tally::outgoing(Topic::Verdicts, event.event_id.clone(), sealed, at(0));
            received(out, 0, n)
        })
        .collect();
    let folded = tally::fold(&records, 3, at(0));
    let parts = tallies(&folded.outputs);
    assert_eq!(parts.len(), 5);
    assert_eq!(parts.iter().map(|tally| tally.reactions.len()).sum::<usize>(), 90_000);
    assert!(folded.outputs.iter().all(|out| out.record.check_size().is_ok()));
}

// Stage two, alone.

fn quiet_then_burst() -> Vec<TallyEvent> {
    let mut posts = Vec::new();
    for n in 0..60 {
        posts.push(Said { complaint: 0.9, ..said(format!("calm{n}"), at(n * 120)) });
    }
    for n in 0..80 {
        posts.push(said(format!("burst{n}"), at(7_200 + n * 3)));
    }
    for n in 0..40 {
        posts.push(said(format!("r{n}"), at(7_200 + n * 2)).answering("root"));
    }
    posts.push(said("later", at(7_200 + 6 * 3_600)));
    posts.sort_by_key(|post| post.at);
    let records: Vec<_> = posts.iter().enumerate().map(|(n, p)| p.received(0, n as i64)).collect();
    let mut all = Vec::new();
    for batch in records.chunks(9) {
        let mut batch = tallies(&tally::fold(batch, 3, at(0)).outputs);
        batch.sort_by_key(|tally| tally.at_s);
        all.extend(batch);
    }
    all
}

#[test]
fn a_burst_opens_an_episode_with_evidence_and_its_end_is_called_calm() {
    let (mut detectors, rules) = (Detectors::default(), rules());
    let signals: Vec<_> = quiet_then_burst()
        .iter()
        .flat_map(|tally| detectors.take(tally, &rules).unwrap().into_signals())
        .collect();
    let kinds = |rule: &str| -> Vec<SignalKind> {
        let of_rule = signals.iter().filter(|signal| signal.rule == rule);
        of_rule.map(|signal| signal.kind).filter(|kind| *kind != SignalKind::Seen).collect()
    };
    let rising = kinds("rising-subject");
    assert_eq!(rising.first(), Some(&SignalKind::Opened));
    assert_eq!(rising.last(), Some(&SignalKind::Calm));
    let opened = signals.iter().find(|s| s.rule == "rising-subject").unwrap();
    assert!(opened.at >= at(7_200), "what was usual from the first hour on is no rise");
    assert!(!opened.facts.evidence.is_empty());
    assert!(opened.why.text().contains("complaints on refund"), "{}", opened.why.text());
    let spreading = kinds("spreading-thread");
    assert_eq!(spreading, [SignalKind::Opened, SignalKind::Calm]);
}

#[test]
fn a_restored_snapshot_has_the_same_future() {
    let rules = rules();
    let all = quiet_then_burst();
    for cut in [0, 1, 50, all.len() / 2, all.len() - 1] {
        let mut first = Detectors::default();
        for tally in &all[..cut] {
            let heard = first.take(tally, &rules).unwrap();
            heard.outlooks.iter().for_each(|said| first.expect(said).unwrap());
        }
        let mut second = Detectors::from_bytes(&first.snapshot()).unwrap();
        for tally in &all[cut..] {
            let (one, two) = (first.take(tally, &rules).unwrap(), second.take(tally, &rules).unwrap());
            assert_eq!(one.told, two.told, "cut at {cut}");
            assert_eq!(one.outlooks, two.outlooks, "cut at {cut}");
            one.outlooks.iter().for_each(|said| first.expect(said).unwrap());
            two.outlooks.iter().for_each(|said| second.expect(said).unwrap());
        }
        assert_eq!(first.snapshot(), second.snapshot());
    }
    assert!(Detectors::from_bytes(&[1, 2, 3]).is_err());
}

#[test]
fn a_brand_nobody_has_heard_long_enough_is_not_called_rising() {
    let rules = rules();
    let mut detectors = Detectors::default();
    let records: Vec<_> = (0..80).map(|n| said(format!("b{n}"), at(n * 3)).received(0, n)).collect();
    for tally in tallies(&tally::fold(&records, 3, at(0)).outputs) {
        let heard = detectors.take(&tally, &rules).unwrap();
        assert!(heard.into_signals().all(|signal| signal.rule != "rising-subject"));
    }
}

#[test]
fn followed_threads_are_bounded() {
    let mut rules = rules();
    rules.threads.followed_max = 100;
    let mut detectors = Detectors::default();
    for n in 0..1_000 {
        let record = said(format!("t{n}"), at(n)).received(0, n);
        for tally in tallies(&tally::fold(&[record], 3, at(0)).outputs) {
            detectors.take(&tally, &rules).unwrap();
        }
    }
    assert!(detectors.threads_followed() <= 100);
}

#[test]
fn only_sure_blame_by_customers_is_severe() {
    let config = SevereConfig::default();
    let count = |post: Said| severe::severe(&post.event(), &config).len();
    assert_eq!(count(said("a", at(0)).severe()), 1);
    assert_eq!(count(said("a", at(0))), 0);
    assert_eq!(count(Said { complaint: 0.7, ..said("a", at(0)).severe() }), 0);
    let mut own = said("a", at(0)).severe().event();
    own.mention.as_mut().unwrap().by_brand = Some("acme".into());
    assert!(severe::severe(&own, &config).is_empty());
}

#[test]
fn harm_calls_somebody_sooner_than_a_loud_complaint() {
    let config = SevereConfig::default();
    let calls = |config: &SevereConfig, levels: [f32; 5], complaint, topic| {
        config.calls(&levels, complaint, [("delay", 0.3), topic]).is_some()
    };
    let (calm, loud) = ([0.2, 0.1, 0.15, 0.35, 0.2], [0.02, 0.02, 0.06, 0.5, 0.4]);
    for (levels, complaint, topic, expected) in [
        (calm, 0.65, ("safety", 0.7), true),
        (calm, 0.65, ("safety", 0.4), false),
        (calm, 0.65, ("staff", 0.9), false),
        (calm, 0.55, ("safety", 0.7), false),
        (loud, 0.85, ("staff", 0.9), true),
        (loud, 0.7, ("staff", 0.9), false),
        ([0.2, 0.1, 0.4, 0.2, 0.1], 0.9, ("safety", 0.9), false),
    ] {
        assert_eq!(calls(&config, levels, complaint, topic), expected, "{levels:?} {complaint} {topic:?}");
    }
    let harm = HarmConfig { topics: Vec::new(), ..HarmConfig::default() };
    assert!(!calls(&SevereConfig { harm, ..config }, calm, 0.65, ("safety", 0.7)));
}

#[test]
fn ten_thousand_severe_complaints_of_a_batch_are_one_input() {
    let mut signals = BTreeMap::new();
    for n in 0..10_000 {
        let event = said(format!("p{n}"), at(n / 1_000)).severe().event();
        for signal in severe::severe(&event, &SevereConfig::default()) {
            severe::gather(&mut signals, signal);
        }
    }
    let signal = signals.values().next().unwrap();
    assert_eq!(signals.len(), 1);
    assert_eq!(signal.facts.counts, paging::Counts::More { posts: 10_000, people: 10_000 });
    assert_eq!((signal.at, signal.facts.since), (at(9), at(0)));
    assert!(signal.facts.evidence.len() <= 32);
}

// The whole service.

#[tokio::test(flavor = "multi_thread")]
async fn severe_complaints_page_once_signed_and_everything_is_accounted_for() {
    let world = World::new().await;
    let mut running = world.start().await;
    let episode = one_open(&world, &mut running).await;
    let more: Vec<_> = (0..20).map(|n| said(format!("more{n}"), world.now()).severe()).collect();
    world.say(&more).await;
    world
        .until(NO_TIME, "all counted", async || {
            episodes(&mut running, &[]).await.first().is_some_and(|episode| episode.posts == 21)
        })
        .await;
    world.until(NO_TIME, "all tallied", async || running.parts.account.hop(step::HOP).total() == 21).await;
    let account = running.parts.account.clone();
    world
        .until(NO_TIME, "all detected", async || {
            account.hop(consumer::HOP).total() == world.records(Topic::Tallies).await.len() as u64
        })
        .await;
    let kinds = world.receiver.kinds();
    assert_eq!(kinds.iter().filter(|kind| *kind == "alert.episode.paged").count(), 1, "{kinds:?}");
    let page = &world.receiver.got()[0];
    assert_eq!(page.body["data"]["dedup_key"], episode.dedup_key);
    assert_eq!(page.body["data"]["reason"], "first_notification");
    assert_eq!(episode.evidence.len(), 1);
    assert!(episode.evidence[0].excerpt.contains("my money"));
    assert!(account.is_balanced(), "{:?}", account.snapshot());
    assert_eq!(account.hop(severe::HOP).with(Outcome::Stored), 21);

    // Every change is on the alerts topic, numbered without a gap.
    world
        .until(NO_TIME, "delivered is published", async || {
            let events = world.records(Topic::Alerts).await;
            events.iter().any(|r| change(r) == EpisodeChange::Delivered)
        })
        .await;
    let sequences: Vec<u64> = world
        .records(Topic::Alerts)
        .await
        .iter()
        .map(|r| EpisodeEvent::decode(r.record.value.clone().unwrap()).unwrap().sequence)
        .collect();
    assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>());
    running.stop().await;
}

fn change(record: &bus::Received) -> EpisodeChange {
    EpisodeEvent::decode(record.record.value.clone().unwrap()).unwrap().change()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rise_and_a_spreading_thread_are_found_end_to_end_and_told_by_now() {
    let mut world = World::new().await;
    world.config.detect.warmup_s = 600;
    world.config.threads = rules().threads;
    let mut running = world.start().await;
    let base = world.now().as_seconds() - 7_200;
    let time = |s: i64| Timestamp::from_seconds(base + s);
    let calm: Vec<_> = (0..60).map(|n| said(format!("calm{n}"), time(n * 118))).collect();
    world.say(&calm).await;
    let burst: Vec<_> = (0..80).map(|n| said(format!("burst{n}"), time(7_100 + n))).collect();
    world.say(&burst).await;
    let replies: Vec<_> =
        (0..40).map(|n| said(format!("r{n}"), time(7_100 + n)).answering("burst0")).collect();
    world.say(&replies).await;
    world
        .until(NO_TIME, "both episodes", async || {
            let open = episodes(&mut running, &[]).await;
            let rules: BTreeSet<_> = open.iter().map(|episode| episode.rule.as_str()).collect();
            rules.contains("rising-subject") && rules.contains("spreading-thread")
        })
        .await;
    // What the thread says comes to whoever owns its subject, wherever the thread itself is.
    let of_subject = |ce_type: &'static str, records: Vec<bus::Received>| -> BTreeSet<bus::Partition> {
        let is_it = |r: &bus::Received| {
            r.record.headers.text("ce_type").is_some_and(|found| found == ce_type)
                && r.record.key == "topic/acme/refund"
        };
        records.iter().filter(|r| is_it(r)).map(|r| r.position.partition).collect()
    };
    let said = "redress.alert.v1.ThreadOutlook";
    world
        .until(NO_TIME, "the thread speaks", async || {
            !of_subject(said, world.records(Topic::Tallies).await).is_empty()
        })
        .await;
    let tallies = of_subject("redress.alert.v1.TallyEvent", world.records(Topic::Tallies).await);
    assert_eq!(of_subject(said, world.records(Topic::Tallies).await), tallies);
    let open = episodes(&mut running, &[]).await;
    let thread = open.iter().find(|e| e.rule == "spreading-thread").unwrap();
    assert_eq!(thread.thread_root, contracts::id(Said::id("burst0").as_bytes()));
    assert!(thread.forecast.unwrap().expected_final >= 40.0);
    let now = running.client.now(NowRequest::default()).await.unwrap().into_inner();
    assert_eq!(now.posts_total, 180);
    assert!(!now.said.is_empty() && now.said.len() <= 50);
    let rising = now.rising.iter().find(|row| row.subject == "topic/acme/refund").unwrap();
    assert!(rising.surprise > 1.0 && !rising.episode_id.is_empty());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_receiver_is_tried_again_with_the_same_id_and_then_left_in_peace() {
    let world = World::new().await;
    world.receiver.answers(&[Mood::Status(500, None), Mood::Status(429, Some("40")), Mood::Fine]);
    let mut running = world.start().await;
    world.say(&[said("angry", world.now()).severe()]).await;
    let began = world.now();
    world.until(SECOND, "three attempts", async || world.receiver.got().len() >= 3).await;
    let ids: BTreeSet<_> = world.receiver.got().into_iter().map(|got| got.id).collect();
    assert_eq!(ids.len(), 1);
    assert!(world.now().millis_since(began) >= 40_000, "the receiver had asked for 40 s");
    let id = episodes(&mut running, &[]).await[0].episode_id.clone();
    world
        .until(SECOND, "recorded as sent", async || {
            let request = GetEpisodeRequest { episode_id: id.clone() };
            let got = running.client.get_episode(request).await.unwrap().into_inner();
            got.deliveries.len() == 1 && got.deliveries[0].state == "sent" && got.deliveries[0].attempts == 3
        })
        .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_for_good_is_not_repeated_and_people_see_why() {
    let world = World::new().await;
    world.receiver.answers(&[Mood::Status(410, None)]);
    let mut running = world.start().await;
    let episode = one_open(&world, &mut running).await;
    let mut failed = None;
    world
        .until(SECOND, "given up", async || {
            let request = GetEpisodeRequest { episode_id: episode.episode_id.clone() };
            let got = running.client.get_episode(request).await.unwrap().into_inner();
            failed = got.deliveries.into_iter().find(|delivery| delivery.state == "failed");
            failed.is_some()
        })
        .await;
    assert_eq!(failed.unwrap().last_error, "clientError: status 410");
    assert_eq!(world.receiver.got().len(), 1);
    let request = ExplainRequest { episode_id: episode.episode_id, ..ExplainRequest::default() };
    let why = running.client.explain(request).await.unwrap().into_inner();
    let actions: Vec<_> = why.decisions.iter().map(|d| d.action.as_str()).collect();
    assert_eq!(actions, ["opened", "paged", "delivery_failed"]);
    assert_eq!(why.timeline, None, "a single complaint has no course");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_the_receiver_has_it_sends_again_under_the_same_id() {
    let world = World::new().await;
    world.receiver.answers(&[Mood::Hang]);
    let first = world.start().await;
    world.say(&[said("angry", world.now()).severe()]).await;
    world.until(NO_TIME, "the receiver has it", async || world.receiver.got().len() == 1).await;
    first.kill().await;
    let second = world.start().await;
    world.until(SECOND, "sent again", async || world.receiver.got().len() >= 2).await;
    let got = world.receiver.got();
    assert_eq!(got[0].id, got[1].id);
    assert_eq!(got[0].body, got[1].body);
    second.stop().await;
    assert_eq!(world.receiver.got().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_every_page_exists_once() {
    let mut world = World::new().await;
    world.config.reading.batch_records_max = 7;
    let topics = ["refund", "delivery", "staff", "app", "price"];
    let mut sent = 0;
    for life in 0..5 {
        let running = world.start().await;
        let posts: Vec<_> = (0..30)
            .map(|n| Said { topic: topics[n % 5], ..said(format!("{life}-{n}"), world.now()).severe() })
            .collect();
        sent += posts.len() as u64;
        world.say(&posts).await;
        // A different moment each time.
        let enough = (life * 6) as u64;
        world
            .until(NO_TIME, "some were read", async || {
                running.parts.account.hop(severe::HOP).total() >= enough
            })
            .await;
        running.kill().await;
    }
    let mut running = world.start().await;
    world
        .until(SECOND, "all counted", async || {
            let open = episodes(&mut running, &[]).await;
            open.len() == 5 && open.iter().map(|episode| episode.posts).sum::<u64>() == sent
        })
        .await;
    world
        .until(SECOND, "all pages", async || {
            let ids: BTreeSet<_> = pages(&world).into_iter().collect();
            ids.len() == 5
        })
        .await;
    // Tallies add up to the verdicts, whatever was killed.
    world
        .until(NO_TIME, "all tallied", async || {
            let tallied: u64 = world
                .records(Topic::Tallies)
                .await
                .iter()
                .map(|r| TallyEvent::decode(r.record.value.clone().unwrap()).unwrap())
                .filter(|tally| tally.subject.starts_with("topic/"))
                .map(|tally| u64::from(tally.posts))
                .sum();
            assert!(tallied <= sent);
            tallied == sent
        })
        .await;
    let dedup: BTreeSet<_> = world
        .receiver
        .got()
        .iter()
        .map(|got| got.body["data"]["episode_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(dedup.len(), 5, "one episode per topic");
    running.stop().await;
}

fn pages(world: &World) -> Vec<String> {
    let got = world.receiver.got();
    got.into_iter().filter(|got| got.kind == "alert.episode.paged").map(|got| got.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn people_take_end_and_silence_and_repeats_change_nothing() {
    let world = World::new().await;
    let mut running = world.start().await;
    let episode = one_open(&world, &mut running).await;
    let id = episode.episode_id.clone();
    let ack = |version: u64, key: &str| AcknowledgeRequest {
        episode_id: id.clone(),
        owner: "ada".into(),
        expected_version: version,
        idempotency_key: key.into(),
        ..AcknowledgeRequest::default()
    };
    let stale = running.client.acknowledge(ack(999, "")).await.unwrap_err();
    assert_eq!(stale.code(), Code::FailedPrecondition);
    let taken = running.client.acknowledge(ack(episode.version, "k1")).await.unwrap().into_inner();
    let again = running.client.acknowledge(ack(episode.version, "k1")).await.unwrap().into_inner();
    assert_eq!(taken, again);
    assert_eq!(taken.episode.as_ref().unwrap().owner, "ada");
    assert_eq!(taken.episode.unwrap().state(), EpisodeState::Acknowledged);

    let silence = |matcher: SilenceMatcher| SilenceRequest {
        matcher: Some(matcher),
        duration_s: 3_600,
        by: "ada".into(),
        ..SilenceRequest::default()
    };
    let all = running.client.silence(silence(SilenceMatcher::default())).await.unwrap_err();
    assert_eq!(all.code(), Code::InvalidArgument);
    let matcher = SilenceMatcher { topic: "delivery".into(), ..SilenceMatcher::default() };
    let made = running.client.silence(silence(matcher)).await.unwrap().into_inner().silence.unwrap();
    world.say(&[Said { topic: "delivery", ..said("late", world.now()).severe() }]).await;
    world.until(NO_TIME, "two open", async || episodes(&mut running, &[]).await.len() == 2).await;
    let muted = episodes(&mut running, &[]).await;
    let muted = muted.iter().find(|episode| episode.topic == "delivery").unwrap();
    assert_eq!(muted.silenced_by, [made.silence_id.as_str()]);
    assert_eq!(pages(&world).len(), 1, "silenced");
    let listed = running.client.list_silences(ListSilencesRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.silences.len(), 1);
    let request = UnsilenceRequest { silence_id: made.silence_id, by: "ada".into() };
    running.client.unsilence(request).await.unwrap();
    world.until(NO_TIME, "the page held back", async || pages(&world).len() == 2).await;

    let resolve = ResolveRequest {
        episode_id: id.clone(),
        by: "ada".into(),
        // Seen before it was taken: ending it beats taking it.
        expected_version: episode.version,
        useful: Some(true),
        ..ResolveRequest::default()
    };
    let done = running.client.resolve(resolve.clone()).await.unwrap().into_inner().episode.unwrap();
    assert_eq!(done.state(), EpisodeState::Resolved);
    let twice = running.client.resolve(resolve).await.unwrap_err();
    assert_eq!(twice.code(), Code::FailedPrecondition);
    let late = running.client.acknowledge(ack(0, "k2")).await.unwrap_err();
    assert_eq!(late.code(), Code::FailedPrecondition);
    let kinds = async || world.receiver.kinds().iter().any(|kind| kind == "alert.episode.resolved");
    world.until(NO_TIME, "the end is told", kinds).await;
    world.until(NO_TIME, "feedback", async || world.records(Topic::Feedback).await.len() == 1).await;
    let nobody = running.client.get_episode(GetEpisodeRequest { episode_id: vec![0; 16].into() }).await;
    assert_eq!(nobody.unwrap_err().code(), Code::NotFound);
    let bad = running.client.get_episode(GetEpisodeRequest { episode_id: vec![0; 3].into() }).await;
    assert_eq!(bad.unwrap_err().code(), Code::InvalidArgument);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn untaken_page_is_repeated_and_a_taken_one_comes_back_when_it_expires() {
    let world = World::new().await;
    let mut running = world.start().await;
    let episode = one_open(&world, &mut running).await;
    let ack = AcknowledgeRequest {
        episode_id: episode.episode_id,
        owner: "ada".into(),
        expires_in_s: 600,
        ..AcknowledgeRequest::default()
    };
    running.client.acknowledge(ack).await.unwrap();
    let ten_seconds = Duration::from_secs(10);
    world.until(ten_seconds, "the page again", async || pages(&world).len() == 2).await;
    let reasons: Vec<_> = world
        .receiver
        .got()
        .iter()
        .map(|got| got.body["data"]["reason"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(reasons, ["first_notification", "acknowledged", "ack_expired"]);
    // Nothing more comes: after two quiet hours it is over, and those who know are told.
    let minute = Duration::from_secs(60);
    world
        .until(minute, "the end", async || {
            episodes(&mut running, &[EpisodeState::Resolved]).await.len() == 1
                && world.receiver.kinds().last().is_some_and(|kind| kind == "alert.episode.resolved")
        })
        .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_resumes_without_a_gap_or_a_repeat() {
    let world = World::new().await;
    let mut running = world.start().await;
    one_open(&world, &mut running).await;
    let request = WatchRequest { from_start: true, ..WatchRequest::default() };
    let mut stream = running.client.watch(request).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    drop(stream);
    let more: Vec<_> = ["delivery", "staff"]
        .into_iter()
        .map(|topic| Said { topic, ..said(topic, world.now()).severe() })
        .collect();
    world.say(&more).await;
    let request = WatchRequest { resume_token: first.resume_token.clone(), ..WatchRequest::default() };
    let mut stream = running.client.watch(request).await.unwrap().into_inner();
    let mut changes = vec![first];
    // Three episodes: opened, paged, delivered each.
    while changes.len() < 9 {
        changes.push(stream.message().await.unwrap().unwrap());
    }
    let tokens: Vec<_> = changes.iter().map(|change| change.resume_token.clone()).collect();
    assert_eq!(tokens, (1..=9).map(|n| format!("h{n}")).collect::<Vec<_>>());
    let mut by_episode: BTreeMap<Vec<u8>, Vec<u64>> = BTreeMap::new();
    for change in changes {
        let event = change.event.unwrap();
        let id = event.episode.unwrap().episode_id.to_vec();
        by_episode.entry(id).or_default().push(event.sequence);
    }
    assert!(by_episode.values().all(|sequence| *sequence == [1, 2, 3]), "{by_episode:?}");
    let bad = WatchRequest { resume_token: "nonsense".into(), ..WatchRequest::default() };
    assert_eq!(running.client.watch(bad).await.unwrap_err().code(), Code::InvalidArgument);
    drop(stream);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_the_list_hold_every_episode_once() {
    let world = World::new().await;
    let mut running = world.start().await;
    let topics = ["a", "b", "c", "d", "e"];
    let posts: Vec<_> =
        topics.iter().map(|topic| Said { topic, ..said(*topic, world.now()).severe() }).collect();
    world.say(&posts).await;
    world.until(SECOND, "five open", async || episodes(&mut running, &[]).await.len() == 5).await;
    let mut seen = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListEpisodesRequest { limit: 2, page_token, ..ListEpisodesRequest::default() };
        let page = running.client.list_episodes(request).await.unwrap().into_inner();
        assert!(page.episodes.len() <= 2);
        seen.extend(page.episodes.into_iter().map(|episode| episode.topic));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    seen.sort();
    assert_eq!(seen, topics);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_episodes_are_opened_listed_taken_and_ended() {
    let Some(world) = World::on_postgres().await else { return };
    let mut running = world.start().await;
    let episode = one_open(&world, &mut running).await;
    let delivery = Said { topic: "delivery", ..said("late", world.now()).severe() };
    world.say(&[delivery]).await;
    world.until(NO_TIME, "two open", async || episodes(&mut running, &[]).await.len() == 2).await;
    assert_eq!(episodes(&mut running, &[EpisodeState::Resolved]).await, []);
    let ack = AcknowledgeRequest {
        episode_id: episode.episode_id.clone(),
        owner: "ada".into(),
        idempotency_key: "k".into(),
        ..AcknowledgeRequest::default()
    };
    let taken = running.client.acknowledge(ack.clone()).await.unwrap().into_inner();
    assert_eq!(running.client.acknowledge(ack).await.unwrap().into_inner(), taken);
    let silence = SilenceRequest {
        matcher: Some(SilenceMatcher { brand: "acme".into(), ..SilenceMatcher::default() }),
        duration_s: 60,
        by: "ada".into(),
        ..SilenceRequest::default()
    };
    running.client.silence(silence).await.unwrap();
    let end = ResolveRequest {
        episode_id: episode.episode_id.clone(),
        by: "ada".into(),
        ..ResolveRequest::default()
    };
    running.client.resolve(end).await.unwrap();
    let request = GetEpisodeRequest { episode_id: episode.episode_id.clone() };
    let ended = |kind: &String| kind == "alert.episode.resolved";
    world.until(SECOND, "the end is told", async || world.receiver.kinds().iter().any(ended)).await;
    let got = running.client.get_episode(request).await.unwrap().into_inner();
    assert_eq!(got.episode.unwrap().state(), EpisodeState::Resolved);
    assert!(got.history.iter().zip(1..).all(|(event, n)| event.sequence == n));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_writers_of_one_subject_make_one_open_episode() {
    let Some(world) = World::on_postgres().await else { return };
    one_open_episode_for_eight_writers(&world).await;
}

// Under faults, at the tables.

#[tokio::test]
async fn a_crash_between_effects_and_commit_leaves_nothing() {
    let world = World::new().await;
    let desk = Desk::new(world.store.clone(), world.config.policy());
    let now = world.now();
    let signal = &severe::severe(&said("angry", now).severe().event(), &SevereConfig::default())[0];
    let desk_ref = &desk;
    let crashed: Result<(), BatchError> = desk
        .transact(|mut tx| async move {
            desk_ref.signal(&mut tx, signal.clone(), now).await?;
            let lost =
                crate::store::TableError::Damaged { what: "test", id: String::new(), problem: String::new() };
            drop(tx);
            Err(lost.into())
        })
        .await;
    assert!(crashed.is_err());
    for table in ["alert_episodes", "alert_history", "alert_decisions", "alert_outbox", "alert_due"] {
        let sql = format!("SELECT COUNT(*) FROM {table}");
        let count: i64 = store::sqlx::query_scalar(store::sqlx::AssertSqlSafe(sql))
            .fetch_one(world.store.pool())
            .await
            .unwrap();
        assert_eq!(count, 0, "{table}");
    }
}

#[tokio::test]
async fn what_is_old_is_forgotten_and_what_is_open_stays() {
    let world = World::new().await;
    let desk = &Desk::new(world.store.clone(), world.config.policy());
    let now = world.now();
    for (topic, ends) in [("refund", true), ("staff", false)] {
        let post = Said { topic, ..said(topic, now).severe() };
        let signal = &severe::severe(&post.event(), &SevereConfig::default())[0];
        let done: Result<(), BatchError> = desk
            .transact(|mut tx| async move {
                let opened = desk.signal(&mut tx, signal.clone(), now).await?;
                let id = opened.next.unwrap().id;
                let what =
                    paging::What::Resolve { by: "ada".into(), note: String::new(), expected_version: 0 };
                if ends {
                    desk.happens(&mut tx, id, what, now).await?;
                }
                Ok((tx, ()))
            })
            .await;
        done.unwrap();
    }
    for (days, expected) in [(399, 0), (401, 1)] {
        let later = now.plus_millis(days * 86_400_000);
        let gone: Result<usize, BatchError> = desk
            .transact(|mut tx| async move {
                let gone = crate::store::forget_old(&mut tx, later).await?;
                Ok((tx, gone))
            })
            .await;
        assert_eq!(gone.unwrap(), expected);
    }
    assert_eq!(crate::store::open_of(world.store.pool(), None).await.unwrap().len(), 1);
    let left = crate::store::changes_after(&world.store, 0, 100).await.unwrap();
    assert_eq!(left.len(), 2, "opened and paged of the open one");
}

#[tokio::test]
async fn a_zombies_batch_matches_no_offset_and_writes_nothing() {
    let world = World::new().await;
    let desk = Desk::new(world.store.clone(), world.config.policy());
    let now = world.now();
    let partition = Partition { topic: Topic::Verdicts, number: 0 };
    let (mut owner, mut zombie) = (Offsets::default(), Offsets::default());
    owner.load(&world.store, severe::HOP, partition).await.unwrap();
    zombie.load(&world.store, severe::HOP, partition).await.unwrap();
    let next = BTreeMap::from([(partition, 5)]);
    let signal = &severe::severe(&said("angry", now).severe().event(), &SevereConfig::default())[0];
    let (desk, next) = (&desk, &next);
    let write = async |offsets: &Offsets| {
        desk.transact(|mut tx| async move {
            desk.signal(&mut tx, signal.clone(), now).await?;
            offsets.advance(&mut tx, severe::HOP, next).await?;
            Ok::<_, BatchError>((tx, ()))
        })
        .await
    };
    write(&owner).await.unwrap();
    assert!(write(&zombie).await.unwrap_err().is_conflict());
    let open = crate::store::open_of(world.store.pool(), None).await.unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].episode.posts, 1, "counted once");
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_of_one_subject_make_one_open_episode() {
    one_open_episode_for_eight_writers(&World::new().await).await;
}

async fn one_open_episode_for_eight_writers(world: &World) {
    let desk = Arc::new(Desk::new(world.store.clone(), world.config.policy()));
    let now = world.now();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..8 {
        let desk = desk.clone();
        let signal =
            severe::severe(&said(format!("p{n}"), now).severe().event(), &SevereConfig::default()).remove(0);
        tasks.spawn(async move {
            let (desk, signal) = (&desk, &signal);
            desk.transact(|mut tx| async move {
                desk.signal(&mut tx, signal.clone(), now).await?;
                Ok::<_, BatchError>((tx, ()))
            })
            .await
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap().unwrap();
    }
    let open = crate::store::open_of(world.store.pool(), None).await.unwrap();
    assert_eq!((open.len(), open[0].episode.posts), (1, 8));
}

#[test]
fn what_was_said_in_private_is_counted_and_not_shown() {
    let mut event = said("private", at(0)).severe().event();
    let words = event.mention.as_mut().unwrap().mention.as_mut().unwrap();
    words.set_visibility(contracts::ingest::v1::Visibility::Private);
    let signals = severe::severe(&event, &SevereConfig::default());
    assert_eq!(signals[0].facts.evidence[0].excerpt, "");
}

#[test]
fn shipped_defaults_name_real_rules() {
    let policy = Config::default().policy();
    assert_eq!(policy.rules.len(), 4);
}
