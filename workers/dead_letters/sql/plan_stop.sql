-- Ends a plan's run. No row: there is no such plan that could run.
UPDATE ops.replay_plan SET state = $2::text, reason = $3::text WHERE id = $1::uuid AND state IN ('planned', 'running')
RETURNING id;
