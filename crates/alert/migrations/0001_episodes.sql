-- What alert keeps for itself; {service} is its name.

-- One row per span from opened to resolved. body: the episode, JSON. revision moves with every write, so
-- that of two writers one starts over. At most one open row per (rule, subject).
CREATE TABLE {service}_episodes (
    episode_id TEXT NOT NULL PRIMARY KEY,
    rule TEXT NOT NULL,
    subject TEXT NOT NULL,
    brand TEXT NOT NULL,
    state TEXT NOT NULL,
    is_open BIGINT NOT NULL,
    opened_at_us BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    body BYTEA NOT NULL
);
CREATE UNIQUE INDEX {service}_episodes_open ON {service}_episodes (rule, subject) WHERE is_open = 1;
CREATE INDEX {service}_episodes_subject ON {service}_episodes (rule, subject, opened_at_us);
CREATE INDEX {service}_episodes_newest ON {service}_episodes (opened_at_us, episode_id);
CREATE INDEX {service}_episodes_brand ON {service}_episodes (brand, is_open);

-- Every published change. id is taken from the counter below in the same transaction, whose row lock makes
-- ids visible in their order: whoever has seen one has seen all before it. body: EpisodeEvent, protobuf.
CREATE TABLE {service}_history (
    id BIGINT NOT NULL PRIMARY KEY,
    episode_id TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    brand TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    body BYTEA NOT NULL,
    UNIQUE (episode_id, sequence)
);
CREATE TABLE {service}_counters (
    name TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO {service}_counters (name, value) VALUES ('history', 0);

-- Each step of the reasoning. body: the reason, JSON.
CREATE TABLE {service}_decisions (
    episode_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    at_us BIGINT NOT NULL,
    action TEXT NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (episode_id, number)
);

-- body: the silence, JSON.
CREATE TABLE {service}_silences (
    silence_id TEXT NOT NULL PRIMARY KEY,
    starts_at_us BIGINT NOT NULL,
    ends_at_us BIGINT NOT NULL,
    body BYTEA NOT NULL
);
CREATE INDEX {service}_silences_end ON {service}_silences (ends_at_us);

-- Answers to people's requests, so that a repeat changes nothing. body: the reply, protobuf.
CREATE TABLE {service}_requests (
    idempotency_key TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    body BYTEA NOT NULL
);

-- Detector states of one partition, true for next_offset. settings: what they were made under, JSON.
CREATE TABLE {service}_snapshots (
    partition_no BIGINT NOT NULL PRIMARY KEY,
    next_offset BIGINT NOT NULL,
    at_us BIGINT NOT NULL,
    settings TEXT NOT NULL,
    body BYTEA NOT NULL
);
