-- Ends what waited too long. $1 how long, in milliseconds; the oldest first, those that another process is at left out.
WITH due AS (
    SELECT review_id FROM update_review
     WHERE state = 'pending' AND created_at < now() - $1::bigint * interval '1 millisecond'
     ORDER BY created_at LIMIT 64
       FOR UPDATE SKIP LOCKED
), gone AS (
    UPDATE update_review AS r SET state = 'expired', decided_at = now(),
           revision = coalesce((SELECT a.revision FROM anime AS a WHERE a.id = r.anime_id), 0)
      FROM due WHERE r.review_id = due.review_id
    RETURNING r.review_id, r.event_id, r.anime_id, r.fields, r.superseded_fields, r.revision
), step AS (
    INSERT INTO review_step (review_id, step, fields)
    SELECT review_id, 'expired', ARRAY(SELECT unnest(fields) EXCEPT SELECT unnest(superseded_fields)) FROM gone
)
SELECT review_id, event_id, anime_id, array_to_string(fields, ','), array_to_string(superseded_fields, ','), revision FROM gone;
