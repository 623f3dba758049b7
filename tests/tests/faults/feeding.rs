//! A sender who loses nothing: what was not acknowledged is sent again.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use contracts::ingest::v1::ingest_service_client::IngestServiceClient;
use contracts::ingest::v1::{Disposition, PublishRequest};
use model::{MentionId, SourceKind};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use runtime::Net;
use runtime::{Clock as _, RealClock};
use serde_json::json;

/// Mentions in one request.
const AT_ONCE: usize = 40;
/// After this the test gives up: a bound, not a measurement.
const GIVE_UP: Duration = Duration::from_secs(240);

const CHATTER: [&str; 5] = [
    "acme has a new shop in the station",
    "does acme open on sundays?",
    "thank you acme, that was quick and friendly",
    "reading about acme in the paper",
    "my cousin works at acme now",
];
const COMPLAINTS: [&str; 4] = [
    "acme has ignored my refund for six weeks, nobody answers, this is a disgrace",
    "acme broke my parcel and now blames me. you are liars and I will sue you",
    "the acme app is down again, I cannot pay, unacceptable",
    "acme your charger burned my son and you refuse to answer. Unacceptable, you are responsible, my lawyer will sue you",
];

/// The ids of all mentions acknowledged.
pub(crate) async fn send(url: String, mentions: usize, at_least: Duration, seed: u64) -> BTreeSet<Bytes> {
    let mut rng = StdRng::seed_from_u64(seed ^ 1);
    let mut accepted = BTreeSet::new();
    let begun = tokio::time::Instant::now();
    let requests = mentions.div_ceil(AT_ONCE);
    for request in 0..requests {
        let numbers = request * AT_ONCE..((request + 1) * AT_ONCE).min(mentions);
        let wanted = numbers.len();
        let body: String = numbers.map(|n| line(&mut rng, n)).collect();
        loop {
            assert!(begun.elapsed() < GIVE_UP, "ingest did not take everything in time");
            if let Some(ids) = publish(&url, &body).await {
                assert_eq!(ids.len(), wanted);
                accepted.extend(ids);
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        tokio::time::sleep_until(begun + at_least.mul_f64(request as f64 / requests as f64)).await;
    }
    accepted
}

/// The ids of the mentions, when all were acknowledged.
async fn publish(url: &str, body: &str) -> Option<Vec<Bytes>> {
    let mut client = IngestServiceClient::new(Net::default().channel(url).ok()?);
    let request = PublishRequest {
        source_kind: "ndjson".into(),
        body: body.to_owned().into(),
        ..PublishRequest::default()
    };
    let answer = client.publish(request).await.ok()?.into_inner();
    let taken = |d: Disposition| matches!(d, Disposition::Stored | Disposition::Merged);
    assert!(
        answer.refusal.is_none() || answer.refusal.as_ref().is_some_and(|r| r.is_retryable),
        "{answer:?}"
    );
    let all = !answer.items.is_empty() && answer.items.iter().all(|item| taken(item.disposition()));
    all.then(|| answer.items.into_iter().map(|item| item.mention_id).collect())
}

/// One mention as a line of JSON, written now.
pub(crate) fn line(rng: &mut StdRng, number: usize) -> String {
    let texts: &[&str] = if rng.random_bool(0.1) { &COMPLAINTS } else { &CHATTER };
    let text = texts.choose(rng).unwrap();
    let author = format!("person-{}", rng.random_range(0..3_000));
    let at = RealClock.now().to_string();
    format!("{}\n", json!({"id": format!("m-{number}"), "text": text, "author": author, "created_at": at}))
}

/// The id of the mention in the line of that number.
pub(crate) fn mention_id(number: usize) -> MentionId {
    MentionId::of(SourceKind::Ndjson, "", &format!("m-{number}"))
}
