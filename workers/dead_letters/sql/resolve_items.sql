-- Events that their consumer has settled: failed when a dead letter tells so, else done. $1 the plan, $2 stream,
-- $3 consumer, $4 the sequence up to which it has settled everything. Rows are found by an array: a join would read the
-- whole plan for each page.
UPDATE ops.replay_item AS i
   SET (outcome, code) = (
       SELECT CASE WHEN max(l.code) IS NULL THEN 'done' ELSE 'failed' END, coalesce(max(l.code), '')
         FROM ops.letter AS l
        WHERE l.replay_id = i.plan::text AND l.replay_id <> '' AND l.stream = i.stream AND l.stream_seq = i.sent_seq
          AND l.consumer = i.consumer)
 WHERE i.plan = $1::uuid AND i.outcome = 'sent'
   AND i.dlq_seq = ANY (ARRAY(
       SELECT dlq_seq FROM ops.replay_item
        WHERE plan = $1 AND outcome = 'sent' AND stream = $2::text AND consumer = $3::text AND sent_seq <= $4::bigint
        ORDER BY dlq_seq LIMIT 1000))
RETURNING i.dlq_seq, i.id, i.attempt, i.outcome, i.code, i.sent_seq;
