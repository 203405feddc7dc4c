-- inserted tells the writer whether the row was new: one that it thought new and was not is a race, and is redone.
INSERT INTO anime (id, revision, clock_time, clock_event, clocks, meta, episode_rows, deleted_at, merged_into,
       background, duration_seconds, episode_count, month, nsfw, rating, season, source_material, status, synopsis,
       title, title_english, title_japanese, type, year)
SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::timestamptz[], $4::uuid[], $5::jsonb[], $6::jsonb[], $7::int[],
       $8::timestamptz[], $9::uuid[], $10::text[], $11::int[], $12::int[], $13::text[], $14::bool[], $15::text[],
       $16::text[], $17::text[], $18::text[], $19::text[], $20::text[], $21::text[], $22::text[], $23::text[], $24::int[])
ON CONFLICT (id) DO UPDATE SET
       (revision, clock_time, clock_event, clocks, meta, episode_rows, deleted_at, merged_into,
        background, duration_seconds, episode_count, month, nsfw, rating, season, source_material, status, synopsis,
        title, title_english, title_japanese, type, year, updated_at) =
       (excluded.revision, excluded.clock_time, excluded.clock_event, excluded.clocks, excluded.meta,
        excluded.episode_rows, excluded.deleted_at, excluded.merged_into, excluded.background,
        excluded.duration_seconds, excluded.episode_count, excluded.month, excluded.nsfw, excluded.rating,
        excluded.season, excluded.source_material, excluded.status, excluded.synopsis, excluded.title,
        excluded.title_english, excluded.title_japanese, excluded.type, excluded.year, now())
RETURNING (xmax = 0) AS inserted;
