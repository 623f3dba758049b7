//! A log in the hands of a test: with all its topics, and read to its end.

use std::sync::Arc;

use bus::{EmbeddedLog, Log, Partition, Received, Topic, TopicPlan};

/// Records read at once.
const PAGE: usize = 1_000;

/// An empty log in memory, every topic with so many partitions.
///
/// # Panics
/// When it cannot be made.
pub async fn in_memory(partitions: i32) -> Arc<dyn Log> {
    match EmbeddedLog::in_memory() {
        Ok(log) => with_topics(Arc::new(log), partitions).await,
        Err(error) => panic!("test log: {error}"),
    }
}

/// Makes every topic on `log`, with so many partitions each.
///
/// # Panics
/// When the log refuses.
pub async fn with_topics(log: Arc<dyn Log>, partitions: i32) -> Arc<dyn Log> {
    match log.topics(&Topic::ALL.map(|topic| TopicPlan::of(topic, partitions)), true).await {
        Ok(_) => log,
        Err(error) => panic!("topics of a test log: {error}"),
    }
}

/// All that `topic` holds now, in order per partition.
///
/// # Panics
/// When the log fails.
pub async fn records(log: &dyn Log, topic: Topic) -> Vec<Received> {
    let read = async {
        let reader = log.reader()?;
        let mut all = Vec::new();
        for number in 0..reader.partitions(topic).await? {
            let partition = Partition { topic, number };
            let marks = reader.watermarks(partition).await?;
            let mut from = marks.low;
            while from < marks.high {
                let page = reader.scan(partition, from, marks.high, PAGE).await?;
                from = page.next;
                all.extend(page.records);
            }
        }
        Ok::<_, bus::BusError>(all)
    };
    match read.await {
        Ok(all) => all,
        Err(error) => panic!("reading {topic} in a test: {error}"),
    }
}
