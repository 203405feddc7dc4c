-- The relations of these anime ($1 from, $2 key, $3 reference, $4 type), resolved as far as their targets are known;
-- the relations of others that waited for one of these references ($5, owned by $6); and the edges of both.
-- OFFSET 0 keeps one index look-up per reference: planned as a join while the table is small, it would read it whole.
-- A row that another transaction moves meanwhile is left to sweep_relations.
WITH added AS (
    INSERT INTO anime_relation (from_id, key, ref, type, to_id)
    SELECT n.from_id, n.key, n.ref, n.type, x.anime_id
      FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[]) AS n(from_id, key, ref, type)
      LEFT JOIN anime_xref AS x ON x.ref = n.ref
    RETURNING from_id, type, to_id
), waiting AS MATERIALIZED (
    SELECT w.row, n.id
      FROM unnest($5::text[], $6::uuid[]) AS n(ref, id)
     CROSS JOIN LATERAL (SELECT w.ctid AS row FROM anime_relation AS w
                          WHERE w.ref = n.ref AND w.to_id IS NULL OFFSET 0) AS w
), resolved AS (
    UPDATE anime_relation AS r SET to_id = w.id
      FROM waiting AS w
     WHERE r.ctid = w.row AND r.to_id IS NULL
    RETURNING r.from_id, r.type, r.to_id
), said AS (
    SELECT * FROM added WHERE to_id <> from_id
    UNION
    SELECT * FROM resolved WHERE to_id <> from_id
)
INSERT INTO graph_edge (from_id, from_type, edge_type, to_id, to_type, asserted_by, family)
SELECT s.from_id, 'anime', t.edge, s.to_id, 'anime', s.from_id, 'relation'
  FROM said AS s JOIN edge_type AS t ON t.family = 'relation' AND t.assertion = s.type
UNION
SELECT s.to_id, 'anime', t.inverse, s.from_id, 'anime', s.from_id, 'relation'
  FROM said AS s JOIN edge_type AS t ON t.family = 'relation' AND t.assertion = s.type AND t.inverse IS NOT NULL
ON CONFLICT DO NOTHING;
