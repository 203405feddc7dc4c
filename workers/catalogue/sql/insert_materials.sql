-- $1 anime, $2 key, $3 type of relation, $4 reference, $5 title, $6 type of the material, $7, $8 clock. The work is
-- known by the anime that name it: it has a row as soon as one does.
WITH said AS (
    SELECT n.*, x.source_material_id
      FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::uuid[])
           AS n(anime_id, key, type, ref, title, material_type, clock_time, clock_event)
      LEFT JOIN source_material_xref AS x ON x.ref = n.ref
), materials AS (
    INSERT INTO source_material AS m (id, title, type, clock_time, clock_event)
    SELECT DISTINCT ON (source_material_id) source_material_id, title, material_type, clock_time, clock_event
      FROM said WHERE source_material_id IS NOT NULL ORDER BY source_material_id, clock_time DESC, clock_event DESC
    ON CONFLICT (id) DO UPDATE
       SET (title, type, clock_time, clock_event) =
           (excluded.title, excluded.type, excluded.clock_time, excluded.clock_event)
     WHERE (m.clock_time, m.clock_event) < (excluded.clock_time, excluded.clock_event)
), rows AS (
    INSERT INTO anime_source_material_relation (anime_id, key, ref, type, source_material_id)
    SELECT anime_id, key, ref, type, source_material_id FROM said
    ON CONFLICT DO NOTHING
)
INSERT INTO graph_edge (from_id, from_type, edge_type, to_id, to_type, asserted_by, family)
SELECT s.anime_id, 'anime', t.edge, s.source_material_id, 'source_material', s.anime_id, 'material'
  FROM said AS s JOIN edge_type AS t ON t.family = 'material' AND t.assertion = s.type
 WHERE s.source_material_id IS NOT NULL
UNION
SELECT s.source_material_id, 'source_material', t.inverse, s.anime_id, 'anime', s.anime_id, 'material'
  FROM said AS s JOIN edge_type AS t ON t.family = 'material' AND t.assertion = s.type
 WHERE s.source_material_id IS NOT NULL
ON CONFLICT DO NOTHING;
