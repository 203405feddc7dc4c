-- Reviews that nobody has decided for $1 milliseconds and that were not reminded of. Few at a time: a copy may have 8 MiB.
SELECT review_id, anime_id, array_to_string(superseded_fields, ','), payload, traceparent
  FROM update_review
 WHERE state = 'pending' AND reminder_id IS NULL AND created_at < now() - $1::bigint * interval '1 millisecond'
 ORDER BY created_at LIMIT 8
   FOR UPDATE SKIP LOCKED;
