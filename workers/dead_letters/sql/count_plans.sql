-- Plans that run, plans of the last day that their canary stopped, and letters that plans have published or given to the
-- outbox and that have no outcome yet.
SELECT count(*) FILTER (WHERE state = 'running'),
       count(*) FILTER (WHERE state = 'stopped' AND reason LIKE 'canary: %' AND slice_at > now() - interval '1 day'),
       coalesce(sum(sent + enqueued), 0)::bigint
  FROM ops.replay_plan;
