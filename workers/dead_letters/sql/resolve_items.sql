-- Events that their consumer has settled: failed when a dead letter tells so, else done. $1 the plan, $2 stream,
-- $3 consumer, $4 the sequence up to which it has settled everything.
WITH due AS (
    SELECT i.dlq_seq, i.id, i.sent_seq, i.attempt,
           (SELECT l.code FROM ops.letter AS l
             WHERE l.replay_id = i.plan::text AND l.stream = i.stream AND l.stream_seq = i.sent_seq
               AND l.consumer = i.consumer LIMIT 1) AS failure
      FROM ops.replay_item AS i
     WHERE i.plan = $1::uuid AND i.outcome = 'sent' AND i.stream = $2::text AND i.consumer = $3::text
       AND i.sent_seq <= $4::bigint
     ORDER BY i.dlq_seq LIMIT 1000
)
UPDATE ops.replay_item AS i
   SET outcome = CASE WHEN due.failure IS NULL THEN 'done' ELSE 'failed' END, code = coalesce(due.failure, '')
  FROM due WHERE i.plan = $1::uuid AND i.dlq_seq = due.dlq_seq AND i.outcome = 'sent'
RETURNING i.dlq_seq, i.id, i.attempt, i.outcome, i.code, i.sent_seq;
