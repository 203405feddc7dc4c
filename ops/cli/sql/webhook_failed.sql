-- $1 route, $2 most rows: webhooks whose newest call failed for good, oldest first
SELECT d.webhook_id
  FROM adapter.delivery AS d
 WHERE d.route = $1 AND d.class <> 'delivered' AND d.next_try_at IS NULL AND d.trigger <> 'test'
   AND NOT EXISTS (SELECT FROM adapter.delivery AS n
                    WHERE n.webhook_id = d.webhook_id AND n.route = d.route AND n.id > d.id)
 ORDER BY d.id
 LIMIT $2;
