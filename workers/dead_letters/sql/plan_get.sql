-- Plans with their counts: the one named, or the newest $2.
SELECT p.id, p.action, p.state, p.reason, p.actor, p.rate, p.canary, p.max_failure, p.total, p.created_at,
       c.waiting, c.sent, c.enqueued, c.done, c.failed, c.discarded, c.skipped, c.gone
  FROM (SELECT * FROM ops.replay_plan WHERE $1::uuid IS NULL OR id = $1 ORDER BY created_at DESC LIMIT $2::int) AS p
 CROSS JOIN LATERAL (
       SELECT count(*) FILTER (WHERE outcome = '') AS waiting, count(*) FILTER (WHERE outcome = 'sent') AS sent,
              count(*) FILTER (WHERE outcome = 'enqueued') AS enqueued, count(*) FILTER (WHERE outcome = 'done') AS done,
              count(*) FILTER (WHERE outcome = 'failed') AS failed,
              count(*) FILTER (WHERE outcome = 'discarded') AS discarded,
              count(*) FILTER (WHERE outcome = 'skipped') AS skipped, count(*) FILTER (WHERE outcome = 'gone') AS gone
         FROM ops.replay_item WHERE plan = p.id) AS c
 ORDER BY p.created_at DESC;
