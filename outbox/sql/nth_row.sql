-- The $7-th row of a batch, counted from 0.
SELECT id, event_id
FROM (
    SELECT id, event_id
    FROM outbox
    WHERE id >= $2::bigint AND id <= $3::bigint
      AND xid >= $4::xid8 AND xid < $5::xid8
      AND pg_visible_in_snapshot(xid, $6::pg_snapshot)
      AND stream = $1::text
    UNION ALL
    SELECT id, event_id
    FROM outbox
    WHERE xid = ANY ($8::xid8[]) AND stream = $1::text
) AS batch
ORDER BY id
OFFSET $7::bigint
LIMIT 1
