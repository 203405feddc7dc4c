-- Pending reviews, newest first. $1 anime, $2 parked since, $3 a reason; NULL does not limit. $4, $5 where the page before
-- ended, $6 how many.
SELECT r.review_id, r.event_id, r.anime_id, r.event_time, r.fields, r.superseded_fields, r.reasons, r.superseded_by,
       r.state, r.created_at, r.decided_at, r.decided_by, r.note, r.decision_id, r.revision, left(r.title, 500)
  FROM review AS r
 WHERE r.state = 'pending' AND ($1::uuid IS NULL OR r.anime_id = $1::uuid)
   AND ($2::timestamptz IS NULL OR r.created_at >= $2::timestamptz)
   AND ($3::text IS NULL OR $3::text = ANY (r.reason_list))
   AND (r.created_at, r.review_id) < ($4::timestamptz, $5::uuid)
 ORDER BY r.created_at DESC, r.review_id DESC LIMIT $6::int;
