-- Columns of fields stand in the order of the message's field numbers (kind.c).
SELECT id, revision, clock_time, clock_event, clocks, meta, episode_rows, deleted_at, merged_into,
       background, duration_seconds, episode_count, month, nsfw, rating, season, source_material, status, synopsis,
       title, title_english, title_japanese, type, year
  FROM anime WHERE id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE;
