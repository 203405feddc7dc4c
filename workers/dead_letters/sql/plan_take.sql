-- Takes a running plan for one page; nobody else works on it until the transaction ends.
SELECT action, rate, canary, max_failure, wait_s,
       (extract(epoch FROM clock_timestamp() - slice_at) * 1000)::bigint AS since_ms, turned_to
  FROM ops.replay_plan WHERE id = $1::uuid AND state = 'running' FOR UPDATE SKIP LOCKED;
