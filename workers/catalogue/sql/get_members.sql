-- Characters (kind 0, in billing order) and episodes (kind 1, by number) of anime, anime in the order asked.
-- $1 anime ids, $2 kind, $3 position, $4 id of the last member already read (kind -1: none), $5 whether the content
-- is wanted, $6 how many rows at most. Rows are picked first, so that documents are made only for those.
WITH picked AS MATERIALIZED (
    SELECT m.ord, m.kind, m.position, m.id
      FROM (SELECT q.ord, 0 AS kind, ac.billing_order AS position, ac.character_id AS id
              FROM unnest($1::uuid[]) WITH ORDINALITY AS q(id, ord)
              JOIN catalog.anime_character ac ON ac.anime_id = q.id
            UNION ALL
            SELECT q.ord, 1, e.episode_number, e.id
              FROM unnest($1::uuid[]) WITH ORDINALITY AS q(id, ord)
              JOIN catalog.episode e ON e.anime_id = q.id) AS m
     WHERE (m.kind, m.position, m.id) > ($2::int4, $3::int4, $4::uuid)
     ORDER BY m.ord, m.kind, m.position, m.id
     LIMIT $6::int4)
SELECT p.ord::int4, p.kind, p.position, p.id, coalesce(c.revision, e.revision), coalesce(c.deleted, e.deleted),
       CASE WHEN $5::boolean THEN coalesce(c.document, e.document)::text END
  FROM picked p
  LEFT JOIN catalog.character_document c ON p.kind = 0 AND c.id = p.id
  LEFT JOIN catalog.episode_document e ON p.kind = 1 AND e.id = p.id
 ORDER BY p.ord, p.kind, p.position, p.id
