-- Plans that run, and letters that they have published or given to the outbox and that have no outcome yet.
SELECT count(*) FILTER (WHERE state = 'running'), coalesce(sum(sent + enqueued), 0)::bigint
  FROM ops.replay_plan WHERE state = 'running' OR sent + enqueued > 0;
