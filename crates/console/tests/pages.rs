//! The console as a browser meets it, before services that tell a story.

// Helpers of tests may panic like tests; clippy exempts only functions marked as tests.
#![allow(clippy::unwrap_used)]

#[allow(missing_docs, unreachable_pub)]
mod fake;

use std::sync::Arc;
use std::time::Duration;

use console::ConsoleConfig;
use fake::{World, case_id, episode_id};
use futures::StreamExt as _;
use model::Timestamp;
use reqwest::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client, Response, StatusCode};
use runtime::process::Parts;
use runtime::{Net, NetConfig, Shutdown};
use testkit::clock::ManualClock;

const NOW: &str = "2026-11-22T03:14:00Z";

/// A console and the services behind it.
struct Desk {
    world: World,
    base: String,
    client: Client,
    shutdown: Shutdown,
    console: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Desk {
    async fn before(world: World) -> Self {
        let shutdown = Shutdown::immediate();
        let uri = format!("http://{}", world.serve(&shutdown).await);
        Self::asking(world, shutdown, &uri).await
    }

    /// A console whose services are at `uri`.
    async fn asking(world: World, shutdown: Shutdown, uri: &str) -> Self {
        let net = Net::new(NetConfig::default()).unwrap();
        let config = ConsoleConfig {
            alert: uri.into(),
            response: uri.into(),
            ingest: Some(uri.into()),
            time_zone: "Europe/Rome".into(),
            refresh_ms: 100,
            ..ConsoleConfig::default()
        };
        let listener = net.bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let clock = Arc::new(ManualClock::starting(NOW));
        let parts = Parts { shutdown: shutdown.clone(), net: net.clone(), ..Parts::alone(clock) };
        let console = tokio::spawn(console::serve(listener, config, parts));
        let client = net.http_client(Duration::from_secs(30)).unwrap();
        Self { world, base, client, shutdown, console }
    }

    async fn get(&self, path: &str) -> Response {
        self.client.get(format!("{}{path}", self.base)).send().await.unwrap()
    }

    async fn page(&self, path: &str) -> String {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.text().await.unwrap()
    }

    async fn post(&self, path: &str, form: &[(&str, &str)], headers: &[(&'static str, &str)]) -> Response {
        let body: String = url_encoded(form);
        let mut request = self
            .client
            .post(format!("{}{path}", self.base))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("sec-fetch-site", "same-origin");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(body).send().await.unwrap()
    }

    fn done(&self) -> Vec<String> {
        self.world.with(|s| std::mem::take(&mut s.done))
    }
}

fn url_encoded(form: &[(&str, &str)]) -> String {
    let encode = |text: &str| text.bytes().map(|b| format!("%{b:02X}")).collect::<String>();
    form.iter().map(|(k, v)| format!("{}={}", encode(k), encode(v))).collect::<Vec<_>>().join("&")
}

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn alert_path() -> String {
    format!("/alerts/{}", episode_id())
}

fn case_path() -> String {
    format!("/cases/{}", case_id())
}

/// The words of a page without its markup, so that tests read like the page.
fn words(page: &str) -> String {
    let mut text = String::new();
    let mut in_tag = false;
    for c in page.chars() {
        match c {
            '<' => in_tag = true,
            '>' => {
                in_tag = false;
                text.push(' ');
            }
            c if !in_tag => text.push(c),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn says(page: &str, expected: &str) {
    let words = words(page);
    assert!(words.contains(expected), "expected '{expected}' in: {words}");
}

#[tokio::test]
async fn the_first_page_says_what_is_going_on() {
    let desk = Desk::before(World::at(now())).await;
    let page = desk.page("/").await;
    for expected in [
        "One alert needs somebody.",
        "4 customers wait, the longest for 4 h 5 min",
        "187 complaints in 1,204 posts of the last hour",
        "A broken guitar is about to reach thousands",
        "128 so far → 2,400 expected (900–6,100) 71 % to pass 1,000 answer within 22 min",
        "41 min since 03:33",
        "nobody has it",
        "in hand: Anna Keller",
        "@davec_music",
        "too late by 3 h 5 min",
        "1 open case in which nobody waits for us",
        "eleven times the usual rate for a Sunday night",
        "アクメ航空、3時間遅れて説明もなし。",
        "1 min ago 04:13",
        "won back",
        "mastodon silent 17 min since 03:57 · connection lost",
        "as of 04:14 CET",
    ] {
        says(&page, expected);
    }
}

#[tokio::test]
async fn a_quiet_night_reads_quiet_only_when_every_source_is_heard() {
    let desk = Desk::before(World::quiet(now())).await;
    says(&desk.page("/").await, "All quiet. Nothing is rising and nobody waits.");
    desk.world.with(|s| {
        s.coverage[3].state = contracts::ingest::v1::CoverageState::Gap.into();
        s.now.unheard = vec![contracts::alert::v1::Unheard {
            brand: "acmeair".into(),
            words: "nothing is heard from bluesky: 40 % of the usual posts are missing".into(),
            ..Default::default()
        }];
    });
    let page = desk.page("/").await;
    says(&page, "Quiet, as far as we hear. One source is silent.");
    says(&page, "acmeair : nothing is heard from bluesky: 40 % of the usual posts are missing");
}

#[tokio::test]
async fn a_service_that_is_away_is_never_shown_as_calm() {
    let world = World::quiet(now());
    // A port that nobody listens on any more.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let desk = Desk::asking(world, Shutdown::immediate(), &format!("http://{gone}")).await;
    let page = desk.page("/").await;
    says(&page, "We cannot see everything. The alert service does not answer.");
    says(&page, "What belongs here is not known.");
    assert!(!words(&page).contains("quiet") && !words(&page).contains("Nobody."), "{}", words(&page));
    let alert = desk.get(&alert_path()).await;
    assert_eq!(alert.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn what_customers_write_is_text_on_every_page() {
    let desk = Desk::before(World::at(now())).await;
    let nasty = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'";
    desk.world.with(|s| {
        for episode in &mut s.episodes {
            episode.title = nasty.into();
            episode.owner = nasty.into();
            for evidence in &mut episode.evidence {
                evidence.excerpt = nasty.into();
                evidence.author_handle = nasty.into();
                evidence.permalink = "javascript:alert(3)".into();
            }
        }
        for rising in &mut s.now.rising {
            rising.words = nasty.into();
            rising.excerpt = nasty.into();
        }
        for case in &mut s.cases {
            case.customer_handle = nasty.into();
            case.topic = nasty.into();
            for message in &mut case.messages {
                message.text = nasty.into();
                message.author = nasty.into();
                message.permalink = "javascript:alert(4)".into();
                message.side = "\" onclick=\"alert(5)".into();
            }
        }
    });
    for path in ["/", &alert_path(), &case_path()] {
        let page = desk.page(path).await;
        assert!(page.contains("&lt;script&gt;"), "{path} shows it");
        for forbidden in ["<script>alert", "<img", "href=\"javascript", " onclick=\"alert"] {
            assert!(!page.contains(forbidden), "{path} has {forbidden}");
        }
        // Nothing inline, so that the policy can forbid all of it.
        assert!(!page.contains("style=") && !page.contains("<style"), "{path}");
    }
}

#[tokio::test]
async fn every_answer_carries_the_policy() {
    let desk = Desk::before(World::at(now())).await;
    for path in ["/", &alert_path(), "/nowhere", "/alerts/x", "/static/1/console.css"] {
        let response = desk.get(path).await;
        let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    }
    assert_eq!(desk.get("/").await.headers()[CACHE_CONTROL], "no-store");
    assert_eq!(desk.get("/nowhere").await.status(), StatusCode::NOT_FOUND);
    let unknown = format!("/cases/{}", episode_id());
    assert_eq!(desk.get(&unknown).await.status(), StatusCode::NOT_FOUND);
    let page = desk.page("/").await;
    let style =
        page.split("href=\"").find(|p| p.starts_with("/static/") && p.contains("console.css")).unwrap();
    let response = desk.get(style.split('"').next().unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.headers()[CACHE_CONTROL].to_str().unwrap().contains("immutable"));
}

#[tokio::test]
async fn an_alert_shows_evidence_reasons_history_and_who_was_told() {
    let desk = Desk::before(World::at(now())).await;
    let page = desk.page(&alert_path()).await;
    for expected in [
        "A broken guitar is about to reach thousands",
        "They threw my guitar off the plane",
        "held back : a forecast, but too uncertain",
        "chance of viral 71 %",
        "doubling 14 min",
        "grew : expected size rose from 900 to 2,400",
        "care-chat failed first notification",
        "4 attempts status 410, gone",
        "I have it",
        "How it went The chance to spread was highest at",
        "66 %, about 2,400 reactions expected. It opened at",
        "Who wrote most @",
        "How it went, in numbers From Posts So far Expected 90 % between Chance to spread",
        "7 111 2,400 900–6,000 66 %",
    ] {
        says(&page, expected);
    }
}

#[tokio::test]
async fn a_case_shows_the_talk_three_clocks_promises_and_history() {
    let desk = Desk::before(World::at(now())).await;
    let page = desk.page(&case_path()).await;
    for expected in [
        "@davec_music has waited 4 h 5 min",
        "Hello, my guitar was in row 12's hold",
        "in private automatic",
        "customer over by 3 h 5 min due 01:09",
        "contract 22 min left due 04:36",
        "team paused of 2 h",
        "a repair estimate open",
        "due in 1 h 30 min 05:44",
        "too late : no first answer within an hour",
        "Record it",
    ] {
        says(&page, expected);
    }
}

#[tokio::test]
async fn taking_an_alert_is_one_call_and_leads_back_with_the_name_remembered() {
    let desk = Desk::before(World::at(now())).await;
    let form = [("owner", " Ana María "), ("expires_in_s", "3600"), ("note", ""), ("once", "k-1")];
    let response = desk.post(&format!("{}/acknowledge", alert_path()), &form, &[]).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(response.headers()[LOCATION], format!("{}?done=acknowledged", alert_path()));
    let cookie = response.headers()[SET_COOKIE].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert_eq!(desk.done(), ["acknowledge by Ana María for 3600 once 3"]);

    let request = desk.client.get(format!("{}{}?done=acknowledged", desk.base, alert_path()));
    let page = request.header(COOKIE, cookie.split(';').next().unwrap()).send().await.unwrap();
    let page = page.text().await.unwrap();
    says(&page, "You have it.");
    says(&page, "in hand: Ana María");
    assert!(page.contains("name=\"owner\" value=\"Ana María\""), "{page}");
}

#[tokio::test]
async fn each_form_reaches_its_service() {
    let desk = Desk::before(World::at(now())).await;
    let promise = model::PromiseId::derive(&["refund"]).to_string();
    let (alert, case) = (alert_path(), case_path());
    type Sent<'a> = (String, Vec<(&'a str, &'a str)>, &'a str);
    let forms: [Sent; 7] = [
        (format!("{alert}/resolve"), vec![("useful", "no")], "resolve by Mira useful Some(false)"),
        (
            format!("{case}/assign"),
            vec![("assignee", "Jo"), ("expected_version", "7")],
            "assign to Jo by Mira at version 7",
        ),
        (
            format!("{case}/reply"),
            vec![("text", "We are sorry."), ("is_public", "1")],
            "reply by Mira public true waits false: We are sorry.",
        ),
        (
            format!("{case}/promise"),
            vec![("what", "a refund"), ("due_in_s", "3600")],
            "promise by Mira of a refund due 1795320840000000",
        ),
        (format!("{case}/keep"), vec![("promise", &promise)], "keep by console of 16 bytes"),
        (format!("{case}/resolve"), vec![("root_cause", "handling")], "settle by Mira cause handling"),
        (format!("{case}/reopen"), vec![], "reopen by Mira"),
    ];
    for (path, mut form, expected) in forms {
        form.extend([("by", "Mira"), ("once", "k")]);
        let response = desk.post(&path, &form, &[]).await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER, "{path}");
        assert_eq!(desk.done(), [expected]);
    }
}

#[tokio::test]
async fn a_refusal_comes_back_with_the_page_and_the_reason() {
    let desk = Desk::before(World::at(now())).await;
    let form = [("by", "Mira"), ("assignee", "Jo"), ("expected_version", "1"), ("once", "k")];
    for (refusal, status, sentence) in [
        (
            tonic::Status::failed_precondition("moved on"),
            StatusCode::CONFLICT,
            "It has changed since this page was drawn.",
        ),
        (
            tonic::Status::invalid_argument("no such person"),
            StatusCode::BAD_REQUEST,
            "That was refused: no such person",
        ),
        (
            tonic::Status::unavailable("restarting"),
            StatusCode::SERVICE_UNAVAILABLE,
            "The response service does not answer.",
        ),
    ] {
        desk.world.with(|s| s.refuse = Some(refusal));
        let response = desk.post(&format!("{}/assign", case_path()), &form, &[]).await;
        assert_eq!(response.status(), status);
        let page = response.text().await.unwrap();
        says(&page, sentence);
        says(&page, "Hello, my guitar was in row 12's hold");
    }
    assert_eq!(desk.done(), Vec::<String>::new());
}

#[tokio::test]
async fn another_site_can_change_nothing() {
    let desk = Desk::before(World::at(now())).await;
    let form = [("owner", "Eve"), ("expires_in_s", "60"), ("once", "k")];
    let path = format!("{}/acknowledge", alert_path());
    let body = url_encoded(&form);
    for (name, value) in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")] {
        let request = desk.client.post(format!("{}{path}", desk.base)).header(name, value);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let response = request.body(body.clone()).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
    }
    assert_eq!(desk.done(), Vec::<String>::new());
}

#[tokio::test]
async fn an_oversized_form_is_refused() {
    let desk = Desk::before(World::at(now())).await;
    let text = "x".repeat(70_000);
    let form = [("by", "Mira"), ("text", text.as_str()), ("once", "k")];
    let response = desk.post(&format!("{}/reply", case_path()), &form, &[]).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(desk.done(), Vec::<String>::new());
}

#[tokio::test]
async fn a_watched_page_is_told_only_what_changed_and_ends_with_the_process() {
    let desk = Desk::before(World::quiet(now())).await;
    let mut stream = desk.get("/live").await.bytes_stream();
    let mut heard = String::new();
    let mut read_until = async |heard: &mut String, wanted: &str| {
        while !heard.contains(wanted) {
            let chunk = tokio::time::timeout(Duration::from_secs(20), stream.next()).await.unwrap();
            heard.push_str(std::str::from_utf8(&chunk.unwrap().unwrap()).unwrap());
        }
    };
    read_until(&mut heard, "All quiet.").await;
    // Two looks later nothing was drawn again.
    heard.clear();
    read_until(&mut heard, "event: clock").await;
    heard.clear();
    read_until(&mut heard, "event: clock").await;
    assert!(!heard.contains("event: section"), "{heard}");

    let story = World::at(now());
    let episodes = story.with(|s| s.episodes.clone());
    desk.world.with(|s| s.episodes = episodes);
    read_until(&mut heard, "One alert needs somebody.").await;
    assert!(heard.contains("\"id\":\"alerts\"") || heard.contains("\"id\":\"summary\""), "{heard}");
    assert!(!heard.contains("\"id\":\"said\""), "the rest was left alone");

    desk.shutdown.begin("test");
    assert!(desk.shutdown.drive().await, "an open stream does not hold the end up");
    tokio::time::timeout(Duration::from_secs(20), desk.console).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn one_brand_can_be_looked_at_alone() {
    let desk = Desk::before(World::at(now())).await;
    let page = desk.page("/?brand=northbank").await;
    says(&page, "@petrov.k");
    assert!(!page.contains("@davec_music</span> ") && !words(&page).contains("damage"), "{}", words(&page));
    assert!(page.contains("data-live=\"/live?brand=northbank\""));
    // What is no brand's name is no brand.
    assert!(desk.page("/?brand=%22%3E%3Cscript%3E").await.contains("data-live=\"/live\""));
}

#[tokio::test]
async fn every_page_leads_to_all_alerts_all_cases_and_silences() {
    let desk = Desk::before(World::at(now())).await;
    for path in
        ["/".to_owned(), alert_path(), case_path(), "/alerts".into(), "/cases".into(), "/silences".into()]
    {
        let page = desk.page(&path).await;
        for link in ["href=\"/alerts\"", "href=\"/cases\"", "href=\"/silences\""] {
            assert!(page.contains(link), "{path} has no {link}");
        }
    }
}

#[tokio::test]
async fn alerts_that_are_over_can_be_found_again() {
    let desk = Desk::before(World::at(now())).await;
    let title = "Nobody could sign in for half an hour";
    let open = desk.page("/alerts").await;
    says(&open, "A broken guitar is about to reach thousands");
    assert!(!words(&open).contains(title));
    let over = desk.page("/alerts?show=over").await;
    says(&over, title);
    says(&over, "lasted 40 min");
    assert!(!words(&over).contains("A broken guitar"));
    let all = desk.page("/alerts?show=all").await;
    says(&all, title);
    says(&all, "A broken guitar is about to reach thousands");
    let one_brand = desk.page("/alerts?show=all&brand=northbank").await;
    says(&one_brand, title);
    assert!(!words(&one_brand).contains("A broken guitar"));
    let link = format!("/alerts/{}", model::EpisodeId::derive(&["login"]));
    assert!(all.contains(&link));
    desk.page(&link).await;
}

#[tokio::test]
async fn all_cases_are_listed_a_page_at_a_time_by_state_and_by_who_has_them() {
    let desk = Desk::before(World::at(now())).await;
    let open = desk.page("/cases").await;
    says(&open, "5 cases");
    says(&open, "@davec_music");
    assert!(!words(&open).contains("@eva_l"));
    says(&desk.page("/cases?show=resolved").await, "@eva_l");
    let mira = desk.page("/cases?show=all&assignee=Mira").await;
    says(&mira, "@tom_w");
    assert!(!words(&mira).contains("@layla"));
    let late = desk.page("/cases?show=overdue").await;
    says(&late, "@petrov.k");
    assert!(!words(&late).contains("@layla"), "due in half an hour");

    desk.world.with(|s| {
        let one = s.cases[1].clone();
        s.cases = (0..120)
            .map(|n| contracts::response::v1::Case { customer_handle: format!("c{n:03}"), ..one.clone() })
            .collect();
    });
    let mut path = "/cases".to_owned();
    let mut seen = Vec::new();
    loop {
        let page = desk.page(&path).await;
        seen.extend((0..120).filter(|n| page.contains(&format!("@c{n:03}<"))));
        let Some(next) = page.split("rel=\"next\" href=\"").nth(1) else { break };
        path = next.split('"').next().unwrap().replace("&amp;", "&");
    }
    assert_eq!(seen, (0..120).collect::<Vec<_>>(), "each once, in order");
    let refused = desk.get("/cases?page=nonsense").await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn silences_can_be_seen_made_and_ended() {
    let desk = Desk::before(World::at(now())).await;
    let page = desk.page("/silences").await;
    says(&page, "brand northbank topic outage");
    says(&page, "holds back pages");
    assert!(page.contains("fix at nine &lt;b&gt;sharp"), "what people wrote is no markup");
    assert!(!words(&page).contains("drill"));
    says(&desk.page("/silences?past=1").await, "drill");

    let form =
        [("brand", " acmeair "), ("duration_s", "7200"), ("by", "Mira"), ("comment", "drill"), ("once", "k")];
    let response = desk.post("/silences", &form, &[]).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(response.headers()[LOCATION], "/silences?done=silenced");
    assert_eq!(
        desk.done(),
        ["silence brand 'acmeair' topic '' rule '' subject '' for 7200 by Mira: drill, until resolved false"]
    );
    says(&desk.page("/silences?done=silenced").await, "New pages are held back.");
    let response = desk.post("/silences/s-outage/end", &[], &[("cookie", "redress_who=Jo")]).await;
    assert_eq!(response.headers()[LOCATION], "/silences?done=unsilenced");
    assert_eq!(desk.done(), ["unsilence s-outage by Jo"]);

    desk.world.with(|s| s.refuse = Some(tonic::Status::invalid_argument("a matcher with nothing set")));
    let response = desk.post("/silences", &form, &[]).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let page = response.text().await.unwrap();
    says(&page, "That was refused: a matcher with nothing set");
    says(&page, "brand northbank topic outage");

    let alert = desk.page(&alert_path()).await;
    says(&alert, "Hold back its pages");
    assert!(
        alert.contains("action=\"/silences\"") && alert.contains("name=\"subject\" value=\"thread/acmeair/")
    );
}
