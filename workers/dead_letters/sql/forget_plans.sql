-- Old plans without letters.
DELETE FROM ops.replay_plan AS p
 WHERE p.created_at < now() - interval '31 days' AND p.state <> 'running'
   AND NOT EXISTS (SELECT FROM ops.replay_item AS i WHERE i.plan = p.id);
