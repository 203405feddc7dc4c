-- Which flagged copies of updates the catalogue announced, for the event adapter.
--
-- Reason: whoever may publish anime.updated may write the header Echora-Review, and the adapter told people of such an
-- event. A function instead of a right on the table: the adapter still reads no catalogue.
CREATE FUNCTION adapter.announced(ids uuid[]) RETURNS SETOF bigint
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT q.i FROM unnest(ids) WITH ORDINALITY AS q(id, i)
     WHERE EXISTS (SELECT FROM catalog.update_review AS r WHERE r.review_id = q.id)
        OR EXISTS (SELECT FROM catalog.update_review AS r WHERE r.reminder_id = q.id)
$$;
COMMENT ON FUNCTION adapter.announced IS
    'positions, from 1, of the ids that are a flagged copy of a parked update: its first, or its reminder';
REVOKE ALL ON FUNCTION adapter.announced(uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION adapter.announced(uuid[]) TO echora_adapter;
