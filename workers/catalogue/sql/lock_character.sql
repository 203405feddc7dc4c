-- Locks characters by id or alias, in id order, and tells how they stand. $1 ids.
SELECT t.id, t.revision, false
  FROM catalog.character t
 WHERE t.id IN (SELECT coalesce(al.entity_id, q.id) FROM unnest($1::uuid[]) AS q(id)
                LEFT JOIN catalog.entity_alias al ON al.alias_id = q.id AND al.entity_kind = 'character')
 ORDER BY t.id
   FOR UPDATE
