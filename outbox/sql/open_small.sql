-- As open_batch.sql for the everyday case: prev has no transactions in progress, and at most 100 new rows in all
-- streams. Each row is looked at once. With more rows nothing is stored and the number of rows is NULL. The rows come along
-- unless they have more than $6 bytes together.
WITH cur AS MATERIALIZED (
    SELECT pg_current_snapshot() AS s
), seen AS MATERIALIZED (
    SELECT id, event_id, subject, headers, payload, created_at, stream = $1::text AS mine,
           octet_length(headers) + octet_length(payload) AS size
    FROM outbox
    WHERE xid >= $3::xid8
    LIMIT 101
), sums AS MATERIALIZED (
    SELECT count(*) AS total, count(*) FILTER (WHERE mine) AS n, min(id) FILTER (WHERE mine) AS first_id,
           max(id) FILTER (WHERE mine) AS last_id, sum(size) FILTER (WHERE mine) AS bytes
    FROM seen
), stored AS (
    INSERT INTO outbox_batch (stream, batch, prev, cur, first_id, last_id, n_rows, start_sequence)
    SELECT $1::text, $4::bigint, $2::pg_snapshot, cur.s, sums.first_id, sums.last_id, sums.n, $5::bigint
    FROM cur, sums
    WHERE sums.n > 0 AND sums.total <= 100
)
SELECT seen.id, seen.event_id, seen.subject, seen.headers, seen.payload, seen.created_at,
       cur.s::text, pg_snapshot_xmax(cur.s), '{}'::text,
       coalesce(sums.first_id, 0), coalesce(sums.last_id, 0),
       CASE WHEN sums.total <= 100 THEN sums.n END, sums.total - sums.n
FROM cur
CROSS JOIN sums
LEFT JOIN seen ON seen.mine AND sums.total <= 100 AND sums.bytes <= $6::bigint
ORDER BY seen.id
