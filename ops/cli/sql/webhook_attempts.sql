-- $1 route, $2 class, $3 webhook (all optional), $4 most rows: attempts, and what happened to routes unless a class or a
-- webhook is asked for; newest first
SELECT at, route, webhook_id, attempt, trigger, status, error, class, ms, next_try_at, asked_by, answer
  FROM ((SELECT d.started_at AS at, d.id, d.route, d.webhook_id, d.attempt, d.trigger, d.status, d.error, d.class, d.ms,
                d.next_try_at, d.asked_by, d.answer
           FROM adapter.delivery AS d
          WHERE ($1 = '' OR d.route = $1) AND ($2 = '' OR d.class = $2) AND ($3::uuid IS NULL OR d.webhook_id = $3)
          ORDER BY d.id DESC
          LIMIT $4)
        UNION ALL
        (SELECT c.changed_at, c.id, c.route, NULL, 0, CASE WHEN c.enabled THEN 'enabled' ELSE 'disabled' END, 0, '', '', 0,
                NULL, c.changed_by, c.reason
           FROM adapter.route_change AS c
          WHERE ($1 = '' OR c.route = $1) AND $2 = '' AND $3::uuid IS NULL
          ORDER BY c.id DESC
          LIMIT $4)) AS acts
 ORDER BY at DESC, id DESC
 LIMIT $4;
