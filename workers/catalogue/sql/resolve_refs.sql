-- Who owns references, whatever the kind of thing. $1 references.
SELECT x.ref, x.id
  FROM (SELECT ref, anime_id AS id FROM catalog.anime_xref WHERE ref = ANY ($1::text[])
        UNION ALL SELECT ref, character_id FROM catalog.character_xref WHERE ref = ANY ($1::text[])
        UNION ALL SELECT ref, episode_id FROM catalog.episode_xref WHERE ref = ANY ($1::text[])
        UNION ALL SELECT ref, company_id FROM catalog.company_xref WHERE ref = ANY ($1::text[])
        UNION ALL SELECT ref, source_material_id FROM catalog.source_material_xref WHERE ref = ANY ($1::text[])) AS x
