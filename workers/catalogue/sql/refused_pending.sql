-- Updates that their entity would not have; the oldest first, those that another process is at left out.
SELECT consumer, subject, headers, payload, stream_sequence, stored_at, event_id, event_day, entity_id,
       refused_code, refused_reason
  FROM pending_update WHERE refused_code IS NOT NULL
 ORDER BY received_at LIMIT 64
   FOR UPDATE SKIP LOCKED;
