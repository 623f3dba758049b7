use bus::{Headers, Outgoing, Record, Topic};
use contracts::ingest::v1::{Coverage, DeadLetter, Erasure, erasure};
use contracts::response::v1::{CaseChange, CaseState, ClockKind, ClockSide, ClockState};
use model::{AuthorKey, MentionOp, Outcome};
use prost::Message as _;
use store::sqlx::{self, Row as _};

use super::{MONDAY, Post, World, at, mention_id, on_both, outgoing, until};
use crate::HOP;

on_both! {
    a_case_lives_from_complaint_to_won_back
    a_breach_is_told_for_its_time_also_when_nobody_was_there
    an_answer_heard_before_the_question_stops_the_clock
    a_machines_answer_stops_no_clock
    who_passes_a_complaint_on_opens_no_case_and_answers_none
    what_cannot_be_read_becomes_a_dead_letter_and_the_rest_goes_on
    who_is_to_be_forgotten_leaves_no_trace
    withdrawn_words_are_kept_nowhere
    every_change_reaches_the_log_in_order
    a_repeat_of_everything_changes_nothing
}

async fn a_case_lives_from_complaint_to_won_back(world: &World) {
    let running = world.start().await;
    let mut changes = running.watch("").await;
    world.posts(&[Post::complaint("a", "dave", MONDAY)]).await;
    let opened = changes.until(CaseChange::Opened).await;
    assert_eq!((opened.sequence, opened.reason_code.as_str()), (1, "complaint"));
    assert!(opened.case.unwrap().messages.is_empty(), "no words are told");
    let case = running.only_case().await;
    assert_eq!((case.state(), case.clocks.len()), (CaseState::New, 6));
    assert_eq!(case.messages[0].text, "words of dave in a");
    assert_eq!(case.waiting_since_us, Some(at(MONDAY).as_micros()));

    world.clock.set(at("2026-01-12T09:20:00Z"));
    world.posts(&[Post::answer("b", "a", "2026-01-12T09:20:00Z")]).await;
    changes.until(CaseChange::BrandAnswered).await;
    let case = running.only_case().await;
    assert_eq!((case.state(), case.waiting_since_us), (CaseState::Open, None));
    let first = case.clocks.iter().filter(|c| c.kind() == ClockKind::FirstAnswer);
    for clock in first {
        assert_eq!((clock.state(), clock.elapsed_ms), (ClockState::Fulfilled, 20 * 60_000), "{clock:?}");
    }

    world.clock.set(at("2026-01-12T12:00:00Z"));
    world.posts(&[Post::thanks("c", "dave", "2026-01-12T12:00:00Z").answering("b")]).await;
    changes.until(CaseChange::WonBack).await;
    changes.until(CaseChange::Resolved).await;
    let case = running.only_case().await;
    assert_eq!((case.state(), case.resolution.as_str()), (CaseState::Resolved, "won_back"));
    assert_eq!(case.won_back_at_us, Some(at("2026-01-12T12:00:00Z").as_micros()));

    world.clock.set(at("2026-01-13T12:00:00Z"));
    world.posts(&[Post::complaint("d", "dave", "2026-01-13T12:00:00Z")]).await;
    changes.until(CaseChange::Reopened).await;
    assert_eq!(running.only_case().await.reopened, 1);
    running.stop().await;
}

async fn a_breach_is_told_for_its_time_also_when_nobody_was_there(world: &World) {
    let running = world.start().await;
    let mut changes = running.watch("").await;
    world.posts(&[Post::complaint("a", "dave", MONDAY)]).await;
    changes.until(CaseChange::Opened).await;
    // The customer's and, at nine in the morning of a Monday, everybody else's hour.
    world.clock.set(at("2026-01-12T09:59:59.999999Z"));
    let warned = changes.until(CaseChange::Warned).await;
    assert_eq!(warned.at_us, at("2026-01-12T09:45:00Z").as_micros());
    assert_eq!(running.only_case().await.clocks[0].state(), ClockState::Running);
    world.clock.set(at("2026-01-12T10:00:00Z"));
    let breached = changes.until(CaseChange::Breached).await;
    assert_eq!(breached.at_us, at("2026-01-12T10:00:00Z").as_micros());
    assert_eq!(breached.clock.unwrap().side(), ClockSide::Customer);

    // The second case breaches while the service is away.
    world.clock.set(at("2026-01-12T11:00:00Z"));
    world.posts(&[Post::complaint("b", "erin", "2026-01-12T11:00:00Z")]).await;
    let opened = changes.until(CaseChange::Opened).await.case.unwrap();
    drop(changes);
    running.stop().await;
    world.clock.set(at("2026-01-12T12:30:00Z"));
    let running = world.start().await;
    until(async || running.history(&opened.case_id).await.iter().any(|e| e.change() == CaseChange::Breached))
        .await;
    let history = running.history(&opened.case_id).await;
    let breach = history.iter().find(|e| e.change() == CaseChange::Breached).unwrap();
    assert_eq!(breach.at_us, at("2026-01-12T12:00:00Z").as_micros());
    let sequences: Vec<_> = history.iter().map(|e| e.sequence).collect();
    assert_eq!(sequences, (1..=history.len() as u64).collect::<Vec<_>>());
    running.stop().await;
}

