-- What the catalogue writer remembers of events: which it handled, which wait for their entity, which wait
-- for a person.
--
-- Reason: redelivered events must change nothing, updates may come before their entity, risky ones are decided by
-- people (flows A2 and A5).

-- One row per handled event, in the transaction of its effect. Rejected events leave none, so that a replay is
-- handled. event_day is the UTC day of the event's own time: the same on every redelivery.
CREATE TABLE catalog.inbox (
    event_id        uuid NOT NULL,
    consumer        text NOT NULL,
    event_day       date NOT NULL,
    stream_sequence bigint NOT NULL,
    entity_id       uuid,
    revision        bigint NOT NULL,
    outcome         text NOT NULL,
    handled_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (event_id, consumer, event_day)
) PARTITION BY RANGE (event_day);
CREATE INDEX inbox_entity ON catalog.inbox (entity_id);
COMMENT ON COLUMN catalog.inbox.outcome IS 'one of inbox_outcome: parked waits for a review, pending for its entity';
COMMENT ON COLUMN catalog.inbox.revision IS 'of the entity after this event; 0 when it changed nothing';
CREATE TABLE catalog.inbox_default PARTITION OF catalog.inbox DEFAULT;
CREATE TABLE catalog.inbox_outcome (value text PRIMARY KEY);
INSERT INTO catalog.inbox_outcome VALUES ('applied'), ('unchanged'), ('parked'), ('pending');

-- Daily partitions for yesterday to two days ahead, and an end to what was handled more than keep_days ago.
-- Rows of a day that already lie in the default partition move. Runs as its owner: the writer may not alter
-- tables. Returns how many partitions it made or dropped. Callers race harmlessly: one holds the lock, the
-- others do nothing.
CREATE FUNCTION catalog.inbox_maintain(keep_days int) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = catalog, pg_temp
AS $$
DECLARE
    d date;
    part text;
    old record;
    done int := 0;
    handled boolean;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('catalog.inbox_maintain')) THEN
        RETURN 0;
    END IF;
    PERFORM set_config('lock_timeout', '2s', true);
    FOR d IN SELECT generate_series(current_date - 1, current_date + 2, interval '1 day')::date LOOP
        part := 'inbox_' || to_char(d, 'YYYYMMDD');
        IF to_regclass('catalog.' || part) IS NULL THEN
            EXECUTE format('CREATE TABLE catalog.%I (LIKE catalog.inbox INCLUDING DEFAULTS)', part);
            EXECUTE format('WITH moved AS (DELETE FROM catalog.inbox_default WHERE event_day = %L RETURNING *)
                            INSERT INTO catalog.%I SELECT * FROM moved', d, part);
            EXECUTE format('ALTER TABLE catalog.inbox ATTACH PARTITION catalog.%I FOR VALUES FROM (%L) TO (%L)',
                           part, d, d + 1);
            done := done + 1;
        END IF;
    END LOOP;
    FOR old IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'catalog.inbox'::regclass AND c.relname ~ '^inbox_[0-9]{8}$'
           AND to_date(right(c.relname, 8), 'YYYYMMDD') < current_date - keep_days
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT 1 FROM catalog.%I WHERE handled_at > now() - make_interval(days => $1))',
                       old.relname) INTO handled USING keep_days;
        IF NOT handled THEN
            EXECUTE format('DROP TABLE catalog.%I', old.relname);
            done := done + 1;
        END IF;
    END LOOP;
    DELETE FROM catalog.inbox_default WHERE handled_at < now() - make_interval(days => keep_days);
    RETURN done;
END $$;
REVOKE ALL ON FUNCTION catalog.inbox_maintain(int) FROM PUBLIC;
SELECT catalog.inbox_maintain(40);

-- Updates of an id that nobody knows yet, whole, so that they can be applied when it appears, and dead-lettered
-- when it never does.
CREATE TABLE catalog.pending_update (
    event_id        uuid NOT NULL,
    consumer        text NOT NULL,
    event_day       date NOT NULL,
    entity_kind     text NOT NULL,
    entity_id       uuid NOT NULL,
    event_time      timestamptz NOT NULL,
    subject         text NOT NULL,
    headers         jsonb NOT NULL,
    payload         bytea NOT NULL,
    stream_sequence bigint NOT NULL,
    stored_at       timestamptz NOT NULL,
    traceparent     text,
    received_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (event_id, consumer, event_day)
);
CREATE INDEX pending_update_entity ON catalog.pending_update (entity_id);
CREATE INDEX pending_update_received ON catalog.pending_update (received_at);

-- Risky updates that wait for a person. payload is the flagged copy as published: its changed_fields are the
-- parked ones, its event id is review_id.
CREATE TABLE catalog.review_state (value text PRIMARY KEY);
INSERT INTO catalog.review_state VALUES ('pending'), ('approved'), ('rejected'), ('superseded');
CREATE TABLE catalog.update_review (
    review_id       uuid PRIMARY KEY,
    event_id        uuid NOT NULL,
    anime_id        uuid NOT NULL,
    event_time      timestamptz NOT NULL,
    fields          text[] NOT NULL,
    reasons         text[] NOT NULL,
    payload         bytea NOT NULL,
    traceparent     text,
    state           text NOT NULL DEFAULT 'pending' REFERENCES catalog.review_state,
    created_at      timestamptz NOT NULL DEFAULT now(),
    decided_at      timestamptz,
    decided_by      text,
    decision_note   text
);
CREATE INDEX update_review_event ON catalog.update_review (event_id);
CREATE INDEX update_review_pending ON catalog.update_review (anime_id) WHERE state = 'pending';

GRANT EXECUTE ON FUNCTION catalog.inbox_maintain(int) TO echora_catalogue;
GRANT SELECT ON catalog.inbox_outcome, catalog.review_state TO echora_catalogue;
GRANT SELECT, INSERT, UPDATE, DELETE ON catalog.inbox, catalog.pending_update TO echora_catalogue;
GRANT SELECT, INSERT, UPDATE ON catalog.update_review TO echora_catalogue;
