INSERT INTO pending_update (consumer, event_id, event_day, entity_kind, entity_id, event_time, subject, headers, payload,
       stream_sequence, stored_at, traceparent)
SELECT n.consumer, n.event_id, (n.event_time AT TIME ZONE 'UTC')::date, n.entity_kind, n.entity_id, n.event_time, n.subject,
       n.headers, n.payload, n.stream_sequence, n.stored_at, n.traceparent
  FROM unnest($1::text[], $2::uuid[], $3::timestamptz[], $4::text[], $5::uuid[], $6::text[], $7::jsonb[], $8::bytea[],
              $9::bigint[], $10::timestamptz[], $11::text[])
       AS n(consumer, event_id, event_time, entity_kind, entity_id, subject, headers, payload, stream_sequence,
            stored_at, traceparent)
ON CONFLICT DO NOTHING;
