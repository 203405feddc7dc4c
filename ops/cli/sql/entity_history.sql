-- $1 entity: what its events did, newest first
SELECT event_id, consumer, outcome, revision, stream_sequence, handled_at
  FROM catalog.inbox
 WHERE entity_id = $1
 ORDER BY handled_at DESC, stream_sequence DESC
 LIMIT 20;
