-- What became of letters in their turn. $1 the plan; then one array each: sequence, outcome, code, sequence of the event.
-- The rows are found by the array: a join alone would compare each with each, or read the whole plan.
UPDATE ops.replay_item AS i SET outcome = n.outcome, code = n.code, sent_seq = n.sent_seq
  FROM unnest($2::bigint[], $3::text[], $4::text[], $5::bigint[]) AS n (dlq_seq, outcome, code, sent_seq)
 WHERE i.plan = $1::uuid AND i.dlq_seq = ANY ($2) AND i.dlq_seq = n.dlq_seq;
