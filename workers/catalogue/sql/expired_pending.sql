-- Updates whose entity never came. $1 keep, in milliseconds; the oldest first, those that another process is at left out.
SELECT consumer, subject, headers, payload, stream_sequence, stored_at, event_id, event_day, entity_id,
       refused_code, refused_reason
  FROM pending_update WHERE received_at < now() - $1::bigint * interval '1 millisecond'
 ORDER BY received_at LIMIT 64
   FOR UPDATE SKIP LOCKED;
