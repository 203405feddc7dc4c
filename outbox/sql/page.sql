-- The next rows of a batch without stragglers: behind id $2, up to the batch's last id $3, at most $7 rows,
-- and no row begins beyond $8 bytes.
SELECT id, event_id, subject, headers, payload, created_at
FROM (
    SELECT page.*, sum(size) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) - size AS bytes_before
    FROM (
        SELECT id, event_id, subject, headers, payload, created_at,
               octet_length(headers) + octet_length(payload) AS size
        FROM outbox
        WHERE id > $2::bigint AND id <= $3::bigint
          AND xid >= $4::xid8 AND xid < $5::xid8
          AND pg_visible_in_snapshot(xid, $6::pg_snapshot)
          AND stream = $1::text
        ORDER BY id
        LIMIT $7::int
    ) AS page
) AS sized
WHERE bytes_before < $8::bigint
ORDER BY id
