-- Opens the next batch: what this statement's snapshot sees and prev ($2, with its xmax $3) did not.
-- Stores its bounds, unless there is nothing; then the answer only tells the snapshot.
-- The first page comes along (at most $6 rows, none beginning beyond $7 bytes), unless there are stragglers:
-- the statement sees exactly the rows that its snapshot sees. The batch's columns stand in every row;
-- without a page there is one row whose id is NULL. "other" counts new rows of other streams.
WITH cur AS MATERIALIZED (
    SELECT pg_current_snapshot() AS s
), fresh AS MATERIALIZED (
    SELECT count(*) FILTER (WHERE mine) AS n, min(id) FILTER (WHERE mine) AS first_id,
           max(id) FILTER (WHERE mine) AS last_id, count(*) FILTER (WHERE NOT mine) AS other
    FROM (SELECT id, stream = $1::text AS mine FROM outbox WHERE xid >= $3::xid8) AS seen
), late AS MATERIALIZED (
    SELECT count(*) FILTER (WHERE mine) AS n, min(id) FILTER (WHERE mine) AS first_id,
           max(id) FILTER (WHERE mine) AS last_id, count(*) FILTER (WHERE NOT mine) AS other,
           coalesce(array_agg(DISTINCT xid) FILTER (WHERE mine), '{}') AS xids
    FROM (SELECT id, xid, stream = $1::text AS mine FROM outbox
          WHERE xid = ANY (ARRAY(SELECT pg_snapshot_xip($2::pg_snapshot)))) AS seen
), stored AS (
    INSERT INTO outbox_batch (stream, batch, prev, cur, stragglers, first_id, last_id, n_rows, start_sequence)
    SELECT $1::text, $4::bigint, $2::pg_snapshot, cur.s, late.xids, least(fresh.first_id, late.first_id),
           greatest(fresh.last_id, late.last_id), fresh.n + late.n, $5::bigint
    FROM cur, fresh, late
    WHERE fresh.n + late.n > 0
)
SELECT page.id, page.event_id, page.subject, page.headers, page.payload, page.created_at,
       cur.s::text, pg_snapshot_xmax(cur.s), late.xids::text,
       coalesce(least(fresh.first_id, late.first_id), 0), coalesce(greatest(fresh.last_id, late.last_id), 0),
       fresh.n + late.n, fresh.other + late.other
FROM cur
CROSS JOIN fresh
CROSS JOIN late
LEFT JOIN LATERAL (
    SELECT rows_before.*
    FROM (
        SELECT head.*, sum(size) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) - size AS bytes_before
        FROM (
            SELECT id, event_id, subject, headers, payload, created_at,
                   octet_length(headers) + octet_length(payload) AS size
            FROM outbox
            WHERE id >= fresh.first_id AND id <= fresh.last_id AND late.n = 0
              AND xid >= $3::xid8
              AND stream = $1::text
            ORDER BY id
            LIMIT $6::int
        ) AS head
    ) AS rows_before
    WHERE bytes_before < $7::bigint
) AS page ON true
ORDER BY page.id
