-- Was the stream's state at this sequence accepted by a person (a batch of no rows, ops.outbox_accept)?
SELECT EXISTS (
    SELECT FROM outbox_batch
    WHERE stream = $1::text AND n_rows = 0 AND start_sequence = $2::bigint AND batch > $3::bigint)
