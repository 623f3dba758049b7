//! Sources that fall silent and come back: what that does to what is open, and who hears of it.

use bus::{Outgoing, Topic};
use contracts::alert::v1::{EpisodeState, ExplainRequest, NowRequest, TallyEvent};
use contracts::envelope;
use contracts::ingest::v1::{Coverage, CoverageState};
use model::Timestamp;
use paging::{Signal, SignalKind};
use prost::Message as _;

use super::{NO_TIME, SECOND, at, episodes, rules, tallies};
use crate::detection::Detectors;
use crate::tally;
use crate::testing::{Running, Said, World, received, said};

fn coverage(state: CoverageState, since: Timestamp, watermark: Timestamp) -> Coverage {
    Coverage {
        connector: "stream".into(),
        watermark_us: watermark.as_micros(),
        state: state.into(),
        since_us: since.as_micros(),
        detail: "connection lost".into(),
    }
}

/// As classify hands it on.
fn record(said: &Coverage) -> Outgoing {
    let at = Timestamp::from_micros(said.since_us);
    let sealed = envelope::seal("stream", "redress/ingest", at, said);
    tally::outgoing(Topic::Verdicts, "stream".into(), sealed, at)
}

/// A detector that hears posts and what sources say, as the second stage does.
#[derive(Default)]
struct Ear {
    detectors: Detectors,
    signals: Vec<Signal>,
    heard: i64,
}

impl Ear {
    fn hear(&mut self, posts: Vec<Said>) {
        for post in posts {
            self.heard += 1;
            let folded = tally::fold(&[post.received(0, self.heard)], 1, at(0));
            for tally in tallies(&folded.outputs) {
                self.signals.extend(self.detectors.take(&tally, &rules()).unwrap().into_signals());
            }
        }
    }

    fn idle(&mut self, until: i64) {
        // As the service: a look now and then.
        for now in (0..until).step_by(60) {
            self.signals.extend(self.detectors.idle(at(now).as_seconds(), &rules()).into_signals());
        }
    }

    /// What is told of a rule, but for growth and fresh numbers.
    fn kinds(&self, rule: &str) -> Vec<SignalKind> {
        let of_rule = self.signals.iter().filter(|signal| signal.rule == rule).map(|signal| signal.kind);
        of_rule.filter(|kind| !matches!(kind, SignalKind::Seen | SignalKind::Grew)).collect()
    }
}

fn usual(from: i64, to: i64, every: i64) -> Vec<Said> {
    (from..to).step_by(every as usize).map(|s| said(format!("usual{s}"), at(s))).collect()
}

fn burst(from: i64, count: i64) -> Vec<Said> {
    (0..count).map(|n| said(format!("burst{from}-{n}"), at(from + n * 2))).collect()
}

#[test]
fn silence_of_the_source_is_no_data_and_never_calm() {
    let mut ear = Ear::default();
    ear.hear(usual(0, 7_200, 120));
    ear.hear(burst(7_200, 150));
    ear.hear((0..40).map(|n| said(format!("r{n}"), at(7_200 + n * 7)).answering("root")).collect());
    assert_eq!(ear.kinds("rising-subject"), [SignalKind::Opened]);
    assert_eq!(ear.kinds("spreading-thread"), [SignalKind::Opened]);
    ear.detectors.cover(&coverage(CoverageState::Gap, at(7_510), at(7_500)));
    ear.idle(7_500 + 5 * 3_600);
    assert_eq!(ear.kinds("rising-subject"), [SignalKind::Opened, SignalKind::NoData]);
    assert_eq!(ear.kinds("spreading-thread"), [SignalKind::Opened, SignalKind::NoData]);
    let blind = ear.signals.iter().find(|signal| signal.kind == SignalKind::NoData).unwrap();
    assert!(blind.why.text().contains("silence is not calm"), "{}", blind.why.text());
    // The same silence of a source that is there is calm.
    ear.detectors.cover(&coverage(CoverageState::Live, at(25_500), at(25_500)));
    ear.idle(25_500 + 3 * 3_600);
    let end = Some(&SignalKind::Calm);
    assert_eq!((ear.kinds("rising-subject").last(), ear.kinds("spreading-thread").last()), (end, end));
}

