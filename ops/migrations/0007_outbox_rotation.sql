-- Rotation frees the rows of streams that are rarely used.
--
-- Reason: rows of the two newest batches of each stream were kept, so the few rows of a stream with few batches
-- held their slots for ever, and with them all rows of busy streams in the same slots. A lane of a shared stream
-- reads no row of a closed batch again: what its newest closed batch has seen is free.
--
-- Also: batches from before ops.outbox_accept tell nothing about the rows entered since, whose xids may be of
-- another cluster.

-- Empties one slot whose rows are all published and whose newest row is older than `keep`; false when there is
-- none. Free are, per stream: what the newest closed batch saw (shared streams), or what the second newest batch
-- did not hold (streams of the relay alone: the newest may be open, and the newest published one is the relay's
-- memory). Looked up without a lock; under the lock it is enough that no row belongs to a transaction that the
-- look-up could not see. Called by the relay, with its own rights.
CREATE OR REPLACE FUNCTION ops.outbox_empty_slot(in_schema name, keep interval) RETURNS boolean
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
                LEFT JOIN (
                    SELECT lane.stream, coalesce(
                        (SELECT cur FROM %2$I.outbox_batch AS b
                         WHERE b.stream = lane.stream AND b.batch > accepted.batch AND b.closed_at IS NOT NULL
                         ORDER BY b.batch DESC LIMIT 1),
                        (SELECT prev FROM %2$I.outbox_batch AS b
                         WHERE b.stream = lane.stream AND b.batch > accepted.batch
                         ORDER BY b.batch DESC OFFSET 1 LIMIT 1)) AS seen
                    FROM %2$I.outbox_lane AS lane
                    CROSS JOIN LATERAL (
                        SELECT coalesce(max(batch), 0) AS batch FROM %2$I.outbox_batch AS b
                        WHERE b.stream = lane.stream AND b.n_rows = 0) AS accepted
                    OFFSET 0) AS safe ON safe.stream = o.stream
                WHERE safe.seen IS NULL OR NOT pg_visible_in_snapshot(o.xid, safe.seen))
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
