-- Everything of this batch is acknowledged.
UPDATE outbox_batch SET closed_at = clock_timestamp() WHERE stream = $1::text AND batch = $2::bigint
