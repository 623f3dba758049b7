//! Which topics there are, and making those that are missing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;

use super::KafkaSettings;
use super::errors::{bus_error, failed, unavailable};
use super::names::Names;
use crate::{BusError, Cleanup, Outgoing, Topic, TopicPlan, TopicReport};

/// How long one question to the brokers may take.
pub(super) const ASK_WITHIN: Duration = Duration::from_secs(10);
/// How long a new topic may take until every partition has a leader.
const MADE_WITHIN: Duration = Duration::from_secs(30);
const MADE_LOOK: Duration = Duration::from_millis(50);

/// How many partitions each topic has, as far as asked. Counts never change.
#[derive(Clone)]
pub(super) struct Counts {
    client: Arc<BaseConsumer>,
    sees_all: Arc<BaseConsumer>,
    known: Arc<Mutex<BTreeMap<Topic, i32>>>,
}

impl Counts {
    pub(super) fn new(settings: &KafkaSettings) -> Result<Self, BusError> {
        let client = settings.consumer().create().map_err(|e| bus_error("making a client", &e))?;
        let sees_all = settings
            .consumer()
            .set("isolation.level", "read_uncommitted")
            .create()
            .map_err(|e| bus_error("making a client", &e))?;
        Ok(Self { client: Arc::new(client), sees_all: Arc::new(sees_all), known: Arc::default() })
    }

    /// A client to whom a partition ends after its last record, decided or not.
    pub(super) fn sees_all(&self) -> &BaseConsumer {
        &self.sees_all
    }

    pub(super) fn client(&self) -> &Arc<BaseConsumer> {
        &self.client
    }

