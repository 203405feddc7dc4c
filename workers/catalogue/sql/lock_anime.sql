-- Locks anime by id or alias, in id order, and tells how they stand. $1 ids. The id of one that was merged away names
-- its own row, which is hidden: whoever has something under that id is to forget it.
SELECT a.id, a.revision, a.deleted_at IS NOT NULL
  FROM catalog.anime a
 WHERE a.id IN (SELECT coalesce(own.id, al.entity_id) FROM unnest($1::uuid[]) AS q(id)
                LEFT JOIN catalog.anime own ON own.id = q.id
                LEFT JOIN catalog.entity_alias al ON al.alias_id = q.id AND al.entity_kind = 'anime')
 ORDER BY a.id
   FOR UPDATE
