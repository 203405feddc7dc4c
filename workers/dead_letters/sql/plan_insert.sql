INSERT INTO ops.replay_plan (id, action, state, actor, filter, rate, canary, max_failure, wait_s, total)
VALUES ($1::uuid, $2::text, 'planned', $3::text, $4::text, $5::int, $6::bool, $7::int, $8::int, 0);
