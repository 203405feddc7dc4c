-- $1 event ids: what became of each that a consumer has handled
SELECT i.event_id, i.consumer, i.outcome, i.revision, i.stream_sequence, i.entity_id, i.handled_at
  FROM unnest($1::uuid[]) AS asked(id)
  JOIN catalog.inbox i ON i.event_id = asked.id;
