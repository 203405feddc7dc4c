-- What became of letters in their turn. $1 the plan; then one array each: sequence, outcome, code, sequence of the event.
-- One look into the primary key for each: left to itself the planner compares each with each, or reads the whole plan.
WITH n AS MATERIALIZED (
    SELECT * FROM unnest($2::bigint[], $3::text[], $4::text[], $5::bigint[]) AS n (dlq_seq, outcome, code, sent_seq)
), found AS MATERIALIZED (
    SELECT t.tid, n.outcome, n.code, n.sent_seq
      FROM n CROSS JOIN LATERAL (
           SELECT i.ctid AS tid FROM ops.replay_item AS i WHERE i.plan = $1::uuid AND i.dlq_seq = n.dlq_seq LIMIT 1) AS t
)
UPDATE ops.replay_item AS i SET outcome = found.outcome, code = found.code, sent_seq = found.sent_seq
  FROM found WHERE i.ctid = found.tid;
