-- Locks anime by id or alias, in id order, and tells how they stand. $1 ids.
SELECT a.id, a.revision, a.deleted_at IS NOT NULL
  FROM catalog.anime a
 WHERE a.id IN (SELECT coalesce(al.entity_id, q.id) FROM unnest($1::uuid[]) AS q(id)
                LEFT JOIN catalog.entity_alias al ON al.alias_id = q.id AND al.entity_kind = 'anime')
 ORDER BY a.id
   FOR UPDATE
