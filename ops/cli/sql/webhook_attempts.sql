-- $1 route, $2 class, $3 webhook (all optional), $4 most rows: attempts, newest first
SELECT d.started_at, d.route, d.webhook_id, d.attempt, d.trigger, d.status, d.error, d.class, d.ms, d.next_try_at
  FROM adapter.delivery AS d
 WHERE ($1 = '' OR d.route = $1) AND ($2 = '' OR d.class = $2) AND ($3::uuid IS NULL OR d.webhook_id = $3)
 ORDER BY d.id DESC
 LIMIT $4;
