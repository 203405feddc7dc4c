-- Relations and owners that two transactions brought at once, so that neither saw the other: a page of some 10,000
-- relations, of the anime behind $1. Returns the last anime of the page, no row when there are no more.
WITH page AS MATERIALIZED (
    SELECT from_id FROM anime_relation WHERE from_id > $1::uuid ORDER BY from_id OFFSET 9999 LIMIT 1
), found AS (
    SELECT r.from_id, r.key, r.ref, x.anime_id
      FROM anime_relation AS r JOIN anime_xref AS x ON x.ref = r.ref
     WHERE r.from_id > $1::uuid
       AND r.from_id <= coalesce((SELECT from_id FROM page), 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
       AND r.to_id IS NULL
       FOR UPDATE OF r SKIP LOCKED
), resolved AS (
    UPDATE anime_relation AS r SET to_id = f.anime_id
      FROM found AS f
     WHERE r.from_id = f.from_id AND r.key = f.key AND r.ref = f.ref
    RETURNING r.from_id, r.type, r.to_id
), said AS (
    SELECT DISTINCT * FROM resolved WHERE to_id <> from_id
), edges AS (
    INSERT INTO graph_edge (from_id, from_type, edge_type, to_id, to_type, asserted_by, family)
    SELECT s.from_id, 'anime', t.edge, s.to_id, 'anime', s.from_id, 'relation'
      FROM said AS s JOIN edge_type AS t ON t.family = 'relation' AND t.assertion = s.type
    UNION
    SELECT s.to_id, 'anime', t.inverse, s.from_id, 'anime', s.from_id, 'relation'
      FROM said AS s JOIN edge_type AS t ON t.family = 'relation' AND t.assertion = s.type AND t.inverse IS NOT NULL
    ON CONFLICT DO NOTHING
)
SELECT from_id FROM page;
