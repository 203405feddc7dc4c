-- $1 entity: its outbox rows, newest first, each with the place in its stream once it is in a batch
SELECT o.event_id, o.stream, o.subject, o.created_at, o.headers, b.batch,
       b.start_sequence + (SELECT count(*)
                             FROM catalog.outbox p
                            WHERE p.stream = b.stream AND p.id BETWEEN b.first_id AND o.id
                              AND pg_visible_in_snapshot(p.xid, b.cur)
                              AND (NOT pg_visible_in_snapshot(p.xid, b.prev) OR p.xid = ANY (b.stragglers))) AS sequence
  FROM catalog.outbox o
  LEFT JOIN LATERAL (
        SELECT b.*
          FROM catalog.outbox_batch b
         WHERE b.stream = o.stream AND o.id BETWEEN b.first_id AND b.last_id
           AND pg_visible_in_snapshot(o.xid, b.cur)
           AND (NOT pg_visible_in_snapshot(o.xid, b.prev) OR o.xid = ANY (b.stragglers))
         ORDER BY b.batch DESC
         LIMIT 1) b ON true
 WHERE o.entity_id = $1
 ORDER BY o.id DESC
 LIMIT 5;
