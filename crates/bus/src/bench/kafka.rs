use std::ops::ControlFlow;
use std::time::Duration;

use rdkafka::Offset;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use crate::kafka::errors::{bus_error, failed};
use crate::kafka::names::Names;
use crate::{BusError, KafkaSettings, Partition, Received, Topic};

/// How long the brokers may take to remove topics.
const REMOVED_WITHIN: Duration = Duration::from_secs(30);
/// One look for records, which bounds how late the end is noticed.
const LOOK: Duration = Duration::from_millis(20);

/// Reads every committed record of `topic` from the beginning, as soon as it can be seen: fetches answer at
/// once. `each` is called with every record, and with none now and then; it says when to stop. Blocks.
///
/// # Errors
/// When the settings are refused or the topic cannot be read.
pub fn tail(
    settings: &KafkaSettings,
    topic: Topic,
    partitions: i32,
    mut each: impl FnMut(Option<Received>) -> ControlFlow<()>,
) -> Result<(), BusError> {
    let names = Names::new(&settings.prefix);
    let doing = || format!("reading {}", names.name(topic));
    let client: BaseConsumer = settings
        .consumer()
        .set("group.id", format!("{}tail", settings.prefix))
        .set("fetch.wait.max.ms", "10")
        .create()
        .map_err(|e| bus_error(doing(), &e))?;
    let all = (0..partitions).map(|number| (Partition { topic, number }, Offset::Beginning));
    let list = names.list(all).map_err(|e| bus_error(doing(), &e))?;
    client.assign(&list).map_err(|e| bus_error(doing(), &e))?;
    loop {
        let told = match client.poll(LOOK) {
            None => each(None),
            Some(Ok(message)) => each(names.received(&message)),
            Some(Err(error)) => {
                tracing::warn!(%error, "kafka client reports");
                each(None)
            }
        };
        if told.is_break() {
            return Ok(());
        }
    }
}

/// Removes every topic under the prefix of `settings`, with all that is in them: for those made for a
/// measurement. Missing ones are no error.
///
/// # Errors
/// When there is no prefix, or the brokers cannot be asked.
pub async fn remove_topics(settings: &KafkaSettings) -> Result<(), BusError> {
    let doing = || format!("removing topics '{}*'", settings.prefix);
    if settings.prefix.is_empty() {
        return Err(failed(doing(), "without a prefix they are somebody's"));
    }
    let names = Names::new(&settings.prefix);
    let admin: AdminClient<DefaultClientContext> =
        settings.client().create().map_err(|e| bus_error(doing(), &e))?;
    let all: Vec<&str> = Topic::ALL.into_iter().map(|topic| names.name(topic)).collect();
    let options = AdminOptions::new().request_timeout(Some(REMOVED_WITHIN));
    admin.delete_topics(&all, &options).await.map_err(|e| bus_error(doing(), &e))?;
    Ok(())
}
