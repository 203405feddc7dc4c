-- As page.sql for a batch with stragglers ($9): transactions that were in progress when the former batch
-- was cut. Their rows may have much lower ids, so they are found by xid and merged.
SELECT id, event_id, subject, headers, payload, created_at
FROM (
    SELECT page.*, sum(size) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) - size AS bytes_before
    FROM (
        SELECT id, event_id, subject, headers, payload, created_at,
               octet_length(headers) + octet_length(payload) AS size
        FROM (
            (SELECT id, event_id, subject, headers, payload, created_at
             FROM outbox
             WHERE id > $2::bigint AND id <= $3::bigint
               AND xid >= $4::xid8 AND xid < $5::xid8
               AND pg_visible_in_snapshot(xid, $6::pg_snapshot)
               AND stream = $1::text
             ORDER BY id
             LIMIT $7::int)
            UNION ALL
            (SELECT late.id, late.event_id, late.subject, late.headers, late.payload, late.created_at
             FROM unnest($9::xid8[]) AS straggler(xid)
             CROSS JOIN LATERAL (
                 SELECT id, event_id, subject, headers, payload, created_at
                 FROM outbox
                 WHERE outbox.xid = straggler.xid AND id > $2::bigint AND stream = $1::text
                 ORDER BY id
                 LIMIT $7::int) AS late)
        ) AS merged
        ORDER BY id
        LIMIT $7::int
    ) AS page
) AS sized
WHERE bytes_before < $8::bigint
ORDER BY id
