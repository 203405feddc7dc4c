-- Plans that run, and plans of the last day that their canary stopped.
SELECT count(*) FILTER (WHERE state = 'running'),
       count(*) FILTER (WHERE state = 'stopped' AND reason LIKE 'canary: %' AND slice_at > now() - interval '1 day')
  FROM ops.replay_plan;
