-- What sources say about themselves, and what each brand hears through them; {service} is its name.

-- One row per connector. silent_since_us: since when it is not heard, 0 while it is.
CREATE TABLE {service}_sources (
    connector TEXT NOT NULL PRIMARY KEY,
    state BIGINT NOT NULL,
    since_us BIGINT NOT NULL,
    watermark_us BIGINT NOT NULL,
    silent_since_us BIGINT NOT NULL,
    detail TEXT NOT NULL
);

-- How many posts of a brand came through a connector, fading over days: what is missed while it is silent.
CREATE TABLE {service}_hears (
    brand TEXT NOT NULL,
    connector TEXT NOT NULL,
    posts DOUBLE PRECISION NOT NULL,
    heard_at_us BIGINT NOT NULL,
    PRIMARY KEY (brand, connector)
);

-- Which episodes ever showed which mention of whom, so that an erasure finds them.
CREATE TABLE {service}_evidence (
    mention_id TEXT NOT NULL,
    episode_id TEXT NOT NULL,
    author_key TEXT NOT NULL,
    PRIMARY KEY (mention_id, episode_id)
);
CREATE INDEX {service}_evidence_author ON {service}_evidence (author_key);
CREATE INDEX {service}_evidence_episode ON {service}_evidence (episode_id);
