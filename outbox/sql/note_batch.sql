-- Stores the bounds of a batch without stragglers.
INSERT INTO outbox_batch (stream, batch, prev, cur, first_id, last_id, n_rows, start_sequence)
VALUES ($1::text, $2::bigint, $3::pg_snapshot, $4::pg_snapshot, $5::bigint, $6::bigint, $7::bigint, $8::bigint)
