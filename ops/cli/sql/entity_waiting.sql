-- $1 entity: the newest update of it that waits, for the entity or for a person
SELECT w.event_id, w.outcome
  FROM (SELECT event_id, 'pending' AS outcome, received_at AS at
          FROM catalog.pending_update
         WHERE entity_id = $1
         UNION ALL
        SELECT event_id, 'parked', created_at
          FROM catalog.update_review
         WHERE anime_id = $1 AND state = 'pending') AS w
 ORDER BY w.at DESC
 LIMIT 1;
