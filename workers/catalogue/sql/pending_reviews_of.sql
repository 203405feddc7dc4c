-- What waits for a person about these fields of these anime, locked by id. $1 anime, $2 fields of each, "a,b".
SELECT r.review_id, r.anime_id, r.event_time, r.event_id, array_to_string(r.fields, ','),
       array_to_string(r.superseded_fields, ',')
  FROM unnest($1::uuid[], $2::text[]) AS q(anime_id, names)
  JOIN update_review AS r ON r.anime_id = q.anime_id
 WHERE r.state = 'pending' AND r.fields && string_to_array(q.names, ',')
 ORDER BY r.review_id
   FOR UPDATE OF r;
