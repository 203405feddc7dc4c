-- Relations and owners that two transactions brought at once, so that neither saw the other.
WITH found AS (
    SELECT r.from_id, r.key, r.ref, x.anime_id
      FROM anime_relation AS r JOIN anime_xref AS x ON x.ref = r.ref
     WHERE r.to_id IS NULL
     LIMIT 1000
       FOR UPDATE OF r SKIP LOCKED
), resolved AS (
    UPDATE anime_relation AS r SET to_id = f.anime_id
      FROM found AS f
     WHERE r.from_id = f.from_id AND r.key = f.key AND r.ref = f.ref
    RETURNING r.from_id, r.type, r.to_id
), said AS (
    SELECT DISTINCT * FROM resolved WHERE to_id <> from_id
)
INSERT INTO graph_edge (from_id, from_type, edge_type, to_id, to_type, asserted_by, family)
SELECT s.from_id, 'anime', t.edge, s.to_id, 'anime', s.from_id, 'relation'
  FROM said AS s JOIN edge_type AS t ON t.family = 'relation' AND t.assertion = s.type
UNION
SELECT s.to_id, 'anime', t.inverse, s.from_id, 'anime', s.from_id, 'relation'
  FROM said AS s JOIN edge_type AS t ON t.family = 'relation' AND t.assertion = s.type AND t.inverse IS NOT NULL
ON CONFLICT DO NOTHING;
