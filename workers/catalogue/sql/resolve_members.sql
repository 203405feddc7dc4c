-- Members of known anime by their own keys: episodes by number, characters without id and reference by name.
-- by: 0 = episode, 1 = character; position from 1. Of characters of one name in one anime the smallest id.
SELECT 0 AS by, q.i, e.id
  FROM unnest($1::uuid[], $2::int[]) WITH ORDINALITY AS q(anime_id, number, i)
  JOIN episode AS e ON e.anime_id = q.anime_id AND e.episode_number = q.number
UNION ALL
(SELECT DISTINCT ON (q.i) 1, q.i, c.id
   FROM unnest($3::uuid[], $4::text[]) WITH ORDINALITY AS q(anime_id, name, i)
   JOIN anime_character AS m ON m.anime_id = q.anime_id
   JOIN character AS c ON c.id = m.character_id AND c.name = q.name
  ORDER BY q.i, c.id);
