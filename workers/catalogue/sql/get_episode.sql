-- Episodes by id or alias, in the order asked, with the anime they belong to. $1 ids, $2 whether the content is wanted.
SELECT q.ord::int4, d.id, d.revision, d.deleted, CASE WHEN $2::boolean THEN d.document::text END, d.anime_ids
  FROM unnest($1::uuid[]) WITH ORDINALITY AS q(id, ord)
  LEFT JOIN catalog.entity_alias al ON al.alias_id = q.id AND al.entity_kind = 'episode'
  JOIN catalog.episode_document d ON d.id = coalesce(al.entity_id, q.id)
 ORDER BY q.ord
