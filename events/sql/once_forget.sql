-- A part of what is older than 30 days.
DELETE FROM ops.kept_reply WHERE key IN (
    SELECT key FROM ops.kept_reply WHERE kept_at < now() - interval '30 days'
     ORDER BY kept_at LIMIT 1000 FOR UPDATE SKIP LOCKED);
