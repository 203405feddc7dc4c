-- Opens the next batch: what this statement's snapshot sees and prev ($2, with its xmax $3) did not.
-- Stores its bounds, unless there is nothing; then the answer only tells the snapshot.
-- "other" counts new rows of other streams.
WITH cur AS MATERIALIZED (
    SELECT pg_current_snapshot() AS s
), fresh AS MATERIALIZED (
    SELECT count(*) FILTER (WHERE stream = $1::text) AS n,
           min(id) FILTER (WHERE stream = $1::text) AS first_id,
           max(id) FILTER (WHERE stream = $1::text) AS last_id,
           count(*) FILTER (WHERE stream <> $1::text) AS other
    FROM outbox
    WHERE xid >= $3::xid8
), late AS MATERIALIZED (
    SELECT count(*) FILTER (WHERE stream = $1::text) AS n,
           min(id) FILTER (WHERE stream = $1::text) AS first_id,
           max(id) FILTER (WHERE stream = $1::text) AS last_id,
           count(*) FILTER (WHERE stream <> $1::text) AS other,
           coalesce(array_agg(DISTINCT xid) FILTER (WHERE stream = $1::text), '{}') AS xids
    FROM outbox
    WHERE xid = ANY (ARRAY(SELECT pg_snapshot_xip($2::pg_snapshot)))
), stored AS (
    INSERT INTO outbox_batch (stream, batch, prev, cur, stragglers, first_id, last_id, n_rows, start_sequence)
    SELECT $1::text, $4::bigint, $2::pg_snapshot, cur.s, late.xids, least(fresh.first_id, late.first_id),
           greatest(fresh.last_id, late.last_id), fresh.n + late.n, $5::bigint
    FROM cur, fresh, late
    WHERE fresh.n + late.n > 0
)
SELECT cur.s::text, pg_snapshot_xmax(cur.s), late.xids::text,
       coalesce(least(fresh.first_id, late.first_id), 0), coalesce(greatest(fresh.last_id, late.last_id), 0),
       fresh.n + late.n, fresh.other + late.other
FROM cur, fresh, late
