-- How far the relay has looked for rows of a stream that has none.
--
-- Reason: after its start the relay looked, for each stream, at all kept rows behind that stream's newest batch. A stream
-- without batches had all of them to look at, seconds for some millions, while the other streams' events waited.
--
-- <schema>.outbox_lane.looked is a snapshot in which a relay saw no row of the stream that was not in the stream's batches
-- up to looked_batch. It holds for that batch alone, and for this cluster's xids alone: a lane that is noted anew forgets it.
-- It is committed without a wait for the disk: who has it has all that it saw, for that was written before.
DO $$
DECLARE
    in_schema name;
BEGIN
    FOR in_schema IN SELECT nspname FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace WHERE relname = 'outbox_lane'
    LOOP
        EXECUTE format('ALTER TABLE %I.outbox_lane ADD COLUMN looked pg_snapshot, ADD COLUMN looked_batch bigint', in_schema);
        EXECUTE format('COMMENT ON COLUMN %I.outbox_lane.looked IS %L', in_schema,
                       'up to this snapshot no row of the stream came behind batch looked_batch');
    END LOOP;
END
$$;

-- As in 0002, with what 0015 and this migration changed.
CREATE OR REPLACE PROCEDURE ops.outbox_create(in_schema name, streams text[], writer name, relay name)
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
                   'bounds of the relay''s batches; the stream may be one small batch ahead, whose first message carries them');
    EXECUTE format('COMMENT ON COLUMN %I.outbox_batch.stragglers IS %L', in_schema,
                   'transactions that were in progress in prev and whose rows belong to this batch');

    EXECUTE format($sql$
        CREATE TABLE %I.outbox_lane (
            stream            text        PRIMARY KEY,
            system_identifier bigint      NOT NULL,
            stream_created    text        NOT NULL,
            noted_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
            looked            pg_snapshot,
            looked_batch      bigint
        )
    $sql$, in_schema);
    EXECUTE format('COMMENT ON TABLE %I.outbox_lane IS %L', in_schema,
                   'the database and the stream that the batches are of; the relay refuses others');
    EXECUTE format('COMMENT ON COLUMN %I.outbox_lane.looked IS %L', in_schema,
                   'up to this snapshot no row of the stream came behind batch looked_batch');

    EXECUTE format('GRANT INSERT (stream, subject, entity_type, entity_id, event_id, headers, payload) '
                   'ON %I.outbox TO %I', in_schema, writer);
    EXECUTE format('GRANT USAGE ON SCHEMA %I, ops TO %I', in_schema, relay);
    EXECUTE format('GRANT EXECUTE ON FUNCTION ops.outbox_empty_slot(name, interval) TO %I', relay);
    EXECUTE format('GRANT SELECT ON %I.outbox TO %I', in_schema, relay);
    EXECUTE format('GRANT SELECT, INSERT, DELETE, UPDATE (closed_at) ON %I.outbox_batch TO %I', in_schema, relay);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %I.outbox_lane TO %I', in_schema, relay);
END
$create$;
