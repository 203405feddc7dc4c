-- Who owns these ids and references. An alias comes before a row of that id: the row was merged into another.
-- $1..$3 ids of anime, characters, episodes; $4..$6 their references. by: 0..2 = ids of that kind, 3..5 = references;
-- position from 1 within its array.
SELECT 0 AS by, q.i, coalesce(l.entity_id, a.id) AS id
  FROM unnest($1::uuid[]) WITH ORDINALITY AS q(id, i)
  LEFT JOIN entity_alias AS l ON l.alias_id = q.id AND l.entity_kind = 'anime'
  LEFT JOIN anime AS a ON a.id = q.id
 WHERE l.entity_id IS NOT NULL OR a.id IS NOT NULL
UNION ALL
SELECT 1, q.i, coalesce(l.entity_id, c.id)
  FROM unnest($2::uuid[]) WITH ORDINALITY AS q(id, i)
  LEFT JOIN entity_alias AS l ON l.alias_id = q.id AND l.entity_kind = 'character'
  LEFT JOIN character AS c ON c.id = q.id
 WHERE l.entity_id IS NOT NULL OR c.id IS NOT NULL
UNION ALL
SELECT 2, q.i, coalesce(l.entity_id, e.id)
  FROM unnest($3::uuid[]) WITH ORDINALITY AS q(id, i)
  LEFT JOIN entity_alias AS l ON l.alias_id = q.id AND l.entity_kind = 'episode'
  LEFT JOIN episode AS e ON e.id = q.id
 WHERE l.entity_id IS NOT NULL OR e.id IS NOT NULL
UNION ALL
SELECT 3, q.i, x.anime_id FROM unnest($4::text[]) WITH ORDINALITY AS q(ref, i) JOIN anime_xref AS x ON x.ref = q.ref
UNION ALL
SELECT 4, q.i, x.character_id FROM unnest($5::text[]) WITH ORDINALITY AS q(ref, i) JOIN character_xref AS x ON x.ref = q.ref
UNION ALL
SELECT 5, q.i, x.episode_id FROM unnest($6::text[]) WITH ORDINALITY AS q(ref, i) JOIN episode_xref AS x ON x.ref = q.ref;
