-- Whoever makes entities or aliases shares this lock, so that it sees every update that waits for them.
SELECT pg_advisory_xact_lock_shared($1::bigint);