#[test]
fn a_backlog_after_a_gap_is_no_burst_and_a_burst_after_it_is() {
    let hour = 3_600;
    let mut ear = Ear::default();
    ear.hear(usual(0, 8 * hour, 120));
    ear.detectors.cover(&coverage(CoverageState::Gap, at(8 * hour), at(8 * hour)));
    ear.detectors.cover(&coverage(CoverageState::CatchingUp, at(11 * hour), at(8 * hour)));
    // Three hours of posts come at once, each with the time it was witnessed.
    ear.hear(usual(8 * hour, 11 * hour, 120));
    // And some that are stamped when they came.
    ear.hear(burst(11 * hour, 60));
    assert_eq!(ear.kinds("rising-subject"), [], "the backlog");
    ear.detectors.cover(&coverage(CoverageState::Live, at(11 * hour + 300), at(11 * hour + 300)));
    ear.hear(usual(11 * hour + 300, 16 * hour, 120));
    assert_eq!(ear.kinds("rising-subject"), [], "nor is the usual after it");
    ear.hear(burst(16 * hour, 80));
    assert_eq!(ear.kinds("rising-subject"), [SignalKind::Opened]);
}

#[test]
fn a_gap_teaches_nobody_that_it_is_quiet() {
    let hour = 3_600;
    let after = |is_told: bool| {
        let mut ear = Ear::default();
        ear.hear(usual(0, 12 * hour, 60));
        if is_told {
            ear.detectors.cover(&coverage(CoverageState::Gap, at(12 * hour), at(12 * hour)));
            ear.detectors.cover(&coverage(CoverageState::Live, at(36 * hour), at(36 * hour)));
        }
        ear.hear(usual(36 * hour, 38 * hour, 60));
        ear.hear(burst(38 * hour, 120));
        let opened = ear.signals.iter().find(|signal| signal.kind == SignalKind::Opened).unwrap();
        opened.why.numbers()["usual_low"]
    };
    let (told, untold) = (after(true), after(false));
    assert!(told > untold, "usual is {told} when the gap is known, {untold} when it is taken for calm");
}

#[test]
fn a_restored_snapshot_knows_of_the_gap() {
    let mut ear = Ear::default();
    ear.hear(usual(0, 7_200, 120));
    ear.hear(burst(7_200, 150));
    ear.detectors.cover(&coverage(CoverageState::Gap, at(7_510), at(7_500)));
    let mut restored =
        Ear { detectors: Detectors::from_bytes(&ear.detectors.snapshot()).unwrap(), ..Ear::default() };
    restored.idle(7_500 + 5 * 3_600);
    assert_eq!(restored.kinds("rising-subject"), [SignalKind::NoData]);
}

#[test]
fn every_owner_of_subjects_hears_of_a_source_and_of_a_backlog_before_it() {
    let behind = record(&coverage(CoverageState::CatchingUp, at(0), at(0)));
    let gap = record(&coverage(CoverageState::Gap, at(1), at(0)));
    let batch = [said("a", at(0)).received(0, 0), received(behind, 0, 1), received(gap, 0, 2)];
    let folded = tally::fold(&batch, 3, at(0));
    let kind = |out: &Outgoing| match envelope::is::<Coverage>(out.record.headers.text("ce_type")) {
        true => Coverage::decode(out.record.value.clone().unwrap()).unwrap().state().as_str_name(),
        false => "tally",
    };
    let kinds: Vec<_> = folded.outputs.iter().map(|out| (kind(out), out.partition)).collect();
    let (behind, gap) = ("COVERAGE_STATE_CATCHING_UP", "COVERAGE_STATE_GAP");
    let expected = [
        (behind, Some(0)),
        (behind, Some(1)),
        (behind, Some(2)),
        ("tally", None),
        ("tally", None),
        (gap, Some(0)),
        (gap, Some(1)),
        (gap, Some(2)),
    ];
    assert_eq!(kinds, expected);
}

