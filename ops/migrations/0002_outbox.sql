-- The transactional outbox: what was committed and is to be published, and how far that went.
--
-- Reason: writers add rows in the transaction of the change; the relay (outbox/) publishes them in each
-- entity's order. Every schema with events has an outbox of its own, made by ops.outbox_create, so that a
-- later flow costs one CALL.
--
-- <schema>.outbox is insert-only. Column order matters: defaults are evaluated from left to right, and xid
-- comes before id, so a transaction has its xid before it takes an id.
-- It is split into six slots by the clock, twelve hours each, used in a ring: no partition is ever created or
-- dropped, and inserts can't fail for want of one. The relay truncates a slot once everything in it is
-- published and older than the keep time; rows that come before that simply share the slot.
-- Writers can't give id, xid, slot or created_at themselves.
--
-- <schema>.outbox_batch holds the bounds of each batch: the rows of its stream that snapshot `cur` sees and
-- snapshot `prev` does not, in the order of id. It is stored before the first publish of the batch, so any
-- relay after any crash publishes the same rows in the same order. start_sequence is the stream's last
-- sequence before the batch. A batch of 0 rows only moves the cursor.
-- closed_at is used by lanes of shared streams alone: the other lanes read the stream's tail instead.
--
-- <schema>.outbox_lane notes, for each stream, the epoch: which database and which stream the batches are of.
CREATE PROCEDURE ops.outbox_create(in_schema name, streams text[], writer name, relay name)
    LANGUAGE plpgsql
AS $create$
DECLARE
    slots CONSTANT int := 6;
    slot_name text;
BEGIN
    EXECUTE format($sql$
        CREATE TABLE %1$I.outbox (
            xid         xid8        NOT NULL DEFAULT pg_current_xact_id(),
            id          bigint      GENERATED ALWAYS AS IDENTITY,
            slot        smallint    NOT NULL
                        DEFAULT (floor(date_part('epoch', clock_timestamp()) / 43200)::bigint %% %2$s)::smallint,
            stream      text        NOT NULL,
            subject     text        NOT NULL,
            entity_type text        NOT NULL DEFAULT '',
            entity_id   uuid,
            event_id    uuid        NOT NULL,
            headers     text        NOT NULL DEFAULT '',
            payload     bytea       NOT NULL,
            created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
            PRIMARY KEY (id, slot),
            CONSTRAINT outbox_stream CHECK (stream = ANY (%3$L::text[])),
            CONSTRAINT outbox_subject CHECK (
                length(subject) <= 255 AND subject ~ '^[A-Za-z0-9_-]+([.][A-Za-z0-9_-]+)*$'),
            CONSTRAINT outbox_size CHECK (
                octet_length(headers) <= 8192
                AND octet_length(payload) + octet_length(headers) <= 8388608 - 65536 - 1024)
        ) PARTITION BY LIST (slot)
    $sql$, in_schema, slots, streams);
    EXECUTE format('CREATE INDEX outbox_xid ON %I.outbox (xid, id)', in_schema);
    -- Protobuf does not compress well enough for its CPU time.
    EXECUTE format('ALTER TABLE %I.outbox ALTER payload SET STORAGE EXTERNAL', in_schema);
    EXECUTE format('COMMENT ON TABLE %I.outbox IS %L', in_schema,
                   'events of committed changes, published by the relay; insert-only');
    EXECUTE format('COMMENT ON COLUMN %I.outbox.headers IS %L', in_schema,
                   'lines of "Name: value"; the relay adds Echora-Event-Id and its position');

    FOR i IN 0 .. slots - 1 LOOP
        slot_name := 'outbox_slot_' || i;
        EXECUTE format('CREATE TABLE %1$I.%2$I PARTITION OF %1$I.outbox FOR VALUES IN (%3$s)',
                       in_schema, slot_name, i);
        EXECUTE format('ALTER TABLE %I.%I ALTER payload SET STORAGE EXTERNAL', in_schema, slot_name);
        EXECUTE format('GRANT SELECT, TRUNCATE ON %I.%I TO %I', in_schema, slot_name, relay);
    END LOOP;

    EXECUTE format($sql$
        CREATE TABLE %I.outbox_batch (
            stream         text        NOT NULL,
            batch          bigint      NOT NULL CHECK (batch > 0),
            prev           pg_snapshot NOT NULL,
            cur            pg_snapshot NOT NULL,
            stragglers     xid8[]      NOT NULL DEFAULT '{}',
            first_id       bigint      NOT NULL,
            last_id        bigint      NOT NULL,
            n_rows         bigint      NOT NULL CHECK (n_rows >= 0),
            start_sequence bigint      NOT NULL CHECK (start_sequence >= 0),
            created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
            closed_at      timestamptz,
            PRIMARY KEY (stream, batch)
        )
    $sql$, in_schema);
    EXECUTE format('COMMENT ON TABLE %I.outbox_batch IS %L', in_schema,
                   'bounds of the relay''s batches, stored before their first publish');
    EXECUTE format('COMMENT ON COLUMN %I.outbox_batch.stragglers IS %L', in_schema,
                   'transactions that were in progress in prev and whose rows belong to this batch');

    EXECUTE format($sql$
        CREATE TABLE %I.outbox_lane (
            stream            text        PRIMARY KEY,
            system_identifier bigint      NOT NULL,
            stream_created    text        NOT NULL,
            noted_at          timestamptz NOT NULL DEFAULT clock_timestamp()
        )
    $sql$, in_schema);
    EXECUTE format('COMMENT ON TABLE %I.outbox_lane IS %L', in_schema,
                   'the database and the stream that the batches are of; the relay refuses others');

    EXECUTE format('GRANT INSERT (stream, subject, entity_type, entity_id, event_id, headers, payload) '
                   'ON %I.outbox TO %I', in_schema, writer);
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', in_schema, relay);
    EXECUTE format('GRANT SELECT ON %I.outbox TO %I', in_schema, relay);
    EXECUTE format('GRANT SELECT, INSERT, DELETE, UPDATE (closed_at) ON %I.outbox_batch TO %I', in_schema, relay);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %I.outbox_lane TO %I', in_schema, relay);
END
$create$;
COMMENT ON PROCEDURE ops.outbox_create IS
    'makes the outbox of a schema for these streams; one role writes rows, one relays them';

CALL ops.outbox_create('catalog', ARRAY['ANIME_SYNC', 'ANIME_EVENTS', 'NOTIFICATION_EVENTS', 'AUDIT'],
                       'echora_catalogue', 'echora_relay');
