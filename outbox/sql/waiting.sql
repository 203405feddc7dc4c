-- Per stream: rows that no batch holds yet (without the few that were in progress when the newest one was opened), and
-- the age of the oldest in seconds.
SELECT lane.stream, waiting.n, coalesce(extract(epoch FROM clock_timestamp() - waiting.oldest), 0)::float8
FROM outbox_lane AS lane
LEFT JOIN LATERAL (
    SELECT batch, pg_snapshot_xmax(cur) AS xmax FROM outbox_batch AS b
    WHERE b.stream = lane.stream ORDER BY batch DESC LIMIT 1
) AS newest ON true
CROSS JOIN LATERAL (
    SELECT count(*) AS n, min(created_at) AS oldest FROM outbox AS o
    WHERE o.xid >= CASE WHEN lane.looked_batch = coalesce(newest.batch, 0) THEN pg_snapshot_xmax(lane.looked)
                        ELSE coalesce(newest.xmax, '0'::xid8) END
      AND o.stream = lane.stream
) AS waiting
