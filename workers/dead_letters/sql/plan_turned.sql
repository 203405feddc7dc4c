-- How the letters of a plan fared that had their turn: without an end, failed, all.
SELECT sent + enqueued, failed, sent + enqueued + done + failed FROM ops.replay_plan WHERE id = $1::uuid;