async fn an_answer_heard_before_the_question_stops_the_clock(world: &World) {
    let running = world.start().await;
    world.clock.set(at("2026-01-12T09:30:00Z"));
    world.posts(&[Post::answer("b", "a", "2026-01-12T09:10:00Z")]).await;
    running.heard(1).await;
    world.posts(&[Post::complaint("a", "dave", MONDAY)]).await;
    running.heard(2).await;
    let case = running.only_case().await;
    assert_eq!((case.state(), case.messages.len(), case.waiting_since_us), (CaseState::Open, 2, None));
    assert_eq!(case.clocks[0].elapsed_ms, 10 * 60_000);
    running.stop().await;
}

async fn a_machines_answer_stops_no_clock(world: &World) {
    let running = world.start().await;
    world.posts(&[Post::complaint("a", "dave", MONDAY)]).await;
    running.heard(1).await;
    world.posts(&[Post::answer("b", "a", "2026-01-12T09:00:01Z").by_machine()]).await;
    running.heard(2).await;
    let case = running.only_case().await;
    assert_eq!((case.state(), case.messages.len()), (CaseState::New, 2));
    assert!(case.messages[1].is_automatic);
    running.stop().await;
}

async fn who_passes_a_complaint_on_opens_no_case_and_answers_none(world: &World) {
    let running = world.start().await;
    world
        .posts(&[
            Post::complaint("a", "dave", MONDAY),
            Post::complaint("b", "erin", MONDAY).passing_on("a"),
            Post::answer("c", "a", MONDAY).passing_on("a"),
        ])
        .await;
    running.heard(3).await;
    let case = running.only_case().await;
    assert_eq!((case.customer_handle.as_str(), case.state()), ("dave", CaseState::New));
    let account = running.stop().await;
    assert_eq!(account.hop(HOP).with(Outcome::Suppressed), 2);
}

async fn what_cannot_be_read_becomes_a_dead_letter_and_the_rest_goes_on(world: &World) {
    let running = world.start().await;
    let mut headers = Headers::new();
    headers.push("ce_type", "redress.classify.v1.VerdictEvent");
    let broken = Record { key: "k".into(), value: Some(vec![0xff; 9].into()), headers, at: at(MONDAY) };
    let broken = Outgoing { topic: Topic::Verdicts, partition: Some(0), record: broken };
    // What a source says about itself is none of ours, and no failure.
    let said = Coverage { connector: "live".into(), ..Coverage::default() };
    let said = outgoing(Topic::Verdicts, Some(0), "live".into(), "c1", at(MONDAY), &said);
    world.log.publisher().unwrap().publish(vec![broken, said]).await.unwrap();
    world.posts(&[Post::complaint("a", "dave", MONDAY), Post::new("b", "erin", MONDAY)]).await;
    running.heard(4).await;
    until(async || !world.read(Topic::DeadLetter).await.is_empty()).await;
    let letters = world.read(Topic::DeadLetter).await;
    let letter = DeadLetter::decode(letters[0].record.value.clone().unwrap()).unwrap();
    assert_eq!((letter.service.as_str(), letter.reason.as_str()), ("response", "malformed_protobuf"));
    assert_eq!(letter.body.as_ref(), [0xff; 9]);
    let account = running.stop().await.hop(HOP);
    let ends = [Outcome::Stored, Outcome::Suppressed, Outcome::DeadLettered].map(|o| account.with(o));
    assert_eq!(ends, [1, 2, 1]);
}

/// Everything these tables keep, as text.
async fn everything(world: &World) -> String {
    let mut all = String::new();
    for table in ["cases", "history", "early_answers"] {
        let sql = sqlx::AssertSqlSafe(format!("SELECT body FROM response_{table}"));
        for row in sqlx::query(sql).fetch_all(world.store.pool()).await.unwrap() {
            all.push_str(&String::from_utf8_lossy(&row.get::<Vec<u8>, _>("body")));
        }
    }
    for column in ["customer_key", "thread_root"] {
        let sql = sqlx::AssertSqlSafe(format!("SELECT {column} AS text FROM response_cases"));
        for row in sqlx::query(sql).fetch_all(world.store.pool()).await.unwrap() {
            all.push_str(&row.get::<String, _>("text"));
        }
    }
    all
}

