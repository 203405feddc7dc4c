-- What waits for a person about these anime, locked by id.
SELECT review_id, anime_id, event_time, event_id, array_to_string(fields, ','), array_to_string(superseded_fields, ',')
  FROM update_review WHERE anime_id = ANY ($1::uuid[]) AND state = 'pending' ORDER BY review_id FOR UPDATE;
