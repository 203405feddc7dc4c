-- The next letters of a plan behind sequence $3, whether somebody has dealt with each since the plan was made, and bytes of payload.
SELECT i.dlq_seq, i.id, i.attempt, coalesce(f.attempts, 0) + 1 <> i.attempt OR coalesce(f.state, 'open') <> i.was AS overtaken,
       coalesce(l.size, 0)
  FROM ops.replay_item AS i LEFT JOIN ops.letter_fate AS f ON f.id = i.id LEFT JOIN ops.letter AS l ON l.id = i.id
 WHERE i.plan = $1::uuid AND i.outcome = '' AND i.dlq_seq > $3::bigint ORDER BY i.dlq_seq LIMIT $2::int;
