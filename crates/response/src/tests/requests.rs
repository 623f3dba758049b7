use contracts::response::v1::{
    AssignRequest, CaseChange, CaseState, GetCaseRequest, KeepRequest, ListCasesRequest, PromiseRequest,
    PromiseState, RecordReplyRequest, ReopenRequest, ReportRequest, ResolveRequest, WatchRequest,
};
use tonic::Code;

use super::{MONDAY, Post, World, at, on_both};
use crate::Config;

on_both! {
    somebody_takes_a_case_answers_promises_and_resolves
    a_repeated_request_changes_nothing_and_a_key_is_for_one_request
    who_acts_on_an_older_version_is_told
    what_cannot_be_meant_is_refused
    lists_page_through_the_longest_waiting_first
    a_watch_resumes_without_a_gap
    what_is_too_much_is_refused_at_the_bound
    requests_at_once_leave_a_history_without_gaps
}

async fn somebody_takes_a_case_answers_promises_and_resolves(world: &World) {
    let running = world.start().await;
    let mut client = running.client.clone();
    world.posts(&[Post::complaint("a", "dave", MONDAY)]).await;
    running.heard(1).await;
    let case_id = running.only_case().await.case_id;
    let by = || "kim".to_owned();
    let assign = AssignRequest { case_id: case_id.clone(), assignee: by(), by: by(), ..Default::default() };
    let case = client.assign(assign).await.unwrap().into_inner().case.unwrap();
    assert_eq!((case.assignee.as_str(), case.state()), ("kim", CaseState::Open));

    let reply = RecordReplyRequest {
        case_id: case_id.clone(),
        by: by(),
        text: "we called".into(),
        waits_for_customer: true,
        ..Default::default()
    };
    world.clock.set(at("2026-01-12T09:30:00Z"));
    let case = client.record_reply(reply).await.unwrap().into_inner().case.unwrap();
    assert_eq!((case.state(), case.waiting_since_us), (CaseState::Waiting, None));

    let promise = |due: &str| PromiseRequest {
        case_id: case_id.clone(),
        by: by(),
        what: "refund of 42 EUR".into(),
        due_at_us: at(due).as_micros(),
        ..Default::default()
    };
    let case = client.promise(promise("2026-01-13T09:00:00Z")).await.unwrap().into_inner().case.unwrap();
    let kept = case.promises[0].promise_id.clone();
    client.promise(promise("2026-01-13T15:00:00Z")).await.unwrap();
    let keep = KeepRequest {
        case_id: case_id.clone(),
        promise_id: kept.clone(),
        by: by(),
        evidence: "receipt 7".into(),
        ..Default::default()
    };
    client.keep(keep.clone()).await.unwrap();
    let again = client.keep(keep).await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition);

    // The second one is broken at its due time.
    let mut changes = running.watch("").await;
    world.clock.set(at("2026-01-13T15:00:00Z"));
    let broken = changes.until(CaseChange::PromiseBroken).await;
    assert_eq!(broken.at_us, at("2026-01-13T15:00:00Z").as_micros());
    let case = running.only_case().await;
    let states: Vec<_> = case.promises.iter().map(|p| p.state()).collect();
    assert_eq!(states, [PromiseState::Kept, PromiseState::Broken]);

    let resolve = ResolveRequest {
        case_id: case_id.clone(),
        by: by(),
        note: "sent a new case".into(),
        root_cause: "ramp".into(),
        ..Default::default()
    };
    let case = client.resolve(resolve.clone()).await.unwrap().into_inner().case.unwrap();
    assert_eq!((case.state(), case.root_cause.as_str()), (CaseState::Resolved, "ramp"));
    assert_eq!(client.resolve(resolve).await.unwrap_err().code(), Code::FailedPrecondition);
    let reopen = ReopenRequest { case_id: case_id.clone(), by: by(), ..Default::default() };
    let case = client.reopen(reopen).await.unwrap().into_inner().case.unwrap();
    assert_eq!((case.state(), case.reopened), (CaseState::Open, 1));

    let report = client.report(ReportRequest { brand: "acme".into(), ..Default::default() }).await.unwrap();
    let report = report.into_inner();
    let promises = (report.promises_made, report.promises_kept, report.promises_broken);
    assert_eq!(promises, (2, 1, 1));
    assert_eq!((report.opened, report.answered, report.resolved, report.reopened), (1, 1, 1, 1));
    assert_eq!((report.first_answer_p50_ms, report.unanswered), (Some(30 * 60_000), 0));
    running.stop().await;
}

