UPDATE ops.replay_plan SET total = $2::bigint WHERE id = $1::uuid;
