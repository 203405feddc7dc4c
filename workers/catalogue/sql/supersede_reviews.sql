-- $1 reviews, $2 all their superseded fields, $3 by which event, $4 those that are superseded now, $5 whether none is left.
WITH n AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::boolean[])
                  AS n(review_id, fields, by, news, whole)
), step AS (
    INSERT INTO review_step (review_id, step, event_id, fields)
    SELECT review_id, 'superseded', by, string_to_array(news, ',') FROM n
)
UPDATE update_review AS r
   SET superseded_fields = string_to_array(n.fields, ','), superseded_by = n.by,
       state = CASE WHEN n.whole THEN 'superseded' ELSE r.state END,
       decided_at = CASE WHEN n.whole THEN now() END
  FROM n WHERE r.review_id = n.review_id;
