UPDATE ops.replay_plan SET slice_at = clock_timestamp() WHERE id = $1::uuid;
