-- Who plays in what; the newest event says in which role.
WITH said AS (
    INSERT INTO anime_character AS c (anime_id, character_id, role, billing_order, clock_time, clock_event)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::int[], $5::timestamptz[], $6::uuid[])
    ON CONFLICT (anime_id, character_id) DO UPDATE
       SET (role, billing_order, clock_time, clock_event) =
           (excluded.role, excluded.billing_order, excluded.clock_time, excluded.clock_event)
     WHERE (c.clock_time, c.clock_event) < (excluded.clock_time, excluded.clock_event)
    RETURNING c.anime_id, c.character_id
)
INSERT INTO graph_edge (from_id, from_type, edge_type, to_id, to_type, asserted_by, family)
SELECT anime_id, 'anime', 'features', character_id, 'character', anime_id, 'cast' FROM said
UNION ALL
SELECT character_id, 'character', 'appears_in', anime_id, 'anime', anime_id, 'cast' FROM said
ON CONFLICT DO NOTHING;
