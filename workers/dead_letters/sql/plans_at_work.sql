-- Plans that have something to do: letters that wait for their turn, or events whose end is not known.
SELECT p.id FROM ops.replay_plan AS p
 WHERE p.state = 'running' OR EXISTS (SELECT FROM ops.replay_item AS i WHERE i.plan = p.id AND i.outcome IN ('sent', 'enqueued'))
 ORDER BY p.created_at LIMIT 64;
