-- What ingest keeps for itself; {service} is its name.

-- How far each source was read. cursor: the connector's own text (JSON).
CREATE TABLE {service}_cursors (
    connector TEXT NOT NULL,
    name TEXT NOT NULL,
    cursor TEXT NOT NULL,
    updated_at_us BIGINT NOT NULL,
    PRIMARY KEY (connector, name)
);

-- Deliveries that were confirmed: nothing else stops a replay where the sender signs no time.
CREATE TABLE {service}_deliveries (
    connector TEXT NOT NULL,
    delivery_id TEXT NOT NULL,
    seen_at_us BIGINT NOT NULL,
    PRIMARY KEY (connector, delivery_id)
);
CREATE INDEX {service}_deliveries_age ON {service}_deliveries (seen_at_us);
