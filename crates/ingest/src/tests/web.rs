//! Senders without gRPC.

use std::sync::Arc;
use std::time::Duration;

use model::{Outcome, Timestamp};
use reqwest::{Client, RequestBuilder};
use runtime::{Account, Clock as _, Net, Secret};
use serde_json::{Value, json};
use sources::signature::{self, Scheme};

use super::{Running, World, acme, config, line};
use crate::{Config, ConnectorConfig, HOP, Intake, WebhookConfig, http};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn hooks() -> Config {
    let hook = |id: &str, kind: &str, scheme: &str, secret: &str| ConnectorConfig {
        id: id.into(),
        kind: kind.into(),
        webhook: Some(WebhookConfig {
            scheme: scheme.into(),
            secrets: vec![Secret::new(secret.into())],
            verify_token: Some(Secret::new("meta-says".into())),
        }),
        ..ConnectorConfig::default()
    };
    Config {
        http_body_bytes_max: 64 * 1024,
        connectors: vec![
            hook("partner", "standard-webhook", "", SECRET),
            hook("repo", "ndjson", "github", "s3cret"),
            hook("x", "x-v2", "", "consumer"),
            hook("page", "facebook-webhook", "", "app"),
            hook("team", "slack", "", "slack"),
        ],
        ..config()
    }
}

fn client() -> Client {
    Net::default().http_client(Duration::from_secs(20)).unwrap()
}

fn to(running: &Running, path: &str) -> RequestBuilder {
    client().post(format!("http://{}{path}", running.web))
}

