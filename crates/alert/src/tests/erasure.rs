//! What is taken back, or whose author is to be forgotten, is shown nowhere any more.

use bus::{Outgoing, Topic};
use contracts::alert::v1::{AcknowledgeRequest, GetEpisodeRequest, NowRequest};
use contracts::envelope;
use contracts::ingest::v1::{Erasure, MentionOp, erasure};
use model::Timestamp;
use store::sqlx::{self, Row as _};

use super::{NO_TIME, SECOND, episodes};
use crate::tally;
use crate::testing::{Mood, Said, World, said};

/// Everything the tables keep, as text.
pub(super) async fn everything(world: &World) -> String {
    let mut all = String::new();
    for table in ["episodes", "history", "decisions", "requests", "snapshots", "outbox", "timelines"] {
        let sql = sqlx::AssertSqlSafe(format!("SELECT body FROM alert_{table}"));
        for row in sqlx::query(sql).fetch_all(world.store.pool()).await.unwrap() {
            all.push_str(&String::from_utf8_lossy(&row.get::<Vec<u8>, _>("body")));
        }
    }
    all
}

/// The withdrawal of a post, as classify hands it on.
fn withdrawn(post: &Said, op: MentionOp, at: Timestamp) -> Outgoing {
    let mut event = post.event();
    event.verdict = None;
    let mention = event.mention.as_mut().unwrap();
    mention.set_op(op);
    mention.observed_at_us = at.as_micros();
    if op == MentionOp::AuthorDeleted {
        mention.author_key = Some(author_of(post));
    }
    mention.mention = None;
    let sealed = envelope::seal("gone", "redress/classify", at, &event);
    tally::outgoing(Topic::Verdicts, event.event_id, sealed, at)
}

fn author_of(post: &Said) -> String {
    format!("ndjson::author-{}", post.native_id)
}

/// An operator's word.
fn asked(post: &Said, at: Timestamp) -> Outgoing {
    let what = erasure::What::AuthorKey(author_of(post));
    let erasure = Erasure { what: Some(what), reason: "request".into(), requested_at_us: at.as_micros() };
    let sealed = envelope::seal("asked", "redress/ingest", at, &erasure);
    tally::outgoing(Topic::Erasures, author_of(post).into(), sealed, at)
}

async fn is_forgotten(world: World, erase: impl Fn(&Said, Timestamp) -> Outgoing) {
    // The receiver is away, so that a page with the words waits in the outbox.
    world.receiver.answers(&[Mood::Status(503, Some("900"))]);
    let mut running = world.start().await;
    let (angry, other) = (said("angry", world.now()).severe(), said("other", world.now()).severe());
    world.say(&[angry.clone(), other]).await;
    world.until(NO_TIME, "a page", async || !world.receiver.got().is_empty()).await;
    world
        .until(NO_TIME, "both are counted", async || {
            episodes(&mut running, &[]).await.first().is_some_and(|episode| episode.posts == 2)
        })
        .await;
    let id = episodes(&mut running, &[]).await[0].episode_id.clone();
    let taken = AcknowledgeRequest {
        episode_id: id.clone(),
        owner: "ada".into(),
        expires_in_s: 60,
        idempotency_key: "k".into(),
        ..AcknowledgeRequest::default()
    };
    running.client.acknowledge(taken).await.unwrap();
    let words = "my money, <!channel>! angry";
    assert!(everything(&world).await.contains(words));

    world.publish(vec![erase(&angry, world.now())]).await;
    world
        .until(NO_TIME, "it is forgotten", async || {
            let now = running.client.now(NowRequest::default()).await.unwrap().into_inner();
            !everything(&world).await.contains(words) && now.said.iter().all(|said| said.excerpt != words)
        })
        .await;
    let request = GetEpisodeRequest { episode_id: id };
    let got = running.client.get_episode(request).await.unwrap().into_inner();
    let episode = got.episode.unwrap();
    assert_eq!((episode.posts, episode.evidence.len()), (2, 1), "what was counted stays counted");
    assert!(got.history.iter().any(|event| event.reason.as_ref().unwrap().code == "erased"));
    // The page that waited goes out without the words when nobody is at it any more.
    world
        .until(SECOND * 60, "a page", async || {
            let pages = world.receiver.got();
            pages.iter().skip(1).any(|got| got.kind == "alert.episode.paged")
        })
        .await;
    for got in &world.receiver.got()[1..] {
        assert!(!got.body.to_string().contains(words), "{}", got.body);
    }
    running.stop().await;
    assert!(!everything(&world).await.contains(words), "nor does the last snapshot hold it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_taken_back_is_shown_nowhere() {
    is_forgotten(World::new().await, |post, at| withdrawn(post, MentionOp::Deleted, at)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_author_who_left_is_shown_nowhere() {
    is_forgotten(World::new().await, |post, at| withdrawn(post, MentionOp::AuthorDeleted, at)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_an_author_to_be_forgotten_on_request_is_shown_nowhere() {
    let Some(world) = World::on_postgres().await else { return };
    is_forgotten(world, asked).await;
}
