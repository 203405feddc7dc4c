-- $1 the id of a review, its update, its reminder or its decision
SELECT r.review_id, r.event_id, r.anime_id, r.state, array_to_string(r.fields, ', '),
       array_to_string(r.superseded_fields, ', '), array_to_string(r.reasons, ', '), r.created_at, r.decided_at,
       coalesce(r.decided_by, ''), r.superseded_by, r.revision, r.reminder_id,
       (SELECT count(*) FROM catalog.outbox AS o WHERE o.event_id = r.review_id AND o.stream = 'ANIME_EVENTS') > 0,
       coalesce(r.decision_note, '')
  FROM catalog.update_review AS r
 WHERE $1::uuid IN (r.review_id, r.event_id, r.reminder_id, r.decision_id)
 LIMIT 1;
