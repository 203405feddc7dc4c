-- The answer, in the transaction that has taken key $1: $2 status, $3 body.
UPDATE ops.kept_reply SET status = $2::int, body = $3::bytea WHERE key = $1::bytea;
