-- Plans with their counts: the one named, or the newest $2.
SELECT id, action, state, reason, actor, rate, canary, max_failure, total, created_at,
       total - sent - enqueued - done - failed - discarded - skipped - gone AS waiting, sent, enqueued, done, failed,
       discarded, skipped, gone
  FROM ops.replay_plan WHERE $1::uuid IS NULL OR id = $1 ORDER BY created_at DESC LIMIT $2::int;