async fn who_is_to_be_forgotten_leaves_no_trace(world: &World) {
    let running = world.start().await;
    let mut changes = running.watch("").await;
    world.posts(&[Post::complaint("a", "dave", MONDAY)]).await;
    changes.until(CaseChange::Opened).await;
    let case = running.only_case().await;
    let key = AuthorKey::parse(&case.customer_key).unwrap();
    assert!(everything(world).await.contains("dave"));
    let erasure = Erasure {
        what: Some(erasure::What::AuthorKey(key.as_str().to_owned())),
        reason: "request".into(),
        requested_at_us: at(MONDAY).as_micros(),
    };
    let record = outgoing(Topic::Erasures, None, key.as_str().to_owned().into(), "e1", at(MONDAY), &erasure);
    world.log.publisher().unwrap().publish(vec![record]).await.unwrap();
    changes.until(CaseChange::Withdrawn).await;
    let kept = everything(world).await;
    assert!(!kept.contains("dave") && !kept.contains("words of"), "{kept}");
    let case = running.only_case().await;
    assert_eq!((case.state(), case.resolution.as_str()), (CaseState::Resolved, "withdrawn"));
    running.stop().await;
}

async fn withdrawn_words_are_kept_nowhere(world: &World) {
    let running = world.start().await;
    let post = Post::complaint("a", "dave", MONDAY);
    world.posts(std::slice::from_ref(&post)).await;
    running.heard(1).await;
    world.posts(&[post.without_words(MentionOp::Deleted)]).await;
    running.heard(2).await;
    assert!(!everything(world).await.contains("words of"));
    assert_eq!(running.only_case().await.state(), CaseState::Resolved);
    // Nobody waits any more: nothing falls due.
    world.clock.set(at("2026-03-12T09:00:00Z"));
    world.posts(&[Post::complaint("z", "erin", "2026-03-12T09:00:00Z")]).await;
    running.heard(3).await;
    let request = contracts::response::v1::ReportRequest::default();
    let report = running.client.clone().report(request).await.unwrap().into_inner();
    assert_eq!((report.opened, report.breaches, report.unanswered), (2, 0, 2));
    running.stop().await;
}

async fn every_change_reaches_the_log_in_order(world: &World) {
    let running = world.start().await;
    world.posts(&[Post::complaint("a", "dave", MONDAY)]).await;
    running.heard(1).await;
    world.clock.set(at("2026-01-12T10:30:00Z"));
    world.posts(&[Post::answer("b", "a", "2026-01-12T10:30:00Z")]).await;
    running.heard(2).await;
    let case = running.only_case().await;
    let told = running.history(&case.case_id).await;
    until(async || crate::untold(&world.store).await.unwrap() == 0).await;
    let records = world.read(Topic::Cases).await;
    assert_eq!(records.len(), told.len(), "what counts as told is on the log");
    running.stop().await;
    let records = world.read(Topic::Cases).await;
    let ids: Vec<_> = records.iter().map(|r| r.record.headers.text("ce_id").unwrap().to_owned()).collect();
    let name = model::CaseId::from_slice(&case.case_id).unwrap();
    assert_eq!(ids, (1..=records.len()).map(|n| format!("{name}/{n}")).collect::<Vec<_>>());
    assert!(records.iter().all(|r| r.record.key == case.case_id));
}

async fn a_repeat_of_everything_changes_nothing(world: &World) {
    let posts = [
        Post::complaint("a", "dave", MONDAY),
        Post::answer("b", "a", "2026-01-12T09:10:00Z"),
        Post::complaint("c", "dave", "2026-01-12T09:20:00Z"),
    ];
    let running = world.start().await;
    for (count, post) in posts.iter().enumerate() {
        world.posts(std::slice::from_ref(post)).await;
        running.heard(count as u64 + 1).await;
    }
    let before = running.only_case().await;
    world.posts(&posts).await;
    running.heard(6).await;
    assert_eq!(running.only_case().await, before);
    assert_eq!(before.messages.iter().filter(|m| *m.mention_id == *mention_id("b").as_bytes()).count(), 1);
    let account = running.stop().await.hop(HOP);
    assert_eq!((account.with(Outcome::Stored), account.with(Outcome::Merged)), (3, 3));
}
