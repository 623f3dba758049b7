//! From publishing to a page: ingest, classify and alert run here, posts come in over gRPC at a steady rate, and now
//! and then one of them is a severe complaint about a brand of its own. A receiver of webhooks notes when its page
//! arrives.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use bytes::Bytes;
use contracts::ingest::v1::PublishRequest;
use contracts::ingest::v1::ingest_service_client::IngestServiceClient;
use nlp::{Hint, Model, Scratch};
use runtime::brands::Brand;
use runtime::net::Link;
use runtime::{Clock as _, RealClock, Secret};
use serde::Serialize;
use store::Store;
use tokio::sync::mpsc;

use super::super::local::port;
use super::super::wire::{self, Form};
use super::latency::Schedule;
use super::load;
use super::measure::{self, Quantiles, thousands};
use super::pipeline::classify_config;
use super::rig::{Rig, Services};
use crate::scenario;

/// Every so many posts one is a severe complaint.
const SEVERE_EVERY: usize = 100;
/// Requests on their way; more wait, which counts.
const UNDER_WAY_MAX: usize = 1_024;
const TICK: Duration = Duration::from_millis(1);
const SECRET: &str = "whsec_YSBzZWNyZXQgb2YgbWVhc3VyZW1lbnRzLCAzMiBieXRlcw==";
/// The brands of severe complaints: each opens an episode of its own.
const BRAND: &str = "measured-";
/// Severe in everybody's eyes; those that the model in use calls so are sent.
const SEVERE: [&str; 4] = [
    "You are responsible for my mother ending up in hospital. Criminal negligence, shame on you, my lawyer will sue you.",
    "Your heater caught fire and burned my son. You knew about the defect and did nothing. See you in court, this is your fault.",
    "This is fraud. You stole my money, lied to me for months and ignored me. You are to blame, I am going to the police and the press.",
    "Shame on you, you knew it was broken and sold it anyway, my child is hurt because of you. Criminals, I will sue you.",
];

#[derive(Debug, Serialize)]
struct Report {
    log: &'static str,
    rate: u32,
    severe_per_second: f64,
    publish_to_page: Quantiles,
    pages: usize,
}

/// Runs at `rate` posts a second for so many seconds.
///
/// # Errors
/// When a service cannot be started, or a page does not come.
pub(super) async fn run(rig: Rig, rate: u32, seconds: u32, form: Form) -> anyhow::Result<()> {
    let severe_text = severe_text()?;
    let total = rate as usize * seconds as usize;
    let severe = total / SEVERE_EVERY;
    let keys = (0..severe).map(|number| Bytes::from(format!("{BRAND}{number}")));
    // Severe posts are due at a hundredth of the rate: their own schedule has their own gap.
    let schedule = Schedule::every(keys, Duration::from_secs(SEVERE_EVERY as u64) / rate);
    let hook = receive(schedule.clone()).await?;
    let mut services = Services::new();
    let client = start(&rig, &mut services, &hook).await?;
    let progress = wire::progress(u64::from(seconds));
    let ticking = progress.clone();
    let ticker = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        loop {
            ticks.tick().await;
            ticking.inc(1);
        }
    });
    let sent = send(client, total, rate, severe_text, &schedule).await;
    ticker.abort();
    progress.finish_and_clear();
    sent?;
    services.check()?;
    schedule.complete().await.context("pages")?;
    let pages = severe - schedule.left();
    let log = rig.name();
    services.stop().await?;
    rig.close().await?;
    let publish_to_page = schedule.quantiles();
    let severe_per_second = f64::from(rate) / SEVERE_EVERY as f64;
    let report = Report { log, rate, severe_per_second, publish_to_page, pages };
    let rows = [[vec!["publish to page".to_owned()], publish_to_page.cells()].concat()];
    let remarks = [format!(
        "{} posts a second on {log}, {severe_per_second} of them severe; {pages} complaints, each with its page; from the moment a post was due until the webhook has its page",
        thousands(f64::from(rate))
    )];
    let headings = ["", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "pages"];
    measure::write(form, &report, &headings, &rows, &remarks)
}

/// A complaint that the model and the alert rules in use call severe.
fn severe_text() -> anyhow::Result<&'static str> {
    let rule = alert::SevereConfig::default();
    let mut scratch = Scratch::default();
    let mut is_severe = |text: &str| {
        let found = Model::shipped().understand(&mut scratch, text, Hint::default());
        let complaint = found.complaint * (1.0 - found.spam);
        let names = Model::shipped().topics();
        let topics = found.topics.as_slice().iter().map(|(n, p)| (names[usize::from(*n)].as_str(), *p));
        rule.calls(&found.severity.probabilities, complaint, topics).is_some()
    };
    SEVERE.into_iter().find(|text| is_severe(text)).context("the model calls none of the texts severe")
}

