-- The newest batch of a stream.
SELECT batch, prev::text, pg_snapshot_xmax(prev), cur::text, pg_snapshot_xmax(cur), stragglers::text,
       first_id, last_id, n_rows, start_sequence, closed_at IS NOT NULL
FROM outbox_batch
WHERE stream = $1::text
ORDER BY batch DESC
LIMIT 1