async fn ask(request: RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn event(id: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/shop", "type": "said", "data": {"text": "acme lost my bag", "author": "a"}})
}

#[tokio::test(flavor = "multi_thread")]
async fn cloudevents_come_structured_batched_and_in_headers() {
    let world = World::new().await;
    let running = world.start(hooks()).await;
    let path = "/v1/cloudevents";
    let structured = to(&running, path).header("content-type", "application/cloudevents+json");
    let (status, said) = ask(structured.body(event("1").to_string())).await;
    assert_eq!((status, &said["items"][0]["disposition"]), (200, &json!("stored")), "{said}");
    let batch = to(&running, path).header("content-type", "application/cloudevents-batch+json");
    let (status, said) = ask(batch.body(json!([event("1"), event("2")]).to_string())).await;
    assert_eq!((status, &said["items"][0]["disposition"]), (200, &json!("merged")), "{said}");
    assert_eq!(said["items"][1]["disposition"], "stored");
    let binary = to(&running, path)
        .header("ce-specversion", "1.0")
        .header("ce-id", "3")
        .header("ce-source", "/shop")
        .header("ce-type", "said")
        .header("content-type", "text/plain");
    let (status, said) = ask(binary.body("acme again")).await;
    assert_eq!((status, &said["items"][0]["disposition"]), (200, &json!("stored")), "{said}");
    for (request, expected) in [
        (to(&running, path).header("content-type", "application/json").body("{}"), 415),
        (to(&running, path).header("content-type", "application/cloudevents+json").body("{"), 400),
        (
            to(&running, path)
                .header("content-type", "application/cloudevents+json")
                .body("x".repeat(65 * 1024)),
            413,
        ),
        (to(&running, "/v1/cloudevents?connector=nobody").header("ce-specversion", "1.0").body("{}"), 404),
    ] {
        assert_eq!(ask(request).await.0, expected);
    }
    assert_eq!(world.events().await.len(), 3);
    running.stop().await;
}

fn signed(running: &Running, id: &str, at: Timestamp, body: &str) -> RequestBuilder {
    let time = at.as_seconds().to_string();
    let secret = signature::Secret::new(SECRET);
    let value =
        signature::sign(&Scheme::STANDARD_WEBHOOKS, &secret, Some(id), Some(&time), body.as_bytes()).unwrap();
    to(running, "/v1/webhooks/partner")
        .header("webhook-id", id)
        .header("webhook-timestamp", time)
        .header("webhook-signature", value)
        .body(body.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn delivery_is_believed_once_and_only_when_signed_now() {
    let world = World::new().await;
    let running = world.start(hooks()).await;
    let now = world.clock.now();
    let body = json!({"type": "said", "timestamp": "2026-01-02T02:59:00Z", "data": {"id": "1", "text": "acme lost my bag", "author": "a"}}).to_string();
    let (status, said) = ask(signed(&running, "msg_1", now, &body)).await;
    assert_eq!((status, &said["items"][0]["disposition"]), (200, &json!("stored")), "{said}");
    assert_eq!(ask(signed(&running, "msg_1", now, &body)).await, (200, json!({"repeat": true})));
    let stale = signed(&running, "msg_2", now.plus_millis(-3_600_000), &body);
    let unsigned = to(&running, "/v1/webhooks/partner").body(body.clone());
    let forged = signed(&running, "msg_3", now, &body).body("{}");
    for request in [stale, unsigned, forged] {
        assert_eq!(ask(request).await.0, 401);
    }
    assert_eq!(ask(to(&running, "/v1/webhooks/default").body("{}")).await.0, 404);
    running.stop().await;

    // A new process remembers the deliveries.
    let running = world.start(hooks()).await;
    assert_eq!(ask(signed(&running, "msg_1", now, &body)).await, (200, json!({"repeat": true})));
    // Where no time is signed, the body itself tells repeats, whatever id is written beside it.
    let body = line("9", "acme once more");
    let value =
        signature::sign(&Scheme::GITHUB, &signature::Secret::new("s3cret"), None, None, body.as_bytes());
    for (delivery, expected) in [("a", json!("stored")), ("b", Value::Null)] {
        let request = to(&running, "/v1/webhooks/repo")
            .header("x-hub-signature-256", value.clone().unwrap())
            .header("x-github-delivery", delivery);
        let (status, said) = ask(request.body(body.clone())).await;
        assert_eq!((status, &said["items"][0]["disposition"]), (200, &expected), "{said}");
    }
    assert_eq!(world.events().await.len(), 2);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn challenges_are_answered_to_whom_we_expect() {
    let world = World::new().await;
    let running = world.start(hooks()).await;
    let get = |path: &str| client().get(format!("http://{}/v1/webhooks/{path}", running.web));
    let (status, said) = ask(get("x?crc_token=abc")).await;
    assert!(status == 200 && said["response_token"].as_str().unwrap().starts_with("sha256="), "{said}");
    let (status, said) =
        ask(get("page?hub.mode=subscribe&hub.challenge=77&hub.verify_token=meta-says")).await;
    assert_eq!((status, said), (200, json!(77)));
    assert_eq!(ask(get("page?hub.challenge=77&hub.verify_token=else")).await.0, 403);
    let body = r#"{"type":"url_verification","challenge":"abc"}"#;
    let time = world.clock.now().as_seconds().to_string();
    let value =
        signature::sign(&Scheme::SLACK, &signature::Secret::new("slack"), None, Some(&time), body.as_bytes());
    let slack = to(&running, "/v1/webhooks/team")
        .header("x-slack-request-timestamp", time)
        .header("x-slack-signature", value.unwrap());
    assert_eq!(ask(slack.body(body)).await, (200, json!("abc")));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_is_answered_in_order() {
    let world = World::new().await;
    let running = world.start(hooks()).await;
    let mut body = String::new();
    for n in 0..1_200 {
        body += &line(&n.to_string(), if n % 2 == 0 { "acme again" } else { "weather" });
        body += "\n";
    }
    body += "\n{broken\n";
    body += &"x".repeat(2 * 1024 * 1024);
    body += "\n";
    body += &line("last", "acme");
    let answer = to(&running, "/v1/ndjson").body(body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let lines: Vec<Value> =
        answer.text().await.unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 1_203);
    let at = |n: usize| (lines[n]["line"].as_u64().unwrap(), lines[n]["disposition"].as_str().unwrap());
    assert_eq!((at(0), at(1)), ((1, "stored"), (2, "suppressed")));
    assert_eq!(at(1_200), (1_202, "dead_lettered"));
    assert_eq!(at(1_201), (1_203, "rejected"));
    assert_eq!(at(1_202), (1_204, "stored"));
    let account = running.stop().await;
    assert_eq!(account.hop(HOP).with(Outcome::Rejected), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sender_is_told_to_come_back_when_too_much_is_on_its_way() {
    let world = World::new().await;
    let config = hooks();
    let intake = Intake::open(&config, "main", &[acme()], &*world.log, world.clock.clone(), Account::new())
        .await
        .unwrap();
    let app = http::app(intake.clone(), world.store.clone(), Net::default(), &config);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, app).into_future());
    let full = intake.room(config.in_flight_bytes_max).await;
    for path in ["/v1/ndjson", "/v1/cloudevents"] {
        let post = || {
            let request = client().post(format!("{url}{path}"));
            request.header("content-type", "application/cloudevents+json").body(event("1").to_string())
        };
        let answer = post().send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (503, "2"));
    }
    drop(full);
    let request =
        client().post(format!("{url}/v1/cloudevents")).header("content-type", "application/cloudevents+json");
    assert_eq!(ask(request.body(event("1").to_string())).await.0, 200);
    let _keep = Arc::new(world);
}
