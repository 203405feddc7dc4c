-- Events of a plan that were found in the relay's stream. $1 the plan, $2 the consumer; then one array each: the id of
-- the entity, the event's sequence. The search goes on from $5. Two letters of one entity have an event each; the
-- first is as good for the one as for the other.
WITH found AS (
    SELECT entity, min(seq) AS seq FROM unnest($3::text[], $4::bigint[]) AS n (entity, seq) GROUP BY entity
), moved AS (
    SELECT i.dlq_seq, coalesce(found.seq, greatest(i.sent_seq, $5::bigint)) AS seq, found.seq IS NOT NULL AS hit
      FROM ops.replay_item AS i LEFT JOIN found ON found.entity = i.entity
     WHERE i.plan = $1::uuid AND i.consumer = $2::text AND i.outcome = 'enqueued'
)
UPDATE ops.replay_item AS i SET outcome = CASE WHEN hit THEN 'sent' ELSE i.outcome END, sent_seq = moved.seq
  FROM moved WHERE i.plan = $1::uuid AND i.dlq_seq = moved.dlq_seq AND i.outcome = 'enqueued';
