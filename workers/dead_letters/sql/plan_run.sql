-- Lets a plan run, or go on; settings that are NULL stay. No row: there is no such plan, or it is over.
UPDATE ops.replay_plan
   SET state = 'running', reason = '', rate = coalesce($3::int, rate), canary = canary OR $4::bool,
       max_failure = coalesce($5::int, max_failure), wait_s = coalesce($6::int, wait_s), slice_at = clock_timestamp()
 WHERE id = $1::uuid AND action = $2::text AND state <> 'done'
RETURNING id;
