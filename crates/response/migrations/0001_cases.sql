-- What response keeps for itself; {service} is its name.

-- One row per case. body: the case with everything said, JSON; it is the only place that keeps words, so
-- that forgetting is one row. version counts up with each change told: of two writers one starts over.
-- waits_order_us: since when the customer waits, or the largest number when nobody waits.
CREATE TABLE {service}_cases (
    case_id TEXT NOT NULL PRIMARY KEY,
    brand TEXT NOT NULL,
    customer_key TEXT NOT NULL,
    thread_root TEXT NOT NULL,
    state TEXT NOT NULL,
    assignee TEXT NOT NULL,
    is_overdue BIGINT NOT NULL,
    opened_at_us BIGINT NOT NULL,
    changed_at_us BIGINT NOT NULL,
    waits_order_us BIGINT NOT NULL,
    answered_at_us BIGINT,
    resolved_at_us BIGINT,
    version BIGINT NOT NULL,
    body BYTEA NOT NULL
);
CREATE INDEX {service}_cases_customer ON {service}_cases (customer_key);
CREATE INDEX {service}_cases_thread ON {service}_cases (thread_root);
CREATE INDEX {service}_cases_waiting ON {service}_cases (waits_order_us, opened_at_us, case_id);
CREATE INDEX {service}_cases_opened ON {service}_cases (opened_at_us);
CREATE INDEX {service}_cases_answered ON {service}_cases (answered_at_us);

-- Which cases a mention belongs to: its customer's words and the brand's answers.
CREATE TABLE {service}_mentions (
    mention_id TEXT NOT NULL,
    case_id TEXT NOT NULL,
    brand TEXT NOT NULL,
    PRIMARY KEY (mention_id, case_id)
);

-- Answers heard before what they answer. body: the answer, JSON.
CREATE TABLE {service}_early_answers (
    target TEXT NOT NULL,
    brand TEXT NOT NULL,
    mention_id TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (target, brand, mention_id)
);
CREATE INDEX {service}_early_answers_age ON {service}_early_answers (at_us);
CREATE INDEX {service}_early_answers_mention ON {service}_early_answers (mention_id);

-- Every change told. id is taken from the counter below in the same transaction, whose row lock makes ids
-- visible in their order: whoever has seen one has seen all before it. body: CaseEvent, protobuf, without
-- anything anybody said.
CREATE TABLE {service}_history (
    id BIGINT NOT NULL PRIMARY KEY,
    case_id TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    brand TEXT NOT NULL,
    change BIGINT NOT NULL,
    at_us BIGINT NOT NULL,
    body BYTEA NOT NULL,
    UNIQUE (case_id, sequence)
);
CREATE INDEX {service}_history_time ON {service}_history (at_us);
CREATE TABLE {service}_counters (
    name TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO {service}_counters (name, value) VALUES ('history', 0);

-- What people asked for before, so that a repeat changes nothing. request: what it was, to tell a repeat
-- from a key used twice.
CREATE TABLE {service}_requests (
    idempotency_key TEXT NOT NULL PRIMARY KEY,
    request TEXT NOT NULL,
    case_id TEXT NOT NULL,
    at_us BIGINT NOT NULL
);
CREATE INDEX {service}_requests_age ON {service}_requests (at_us);

-- Every calendar a clock was ever started under. body: JSON.
CREATE TABLE {service}_calendars (
    version TEXT NOT NULL PRIMARY KEY,
    body TEXT NOT NULL
);
