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
    EXECUTE format('GRANT USAGE ON SCHEMA %I, ops TO %I', in_schema, relay);
    EXECUTE format('GRANT EXECUTE ON FUNCTION ops.outbox_empty_slot(name, interval) TO %I', relay);
    EXECUTE format('GRANT SELECT ON %I.outbox TO %I', in_schema, relay);
    EXECUTE format('GRANT SELECT, INSERT, DELETE, UPDATE (closed_at) ON %I.outbox_batch TO %I', in_schema, relay);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %I.outbox_lane TO %I', in_schema, relay);
END
$create$;
COMMENT ON PROCEDURE ops.outbox_create IS
    'makes the outbox of a schema for these streams; one role writes rows, one relays them';

-- Empties one slot whose rows are all published and whose newest row is older than `keep`; false when there is
-- none. Rows of the two newest batches of each stream stay: the newest may be open, and the newest published
-- one is the relay's memory. Looked up without a lock; under the lock it is enough that no row belongs to a
-- transaction that the look-up could not see. Called by the relay, with its own rights.
CREATE FUNCTION ops.outbox_empty_slot(in_schema name, keep interval) RETURNS boolean
    LANGUAGE plpgsql
    SET lock_timeout = '200ms'
AS $empty$
DECLARE
    slot regclass;
    newest timestamptz;
    horizon xid8;
    fit boolean;
BEGIN
    FOR slot IN SELECT inhrelid::regclass FROM pg_inherits
                WHERE inhparent = format('%I.outbox', in_schema)::regclass
    LOOP
        EXECUTE format('SELECT created_at FROM %s ORDER BY id DESC LIMIT 1', slot) INTO newest;
        CONTINUE WHEN newest IS NULL OR newest >= clock_timestamp() - keep;
        EXECUTE format($sql$
            SELECT pg_snapshot_xmin(pg_current_snapshot()), NOT EXISTS (
                SELECT FROM %1$s AS o
                LEFT JOIN LATERAL (
                    SELECT prev FROM %2$I.outbox_batch AS b
                    WHERE b.stream = o.stream AND b.n_rows > 0
                    ORDER BY b.batch DESC OFFSET 1 LIMIT 1) AS safe ON true
                WHERE safe.prev IS NULL OR NOT pg_visible_in_snapshot(o.xid, safe.prev))
        $sql$, slot, in_schema) INTO horizon, fit;
        CONTINUE WHEN NOT fit;
        BEGIN
            EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', slot);
            EXECUTE format('SELECT xid < $1 FROM %s ORDER BY xid DESC LIMIT 1', slot) INTO fit USING horizon;
            IF fit THEN
                EXECUTE format('TRUNCATE %s', slot);
                -- The lock lasts until the transaction ends: the next slot is for the next call.
                RETURN true;
            END IF;
        EXCEPTION WHEN lock_not_available THEN
            NULL;
        END;
    END LOOP;
    RETURN false;
END
$empty$;
COMMENT ON FUNCTION ops.outbox_empty_slot IS 'empties one slot of published rows older than keep';

-- A person's answer to a relay that refuses to run (ops/runbooks/relay-refused.md): this database and the
-- stream as it stands belong together from now on. Rows that may not have been published (or all that are kept,
-- with republish) are entered again and will be published; so some may be published twice, none is skipped.
-- last_sequence: the stream's last sequence now; tail_batch: the batch in the Echora-Position of its last message,
-- 0 when there is none.
CREATE PROCEDURE ops.outbox_accept(in_schema name, in_stream text, last_sequence bigint, tail_batch bigint DEFAULT 0,
                                   republish boolean DEFAULT false)
    LANGUAGE plpgsql
AS $accept$
DECLARE
    number bigint;
    seen pg_snapshot;
BEGIN
    EXECUTE format('LOCK TABLE %1$I.outbox, %1$I.outbox_batch IN ACCESS EXCLUSIVE MODE', in_schema);
    EXECUTE format($sql$
        SELECT coalesce(max(batch), 0), (array_agg(prev ORDER BY batch DESC) FILTER (WHERE n_rows > 0))[1]
        FROM %I.outbox_batch WHERE stream = $1
    $sql$, in_schema) INTO number, seen USING in_stream;
    -- Xids and snapshots of another cluster mean nothing here, so every row gets a new one.
    EXECUTE format('CREATE TEMP TABLE outbox_again ON COMMIT DROP AS SELECT * FROM %I.outbox '
                   'WHERE stream = $1 AND ($2 OR $3 IS NULL OR NOT pg_visible_in_snapshot(xid, $3))',
                   in_schema) USING in_stream, republish, seen;
    EXECUTE format('DELETE FROM %I.outbox WHERE stream = $1', in_schema) USING in_stream;
    EXECUTE format('INSERT INTO %I.outbox (stream, subject, entity_type, entity_id, event_id, headers, payload) '
                   'SELECT stream, subject, entity_type, entity_id, event_id, headers, payload '
                   'FROM outbox_again ORDER BY id', in_schema);
    EXECUTE format($sql$
        INSERT INTO %I.outbox_batch (stream, batch, prev, cur, first_id, last_id, n_rows, start_sequence, closed_at)
        VALUES ($1, greatest($2, $3) + 1, '3:3:', '3:3:', 1, 0, 0, $4, clock_timestamp())
    $sql$, in_schema) USING in_stream, number, tail_batch, last_sequence;
    EXECUTE format('DELETE FROM %I.outbox_lane WHERE stream = $1', in_schema) USING in_stream;
END
$accept$;
COMMENT ON PROCEDURE ops.outbox_accept IS 'lets a refused relay go on with the stream as it is';

CALL ops.outbox_create('catalog', ARRAY['ANIME_SYNC', 'ANIME_EVENTS', 'NOTIFICATION_EVENTS', 'AUDIT'],
                       'echora_catalogue', 'echora_relay');
