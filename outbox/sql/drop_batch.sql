-- Takes bounds out that another batch of the same number, which the stream holds, makes void.
DELETE FROM outbox_batch WHERE stream = $1::text AND batch = $2::bigint AND start_sequence = $3::bigint AND n_rows > 0