#[test]
fn history_says_nothing_about_what_usually_comes() {
    let mut event = said("a", at(0)).event();
    let source = event.mention.as_mut().unwrap().source.as_mut().unwrap();
    source.set_transport(contracts::ingest::v1::Transport::Backfill);
    let sealed = envelope::seal("a", "redress/classify", at(0), &event);
    let out = tally::outgoing(Topic::Verdicts, event.event_id.clone(), sealed, at(0));
    let folded = tally::fold(&[received(out, 0, 0)], 1, at(0));
    let tally: &TallyEvent = &tallies(&folded.outputs)[0];
    assert_eq!((tally.posts, tally.connectors.len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_source_calls_somebody_and_is_over_when_heard_again() {
    silence_is_told(World::new().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_a_silent_source_calls_somebody_and_is_over_when_heard_again() {
    let Some(world) = World::on_postgres().await else { return };
    silence_is_told(world).await;
}

async fn tell(world: &World, state: CoverageState) {
    let now = world.now();
    world.publish(vec![record(&coverage(state, now, now))]).await;
}

async fn silence_is_told(world: World) {
    let mut running: Running = world.start().await;
    world.say(&[said("angry", world.now()).severe()]).await;
    world.until(NO_TIME, "a page", async || !world.receiver.got().is_empty()).await;
    let severe = episodes(&mut running, &[]).await.remove(0);
    tell(&world, CoverageState::Gap).await;
    world.until(SECOND, "the silence is told", async || episodes(&mut running, &[]).await.len() == 2).await;
    let silent = episodes(&mut running, &[EpisodeState::Firing]).await;
    let silent = silent.iter().find(|episode| episode.rule == "silent-source").unwrap();
    assert_eq!(silent.subject, "source/acme/stream");
    assert_eq!(silent.title, "acme: nothing is heard from stream");
    world.until(NO_TIME, "a second page", async || world.receiver.got().len() == 2).await;
    let why = world.receiver.got()[1].body["data"]["why"].as_str().unwrap().to_owned();
    let request = ExplainRequest { episode_id: silent.episode_id.clone(), ..ExplainRequest::default() };
    let told = running.client.explain(request).await.unwrap().into_inner();
    let first = told.decisions[0].reason.clone().unwrap().text;
    assert!(
        first.starts_with(
            "nothing heard from stream for 5 min (connection lost); 100 % of the posts about acme"
        ),
        "{first} / {why}"
    );
    let now = running.client.now(NowRequest::default()).await.unwrap().into_inner();
    assert_eq!((now.unheard.len(), now.unheard[0].connectors[0].as_str()), (1, "stream"));
    assert!(now.unheard[0].share < 0.01 && now.unheard[0].words.contains("silence is not calm"));

    // Hours pass: what was open is in doubt, not over.
    world
        .until(SECOND * 600, "the severe one is in doubt", async || {
            let blind = episodes(&mut running, &[EpisodeState::NoData]).await;
            blind.iter().any(|episode| episode.episode_id == severe.episode_id)
        })
        .await;
    assert_eq!(episodes(&mut running, &[EpisodeState::Resolved]).await, []);
    tell(&world, CoverageState::Live).await;
    world
        .until(SECOND * 600, "both are over", async || {
            episodes(&mut running, &[EpisodeState::Resolved]).await.len() == 2
        })
        .await;
    let now = running.client.now(NowRequest::default()).await.unwrap().into_inner();
    assert_eq!(now.unheard, []);
    let ended = world.receiver.kinds().iter().filter(|kind| *kind == "alert.episode.resolved").count();
    world.until(NO_TIME, "both ends are sent", async || ended <= 2).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_soon_back_calls_nobody() {
    let world = World::new().await;
    let mut running = world.start().await;
    tell(&world, CoverageState::Gap).await;
    world.until(NO_TIME, "the gap is noted", async || noted(&world).await == 1).await;
    world.clock.advance(SECOND * 200);
    tell(&world, CoverageState::Live).await;
    world.until(NO_TIME, "the end is noted", async || noted(&world).await == 0).await;
    world.clock.advance(SECOND * 3_600);
    tokio::task::yield_now().await;
    assert_eq!(episodes(&mut running, &[]).await, []);
    running.stop().await;
    assert_eq!(world.receiver.kinds(), Vec::<String>::new());
}

/// Looks that are planned.
async fn noted(world: &World) -> i64 {
    let count = store::sqlx::query_scalar("SELECT COUNT(*) FROM alert_due WHERE kind = 'source'");
    count.fetch_one(world.store.pool()).await.unwrap()
}