async fn a_repeated_request_changes_nothing_and_a_key_is_for_one_request(world: &World) {
    let running = world.start().await;
    let mut client = running.client.clone();
    world.posts(&[Post::complaint("a", "dave", MONDAY)]).await;
    running.heard(1).await;
    let case_id = running.only_case().await.case_id;
    let reply = RecordReplyRequest {
        case_id,
        by: "kim".into(),
        text: "we called".into(),
        idempotency_key: "k1".into(),
        ..Default::default()
    };
    let first = client.record_reply(reply.clone()).await.unwrap().into_inner().case.unwrap();
    let second = client.record_reply(reply.clone()).await.unwrap().into_inner().case.unwrap();
    assert_eq!(first, second);
    assert_eq!(second.messages.len(), 2);
    let other = RecordReplyRequest { text: "we wrote".into(), ..reply };
    assert_eq!(client.record_reply(other).await.unwrap_err().code(), Code::InvalidArgument);
    running.stop().await;
}

async fn who_acts_on_an_older_version_is_told(world: &World) {
    let running = world.start().await;
    let mut client = running.client.clone();
    world.posts(&[Post::complaint("a", "dave", MONDAY)]).await;
    running.heard(1).await;
    let case = running.only_case().await;
    world.posts(&[Post::complaint("b", "dave", MONDAY)]).await;
    running.heard(2).await;
    let assign = AssignRequest {
        case_id: case.case_id,
        assignee: "kim".into(),
        by: "kim".into(),
        expected_version: case.version,
        ..Default::default()
    };
    let refused = client.assign(assign.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let current = running.only_case().await.version;
    client.assign(AssignRequest { expected_version: current, ..assign }).await.unwrap();
    running.stop().await;
}

async fn what_cannot_be_meant_is_refused(world: &World) {
    let running = world.start().await;
    let mut client = running.client.clone();
    world.posts(&[Post::complaint("a", "dave", MONDAY)]).await;
    running.heard(1).await;
    let case_id = running.only_case().await.case_id;
    let nobody = GetCaseRequest { case_id: vec![7; 16].into() };
    assert_eq!(client.get_case(nobody).await.unwrap_err().code(), Code::NotFound);
    let short = GetCaseRequest { case_id: vec![7; 3].into() };
    assert_eq!(client.get_case(short).await.unwrap_err().code(), Code::InvalidArgument);
    let promise = PromiseRequest {
        case_id: case_id.clone(),
        by: "kim".into(),
        what: "something".into(),
        due_at_us: at(MONDAY).as_micros(),
        ..Default::default()
    };
    let nameless = PromiseRequest { by: String::new(), ..promise.clone() };
    assert_eq!(client.promise(promise).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(client.promise(nameless).await.unwrap_err().code(), Code::InvalidArgument);
    let reply = RecordReplyRequest {
        case_id: case_id.clone(),
        by: "kim".into(),
        permalink: "javascript:alert(1)".into(),
        ..Default::default()
    };
    assert_eq!(client.record_reply(reply).await.unwrap_err().code(), Code::InvalidArgument);
    let reopen = ReopenRequest { case_id, by: "kim".into(), ..Default::default() };
    assert_eq!(client.reopen(reopen).await.unwrap_err().code(), Code::FailedPrecondition);
    let page = ListCasesRequest { page_token: "x".into(), ..Default::default() };
    assert_eq!(client.list_cases(page).await.unwrap_err().code(), Code::InvalidArgument);
    let watch = WatchRequest { resume_token: "x".into(), ..Default::default() };
    assert_eq!(client.watch(watch).await.err().map(|s| s.code()), Some(Code::InvalidArgument));
    assert_eq!(running.only_case().await.version, 1);
    running.stop().await;
}

async fn lists_page_through_the_longest_waiting_first(world: &World) {
    let running = world.start().await;
    let mut client = running.client.clone();
    world.clock.set(at("2026-01-12T09:30:00Z"));
    let posts: Vec<_> = (0..25)
        .map(|i| {
            let when = format!("2026-01-12T09:{:02}:00Z", (i * 7) % 25);
            Post::complaint(&format!("p{i}"), &format!("author{i}"), &when)
        })
        .collect();
    world.posts(&posts).await;
    running.heard(25).await;
    let mut seen = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListCasesRequest { limit: 10, page_token, ..Default::default() };
        let page = client.list_cases(request).await.unwrap().into_inner();
        assert_eq!(page.total, 25);
        seen.extend(page.cases.iter().map(|c| c.waiting_since_us.unwrap()));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen.len(), 25);
    assert!(seen.is_sorted());
    let overdue = ListCasesRequest { overdue_only: true, brand: "acme".into(), ..Default::default() };
    assert_eq!(client.list_cases(overdue.clone()).await.unwrap().into_inner().total, 0);
    world.clock.set(at("2026-01-12T10:05:00Z"));
    super::until(async || client.list_cases(overdue.clone()).await.unwrap().into_inner().total == 6).await;
    let other = ListCasesRequest { brand: "globex".into(), ..Default::default() };
    assert_eq!(client.list_cases(other).await.unwrap().into_inner().total, 0);
    running.stop().await;
}

async fn a_watch_resumes_without_a_gap(world: &World) {
    let running = world.start().await;
    let posts: Vec<_> =
        (0..40).map(|i| Post::complaint(&format!("p{i}"), &format!("author{i}"), MONDAY)).collect();
    world.posts(&posts[..20]).await;
    let mut seen = Vec::new();
    let mut changes = running.watch("").await;
    let mut token = String::new();
    for _ in 0..13 {
        let (event, resume) = changes.next().await;
        seen.push(event);
        token = resume;
    }
    drop(changes);
    running.stop().await;
    let running = world.start().await;
    world.posts(&posts[20..]).await;
    let mut changes = running.watch(&token).await;
    for _ in 13..40 {
        seen.push(changes.next().await.0);
    }
    let whole = {
        let mut changes = running.watch("").await;
        let mut all = Vec::new();
        for _ in 0..40 {
            all.push(changes.next().await.0);
        }
        all
    };
    assert_eq!(seen, whole);
    running.stop().await;
}

async fn what_is_too_much_is_refused_at_the_bound(world: &World) {
    let running = world.start_with(Config { watchers_max: 1, ..Config::default() }).await;
    let mut client = running.client.clone();
    world.posts(&[Post::complaint("a", "dave", MONDAY)]).await;
    running.heard(1).await;
    let case_id = running.only_case().await.case_id;

    let mut first = running.watch("").await;
    first.next().await;
    let second = client.watch(WatchRequest::default()).await;
    assert_eq!(second.err().map(|s| s.code()), Some(Code::ResourceExhausted));
    drop(first);
    super::until(async || client.watch(WatchRequest::default()).await.is_ok()).await;

    let reply = |bytes: usize| RecordReplyRequest {
        case_id: case_id.clone(),
        by: "kim".into(),
        text: "x".repeat(bytes),
        ..Default::default()
    };
    let case = client.record_reply(reply(16 * 1024)).await.unwrap().into_inner().case.unwrap();
    assert_eq!(case.messages[1].text.len(), 2_000, "cut as the contract says");
    assert_eq!(client.record_reply(reply(16 * 1024 + 1)).await.unwrap_err().code(), Code::InvalidArgument);
    let vast = client.record_reply(reply(100 * 1024)).await.unwrap_err();
    assert_eq!(vast.code(), Code::OutOfRange);

    let promise = PromiseRequest {
        case_id: case_id.clone(),
        by: "kim".into(),
        what: "something".into(),
        due_at_us: at("2026-02-12T09:00:00Z").as_micros(),
        ..Default::default()
    };
    for _ in 0..casework::PROMISES_MAX {
        client.promise(promise.clone()).await.unwrap();
    }
    assert_eq!(client.promise(promise).await.unwrap_err().code(), Code::FailedPrecondition);
    running.stop().await;
}

async fn requests_at_once_leave_a_history_without_gaps(world: &World) {
    let running = world.start().await;
    world.posts(&[Post::complaint("a", "dave", MONDAY)]).await;
    running.heard(1).await;
    let case_id = running.only_case().await.case_id;
    let asks = (0..12).map(|i| {
        let mut client = running.client.clone();
        let assign = AssignRequest {
            case_id: case_id.clone(),
            assignee: format!("kim{i}"),
            by: "kim".into(),
            ..Default::default()
        };
        async move { client.assign(assign).await.map(|_| ()) }
    });
    let posts: Vec<_> = (0..8).map(|i| Post::complaint(&format!("c{i}"), "dave", MONDAY)).collect();
    let (results, ()) = tokio::join!(futures::future::join_all(asks), world.posts(&posts));
    for result in results {
        result.unwrap();
    }
    running.heard(9).await;
    let history = running.history(&case_id).await;
    let sequences: Vec<_> = history.iter().map(|e| e.sequence).collect();
    assert_eq!(sequences, (1..=21).collect::<Vec<_>>());
    assert_eq!(running.only_case().await.version, 21);
    running.stop().await;
}
