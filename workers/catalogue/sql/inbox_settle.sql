-- Updates that had waited for their entity are applied: they wait no longer, and the inbox says what became of them.
WITH settled AS (
    SELECT n.consumer, n.event_id, (n.event_time AT TIME ZONE 'UTC')::date AS event_day, n.entity_id, n.revision, n.outcome
      FROM unnest($1::text[], $2::uuid[], $3::timestamptz[], $4::uuid[], $5::bigint[], $6::text[])
           AS n(consumer, event_id, event_time, entity_id, revision, outcome)
), gone AS (
    DELETE FROM pending_update AS p USING settled AS s
     WHERE p.event_id = s.event_id AND p.consumer = s.consumer AND p.event_day = s.event_day
)
UPDATE inbox AS i SET entity_id = s.entity_id, revision = s.revision, outcome = s.outcome, handled_at = now()
  FROM settled AS s
 WHERE i.event_id = s.event_id AND i.consumer = s.consumer AND i.event_day = s.event_day;
