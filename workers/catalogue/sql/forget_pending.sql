-- After their dead letters were stored. The inbox forgets them too, so that a replay is handled.
WITH gone AS (
    DELETE FROM pending_update AS p USING unnest($1::text[], $2::uuid[]) AS d(consumer, event_id)
     WHERE p.event_id = d.event_id AND p.consumer = d.consumer
    RETURNING p.event_id, p.consumer, p.event_day
)
DELETE FROM inbox AS i USING gone AS g
 WHERE i.event_id = g.event_id AND i.consumer = g.consumer AND i.event_day = g.event_day;
