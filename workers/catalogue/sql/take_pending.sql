-- Updates that waited for one of these ids, in event-time order.
SELECT consumer, subject, headers, payload, stream_sequence, stored_at, traceparent
  FROM pending_update WHERE entity_id = ANY ($1::uuid[])
 ORDER BY event_time, event_id
   FOR UPDATE;
