-- How far the relay's stream was searched for the events of a plan.
UPDATE ops.replay_plan SET searched = $2::bigint WHERE id = $1::uuid AND searched < $2;
