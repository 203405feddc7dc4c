-- Which kinds of things have these ids, as their own or as an alias. $1 ids.
SELECT q.id, x.kind
  FROM unnest($1::uuid[]) AS q(id)
  JOIN LATERAL (SELECT 'anime' AS kind FROM anime WHERE id = q.id
                UNION ALL SELECT 'character' FROM character WHERE id = q.id
                UNION ALL SELECT 'episode' FROM episode WHERE id = q.id
                UNION ALL SELECT entity_kind FROM entity_alias WHERE alias_id = q.id) AS x ON true;
