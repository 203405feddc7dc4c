SELECT id, revision, clock_time, clock_event, clocks, meta, anime_id, episode_number,
       description, duration_seconds, filler, recap, score, season_number, synopsis, title, title_japanese, title_romaji
  FROM episode WHERE id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE;
