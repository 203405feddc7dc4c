-- Lists of plans that are older than any letter can be, a part at a time; what became of each stands in AUDIT.
DELETE FROM ops.replay_item AS i
 USING (SELECT i.plan, i.dlq_seq FROM ops.replay_plan AS p JOIN ops.replay_item AS i ON i.plan = p.id
         WHERE p.created_at < now() - interval '31 days' AND p.state <> 'running' LIMIT 5000) AS old
 WHERE i.plan = old.plan AND i.dlq_seq = old.dlq_seq;
