-- A review by its own id, its update's, or its reminder's. $1 that id, $2 a decision's id: has another review been decided
-- with it?
SELECT r.review_id, r.event_id, r.anime_id, r.event_time, r.fields, r.superseded_fields, r.reasons, r.superseded_by,
       r.state, r.created_at, r.decided_at, r.decided_by, r.note, r.decision_id, r.revision, r.title, r.payload,
       EXISTS (SELECT FROM update_review AS o WHERE o.decision_id = $2::uuid AND o.review_id <> r.review_id), r.stands_at,
       u.traceparent
  FROM review AS r JOIN update_review AS u ON u.review_id = r.review_id
 WHERE r.review_id = coalesce(
           (SELECT review_id FROM update_review WHERE review_id = $1::uuid),
           (SELECT review_id FROM update_review WHERE event_id = $1::uuid LIMIT 1),
           (SELECT review_id FROM update_review WHERE reminder_id = $1::uuid));
