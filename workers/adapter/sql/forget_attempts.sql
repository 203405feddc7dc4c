-- A part each time: what is older than $1, and what lies behind the newest $2.
WITH changes AS (DELETE FROM adapter.route_change WHERE changed_at < $1)
DELETE FROM adapter.delivery
 WHERE id IN (SELECT id FROM adapter.delivery ORDER BY id LIMIT 5000)
   AND (started_at < $1 OR id <= (SELECT max(id) FROM adapter.delivery) - $2::bigint)
