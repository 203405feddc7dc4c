-- Updates that waited for one of these ids, in event-time order. What could not be read any more needs its place.
SELECT consumer, subject, headers, payload, stream_sequence, stored_at, traceparent, event_id, event_time
  FROM pending_update WHERE entity_id = ANY ($1::uuid[]) AND refused_code IS NULL
 ORDER BY event_time, event_id
   FOR UPDATE;
