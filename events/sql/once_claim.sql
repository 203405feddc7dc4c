-- Takes the key for this transaction: $1 key, $2 subject, $3 request, $4 token. A row comes back when it was free; who
-- takes it at the same time waits here until the other's transaction is over.
INSERT INTO ops.kept_reply (key, subject, request, token, status, body)
VALUES ($1::bytea, $2::text, $3::bytea, $4::bigint, 0, '')
ON CONFLICT (key) DO NOTHING
RETURNING true;
