-- What $1 was known by belongs to $2 from here on, and what others said of $1 is said of $2.
WITH refs AS (
    UPDATE anime_xref SET anime_id = $2::uuid WHERE anime_id = $1::uuid RETURNING ref
), aliases AS (
    UPDATE entity_alias SET entity_id = $2 WHERE entity_id = $1 AND entity_kind = 'anime'
), relations AS (
    UPDATE anime_relation AS r SET to_id = $2 FROM refs AS m WHERE r.ref = m.ref AND r.to_id = $1
    RETURNING r.from_id, r.type
), gone AS (
    DELETE FROM graph_edge
     WHERE asserted_by IN (SELECT from_id FROM relations) AND family = 'relation' AND (from_id = $1 OR to_id = $1)
)
INSERT INTO graph_edge (from_id, from_type, edge_type, to_id, to_type, asserted_by, family)
SELECT r.from_id, 'anime', t.edge, $2, 'anime', r.from_id, 'relation'
  FROM relations AS r JOIN edge_type AS t ON t.family = 'relation' AND t.assertion = r.type WHERE r.from_id <> $2
UNION
SELECT $2, 'anime', t.inverse, r.from_id, 'anime', r.from_id, 'relation'
  FROM relations AS r JOIN edge_type AS t ON t.family = 'relation' AND t.assertion = r.type AND t.inverse IS NOT NULL
 WHERE r.from_id <> $2
ON CONFLICT DO NOTHING;
