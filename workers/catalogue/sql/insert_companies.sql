-- $1 anime, $2 role, $3 position, $4 name, $5 description, $6 a reference (NULL: known by name alone), $7, $8 clock.
WITH said AS (
    SELECT n.*, x.company_id
      FROM unnest($1::uuid[], $2::text[], $3::int[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::uuid[])
           AS n(anime_id, role, position, name, description, ref, clock_time, clock_event)
      LEFT JOIN company_xref AS x ON x.ref = n.ref
), companies AS (
    INSERT INTO company AS c (id, name, description, clock_time, clock_event)
    SELECT DISTINCT ON (company_id) company_id, name, description, clock_time, clock_event
      FROM said WHERE company_id IS NOT NULL ORDER BY company_id, clock_time DESC, clock_event DESC
    ON CONFLICT (id) DO UPDATE
       SET (name, description, clock_time, clock_event) =
           (excluded.name, coalesce(excluded.description, c.description), excluded.clock_time, excluded.clock_event)
     WHERE (c.clock_time, c.clock_event) < (excluded.clock_time, excluded.clock_event)
), rows AS (
    INSERT INTO anime_company (anime_id, role, position, name, company_id)
    SELECT anime_id, role, position, name, company_id FROM said
)
INSERT INTO graph_edge (from_id, from_type, edge_type, to_id, to_type, asserted_by, family)
SELECT s.anime_id, 'anime', t.edge, s.company_id, 'company', s.anime_id, 'company'
  FROM said AS s JOIN edge_type AS t ON t.family = 'company' AND t.assertion = s.role WHERE s.company_id IS NOT NULL
UNION
SELECT s.company_id, 'company', t.inverse, s.anime_id, 'anime', s.anime_id, 'company'
  FROM said AS s JOIN edge_type AS t ON t.family = 'company' AND t.assertion = s.role WHERE s.company_id IS NOT NULL
ON CONFLICT DO NOTHING;
