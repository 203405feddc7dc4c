-- Deletes batches whose rows are all gone from the outbox, but for the newest three with rows.
DELETE FROM outbox_batch AS old
USING (
    SELECT batch FROM outbox_batch WHERE stream = $1::text ORDER BY batch LIMIT 5000
) AS oldest
WHERE old.stream = $1::text AND old.batch = oldest.batch
  AND old.last_id < (SELECT min(id) FROM outbox)
  AND old.batch < (
      SELECT batch FROM outbox_batch
      WHERE stream = $1::text AND n_rows > 0
      ORDER BY batch DESC OFFSET 2 LIMIT 1)
