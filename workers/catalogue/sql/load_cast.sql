-- Which of these pairs of anime and character are there, from 1.
SELECT q.i FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS q(anime_id, character_id, i)
  JOIN anime_character AS c ON c.anime_id = q.anime_id AND c.character_id = q.character_id;
