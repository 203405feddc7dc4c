-- How far somebody has looked for rows of the stream, and behind which batch.
SELECT looked::text, pg_snapshot_xmax(looked), looked_batch
FROM outbox_lane
WHERE stream = $1::text AND looked IS NOT NULL
