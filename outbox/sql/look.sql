-- As open_batch.sql for the everyday case, and nothing is stored: prev, with its xmax $2, has no transactions in progress,
-- and there are at most 100 new rows in all streams; with more the number of rows is NULL. It is, too, where nothing can be
-- written: a standby's snapshots don't name what is in progress. Each row is looked at once. The rows come along unless they
-- have more than $3 bytes together.
WITH cur AS MATERIALIZED (
    SELECT pg_current_snapshot() AS s
), seen AS MATERIALIZED (
    SELECT id, event_id, subject, headers, payload, created_at, xid, stream = $1::text AS mine,
           octet_length(headers) + octet_length(payload) AS size
    FROM outbox
    WHERE xid >= $2::xid8
    LIMIT 101
), sums AS MATERIALIZED (
    SELECT count(*) AS total, count(*) FILTER (WHERE mine) AS n, min(id) FILTER (WHERE mine) AS first_id,
           max(id) FILTER (WHERE mine) AS last_id, sum(size) FILTER (WHERE mine) AS bytes
    FROM seen
)
SELECT seen.id, seen.event_id, seen.subject, seen.headers, seen.payload, seen.created_at,
       cur.s::text, pg_snapshot_xmax(cur.s), '{}'::text,
       coalesce(sums.first_id, 0), coalesce(sums.last_id, 0),
       CASE WHEN sums.total <= 100 AND current_setting('transaction_read_only') = 'off' THEN sums.n END,
       sums.total - sums.n, seen.xid
FROM cur
CROSS JOIN sums
LEFT JOIN seen ON seen.mine AND sums.total <= 100 AND sums.bytes <= $3::bigint
ORDER BY seen.id
