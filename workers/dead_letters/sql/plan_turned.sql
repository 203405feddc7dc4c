-- How the letters of a plan fared that had their turn: without an end, failed, all.
SELECT count(*) FILTER (WHERE outcome IN ('sent', 'enqueued')), count(*) FILTER (WHERE outcome = 'failed'),
       count(*) FILTER (WHERE outcome IN ('sent', 'enqueued', 'done', 'failed'))
  FROM ops.replay_item WHERE plan = $1::uuid AND outcome <> '';
