-- How episodes went, for people who ask; {service} is its name.

-- One row per episode of which a detector kept a timeline. body: Timeline, protobuf. The authors it names are in
-- {service}_evidence with their first mention, so that an erasure finds them.
CREATE TABLE {service}_timelines (
    episode_id TEXT NOT NULL PRIMARY KEY,
    body BYTEA NOT NULL
);