    /// The label with which the log refuses the record, its topic having been asked for.
    pub(super) fn refusal(&self, outgoing: &Outgoing) -> Option<&'static str> {
        if let Err(reason) = outgoing.record.check_size() {
            return Some(reason);
        }
        match (self.get(outgoing.topic), outgoing.partition) {
            (None, _) => Some("unknown_topic"),
            (Some(count), Some(number)) if !(0..count).contains(&number) => Some("unknown_partition"),
            _ => None,
        }
    }

    fn get(&self, topic: Topic) -> Option<i32> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&topic).copied()
    }

    /// Asks for the topics of those records that were not asked for before.
    pub(super) async fn learn(&self, names: &Names, records: &[Outgoing]) -> Result<(), BusError> {
        let unknown: BTreeSet<Topic> =
            records.iter().map(|o| o.topic).filter(|topic| self.get(*topic).is_none()).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let (counts, names) = (self.clone(), names.clone());
        let asked = tokio::task::spawn_blocking(move || {
            unknown.into_iter().try_for_each(|topic| counts.count(&names, topic).map(|_| ()))
        });
        asked.await.map_err(|e| failed("asking for topics", e.to_string()))?
    }

    /// How many partitions the topic has; `None` where it is missing. Blocks.
    pub(super) fn count(&self, names: &Names, topic: Topic) -> Result<Option<i32>, BusError> {
        if let Some(count) = self.get(topic) {
            return Ok(Some(count));
        }
        let name = names.name(topic);
        let doing = || format!("asking for topic {name}");
        let metadata =
            self.client.fetch_metadata(Some(name), ASK_WITHIN).map_err(|e| bus_error(doing(), &e))?;
        let Some(found) = metadata.topics().iter().find(|t| t.name() == name) else { return Ok(None) };
        match found.error().map(RDKafkaErrorCode::from) {
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                return Ok(None);
            }
            Some(other) => return Err(unavailable(doing(), other.to_string())),
            None => {}
        }
        let ready = found.partitions().iter().all(|p| p.error().is_none() && p.leader() >= 0);
        let count = found.partitions().len() as i32;
        if !ready || count == 0 {
            return Err(unavailable(doing(), "a partition has no leader"));
        }
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(topic, count);
        Ok(Some(count))
    }

    /// Fails where one of the topics is missing. Blocks.
    pub(super) fn require(&self, names: &Names, topics: &[Topic]) -> Result<(), BusError> {
        for topic in topics {
            if self.count(names, *topic)?.is_none() {
                let name = names.name(*topic);
                return Err(failed(
                    format!("reading topic {name}"),
                    "it is missing (apply the topic plan first)",
                ));
            }
        }
        Ok(())
    }

    /// Waits until a topic just made can be used. Blocks.
    fn wait_for(&self, names: &Names, topic: Topic) -> Result<(), BusError> {
        let deadline = Instant::now() + MADE_WITHIN;
        loop {
            match self.count(names, topic) {
                Ok(Some(_)) => return Ok(()),
                Err(error @ BusError::Failed { .. }) => return Err(error),
                Ok(None) | Err(BusError::Unavailable { .. }) if Instant::now() < deadline => {
                    std::thread::sleep(MADE_LOOK);
                }
                Ok(None) => {
                    return Err(unavailable(
                        format!("making topic {}", names.name(topic)),
                        format!("not there within {MADE_WITHIN:?}"),
                    ));
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Makes what is missing, or only says what differs. Settings of topics that exist are told, never
/// changed: that is for whoever runs the brokers.
pub(super) async fn apply_plan(
    settings: &KafkaSettings,
    names: &Names,
    counts: &Counts,
    plan: &[TopicPlan],
    apply: bool,
) -> Result<Vec<TopicReport>, BusError> {
    let admin: AdminClient<DefaultClientContext> =
        settings.client().create().map_err(|e| bus_error("making a client", &e))?;
    let mut reports = Vec::with_capacity(plan.len());
    for planned in plan {
        let (asking, its_names, topic) = (counts.clone(), names.clone(), planned.topic);
        let found = tokio::task::spawn_blocking(move || asking.count(&its_names, topic))
            .await
            .map_err(|e| failed("asking for topics", e.to_string()))??;
        let differences = match found {
            None if apply => vec![make(&admin, names, counts, planned).await?],
            None => vec![format!("missing, planned with {} partitions", planned.partitions)],
            Some(count) => differences(&admin, names, planned, count).await?,
        };
        reports.push(TopicReport { topic, differences });
    }
    Ok(reports)
}

async fn make(
    admin: &AdminClient<DefaultClientContext>,
    names: &Names,
    counts: &Counts,
    planned: &TopicPlan,
) -> Result<String, BusError> {
    let name = names.name(planned.topic);
    let doing = || format!("making topic {name}");
    let wanted = wanted_settings(planned);
    let mut new = NewTopic::new(name, planned.partitions, TopicReplication::Fixed(planned.replication));
    for (key, value) in &wanted {
        new = new.set(key, value);
    }
    let options = AdminOptions::new().operation_timeout(Some(MADE_WITHIN)).request_timeout(Some(MADE_WITHIN));
    let made = admin.create_topics([&new], &options).await.map_err(|e| bus_error(doing(), &e))?;
    for result in made {
        match result {
            // Another process may be applying the same plan.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(failed(doing(), code.to_string())),
        }
    }
    let (counts, its_names, topic) = (counts.clone(), names.clone(), planned.topic);
    tokio::task::spawn_blocking(move || counts.wait_for(&its_names, topic))
        .await
        .map_err(|e| failed(doing(), e.to_string()))??;
    Ok(format!("created with {} partitions", planned.partitions))
}

async fn differences(
    admin: &AdminClient<DefaultClientContext>,
    names: &Names,
    planned: &TopicPlan,
    count: i32,
) -> Result<Vec<String>, BusError> {
    let name = names.name(planned.topic);
    let doing = || format!("describing topic {name}");
    let mut differences = Vec::new();
    if count != planned.partitions {
        differences.push(format!(
            "has {count} partitions, planned {}: kept, because another number moves keys",
            planned.partitions
        ));
    }
    let options = AdminOptions::new().request_timeout(Some(ASK_WITHIN));
    let described = admin
        .describe_configs([&ResourceSpecifier::Topic(name)], &options)
        .await
        .map_err(|e| bus_error(doing(), &e))?;
    for resource in described {
        let resource = resource.map_err(|code| failed(doing(), code.to_string()))?;
        for (key, wanted) in wanted_settings(planned) {
            let found = resource.get(key).and_then(|entry| entry.value.clone()).unwrap_or_default();
            if !same_setting(&found, &wanted) {
                differences.push(format!("{key} is '{found}', planned '{wanted}': kept"));
            }
        }
    }
    Ok(differences)
}

fn wanted_settings(planned: &TopicPlan) -> Vec<(&'static str, String)> {
    let cleanup = match planned.cleanup {
        Cleanup::Delete => "delete",
        Cleanup::Compact => "compact",
        Cleanup::CompactDelete => "compact,delete",
    };
    // Of three copies two must have a record before it counts as written; fewer copies allow no failure.
    let in_sync = (planned.replication - 1).clamp(1, 2);
    let mut wanted =
        vec![("cleanup.policy", cleanup.to_owned()), ("min.insync.replicas", in_sync.to_string())];
    if planned.cleanup != Cleanup::Compact {
        wanted.push(("retention.ms", planned.retention_ms.to_string()));
    }
    wanted
}

/// Brokers print lists in any order.
fn same_setting(found: &str, wanted: &str) -> bool {
    let parts = |text: &str| text.split(',').map(str::to_owned).collect::<BTreeSet<_>>();
    parts(found) == parts(wanted)
}
