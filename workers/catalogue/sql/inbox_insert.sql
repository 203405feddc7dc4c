-- Fewer rows than asked for: another writer handled one of them meanwhile.
INSERT INTO inbox (consumer, event_id, event_day, stream_sequence, entity_id, revision, outcome)
SELECT n.consumer, n.event_id, (n.event_time AT TIME ZONE 'UTC')::date, n.sequence, n.entity_id, n.revision, n.outcome
  FROM unnest($1::text[], $2::uuid[], $3::timestamptz[], $4::bigint[], $5::uuid[], $6::bigint[], $7::text[])
       AS n(consumer, event_id, event_time, sequence, entity_id, revision, outcome)
 ORDER BY n.event_id
ON CONFLICT DO NOTHING;
