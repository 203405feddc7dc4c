UPDATE ops.replay_plan SET slice_at = clock_timestamp(), turned_to = $2::bigint WHERE id = $1::uuid;
