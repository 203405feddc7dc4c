-- $1 id: kind and own id of the entity that it names. An alias comes before a row of that id: the row was merged.
SELECT 'anime', a.id, a.revision, a.deleted_at IS NOT NULL, a.title
  FROM catalog.anime a
 WHERE a.id = coalesce((SELECT l.entity_id FROM catalog.entity_alias l WHERE l.alias_id = $1), $1)
UNION ALL
SELECT 'character', c.id, c.revision, false, c.name
  FROM catalog.character c
 WHERE c.id = coalesce((SELECT l.entity_id FROM catalog.entity_alias l WHERE l.alias_id = $1), $1)
UNION ALL
SELECT 'episode', e.id, e.revision, false, e.title
  FROM catalog.episode e
 WHERE e.id = coalesce((SELECT l.entity_id FROM catalog.entity_alias l WHERE l.alias_id = $1), $1)
 LIMIT 1;
