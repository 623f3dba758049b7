-- Changes are sent from the history itself, in its order: nothing is written twice to be sent.

-- headers: what the change was caused by, JSON, or empty when nobody traces.
ALTER TABLE {service}_history ADD COLUMN headers TEXT NOT NULL DEFAULT '';

-- How far the history has been sent. One member at a time sends, while its claim lasts.
CREATE TABLE {service}_told (
    name TEXT NOT NULL PRIMARY KEY,
    next_id BIGINT NOT NULL,
    claimed_by TEXT NOT NULL,
    claimed_until_us BIGINT NOT NULL
);
-- From the beginning: readers recognise repeats by their id.
INSERT INTO {service}_told (name, next_id, claimed_by, claimed_until_us) VALUES ('cases', 1, '', 0);
DELETE FROM {service}_outbox WHERE destination = 'cases';

-- Most cases are new, and no new case is answered.
DROP INDEX {service}_cases_answered;
CREATE INDEX {service}_cases_first_answers ON {service}_cases (answered_at_us) WHERE answered_at_us IS NOT NULL;
