-- The first letters of a plan, in the order of their turn. $1 the plan, $2 how many.
SELECT l.id, l.dlq_seq, l.stream, l.consumer, l.subject, l.stream_seq, l.class, l.code, l.reason, l.fingerprint, l.entity,
       l.worker, l.hop, l.deliveries, l.size, l.parked, l.replay_id, l.first_seen, l.failed_at, l.state, l.attempts
  FROM ops.replay_item AS i JOIN ops.letter AS l ON l.id = i.id
 WHERE i.plan = $1::uuid ORDER BY i.dlq_seq LIMIT $2::int;
