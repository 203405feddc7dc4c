-- Everything that belongs to these anime: kind 1 = character, 2 = episode (enum entity_kind); elsewhere = also in another
-- anime that is not hidden.
SELECT c.anime_id, 1 AS kind, c.character_id AS id,
       EXISTS (SELECT 1 FROM anime_character AS o JOIN anime AS a ON a.id = o.anime_id AND a.deleted_at IS NULL
                WHERE o.character_id = c.character_id AND o.anime_id <> c.anime_id) AS elsewhere
  FROM anime_character AS c WHERE c.anime_id = ANY ($1::uuid[])
UNION ALL
SELECT e.anime_id, 2, e.id, false FROM episode AS e WHERE e.anime_id = ANY ($1::uuid[]);
