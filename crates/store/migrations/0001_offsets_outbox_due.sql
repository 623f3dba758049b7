-- What every service with tables needs; {service} is its name.

-- How far a consumer has read, moved by compare-and-set in the transaction of the effects.
CREATE TABLE {service}_offsets (
    consumer TEXT NOT NULL,
    topic TEXT NOT NULL,
    partition_no BIGINT NOT NULL,
    next_offset BIGINT NOT NULL,
    PRIMARY KEY (consumer, topic, partition_no)
);

-- Messages to the world outside. state: pending, sent, dropped, failed.
-- seq counts per (ordering_key, destination); claimed_until_us is 0 while nobody has it.
CREATE TABLE {service}_outbox (
    delivery_id TEXT NOT NULL PRIMARY KEY,
    ordering_key TEXT NOT NULL,
    destination TEXT NOT NULL,
    kind TEXT NOT NULL,
    body BYTEA NOT NULL,
    headers TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    created_at_us BIGINT NOT NULL,
    due_at_us BIGINT NOT NULL,
    claimed_by TEXT NOT NULL,
    claimed_until_us BIGINT NOT NULL,
    ended_at_us BIGINT,
    last_error TEXT NOT NULL,
    seq BIGINT NOT NULL,
    UNIQUE (ordering_key, destination, seq)
);
CREATE INDEX {service}_outbox_pending ON {service}_outbox (due_at_us) WHERE state = 'pending';
CREATE INDEX {service}_outbox_unsent ON {service}_outbox (ordering_key, destination, seq) WHERE state = 'pending';
CREATE INDEX {service}_outbox_ended ON {service}_outbox (ended_at_us) WHERE state <> 'pending';

-- Destinations that asked for a rest.
CREATE TABLE {service}_outbox_pauses (
    destination TEXT NOT NULL PRIMARY KEY,
    until_us BIGINT NOT NULL
);

-- Work for a given time. claims counts how often it was taken up.
CREATE TABLE {service}_due (
    key TEXT NOT NULL PRIMARY KEY,
    due_at_us BIGINT NOT NULL,
    kind TEXT NOT NULL,
    body BYTEA NOT NULL,
    claimed_by TEXT NOT NULL,
    claimed_until_us BIGINT NOT NULL,
    claims BIGINT NOT NULL
);
CREATE INDEX {service}_due_at ON {service}_due (due_at_us);
