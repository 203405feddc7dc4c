-- The streams that have batches or are noted.
SELECT stream FROM outbox_lane ORDER BY stream