/// Starts ingest, classify and alert; gives a connection to ingest.
async fn start(rig: &Rig, services: &mut Services, hook: &str) -> anyhow::Result<IngestServiceClient<Link>> {
    let parts = services.parts.clone();
    parts.health.announce(&[classify::COMPONENT, alert::COMPONENT, ingest::COMPONENT]);
    let brands: Vec<Brand> = scenario::talked_about()
        .into_iter()
        .map(|brand| Brand {
            id: brand.id.to_string(),
            words: vec![format!("\"{}\"", brand.name)],
            handles: vec![brand.handle.to_owned()],
            ..Brand::default()
        })
        .collect();
    let deps = classify::Deps { log: rig.log.clone(), parts: parts.clone() };
    services.start(classify::run(classify_config(), deps));

    let mut config = alert::Config { listen: port(0)?, ..alert::Config::default() };
    let destination = alert::Destination {
        kind: alert::DestinationKind::Webhook,
        url: Secret::new(hook.to_owned()),
        secrets: vec![Secret::new(SECRET.to_owned())],
        allow_private: true,
        ..alert::Destination::log()
    };
    config.destinations.insert("bench".to_owned(), destination);
    let store = open(rig, "alert", alert::MIGRATIONS).await?;
    let deps =
        alert::Deps { log: rig.log.clone(), store, brands: Arc::new(brands.clone()), parts: parts.clone() };
    services.start(alert::run(config, deps));

    let listen = port(0)?;
    let config = ingest::Config { listen, listen_http: None, ..ingest::Config::default() };
    let store = open(rig, "ingest", ingest::MIGRATIONS).await?;
    let deps = ingest::Deps {
        log: rig.log.clone(),
        store,
        tenant: "bench".to_owned(),
        brands,
        parts: parts.clone(),
    };
    services.start(ingest::run(config, deps));
    services.ready().await?;
    Ok(IngestServiceClient::new(parts.net.channel(&format!("http://{listen}"))?))
}

async fn open(rig: &Rig, service: &str, migrations: &[store::Migration]) -> anyhow::Result<Store> {
    let path = rig.scratch.path().join(format!("{service}.db"));
    Ok(store::open_local(&path, service, migrations, RealClock.now()).await?)
}

/// Listens for webhooks on this machine; its address.
async fn receive(schedule: Arc<Schedule>) -> anyhow::Result<String> {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = format!("http://{}/page", listener.local_addr()?);
    let app = Router::new().route("/page", post(paged)).with_state(schedule);
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

async fn paged(State(schedule): State<Arc<Schedule>>, body: Bytes) -> StatusCode {
    brands_named(&body).iter().for_each(|brand| schedule.arrived(brand.as_bytes()));
    StatusCode::NO_CONTENT
}

/// The brands of severe complaints that a notice names.
fn brands_named(body: &[u8]) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(body);
    let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
    text.split(BRAND).skip(1).map(|rest| format!("{BRAND}{}", digits(rest))).collect()
}

/// Sends posts when they are due, each as a request of its own.
async fn send(
    mut client: IngestServiceClient<Link>,
    total: usize,
    rate: u32,
    severe_text: &'static str,
    schedule: &Schedule,
) -> anyhow::Result<()> {
    let (requests, outgoing) = mpsc::channel::<PublishRequest>(UNDER_WAY_MAX);
    let begins = schedule.begin();
    let starts_at = RealClock.now();
    let sending = async move {
        let mut talk = load::talk(starts_at);
        let mut ticks = tokio::time::interval(TICK);
        let mut sent = 0;
        while sent < total {
            ticks.tick().await;
            let due = (begins.elapsed().as_secs_f64() * f64::from(rate)) as usize;
            while sent < due.min(total) {
                let request = match sent % SEVERE_EVERY {
                    0 => severe(sent / SEVERE_EVERY, severe_text),
                    _ => talk
                        .next()
                        .map(|parcel| PublishRequest {
                            source_kind: parcel.kind.name().to_owned(),
                            instance: parcel.instance,
                            body: parcel.body.into(),
                            ..PublishRequest::default()
                        })
                        .unwrap_or_default(),
                };
                sent += 1;
                if requests.send(request).await.is_err() {
                    // The answering half knows why.
                    return;
                }
            }
        }
    };
    let receiving = async {
        let stream =
            futures::stream::unfold(outgoing, |mut rx| async move { rx.recv().await.map(|r| (r, rx)) });
        let mut answers = client.publish_stream(stream).await.map_err(wire::refused)?.into_inner();
        let mut confirmed = 0;
        while let Some(answer) = answers.message().await.map_err(wire::refused)? {
            ensure!(answer.refusal.is_none(), "ingest refused: {:?}", answer.refusal);
            confirmed += 1;
        }
        ensure!(confirmed == total, "ingest confirmed {confirmed} of {total}");
        Ok(())
    };
    let ((), received) = tokio::join!(sending, receiving);
    received
}

fn severe(number: usize, text: &str) -> PublishRequest {
    let line = serde_json::json!({
        "id": format!("severe-{number}"),
        "author": format!("upset{number}"),
        "brand": format!("{BRAND}{number}"),
        "text": text,
        "created_at": RealClock.now().to_string(),
    });
    PublishRequest {
        source_kind: "ndjson".to_owned(),
        body: format!("{line}\n").into_bytes().into(),
        ..PublishRequest::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brand_of_a_page_is_found() {
        let body = br#"{"title":"measured-17: severe complaint","brand":"measured-17","other":"measured-2"}"#;
        assert_eq!(brands_named(body), ["measured-17".to_owned(), "measured-2".to_owned()].into());
        assert!(brands_named(b"nothing").is_empty());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_severe_complaint_gets_its_page() {
        let rig = Rig::open(None, 2).await.unwrap();
        run(rig, 200, 3, Form::default()).await.unwrap();
    }
}
