-- Plans that have something to do: letters that wait for their turn, or events whose end is not known.
SELECT id FROM ops.replay_plan WHERE state = 'running' OR sent + enqueued > 0 ORDER BY created_at LIMIT 64;
